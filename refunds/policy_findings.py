"""What is worth a second look before refund terms are published: sentences, not refusals (F090, F091, C10, C12-C14)."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any, Final

from django.utils.translation import gettext as _
from django.utils.translation import ngettext

from billing.payments.models import TopUp
from refunds import models_policy
from refunds.models_policy import RefundPolicy
from refunds.policy_words import days, hours, minutes, share
from subscriptions.models import Invoice, Subscription

if TYPE_CHECKING:
    from refunds.publishing import Terms

SETTLED_WITHIN: Final = 15
"""Minutes within which a refund promises to have settled open calls (C14)."""
PERIOD_HOURS: Final = 28 * 24
"""The shortest billing period."""
STEEP: Final = 4
"""A fee that grows this many times over is perhaps a slipped point."""
_OPENS: Final = (Invoice.Kind.SUBSCRIBE, Invoice.Kind.CHANGE)


@dataclass(frozen=True, slots=True)
class Finding:
    """One sentence. `warning` stands out; the others only say what will happen."""

    code: str
    text: Any
    warning: bool = True


def look(
    base: RefundPolicy, terms: Terms, *, start: datetime, later: RefundPolicy | None, now: datetime
) -> list[Finding]:
    """Warnings first, then what will happen."""
    found = [*_window(base, terms), *_fee(base, terms), *_rules(base, terms), *_waits(base, terms)]
    worse = any(one.code in _WORSE for one in found)
    found += _limits(base, terms)
    if worse and start <= now:
        found.append(
            Finding(
                "at_once",
                _(
                    "It holds at once: who is paying at this moment has read the terms before. "
                    "A start some hours ahead is fairer."
                ),
            )
        )
    if later is not None:
        said = {"at": f"{later.effective_from:%Y-%m-%d %H:%M}"}
        found.append(Finding("later", _("Other terms take over at %(at)s UTC; they were published before.") % said))
    return sorted([*found, _kept(now)], key=lambda one: not one.warning)


_WORSE: Final = frozenset({"window_shorter", "fee_up", "fee_of_paid", "renewal_off", "tax_kept"})
"""What takes from customers."""


def _window(base: RefundPolicy, terms: Terms) -> list[Finding]:
    found = []
    said = {"before": hours(base.window_hours), "after": hours(terms.window_hours)}
    if terms.window_hours < base.window_hours:
        text = _("The window becomes shorter: %(after)s to ask in instead of %(before)s.")
        found.append(Finding("window_shorter", text % said))
    elif terms.window_hours > base.window_hours:
        text = _("The window becomes longer: %(after)s to ask in instead of %(before)s.")
        found.append(Finding("window_longer", text % said, warning=False))
    if terms.window_hours > PERIOD_HOURS:
        found.append(
            Finding(
                "past_period",
                _(
                    "The window is longer than a billing period. Only the payments of the present period go back "
                    "(C13), and after a renewal none of them does where renewals are not refunded."
                ),
            )
        )
    return found


def _fee(base: RefundPolicy, terms: Terms) -> list[Finding]:
    found = []
    said = {"before": share(base.fee_rate), "after": share(terms.fee_rate)}
    if terms.fee_rate > base.fee_rate:
        text = _("The fee goes up from %(before)s to %(after)s, of plans and of top-ups.")
        found.append(Finding("fee_up", text % said))
        if base.fee_rate and terms.fee_rate >= STEEP * base.fee_rate:
            found.append(Finding("fee_steep", _("The fee is many times what it was: has the point slipped?")))
    elif terms.fee_rate < base.fee_rate:
        text = _("The fee goes down from %(before)s to %(after)s, of plans and of top-ups.")
        found.append(Finding("fee_down", text % said, warning=False))
    if terms.fee_base != base.fee_base and terms.fee_base == RefundPolicy.FeeBase.PAID:
        text = _(
            "The fee of a plan is taken of all that was paid: the more was used, the larger a part of the rest it is. "
            "A top-up's is still taken of what goes back."
        )
        found.append(Finding("fee_of_paid", text))
    elif terms.fee_base != base.fee_base:
        text = _("The fee of a plan is taken only of what is left after usage.")
        found.append(Finding("fee_of_difference", text, warning=False))
    return found


def _rules(base: RefundPolicy, terms: Terms) -> list[Finding]:
    """What is yes or no."""
    found = []
    if terms.on_renewal != base.on_renewal:
        found.append(
            Finding("renewal_on", _("Each renewal can be given back within the window again."), warning=False)
            if terms.on_renewal
            else Finding("renewal_off", _("Renewals cannot be given back any more."))
        )
    if terms.refund_tax != base.refund_tax:
        found.append(
            Finding("tax_back", _("Tax goes back in proportion to the price."), warning=False)
            if terms.refund_tax
            else Finding("tax_kept", _("Tax stays here although its price goes back: is your tax adviser content?"))
        )
    return found


def _waits(base: RefundPolicy, terms: Terms) -> list[Finding]:
    found = []
    if terms.settle_minutes < base.settle_minutes:
        text = _(
            "Calls that take longer than %(after)s count with what they hold, which is mostly more than they cost."
        )
        found.append(Finding("settle_shorter", text % {"after": minutes(terms.settle_minutes)}))
    if terms.settle_minutes > SETTLED_WITHIN:
        text = _("A refund may wait for calls for %(after)s; %(usual)s are the rule (C14).")
        said = {"after": minutes(terms.settle_minutes), "usual": minutes(SETTLED_WITHIN)}
        found.append(Finding("settle_long", text % said))
    if terms.quote_minutes != base.quote_minutes:
        text = _("A preview holds for %(after)s instead of %(before)s.")
        said = {"before": minutes(base.quote_minutes), "after": minutes(terms.quote_minutes)}
        found.append(Finding("quote", text % said, warning=False))
    return found


def _limits(base: RefundPolicy, terms: Terms) -> list[Finding]:
    """The provider's word holds for payments of before, too."""
    if terms.days_by_method == base.days_by_method:
        return []
    shorter: list[str] = []
    had, has = base.days_by_method, terms.days_by_method
    for method, label in TopUp.Method.choices:
        if method in has and (method not in had or has[method] < had[method]):
            shorter.append(f"{label} {days(has[method])}")
    text = _("The age that providers allow holds from the start for every payment, also for those made before.")
    if shorter:
        listed = ", ".join(shorter)
        text = _("Older payments cannot be refunded any more from the start on, whenever they were made: %(listed)s.")
        return [Finding("limits_shorter", text % {"listed": listed})]
    return [Finding("limits", text, warning=False)]


def _kept(now: datetime) -> Finding:
    """Those who may still give a plan back keep the terms of their payment."""
    since = now - models_policy.in_force(now).window
    count = (
        Invoice.objects.filter(
            status=Invoice.Status.PAID,
            kind__in=_OPENS,
            paid_at__gte=since,
            subscription__status__in=Subscription.IN_FORCE,
        )
        .values("subscription")
        .distinct()
        .count()
    )
    if not count:
        return Finding("kept", _("No plan may still be given back at present."), warning=False)
    text = ngettext(
        "%(count)s plan may still be given back; it keeps the terms of its payment.",
        "%(count)s plans may still be given back; they keep the terms of their payments.",
        count,
    ) % {"count": f"{count:,}"}
    return Finding("kept", text, warning=False)
