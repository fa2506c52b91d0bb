"""Desks of our own risk checks: payments on hold, thresholds; and of the exchange rate's feed."""

from __future__ import annotations

from typing import Any, Final

from django import forms
from django.contrib import admin
from django.http import HttpRequest
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _

from accounts.admin_parts import audit_panel, person
from billing.desk import BillingDesk
from billing.money import minor_text
from billing.payments import holds, risk, risk_rules, tasks
from billing.payments.admin import WITHOUT_DECISION, attempts_panel, check_state, order_state, to_pay
from billing.payments.models import TopUp
from billing.payments.models_fx import FxFeed
from billing.payments.models_risk import RiskAssessment, RiskRule
from config import clock
from config.admin_base import ReasonForm, at_stake, sentences, staff_action
from config.admin_cells import Panel, at, column, link, to
from config.admin_finding import Since
from config.templatetags import ui

_VERDICTS: Final = {
    risk_rules.PASS: _("pass"),
    risk_rules.NOTE: _("note"),
    risk_rules.HOLD: _("hold"),
    risk_rules.REFUSE: _("refuse"),
}
_TONES: Final = {
    risk_rules.PASS: "done",
    risk_rules.NOTE: "open",
    risk_rules.HOLD: "attention",
    risk_rules.REFUSE: "failed",
}
_STAGES: Final = {risk_rules.BEFORE: _("before payment"), risk_rules.AFTER: _("after payment")}
_NAMES: Final = dict(RiskRule.Name.choices)


def reasons(check: RiskAssessment) -> str:
    """The rules that held or refused, in words."""
    strong = (risk_rules.HOLD, risk_rules.REFUSE)
    return ", ".join(
        f"{_NAMES.get(one['rule'], one['rule'])} ({one['value']})" for one in check.findings if one["verdict"] in strong
    )


def findings_panel(check: RiskAssessment | None) -> Panel:
    """Every rule that was asked, what it saw and what it said."""
    rows = [
        (
            str(_STAGES.get(one["stage"], one["stage"])),
            str(_NAMES.get(one["rule"], one["rule"])),
            one["value"],
            one["threshold"] or "–",
            ui.status_badge(_TONES.get(one["verdict"], ""), _VERDICTS.get(one["verdict"], one["verdict"])),
        )
        for one in (check.findings if check else [])
    ]
    headings = (_("stage"), _("rule"), _("seen"), _("threshold"), _("verdict"))
    note = WITHOUT_DECISION if check and check.on_hold else ""
    return Panel(_("Risk rules"), headings, rows, empty=_("No rule had anything to look at."), note=note)


def _held(check: RiskAssessment) -> str:
    about = gettext("%(account)s paid %(amount)s. It is held by: %(rules)s.") % {
        "account": check.account,
        "amount": minor_text(check.top_up.amount_minor, check.top_up.currency),
        "rules": reasons(check) or "–",
    }
    return sentences(about, WITHOUT_DECISION)


def _on_hold(check: RiskAssessment) -> bool:
    return check.on_hold


@admin.register(RiskAssessment)
class RiskAssessmentAdmin(BillingDesk):
    """What our rules said of each order; payments on hold wait here for a person."""

    row_title = staticmethod(lambda check: check.top_up.number)
    related = ("top_up", "account", "decided_by")
    list_display = (
        at("created_at", _("made")),
        column(_("state"), check_state, name="state"),
        to("top_up", _("order")),
        to("account", _("account")),
        column(_("to pay"), lambda check: to_pay(check.top_up), number=True, name="pay"),
        column(_("reason"), reasons, name="reason"),
        column(_("held until"), lambda check: ui.when(check.held_until) if check.on_hold else "", name="held_until"),
    )
    list_filter = (Since, "state")
    ordering = ("-created_at", "-pk")
    finds = (("uuid", "pk"), ("text", "top_up__number"), ("uuid", "account_id"))
    search_help_text = _("Order, or account UUID")
    facts = (
        (_("Order"), ("top_up", "account", column(_("to pay"), lambda check: to_pay(check.top_up)))),
        (_("State"), (column(_("state"), check_state), "state_at", column(_("reason"), reasons), "held_until")),
        (_("Decision"), ("decided_by", "decided_at", "decision")),
    )
    actions_detail = ("release", "refuse")

    def panels(self, request: HttpRequest, obj: RiskAssessment) -> list[Panel]:
        """The rules, the tries to pay, and the account's other orders."""
        others = (
            TopUp.objects.filter(account=obj.account).exclude(pk=obj.pk).select_related("risk").order_by("-pk")[:10]
        )
        return [
            findings_panel(obj),
            attempts_panel(obj.top_up),
            Panel(
                _("Other orders of the account"),
                (_("order"), _("status"), _("credit"), _("payment method"), _("created")),
                [
                    (
                        link(one),
                        order_state(one),
                        ui.usd(one.amount_usd),
                        one.get_method_display(),
                        ui.when(one.created_at),
                    )
                    for one in others
                ],
                numbers=frozenset({2}),
                empty=_("None."),
            ),
            *audit_panel(request, obj.top_up),
        ]

    @staff_action(
        permission="billing.decide_riskassessment",
        title=_("Release"),
        button=_("Release and credit"),
        sentence=at_stake(
            _held, _("The payment has arrived. The order is credited at once, and the customer is told.")
        ),
        icon="check_circle",
        applies=_on_hold,
    )
    def release(self, request: HttpRequest, obj: RiskAssessment, data: dict[str, Any]) -> str:
        """Let it through."""
        order = holds.release(obj.pk, actor=person(request), reason=data["reason"], now=clock.now())
        tasks.after(order)
        return gettext("%(order)s is credited.") % {"order": order.number}

    @staff_action(
        permission="billing.decide_riskassessment",
        title=_("Refuse"),
        button=_("Refuse and pay back"),
        sentence=at_stake(
            _held,
            _(
                "Nothing is credited. The payment is marked to be paid back the way it was paid, and the customer is "
                "told that it was not accepted. This cannot be undone."
            ),
        ),
        icon="block",
        danger=True,
        applies=_on_hold,
    )
    def refuse(self, request: HttpRequest, obj: RiskAssessment, data: dict[str, Any]) -> str:
        """Do not take this money."""
        order = holds.refuse(obj.pk, actor=person(request), reason=data["reason"], now=clock.now())
        return gettext("%(order)s is not accepted and will be paid back.") % {"order": order.number}


class RuleForm(ReasonForm):
    """A rule's thresholds."""

    enabled = forms.BooleanField(label=_("In force"), required=False)
    hold_at = forms.DecimalField(
        label=_("Hold from"), required=False, min_value=0, max_digits=12, decimal_places=4, help_text=_("Empty: never.")
    )
    refuse_at = forms.DecimalField(
        label=_("Refuse from"),
        required=False,
        min_value=0,
        max_digits=12,
        decimal_places=4,
        help_text=_("Empty: never. Only rules that can be asked before a payment refuse."),
    )
    window_minutes = forms.IntegerField(label=_("Looks back, minutes"), min_value=0, max_value=525_600)
    least = forms.IntegerField(
        label=_("From how many payments on"), min_value=0, max_value=500, help_text=_("For a share only.")
    )

    def __init__(self, *arguments: Any, obj: RiskRule, **options: Any) -> None:
        names = ("enabled", "hold_at", "refuse_at", "window_minutes", "least")
        known = {name: getattr(obj, name) for name in names}
        for name in ("hold_at", "refuse_at"):
            known[name] = None if known[name] is None else f"{known[name].normalize():f}"
        super().__init__(*arguments, obj=obj, initial=known, **options)


_MEANING: Final = {
    "cards_per_device": _("Different cards that were tried on this device."),
    "declines_per_email": _("Declined tries of this e-mail address."),
    "new_card": _("US dollars paid with a card that was first seen less than this time ago."),
    "authorisation_rate": _("Share of the tries of this e-mail address that succeeded; at or below."),
    "name_mismatch": _("US dollars from which a name that differs holds the payment; below, it is only noted."),
    "provider_risk": _("What the provider says of the payment: 1 elevated, 2 highest."),
}


def _limit(value: Any) -> str:
    return "–" if value is None else str(ui.number(value, 4))


@admin.register(RiskRule)
class RiskRuleAdmin(BillingDesk):
    """From when on a rule holds or refuses."""

    list_display = (
        column(_("rule"), str, name="rule"),
        column(_("counts"), lambda rule: _MEANING.get(rule.name, ""), name="counts"),
        column(_("hold from"), lambda rule: _limit(rule.hold_at), number=True, name="hold_at"),
        column(_("refuse from"), lambda rule: _limit(rule.refuse_at), number=True, name="refuse_at"),
        column(_("looks back, minutes"), lambda rule: ui.count(rule.window_minutes), number=True, name="window"),
        column(_("in force"), lambda rule: gettext("yes") if rule.enabled else gettext("no"), name="enabled"),
    )
    ordering = ("name",)
    facts = (
        (
            _("Rule"),
            (
                column(_("rule"), str),
                column(_("counts"), lambda rule: _MEANING.get(rule.name, "")),
                "enabled",
                column(_("hold from"), lambda rule: _limit(rule.hold_at)),
                column(_("refuse from"), lambda rule: _limit(rule.refuse_at)),
                "window_minutes",
                "least",
                "changed_at",
            ),
        ),
    )
    actions_detail = ("change_thresholds",)

    def panels(self, request: HttpRequest, obj: RiskRule) -> list[Panel]:
        """Who changed it."""
        return audit_panel(request, obj)

    @staff_action(
        permission="billing.change_riskrule",
        title=_("Change thresholds"),
        button=_("Change the rule"),
        sentence=at_stake(
            lambda rule: str(_MEANING.get(rule.name, "")),
            _("Holds for orders and payments from now on. What was judged before stays as it is."),
        ),
        form=RuleForm,
        icon="edit",
    )
    def change_thresholds(self, request: HttpRequest, obj: RiskRule, data: dict[str, Any]) -> str:
        """Other thresholds."""
        changed = risk.change_rule(
            obj.pk,
            enabled=data["enabled"],
            hold_at=data["hold_at"],
            refuse_at=data["refuse_at"],
            window_minutes=data["window_minutes"],
            least=data["least"],
            actor=person(request),
            reason=data["reason"],
            now=clock.now(),
        )
        return gettext("%(rule)s is changed.") % {"rule": changed}


@admin.register(FxFeed)
class FxFeedAdmin(BillingDesk):
    """Whether the exchange rate's feed is heard."""

    list_display = (
        column(_("rate"), str, name="rate"),
        at("asked_at", _("last check")),
        at("accepted_at", _("last rate accepted")),
        column(_("failures in a row"), lambda feed: ui.count(feed.failures), number=True, name="failures"),
        column(_("last error"), lambda feed: feed.last_error, name="error"),
    )
    ordering = ("pk",)
    facts = (
        (
            _("Exchange rate feed"),
            (at("asked_at", _("last check"), "full"), "accepted_at", "failures", "failed_at", "last_error"),
        ),
    )
