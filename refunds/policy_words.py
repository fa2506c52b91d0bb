"""Refund terms in words: for staff term by term, for customers as sentences that follow the figures in force."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, Final

from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy, ngettext

from billing.payments.models import TopUp
from config.templatetags import ui
from refunds.models_policy import RefundPolicy

TERMS: Final = (
    "window_hours", "fee_rate", "fee_base", "on_renewal", "refund_tax", "settle_minutes", "quote_minutes",
    "days_by_method",
)  # fmt: skip
"""What a row says, in the order in which it is told."""
LABELS: Final[dict[str, Any]] = {
    "window_hours": gettext_lazy("time to ask"),
    "fee_rate": gettext_lazy("fee"),
    "fee_base": gettext_lazy("fee of"),
    "on_renewal": gettext_lazy("renewals"),
    "refund_tax": gettext_lazy("tax"),
    "settle_minutes": gettext_lazy("wait for open calls"),
    "quote_minutes": gettext_lazy("a preview holds"),
    "days_by_method": gettext_lazy("age that providers allow"),
}
USAGE: Final = gettext_lazy(
    "Usage counts as what a Flow was worth when its call was admitted; for a restricted account as no less than the "
    "standard value. Balance and Extra Usage do not count. This is the same under all terms (C09)."
)
WHOM: Final = gettext_lazy(
    "A plan keeps the terms of the day on which it was first paid, or its upgrade was; a renewal opens the hours again "
    "only if the terms of its own day say so. A top-up keeps the fee of the day on which it was paid. A refund that "
    "was asked for keeps its terms to the end. Only the age that providers allow is read at the moment of asking, and "
    "so holds for older payments, too."
)


def share(rate: Decimal) -> str:
    """A fee as people write it: `5 %`."""
    return ui.percent(rate, 4)


def hours(number: int) -> str:
    """`24 hours`; whole days from three on."""
    if number >= 72 and number % 24 == 0:
        return ngettext("%(n)s day", "%(n)s days", number // 24) % {"n": f"{number // 24:,}"}
    return ngettext("%(n)s hour", "%(n)s hours", number) % {"n": f"{number:,}"}


def minutes(number: int) -> str:
    """`15 minutes`."""
    return ngettext("%(n)s minute", "%(n)s minutes", number) % {"n": f"{number:,}"}


def days(number: int) -> str:
    """`90 days`."""
    return ngettext("%(n)s day", "%(n)s days", number) % {"n": f"{number:,}"}


def limits(by_method: Mapping[str, int]) -> str:
    """Every method with its days, or without an end."""
    told = {method: days(number) for method, number in by_method.items()}
    endless = _("no end")
    return " · ".join(f"{label}: {told.get(method, endless)}" for method, label in TopUp.Method.choices)


def term(name: str, value: Any) -> str:
    """One term's value."""
    match name:
        case "window_hours":
            return _("%(hours)s from the payment, the last moment included") % {"hours": hours(value)}
        case "fee_rate":
            return share(value)
        case "fee_base":
            return str(dict(RefundPolicy.FeeBase.choices)[value])
        case "on_renewal":
            return _("a renewal opens the hours again") if value else _("a renewal cannot be given back")
        case "refund_tax":
            return _("goes back in proportion to the price") if value else _("stays here")
        case "settle_minutes":
            return _("%(minutes)s, then a call counts with what it holds") % {"minutes": minutes(value)}
        case "quote_minutes":
            return minutes(value)
        case "days_by_method":
            return limits(value)
    raise ValueError(name)


# --- For customers ----------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Promise:
    """What a customer is told of the terms that a payment of now would have."""

    policy: RefundPolicy

    @property
    def hours(self) -> str:
        """How long a plan can be given back after its payment."""
        return hours(self.policy.window_hours)

    @property
    def plan(self) -> str:
        """What giving a plan back comes to, as a part of a sentence."""
        if not self.policy.fee_rate:
            return _("within %(hours)s of the payment, less what was used") % {"hours": self.hours}
        text = _("within %(hours)s of the payment, less what was used and a fee of %(fee)s of the rest")
        if self.policy.fee_base == RefundPolicy.FeeBase.PAID:
            text = _("within %(hours)s of the payment, less what was used and a fee of %(fee)s of what was paid")
        return text % {"hours": self.hours, "fee": share(self.policy.fee_rate)}

    @property
    def renewals(self) -> str:
        """Whether a renewal opens the hours again, as a sentence."""
        if self.policy.on_renewal:
            return _("The same holds after each renewal.")
        return _("It holds for the first payment and for an upgrade, not for renewals.")

    @property
    def credit(self) -> str:
        """What asking unused credit back comes to, as a part of a sentence."""
        if not self.policy.fee_rate:
            return _("unused credit, case by case")
        return _("unused credit, case by case, less a fee of %(fee)s") % {"fee": share(self.policy.fee_rate)}
