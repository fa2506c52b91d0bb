"""The tables beside a plan's refund at its desk: what was agreed and what went, what was used, what was paid."""

from __future__ import annotations

from typing import Any

from django.http import HttpRequest
from django.utils.html import format_html
from django.utils.translation import gettext, ngettext
from django.utils.translation import gettext_lazy as _

from accounts.admin_parts import audit_panel
from accounts.models import Account
from billing.metering.models import Authorization, UsageRecord
from billing.money import minor_text
from config import clock
from config.admin_cells import NOTHING, Panel, code, link, list_url, status
from config.templatetags import ui
from refunds import plan_evidence, shown
from refunds.models import Refund
from refunds.models_plan import PlanRefund
from refunds.models_policy import RefundPolicy
from refunds.plan_evidence import Evidence, Usage
from refunds.quote_plan import Lines
from subscriptions.models import Invoice, Subscription
from subscriptions.models_plans import FlowClass


def plan_state(refund: PlanRefund) -> str:
    """The status, or that a person must look."""
    return ui.status_badge("attention", gettext("Flagged")) if refund.flagged else status(refund)


def newest_panels(request: HttpRequest, of: Account | Subscription) -> list[Panel]:
    """Plans given back, on the customer's page and on a subscription's."""
    if not request.user.has_perm("refunds.view_planrefund"):
        return []
    name = "account" if isinstance(of, Account) else "subscription"
    rows = PlanRefund.objects.filter(**{name: of}).select_related("plan_version").order_by("-pk")[:5]
    found: list[tuple[Any, ...]] = [
        (
            link(one, one.number),
            plan_state(one),
            str(one.plan_version),
            ui.usd(shown.agreed(one)),
            ui.usd(one.sent),
            ui.when(one.created_at),
        )
        for one in rows
    ]
    if not found:
        return []
    headings = (_("refund"), _("status"), _("plan"), _("quoted amount"), _("sent"), _("submitted"))
    more = list_url(PlanRefund, account__id__exact=of.pk) if isinstance(of, Account) else ""
    return [Panel(_("Newest plan refunds"), headings, found, numbers=frozenset({3, 4}), more=more)]


def row_panels(request: HttpRequest, refund: PlanRefund) -> list[Panel]:
    """What to know before a decision, and who did what."""
    found = plan_evidence.gather(refund, now=clock.now())
    panels = [_lines(found)]
    if request.user.has_perm("billing.view_usagerecord"):
        panels += [_usage(found), *_where(found), *_open(found)]
    return [*panels, _payments(found), _timeline(refund), _others(found), *audit_panel(request, refund)]


# --- The quote and what was refunded ----------------------------------------------------------------------------------
def _lines(found: Evidence) -> Panel:
    refund = found.refund
    quoted = Lines.read(refund.quoted)
    settled = Lines.read(refund.settled) if refund.settled else None
    policy = refund.policy
    of_paid = policy.fee_base == RefundPolicy.FeeBase.PAID
    fee = gettext("Fee of %(rate)s") % {"rate": ui.percent(policy.fee_rate, 2)}
    base = gettext("of all that was paid") if of_paid else gettext("of the difference")
    lines = (
        ("paid", "", gettext("Paid in the period, without tax")),
        ("usage", "−", gettext("Usage")),
        ("refunded", "−", gettext("Already refunded")),
        ("difference", "=", gettext("Difference")),
        ("fee", "−", f"{fee}, {base}"),
        ("tax", "+", gettext("Tax that goes with it")),
        ("final", "=", gettext("Goes back")),
        ("least", "", gettext("At least, if open calls take all that they hold")),
    )
    rows = [
        _line(label, sign, getattr(quoted, name), getattr(settled, name) if settled else None)
        for name, sign, label in lines
    ]
    headings = (_("line"), _("quote"), _("refunded"), _("change"))
    return Panel(_("The quote and what is refunded"), headings, rows, numbers=frozenset({1, 2, 3}), note=_told(found))


def _line(label: str, sign: str, quoted: int, settled: int | None) -> tuple[Any, ...]:
    """One line in both; what changed since the quote stands beside it. Sums stand out."""

    def strong(text: str) -> str:
        return format_html("<strong>{}</strong>", text) if sign == "=" else text

    def amount(cents: int) -> str:
        return strong(f"{sign} {shown.money(cents)}" if sign else shown.money(cents))

    change = ""
    if settled is not None and settled != quoted:
        change = f"{'+' if settled > quoted else '−'} {shown.money(abs(settled - quoted))}"
    return (strong(label), amount(quoted), NOTHING if settled is None else amount(settled), change)


def _told(found: Evidence) -> str:
    refund = found.refund
    if not refund.settled:
        return gettext("Nothing was computed again yet. No line's end is ever more than the quote's.")
    sums = Lines.read(refund.settled)
    now = gettext("Sent so far: %(sent)s of %(final)s.") % {
        "sent": ui.usd_text(refund.sent),
        "final": ui.usd_text(refund.final),
    }
    if sums.final != refund.final_minor or sums.difference - sums.fee + sums.tax != sums.final:
        return gettext("The lines do not add up to what is sent: have somebody look.") + " " + now
    return now


# --- Usage ------------------------------------------------------------------------------------------------------------
def _usage(found: Evidence) -> Panel:
    """What Flows were worth to the calls that took them."""
    rows: list[tuple[Any, ...]] = [
        (
            FlowClass(one.flow_class).label if one.flow_class in FlowClass.values else NOTHING,
            gettext("%(flows)s Flows") % {"flows": ui.number(one.of, 4)},
            ui.count(one.calls),
            ui.flow_count(one.flows),
            ui.usd6(one.usd),
        )
        for one in found.classes
    ]
    headings = (_("Flow class"), _("a dollar was"), _("calls"), _("Flows"), _("worth"))
    return Panel(
        _("Usage of the period"),
        headings,
        rows,
        numbers=frozenset({1, 2, 3, 4}),
        empty=_("No call has used the plan."),
        note=_usage_note(found),
        more=list_url(UsageRecord, account__id__exact=found.refund.account_id, funding__exact="subscription"),
    )


def _usage_note(found: Evidence) -> str:
    if found.since is None:
        return gettext("No billing period of the subscription is known for that time.")
    told = gettext("From %(since)s until %(until)s calls came to %(usage)s.") % {
        "since": f"{found.since:%Y-%m-%d %H:%M} UTC",
        "until": f"{found.until:%Y-%m-%d %H:%M} UTC",
        "usage": shown.money(found.usage_minor),
    }
    if not found.whole:
        told += " " + gettext("Only the newest %(n)s calls are added up.") % {"n": ui.count(plan_evidence.MOST_CALLS)}
    return told


def _where(found: Evidence) -> list[Panel]:
    if not found.classes:
        return []

    def rows(kind: Any, used: list[Usage], none: Any) -> list[tuple[Any, ...]]:
        return [(kind, one.of or none, ui.count(one.calls), ui.flow_count(one.flows), ui.usd6(one.usd)) for one in used]

    by_model = rows(gettext("Model"), found.models, NOTHING)
    by_key = rows(gettext("API key"), found.keys, gettext("without a key"))
    headings = (_("kind"), _("name"), _("calls"), _("Flows"), _("worth"))
    return [Panel(_("Where the Flows went"), headings, by_model + by_key, numbers=frozenset({2, 3, 4}))]


def _open(found: Evidence) -> list[Panel]:
    """Calls that are waited for; a page of the desk shows the first few of them."""
    if not found.open:
        return []
    number = len(found.open)
    note = ngettext(
        "%(n)s call is under way and takes %(most)s at most.",
        "%(n)s calls are under way and take %(most)s at most.",
        number,
    ) % {"n": ui.count(number), "most": shown.money(found.open_minor)}
    rows: list[tuple[Any, ...]] = [
        (
            link(one.call, ui.when(one.call.created_at, "seconds")),
            one.call.model.slug,
            ui.flow_count(one.call.held_flows),
            ui.usd6(one.usd),
            ui.when(one.call.expires_at, "seconds"),
        )
        for one in found.open[: plan_evidence.TOP]
    ]
    headings = (_("time"), _("model"), _("held Flows"), _("worth"), _("expires"))
    more = list_url(Authorization, q=found.refund.account_id)
    return [Panel(_("Calls under way"), headings, rows, numbers=frozenset({2, 3}), note=note, more=more)]


# --- Payments, time, others -------------------------------------------------------------------------------------------
def _payments(found: Evidence) -> Panel:
    parts: dict[Any, list[Refund]] = {}
    for part in found.parts:
        parts.setdefault(part.invoice_id, []).append(part)
    of_parts = {part.invoice_id: part.invoice for part in found.parts if part.invoice is not None}
    invoices = list({one.pk: one for one in [*found.payments, *of_parts.values()]}.values())
    rows = [row for invoice in invoices for row in _of_invoice(invoice, parts.get(invoice.pk, []))]
    return Panel(
        _("Payments and their refunds"),
        (_("invoice"), _("amount paid"), _("refund"), _("status"), _("asked back"), _("fee"), _("sent")),
        rows,
        numbers=frozenset({1, 4, 5, 6}),
        empty=_("Nothing was paid for the period."),
    )


def _of_invoice(invoice: Invoice, parts: list[Refund]) -> list[tuple[Any, ...]]:
    """A payment with what goes back of it; one of which nothing does stands alone."""
    paid = _with(minor_text(invoice.paid_minor, invoice.currency), _taken(invoice))
    if not parts:
        return [(link(invoice), paid, NOTHING, "", "", "", "")]
    return [
        (
            link(invoice),
            paid,
            _with(link(part, part.number), code(part.provider_refund_id) if part.provider_refund_id else ""),
            _with(_part_state(part), _part_note(part)),
            minor_text(part.requested_minor, part.currency),
            minor_text(part.fee_minor, part.currency),
            minor_text(part.sent_minor, part.currency),
        )
        for part in parts
    ]


def _part_state(part: Refund) -> str:
    return ui.status_badge("attention", gettext("Flagged")) if part.flagged else status(part)


def _part_note(part: Refund) -> str:
    """Why it did not go, else since when it is on its way."""
    if part.failure_reason or part.submitted_at is None:
        return part.failure_reason
    return gettext("since %(when)s") % {"when": f"{part.submitted_at:%Y-%m-%d %H:%M} UTC"}


def _taken(invoice: Invoice) -> str:
    """What else takes something of the payment."""
    found = []
    if invoice.tax_minor:
        found.append(gettext("tax in it: %(tax)s") % {"tax": minor_text(invoice.tax_minor, invoice.currency)})
    if invoice.disputed_minor:
        found.append(gettext("disputed: %(sum)s") % {"sum": minor_text(invoice.disputed_minor, invoice.currency)})
    return " · ".join(found)


def _with(told: Any, more: Any) -> Any:
    """A finding with its details below."""
    return format_html('{}<div class="mh-note">{}</div>', told, more) if more else told


def _timeline(refund: PlanRefund) -> Panel:
    """As the customer reads it."""
    words = {
        "done": "",
        "active": gettext("under way"),
        "todo": gettext("still to come"),
        "failed": gettext("not done"),
    }
    rows: list[tuple[Any, ...]] = [
        (ui.when(one["at"], "seconds") if one["at"] else words[one["state"]], one["title"], one["note"])
        for one in shown.steps(refund)
    ]
    return Panel(_("Timeline, as the customer reads it"), (_("time"), _("what happened"), _("note")), rows)


def _others(found: Evidence) -> Panel:
    rows: list[tuple[Any, ...]] = [
        (
            link(one, one.number),
            one.plan_version.plan.name if isinstance(one, PlanRefund) else one.of_number,
            status(one),
            ui.usd_text(one.final) if isinstance(one, PlanRefund) else minor_text(one.sent_minor, one.currency),
            ui.when(one.created_at),
        )
        for one in found.others
    ]
    return Panel(
        _("Other refunds of the account"),
        (_("refund"), _("of"), _("status"), _("amount"), _("since")),
        rows,
        numbers=frozenset({3}),
        empty=_("None: this is the first."),
        more=list_url(Refund, account__id__exact=found.refund.account_id) if rows else "",
    )
