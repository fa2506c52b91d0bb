"""How a refund is told to the customer: lines that add up, and what happened when, down to the provider's reference."""

from __future__ import annotations

from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any, Final, NamedTuple

from django.utils import timezone
from django.utils.translation import gettext as _
from django.utils.translation import ngettext

from billing.books.models import JournalEntry
from billing.money import CNY, USD, from_minor_units
from billing.payments.models import TopUp
from config.templatetags import ui
from refunds.facts import Facts
from refunds.models import Refund
from refunds.models_plan import PlanRefund
from refunds.models_policy import RefundPolicy
from refunds.quote_plan import Lines
from subscriptions import giving_back
from subscriptions.models import Invoice

ENDED_WITHOUT: Final = frozenset({"failed", "cancelled"})
"""How the customer reads that the money did not go."""


class Line(NamedTuple):
    """One line: `sign` stands before the amount, `weight` is "", "sum" or "total"."""

    label: str
    note: str
    sign: str
    amount: str
    weight: str


def money(cents: int) -> str:
    """Cents as they are written in a sentence."""
    return ui.usd_text(from_minor_units(cents, USD))


def lines(
    told: Lines,
    policy: RefundPolicy,
    *,
    usage_note: str = "",
    sent: str = "",
    possible: bool = True,
    status: str = "",
) -> list[Line]:
    """From what was paid down to what arrives (F091); `sent` says where to. Without `possible` nothing arrives.

    `status` is the customer's of a refund that was asked for.
    """
    of_paid = policy.fee_base == RefundPolicy.FeeBase.PAID
    base = _("of all that was paid") if of_paid else _("of the refundable difference")
    found = [
        Line(_("Total paid"), _("for this billing period, without tax"), "", money(told.paid), ""),
        Line(_("Actual usage"), usage_note, "−", money(told.usage), ""),
    ]
    if told.refunded:
        found.append(Line(_("Already refunded"), "", "−", money(told.refunded), ""))
    found.append(Line(_("Refundable difference"), "", "", money(told.difference), "sum"))
    found.append(Line(_("Fee of %(rate)s") % {"rate": ui.percent(policy.fee_rate, 2)}, base, "−", money(told.fee), ""))
    if told.tax:
        found.append(Line(_("Tax that goes with it"), _("in proportion"), "+", money(told.tax), ""))
    if not possible:  # a number that nobody gets must not look like one
        return found[: 4 if told.refunded else 3]
    found.append(Line(_receives(status), sent, "", money(told.final), "total"))
    return found


def _receives(status: str) -> str:
    return _("You would have received") if status in ENDED_WITHOUT else _("You receive")


def lines_of_payment(refund: Refund) -> list[Line]:
    """What was asked of one payment, the fee, and what arrives, in the payment's currency."""

    def text(amount: Decimal) -> str:
        return ui.cny_text(amount) if refund.currency == CNY else ui.usd_text(amount)

    found = []
    if refund.asked_minor is not None and refund.asked_minor != refund.requested_minor:
        asked = from_minor_units(refund.asked_minor, refund.currency)
        found.append(Line(_("Asked for"), "", "", text(asked), ""))
        rest = asked - refund.requested
        found.append(Line(_("Not accepted, credit again"), refund.part_reason, "−", text(rest), ""))
    of = _("Refunded") if refund.customer_status == "succeeded" else _("To be refunded")
    found.append(Line(of, "", "", text(refund.requested), "sum" if found else ""))
    if refund.fee_minor > 0:
        rate = ui.percent(refund.fee_rate, 2)
        found.append(
            Line(_("Fee of %(rate)s") % {"rate": rate}, _("kept from every refund"), "−", text(refund.fee), "")
        )
    elif refund.fee_minor < 0:
        found.append(Line(_("Fee given back"), "", "+", text(-refund.fee), ""))
    found.append(Line(_receives(refund.customer_status), "", "", text(refund.sent), "total"))
    return found


def goes_back(refund: PlanRefund | Refund) -> Decimal:
    """What goes back or has gone, in the refund's currency; of one that did not succeed what has gone of it."""
    if refund.customer_status not in ENDED_WITHOUT:
        return refund.final if isinstance(refund, PlanRefund) else refund.sent
    return refund.sent if isinstance(refund, PlanRefund) else Decimal(0)


def agreed(refund: PlanRefund | Refund) -> Decimal:
    """What was agreed to go back, after the fee: of a plan by its quote; in the refund's currency."""
    return dollars(refund.quoted["final"]) if isinstance(refund, PlanRefund) else refund.sent


def dollars(cents: int) -> Decimal:
    """Cents as US dollars."""
    return from_minor_units(cents, USD)


def may_cancel(refund: PlanRefund | Refund) -> bool:
    """Nothing was sent, and it is the customer's own request."""
    if isinstance(refund, PlanRefund):
        return refund.may_cancel
    asked = refund.status in (Refund.Status.REQUESTED, Refund.Status.APPROVED)
    return asked and not refund.external and refund.top_up is not None and refund.top_up.grant_id is not None


SOON: Final = timedelta(minutes=5)
"""While a change is this new, the next is expected at any moment."""


def asks_again(refund: PlanRefund | Refund, *, now: datetime) -> int:
    """Seconds after which a page asks what is new; 0 when it has ended. Banks and staff take days: less often then."""
    if refund.customer_status != "processing":
        return 0
    if refund.status == "requested":  # of either kind: a person decides
        return 60
    return 2 if now - refund.status_at < SOON else 20


def _card(invoice: Invoice) -> str:
    return f"{invoice.card_brand.capitalize()} •••• {invoice.card_last_four}" if invoice.card_last_four else ""


def card_of(facts: Facts) -> str:
    """The card or cards that it goes back to."""
    return ", ".join(dict.fromkeys(filter(None, map(_card, facts.invoices)))) or _("the card that was paid with")


def parts_of(refund: PlanRefund) -> list[Refund]:
    """One for each payment, in the order in which they were made; `listing.find` has read them."""
    return sorted(refund.payments.all(), key=lambda part: part.pk.int)


def entries(refund: PlanRefund | Refund) -> list[JournalEntry]:
    """What it did to the books, in order."""
    singles = parts_of(refund) if isinstance(refund, PlanRefund) else [refund]
    keys = [f"refund:{one.pk}:{step}" for one in singles for step in ("held", "paid", "back")]
    rows = JournalEntry.objects.filter(account_id=refund.account_id, key__in=keys)
    return list(rows.order_by("seq"))


def goes_to(refund: PlanRefund | Refund) -> str:
    """Where the money goes: the way it came (F022)."""
    if isinstance(refund, PlanRefund):
        # Those that it was sent to; a subscription's payments are those of its present period.
        parts = [part.invoice for part in parts_of(refund) if part.invoice is not None]
        found = parts or giving_back.payments_of(refund.subscription)
        return ", ".join(dict.fromkeys(filter(None, map(_card, found)))) or _("the card that was paid with")
    if refund.invoice is not None:
        return _card(refund.invoice) or _("the card that was paid with")
    return str(TopUp.Method(refund.method).label)


def usage_note(facts: Facts) -> str:
    """How many Flows in how many calls."""
    calls = facts.calls
    if not calls.made:
        return _("no calls on the plan yet")
    text = ngettext(
        "%(flows)s in %(n)s call, at the value of its moment",
        "%(flows)s in %(n)s calls, at the values of their moments",
        calls.made,
    )
    return text % {"flows": _("%(flows)s Flows") % {"flows": f"{round(calls.flows, 2):,}"}, "n": f"{calls.made:,}"}


def band(told: Lines, facts: Facts) -> str:
    """What calls under way may still change (C14); empty without any."""
    if not facts.calls.open:
        return ""
    text = ngettext(
        "%(n)s call is still under way and may use up to %(pending)s. You receive between %(least)s and %(most)s.",
        "%(n)s calls are still under way and may use up to %(pending)s. You receive between %(least)s and %(most)s.",
        facts.calls.open,
    )
    words = {
        "n": facts.calls.open,
        "pending": money(told.pending),
        "least": money(told.least),
        "most": money(told.final),
    }
    return text % words


def changed(refund: PlanRefund) -> str:
    """Why less goes back than the preview said; empty when it does not."""
    if not refund.settled or refund.final_minor == refund.quoted["final"]:
        return ""
    words = {"quoted": money(refund.quoted["final"]), "final": money(refund.final_minor)}
    more = refund.settled["usage"] - refund.quoted["usage"]
    if more > 0:
        return _(
            "%(final)s go back instead of %(quoted)s: calls that were under way at the preview came to %(more)s."
        ) % (words | {"more": money(more)})
    return _("%(final)s go back instead of %(quoted)s.") % words


def why(refund: PlanRefund | Refund) -> str:
    """The status in a sentence: what is true now of the money, and of what it was paid for."""
    status, returned = refund.customer_status, refund.succeeded_at is not None
    if status == "processing" and refund.status == "requested":
        return _("Our staff look at it. You hear from us by e-mail.")
    if status == "processing":
        return _("It takes 1 to 3 business days. You can close this; we write to you when it is done.")
    if status == "failed" and returned:
        return _("Your bank returned the money to us.")
    if isinstance(refund, PlanRefund):
        return _plan_kept(refund)
    failed = status == "failed"
    if refund.top_up is None or refund.top_up.grant_id is None:
        return _("The payment provider could not send it.") if failed else _("Nothing was sent.")
    if failed:
        return _("The payment provider could not send it. The credit is back in the account.")
    return _("Nothing was sent. The credit is back in the account.")


def _plan_kept(refund: PlanRefund) -> str:
    if refund.customer_status == "failed" and refund.sent_minor:
        words = {"sent": money(refund.sent_minor), "final": money(refund.final_minor)}
        return _("%(sent)s of %(final)s were sent; the rest could not be. The plan goes on.") % words
    if refund.failure_reason == "no_plan":
        return _("Nothing was sent: the plan had ended before.")
    if refund.customer_status == "failed":
        if refund.renewed_before:
            return _("The payment provider could not send it. The plan goes on, and so does its renewal.")
        return _("The payment provider could not send it. The plan goes on.")
    if refund.renewed_before:
        return _("Nothing was sent. The plan goes on, and so does its renewal.")
    return _("Nothing was sent. The plan goes on.")


# --- What happened ----------------------------------------------------------------------------------------------------
def _step(title: str, at: datetime | None, state: str = "done", note: str = "") -> dict[str, Any]:
    return {"title": title, "at": at, "state": state, "note": note}


def _days() -> str:
    return _("usually 1 to 3 business days, sometimes up to 10, until the bank shows it")


def steps(refund: PlanRefund | Refund) -> list[dict[str, Any]]:
    """The timeline."""
    return _of_plan(refund) if isinstance(refund, PlanRefund) else _of_payment(refund)


def _of_plan(refund: PlanRefund) -> list[dict[str, Any]]:
    status, open_now = refund.status, refund.status in PlanRefund.OPEN
    found = [_step(_("Refund submitted"), refund.created_at, note=_("calls on the plan stop, and it does not renew"))]
    if refund.approval and status == PlanRefund.Status.REQUESTED:
        found.append(_step(_("Our staff look at it"), None, "active"))
    elif refund.approval and refund.decided_at and not _rejected(refund):
        found.append(_step(_("Accepted by our staff"), refund.decided_at))
    if refund.submitted_at is not None:
        found.append(_step(_("Calls settled"), refund.submitted_at, note=changed(refund)))
        found += _sent(refund)
    elif open_now:
        waiting = status == PlanRefund.Status.SETTLING
        until = ""
        if refund.settle_by is not None:
            until = _("until %(at)s at the latest") % {"at": f"{timezone.localtime(refund.settle_by):%H:%M}"}
        found.append(_step(_("Calls under way are settled"), None, "active" if waiting else "todo", until))
        found.append(_step(_("Sent to the payment provider"), None, "todo"))
    return found + _end(refund, answer=refund.answer, rejected=_rejected(refund))


def _rejected(refund: PlanRefund) -> bool:
    return refund.failure_reason == "rejected"


def _sent(refund: PlanRefund) -> list[dict[str, Any]]:
    found = []
    for part in parts_of(refund):
        words = {"amount": money(part.sent_minor), "number": part.of_number}
        title = _("%(amount)s of invoice %(number)s sent to the payment provider") % words
        if part.submitted_at is None:
            title = _("%(amount)s of invoice %(number)s are being sent") % words
        state = {"failed": "failed", "cancelled": "failed"}.get(str(part.status), "done")
        if part.status == Refund.Status.APPROVED:
            state = "active"
        found.append(_step(title, part.submitted_at, state, part.provider_refund_id or ""))
    return found


def _of_payment(refund: Refund) -> list[dict[str, Any]]:
    found = [_step(_("Made by our staff at the payment provider"), refund.created_at)]
    if not refund.external:
        found = [_step(_("Refund requested"), refund.created_at, note=_held(refund))]
        if refund.needs_confirmation:
            note = _("An owner or a finance member confirms the payment method.")
            found.append(_step(_("Waits for your finance"), None, "active", note))
        elif refund.confirmed_at is not None:
            found.append(_step(_("Payment method confirmed"), refund.confirmed_at, note=str(refund.confirmed_by or "")))
        if refund.status == Refund.Status.REQUESTED:
            found.append(_step(_("Our staff decide"), None, "todo" if refund.needs_confirmation else "active"))
        elif refund.decided_at is not None and refund.status != Refund.Status.CANCELLED:
            found.append(_step(_("Accepted by our staff"), refund.decided_at, note=refund.part_reason))
    if refund.submitted_at is not None:
        found.append(
            _step(_("Sent to the payment provider"), refund.submitted_at, note=refund.provider_refund_id or "")
        )
    elif refund.status in Refund.WAITING:
        found.append(_step(_("Sent to the payment provider"), None, "todo"))
    return found + _end(refund, answer=refund.answer, rejected=refund.failure_reason == "reject")


def _held(refund: Refund) -> str:
    return _("the credit is set aside") if refund.top_up_id else ""


def _end(refund: PlanRefund | Refund, *, answer: str, rejected: bool) -> list[dict[str, Any]]:
    returned = refund.succeeded_at is not None
    match refund.customer_status:
        case "succeeded":
            return [_step(_("Succeeded"), refund.succeeded_at, note=_days())]
        case "failed" if returned:
            gone = _step(_("Succeeded"), refund.succeeded_at)
            return [gone, *_returned(refund)]
        case "failed":
            return [_step(_("Failed"), refund.status_at, "failed", _("please write to support"))]
        case "cancelled" if rejected:
            return [_step(_("Not accepted by our staff"), refund.status_at, "failed", answer)]
        case "cancelled":
            return [_step(_("Cancelled"), refund.status_at, note=_why_cancelled(refund))]
    return [_step(_("Succeeded"), None, "active" if refund.submitted_at else "todo", _days())]


def _returned(refund: PlanRefund | Refund) -> list[dict[str, Any]]:
    """A bank sent it back; of a plan, which has ended, it may have become credit."""
    credit = refund.given_as_credit if isinstance(refund, PlanRefund) else None
    if credit is None:
        return [_step(_("Returned by the bank"), refund.status_at, "failed", _("please write to support"))]
    given = _step(_("Given as credit"), credit.created_at, note=ui.usd_text(credit.amount))
    return [_step(_("Returned by the bank"), refund.status_at, "failed"), given]


def _why_cancelled(refund: PlanRefund | Refund) -> str:
    why = {
        "used_up": _("calls that were under way used all that was left"),
        "disputed": _("the payment is disputed at the bank"),
        "too_old": _("the payment is too old"),
        "no_plan": _("the plan had ended"),
        "refunded_at_the_provider": _("the money went back another way"),
    }
    return why.get(refund.failure_reason, _("nothing was sent"))
