"""The console's sidebar and the links that belong to the person."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from django.http import HttpRequest
from django.templatetags.static import static
from django.urls import NoReverseMatch, reverse
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

# Title of the group, then (model, title, Material symbol).
GROUPS: Final = (
    (
        gettext_lazy("Customers"),
        (
            ("accounts.account", gettext_lazy("Accounts"), "apartment"),
            ("accounts.user", gettext_lazy("Users"), "person"),
            ("accounts.membership", gettext_lazy("Memberships"), "group"),
            ("accounts.apikey", gettext_lazy("API keys"), "key"),
            ("accounts.keygroup", gettext_lazy("Key groups"), "key_vertical"),
            ("accounts.managementkey", gettext_lazy("Management keys"), "admin_panel_settings"),
            ("accounts.benefitlevel", gettext_lazy("Benefit levels"), "military_tech"),
        ),
    ),
    (
        gettext_lazy("Money"),
        (
            ("billing.wallet", gettext_lazy("Wallets"), "account_balance_wallet"),
            ("billing.creditgrant", gettext_lazy("Credit grants"), "savings"),
            ("billing.creditproposal", gettext_lazy("Credit proposals"), "approval_delegation"),
            ("billing.vouchercampaign", gettext_lazy("Voucher campaigns"), "confirmation_number"),
            ("billing.voucher", gettext_lazy("Vouchers"), "redeem"),
            ("billing.redemption", gettext_lazy("Redemptions"), "fact_check"),
            ("billing.journalentry", gettext_lazy("Journal"), "menu_book"),
            ("billing.ledgeraccount", gettext_lazy("Ledger accounts"), "account_tree"),
        ),
    ),
    (
        gettext_lazy("Payments"),
        (
            ("billing.topup", gettext_lazy("Top-ups"), "add_card"),
            ("billing.autotopup", gettext_lazy("Auto top-ups"), "autorenew"),
            ("billing.paymentmethod", gettext_lazy("Saved cards"), "wallet"),
            ("refunds.refund", gettext_lazy("Refunds"), "undo"),
            ("refunds.planrefund", gettext_lazy("Plan refunds"), "assignment_return"),
            ("refunds.refundpolicy", gettext_lazy("Refund policies"), "gavel"),
            ("billing.receipt", gettext_lazy("Receipts"), "receipt"),
            ("billing.billingdetails", gettext_lazy("Billing details"), "contact_page"),
            ("billing.paymentattempt", gettext_lazy("Payment attempts"), "credit_card"),
            ("billing.paymentevent", gettext_lazy("Payment events"), "webhook"),
            ("billing.creditjob", gettext_lazy("Credit jobs"), "work_history"),
            ("billing.latecredit", gettext_lazy("Late credit"), "schedule"),
            ("billing.dispute", gettext_lazy("Disputes"), "gavel"),
            ("billing.earlyfraudwarning", gettext_lazy("Fraud warnings"), "report"),
            ("billing.riskflag", gettext_lazy("Risk flags"), "flag"),
            ("billing.riskassessment", gettext_lazy("Risk checks"), "gpp_maybe"),
            ("billing.riskrule", gettext_lazy("Risk rules"), "tune"),
            ("billing.fxrate", gettext_lazy("Exchange rates"), "currency_exchange"),
            ("billing.reconciliation", gettext_lazy("Reconciliation"), "balance"),
            ("billing.difference", gettext_lazy("Differences"), "difference"),
            ("billing.fxfeed", gettext_lazy("Exchange rate feed"), "rss_feed"),
            ("billing.notice", gettext_lazy("Notices"), "mail"),
            ("billing.benefitlevelchange", gettext_lazy("Benefit level history"), "trending_up"),
        ),
    ),
    (
        gettext_lazy("Subscriptions"),
        (
            ("subscriptions.subscription", gettext_lazy("Subscriptions"), "autorenew"),
            ("subscriptions.invoice", gettext_lazy("Invoices"), "receipt"),
            ("subscriptions.planchange", gettext_lazy("Changes of plan"), "swap_vert"),
            ("subscriptions.extrausage", gettext_lazy("Extra Usage"), "bolt"),
            ("subscriptions.plan", gettext_lazy("Plans"), "package_2"),
            ("subscriptions.planversion", gettext_lazy("Plan versions"), "history"),
            ("subscriptions.quotawindow", gettext_lazy("Quota windows"), "hourglass_top"),
            ("subscriptions.flowstanding", gettext_lazy("Flow classes"), "bolt"),
        ),
    ),
    (
        gettext_lazy("Catalogue"),
        (
            ("billing.model", gettext_lazy("Models"), "neurology"),
            ("billing.channel", gettext_lazy("Channels"), "alt_route"),
            ("billing.priceversion", gettext_lazy("Price versions"), "sell"),
            ("billing.pricedraft", gettext_lazy("Price drafts"), "edit_note"),
            ("billing.rehearsal", gettext_lazy("Rehearsals"), "science"),
            ("billing.correction", gettext_lazy("Price corrections"), "price_change"),
        ),
    ),
    (
        gettext_lazy("Gateway"),
        (
            ("billing.usagerecord", gettext_lazy("Usage records"), "receipt_long"),
            ("billing.authorization", gettext_lazy("Authorizations"), "hourglass_top"),
            ("billing.quarantinedusage", gettext_lazy("Quarantined calls"), "rule"),
            ("gateway.decisionreceipt", gettext_lazy("Refusals"), "block"),
            ("billing.spendalert", gettext_lazy("Spend alerts"), "notifications"),
            ("billing.usagerollup", gettext_lazy("Usage by day"), "calendar_month"),
            ("accounts.gatewaytoken", gettext_lazy("Gateway tokens"), "token"),
        ),
    ),
    (
        gettext_lazy("Staff & audit"),
        (
            ("accounts.auditrecord", gettext_lazy("Audit"), "policy"),
            ("auth.group", gettext_lazy("Roles"), "shield_person"),
            ("account.emailaddress", gettext_lazy("E-mail addresses"), "alternate_email"),
        ),
    ),
)


def sidebar(request: HttpRequest) -> list[dict[str, Any]]:
    """Each group with the desks that this person may open; groups without any are left out."""
    found: list[dict[str, Any]] = [
        {"items": [{"title": _("Dashboard"), "icon": "space_dashboard", "link": reverse("admin:index")}]}
    ]
    for title, desks in GROUPS:
        items = [_item(request, *desk) for desk in desks if _may_open(request, desk[0])]
        if items:
            found.append({"title": str(title), "separator": True, "items": items})
    return found


def _item(request: HttpRequest, label: str, title: Any, icon: str) -> dict[str, Any]:
    link = reverse(f"admin:{label.replace('.', '_')}_changelist")
    # By the whole path: `/billing/model/` must not light up for `/billing/modelsomething/`.
    return {"title": str(title), "icon": icon, "link": link, "active": _active(link)}


def _active(link: str) -> Callable[[HttpRequest], bool]:
    return lambda request: request.path.startswith(link)


def _may_open(request: HttpRequest, label: str) -> bool:
    app, _dot, model = label.partition(".")
    try:
        reverse(f"admin:{app}_{model}_changelist")
    except NoReverseMatch:
        return False
    return request.user.has_perm(f"{app}.view_{model}")


def own_pages(request: HttpRequest) -> list[dict[str, Any]]:
    """Password, second factor and sessions are kept in the portal."""
    return [{"title": _("Sign-in and security"), "link": reverse("accounts:security")}]


def language_action(request: HttpRequest) -> str:
    """Where the language form goes: it is kept on the user."""
    return reverse("accounts:language")


def stylesheet(request: HttpRequest) -> str:
    """Our own additions to unfold's look."""
    return static("css/console.css")


def favicon(request: HttpRequest) -> str:
    """The product's mark."""
    return static("img/favicon.svg")
