"""The gates of a subscription call: its plan's models, five hours, week, period, Extra Usage (03-http-api 3.2, C24).

Only the questions are asked and the receipts written here; what pays is decided under the wallet's lock
(`quota.admit`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from decimal import ROUND_UP, Decimal
from typing import TYPE_CHECKING, Final
from uuid import UUID

from accounts.models import ApiKey
from billing import errors
from billing.catalog.book import current_book
from billing.errors import Denial, NotRecorded
from billing.metering.holds import HoldRequest
from billing.metering.usage import FlowsOf
from billing.money import FLOW_QUANTUM
from gateway.callers import Caller, touch_stale, wants_flows
from subscriptions import periods, quota, standing
from subscriptions.plans import current_plans
from subscriptions.quota import FlowHeld, FlowRequest
from subscriptions.standing import Standing
from subscriptions.windows import next_month

if TYPE_CHECKING:
    from gateway.admission import Question
    from gateway.parsing import Call

GATES: Final = ("flow_5h", "flow_week", "flow_period")
_EXHAUSTED: Final[dict[str, type[Denial]]] = {
    "flow_5h": errors.Flow5hExhausted,
    "flow_week": errors.FlowWeekExhausted,
    "flow_period": errors.FlowPeriodExhausted,
}


def standings_of(calls: Sequence[Call], callers: Mapping[bytes | UUID, Caller], now: datetime) -> dict[UUID, Standing]:
    """The plans of the accounts that want Flows in this batch.

    A period that has ended while its subscription goes on is followed by the next one, whether or not the provider has
    told of the renewal.
    """
    accounts = set()
    for call in calls:
        caller = callers.get(call.key_hash or call.account_id)  # type: ignore[arg-type]
        if caller is not None and wants_flows(call, caller):
            accounts.add(caller.account_id)
    if not accounts:
        return {}
    found = standing.of(accounts, now=now)
    for account, one in found.items():
        if one.lapsed:
            periods.bridge(account, now=now)
    return found


def ask_plan(question: Question, now: datetime) -> None:
    """The plan's models (F068). Raises PlanRequired naming the plans that have the model, or ModelNotPermitted."""
    plan = question.standing.plan  # type: ignore[union-attr]
    slug = question.call.model
    if slug in plan.models:
        question.passed("plan", plan.code)
        return
    others = [other.code for other in current_plans().including(slug, now)]
    if others:
        raise question.refuse("plan", errors.PlanRequired, value=slug, limit=plan.code, plan=plan.code, plans=others)
    raise question.refuse("plan", errors.ModelNotPermitted, value=slug, limit=plan.code, plan=plan.code)


def request_of(question: Question, hold: HoldRequest, now: datetime) -> FlowRequest:
    """What the windows are asked: the Flows of the call's estimate, at the rate of the account's class (C16)."""
    held = question.standing
    priced = question.priced
    if held is None or priced is None:
        raise TypeError("every open question has passed these gates")
    terms = terms_of(held, priced.model.slug, now)
    flows = Decimal(0)
    if not priced.plan.spec.free:
        # Only a free model costs no Flows: an estimate of no tokens must not pass a full window.
        flows = max(terms.of_list(question.listed).quantize(FLOW_QUANTUM, rounding=ROUND_UP), FLOW_QUANTUM)
    return FlowRequest(hold=hold, flows=flows, plan_version_id=held.plan.id, flow_terms=terms, extra_key=held.extra_key)


def terms_of(held: Standing, slug: str, at: datetime) -> FlowsOf:
    """What a Flow is to this account for this model at a moment (C16). A class without a rate has the standard one."""
    book = current_book()
    rate = book.flow_rate(held.flow_class, at) or book.flow_rate("standard", at)
    if rate is None:
        raise errors.ModelUnpriced(model=slug)
    factor = book.flow_factor(held.plan.code, slug, at)
    return FlowsOf(held.flow_class, rate.flows_per_usd, factor, rate.call_overhead_flows)


def admit(
    requests: Sequence[FlowRequest], now: datetime, expires_at: datetime, *, made: bool = False
) -> list[FlowHeld | NotRecorded]:
    """Ask the windows. Extra Usage pays only with a key that could make the call itself."""
    usable = _usable({one.extra_key for one in requests if one.extra_key}, requests, now)
    asked = [
        one if one.extra_key is None or (one.extra_key, one.hold.model_id) in usable else replace(one, extra_key=None)
        for one in requests
    ]
    found = quota.admit(asked, now=now, expires_at=expires_at, made=made)
    # A key that pays is used, and its last use is shown beside it (F082).
    paid = {
        one.extra_key: usable[one.extra_key, one.hold.model_id]
        for one, held in zip(asked, found, strict=True)
        if one.extra_key and isinstance(held, FlowHeld) and held.funding == "extra_usage" and held.outcome == "created"
    }
    touch_stale(paid, now)
    return found


def _usable(keys: set[UUID], requests: Sequence[FlowRequest], now: datetime) -> dict[tuple[UUID, int], datetime | None]:
    """The keys of Extra Usage that are live, with the models (ids) that they may call: when each was used last."""
    if not keys:
        return {}
    slugs = {card.id: card.slug for card in current_book().models.values()}
    rows = ApiKey.objects.filter(pk__in=keys, disabled_at=None, kind=ApiKey.Kind.PAYG).values_list(
        "pk", "expires_at", "last_used_at", "allowed_models", "group__allowed_models"
    )
    found = {}
    for key, expires, used, own, of_group in rows:
        if expires is not None and expires <= now:
            continue
        for one in requests:
            slug = slugs.get(one.hold.model_id, "")
            if one.extra_key == key and all(not allowed or slug in allowed for allowed in (own, of_group)):
                found[key, one.hold.model_id] = used
    return found


def refusal(question: Question, held: FlowHeld, now: datetime) -> Denial:
    """The denial with its receipt: the windows with room, the one without, and why Extra Usage did not pay."""
    full = _windows(question, held)
    if held.outcome == "exhausted":
        gate, window = full[0]
        # The call can be admitted when every window that is full now has ended; this gate resets when its own does.
        admissible = max(one.ends_at for _, one in full)
        question.gates[-1]["verdict"] = "refuse"
        if question.standing is not None and question.standing.extra_key is not None:
            question.gates.append(
                {"gate": "extra_usage", "verdict": "unavailable", "value": "key_not_usable", "limit": None}
            )
        return _EXHAUSTED[gate](
            limit_source=gate, gates=question.gates, needed=held.needed, available=window.left,
            resets_at=window.ends_at, admissible_at=admissible, retry_after=_seconds(admissible, now),
        )  # fmt: skip
    if held.outcome == "extra_usage_cap":
        left = max(Decimal(0), held.extra_left or Decimal(0))
        return question.refuse(
            "extra_usage", errors.ExtraUsageCap, (held.extra_cap or 0) - left, held.extra_cap,
            needed=question.hold, available=left, resets_at=next_month(now),
        )  # fmt: skip
    if held.outcome == "insufficient_balance":
        question.passed("extra_usage", (held.extra_cap or 0) - (held.extra_left or 0), held.extra_cap)
        kind: type[Denial] = errors.InsufficientBalance
        if question.call.kind in ("image", "video") and held.available is not None and held.available > 0:
            kind = errors.TaskCostExceedsBalance
        return question.refuse(
            "balance", kind, question.hold, held.available, needed=question.hold, available=held.available
        )
    if held.outcome == "refund_pending":
        return question.refuse("plan", errors.RefundPending, value="refund_pending")
    # The subscription ended between the question and the lock.
    return question.refuse("plan", errors.PlanRequired, value=question.call.model)


def _windows(question: Question, held: FlowHeld) -> list[tuple[str, quota.WindowSeen]]:
    """Write the windows into the receipt, up to the first without room; all that have none."""
    full: list[tuple[str, quota.WindowSeen]] = []
    for gate, window in zip(GATES, held.windows, strict=False):
        fits = window.fits(held.needed or Decimal(0))
        if not full:
            question.gates.append(
                {
                    "gate": gate,
                    "verdict": "pass" if fits else "full",
                    "value": format(window.taken, "f"),
                    "limit": None if window.cap is None else format(window.cap, "f"),
                }
            )
        if not fits:
            full.append((gate, window))
    return full


def _seconds(until: datetime, now: datetime) -> int:
    """Whole seconds from now, at least one, rounded up."""
    return max(1, -int((now - until).total_seconds() // 1))
