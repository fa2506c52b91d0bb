"""The exchange rate's feed: a JSON document on the web, asked by beat, believed only within limits.

`ask` is the network and runs outside any transaction; `accept` decides. What is refused leaves the last rate in force
until it is too old, and then the fixed rate is (C01).
"""

from __future__ import annotations

import json
import logging
import time
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal, InvalidOperation
from typing import Any, Final

import requests
from django.conf import settings
from django.db import transaction
from django.db.models import F
from django.utils.dateparse import parse_datetime

from billing.payments.models import FxRate, FxSource
from billing.payments.models_fx import FxFeed

log = logging.getLogger(__name__)

CONNECT_SECONDS: Final = 3.0
READ_SECONDS: Final = 5.0
WHOLE_SECONDS: Final = 15.0
MOST_BYTES: Final = 256 * 1024
COMPARED_FOR: Final = timedelta(days=7)
"""A rate is held against the last accepted one while that is not older than this."""
AHEAD: Final = timedelta(minutes=5)
PLACES: Final = Decimal("0.00000001")


class FeedRefused(Exception):
    """The feed did not answer, or not with something that may be believed. The message is for staff."""


@dataclass(frozen=True, slots=True)
class Told:
    """What the feed says: the rate, and since when, where the feed tells that."""

    rate: Decimal
    at: datetime | None


def is_due(*, now: datetime) -> bool:
    """Whether it is time to ask again; claimed, so that two workers ask once."""
    if not settings.FX_FEED_URL:
        return False
    FxFeed.objects.get_or_create(pk=1)
    last = now - timedelta(seconds=settings.FX_FEED_EVERY)
    free = FxFeed.objects.filter(pk=1).exclude(asked_at__gt=last, asked_at__lte=now)
    return bool(free.update(asked_at=now))


def refresh(*, now: datetime) -> FxRate | None:
    """Ask the feed and keep what it says, or keep why not."""
    try:
        return accept(ask(), now=now)
    except FeedRefused as refusal:
        FxFeed.objects.update_or_create(pk=1, defaults={"failed_at": now, "last_error": str(refusal)[:300]})
        FxFeed.objects.filter(pk=1).update(failures=F("failures") + 1)
        log.error("ALERT the exchange rate's feed is not believed: %s", refusal)
        return None


def ask() -> Told:
    """Fetch the document: no redirects, a limit to its size and to the time that it may take."""
    return read(_fetch(settings.FX_FEED_URL))


def _fetch(url: str) -> bytes:
    stop_at, body = time.monotonic() + WHOLE_SECONDS, b""
    try:
        with requests.get(
            url,
            timeout=(CONNECT_SECONDS, READ_SECONDS),
            allow_redirects=False,
            stream=True,
            headers={"Accept": "application/json", "User-Agent": "meterhall"},
        ) as answer:
            if answer.status_code != 200:
                raise FeedRefused(f"it answered {answer.status_code}")
            for part in answer.iter_content(16 * 1024):
                body += part
                if len(body) > MOST_BYTES:
                    raise FeedRefused(f"its answer is longer than {MOST_BYTES} bytes")
                if time.monotonic() > stop_at:
                    raise FeedRefused(f"its answer took longer than {WHOLE_SECONDS:.0f} s")
    except requests.RequestException as silence:
        raise FeedRefused(f"it does not answer ({type(silence).__name__})") from silence
    return body


def read(body: bytes) -> Told:
    """The rate, and its time where FX_FEED_TIME_PATH names one. Numbers never pass through a float."""
    try:
        document = json.loads(body, parse_float=Decimal, parse_int=Decimal, parse_constant=_no_constant)
    except (ValueError, RecursionError, InvalidOperation) as broken:
        raise FeedRefused("its answer is not JSON") from broken
    found = _at(document, settings.FX_FEED_PATH)
    if isinstance(found, str):
        try:
            found = Decimal(found.strip())
        except InvalidOperation:
            found = None
    if not isinstance(found, Decimal) or not found.is_finite() or found <= 0:
        raise FeedRefused(f"there is no positive number at {settings.FX_FEED_PATH}")
    if not Decimal("0.0001") <= found <= Decimal(1_000_000):
        raise FeedRefused("its number is not a rate")
    return Told(found.quantize(PLACES), _time(document))


def _time(document: Any) -> datetime | None:
    if not settings.FX_FEED_TIME_PATH:
        return None
    found = _at(document, settings.FX_FEED_TIME_PATH)
    try:
        if isinstance(found, Decimal):
            return datetime.fromtimestamp(int(found), UTC)
        moment = parse_datetime(found) if isinstance(found, str) else None
    except (ValueError, OverflowError, OSError, InvalidOperation):
        moment = None
    if moment is None:
        raise FeedRefused(f"there is no time at {settings.FX_FEED_TIME_PATH}")
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)


def _at(document: Any, path: str) -> Any:
    """`rates.CNY`, `data.0.price`: the value at a path, None where there is none."""
    for name in path.split("."):
        if isinstance(document, dict):
            document = document.get(name)
        elif isinstance(document, list) and name.isascii() and name.isdigit() and int(name) < len(document):
            document = document[int(name)]
        else:
            return None
    return document


def _no_constant(name: str) -> Any:
    raise ValueError(f"{name} is not a number")


def accept(told: Told, *, now: datetime) -> FxRate:
    """Believe a rate that lies within the limits and near the last one; it holds from its own time on, or from now."""
    if not settings.FX_FEED_MIN <= told.rate <= settings.FX_FEED_MAX:
        raise FeedRefused(f"{told.rate.normalize():f} is not between {settings.FX_FEED_MIN} and {settings.FX_FEED_MAX}")
    at = told.at or now
    if at > now + AHEAD:
        raise FeedRefused(f"its time, {at.isoformat()}, has not come yet")
    if now - at > timedelta(seconds=settings.FX_FEED_MAX_AGE):
        raise FeedRefused(f"its rate is of {at.isoformat()}, which is too old")
    at = min(at, now)
    with transaction.atomic():
        FxFeed.objects.get_or_create(pk=1)
        state = FxFeed.objects.select_for_update().get(pk=1)
        last = FxRate.objects.filter(source=FxSource.FEED).order_by("-effective_at", "-pk").first()
        if last is not None and last.effective_at > now - COMPARED_FOR:
            step = abs(told.rate - last.rate) / last.rate
            if step > settings.FX_FEED_MAX_STEP:
                raise FeedRefused(
                    f"{told.rate.normalize():f} is {step:.1%} away from the last rate, {last.rate.normalize():f}"
                )
        if last is not None and last.effective_at >= at:
            row = last  # an older or the same edition: nothing new, but the feed is alive
        else:
            row = FxRate.objects.create(rate=told.rate, source=FxSource.FEED, effective_at=at)
        state.accepted_at, state.failures, state.last_error = now, 0, ""
        state.save(update_fields=["accepted_at", "failures", "last_error"])
    return row
