"""Desks of what became of voucher codes: a code's whereabouts, and every attempt to redeem one (F013)."""

from __future__ import annotations

from typing import Any

from django import forms
from django.contrib import admin
from django.db.models import Q, QuerySet
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.utils.translation import gettext, ngettext
from django.utils.translation import gettext_lazy as _

from accounts.admin import AccountAdmin
from accounts.models import Account
from billing.books import voucher_codes, vouchers
from billing.books.models_vouchers import Redemption, Voucher
from billing.desk import BillingDesk
from billing.errors import VoucherUnknown
from config.admin_base import ReasonForm, staff_action
from config.admin_cells import Panel, at, column, link, list_url, row_url, state, status, to, usd
from config.admin_finding import Since
from config.templatetags import ui


def redemptions_panel(of: dict[str, Any], **filters: Any) -> Panel:
    """The newest attempts on a campaign, on a code, or by an account."""
    rows = Redemption.objects.filter(**of).select_related("account", "campaign").order_by("-pk")[:10]
    return Panel(
        _("Newest redemptions and attempts"),
        (_("time"), _("result"), _("voucher code"), _("account"), _("campaign"), _("amount")),
        [
            (
                link(one, ui.when(one.at, "seconds")),
                status(one, "result"),
                one.masked,
                link(one.account),
                link(one.campaign),
                ui.usd(one.amount),
            )
            for one in rows
        ],
        numbers=frozenset({5}),
        empty=_("Nobody has tried."),
        more=list_url(Redemption, **filters) if filters else "",
    )


# --- Codes --------------------------------------------------------------------------------------------------------
class LookUpForm(ReasonForm):
    """A code in full; it is hashed at once and neither kept nor logged."""

    reason = None  # type: ignore[assignment]  # looking changes nothing
    code = forms.CharField(label=_("Voucher code"), max_length=200)


def _standing(voucher: Voucher) -> str:
    """What would become of the code now, for staff."""
    if voucher.used_at is not None:
        return ui.status_badge("used", gettext("Redeemed"), tone="green")
    if voucher.batch.withdrawn_at is not None:
        return ui.status_badge("withdrawn", gettext("Withdrawn"), tone="red")
    return status(voucher.campaign)


@admin.register(Voucher)
class VoucherAdmin(BillingDesk):
    """Codes by their last four characters; the rest is a hash."""

    by_hand = True
    row_title = staticmethod(str)
    related = ("campaign", "batch")
    list_display = (
        column(_("voucher code"), str, name="code"),
        column(_("status"), _standing, name="status"),
        to("campaign", _("campaign")),
        column(_("shared"), lambda one: gettext("yes") if one.shared else gettext("no"), name="shared"),
        at("used_at", _("redeemed")),
        at("created_at", _("made"), "short"),
    )
    ordering = ("-pk",)
    search_help_text = _("The last four characters, or a UUID. For a whole code use “Look up a code”.")
    finds = (("uuid", "pk"), ("text", "last_four"))
    facts = (
        (
            _("Voucher"),
            (
                "id",
                column(_("voucher code"), str),
                column(_("status"), _standing),
                "campaign",
                "batch",
                "shared",
                "used_at",
                "created_at",
            ),
        ),
    )
    actions_list = ("look_up",)

    def get_search_results(
        self, request: HttpRequest, queryset: QuerySet[Any], search_term: str
    ) -> tuple[QuerySet[Any], bool]:
        """Four characters in any case; a whole code does not belong into an address."""
        term = search_term.strip()
        return super().get_search_results(request, queryset, term.upper() if len(term) == 4 else term)

    def panels(self, request: HttpRequest, obj: Voucher) -> list[Panel]:
        """Who redeemed it, and who tried: for staff only."""
        return [redemptions_panel({"voucher": obj})]

    @staff_action(
        permission="billing.view_voucher",
        title=_("Look up a code"),
        button=_("Look up"),
        sentence=_("The code is sent in the form and not in an address; it is neither stored nor logged."),
        form=LookUpForm,
        icon="search",
    )
    def look_up(self, request: HttpRequest, obj: None, data: dict[str, Any]) -> HttpResponse:
        """On to its page."""
        code = voucher_codes.read(data["code"])
        found = Voucher.objects.filter(digest=code.digest).first()
        if found is None:
            tried = Redemption.objects.filter(last_four=code.last_four, digest=code.digest).order_by("-pk")[:20]
            times = len(tried)
            raise VoucherUnknown(
                ngettext(
                    "No such code was ever made. It was tried %(times)s time.",
                    "No such code was ever made. It was tried %(times)s times.",
                    times,
                ),
                times=times,
            )
        return HttpResponseRedirect(row_url(found))


# --- Attempts -----------------------------------------------------------------------------------------------------
class Refused(admin.SimpleListFilter):
    """Attempts that gave nothing."""

    title = _("outcome")
    parameter_name = "refused"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, Any]]:
        """Two choices."""
        return [("no", _("Redeemed")), ("yes", _("Refused"))]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        """One half."""
        redeemed = Q(result=Redemption.Result.REDEEMED)
        return {"no": queryset.filter(redeemed), "yes": queryset.exclude(redeemed)}.get(self.value() or "", queryset)


@admin.register(Redemption)
class RedemptionAdmin(BillingDesk):
    """Every attempt to redeem a code: when, which account, what it was told (F013)."""

    row_title = staticmethod(str)
    related = ("account", "campaign", "user", "grant", "voucher")
    moment = "at"
    ids_by_time = True
    list_display = (
        at("at", _("time")),
        state("result", _("result")),
        to("account", _("account")),
        column(_("voucher code"), lambda one: one.masked, name="code"),
        usd("amount", _("amount")),
        to("campaign", _("campaign")),
        to("user", _("by")),
    )
    list_filter = (Since, Refused)
    ordering = ("-pk",)
    finds = (("uuid", "pk"), ("uuid", "account_id"), ("uuid", "voucher_id"), ("text", "last_four"))
    search_help_text = _("Redemption's, account's or voucher's UUID, or the code's last four characters")
    facts = (
        (
            _("Attempt"),
            (
                "id",
                "at",
                "account",
                "user",
                column(_("voucher code"), lambda one: one.masked),
                "result",
                column(_("message"), vouchers.message),
                "key",
            ),
        ),
        (_("Effect"), ("campaign", "voucher", "grant", "amount")),
    )


def voucher_panels(request: HttpRequest, owner: Account) -> list[Panel]:
    """What the account redeemed and tried, on the customer's page."""
    if not request.user.has_perm("billing.view_redemption"):
        return []
    return [redemptions_panel({"account": owner}, account__id__exact=owner.pk)]


AccountAdmin.add_panels(voucher_panels, place=80)
