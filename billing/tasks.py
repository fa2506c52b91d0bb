"""Mailing what customers are to hear of. The rows say what is still to be sent."""

from __future__ import annotations

import logging
from uuid import UUID

from celery import shared_task

from billing import notices
from config import clock

log = logging.getLogger(__name__)


@shared_task(autoretry_for=(OSError,), retry_backoff=10, retry_jitter=True, max_retries=5)
def send_notice(notice_id: str) -> None:
    """One notice, once."""
    notices.send(UUID(notice_id), now=clock.now())


@shared_task
def sweep_notices() -> None:
    """Notices that nobody was woken for."""
    for notice_id in notices.due(now=clock.now()):
        try:
            notices.send(notice_id, now=clock.now())
        except Exception:
            # One that cannot be rendered or delivered must not keep the others waiting; its row keeps the error.
            log.warning("Notice %s could not be mailed", notice_id, exc_info=True)
