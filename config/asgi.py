"""ASGI entry: the gateway's lane, the intake of the provider's events and Django in one process on one port."""

import os
from collections.abc import Awaitable, Callable
from typing import Any

from django.core.asgi import get_asgi_application

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "config.settings")
_django = get_asgi_application()

from billing.payments import intake  # noqa: E402  # the apps must be loaded first
from gateway import lane  # noqa: E402

_lane = lane.Lane()
_intake = intake.Intake()


async def application(
    scope: dict[str, Any],
    receive: Callable[[], Awaitable[dict[str, Any]]],
    send: Callable[[Any], Awaitable[None]],
) -> None:
    """The gateway's hot verbs go to the lane, deliveries of events to the intake, everything else to Django."""
    if scope["type"] == "http" and lane.takes(scope):
        await _lane(scope, receive, send)
    elif scope["type"] == "http" and intake.takes(scope):
        await _intake(scope, receive, send)
    elif scope["type"] != "lifespan":
        await _django(scope, receive, send)
    else:
        while (await receive())["type"] != "lifespan.shutdown":
            await send({"type": "lifespan.startup.complete"})
        await send({"type": "lifespan.shutdown.complete"})
