"""Quota windows in the console: what is open, what its calls came to, and ending one early (C06, C07, C24)."""

from __future__ import annotations

from datetime import timedelta
from decimal import Decimal
from typing import Any, Final

from django.contrib import admin
from django.db.models import F, OuterRef, QuerySet, Subquery
from django.db.models.lookups import Exact
from django.http import HttpRequest
from django.utils.http import urlencode
from django.utils.translation import gettext, ngettext, pgettext_lazy
from django.utils.translation import gettext_lazy as _

from accounts.admin import AccountAdmin
from accounts.admin_parts import audit_panel, person
from accounts.models import Account
from billing.desk import BillingDesk
from billing.metering.models import Authorization, Funding, UsageRecord
from billing.paging import by_time_and_id, page
from config import clock
from config.admin_base import staff_action
from config.admin_cells import Panel, at, code, column, link, list_url, row_url, state, to
from config.admin_finding import RECENT, first_id
from config.templatetags import ui
from subscriptions import cockpit, resetting
from subscriptions.counting import Counter
from subscriptions.models import FlowHold, QuotaWindow
from subscriptions.models_plans import FlowClass

LONGEST: Final = timedelta(days=40)
"""No window lasts longer, so what is open was opened within it."""
AROUND: Final = timedelta(minutes=1)
"""Of two calls at once either may be first: one may count in a window that opened a moment after it."""
BY_TIME: Final = by_time_and_id("authorized_at")
LEDGER_PAGE: Final = 50
OPEN_HOLDS: Final = 100
HOLD_OF: Final = {"5h": "five_hours", "week": "week", "period": "period"}


def standing_of(row: QuotaWindow) -> str:
    """Open, ended, or ended early and by what."""
    if row.is_open(clock.now()):
        full = row.enforced and not row.left
        return (
            ui.status_badge("open", gettext("Full"), tone="yellow")
            if full
            else ui.status_badge("open", gettext("Open"))
        )
    label = row.get_ended_by_display() if row.ended_by else gettext("Ended")
    return ui.status_badge("ended", label, tone="yellow" if row.ended_by == "reset" else "secondary")


def over(row: QuotaWindow) -> str:
    """What went beyond the cap."""
    return ui.flow_count(row.overshoot) if row.overshoot else ""


def _flows(name: str, title: Any) -> Any:
    return column(title, lambda row: ui.flow_count(getattr(row, name)), number=True, name=name)


class Standing(admin.SimpleListFilter):
    """Open or ended now. The key, a UUIDv7, bounds the search: no window is older than its id says."""

    title = _("state")
    parameter_name = "state"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, Any]]:
        """Two states, and the one to look into."""
        return [("open", _("Open")), ("ended", _("Ended")), ("over", _("Overshot, last 7 days"))]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        """The rows of the state."""
        now = clock.now()
        if self.value() == "open":
            return queryset.filter(pk__gte=first_id(now - LONGEST), starts_at__lte=now, ends_at__gt=now)
        if self.value() == "ended":
            return queryset.filter(ends_at__lte=now)
        if self.value() == "over":
            return queryset.filter(pk__gte=first_id(now - RECENT), used__gt=F("cap") - F("carried"))
        return queryset


def flow_panels(request: HttpRequest, owner: Account) -> list[Panel]:
    """Plan, class and the windows now, on the customer's page."""
    if not request.user.has_perm("subscriptions.view_quotawindow"):
        return []
    now = clock.now()
    plan, flow_class, counters = cockpit.glance(owner.pk, now=now)
    rate = cockpit.rate_of(flow_class, now)
    note = gettext(
        "%(plan)s (version %(version)s), %(price)s a month. Flow class %(flow_class)s: %(rate)s Flows per USD."
    )
    return [
        Panel(
            _("Flows"),
            (_("window"), pgettext_lazy("Flows", "used"), _("held"), _("carried over"), _("cap"), _("left"), _("ends")),
            [
                (
                    _window_link(one),
                    ui.flow_count(one.used),
                    ui.flow_count(one.held),
                    ui.flow_count(one.carried),
                    ui.flow_count(one.cap),
                    ui.flow_count(one.left),
                    ui.when(one.ends_at, "seconds") if one.ends_at else gettext("begins with the next call"),
                )
                for one in counters
            ],
            numbers=frozenset({1, 2, 3, 4, 5}),
            note=note
            % {
                "plan": plan.name,
                "version": plan.number,
                "price": ui.usd_text(plan.price_usd),
                "flow_class": FlowClass(flow_class).label,
                "rate": ui.number(rate.flows_per_usd) if rate else "–",
            },
            more=list_url(QuotaWindow, account__id__exact=owner.pk),
        )
    ]


def _window_link(counter: Counter) -> Any:
    """The counter by its name, leading to its window when one is open."""
    label = QuotaWindow.Kind(counter.kind).label
    return link(QuotaWindow(pk=counter.window_id), label) if counter.window_id else label


AccountAdmin.add_panels(flow_panels, place=15)


def _resettable(row: QuotaWindow) -> bool:
    return row.kind in resetting.RESETTABLE and row.is_open(clock.now())


def _what_resetting_does(row: QuotaWindow) -> str:
    return gettext(
        "%(account)s has used %(used)s of %(cap)s Flows of this window. It ends now and the next call opens a new, "
        "empty one; what was used still counts in the billing period. Calls under way stay where they are."
    ) % {"account": row.account, "used": ui.flow_count(row.spoken_for), "cap": ui.flow_count(row.cap)}


@admin.register(QuotaWindow)
class QuotaWindowAdmin(BillingDesk):
    """Every window that a call opened or a subscription began."""

    row_title = staticmethod(
        lambda row: f"{row.account} · {row.get_kind_display()} · {row.starts_at:%Y-%m-%d %H:%M} UTC"
    )
    related = ("account", "plan_version__plan")
    ids_by_time = True
    moment = "opened_at"
    list_display = (
        at("starts_at", _("starts")),
        state("kind", _("kind")),
        to("account", _("account")),
        column(_("plan"), lambda row: row.plan_version, name="plan"),
        _flows("used", pgettext_lazy("Flows", "used")),
        _flows("held", _("held")),
        _flows("carried", _("carried over")),
        _flows("cap", _("cap")),
        column(_("overshoot"), over, number=True, name="overshoot"),
        at("ends_at", _("ends")),
        column(_("state"), standing_of, name="standing"),
    )
    list_filter = ("kind", Standing)
    ordering = ("-pk",)
    account_order = ("-ends_at", "-pk")
    finds = (("uuid", "pk"), ("uuid", "account_id"))
    search_help_text = _("Window's or account's UUID")
    facts = (
        (
            _("Window"),
            (
                "account",
                "kind",
                column(_("state"), standing_of, name="standing"),
                "starts_at",
                "ends_at",
                "opened_at",
                "ended_by",
                column(_("billing period"), lambda row: link(row.period), name="period"),
                column(_("follows"), lambda row: link(row.follows), name="follows"),
                column(_("followed by"), lambda row: link(row.followed_by.first()), name="followed_by"),
            ),
        ),
        (
            _("Flows"),
            (
                column(_("plan"), lambda row: row.plan_version, name="plan"),
                "cap",
                "enforced",
                "used",
                "held",
                "carried",
                column(_("left"), lambda row: ui.number(row.left, 6), name="left"),
                column(_("overshoot"), lambda row: ui.number(row.overshoot, 6), name="overshoot"),
            ),
        ),
    )
    actions_detail = ("reset",)

    def panels(self, request: HttpRequest, obj: QuotaWindow) -> list[Panel]:
        """What counts in it: calls that are under way, then those that were charged."""
        if not request.user.has_perm("billing.view_usagerecord"):
            return audit_panel(request, obj)
        return [*_under_way(obj), _charged(request, obj), *audit_panel(request, obj)]

    @staff_action(
        permission="subscriptions.reset_quotawindow",
        title=_("Reset window"),
        button=_("End it now"),
        sentence=_what_resetting_does,
        icon="restart_alt",
        danger=True,
        applies=_resettable,
    )
    def reset(self, request: HttpRequest, obj: QuotaWindow, data: dict[str, Any]) -> str:
        """The next call opens a new one."""
        resetting.reset(obj.pk, reason=data["reason"], actor=person(request), now=clock.now())
        return gettext("The window has ended; the next call opens a new one.")


def _counts_in(obj: QuotaWindow) -> Exact:
    """The call has its hold in this window. A subquery for each row, which the holds' key answers: as a join it could
    be planned to read every hold."""
    hold = FlowHold.objects.filter(pk=OuterRef("pk"))
    return Exact(Subquery(hold.values(HOLD_OF[obj.kind])), obj.pk)


def _under_way(obj: QuotaWindow) -> list[Panel]:
    """Open holds: looked for while the window has any, among the account's that no sweep has closed."""
    if not obj.held:
        return []
    rows = Authorization.objects.filter(
        _counts_in(obj), account=obj.account_id, status=Authorization.Status.OPEN, funding=Funding.SUBSCRIPTION
    ).select_related("model")
    return [
        Panel(
            _("Calls under way"),
            (_("time"), _("model"), _("held Flows"), _("expires"), _("request ID")),
            [
                (
                    link(one, ui.when(one.created_at, "seconds")),
                    one.model.slug,
                    ui.flow_count(one.held_flows),
                    ui.when(one.expires_at, "seconds"),
                    code(one.request_id),
                )
                for one in rows.order_by("expires_at")[:OPEN_HOLDS]
            ],
            numbers=frozenset({2}),
        )
    ]


def _charged(request: HttpRequest, obj: QuotaWindow) -> Panel:
    """The window's ledger, newest first, a page at a time."""
    # Calls are found by the time of their admission, which an index knows, and kept by the window that they are in.
    records = UsageRecord.objects.filter(
        _counts_in(obj),
        account_id=obj.account_id,
        funding=Funding.SUBSCRIPTION,
        authorized_at__gte=obj.starts_at - AROUND,
        authorized_at__lt=obj.ends_at + AROUND,
    ).exclude(funding=Funding.PAYG)  # said in these words so that the partial index is used
    shown = page(records.select_related("model"), BY_TIME, request.GET, size=LEDGER_PAGE)
    held = dict(
        Authorization.objects.filter(account_id=obj.account_id, pk__in=[one.pk for one in shown.rows]).values_list(
            "pk", "held_flows"
        )
    )
    ends = [(_("Newer"), "after", shown.newer), (_("Older"), "before", shown.older)]
    ways = [(text, f"{row_url(obj)}?{urlencode({way: cursor})}") for text, way, cursor in ends if cursor]
    return Panel(
        _("Calls that count in it"),
        (_("time"), _("model"), _("Flows"), _("held before"), _("beyond its hold"), _("late"), _("request ID")),
        [_line(one, held.get(one.pk, Decimal(0))) for one in shown.rows],
        numbers=frozenset({2, 3, 4}),
        note=_note(obj, shown.rows),
        template="admin/window_ledger.html",
        context={"ways": ways},
        empty=_("No call has been charged in this window yet."),
    )


def _line(record: UsageRecord, held: Decimal) -> tuple[Any, ...]:
    beyond = max(Decimal(0), record.flows - held)
    return (
        link(record, ui.when(record.authorized_at, "seconds")),
        record.model.slug,
        ui.flow_count(record.flows),
        ui.flow_count(held),
        ui.flow_count(beyond) if beyond else "",
        gettext("late") if record.late else "",
        code(record.request_id),
    )


def _note(obj: QuotaWindow, rows: list[Any]) -> str:
    """What the page's calls come to, beside what the window says."""
    shown = sum((one.flows for one in rows), Decimal(0))
    return ngettext(
        "%(count)s call shown, %(flows)s Flows of the window's %(used)s.",
        "%(count)s calls shown, %(flows)s Flows of the window's %(used)s.",
        len(rows),
    ) % {"count": len(rows), "flows": ui.flow_count(shown), "used": ui.flow_count(obj.used)}
