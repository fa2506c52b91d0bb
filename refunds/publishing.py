"""Publishing refund terms: checked, compared with what they follow, written once and never changed (F090, F091, C10).

A payment keeps the terms that were in force when it was made; new ones hold for what is paid from their start on. How
old a payment may be is the provider's word, and is read of the row in force when somebody asks.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from datetime import datetime, timedelta
from decimal import Decimal
from hashlib import sha256
from typing import Any, Final
from uuid import UUID

import orjson
from django.db import transaction
from django.utils.translation import gettext_lazy as _

from accounts import audit
from accounts.models import User
from billing.catalog.plans import places_of, plain
from billing.errors import Conflict, IdempotencyConflict, InvalidRequest
from billing.payments.models import TopUp
from refunds import policy_findings
from refunds.models_policy import RefundPolicy, method_limits
from refunds.policy_examples import EXAMPLES, Example
from refunds.policy_findings import Finding
from refunds.policy_words import TERMS
from refunds.quote_plan import Lines

FARTHEST: Final = timedelta(days=400)
LONGEST_WINDOW: Final = 8_760
"""Hours: a year."""
LONGEST_WAIT: Final = 1_440
"""Minutes: a day."""
OLDEST: Final = 3_650
"""Days: ten years."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Terms:
    """What a row says. The fee is a share of one; `effective_from` None: from the publishing on. A method that is not
    in `days_by_method` has no end."""

    window_hours: int = 24
    fee_rate: Decimal = Decimal("0.05")
    fee_base: str = RefundPolicy.FeeBase.DIFFERENCE
    on_renewal: bool = False
    refund_tax: bool = True
    settle_minutes: int = 15
    quote_minutes: int = 15
    days_by_method: Mapping[str, int] = field(default_factory=method_limits)
    effective_from: datetime | None = None


@dataclass(frozen=True, slots=True)
class Change:
    """A term before and after."""

    field: str
    before: Any
    after: Any


@dataclass(frozen=True, slots=True)
class Comparison:
    """A worked example under the terms before and under the new ones."""

    example: Example
    before: Lines
    after: Lines


@dataclass(frozen=True, slots=True)
class Preview:
    """What publishing would do. `seen` names exactly this: the terms, those that they were compared with, and what else
    was published until then."""

    base: RefundPolicy
    terms: Terms
    changes: list[Change]
    examples: list[Comparison]
    findings: list[Finding]
    seen: str


def terms_of(policy: RefundPolicy) -> Terms:
    """A row's terms, to begin the next one with."""
    return Terms(**{name: getattr(policy, name) for name in TERMS})


def changes(before: RefundPolicy, after: RefundPolicy | Terms) -> list[Change]:
    """The terms that differ."""
    return [
        Change(name, getattr(before, name), getattr(after, name))
        for name in TERMS
        if getattr(before, name) != getattr(after, name)
    ]


def outcomes(terms: RefundPolicy | Terms) -> list[tuple[Example, Lines]]:
    """The worked examples under these terms (J16, J17)."""
    told: dict[str, Any] = {
        "fee_rate": terms.fee_rate,
        "fee_of_paid": terms.fee_base == RefundPolicy.FeeBase.PAID,
        "refund_tax": terms.refund_tax,
    }
    return [(one, one.lines(**told)) for one in EXAMPLES]


def preview(terms: Terms, *, now: datetime) -> Preview:
    """Check the terms and compare them with those that they would follow. Changes nothing.

    Raises InvalidRequest naming the field, or Conflict.
    """
    terms = _checked(terms, now)
    rows = list(RefundPolicy.objects.order_by("effective_from"))
    start = terms.effective_from or now
    if any(one.effective_from == start for one in rows):
        raise Conflict(_("Other terms begin at that moment already. Choose another moment, before or after it."))
    before = [one for one in rows if one.effective_from < start]
    base = before[-1] if before else rows[0]
    changed = changes(base, terms)
    if not changed:
        raise Conflict(_("Nothing changes: that is what the terms before say."))
    old, new = outcomes(base), outcomes(terms)
    return Preview(
        base=base,
        terms=terms,
        changes=changed,
        examples=[Comparison(one, was, told) for (one, was), (_same, told) in zip(old, new, strict=True)],
        findings=policy_findings.look(
            base, terms, start=start, later=next((one for one in rows if one.effective_from > start), None), now=now
        ),
        seen=_seal(terms, base, max(one.pk for one in rows)),
    )


@transaction.atomic
def publish(terms: Terms, *, actor: User, reason: str, seen: str, key: UUID, now: datetime) -> RefundPolicy:
    """Write the terms that were previewed. `seen` is the preview's: what changed meanwhile is a Conflict.

    The same key again returns its row; with other terms it is an IdempotencyConflict. Raises InvalidRequest naming the
    field.
    """
    if not reason.strip():
        raise InvalidRequest(_("Say why."), field="reason")
    if len(reason.strip()) > 500:
        raise InvalidRequest(_("The reason has 500 characters at most."), field="reason")
    _one_at_a_time()
    made = RefundPolicy.objects.filter(client_key=key).first()
    if made is not None:
        return _again(made, terms)
    found = preview(terms, now=now)
    if seen != found.seen:
        raise Conflict(_("The terms have changed since the preview. Look at them once more."))
    policy: RefundPolicy = RefundPolicy.objects.create(
        effective_from=found.terms.effective_from or now,
        created_at=now,
        created_by=actor,
        note=reason.strip(),
        client_key=key,
        **{name: getattr(found.terms, name) for name in TERMS},
    )
    audit.record(
        actor=actor,
        action="refund_policy_published",
        subject=policy,
        reason=reason.strip(),
        before={one.field: _told(one.before) for one in found.changes},
        after={one.field: _told(one.after) for one in found.changes}
        | {"effective_from": policy.effective_from.isoformat()},
        now=now,
    )
    return policy


def _one_at_a_time() -> None:
    """Lock the oldest row, which never goes: two rows never begin together, and each was compared with what it follows.
    Refunds that name the row are not in the way."""
    RefundPolicy.objects.select_for_update(no_key=True).order_by("effective_from").first()


def _again(made: RefundPolicy, terms: Terms) -> RefundPolicy:
    start = terms.effective_from
    if changes(made, terms) or start not in (None, made.effective_from):
        raise IdempotencyConflict
    return made


# --- Checks ----------------------------------------------------------------------------------------------------------


def _checked(terms: Terms, now: datetime) -> Terms:
    """The terms in order, or InvalidRequest that names the field."""
    _number(terms.window_hours, "window_hours", least=1, most=LONGEST_WINDOW)
    _number(terms.settle_minutes, "settle_minutes", least=1, most=LONGEST_WAIT)
    _number(terms.quote_minutes, "quote_minutes", least=1, most=LONGEST_WAIT)
    _rate(terms.fee_rate)
    if terms.fee_base not in RefundPolicy.FeeBase.values:
        raise InvalidRequest(_("There is no such base of the fee."), field="fee_base")
    for method, days in terms.days_by_method.items():
        if method not in TopUp.Method.values:
            raise InvalidRequest(_("There is no such payment method."), field="days_by_method")
        _number(days, "days_by_method", least=1, most=OLDEST)
    start = terms.effective_from
    if start is not None and not now <= start <= now + FARTHEST:
        raise InvalidRequest(
            _("The start must not lie in the past, and at most 400 days ahead."), field="effective_from"
        )
    told: dict[str, Any] = {one.name: getattr(terms, one.name) for one in fields(Terms)}
    return Terms(**(told | {"days_by_method": dict(sorted(terms.days_by_method.items()))}))


def _rate(value: Decimal) -> None:
    if not isinstance(value, Decimal):
        raise TypeError(f"fee_rate is a Decimal, not {type(value).__name__}")
    if not value.is_finite() or not 0 <= value < 1 or places_of(value) > 6:
        raise InvalidRequest(_("A fee from 0 to less than 100 percent, with at most four places."), field="fee_rate")


def _number(value: int, name: str, *, least: int, most: int) -> None:
    if isinstance(value, bool) or not least <= value <= most:
        raise InvalidRequest(
            _("A whole number from %(least)s to %(most)s."), field=name, least=f"{least:,}", most=f"{most:,}"
        )


def _seal(terms: Terms, base: RefundPolicy, newest: int) -> str:
    told = {one.name: _told(getattr(terms, one.name)) for one in fields(Terms)}
    return sha256(orjson.dumps([base.pk, newest, told], option=orjson.OPT_SORT_KEYS)).hexdigest()


def _told(value: Any) -> Any:
    if isinstance(value, Decimal):
        return plain(value)
    if isinstance(value, datetime):
        return value.isoformat()
    return dict(value) if isinstance(value, Mapping) else value
