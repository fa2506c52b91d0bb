"""Background work of the sandbox: sending events, and what happens by itself when its time has come."""

import logging
from functools import partial

from celery import shared_task
from django.db import transaction
from kombu.exceptions import OperationalError

from config import clock
from sandbox import delivery, settling, switches

log = logging.getLogger(__name__)

SWEEP_SECONDS = 5.0
LONGEST_COUNTDOWN = 300
"""A message that sleeps longer than the broker's patience would be handed out twice; the sweep does without."""


@shared_task
def deliver() -> None:
    """Send the events that are due, unless they are held."""
    if not switches.current().hold:
        delivery.deliver_pending(clock.now())


@shared_task
def deliver_due() -> None:
    """The sweep: settle what is due, then send what is due."""
    settling.settle_due(clock.now())
    deliver()


def wake_after_commit(wait: float) -> None:
    """Send a wake-up call after the commit. A broker that is down costs time only: the sweep finds the rows."""
    if switches.current().hold or wait > LONGEST_COUNTDOWN:
        return
    transaction.on_commit(partial(_wake, wait), robust=True)


def _wake(wait: float) -> None:
    try:
        deliver_due.apply_async(countdown=wait or None)
    except (OperationalError, OSError) as down:
        log.warning("The broker did not take a wake-up call of the sandbox: %r", down)
