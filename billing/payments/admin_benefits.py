"""Benefit levels on the customer's page of the console: the history, and a level by agreement."""

from __future__ import annotations

from typing import Any

from django import forms
from django.contrib import admin
from django.http import HttpRequest
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _

from accounts.admin import AccountAdmin
from accounts.admin_parts import person
from accounts.models import Account, BenefitLevel
from billing.desk import BillingDesk
from billing.payments import benefits
from billing.payments.models_benefits import BenefitLevelChange
from config import clock
from config.admin_base import ReasonForm, staff_action
from config.admin_cells import Panel, at, column, list_url, state, to, usd
from config.admin_finding import Since
from config.templatetags import ui


class PromiseForm(ReasonForm):
    """Which level, or none: then what the top-ups earn."""

    level = forms.ChoiceField(label=_("Level"), required=False)

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self.fields["level"].choices = [  # type: ignore[attr-defined]
            ("", _("What the top-ups earn")),
            *((str(one.pk), f"{one.name} × {ui.number(one.discount)}") for one in BenefitLevel.objects.all()),
        ]

    def clean_level(self) -> BenefitLevel | None:
        """The level's row."""
        chosen = self.cleaned_data["level"]
        return BenefitLevel.objects.get(pk=int(chosen)) if chosen else None


def _sentence(obj: Account) -> str:
    found = benefits.standing(obj.pk)
    return gettext(
        "The account is at %(level)s with %(net)s of net top-ups. A level set here is a promise: it holds from the "
        "next call on, and neither top-ups nor refunds lower the account below it. Without one, the account is at the "
        "level that its net top-ups earn now."
    ) % {"level": found.level or "–", "net": ui.usd_text(found.net)}


@staff_action(
    permission="billing.set_benefitlevel",
    title=_("Set level"),
    button=_("Set the level"),
    sentence=_sentence,
    form=PromiseForm,
    icon="military_tech",
)
def set_level(self: BillingDesk, request: HttpRequest, obj: Account, data: dict[str, Any]) -> str:
    """A level by agreement, or back to what the top-ups earn."""
    change = benefits.set_by_hand(obj.pk, data["level"], actor=person(request), reason=data["reason"], now=clock.now())
    return gettext("%(account)s is at %(level)s.") % {"account": obj, "level": change.after}


def benefit_panels(request: HttpRequest, owner: Account) -> list[Panel]:
    """Where the account stands and how it came there."""
    if not request.user.has_perm("billing.view_benefitlevelchange"):
        return []
    rows = BenefitLevelChange.objects.filter(account=owner).select_related("before", "after", "floor")
    newest = list(rows.order_by("-pk")[:10])
    note = gettext("Net top-ups: %(net)s. Promised: %(promised)s.") % {
        "net": ui.usd_text(benefits.net_top_ups(owner.pk)),
        "promised": (newest[0].floor if newest else None) or "–",
    }
    return [
        Panel(
            _("Benefit level"),
            (
                _("time"),
                _("from level"),
                _("to level"),
                _("net top-ups"),
                _("cause"),
                _("because of"),
                _("promised level"),
            ),
            [
                (
                    ui.when(one.at),
                    one.before or "–",
                    one.after,
                    ui.usd(one.net_usd),
                    one.get_cause_display(),
                    one.source or "–",
                    one.floor or "–",
                )
                for one in newest
            ],
            numbers=frozenset({3}),
            note=note,
            empty=_("No change yet."),
            more=list_url(BenefitLevelChange, account__id__exact=owner.pk),
        )
    ]


AccountAdmin.add_panels(benefit_panels, place=90)
AccountAdmin.set_level = set_level
AccountAdmin.actions_detail = ("set_level", *AccountAdmin.actions_detail)


@admin.register(BenefitLevelChange)
class BenefitLevelChangeAdmin(BillingDesk):
    """Every rise and fall, append-only."""

    related = ("account", "before", "after", "floor")
    ids_by_time = True
    list_display = (
        at("at", _("time")),
        to("account", _("account")),
        column(_("change"), str, name="change"),
        usd("net_usd", _("net top-ups")),
        state("cause", _("cause")),
        column(_("promised level"), lambda one: one.floor or "–", name="floor"),
    )
    list_filter = (Since, "cause")
    moment = "at"
    ordering = ("-pk",)
    account_order = ("-pk",)
    finds = (("uuid", "pk"), ("uuid", "account_id"), ("text", "source"))
    search_help_text = _("Account UUID")
