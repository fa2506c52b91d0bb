"""Desks of voucher campaigns and of the codes that were made for them."""

from __future__ import annotations

from datetime import UTC, datetime, time
from decimal import Decimal
from typing import Any
from uuid import UUID

from django import forms
from django.conf import settings
from django.contrib import admin
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect, StreamingHttpResponse
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _

from accounts.admin_parts import audit_panel, person
from billing.books import campaigns
from billing.books.admin_redemptions import redemptions_panel
from billing.books.campaigns import MOST_CODES_AT_ONCE, Terms
from billing.books.models_vouchers import VoucherBatch, VoucherCampaign
from billing.desk import BillingDesk
from billing.errors import InvalidRequest
from config import clock
from config.admin_base import ReasonForm, at_stake, staff_action
from config.admin_cells import Panel, at, column, count, link, row_url, state, to, usd
from config.exports import stream
from config.templatetags import ui

Status = VoucherCampaign.Status


def _end_of(day: Any) -> datetime | None:
    """The last moment of the day, UTC."""
    return datetime.combine(day, time.max, UTC) if day else None


# --- Campaigns ----------------------------------------------------------------------------------------------------
class CampaignForm(ReasonForm):
    """A campaign's terms; they never change."""

    name = forms.CharField(label=_("Name"), max_length=80, help_text=_("For staff."))
    kind = forms.ChoiceField(label=_("Kind"), choices=VoucherCampaign.Kind.choices)
    amount = forms.DecimalField(
        label=_("Amount in USD"), min_value=Decimal("0.01"), max_value=Decimal(100_000), decimal_places=2,
        help_text=_("What each redemption gives."),
    )  # fmt: skip
    total = forms.IntegerField(label=_("Redemptions at most"), min_value=1, max_value=10_000_000)
    per_account = forms.IntegerField(label=_("Limit per account"), min_value=1, max_value=10_000, initial=1)
    begins = forms.DateField(label=_("Valid from"), required=False, help_text=_("From midnight, UTC. Empty: at once."))
    ends = forms.DateField(
        label=_("Valid until"), required=False, help_text=_("To the end of this day, UTC. Empty: without end.")
    )
    credit_days = forms.IntegerField(
        label=_("Credit lasts, in days"), min_value=1, max_value=3650, required=False,
        help_text=_("From its redemption on. Empty: see the next field."),
    )  # fmt: skip
    credit_ends = forms.DateField(
        label=_("Credit lasts until"), required=False, help_text=_("To the end of this day, UTC. Empty: for ever.")
    )
    priority = forms.IntegerField(
        label=_("Priority"), min_value=0, max_value=1000, initial=100, help_text=_("The lowest number is spent first.")
    )
    note = forms.CharField(
        label=_("Note for the customer"), max_length=200, required=False, help_text=_("Shown beside the credit.")
    )


class CodesForm(ReasonForm):
    """How many codes."""

    count = forms.IntegerField(label=_("Codes"), min_value=1, max_value=MOST_CODES_AT_ONCE)
    shared = forms.BooleanField(
        label=_("One shared code"), required=False,
        help_text=_("One code that many accounts may redeem, each once, up to the campaign's total. Codes must be 1."),
    )  # fmt: skip


def _may_give(campaign: VoucherCampaign) -> str:
    return gettext(
        "It may give up to %(worth)s. Above %(limit)s, counted over a day, somebody other than the person who made the "
        "campaign activates it."
    ) % {"worth": ui.usd_text(campaign.value), "limit": ui.usd_text(settings.SECOND_PERSON_ABOVE_USD)}


@admin.register(VoucherCampaign)
class VoucherCampaignAdmin(BillingDesk):
    """What codes give, to whom and until when."""

    by_hand = True
    row_title = staticmethod(lambda one: one.name)
    related = ("created_by", "activated_by")
    list_display = (
        "name",
        state("status", _("status")),
        state("kind", _("kind")),
        usd("amount", _("amount")),
        count("redeemed", _("redeemed")),
        count("left", _("left")),
        count("codes_made", _("codes made")),
        usd("value_out", _("value out")),
        at("valid_until", _("valid until"), "short"),
        to("created_by", _("created by")),
    )
    list_filter = ("status", "kind")
    ordering = ("-pk",)
    finds = (("uuid", "pk"), ("text", "name"))
    search_help_text = _("Campaign's UUID or whole name")
    facts = (
        (
            _("Campaign"),
            ("id", "name", "kind", "status", "status_at", "created_by", "created_at", "activated_by", "activated_at"),
        ),
        (_("Terms"), ("amount", "total", "per_account", "valid_from", "valid_until", "note")),
        (_("Credit"), ("credit_days", "credit_until", "priority")),
        (
            _("Numbers"),
            (
                "codes_made",
                "redeemed",
                column(_("left"), lambda one: ui.count(one.left)),
                column(_("value out"), lambda one: ui.usd(one.value_out)),
                column(_("value at most"), lambda one: ui.usd(one.value)),
            ),
        ),
    )
    actions_list = ("write",)
    actions_detail = ("activate", "make_codes", "pause", "end")

    def panels(self, request: HttpRequest, obj: VoucherCampaign) -> list[Panel]:
        """Codes by batch, the newest attempts, who did what."""
        batches = VoucherBatch.objects.filter(campaign=obj).select_related("created_by").order_by("-pk")[:20]
        made = Panel(
            _("Batches of codes"),
            (_("made"), _("codes"), _("shared"), _("made by"), _("withdrawn")),
            [
                (
                    link(one, ui.when(one.created_at, "seconds")),
                    ui.count(one.size),
                    gettext("yes") if one.shared else gettext("no"),
                    link(one.created_by),
                    ui.when(one.withdrawn_at),
                )
                for one in batches
            ],
            numbers=frozenset({1}),
            empty=_("No codes have been made."),
        )
        return [made, redemptions_panel({"campaign": obj}, campaign__id__exact=obj.pk), *audit_panel(request, obj)]

    @staff_action(
        permission="billing.edit_vouchercampaign",
        title=_("New campaign"),
        button=_("Make the draft"),
        sentence=_("A draft gives nothing. Its terms never change: make codes next, then activate it."),
        form=CampaignForm,
        icon="add",
    )
    def write(self, request: HttpRequest, obj: None, data: dict[str, Any]) -> HttpResponse:
        """A draft."""
        now = clock.now()
        begins = datetime.combine(data["begins"], time.min, UTC) if data["begins"] else now
        terms = Terms(
            name=data["name"],
            kind=data["kind"],
            amount=data["amount"],
            total=data["total"],
            per_account=data["per_account"],
            valid_from=begins,
            valid_until=_end_of(data["ends"]),
            credit_days=data["credit_days"],
            credit_until=_end_of(data["credit_ends"]),
            priority=data["priority"],
            note=data["note"],
        )
        made = campaigns.create(terms, actor=person(request), reason=data["reason"], now=now, key=UUID(data["token"]))
        return HttpResponseRedirect(row_url(made))

    @staff_action(
        permission="billing.make_codes_vouchercampaign",
        title=_("Make codes"),
        button=_("Make the codes and download them"),
        sentence=_(
            "The file that you download is the only place where the codes stand in full. They are stored as hashes: "
            "nobody can show them again. Keep the file like money."
        ),
        form=CodesForm,
        icon="confirmation_number",
        applies=lambda one: one.status != Status.ENDED,
    )
    def make_codes(self, request: HttpRequest, obj: VoucherCampaign, data: dict[str, Any]) -> StreamingHttpResponse:
        """All of them, in the answer and nowhere else."""
        if data["shared"] and data["count"] != 1:
            raise InvalidRequest(_("A shared code is made one at a time."), field="count")
        made = campaigns.make_codes(
            obj.pk,
            data["count"],
            shared=data["shared"],
            actor=person(request),
            reason=data["reason"],
            key=f"desk:{data['token']}",
            now=clock.now(),
        )
        amount, until = ui.usd_text(obj.amount), obj.valid_until
        tables = ([(code, amount, until) for code in made[start : start + 1000]] for start in range(0, len(made), 1000))
        columns = [gettext("Code"), gettext("Amount"), gettext("Valid until (UTC)")]
        return stream(request, columns, tables, name=f"voucher-codes-{obj.pk}")

    @staff_action(
        permission="billing.activate_vouchercampaign",
        title=_("Activate"),
        button=_("Activate the campaign"),
        sentence=_may_give,
        icon="play_arrow",
        applies=lambda one: one.status in (Status.DRAFT, Status.PAUSED),
    )
    def activate(self, request: HttpRequest, obj: VoucherCampaign, data: dict[str, Any]) -> str:
        """Codes may be redeemed."""
        campaigns.activate(obj.pk, actor=person(request), reason=data["reason"], now=clock.now())
        return gettext("%(name)s is active.") % {"name": obj.name}

    @staff_action(
        permission="billing.edit_vouchercampaign",
        title=_("Pause"),
        button=_("Pause the campaign"),
        sentence=_("Customers are told that the code cannot be redeemed at present. Credit that was given stays."),
        icon="pause",
        applies=lambda one: one.status == Status.ACTIVE,
    )
    def pause(self, request: HttpRequest, obj: VoucherCampaign, data: dict[str, Any]) -> str:
        """Nothing is redeemed for now."""
        campaigns.pause(obj.pk, actor=person(request), reason=data["reason"], now=clock.now())
        return gettext("%(name)s is paused.") % {"name": obj.name}

    @staff_action(
        permission="billing.edit_vouchercampaign",
        title=_("End"),
        button=_("End the campaign"),
        sentence=_("No code of it is redeemed any more, for good. Credit that was given stays."),
        icon="stop",
        danger=True,
        applies=lambda one: one.status != Status.ENDED,
    )
    def end(self, request: HttpRequest, obj: VoucherCampaign, data: dict[str, Any]) -> str:
        """For good."""
        campaigns.end(obj.pk, actor=person(request), reason=data["reason"], now=clock.now())
        return gettext("%(name)s has ended.") % {"name": obj.name}


@admin.register(VoucherBatch)
class VoucherBatchAdmin(BillingDesk):
    """Codes that were handed out together; they can be withdrawn together."""

    by_hand = True
    related = ("campaign", "created_by")
    list_display = (
        at("created_at", _("made")),
        to("campaign", _("campaign")),
        count("size", _("codes")),
        to("created_by", _("made by")),
        at("withdrawn_at", _("withdrawn")),
    )
    ordering = ("-pk",)
    finds = (("uuid", "pk"), ("uuid", "campaign_id"))
    search_help_text = _("Batch's or campaign's UUID")
    facts = ((None, ("id", "campaign", "size", "shared", "created_by", "created_at", "withdrawn_at")),)
    actions_detail = ("withdraw",)

    @staff_action(
        permission="billing.make_codes_vouchercampaign",
        title=_("Withdraw"),
        button=_("Withdraw the codes"),
        sentence=at_stake(
            lambda batch: (
                gettext("The batch has %(n)s codes of %(campaign)s.")
                % {"n": ui.count(batch.size), "campaign": batch.campaign}
            ),
            _("Codes of this batch that are not redeemed yet never will be. For a file that was lost or seen."),
        ),
        icon="block",
        danger=True,
        applies=lambda one: one.withdrawn_at is None,
    )
    def withdraw(self, request: HttpRequest, obj: VoucherBatch, data: dict[str, Any]) -> str:
        """For good."""
        campaigns.withdraw(obj.pk, actor=person(request), reason=data["reason"], now=clock.now())
        return gettext("The batch is withdrawn.")
