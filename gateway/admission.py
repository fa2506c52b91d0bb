"""May this call be made? The gates in their order, then the hold, or a denial with its receipt (02-domain 2.6).

Order (03-http-api 3.2): credential, key, account, model permission, price, requests a minute, the subscription's
windows and Extra Usage (`flow_gates`), group quota, key limit, balance. Keys and accounts are read afresh for every
batch, so that a disabled key stops at once; windows and balance are asked under the wallet's lock, where the hold is
placed.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from decimal import ROUND_UP, Decimal
from typing import Any
from uuid import UUID

from django.conf import settings

from billing import errors
from billing.catalog.book import Book, Priced, current_book
from billing.catalog.images import with_images
from billing.catalog.plans import field_name
from billing.catalog.rating import hold_list_price
from billing.errors import BillingError, Denial
from billing.metering import holds
from billing.money import LEDGER_QUANTUM
from config.ids import uuid7
from gateway import flow_gates, limits
from gateway.callers import Caller, callers_of, in_conversations, touch_keys, wants_flows
from gateway.models import DecisionReceipt
from gateway.parsing import Call
from subscriptions import quota
from subscriptions.standing import Standing

# What a chat call may write when neither the caller nor the model's card says.
UNKNOWN_MAX_OUTPUT = 8192


@dataclass(slots=True)
class Admitted:
    """A hold that stands: what the gateway is told."""

    held: holds.Held | quota.FlowHeld
    caller: Caller
    rpm: limits.Verdict
    repeated: bool


@dataclass(slots=True)
class Question:
    """One call on its way through the gates."""

    place: int
    call: Call
    caller: Caller
    gates: list[dict[str, Any]] = field(default_factory=list)
    priced: Priced | None = None
    rpm: limits.Verdict | None = None
    hold: Decimal = Decimal(0)
    listed: Decimal = Decimal(0)
    standing: Standing | None = None

    @property
    def by_flows(self) -> bool:
        """A subscription is asked first: by its key, or by a first-party app's billing mode (F079, F084)."""
        return wants_flows(self.call, self.caller)

    def passed(self, gate: str, value: Any = None, limit: Any = None) -> None:
        self.gates.append({"gate": gate, "verdict": "pass", "value": _text(value), "limit": _text(limit)})

    def refuse(self, gate: str, error: type[Denial], value: Any = None, limit: Any = None, **evidence: Any) -> Denial:
        self.gates.append({"gate": gate, "verdict": "refuse", "value": _text(value), "limit": _text(limit)})
        return error(limit_source=gate, gates=self.gates, **evidence)


def authorize(calls: Sequence[Call], *, token_id: UUID | None, now: datetime) -> list[Admitted | BillingError]:
    """Admit or refuse each call, in the order given; a refusal stands in its call's place."""
    answers: list[Admitted | BillingError | None] = [None] * len(calls)
    book = current_book()
    calls = in_conversations(calls)
    callers = callers_of(calls)
    standings = flow_gates.standings_of(calls, callers, now)
    open_questions: list[Question] = []
    for place, call in enumerate(calls):
        caller = callers.get(call.key_hash or call.account_id)  # type: ignore[arg-type]
        if caller is None:
            answers[place] = errors.InvalidCredential() if call.key_hash else errors.NotFound()
            continue
        question = Question(place, call, caller, standing=standings.get(caller.account_id))
        try:
            _ask_before_money(question, book, now)
        except BillingError as refusal:
            answers[place] = refusal
        else:
            open_questions.append(question)

    refused = _asked(calls, callers, answers)
    waiting = _ask_rate(open_questions, answers, refused, now)
    _ask_money([q for q in waiting if not q.by_flows], answers, refused, token_id, now)
    _ask_flows([q for q in waiting if q.by_flows], answers, refused, token_id, now)
    _keep_receipts(refused, now)
    touch_keys({q.caller.key_id: q.caller for q in open_questions}, now)
    return answers  # type: ignore[return-value]


def _ask_before_money(question: Question, book: Book, now: datetime) -> None:
    """Key, account, model permission, price. Raises the refusal."""
    call, caller = question.call, question.caller
    if caller.disabled:
        raise question.refuse("key", errors.KeyDisabled, value=caller.key_masked)
    if caller.expires_at is not None and caller.expires_at <= now:
        raise question.refuse("key", errors.KeyExpired, value=caller.key_masked, limit=caller.expires_at)
    question.passed("key", caller.key_masked)
    if caller.account_status != "active":
        raise question.refuse("account", errors.AccountSuspended, value=caller.account_status)
    question.passed("account", caller.account_status)
    # A model that does not exist is a mistake in the request (422), not a refusal; it is told before permission.
    if call.model not in book.models or not book.models[call.model].active:
        raise errors.UnknownModel(model=call.model)
    for allowed in (caller.allowed_models, caller.group_models):
        if allowed is not None and call.model not in allowed:
            raise question.refuse("model", errors.ModelNotPermitted, value=call.model)
    if question.by_flows:
        flow_gates.ask_plan(question, now)
    question.passed("model", call.model)
    try:
        question.priced = book.priced(call.model, call.channel, now)
    except errors.ModelUnpriced:
        raise question.refuse("price", errors.ModelUnpriced, value=call.model, limit=call.channel) from None
    question.listed, question.hold = hold_of(question.priced, call.estimate, call.fields, caller.user_discount)
    question.passed("price", f"v{question.priced.price.number}")


def hold_of(
    priced: Priced, estimate: dict[str, Any], fields: dict[str, Any], user_discount: Decimal
) -> tuple[Decimal, Decimal]:
    """The estimate at its upper bound: its list price, and the USD to hold. Without an output limit: the model's own,
    at most `HOLD_CAP`."""
    told = with_images(estimate, priced.model.image_rule)
    capped = (
        priced.plan.base is not None and told.get("max_output_tokens") is None and told.get("output_tokens") is None
    )
    default = (priced.model.max_output_tokens or UNKNOWN_MAX_OUTPUT) if capped else None
    listed = hold_list_price(priced.plan, told, default_max_output_tokens=default, fields=fields)
    hold = (listed * priced.channel.discount * user_discount).quantize(LEDGER_QUANTUM, rounding=ROUND_UP)
    if not priced.plan.spec.free:
        # Only a free call holds nothing: an estimate of no tokens must not pass an empty wallet.
        hold = max(hold, LEDGER_QUANTUM)
    return (min(listed, settings.HOLD_CAP), min(hold, settings.HOLD_CAP)) if capped else (listed, hold)


def _asked(
    calls: Sequence[Call], callers: dict[bytes | UUID, Caller], answers: Sequence[Admitted | BillingError | None]
) -> list[tuple[tuple[Call, Caller], Denial]]:
    """The denials so far, with whom they concern."""
    return [
        ((call, callers[call.key_hash or call.account_id]), answer)  # type: ignore[index]
        for call, answer in zip(calls, answers, strict=True)
        if isinstance(answer, Denial)
    ]


def _ask_rate(
    questions: list[Question],
    answers: list[Admitted | BillingError | None],
    refused: list[tuple[tuple[Call, Caller], Denial]],
    now: datetime,
) -> list[Question]:
    """Requests a minute, counted per account across its keys; those of the subscription by its plan (C08)."""
    asks = [
        limits.Ask(f"{q.caller.account_id}:flows", q.standing.plan.rpm, f"{q.call.request_id}:{q.place}")
        if q.by_flows and q.standing
        else limits.Ask(str(q.caller.account_id), q.caller.rpm, f"{q.call.request_id}:{q.place}")
        for q in questions
    ]
    waiting = []
    for question, verdict in zip(questions, limits.take(asks, now=now), strict=True):
        question.rpm = verdict
        if verdict.allowed:
            question.passed("rpm", verdict.limit - verdict.remaining, verdict.limit)
            waiting.append(question)
            continue
        wait = max(1, -int((now - verdict.resets_at).total_seconds() // 1))
        denial = question.refuse(
            "rpm", errors.RpmExceeded, verdict.limit, verdict.limit,
            needed=1, available=0, resets_at=verdict.resets_at, retry_after=wait,
        )  # fmt: skip
        answers[question.place] = denial
        refused.append(((question.call, question.caller), denial))
    return waiting


def _ask_money(
    questions: list[Question],
    answers: list[Admitted | BillingError | None],
    refused: list[tuple[tuple[Call, Caller], Denial]],
    token_id: UUID | None,
    now: datetime,
) -> None:
    """The balance, under the wallet's lock, and with it the hold."""
    requests = [_hold_request(question, token_id) for question in questions]
    placed = holds.authorize(requests, now=now, expires_at=holds.expiry(now, settings.HOLD_SECONDS))
    for question, held in zip(questions, placed, strict=True):
        if isinstance(held, BillingError):
            answers[question.place] = held
        elif held.outcome in ("created", "repeated"):
            answers[question.place] = Admitted(held, question.caller, question.rpm, held.outcome == "repeated")  # type: ignore[arg-type]
        elif held.outcome == "insufficient_balance":
            kind = errors.InsufficientBalance
            if question.call.kind in ("image", "video") and held.available is not None and held.available > 0:
                kind = errors.TaskCostExceedsBalance  # type: ignore[assignment]
            denial = question.refuse(
                "balance", kind, question.hold, held.available, needed=question.hold, available=held.available
            )
            answers[question.place] = denial
            refused.append(((question.call, question.caller), denial))
        elif held.outcome == "conflict":
            answers[question.place] = errors.IdempotencyConflict(request_id=question.call.request_id)
        else:
            answers[question.place] = errors.NotFound()


def _ask_flows(
    questions: list[Question],
    answers: list[Admitted | BillingError | None],
    refused: list[tuple[tuple[Call, Caller], Denial]],
    token_id: UUID | None,
    now: datetime,
) -> None:
    """The subscription's windows, then Extra Usage and the balance, under the wallet's lock, and with them the hold."""
    if not questions:
        return
    requests = [flow_gates.request_of(question, _hold_request(question, token_id), now) for question in questions]
    held_until = holds.expiry(now, settings.HOLD_SECONDS)
    for question, held in zip(questions, flow_gates.admit(requests, now, held_until), strict=True):
        if isinstance(held, BillingError):
            answers[question.place] = held
        elif held.outcome in ("created", "repeated"):
            answers[question.place] = Admitted(held, question.caller, question.rpm, held.outcome == "repeated")  # type: ignore[arg-type]
        elif held.outcome == "conflict":
            answers[question.place] = errors.IdempotencyConflict(request_id=question.call.request_id)
        elif held.outcome == "not_found":
            answers[question.place] = errors.NotFound()
        else:
            denial = flow_gates.refusal(question, held, now)
            answers[question.place] = denial
            refused.append(((question.call, question.caller), denial))


def _hold_request(question: Question, token_id: UUID | None) -> holds.HoldRequest:
    call, priced = question.call, question.priced
    assert priced is not None  # noqa: S101  # every open question has passed the price gate
    return holds.HoldRequest(
        id=uuid7(),
        account_id=question.caller.account_id,
        api_key_id=question.caller.key_id,
        token_id=token_id,
        request_id=call.request_id,
        digest=call.digest,
        kind=call.kind,
        model_id=priced.model.id,
        channel_id=priced.channel.id,
        price_version_id=priced.price.version_id,
        channel_discount=priced.channel.discount,
        user_discount=question.caller.user_discount,
        # Only what the price depends on is kept.
        fields={name: value for name, value in call.fields.items() if field_name(name) in priced.plan.multipliers},
        hold=question.hold,
        fingerprint=call.fingerprint,
        trace_id=call.trace_id,
    )


def _keep_receipts(refused: list[tuple[tuple[Call, Caller], Denial]], now: datetime) -> None:
    if refused:
        DecisionReceipt.objects.bulk_create(
            DecisionReceipt(
                account_id=caller.account_id,
                api_key_id=caller.key_id,
                request_id=call.request_id,
                trace_id=call.trace_id,
                model=call.model,
                code=denial.code,
                limit_source=denial.limit_source,
                needed=_text(denial.evidence.get("needed")) or "",
                available=_text(denial.evidence.get("available")) or "",
                resets_at=denial.evidence.get("resets_at"),
                gates=denial.evidence.get("gates", []),
                at=now,
            )
            for (call, caller), denial in refused
        )


def _text(value: Any) -> str | None:
    if value is None:
        return None
    return format(value, "f") if isinstance(value, Decimal) else str(value)
