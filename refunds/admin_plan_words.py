"""What each action at the desk of plan refunds does, in words, before it is done."""

from __future__ import annotations

from typing import Any

from django.conf import settings
from django.utils.translation import gettext

from config.admin_base import sentences
from config.templatetags import ui
from refunds import plan_credit, shown
from refunds.errors import CreditNotDue
from refunds.models_plan import PlanRefund


def _words(refund: PlanRefund) -> dict[str, Any]:
    return {
        "final": ui.usd_text(refund.final),
        "plan": refund.plan_version.plan.name,
        "to": shown.goes_to(refund),
        "minutes": refund.policy.settle_minutes,
        "limit": ui.usd_text(settings.SECOND_PERSON_ABOVE_USD),
    }


def what_approving_does(refund: PlanRefund) -> str:
    """What the approval leads to."""
    return gettext(
        "%(plan)s is given back: calls under way are waited for, for %(minutes)s minutes at most, the amounts are "
        "computed once more, and up to %(final)s are sent to the way of payment (%(to)s). They cannot be called back, "
        "and the plan ends. Above %(limit)s a second person must approve as well."
    ) % _words(refund)


def what_rejecting_does(refund: PlanRefund) -> str:
    """Nothing goes, and the plan goes on."""
    told = gettext("Nothing is sent. %(plan)s goes on at once: calls are admitted again.") % _words(refund)
    return sentences(_renewal(refund, told), gettext("The customer reads your reason."))


def what_cancelling_does(refund: PlanRefund) -> str:
    """The same, in the customer's name."""
    told = gettext(
        "For the customer who changed their mind. Nothing is sent, and %(plan)s goes on at once: calls are admitted "
        "again."
    )
    return _renewal(refund, told % _words(refund))


def _renewal(refund: PlanRefund, told: str) -> str:
    return sentences(told, gettext("Its renewal is switched on again.")) if refund.renewed_before else told


def what_going_on_does(refund: PlanRefund) -> str:
    """Which step is next; the answers decide."""
    if refund.status == PlanRefund.Status.SETTLING:
        return gettext(
            "When no call is under way any more, or the time to wait for them is over, the amounts are computed once "
            "more, and up to %(final)s are sent. Otherwise it goes on waiting."
        ) % _words(refund)
    return gettext(
        "What was not sent yet is sent, the provider is asked what became of the rest, and its answers are recorded. "
        "The renewal or the end of the plan there is caught up on. Nothing is sent twice."
    )


def what_giving_credit_does(refund: PlanRefund) -> str:
    """How much is given, why, and what must not happen beside it."""
    try:
        amount = shown.money(plan_credit.due_minor(refund))
    except CreditNotDue as refusal:
        return str(refusal)
    return gettext(
        "The bank returned the refund after %(plan)s had ended, and nothing brings the plan back. %(amount)s are given "
        "as credit of the balance: promotional, so it burns before paid credit and is not refundable. It is given once "
        "for this refund: do not send the money another way beside it. Above %(limit)s, within a day, by one person "
        "for one account, it becomes a proposal that a second person approves."
    ) % (_words(refund) | {"amount": amount})


def why_it_is_flagged(refund: PlanRefund) -> str:
    """What a person should have seen."""
    return gettext("It is flagged because: %(why)s. This stays in the audit with your reason.") % {
        "why": refund.flag_reason
    }
