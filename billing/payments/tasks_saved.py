"""Wake up and try: charges of saved cards, and the cards themselves."""

from __future__ import annotations

import logging
from uuid import UUID

from celery import shared_task

from billing.errors import BillingError
from billing.payments import auto_topup, saved
from billing.payments.processor import ProcessorUnavailable
from billing.payments.stripe_processor import get_processor
from billing.payments.tasks import after
from billing.waking import wake
from config import clock

log = logging.getLogger(__name__)


@shared_task
def run_auto_top_up(account_id: str) -> None:
    """One account. Silence of the provider is no failure: the sweep comes back to it."""
    try:
        order = auto_topup.run(UUID(account_id), processor=get_processor(), now=clock.now())
    except ProcessorUnavailable as silence:
        log.warning("The charge for account %s is not answered yet: %r", account_id, silence.__cause__)
    except BillingError as refusal:
        log.error("ALERT auto top-up of %s cannot go on: %s %s", account_id, refusal.code, refusal.evidence)
    else:
        if order is not None:
            after(order)


@shared_task
def sweep_auto_top_ups() -> None:
    """Accounts below their threshold, and charges that were never answered."""
    for account_id in auto_topup.claim_due(now=clock.now()):
        wake(run_auto_top_up, str(account_id))


@shared_task
def detach_card(card_id: str) -> None:
    """Let the provider forget a card."""
    try:
        saved.detach(UUID(card_id), processor=get_processor(), now=clock.now())
    except ProcessorUnavailable as silence:
        log.warning("Card %s is not detached yet: %r", card_id, silence.__cause__)


@shared_task
def sweep_cards() -> None:
    """Pages for saving a card of which nothing was heard, and removed cards that the provider may still keep."""
    try:
        for setup_id in saved.due_setups(now=clock.now()):
            _heard(setup_id)
        for card_id in saved.due_detaching(now=clock.now()):
            saved.detach(card_id, processor=get_processor(), now=clock.now())
    except ProcessorUnavailable as silence:
        log.warning("The payment provider does not answer (%r); the sweep goes on later", silence.__cause__)


def _heard(setup_id: UUID) -> None:
    try:
        saved.finish(setup_id, processor=get_processor(), now=clock.now())
    except ProcessorUnavailable:
        raise
    except BillingError as refusal:
        log.error("ALERT the page for saving a card %s cannot be read: %s", setup_id, refusal.code)


@shared_task
def watch_dates() -> None:
    """Cards that expire soon, or have expired."""
    saved.watch_dates(now=clock.now())
