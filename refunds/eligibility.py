"""Whether a plan can be given back, with every reason against it at once (F090, F092, C12, C14). Pure.

Each reason has a code that never changes, a sentence in the reader's language, and numbers that say by how much.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

from django.utils.translation import gettext as _
from django.utils.translation import ngettext

from accounts.models import Account
from billing.money import USD, from_minor_units
from refunds.facts import Facts
from refunds.models_plan import PlanRefund
from refunds.policy_words import hours

METHOD = "card"
"""How plans are paid for."""


@dataclass(frozen=True, slots=True)
class Reason:
    """Why not. `evidence` are decimal strings and RFC 3339 times."""

    code: str
    text: str
    evidence: dict[str, Any] = field(default_factory=dict)


def dollars(cents: int) -> str:
    """As it is written in a sentence."""
    return f"${from_minor_units(cents, USD):.2f}"


def reasons(facts: Facts) -> list[Reason]:
    """All of them; none: it can be refunded."""
    state = _state(facts)
    found = [*state, *_time(facts), *payments(facts)]
    if not state and facts.lines.paid > 0:
        found += _amount(facts)
    return found


def _state(facts: Facts) -> list[Reason]:
    found = []
    before, row = facts.before, facts.subscription
    if before is not None and before.status in PlanRefund.OPEN:
        found.append(Reason("under_way", _("A refund of this plan is under way: %(number)s.") % {"number": before}))
    elif before is not None and before.status == PlanRefund.Status.SUCCEEDED:
        found.append(Reason("refunded", _("This plan was refunded already: %(number)s.") % {"number": before}))
    elif not row.in_force:
        found.append(Reason("no_plan", _("The plan has ended; only a plan in force can be given back.")))
    if facts.changing:
        found.append(Reason("change_under_way", _("A change of plan is under way. Try again when it is decided.")))
    if facts.account.status != Account.Status.ACTIVE:
        found.append(Reason("account_not_active", _("The account is not active. Please write to support.")))
    return found


def _time(facts: Facts) -> list[Reason]:
    found, late = [], facts.now - facts.closes_at
    if late > timedelta(0):
        found.append(
            Reason(
                "window_closed",
                _("A refund can be asked for within %(hours)s of the payment. That time ended %(ago)s.")
                % {"hours": hours(facts.policy.window_hours), "ago": ago(late)},
                {
                    "opened_at": facts.opened_at.isoformat(),
                    "closed_at": facts.closes_at.isoformat(),
                    "late_by_seconds": f"{late.total_seconds():.6f}",
                },
            )
        )
    if facts.renewed and not facts.policy.on_renewal:  # the hours may be longer than a period
        found.append(
            Reason("renewal", _("Renewals cannot be refunded: only the first payment of a plan or an upgrade."))
        )
    return found


def payments(facts: Facts) -> list[Reason]:
    """What is against it about the payments themselves, at whatever time it was asked for."""
    if not facts.payments or facts.lines.paid <= 0:
        return [Reason("nothing_paid", _("Nothing was paid for this billing period."))]
    found = []
    if any(one.disputed_minor for one in facts.payments):
        found.append(Reason("disputed", _("The payment is disputed at the bank and cannot be refunded.")))
    oldest = min(one.paid_at for one in facts.invoices if one.paid_at)
    limit = facts.today.too_old(METHOD, oldest, facts.now)
    if limit is not None:
        found.append(
            Reason(
                "too_old",
                _("Card payments can be refunded for %(days)s days; this one is older.") % {"days": limit.days},
            )
        )
    return found


def _amount(facts: Facts) -> list[Reason]:
    lines = facts.lines
    numbers = {"paid": lines.paid, "usage": lines.usage, "refunded": lines.refunded}
    words = {name: dollars(cents) for name, cents in numbers.items()}
    evidence = {name: f"{from_minor_units(cents, USD):.2f}" for name, cents in numbers.items()}
    if lines.difference <= 0 and lines.refunded:
        text = _("Usage of %(usage)s and %(refunded)s that went back already leave nothing of the %(paid)s paid.")
    elif lines.difference <= 0:
        text = _("Usage of %(usage)s exceeds the %(paid)s paid.")
        if lines.usage == lines.paid:
            text = _("Usage of %(usage)s equals the %(paid)s paid.")
    elif lines.final < 1:
        text = _("After usage of %(usage)s and the fee nothing is left of the %(paid)s paid.")
    else:
        return []
    return [Reason("used_up", text % words, evidence)]


def ago(late: timedelta) -> str:
    """How long a moment is past, in the largest unit that says enough."""
    minutes = int(late.total_seconds() // 60)
    if late < timedelta(minutes=1):
        return _("a moment ago")
    if minutes < 120:
        return ngettext("%(n)s minute ago", "%(n)s minutes ago", minutes) % {"n": minutes}
    if minutes < 48 * 60:
        return ngettext("%(n)s hour ago", "%(n)s hours ago", minutes // 60) % {"n": minutes // 60}
    days = minutes // (24 * 60)
    return ngettext("%(n)s day ago", "%(n)s days ago", days) % {"n": days}
