"""The desk of refused usage: what was told, what each reading would cost, and what a person decides."""

from __future__ import annotations

import json
from decimal import Decimal
from typing import Any, Final

from django import forms
from django.contrib import admin
from django.http import HttpRequest
from django.utils.translation import gettext, ngettext
from django.utils.translation import gettext_lazy as _
from unfold.widgets import UnfoldAdminTextareaWidget

from accounts.admin_parts import audit_panel, person
from billing.catalog.layout import ITEM_LABELS
from billing.catalog.models import UsageConvention
from billing.catalog.normalise import FORMATS
from billing.catalog.reading import CANONICAL
from billing.desk import BillingDesk
from billing.metering import quarantine
from billing.metering.admin import JOINED, account, age_of, key_column, model, version_column
from billing.metering.models_quarantine import QuarantinedUsage
from config import clock
from config.admin_base import ReasonForm, staff_action
from config.admin_cells import Panel, at, column, count, document, link, list_url, state
from config.admin_finding import Since
from config.templatetags import ui

PERMISSION: Final = "billing.decide_quarantinedusage"
AS_CHANNEL: Final = "channel"


def waiting(row: QuarantinedUsage) -> bool:
    """Is there still something to decide?"""
    return row.state == QuarantinedUsage.State.WAITING


def decider(row: QuarantinedUsage) -> Any:
    """Who closed it: a person, or the gateway, which charged or voided the call itself."""
    if row.decided_at is None:
        return ""
    return link(row.decided_by) if row.decided_by is not None else gettext("the gateway, by itself")


class ReplayForm(ReasonForm):
    """How the object is to be read."""

    convention = forms.ChoiceField(
        label=_("Input counts"),
        choices=[(AS_CHANNEL, _("As the channel says now")), *UsageConvention.choices],
        required=False,
        initial=AS_CHANNEL,
        help_text=_("Whether the input that was told includes cached tokens. The page shows what each would cost."),
    )
    format = forms.ChoiceField(
        label=_("Format"),
        choices=[("", _("As it was told")), *((one, one) for one in FORMATS)],
        required=False,
    )


class ReplayOneForm(ReplayForm):
    """One call's usage may also be written anew."""

    usage = forms.CharField(
        label=_("Usage in its place"),
        required=False,
        max_length=4000,
        help_text=_(
            'Canonical usage, for instance {"input_tokens": 1200, "output_tokens": 310}. Empty: as it was told.'
        ),
        widget=UnfoldAdminTextareaWidget(attrs={"rows": 3}),
    )

    def clean_usage(self) -> dict[str, Any] | None:
        """An object, or nothing."""
        text = self.cleaned_data["usage"].strip()
        if not text:
            return None
        try:
            found = json.loads(text, parse_float=Decimal)
        except (ValueError, RecursionError):
            raise forms.ValidationError(_("It is not JSON.")) from None
        if not isinstance(found, dict):
            raise forms.ValidationError(_("An object is expected."))
        return found


def read_as(data: dict[str, Any]) -> dict[str, Any]:
    """The form's choices in the operation's words."""
    chosen = data["convention"]
    return {"convention": None if chosen == AS_CHANNEL else chosen, "format": data["format"]}


@admin.register(QuarantinedUsage)
class QuarantinedUsageAdmin(BillingDesk):
    """Captures and reports whose usage contradicted itself: made, and not charged until somebody decides."""

    row_title = staticmethod(lambda row: row.request_id)
    related = (*JOINED, "token", "decided_by", "usage_record", "authorization")
    moment = "first_seen_at"
    ids_by_time = True
    list_display = (
        at("first_seen_at", _("first seen")),
        state("state", _("state")),
        column(_("age"), lambda row: age_of(row.first_seen_at, row.decided_at), number=True, name="age"),
        model,
        column(_("problem"), lambda row: row.problem, name="problem"),
        account,
        count("times", _("times")),
    )
    list_filter = (Since, "state", "kind", "format")
    ordering = ("-pk",)
    finds = (("uuid", "pk"), ("uuid", "account_id"), ("uuid", "authorization_id"), ("text", "request_id"))
    search_help_text = _("Row's, account's or authorization's UUID, or request ID")
    facts = (
        (
            _("Refused"),
            (
                "state",
                column(_("problem"), lambda row: row.problem, name="problem"),
                "problem_code",
                "problem_field",
                "times",
                "first_seen_at",
                "last_seen_at",
            ),
        ),
        (
            _("Call"),
            (
                "kind",
                "account",
                key_column,
                model,
                "channel",
                "request_id",
                "trace_id",
                "occurred_at",
                "authorization",
                "token",
                version_column,
                "channel_discount",
                "user_discount",
                "fields",
            ),
        ),
        (_("Decision"), (column(_("decided by"), decider, name="decider"), "decided_at", "reason", "usage_record")),
    )
    actions_detail = ("replay", "replay_alike", "dismiss")

    def panels(self, request: HttpRequest, obj: QuarantinedUsage) -> list[Panel]:
        """What was told; while it waits, what each reading would cost; who did what."""
        found = [
            Panel(
                gettext("Usage as it was told · %(format)s") % {"format": obj.format or "–"},
                ("",),
                [(document(obj.body),)],
                empty=_("Nothing that could be kept."),
            )
        ]
        if waiting(obj):
            found.append(self._readings(obj))
        return [*found, *audit_panel(request, obj)]

    def _readings(self, obj: QuarantinedUsage) -> Panel:
        names = dict(UsageConvention.choices)
        rows = []
        for one in quarantine.readings(obj):
            name = gettext("As canonical usage") if obj.format == CANONICAL else str(names[one.convention])
            if one.of_channel:
                name = gettext("%(reading)s (as the channel says)") % {"reading": name}
            if one.usage is None or one.charge is None:
                rows.append((name, one.problem, "", ""))
            else:
                told = {item: number for item, number in one.usage.parts().items() if number}
                parts = " · ".join(f"{ITEM_LABELS[item]} {ui.count(number)}" for item, number in told.items())
                rows.append((name, parts, ui.count(one.usage.total_tokens), ui.usd6(one.charge)))
        number = quarantine.alike(obj).count()
        return Panel(
            _("What it would cost"),
            (_("reading"), _("quantities"), _("tokens"), _("charge")),
            rows,
            numbers=frozenset({2, 3}),
            note=ngettext(
                "Nothing is charged by looking. %(n)s call waits with this format and problem on this channel.",
                "Nothing is charged by looking. %(n)s calls wait with this format and problem on this channel.",
                number,
            )
            % {"n": ui.count(number)},
            more=list_url(QuarantinedUsage, state__exact="waiting", format__exact=obj.format),
        )

    @staff_action(
        permission=PERMISSION,
        title=_("Replay"),
        button=_("Read again and charge"),
        sentence=_(
            "The call is charged once, under its own request ID and at the price of its time. If its hold has expired, "
            "the charge is marked late."
        ),
        form=ReplayOneForm,
        icon="replay",
        applies=waiting,
    )
    def replay(self, request: HttpRequest, obj: QuarantinedUsage, data: dict[str, Any]) -> str:
        """Charge it as it was meant."""
        done = quarantine.replay(
            obj.pk,
            actor=person(request),
            reason=data["reason"],
            now=clock.now(),
            usage=data["usage"],
            **read_as(data),
        )
        charged = done.usage_record.charge if done.usage_record is not None else 0
        return gettext("The call is charged: %(amount)s.") % {"amount": ui.usd6_text(charged)}

    @staff_action(
        permission=PERMISSION,
        title=_("Replay all like this"),
        button=_("Read all again and charge"),
        sentence=lambda obj: (
            gettext(
                "All %(n)s that wait with the same format and problem on this channel are read alike and charged, "
                "each by itself, at most %(most)s at a time."
            )
            % {"n": ui.count(quarantine.alike(obj).count()), "most": ui.count(quarantine.AT_ONCE)}
        ),
        form=ReplayForm,
        icon="done_all",
        applies=waiting,
    )
    def replay_alike(self, request: HttpRequest, obj: QuarantinedUsage, data: dict[str, Any]) -> str:
        """The same decision for each of them."""
        done = quarantine.replay_alike(
            obj.pk, actor=person(request), reason=data["reason"], now=clock.now(), **read_as(data)
        )
        return gettext("%(charged)s charged, %(refused)s refused again, %(left)s not tried yet.") % {
            "charged": ui.count(done.charged),
            "refused": ui.count(done.refused),
            "left": ui.count(done.left),
        }

    @staff_action(
        permission=PERMISSION,
        title=_("Dismiss"),
        button=_("Dismiss it"),
        sentence=_("The call is not charged. It stays on this list with your reason; its hold ends as it would have."),
        icon="close",
        danger=True,
        applies=waiting,
    )
    def dismiss(self, request: HttpRequest, obj: QuarantinedUsage, data: dict[str, Any]) -> str:
        """It is nothing that anybody should pay."""
        quarantine.dismiss(obj.pk, actor=person(request), reason=data["reason"], now=clock.now())
        return gettext("Dismissed; nothing was charged.")
