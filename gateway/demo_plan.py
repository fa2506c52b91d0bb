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
AGENTS_CALLS, CHATS_CALLS = 10, 2
"""How many times the tokens of made-up traffic: an agent sends whole files, today's calls are small."""
LONGEST: Final = 190_000
TODAY: Final = timedelta(hours=4)
HELD_OUTPUT: Final = 8192


def subscriber(account: Account, owner: User, *, since: datetime, now: datetime) -> Subscription:
    """A subscription of this account from `since` to `now`, with its key, its calls and its billing history."""
    provider = inprocess.Client(since)
    processor = StripeProcessor(
        api_key=settings.STRIPE_SECRET_KEY, api_base=settings.STRIPE_API_BASE, http_client=provider
    )
    row = lifecycle.subscribe(
        account.pk, BOUGHT, client_key=f"demo:{uuid4().hex}", actor=owner, locale="en", processor=processor, now=since
    )
    inprocess.pay(row.session_id, card=CARD, email=owner.email, name=account.name, now=since)
    row = settling.settle(row.pk, processor=processor, now=since)
    _, secret = api_keys.issue(account, name="coding agent", kind=ApiKey.Kind.SUBSCRIPTION, now=since, actor=owner)
    changes = list(CHANGES)
    for at, event in _calls(secret, since + timedelta(hours=1), now):
        while changes and at >= since + changes[0][0]:
            after, plan = changes.pop(0)
            _change(row, plan, owner, processor, provider, since + after)
            row = _told(row, processor, provider, since + after)
        if row.period_end is not None and at >= row.period_end:
            row = _told(row, processor, provider, at)
        _call(event, at)
    return _told(row, processor, provider, now)


def _told(row: Subscription, processor: StripeProcessor, provider: inprocess.Client, now: datetime) -> Subscription:
    """What has become due at the provider has happened there, and we know it."""
    provider.now = now
    settle_due(now)
    return settling.settle(row.pk, processor=processor, now=now)


def _change(
    row: Subscription, plan: str, owner: User, processor: StripeProcessor, provider: inprocess.Client, now: datetime
) -> None:
    """Another plan, as its preview said."""
    _told(row, processor, provider, now)
    shown = lifecycle.preview(row.account_id, plan, processor=processor, now=now)
    lifecycle.change(
        row.account_id,
        plan,
        at=shown.at,
        due_usd=shown.due_usd,
        client_key=f"demo:{uuid4().hex}",
        actor=owner,
        processor=processor,
        now=now,
    )


def _calls(secret: str, since: datetime, until: datetime) -> Iterator[tuple[datetime, dict[str, object]]]:
    """Calls of models that the smaller plan has, oldest first; the last ones in the five hours that are open."""
    book, plan = current_book(fresh=True), current_plans(fresh=True).current(BOUGHT, since)
    models = [slug for slug in traffic.favourites(book, since, count=400) if slug in plan.models][:6]
    before = traffic.calls(book, models, count=CALLS_BEFORE, since=since, until=until - TODAY, seed=11)
    today = traffic.calls(book, models, count=CALLS_TODAY, since=until - TODAY, until=until, seed=12)
    made = [*((one, AGENTS_CALLS) for one in before), *((one, CHATS_CALLS) for one in today)]
    for number, (call, times) in enumerate(made):
        used = _larger(call.usage, times)
        told = {
            "request_id": f"demo-plan-{number}",
            "api_key": secret,
            "model": call.model,
            "estimate": {"input_tokens": used.get("input_tokens", 0), "max_output_tokens": HELD_OUTPUT},
        }
        yield call.at, {"call": told, "used": {"usage": used, "latency_ms": call.latency_ms}}


def _larger(used: dict[str, int], times: int) -> dict[str, int]:
    """As many times the tokens, within what a model reads at once; what is written stays."""
    read = used.get("input_tokens", 0)
    share = min(times * read, max(read, LONGEST)) / read if read else 1
    grown = {name: int(value * share) for name, value in used.items() if name.startswith(("input_", "cache_"))}
    return used | grown


def _call(event: dict[str, object], at: datetime) -> None:
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
