"""The demo's subscriber: a plan bought, used, changed and renewed in the last weeks, through the product's own doors.

What the provider says comes from the sandbox, which answers in this process at each step's time, and goes in by the
door that webhooks use; calls are admitted and captured as a gateway's are. Nothing is written past an operation.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import Final
from uuid import uuid4

from django.conf import settings

from accounts import api_keys
from accounts.models import Account, ApiKey, User
from billing.catalog.book import current_book
from billing.errors import BillingError
from billing.metering import usage
from billing.payments.stripe_client import Within
from billing.payments.stripe_processor import StripeProcessor
from gateway import admission, parsing, traffic
from sandbox import inprocess
from sandbox.settling import settle_due
from subscriptions import lifecycle, settling
from subscriptions.models import Subscription
from subscriptions.plans import current_plans

CARD: Final = "4242424242424242"
BOUGHT: Final = "pro"
# A busy fortnight on the larger plan; the smaller one again from the next period.
CHANGES: Final = ((timedelta(days=8), "max"), (timedelta(days=18), "pro"))
CALLS_BEFORE, CALLS_TODAY = 200, 40
AGENTS_CALLS, CHATS_CALLS = 16, 1
"""How many times the tokens of made-up traffic: an agent sends whole files; today's leave room for more."""
LONGEST: Final = 190_000
TODAY: Final = timedelta(hours=4)
A_WINDOW: Final = timedelta(hours=5)
HELD_OUTPUT: Final = 8192

Call = tuple[datetime, dict[str, object]]


class Provider:
    """The sandbox, answering at the moment `now`, which the story moves on."""

    def __init__(self, now: datetime) -> None:
        self._client = inprocess.Client(now)
        self.processor = StripeProcessor(
            api_key=settings.STRIPE_SECRET_KEY, api_base=settings.STRIPE_API_BASE, http_client=Within(self._client)
        )

    @property
    def now(self) -> datetime:
        """What its clock says."""
        return self._client.now

    @now.setter
    def now(self, moment: datetime) -> None:
        self._client.now = moment

    def pay(self, session_id: str, owner: User, account: Account) -> None:
        """Pay on the hosted page."""
        inprocess.pay(session_id, card=CARD, email=owner.email, name=account.name, now=self.now)


def bought(account: Account, owner: User, plan: str, provider: Provider) -> Subscription:
    """The plan paid and in force, at the provider's time."""
    row = lifecycle.subscribe(
        account.pk,
        plan,
        client_key=f"demo:{uuid4().hex}",
        actor=owner,
        locale="en",
        processor=provider.processor,
        now=provider.now,
    )
    provider.pay(row.session_id, owner, account)
    return settling.settle(row.pk, processor=provider.processor, now=provider.now)


def subscriber(account: Account, owner: User, *, since: datetime, now: datetime) -> Subscription:
    """A subscription of this account from `since` to `now`, with its key, its calls and its billing history."""
    provider = Provider(since)
    row = bought(account, owner, BOUGHT, provider)
    _, secret = api_keys.issue(account, name="coding agent", kind=ApiKey.Kind.SUBSCRIPTION, now=since, actor=owner)
    changes = list(CHANGES)
    for at, event in _calls(secret, since + timedelta(hours=1), now):
        while changes and at >= since + changes[0][0]:
            after, plan = changes.pop(0)
            _change(row, plan, owner, provider, since + after)
            row = _told(row, provider, since + after)
        if row.period_end is not None and at >= row.period_end:
            row = _told(row, provider, at)
        call(event, at)
    return _told(row, provider, now)


def _told(row: Subscription, provider: Provider, now: datetime) -> Subscription:
    """What has become due at the provider has happened there, and we know it."""
    provider.now = now
    settle_due(now)
    return settling.settle(row.pk, processor=provider.processor, now=now)


def _change(row: Subscription, plan: str, owner: User, provider: Provider, now: datetime) -> None:
    """Another plan, as its preview said."""
    _told(row, provider, now)
    shown = lifecycle.preview(row.account_id, plan, processor=provider.processor, now=now)
    lifecycle.change(
        row.account_id,
        plan,
        at=shown.at,
        due_usd=shown.due_usd,
        client_key=f"demo:{uuid4().hex}",
        actor=owner,
        processor=provider.processor,
        now=now,
    )


def _calls(secret: str, since: datetime, until: datetime) -> Iterator[Call]:
    """Calls of weeks, oldest first; the last ones in the five hours that are open."""
    day = until - TODAY
    yield from calls(secret, since, day - A_WINDOW, name="demo-plan", count=CALLS_BEFORE, times=AGENTS_CALLS, seed=11)
    yield from calls(secret, day, until, name="demo-plan-today", count=CALLS_TODAY, times=CHATS_CALLS, seed=12)


def calls(
    secret: str, since: datetime, until: datetime, *, name: str, count: int, times: int, seed: int = 1
) -> Iterator[Call]:
    """When and what: calls of models that the smaller plan has, of so many times the tokens of a chat."""
    book, plan = current_book(fresh=True), current_plans(fresh=True).current(BOUGHT, since)
    models = [slug for slug in traffic.favourites(book, since, count=400) if slug in plan.models][:6]
    for number, made in enumerate(traffic.calls(book, models, count=count, since=since, until=until, seed=seed)):
        used = _larger(made.usage, times)
        told = {
            "request_id": f"{name}-{number}",
            "api_key": secret,
            "model": made.model,
            "estimate": {"input_tokens": used.get("input_tokens", 0), "max_output_tokens": HELD_OUTPUT},
        }
        yield made.at, {"call": told, "used": {"usage": used, "latency_ms": made.latency_ms}}


def _larger(used: dict[str, int], times: int) -> dict[str, int]:
    """As many times the tokens, within what a model reads at once; what is written stays."""
    read = used.get("input_tokens", 0)
    share = min(times * read, max(read, LONGEST)) / read if read else 1
    grown = {name: int(value * share) for name, value in used.items() if name.startswith(("input_", "cache_"))}
    return used | grown


def call(event: dict[str, object], at: datetime) -> None:
    """Ask the gates and, when admitted, capture. A refusal is a part of the story: a window was full."""
    [answer] = admission.authorize([parsing.call_of(event["call"])], token_id=None, now=at)
    if isinstance(answer, BillingError):
        return
    used = parsing.used_of(event["used"])
    [charged] = usage.capture(
        [
            usage.Capture(
                authorization_id=answer.held.id,
                usage=used.usage,
                upstream_status=200,
                latency_ms=used.latency_ms,
            )
        ],
        now=at,
    )
    if isinstance(charged, BillingError):
        raise charged
