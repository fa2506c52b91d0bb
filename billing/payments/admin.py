"""Desks of money on its way in: orders, attempts, the provider's events, exchange rates."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar

from django.contrib import admin
from django.db.models import Q
from django.http import HttpRequest
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _

from accounts.admin import AccountAdmin
from accounts.admin_parts import audit_panel, person
from accounts.models import Account
from billing.desk import BillingDesk
from billing.money import minor_text
from billing.payments import reviews, settling, tasks, webhooks
from billing.payments.models import FxRate, PaymentAttempt, PaymentEvent, TopUp
from billing.payments.models_risk import RiskAssessment
from billing.payments.stripe_processor import get_processor
from billing.waking import wake
from config import clock
from config.admin_base import at_stake, staff_action
from config.admin_cells import Panel, at, column, document, link, list_url, state, status, to, usd
from config.admin_finding import Since
from config.templatetags import ui


def to_pay(order: TopUp) -> str:
    """What the customer pays, in the currency of the payment."""
    return ui.cny(order.pay_amount) if order.currency == "CNY" else ui.usd(order.pay_amount)


WITHOUT_DECISION = _("Without a decision, the order is credited when the hold ends.")
_DECIDE = (RiskAssessment.State.HELD, RiskAssessment.State.REFUND_WANTED, RiskAssessment.State.REFUNDED)


def check_state(check: RiskAssessment) -> str:
    """What our rules said. A payment in review is paid, and they have not been asked about it."""
    if check.state == RiskAssessment.State.OPEN and check.top_up.status == TopUp.Status.PAID:
        return ui.status_badge("open", gettext("Not judged yet"))
    return status(check, "state")


def order_state(order: TopUp) -> str:
    """The status, or that a person must look."""
    check = getattr(order, "risk", None)
    if check is not None and check.state in _DECIDE and order.status == TopUp.Status.PAID and not order.in_review:
        return status(check, "state")
    return ui.status_badge("attention", gettext("In review")) if order.in_review else status(order)


def _in_review(order: TopUp) -> bool:
    return order.in_review


def top_up_panels(request: HttpRequest, owner: Account) -> list[Panel]:
    """The newest orders, on the customer's page."""
    if not request.user.has_perm("billing.view_topup"):
        return []
    orders = TopUp.objects.filter(account=owner).select_related("risk").order_by("-pk")[:5]
    return [
        Panel(
            _("Newest top-ups"),
            (_("order"), _("status"), _("credit"), _("to pay"), _("created")),
            [
                (link(one), order_state(one), ui.usd(one.amount_usd), to_pay(one), ui.when(one.created_at))
                for one in orders
            ],
            numbers=frozenset({2, 3}),
            more=list_url(TopUp, account__id__exact=owner.pk),
        )
    ]


AccountAdmin.add_panels(top_up_panels, place=20)


class Waiting(admin.SimpleListFilter):
    """Orders that somebody or something still has to decide."""

    title = _("waiting")
    parameter_name = "waiting"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, Any]]:
        """By whom they wait for."""
        return [
            ("open", _("For the customer or the provider")),
            ("paid", _("Paid, not yet credited")),
            ("review", _("For staff")),
            ("held", _("On hold by a risk rule")),
            ("back", _("To be paid back")),
        ]

    def queryset(self, request: HttpRequest, queryset: Any) -> Any:
        """The orders of the choice."""
        narrowed = {
            "open": Q(status__in=TopUp.OPEN),
            "paid": Q(status=TopUp.Status.PAID),
            "review": Q(in_review=True),
            "held": Q(risk__state=RiskAssessment.State.HELD),
            "back": Q(risk__state=RiskAssessment.State.REFUND_WANTED),
        }
        chosen = narrowed.get(self.value() or "")
        return queryset if chosen is None else queryset.filter(chosen)


@admin.register(TopUp)
class TopUpAdmin(BillingDesk):
    """Orders to buy credit, with all that happened to them; apps to the right add their tables to its page."""

    panel_makers: ClassVar[list[Callable[[HttpRequest, TopUp], list[Panel]]]] = []

    related = ("account", "created_by", "fx_quote", "grant", "risk")
    ids_by_time = True
    list_display = (
        "number",
        column(_("status"), order_state, name="status"),
        usd("amount_usd", _("credit")),
        column(_("to pay"), to_pay, number=True, name="pay"),
        state("method", _("payment method")),
        to("account", _("account")),
        at("created_at", _("created")),
        at("credited_at", _("credited")),
    )
    list_filter = (Since, Waiting, "status", "method")
    ordering = ("-pk",)
    account_order = ("-pk",)
    finds = (
        ("text", "number"),
        ("text", "payment_intent_id"),
        ("text", "checkout_session_id"),
        ("uuid", "pk"),
        ("uuid", "account_id"),
        ("email", "account__memberships__user__email"),
    )
    search_help_text = _("Order, payment or checkout number, account UUID, member's e-mail address")
    facts = (
        (
            _("Order"),
            (
                "number",
                "account",
                "amount_usd",
                column(_("to pay"), to_pay),
                "method",
                "automatic",
                "fx_quote",
                "created_by",
                "created_at",
            ),
        ),
        (
            _("State"),
            (
                column(_("status"), order_state),
                "review_reason",
                "status_at",
                "paid_at",
                "credited_at",
                "grant",
                "expires_at",
                "mailed_at",
            ),
        ),
        (
            _("At the provider"),
            (
                "payment_intent_id",
                "checkout_session_id",
                "failure",
                "failure_code",
                "check_at",
                "checks",
                "checked_at",
            ),
        ),
    )
    actions_detail = ("settle", "finish_review", "pay_back")

    def panels(self, request: HttpRequest, obj: TopUp) -> list[Panel]:
        """Tries to pay, what the provider told of them, and what staff did."""
        from billing.payments.admin_disputes import order_panels  # that desk uses this one's parts

        objects = [one for one in (obj.payment_intent_id, obj.checkout_session_id) if one]
        events = PaymentEvent.objects.filter(object_id__in=objects).order_by("-received_at")[:20] if objects else []
        return [
            attempts_panel(obj),
            *risk_panel(obj),
            *order_panels(obj),
            *(panel for make in self.panel_makers for panel in make(request, obj)),
            Panel(
                _("Events of the provider"),
                (_("received"), _("type"), _("state"), _("tries"), _("last error")),
                [
                    (
                        link(one, ui.when(one.received_at, "seconds")),
                        one.type,
                        status(one, "state"),
                        ui.count(one.attempts),
                        one.last_error,
                    )
                    for one in events
                ],
                numbers=frozenset({3}),
                empty=_("None has arrived."),
            ),
            *audit_panel(request, obj),
        ]

    @staff_action(
        permission="billing.settle_topup",
        title=_("Settle now"),
        button=_("Ask the provider now"),
        sentence=_(
            "The payment provider is asked what is true of this order now, and the answer is recorded: paid is "
            "credited once, unpaid stays unpaid. You decide nothing by it."
        ),
        icon="sync",
    )
    def settle(self, request: HttpRequest, obj: TopUp, data: dict[str, Any]) -> str:
        """Ask now instead of waiting for the sweep."""
        order = settling.settle_by_hand(
            obj.pk, actor=person(request), reason=data["reason"], processor=get_processor(), now=clock.now()
        )
        tasks.after(order)
        return gettext("The provider answered: %(status)s.") % {"status": order.get_status_display()}

    @staff_action(
        permission="billing.decide_topup",
        title=_("Finish the review"),
        button=_("Ask the provider and finish"),
        sentence=lambda order: (
            gettext("It is in review because: %(why)s.") % {"why": order.review_reason}
            + " "
            + gettext(
                "The provider is asked again. A payment that is as ordered goes on to its credit; one that never came "
                "ends the order. Nothing is credited while the payment differs from the order or is disputed."
            )
        ),
        icon="task_alt",
        applies=_in_review,
    )
    def finish_review(self, request: HttpRequest, obj: TopUp, data: dict[str, Any]) -> str:
        """Credit what arrived as ordered, or end what never came."""
        order = reviews.finish(
            obj.pk, actor=person(request), reason=data["reason"], processor=get_processor(), now=clock.now()
        )
        tasks.after(order)
        return gettext("The review is finished: %(status)s.") % {"status": order.get_status_display()}

    @staff_action(
        permission="billing.decide_topup",
        title=_("Pay back"),
        button=_("Pay back in full"),
        sentence=at_stake(
            lambda order: (
                gettext("The order of %(account)s is for %(amount)s; it is in review because: %(why)s.")
                % {
                    "account": order.account,
                    "amount": minor_text(order.amount_minor, order.currency),
                    "why": order.review_reason,
                }
            ),
            _(
                "Nothing is credited. The whole payment goes back the way it was paid, without a fee. This cannot be "
                "undone."
            ),
        ),
        icon="undo",
        danger=True,
        applies=lambda order: _in_review(order) and order.status == TopUp.Status.PAID and not order.refunded_minor,
    )
    def pay_back(self, request: HttpRequest, obj: TopUp, data: dict[str, Any]) -> str:
        """Do not keep this money."""
        order = reviews.pay_back(obj.pk, actor=person(request), reason=data["reason"], now=clock.now())
        return gettext("The payment of %(order)s is on its way back.") % {"order": order.number}


def risk_panel(order: TopUp) -> list[Panel]:
    """What our own rules said, with the way to the desk where a hold is decided."""
    check = getattr(order, "risk", None)
    if check is None:
        return []
    way = link(check, gettext("Release or refuse") if check.on_hold else gettext("What the rules saw"))
    row = (check_state(check), ui.when(check.state_at), ui.when(check.held_until), check.decision, way)
    headings = (_("state"), _("since"), _("held until"), _("reason of the decision"), "")
    return [Panel(_("Risk check"), headings, [row], note=WITHOUT_DECISION if check.on_hold else "")]


def attempts_panel(order: TopUp) -> Panel:
    """Tries to pay, declines with the reason that the customer reads (F023-F033)."""
    rows: list[tuple[Any, ...]] = []
    for one in order.attempts.order_by("at", "pk"):
        reason = one.reason
        rows.append(
            (
                ui.when(one.at, "seconds"),
                status(one, "outcome"),
                one.card or one.brand,
                reason.title if reason else "",
                one.decline_code or one.code,
                one.risk,
            )
        )
    headings = (_("time"), _("outcome"), _("card"), _("reason"), _("provider's code"), _("risk outcome"))
    return Panel(_("Attempts to pay"), headings, rows, empty=_("None yet."))


@admin.register(PaymentAttempt)
class PaymentAttemptAdmin(BillingDesk):
    """Every try to pay, of all orders."""

    row_title = staticmethod(lambda one: one.top_up.number)
    related = ("top_up", "top_up__account")
    moment = "at"
    ids_by_time = True
    list_display = (
        at("at", _("time")),
        state("outcome", _("outcome")),
        to("top_up", _("order")),
        column(_("account"), lambda one: link(one.top_up.account), name="account"),
        column(_("card"), lambda one: one.card or one.brand, name="card"),
        column(_("reason"), lambda one: one.reason.title if one.reason else "", name="reason"),
        column(_("decline code"), lambda one: one.decline_code or one.code, name="code"),
    )
    list_filter = (Since, "outcome", "failure_class")
    ordering = ("-pk",)
    finds = (("uuid", "pk"), ("text", "top_up__number"), ("uuid", "top_up__account_id"))
    search_help_text = _("Order, or account UUID")


def without_secrets(value: Any) -> Any:
    """A provider's object without what opens something: client secrets and the addresses of checkout pages."""
    if isinstance(value, dict):
        return {
            name: "…" if inner and ("secret" in name or name == "url") else without_secrets(inner)
            for name, inner in value.items()
        }
    return [without_secrets(inner) for inner in value] if isinstance(value, list) else value


def next_try(event: PaymentEvent) -> str:
    """When it is taken up again; nothing but a waiting event is."""
    return ui.when(event.due_at, "seconds") if event.state == PaymentEvent.State.RECEIVED else ""


@admin.register(PaymentEvent)
class PaymentEventAdmin(BillingDesk):
    """The inbox: what the provider told, and what became of it."""

    related = ("top_up",)
    moment = "received_at"
    list_display = (
        at("received_at", _("received")),
        "type",
        state("state", _("state")),
        column(_("reason"), lambda one: one.get_reason_display(), name="reason"),
        column(_("tries"), lambda one: ui.count(one.attempts), number=True, name="tries"),
        column(_("next try"), next_try, name="due_at"),
        column(_("object"), lambda one: one.object_id, name="object"),
        to("top_up", _("order")),
        column(_("last error"), lambda one: one.last_error[:60], name="error"),
    )
    list_filter = (Since, "state", "flagged", "reason")
    ordering = ("-received_at", "-pk")
    finds = (("text", "event_id"), ("text", "object_id"), ("number", "pk"))
    search_help_text = _("Event's or object's id at the provider")
    facts = (
        (_("Event"), ("event_id", "type", "provider", "object_id", "api_version", "livemode", "received_at")),
        (_("Work"), ("state", "state_at", "attempts", "silences", column(_("next try"), next_try), "last_error")),
        (
            _("Why a person should look"),
            ("flagged", column(_("reason"), lambda one: one.get_reason_display()), "top_up"),
        ),
    )
    actions_detail = ("replay",)

    def panels(self, request: HttpRequest, obj: PaymentEvent) -> list[Panel]:
        """The body as it came, less what opens something; and the audit."""
        body = Panel(_("Body"), (), [(document(without_secrets(obj.body)),)])
        return [*audit_panel(request, obj), body]

    @staff_action(
        permission="billing.replay_paymentevent",
        title=_("Replay"),
        button=_("Replay the event"),
        sentence=_(
            "The event goes back into the inbox. Its object is fetched afresh and what is true now is applied; what "
            "was done before is not done again."
        ),
        icon="replay",
        applies=lambda event: PaymentEvent.State.RECEIVED in PaymentEvent.NEXT[event.state],
    )
    def replay(self, request: HttpRequest, obj: PaymentEvent, data: dict[str, Any]) -> str:
        """Once more."""
        event = webhooks.replay(obj.pk, actor=person(request), reason=data["reason"], now=clock.now())
        wake(tasks.process_event, event.pk)
        return gettext("%(event)s is back in the inbox.") % {"event": event.event_id}


@admin.register(FxRate)
class FxRateAdmin(BillingDesk):
    """What a dollar cost, from when on."""

    list_display = (
        at("effective_at", _("from")),
        column(_("CNY for 1 USD"), lambda one: ui.number(one.rate, 8), number=True, name="rate"),
        state("source", _("source")),
    )
    ordering = ("-effective_at", "-pk")
    facts = (
        (
            _("Exchange rate"),
            ("effective_at", column(_("CNY for 1 USD"), lambda one: ui.number(one.rate, 8)), "source"),
        ),
    )
