"""Nudge a task after the commit; the row is the job, so a nudge may be lost."""

from __future__ import annotations

import logging
from functools import partial
from typing import Any

from django.db import transaction
from kombu.exceptions import OperationalError

log = logging.getLogger(__name__)


def wake(task: Any, *arguments: Any) -> None:
    """Call a task after the commit. Nobody waits for a broker that is away, and nothing fails because of it."""
    transaction.on_commit(partial(_send, task, arguments))


def _send(task: Any, arguments: tuple[Any, ...]) -> None:
    try:
        task.delay(*arguments)
    except (OperationalError, OSError) as away:
        log.warning("The broker did not take %s: %r; the sweep will find the row", task.name, away)
