"""The door for the provider's events: verify, keep, acknowledge; all work is a task (04-payments 4.2).

Beside Django, because a day's worth of events may come within minutes after an outage, and an event needs no session,
language or template. What arrives at the same time is kept in one commit.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import orjson
from django.conf import settings
from django.db import DatabaseError, InterfaceError, OperationalError

from billing.errors import BadRequest, BillingError, NotFound, ServiceUnavailable
from billing.payments import tasks, webhooks
from billing.payments.processor import ReceivedEvent, SignatureInvalid
from billing.payments.stripe_processor import read_event
from billing.waking import wake
from config import clock, problems
from config.batching import Batcher, Receive, Scope, Send, read_body, reply

log = logging.getLogger(__name__)
PATH = "/webhooks/stripe"
Answer = tuple[int, dict[str, Any], dict[str, str]]
"""Status, body and headers."""
RECEIVED: Answer = (200, {"received": True}, {})


def read(body: bytes, signature: str) -> ReceivedEvent:
    """The event in a delivery. Without a secret the door does not exist (`NotFound`); a delivery that was not signed
    with one of ours is `SignatureInvalid`, one that is no event `BadRequest`."""
    secrets = [secret for secret in settings.STRIPE_WEBHOOK_SECRETS if secret]
    if not secrets:
        raise NotFound
    event = read_event(body, signature, secrets)
    webhooks.check(event)
    return event


def keep(events: Sequence[ReceivedEvent]) -> Sequence[DatabaseError | None]:
    """Keep them in one commit, and wake a worker for those that are to be worked on. One that cannot be kept is alone
    with its error."""
    try:
        waiting = webhooks.keep(events, now=clock.now())
    except (OperationalError, InterfaceError):
        raise
    except DatabaseError as error:
        return [error] if len(events) == 1 else [answer for event in events for answer in keep([event])]
    for event_id in waiting:
        wake(tasks.process_event, event_id)
    return [None] * len(events)


def refused(error: Exception) -> Answer:
    """What the provider is told when a delivery was not taken; with 503 it comes again."""
    if isinstance(error, DatabaseError | ServiceUnavailable):
        log.error("A webhook could not be kept; the provider will send it again", exc_info=error)
        return 503, {"received": False}, {"Retry-After": "30"}
    if isinstance(error, SignatureInvalid | BadRequest):
        log.warning("A webhook was refused: %s", error.code)
        return 400, {"received": False, "code": error.code}, {}
    if isinstance(error, BillingError):
        return problems.status_of(error), {"received": False, "code": error.code}, {}
    log.error("A webhook failed", exc_info=error)
    return 500, {"received": False}, {}


def take_in(body: bytes, signature: str) -> Answer:
    """One delivery, for servers without ASGI."""
    try:
        [error] = keep([read(body, signature)])
    except Exception as failure:
        return refused(failure)
    return refused(error) if error else RECEIVED


def takes(scope: Scope) -> bool:
    """True for deliveries; any other method of the path is Django's."""
    return bool(scope["path"] == PATH and scope["method"] == "POST")


class Intake:
    """The ASGI app. One per process; its threads start with the first delivery."""

    def __init__(self) -> None:
        self.executor = ThreadPoolExecutor(max_workers=settings.LANE_WORKERS, thread_name_prefix="intake")
        self.loop: asyncio.AbstractEventLoop | None = None
        self.events: Batcher[ReceivedEvent, None] = Batcher(keep, self.executor)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one delivery."""
        loop = asyncio.get_running_loop()
        if self.loop is not loop:
            self.loop, self.events = loop, Batcher(keep, self.executor)
        headers = {name.decode("latin-1").lower(): value.decode("latin-1") for name, value in scope["headers"]}
        try:
            body = await read_body(receive, headers)
            await self.events.submit(read(body, headers.get("stripe-signature", "")))
            status, answer, extra = RECEIVED
        except Exception as error:
            status, answer, extra = refused(error)
        await reply(send, status, orjson.dumps(answer), "application/json", extra)
