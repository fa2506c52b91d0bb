"""Staff roles: least privilege by group (07-reliability 7.2). This table is the truth; it is applied at every migrate.

Every role reads every desk. What it may do beyond that is listed by permission; a desk's
action names the same permission.
"""

from __future__ import annotations

from typing import Any, Final

from django.apps import apps
from django.contrib.auth.models import Group, Permission
from django.contrib.contenttypes.models import ContentType

READ: Final = (
    *("billing.creditjob", "billing.latecredit"),
    *("accounts.user", "accounts.account", "accounts.membership", "accounts.benefitlevel", "accounts.auditrecord"),
    *("accounts.apikey", "accounts.keygroup", "accounts.managementkey", "accounts.gatewaytoken"),
    *("account.emailaddress", "auth.group"),
    *("billing.wallet", "billing.creditgrant", "billing.creditproposal", "billing.journalentry"),
    *("billing.ledgeraccount", "billing.model", "billing.channel", "billing.priceversion"),
    *("billing.vouchercampaign", "billing.voucherbatch", "billing.voucher", "billing.redemption"),
    *("billing.pricedraft", "billing.rehearsal", "billing.correction", "billing.quarantinedusage"),
    *("billing.authorization", "billing.usagerecord", "billing.usagerollup", "gateway.decisionreceipt"),
    *("billing.autotopup", "billing.paymentmethod"),
    *("billing.topup", "billing.paymentattempt", "billing.paymentevent", "billing.fxrate"),
    *("billing.notice", "billing.reconciliation", "billing.difference"),
    *("billing.dispute", "billing.earlyfraudwarning", "billing.riskflag"),
    *("billing.fxfeed", "billing.riskassessment", "billing.riskrule"),
    *("refunds.refund", "refunds.planrefund"),
    *("billing.benefitlevelchange", "billing.spendalert"),
    *("billing.billingdetails", "billing.receipt"),
    *("subscriptions.quotawindow", "subscriptions.flowstanding"),
    *("subscriptions.plan", "subscriptions.planversion"),
    *("subscriptions.subscription", "subscriptions.invoice", "subscriptions.extrausage"),
    "subscriptions.planchange",
    "refunds.refundpolicy",
)

# What staff do beyond reading: permission -> (model it belongs to, what it says).
ACTIONS: Final[dict[str, tuple[str, str]]] = {
    "accounts.suspend_account": ("account", "Can suspend and reactivate an account"),
    "accounts.disable_apikey": ("apikey", "Can disable an API key"),
    "accounts.issue_gatewaytoken": ("gatewaytoken", "Can issue a gateway token"),
    "accounts.revoke_gatewaytoken": ("gatewaytoken", "Can revoke a gateway token"),
    "accounts.change_terms_benefitlevel": ("benefitlevel", "Can change what a benefit level gives"),
    "billing.change_terms_channel": ("channel", "Can change a channel's discount"),
    "billing.edit_pricedraft": ("pricedraft", "Can write, rehearse and propose price drafts"),
    "billing.publish_pricedraft": ("pricedraft", "Can publish and reject what another proposed"),
    "billing.decide_quarantinedusage": ("quarantinedusage", "Can charge or dismiss refused usage"),
    "billing.edit_correction": ("correction", "Can write, preview and propose price corrections"),
    "billing.decide_correction": ("correction", "Can approve, reject and reverse what another proposed"),
    "billing.give_credit": ("creditgrant", "Can give credit, or propose a large one"),
    "billing.decide_creditproposal": ("creditproposal", "Can approve and reject what another proposed"),
    "billing.edit_vouchercampaign": ("vouchercampaign", "Can write, pause and end voucher campaigns"),
    "billing.make_codes_vouchercampaign": ("vouchercampaign", "Can make voucher codes, shown once, and withdraw them"),
    "billing.activate_vouchercampaign": ("vouchercampaign", "Can activate a voucher campaign"),
    "billing.replay_paymentevent": ("paymentevent", "Can put a payment event back into the inbox"),
    "billing.run_reconciliation": ("reconciliation", "Can compare a day with the provider again"),
    "billing.decide_difference": ("difference", "Can take and accept differences with the provider"),
    "billing.stop_autotopup": ("autotopup", "Can stop an account's auto top-up"),
    "billing.set_benefitlevel": ("benefitlevelchange", "Can set an account's benefit level by agreement"),
    "billing.decide_creditjob": ("creditjob", "Can retry, cancel and schedule credit jobs"),
    "billing.decide_latecredit": ("latecredit", "Can compensate or dismiss late credit"),
    "billing.settle_topup": ("topup", "Can ask the payment provider about an order now"),
    "billing.decide_topup": ("topup", "Can finish and pay back orders in review"),
    "billing.decide_riskassessment": ("riskassessment", "Can release and refuse payments on hold"),
    "billing.release_earlyfraudwarning": ("earlyfraudwarning", "Can release credit that a fraud warning froze"),
    "billing.decide_riskflag": ("riskflag", "Can block top-ups of a flagged account, and clear the flag"),
    "billing.check_dispute": ("dispute", "Can ask the payment provider about a dispute now"),
    "billing.change_riskrule": ("riskrule", "Can change the thresholds of a risk rule"),
    "subscriptions.set_flowstanding": ("flowstanding", "Can set an account's Flow class"),
    "subscriptions.reset_quotawindow": ("quotawindow", "Can end an open quota window early"),
    "subscriptions.check_subscription": ("subscription", "Can ask the payment provider about a subscription now"),
    "subscriptions.publish_planversion": ("planversion", "Can publish a new version of a plan"),
    "refunds.decide_refund": ("refund", "Can approve and reject refunds"),
    "refunds.cancel_refund": ("refund", "Can cancel a refund for the customer"),
    "refunds.settle_refund": ("refund", "Can ask the payment provider about a refund now"),
    "refunds.publish_refundpolicy": ("refundpolicy", "Can publish new refund terms"),
    "refunds.decide_planrefund": ("planrefund", "Can approve and reject refunds of plans"),
    "refunds.cancel_planrefund": ("planrefund", "Can cancel a plan's refund for the customer"),
    "refunds.settle_planrefund": ("planrefund", "Can have the next step of a plan's refund taken now"),
}
_OPERATIONS: Final = (
    "accounts.suspend_account",
    "accounts.disable_apikey",
    "billing.stop_autotopup",
    "accounts.issue_gatewaytoken",
    "accounts.revoke_gatewaytoken",
    "accounts.change_terms_benefitlevel",
    "billing.change_terms_channel",
    "billing.edit_pricedraft",
    "billing.decide_quarantinedusage",
    "billing.edit_correction",
    "billing.edit_vouchercampaign",
    "billing.change_riskrule",
    "subscriptions.set_flowstanding",
    "subscriptions.reset_quotawindow",
)
_FINANCE: Final = (
    "billing.decide_quarantinedusage",
    "billing.edit_pricedraft",
    "billing.publish_pricedraft",
    "billing.edit_correction",
    "billing.decide_correction",
    "billing.give_credit",
    "billing.decide_creditproposal",
    "billing.edit_vouchercampaign",
    "billing.make_codes_vouchercampaign",
    "billing.activate_vouchercampaign",
    "billing.decide_creditjob",
    "billing.decide_latecredit",
    "billing.replay_paymentevent",
    "billing.run_reconciliation",
    "billing.decide_difference",
    "billing.set_benefitlevel",
    "billing.settle_topup",
    "billing.decide_topup",
    "billing.decide_riskassessment",
    "billing.release_earlyfraudwarning",
    "billing.decide_riskflag",
    "billing.check_dispute",
    "billing.stop_autotopup",
    "subscriptions.set_flowstanding",
    "subscriptions.check_subscription",
    "subscriptions.publish_planversion",
    "refunds.decide_refund",
    "refunds.cancel_refund",
    "refunds.settle_refund",
    "refunds.publish_refundpolicy",
    "refunds.decide_planrefund",
    "refunds.cancel_planrefund",
    "refunds.settle_planrefund",
)
MAY: Final[dict[str, frozenset[str]]] = {
    "support": frozenset(),
    "operations": frozenset(_OPERATIONS),
    "finance": frozenset(_FINANCE),
    "admin": frozenset(ACTIONS),
}


def plant(**_: Any) -> None:
    """Make the groups and give each exactly its permissions. Runs after every migrate, when all models are known."""
    wanted = {f"{label.partition('.')[0]}.view_{label.partition('.')[2]}" for label in READ}
    rows = {permission: _permission(permission) for permission in sorted(wanted)}
    rows |= {permission: _permission(permission, *ACTIONS[permission]) for permission in ACTIONS}
    for role, actions in MAY.items():
        group, _made = Group.objects.get_or_create(name=role)
        group.permissions.set([rows[permission] for permission in wanted | actions])


def _permission(name: str, model: str = "", says: str = "") -> Permission:
    """The row of a permission, made when it is missing: ours have no model to declare them, and Django makes those
    of the last apps only after this runs."""
    label, _dot, codename = name.partition(".")
    found = apps.get_model(label, model or codename.removeprefix("view_"))
    permission, _made = Permission.objects.get_or_create(
        content_type=ContentType.objects.get_for_model(found),
        codename=codename,
        defaults={"name": says or f"Can view {found._meta.verbose_name_raw}"},
    )
    return permission
