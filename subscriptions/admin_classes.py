"""Flow classes in the console: whose Flows are worth more or less, and the action that says so (F064, F065, C25)."""

from __future__ import annotations

from typing import Any

from django import forms
from django.contrib import admin
from django.http import HttpRequest
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _

from accounts.admin import AccountAdmin
from accounts.admin_parts import audit_panel, person
from accounts.models import Account
from billing.catalog.book import current_book
from billing.catalog.flow_terms import CLASSES
from billing.desk import BillingDesk
from config import clock
from config.admin_base import ReasonForm, staff_action
from config.admin_cells import Panel, at, column, state, to
from config.templatetags import ui
from subscriptions import classes
from subscriptions.models import FlowStanding
from subscriptions.models_plans import FlowClass


def worth(flow_class: str) -> str:
    """What a Flow of this class is worth now, in words."""
    rate = current_book().flow_rate(flow_class, clock.now())
    if rate is None:
        return gettext("no rate in force")
    return gettext("%(rate)s Flows per USD, a Flow is about %(usd)s") % {
        "rate": ui.number(rate.flows_per_usd),
        "usd": ui.price_text(rate.usd_per_flow),
    }


def worth_of(row: FlowStanding) -> str:
    """What a Flow of this account is worth now."""
    return worth(row.flow_class)


class ClassForm(ReasonForm):
    """Which class, and why, in words that the customer reads too."""

    flow_class = forms.ChoiceField(label=_("Flow class"))

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self.fields["flow_class"].choices = [  # type: ignore[attr-defined]
            (code, f"{FlowClass(code).label} · {worth(code)}") for code in CLASSES
        ]
        self.fields["reason"].help_text = _(
            "Kept in the audit, with your name, and mailed to the customer: write it for them."
        )

    @staticmethod
    def prefill(obj: Any, _params: Any) -> dict[str, Any]:
        """The class that the account has."""
        return {"flow_class": classes.class_of(obj.pk)}


def _sentence(obj: Any) -> str:
    held = classes.class_of(obj.pk)
    return gettext(
        "The account's Flow class is %(flow_class)s (%(worth)s). Another one holds from its next call on; calls that "
        "were admitted keep what a Flow was then. Its people are mailed what a Flow is worth now, your reason, and "
        "whom to ask."
    ) % {"flow_class": FlowClass(held).label, "worth": worth(held)}


def _set(request: HttpRequest, account_id: Any, data: dict[str, Any]) -> str:
    row = classes.set_class(
        account_id, data["flow_class"], reason=data["reason"], actor=person(request), now=clock.now()
    )
    return gettext("The Flow class is %(flow_class)s; its people are told by mail.") % {
        "flow_class": row.get_flow_class_display()
    }


@staff_action(
    permission="subscriptions.set_flowstanding",
    title=_("Set Flow class"),
    button=_("Set the Flow class"),
    sentence=_sentence,
    form=ClassForm,
    icon="bolt",
)
def set_flow_class(self: BillingDesk, request: HttpRequest, obj: Account, data: dict[str, Any]) -> str:
    """On the customer's page, where most accounts have no row of their own yet."""
    return _set(request, obj.pk, data)


AccountAdmin.set_flow_class = set_flow_class
AccountAdmin.actions_detail = ("set_flow_class", *AccountAdmin.actions_detail)


@admin.register(FlowStanding)
class FlowStandingAdmin(BillingDesk):
    """Accounts whose class was ever set; all others are standard."""

    row_title = staticmethod(lambda row: row.account.name)
    related = ("account", "changed_by")
    moment = "since"
    by_hand = True
    list_display = (
        to("account", _("account")),
        state("flow_class", _("Flow class")),
        column(_("a Flow is worth"), worth_of, name="worth"),
        column(_("reason"), lambda row: row.reason, name="reason"),
        column(_("set by"), lambda row: row.changed_by or gettext("the system"), name="by"),
        at("since", _("since")),
    )
    list_filter = ("flow_class",)
    ordering = ("-since", "-pk")
    finds = (("uuid", "pk"), ("email", "account__memberships__user__email"))
    search_help_text = _("Account UUID or a member's e-mail address")
    facts = (
        (
            _("Flow class"),
            ("account", "flow_class", column(_("a Flow is worth"), worth_of, name="worth"), "since"),
        ),
        (_("Decision"), ("reason", "changed_by")),
    )
    actions_detail = ("set_again",)

    def panels(self, request: HttpRequest, obj: FlowStanding) -> list[Panel]:
        """Every decision about it."""
        return audit_panel(request, obj)

    @staff_action(
        permission="subscriptions.set_flowstanding",
        title=_("Set Flow class"),
        button=_("Set the Flow class"),
        sentence=_sentence,
        form=ClassForm,
        icon="bolt",
    )
    def set_again(self, request: HttpRequest, obj: FlowStanding, data: dict[str, Any]) -> str:
        """The same action as on the customer's page."""
        return _set(request, obj.pk, data)
