"""The evidence beside a refund at its desk: what a person should have seen before a decision."""

from __future__ import annotations

from typing import Any

from django.http import HttpRequest
from django.utils.html import format_html
from django.utils.translation import gettext, ngettext
from django.utils.translation import gettext_lazy as _

from billing.money import minor_text
from config import clock
from config.admin_cells import NOTHING, Panel, link, list_url, status
from config.templatetags import ui
from refunds import evidence
from refunds.evidence import Evidence
from refunds.models import Refund
from refunds.views_top_up import method_text


def evidence_panels(request: HttpRequest, refund: Refund) -> list[Panel]:
    """For a top-up; a plan's payment has its evidence on the plan refund."""
    if refund.top_up_id is None:
        return []
    found = evidence.gather(refund, now=clock.now())
    return [_facts(found), _models(found), _earlier(found)]


def _alarm(word: str, sentence: str = "") -> str:
    """A short word that stands out; what is longer follows it, as badges do not wrap."""
    badge = ui.status_badge("attention", word)
    return format_html("{} {}", badge, sentence) if sentence else badge


def _facts(found: Evidence) -> Panel:
    refund, order = found.refund, found.order
    rows: list[tuple[Any, ...]] = [
        (gettext("Kind of reason"), refund.get_category_display() or NOTHING, ""),
        (gettext("Age of the payment"), _age(found), ui.when(order.paid_at or order.created_at, "full")),
        (gettext("Payment method"), method_text(order), _until(found)),
        (
            gettext("Account"),
            refund.account.get_kind_display(),
            _confirmation(refund),
        ),
    ]
    if found.third_party:
        named = ", ".join(found.tools) or gettext("a third-party tool")
        rows.append((gettext("Third-party tool"), _alarm(named), gettext("Usually not a reason for a refund (F021).")))
    if found.spending is not None:
        rows += _spending(found)
    rows += _risk(found)
    return Panel(_("Evidence"), (_("what"), _("finding")), [(what, _with(told, more)) for what, told, more in rows])


def _with(told: Any, more: Any) -> Any:
    """A finding with its details below."""
    return format_html('{}<div class="mh-note">{}</div>', told, more) if more else told


def _spending(found: Evidence) -> list[tuple[Any, ...]]:
    sums = found.spending
    if sums is None:
        return []
    share = ui.percent(sums.used / sums.credited, 1)
    used = gettext("%(used)s of %(credited)s (%(share)s)") % {
        "used": ui.usd_text(sums.used),
        "credited": ui.usd_text(sums.credited),
        "share": share,
    }
    still = gettext("left: %(left)s, held by refunds and disputes: %(held)s") % {
        "left": ui.usd_text(sums.remaining),
        "held": ui.usd_text(sums.held),
    }
    if sums.first_at is None:
        return [(gettext("Used by calls"), used, still)]
    return [
        (gettext("Used by calls"), used, still),
        (gettext("First call"), ui.when(sums.first_at, "full"), ""),
        (gettext("Last call"), ui.when(sums.last_at, "full"), ""),
    ]


def _age(found: Evidence) -> str:
    days = found.age.days
    return ngettext("%(days)s day", "%(days)s days", days) % {"days": f"{days:,}"}


def _until(found: Evidence) -> str:
    if found.until is None:
        return gettext("The provider sets no end for its refunds.")
    if found.until < clock.now():
        return _alarm(gettext("Too late"), gettext("The provider takes no refund any more."))
    return gettext("The provider takes a refund until %(when)s.") % {"when": f"{found.until:%Y-%m-%d %H:%M} UTC"}


def _confirmation(refund: Refund) -> str:
    """What the company's finance said, or that it is waited for."""
    if refund.confirmed_at is not None:
        by = str(refund.confirmed_by or NOTHING)
        return gettext("Payment method confirmed by %(by)s, %(when)s.") % {
            "by": by,
            "when": f"{refund.confirmed_at:%Y-%m-%d %H:%M} UTC",
        }
    if refund.needs_confirmation:
        return _alarm(gettext("Not confirmed"), gettext("Waits for the confirmation of the company's finance"))
    return ""


def _risk(found: Evidence) -> list[tuple[Any, ...]]:
    rows: list[tuple[Any, ...]] = []
    if found.flag is not None:
        rows.append(
            (
                gettext("Risk flag"),
                _alarm(gettext("Flagged"), found.flag.reason),
                link(found.flag, ui.when(found.flag.set_at)),
            )
        )
    if found.check is not None:
        rows.append(
            (gettext("Risk check"), status(found.check, "state"), link(found.check, f"…{found.order.number[-8:]}"))
        )
    rows += [
        (gettext("Fraud warning"), status(one, "state"), f"{one.fraud_type} · {ui.usd_text(one.held)}")
        for one in found.warnings
    ]
    return rows or [(gettext("Risk"), gettext("No flag, check or warning."), "")]


def _models(found: Evidence) -> Panel:
    rows = [(one.slug, ui.count(one.calls), ui.usd6(one.charge)) for one in found.models]
    return Panel(
        _("Models most used from the first to the last call"),
        (_("model"), _("calls"), _("charge")),
        rows,
        numbers=frozenset({1, 2}),
        empty=_("No call has used this payment."),
        note=_("All that the account paid from its balance on those days, not from this payment alone.")
        if rows
        else "",
    )


def _earlier(found: Evidence) -> Panel:
    rows: list[tuple[Any, ...]] = [
        (link(one, one.number), status(one), minor_text(one.sent_minor, one.currency), ui.when(one.created_at))
        for one in found.earlier
    ]
    rows += [
        (
            link(one, f"{one.number} · {one.plan_version.plan.name}"),
            status(one),
            ui.usd_text(one.final),
            ui.when(one.created_at),
        )
        for one in found.plans
    ]
    rows += [
        (link(one), status(one, "state"), minor_text(one.amount_minor, one.currency), ui.when(one.opened_at))
        for one in found.disputes
    ]
    return Panel(
        _("Other refunds and disputes of the account"),
        (_("refund or dispute"), _("status"), _("amount"), _("since")),
        rows,
        numbers=frozenset({2}),
        empty=_("None: this is the first."),
        more=list_url(Refund, account__id__exact=found.refund.account_id) if rows else "",
    )
