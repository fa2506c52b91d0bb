"""Desks of what was measured: calls with their calculation, holds, usage by day."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from django.contrib import admin
from django.http import HttpRequest
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _

from accounts.admin import AccountAdmin
from accounts.models import Account
from billing.catalog.book import current_book
from billing.desk import BillingDesk
from billing.metering import sheet
from billing.metering.models import Authorization, UsageRecord, UsageRollup
from config import clock
from config.admin_cells import (
    Panel,
    at,
    code,
    column,
    count,
    link,
    list_url,
    state,
    to,
    usd6,
)
from config.admin_finding import Since
from config.templatetags import ui

JOINED = ("account", "api_key", "model", "channel", "price_version")
account = to("account", _("account"))
model = to("model", _("model"), lambda one: one.slug)


def _kept(row: Any, name: str) -> Any:
    """A related row that may be gone: hot tables keep no foreign-key constraint."""
    try:
        return getattr(row, name)
    except type(row)._meta.get_field(name).related_model.DoesNotExist:
        return None


def key_of(row: Any) -> Any:
    """The key that the call was made with."""
    key = _kept(row, "api_key")
    return link(key, key.masked) if key is not None else ""


def version_of(row: Any) -> Any:
    """The price version that rated the call."""
    version = row.price_version
    return link(version, f"v{version.number}")


def entry_of(record: UsageRecord) -> Any:
    """The entry that charged it."""
    entry = _kept(record, "entry")
    return link(entry, f"{entry.get_kind_display()} {entry.seq}") if entry is not None else gettext("not charged")


entry_column = column(_("journal entry"), entry_of, name="entry")
key_column = column(_("API key"), key_of, name="key")
version_column = column(_("price version"), version_of, name="version")


def calls_panels(request: HttpRequest, owner: Account) -> list[Panel]:
    """The newest calls, on the customer's page."""
    if not request.user.has_perm("billing.view_usagerecord"):
        return []
    records = UsageRecord.objects.filter(account=owner).select_related("model").order_by("-authorized_at", "-pk")[:10]
    return [calls_panel(_("Newest calls"), records, more=list_url(UsageRecord, account__id__exact=owner.pk))]


def calls_panel(title: Any, records: Any, *, more: str = "", empty: Any = _("None.")) -> Panel:
    """Calls in a table."""
    return Panel(
        title,
        (_("time"), _("model"), _("input tokens"), _("output tokens"), _("charge"), _("request ID")),
        [
            (
                link(one, ui.when(one.authorized_at, "seconds")),
                one.model.slug,
                ui.count(one.input_tokens),
                ui.count(one.output_tokens),
                ui.usd6(one.charge),
                code(one.request_id),
            )
            for one in records
        ],
        numbers=frozenset({2, 3, 4}),
        more=more,
        empty=empty,
    )


AccountAdmin.add_panels(calls_panels, place=100)


@admin.register(UsageRecord)
class UsageRecordAdmin(BillingDesk):
    """Every billed call, append-only, with all that made its price (I8)."""

    row_title = staticmethod(lambda record: record.request_id)
    related = JOINED
    ids_by_time = True
    list_display = (
        at("authorized_at", _("time")),
        model,
        account,
        count("input_tokens", _("input tokens")),
        count("output_tokens", _("output tokens")),
        usd6("charge", _("charge")),
        column(_("paid by"), lambda one: one.get_funding_display(), name="funding"),
        key_column,
    )
    list_filter = (Since, "funding")
    ordering = ("-pk",)
    account_order = ("-authorized_at", "-pk")
    finds = (("uuid", "pk"), ("uuid", "account_id"), ("text", "request_id"), ("recent", "trace_id"))
    search_help_text = _("Record's or account's UUID, request ID, trace ID of the last 7 days")
    facts = (
        (
            _("Call"),
            (
                "account",
                key_column,
                model,
                "channel",
                "request_id",
                "trace_id",
                "authorized_at",
                "created_at",
                "upstream_status",
                column(_("latency"), lambda one: f"{one.latency_ms:,} ms" if one.latency_ms is not None else ""),
                "late",
            ),
        ),
        (
            _("Charge"),
            (
                "list_price",
                "channel_discount",
                "user_discount",
                "charge",
                "funding",
                "flows",
                entry_column,
                version_column,
            ),
        ),
        (
            _("Measured"),
            ("input_tokens", "output_tokens", "cache_read_tokens", "cache_write_tokens", "usage", "fields"),
        ),
    )

    def panels(self, request: HttpRequest, obj: UsageRecord) -> list[Panel]:
        """The calculation, made again now; what paid; what it may repeat."""
        explained = sheet.explain(obj, current_book())
        context = {"explained": explained, "layout": explained.layout, "record": obj}
        parts: list[tuple[Any, ...]] = [
            (
                link(part.grant, part.grant.get_kind_display()) if part.grant else gettext("Overdraft"),
                part.grant.note if part.grant else "",
                ui.usd6(part.amount),
            )
            for part in sheet.paid_from(obj)
        ]
        found = [
            Panel(_("Calculation"), template="admin/sheet.html", context=context),
            Panel(
                _("Paid from"),
                (_("credit"), _("note"), _("amount")),
                parts,
                numbers=frozenset({2}),
                empty=_("Nothing was charged."),
            ),
        ]
        alike = sheet.duplicates(obj)
        if alike:
            found.append(calls_panel(_("Possible duplicates"), alike))
        return found


@admin.register(Authorization)
class AuthorizationAdmin(BillingDesk):
    """Holds on funds, and how each ended (I4)."""

    row_title = staticmethod(lambda hold: hold.request_id)
    related = (*JOINED, "token")
    ids_by_time = True
    list_display = (
        at("created_at", _("authorised")),
        state("status", _("status")),
        model,
        account,
        usd6("held", _("held")),
        column(_("age"), lambda one: age(one), number=True, name="age"),
        at("expires_at", _("expires")),
        key_column,
    )
    list_filter = (Since, "status", "funding")
    ordering = ("-pk",)
    finds = (("uuid", "pk"), ("uuid", "account_id"), ("text", "request_id"), ("recent", "trace_id"))
    search_help_text = _("Authorization's or account's UUID, request ID, trace ID of the last 7 days")
    facts = (
        (_("Call"), ("id", "account", key_column, model, "channel", "request_id", "trace_id", "fields", "fingerprint")),
        (_("Hold"), ("status", "funding", "held", "held_flows", "channel_discount", "user_discount", version_column)),
        (_("Life"), ("created_at", "expires_at", "closed_at", "void_reason", "token")),
    )

    def panels(self, request: HttpRequest, obj: Authorization) -> list[Panel]:
        """The call that it became."""
        records = UsageRecord.objects.filter(pk=obj.pk).select_related("model")
        return [calls_panel(_("Charged as"), records, empty=_("No call was charged for this hold."))]


def age(hold: Authorization) -> str:
    """How long a hold has been open, or was."""
    return age_of(hold.created_at, hold.closed_at)


def age_of(since: datetime, until: datetime | None) -> str:
    """From then until it ended, or until now, in the unit that says it."""
    seconds = int(((until or clock.now()) - since).total_seconds())
    if seconds < 120:
        return gettext("%(n)s s") % {"n": seconds}
    return gettext("%(n)s min") % {"n": ui.count(seconds // 60)}


@admin.register(UsageRollup)
class UsageRollupAdmin(BillingDesk):
    """Days as the worker summed them; pages add what came since."""

    row_title = staticmethod(lambda one: f"{one.day.isoformat()} · {one.model.slug}")
    related = ("account", "model", "api_key")
    list_display = (
        column(_("day"), lambda one: one.day.isoformat(), name="day"),
        account,
        model,
        key_column,
        count("calls", _("calls")),
        count("input_tokens", _("input tokens")),
        count("output_tokens", _("output tokens")),
        usd6("charge", _("charge")),
    )
    list_filter = ("funding",)
    ordering = ("-pk",)
    account_order = ("-day", "pk")
    finds = (("uuid", "account_id"), ("text", "model__slug"))
    search_help_text = _("Account UUID")
