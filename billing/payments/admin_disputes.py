"""Desks of disputes, early fraud warnings and risk flags."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from typing import Any

from django import forms
from django.contrib import admin
from django.db.models import Q
from django.http import HttpRequest
from django.urls import reverse
from django.utils.html import format_html
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _

from accounts.admin import AccountAdmin
from accounts.admin_parts import audit_panel, person
from accounts.models import Account
from billing.books.models import JournalEntry
from billing.desk import BillingDesk
from billing.payments import dispute_payments, disputes, flags, fraud_warnings
from billing.payments.admin_reconciling import money
from billing.payments.models import PaymentEvent, TopUp
from billing.payments.models_disputes import Dispute, EarlyFraudWarning, RiskFlag
from billing.payments.stripe_processor import get_processor
from config import clock
from config.admin_base import ReasonForm, at_stake, sentences, staff_action
from config.admin_cells import Panel, at, column, link, list_url, state, status, to, usd, yes
from config.admin_finding import Since
from config.templatetags import ui


def age(row: Dispute) -> str:
    """How long it has been waiting, in whole hours and days."""
    if row.state not in Dispute.WAITING:
        return ""
    hours = int((clock.now() - row.opened_at).total_seconds() // 3600)
    return gettext("%(days)s d %(hours)s h") % {"days": hours // 24, "hours": hours % 24}


def paid_by(row: Dispute | EarlyFraudWarning) -> str:
    """What was paid: the order, or the invoice, leading to its page."""
    if row.top_up is not None:
        return link(row.top_up)
    page = dispute_payments.desk_of(row)
    if not page:
        return row.number
    return format_html('<a class="mh-link" href="{}">{}</a>', reverse(page, args=[row.of_id]), row.number)


_paid_by = column(_("order or invoice"), paid_by, name="paid_by")
_charge = column(_("payment at the provider"), lambda row: row.charge_id, name="charge")


def entries_panel(account_id: Any, prefix: str) -> Panel:
    """The entries that moved its money."""
    rows = JournalEntry.objects.filter(account_id=account_id, key__startswith=prefix).exclude(kind="usage")
    return Panel(
        _("Journal"),
        (_("time"), _("kind"), _("change"), _("balance after")),
        [
            (
                link(one, ui.when(one.at, "seconds")),
                one.get_kind_display(),
                ui.usd(one.delta),
                ui.usd(one.balance_after),
            )
            for one in rows.order_by("-seq")[:20]
        ],
        numbers=frozenset({2, 3}),
    )


def events_panel(object_id: str) -> Panel:
    """What the provider told of it."""
    events = PaymentEvent.objects.filter(object_id=object_id).order_by("-received_at")[:20]
    return Panel(
        _("Events of the provider"),
        (_("received"), _("type"), _("state"), _("last error")),
        [
            (link(one, ui.when(one.received_at, "seconds")), one.type, status(one, "state"), one.last_error)
            for one in events
        ],
    )


def flag_panels(request: HttpRequest, owner: Account) -> list[Panel]:
    """On the customer's page: the flag, and what it came from."""
    if not request.user.has_perm("billing.view_riskflag"):
        return []
    flag = RiskFlag.objects.filter(account=owner, cleared_at=None).first()
    found = list(Dispute.objects.filter(account=owner).select_related("top_up").order_by("-pk")[:5])
    if flag is None and not found:
        return []
    rows: list[tuple[Any, ...]] = []
    if flag is not None:
        told = gettext("blocks top-ups") if flag.blocks_top_ups else gettext("top-ups are allowed")
        rows.append((link(flag, gettext("Risk flag")), told, "", flag.reason, ui.when(flag.set_at)))
    rows += [
        (link(one), status(one, "state"), money(one.amount_minor, one.currency), one.reason, age(one)) for one in found
    ]
    return [
        Panel(
            _("Risk and disputes"),
            (_("flag or dispute"), _("state"), _("disputed"), _("reason"), _("age")),
            rows,
            numbers=frozenset({2}),
            more=list_url(Dispute, account__id__exact=owner.pk),
        )
    ]


AccountAdmin.add_panels(flag_panels, place=30)


def payment_panels(disputes: Iterable[Dispute], warnings: Iterable[EarlyFraudWarning]) -> list[Panel]:
    """Disputes and warnings of one payment, on the page of what it paid."""
    rows: list[tuple[Any, ...]] = [
        (
            link(one),
            status(one, "state"),
            money(one.amount_minor, one.currency),
            money(one.counted_minor, one.currency),
            one.reason,
            ui.when(one.opened_at),
        )
        for one in disputes
    ]
    rows += [
        (link(one), status(one, "state"), "", ui.usd(one.frozen_usd), one.fraud_type, ui.when(one.at))
        for one in warnings
    ]
    head = (_("dispute or warning"), _("state"), _("disputed"), _("of it taken"), _("reason"), _("opened"))
    return [Panel(_("Disputes and fraud warnings"), head, rows, numbers=frozenset({2, 3}))] if rows else []


def order_panels(order: TopUp) -> list[Panel]:
    """On an order's page: its disputes and warnings."""
    return payment_panels(
        Dispute.objects.filter(top_up=order).order_by("-pk")[:20],
        EarlyFraudWarning.objects.filter(top_up=order).order_by("-pk")[:20],
    )


class Waiting(admin.SimpleListFilter):
    """Disputes that have not ended, which is what the dashboard counts."""

    title = _("waiting")
    parameter_name = "waiting"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, Any]]:
        """One question."""
        return [("yes", _("For the bank or for evidence"))]

    def queryset(self, request: HttpRequest, queryset: Any) -> Any:
        """Inquiries and open disputes."""
        return queryset.filter(state__in=Dispute.WAITING) if self.value() == "yes" else queryset


@admin.register(Dispute)
class DisputeAdmin(BillingDesk):
    """What banks ask back: until when evidence is due, and what was frozen."""

    related = ("top_up", "account")
    ids_by_time = True
    moment = "opened_at"
    list_display = (
        "provider_id",
        state("state", _("state")),
        at("due_by", _("evidence due by"), "short"),
        column(_("age"), age, name="age"),
        _paid_by,
        to("account", _("account")),
        column(_("disputed"), lambda row: money(row.amount_minor, row.currency), number=True, name="disputed"),
        "reason",
        column(_("flagged"), lambda row: yes(row.flagged), name="flagged"),
    )
    list_filter = (Since, Waiting, "state", "flagged")
    ordering = ("-pk",)
    account_order = ("-pk",)
    finds = (
        *(("text", "provider_id"), ("text", "top_up__number"), ("text", "number")),
        *(("uuid", "account_id"), ("uuid", "pk")),
    )
    search_help_text = _("Dispute at the provider, order, invoice, or account UUID")
    facts = (
        (
            _("Dispute"),
            ("provider_id", "state", "state_at", "provider_status", "reason", _paid_by, "account", _charge),
        ),
        (
            _("Money"),
            (
                column(_("disputed"), lambda row: money(row.amount_minor, row.currency), name="disputed"),
                column(_("of it still left"), lambda row: money(row.counted_minor, row.currency), name="counted"),
                usd("from_frozen", _("from credit frozen before")),
                usd("from_grant", _("from unspent credit")),
                usd("from_overdraft", _("put into overdraft")),
                usd("from_revenue", _("from the revenue of plans")),
                usd("from_fee", _("from a refund fee that was kept")),
                column(
                    _("provider's fee, ours to pay"), lambda row: money(row.fee_minor, row.fee_currency), name="fee"
                ),
            ),
        ),
        (
            _("Dates"),
            ("opened_at", "seen_at", "due_by", "has_evidence", "frozen_at", "ended_at", "flagged", "flag_reason"),
        ),
    )
    actions_detail = ("ask_now",)

    def panels(self, request: HttpRequest, obj: Dispute) -> list[Panel]:
        """Entries, movements at the provider, its events, and what staff did."""
        lines: list[tuple[Any, ...]] = [
            (
                line["id"],
                money(line["amount"], line["currency"]),
                money(line["fee"], line["currency"]),
                ui.when(datetime.fromisoformat(line["at"]), "seconds"),
            )
            for line in obj.balance_lines
        ]
        return [
            entries_panel(obj.account_id, f"dispute:{obj.provider_id}:"),
            Panel(
                _("Balance transactions at the provider"),
                (_("balance transaction"), _("amount"), _("fee"), _("time")),
                lines,
                numbers=frozenset({1, 2}),
            ),
            events_panel(obj.provider_id),
            *audit_panel(request, obj),
        ]

    @staff_action(
        permission="billing.check_dispute",
        title=_("Ask the provider now"),
        sentence=_("What the provider says now is applied: the answer decides, not you. Evidence is given there."),
        icon="sync",
    )
    def ask_now(self, request: HttpRequest, obj: Dispute, data: dict[str, Any]) -> str:
        """The door that events use."""
        disputes.check_by_hand(
            obj.pk, actor=person(request), reason=data["reason"], processor=get_processor(), now=clock.now()
        )
        return gettext("The provider was asked.")


@admin.register(EarlyFraudWarning)
class EarlyFraudWarningAdmin(BillingDesk):
    """Payments that a card's network reports as fraud, and the credit frozen since."""

    related = ("top_up", "account", "ended_by")
    ids_by_time = True
    moment = "seen_at"
    list_display = (
        "provider_id",
        state("state", _("state")),
        column(_("frozen now"), lambda row: ui.usd(row.held), number=True, name="held"),
        _paid_by,
        to("account", _("account")),
        "fraud_type",
        at("at", _("warned")),
    )
    list_filter = (Since, "state")
    ordering = ("-pk",)
    account_order = ("-pk",)
    finds = (
        *(("text", "provider_id"), ("text", "top_up__number"), ("text", "number")),
        *(("uuid", "account_id"), ("uuid", "pk")),
    )
    search_help_text = _("Warning at the provider, order, invoice, or account UUID")
    facts = (
        (_("Warning"), ("provider_id", "state", "fraud_type", "actionable", _paid_by, "account", _charge)),
        (
            _("Money"),
            (
                usd("frozen_usd", _("frozen")),
                usd("used_usd", _("used by disputes")),
                usd("released_usd", _("released")),
            ),
        ),
        (_("Dates"), ("at", "seen_at", "ended_at", "ended_by")),
    )
    actions_detail = ("release",)

    def panels(self, request: HttpRequest, obj: EarlyFraudWarning) -> list[Panel]:
        """Entries, events, and what staff did."""
        return [
            entries_panel(obj.account_id, f"fraud_warning:{obj.provider_id}:"),
            events_panel(obj.provider_id),
            *audit_panel(request, obj),
        ]

    @staff_action(
        permission="billing.release_earlyfraudwarning",
        title=_("Release the credit"),
        sentence=at_stake(
            lambda row: (
                gettext("%(amount)s of %(account)s are frozen.")
                % {"amount": ui.usd_text(row.held), "account": row.account}
            ),
            _("What is frozen can be used again at once; it first pays what is owed. The customer is told."),
        ),
        icon="lock_open",
        danger=True,
        applies=lambda row: row.state == EarlyFraudWarning.State.FROZEN,
    )
    def release(self, request: HttpRequest, obj: EarlyFraudWarning, data: dict[str, Any]) -> str:
        """With its reason."""
        fraud_warnings.release(obj.pk, actor=person(request), reason=data["reason"], now=clock.now())
        return gettext("The credit is released.")


class FlagForm(ReasonForm):
    """What becomes of a flag."""

    decision = forms.ChoiceField(
        label=_("Decision"),
        choices=[
            ("block", _("Block top-ups")),
            ("allow", _("Allow top-ups; keep the flag")),
            ("clear", _("Clear the flag")),
        ],
    )

    @staticmethod
    def prefill(flag: RiskFlag, _asked: Any) -> dict[str, str]:
        """As it is now."""
        return {"decision": "block" if flag.blocks_top_ups else "allow"}


def _flagged(flag: RiskFlag) -> str:
    now = gettext("Top-ups are blocked.") if flag.blocks_top_ups else gettext("Top-ups are allowed.")
    return sentences(gettext("It is flagged because: %(why)s.") % {"why": flag.reason}, now)


class On(admin.SimpleListFilter):
    """Flags that stand."""

    title = _("flag")
    parameter_name = "on"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, Any]]:
        """By what they do."""
        return [("yes", _("Stands")), ("blocks", _("Blocks top-ups"))]

    def queryset(self, request: HttpRequest, queryset: Any) -> Any:
        """The flags of the choice."""
        narrowed = {"yes": Q(cleared_at=None), "blocks": Q(cleared_at=None, blocks_top_ups=True)}.get(
            self.value() or ""
        )
        return queryset if narrowed is None else queryset.filter(narrowed)


@admin.register(RiskFlag)
class RiskFlagAdmin(BillingDesk):
    """Accounts that a dispute or a warning has flagged."""

    row_title = staticmethod(lambda flag: flag.account.name)
    related = ("account",)
    moment = "set_at"
    list_display = (
        to("account", _("account")),
        "reason",
        column(_("blocks top-ups"), lambda row: yes(row.blocks_top_ups), name="blocks"),
        at("set_at", _("set")),
        at("cleared_at", _("cleared")),
    )
    list_filter = (On,)
    ordering = ("-set_at",)
    finds = (("uuid", "pk"),)
    search_help_text = _("Account UUID")
    facts = ((_("Risk flag"), ("account", "reason", "set_at", "blocks_top_ups", "cleared_at")),)
    actions_detail = ("decide",)

    def panels(self, request: HttpRequest, obj: RiskFlag) -> list[Panel]:
        """What staff did."""
        return audit_panel(request, obj)

    @staff_action(
        permission="billing.decide_riskflag",
        title=_("Decide"),
        sentence=at_stake(
            _flagged,
            _(
                "While top-ups are blocked, neither people nor auto top-up can buy credit for this account, and nobody "
                "can buy a plan for it."
            ),
        ),
        form=FlagForm,
        icon="flag",
    )
    def decide(self, request: HttpRequest, obj: RiskFlag, data: dict[str, Any]) -> str:
        """Block, allow or clear."""
        flags.decide(
            obj.pk,
            blocks_top_ups=data["decision"] == "block",
            clear=data["decision"] == "clear",
            actor=person(request),
            reason=data["reason"],
            now=clock.now(),
        )
        return gettext("The flag is changed.")
