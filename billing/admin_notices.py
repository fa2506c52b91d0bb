"""The desk of mails to customers: what was told to whom about their money, and what could not be sent."""

from __future__ import annotations

from typing import Any

from django.contrib import admin
from django.http import HttpRequest
from django.utils.translation import gettext, pgettext_lazy
from django.utils.translation import gettext_lazy as _

from billing import notices
from billing.desk import BillingDesk
from billing.models_notices import Notice
from config.admin_cells import at, column, document, to
from config.admin_finding import Since
from config.templatetags import ui


def sending(notice: Notice) -> str:
    """Sent, waiting, or given up with what went wrong."""
    if notice.sent_at:
        return ui.status_badge("sent", gettext("Sent"), tone="green")
    if notice.last_error:
        return ui.status_badge("attention", gettext("Not delivered"), tone="red")
    return ui.status_badge("pending", gettext("Waiting"))


class Unsent(admin.SimpleListFilter):
    """What did not leave the house."""

    title = _("state")
    parameter_name = "state"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, Any]]:
        """Only the ones that somebody must look at."""
        return [("unsent", _("Not sent"))]

    def queryset(self, request: HttpRequest, queryset: Any) -> Any:
        """The notices of the choice."""
        return queryset.filter(sent_at=None) if self.value() == "unsent" else queryset


@admin.register(Notice)
class NoticeAdmin(BillingDesk):
    """Mails about money, once each."""

    related = ("account", "user")
    ids_by_time = True
    row_title = staticmethod(notices.subject)
    list_display = (
        column(pgettext_lazy("mail", "subject"), notices.subject, name="subject"),
        column(_("state"), sending, name="sending"),
        to("account", _("account")),
        at("created_at", _("written")),
        at("sent_at", _("sent")),
    )
    list_filter = (Since, Unsent)
    ordering = ("-pk",)
    account_order = ("-pk",)
    finds = (("uuid", "pk"), ("uuid", "account_id"), ("email", "account__memberships__user__email"))
    search_help_text = _("Account UUID, member's e-mail address")
    facts = (
        (
            _("Notice"),
            (
                column(pgettext_lazy("mail", "subject"), notices.subject),
                "kind",
                "account",
                "user",
                column(_("state"), sending),
                "created_at",
                "sent_at",
            ),
        ),
        (_("Delivery"), ("attempts", "last_error", "key")),
        (_("Content"), (column(_("content"), lambda row: document(row.context), name="content"),)),
    )
