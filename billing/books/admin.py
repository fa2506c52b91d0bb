"""Desks of the books: wallets, credit, proposals, the journal with its postings, ledger accounts."""

from __future__ import annotations

from datetime import UTC, datetime, time
from decimal import Decimal
from typing import Any

from django import forms
from django.conf import settings
from django.contrib import admin
from django.db.models import F, QuerySet, Sum
from django.http import HttpRequest
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _

from accounts.admin import AccountAdmin
from accounts.admin_parts import audit_panel, person
from accounts.models import Account
from billing.books import proposals
from billing.books.models import CreditGrant, CreditProposal, JournalEntry, LedgerAccount, Posting, Wallet
from billing.desk import BillingDesk
from config import clock
from config.admin_base import ReasonForm, at_stake, staff_action
from config.admin_cells import (
    Panel,
    at,
    code,
    column,
    exact,
    link,
    links,
    list_url,
    short,
    signed,
    state,
    status,
    to,
    usd,
)
from config.admin_finding import Since
from config.templatetags import ui

account = to("account", _("account"))


# --- Credit by hand -----------------------------------------------------------------------------------------------
class CreditForm(ReasonForm):
    """A manual credit."""

    kind = forms.ChoiceField(
        label=_("Kind"),
        choices=CreditProposal.Kind.choices,
        required=False,
        help_text=_("Compensation makes a fault of ours good; it is booked as our expense."),
    )
    amount = forms.DecimalField(
        label=_("Amount in USD"), min_value=Decimal("0.01"), max_value=Decimal(1_000_000), decimal_places=2
    )
    expires = forms.DateField(
        label=_("Expires"), required=False, help_text=_("At the end of this day, UTC. Empty: never.")
    )

    def clean_expires(self) -> datetime | None:
        """The last moment of the day."""
        day = self.cleaned_data["expires"]
        return datetime.combine(day, time.max, UTC) if day else None


def _how_much_alone(obj: Account | Wallet) -> str:
    limit = ui.usd_text(settings.SECOND_PERSON_ABOVE_USD)
    return gettext(
        "The credit is promotional: it burns before paid credit and is not refundable. Up to %(limit)s, within a day, "
        "by one person for one account, is given at once; more becomes a proposal that a second person approves."
    ) % {"limit": limit}


@staff_action(
    permission="billing.give_credit",
    title=_("Give credit"),
    button=_("Give the credit"),
    sentence=_how_much_alone,
    form=CreditForm,
    icon="add_card",
)
def give_credit(self: BillingDesk, request: HttpRequest, obj: Account | Wallet, data: dict[str, Any]) -> str:
    """Give or propose; the form's token is the key, so that a second click gives nothing more."""
    done = proposals.give_or_propose(
        obj.pk,
        data["amount"],
        actor=person(request),
        reason=data["reason"],
        key=f"manual:{data['token']}",
        now=clock.now(),
        expires_at=data["expires"],
        kind=data["kind"] or CreditProposal.Kind.MANUAL,
    )
    amount = ui.usd_text(done.amount)
    if isinstance(done, CreditProposal):
        return gettext("%(amount)s is proposed. It is given when a second person approves it.") % {"amount": amount}
    return gettext("%(amount)s was given.") % {"amount": amount}


def money_panels(request: HttpRequest, owner: Account) -> list[Panel]:
    """The account's money, on the customer's page; where it went from there is a table of its own."""
    wallet: Wallet | None = getattr(owner, "wallet", None)
    if wallet is None or not request.user.has_perm("billing.view_wallet"):
        return []
    return [
        Panel(
            _("Money"),
            (_("balance"), _("credit"), _("overdraft"), _("held"), _("credit limit"), _("available"), ""),
            [
                (
                    ui.usd(wallet.net),
                    ui.usd(wallet.balance),
                    ui.usd(wallet.overdraft),
                    ui.usd(wallet.held),
                    ui.usd(wallet.credit_limit),
                    ui.usd(wallet.available),
                    links(
                        (_("Wallet"), f"{list_url(Wallet)}{wallet.pk}/change/"),
                        (_("Journal"), list_url(JournalEntry, account__id__exact=owner.pk)),
                        (_("Grants"), list_url(CreditGrant, account__id__exact=owner.pk)),
                    ),
                )
            ],
            numbers=frozenset(range(6)),
        )
    ]


def journal_panels(request: HttpRequest, owner: Account) -> list[Panel]:
    """What moved it last, on the customer's page."""
    return [entries_panel(owner)] if request.user.has_perm("billing.view_journalentry") else []


def entries_panel(owner: Account) -> Panel:
    """The newest entries of the account's journal."""
    return Panel(
        _("Newest journal entries"),
        (_("time"), _("kind"), _("change"), _("balance after")),
        [
            (
                link(one, ui.when(one.at, "seconds")),
                status(one, "kind"),
                ui.usd6_signed(one.delta),
                ui.usd(one.balance_after),
            )
            for one in JournalEntry.objects.filter(account=owner).order_by("-seq")[:10]
        ],
        numbers=frozenset({2, 3}),
        more=list_url(JournalEntry, account__id__exact=owner.pk),
    )


AccountAdmin.add_panels(money_panels, place=10)
AccountAdmin.add_panels(journal_panels, place=50)
AccountAdmin.give_credit = give_credit
AccountAdmin.actions_detail = ("give_credit", *AccountAdmin.actions_detail)
AccountAdmin.related = (*AccountAdmin.related, "wallet")
AccountAdmin.refusals = BillingDesk.refusals


# --- Wallets and credit -------------------------------------------------------------------------------------------
class Owing(admin.SimpleListFilter):
    """Accounts that were charged beyond their credit."""

    title = _("overdraft")
    parameter_name = "owing"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, Any]]:
        """One choice."""
        return [("yes", _("Overdrawn"))]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        """Largest first, by the order of the list."""
        return queryset.filter(overdraft__gt=0) if self.value() == "yes" else queryset


@admin.register(Wallet)
class WalletAdmin(BillingDesk):
    """What customers have; balance, overdraft and held are caches that `verify_books` checks."""

    row_title = staticmethod(lambda wallet: f"{wallet.account.name} · {ui.usd_text(wallet.net)}")
    related = ("account",)
    list_display = (
        column(_("account"), lambda wallet: wallet.account.name, name="account"),
        column(_("account ID"), lambda wallet: short(wallet.pk), name="id"),
        usd("net", _("balance")),
        usd("overdraft", _("overdraft")),
        usd("held", _("held")),
        usd("credit_limit", _("credit limit")),
        usd("available", _("available")),
    )
    list_filter = (Owing,)
    ordering = ("pk",)
    finds = (("uuid", "pk"), ("email", "account__memberships__user__email"))
    search_help_text = _("Account UUID or member's e-mail address")
    facts = (
        (_("Wallet"), ("account", column(_("account ID"), lambda wallet: code(wallet.pk)), "seq", "next_expiry_at")),
        (
            _("Money"),
            (
                column(_("balance"), lambda wallet: exact(wallet.net)),
                "balance",
                "overdraft",
                "held",
                "credit_limit",
                column(_("available"), lambda wallet: exact(wallet.available)),
            ),
        ),
    )
    actions_detail = ("give_credit",)
    give_credit = give_credit

    def get_ordering(self, request: HttpRequest) -> Any:
        """Who owes, by how much."""
        return ("-overdraft", "pk") if request.GET.get("owing") == "yes" else super().get_ordering(request)

    def panels(self, request: HttpRequest, obj: Wallet) -> list[Panel]:
        """What can be spent, in the order in which it will be, and the newest entries."""
        grants = CreditGrant.objects.filter(account=obj.account, remaining__gt=0).burn_order()[:20]
        return [
            Panel(
                _("Credit, in burn order"),
                (_("kind"), _("remaining"), _("amount"), _("priority"), _("expires"), _("source"), _("note")),
                [
                    (
                        link(one, one.get_kind_display()),
                        ui.usd(one.remaining),
                        ui.usd(one.amount),
                        ui.count(one.priority),
                        ui.when(one.expires_at, "short"),
                        one.source,
                        one.note,
                    )
                    for one in grants
                ],
                numbers=frozenset({1, 2, 3}),
                empty=_("No credit is left."),
                more=list_url(CreditGrant, account__id__exact=obj.pk),
            ),
            entries_panel(obj.account),
        ]


@admin.register(CreditGrant)
class CreditGrantAdmin(BillingDesk):
    """Buckets of credit; each is a ledger account."""

    row_title = staticmethod(lambda grant: f"{grant.get_kind_display()} · {ui.usd_text(grant.amount)}")
    related = ("account", "ledger")
    ids_by_time = True
    list_display = (
        state("kind", _("kind")),
        account,
        usd("amount", _("amount")),
        usd("remaining", _("remaining")),
        column(_("paid for"), lambda one: gettext("yes") if one.paid else gettext("no"), name="paid"),
        at("expires_at", _("expires"), "short"),
        column(_("source"), lambda one: one.source[:40], name="source"),
        at("created_at", _("created"), "short"),
    )
    list_filter = (Since, "kind", "paid")
    ordering = ("-pk",)
    account_order = ("-created_at", "pk")
    finds = (("uuid", "pk"), ("uuid", "account_id"), ("text", "source"))
    search_help_text = _("Grant's or account's UUID, or its source (an order's number)")

    def panels(self, request: HttpRequest, obj: CreditGrant) -> list[Panel]:
        """The newest postings, and the audit."""
        return [postings_panel(obj.ledger), *audit_panel(request, obj)]


def _proposed(proposal: CreditProposal) -> str:
    return gettext("%(who)s proposed it because: %(why)s.") % {"who": proposal.proposed_by, "why": proposal.reason}


@admin.register(CreditProposal)
class CreditProposalAdmin(BillingDesk):
    """Manual credits that need, or had, a second person."""

    by_hand = True
    row_title = staticmethod(lambda one: f"{ui.usd_text(one.amount)} · {one.account.name}")
    related = ("account", "proposed_by", "decided_by", "grant")
    list_display = (
        at("created_at", _("proposed")),
        state("state", _("state")),
        state("kind", _("kind")),
        usd("amount", _("amount")),
        account,
        to("proposed_by", _("proposed by")),
        to("decided_by", _("decided by")),
        column(_("reason"), lambda one: one.reason[:60], name="reason"),
    )
    list_filter = ("state",)
    ordering = ("-pk",)
    finds = (("uuid", "pk"), ("uuid", "account_id"))
    search_help_text = _("Proposal's or account's UUID")
    facts = (
        (_("Proposal"), ("account", "kind", "amount", "expires_at", "reason", "proposed_by", "created_at")),
        (_("Decision"), ("state", "decided_by", "decided_at", "answer", "grant")),
    )
    actions_detail = ("approve", "reject")

    def panels(self, request: HttpRequest, obj: CreditProposal) -> list[Panel]:
        """Who did what."""
        return audit_panel(request, obj)

    @staff_action(
        permission="billing.decide_creditproposal",
        title=_("Approve"),
        button=_("Approve and give"),
        sentence=at_stake(
            _proposed, _("The credit is given at once. You answer for it together with the person who proposed it.")
        ),
        icon="check",
        applies=lambda proposal: proposal.state == CreditProposal.State.PROPOSED,
    )
    def approve(self, request: HttpRequest, obj: CreditProposal, data: dict[str, Any]) -> str:
        """A second person says yes."""
        done = proposals.approve(obj.pk, actor=person(request), reason=data["reason"], now=clock.now())
        return gettext("%(amount)s was given.") % {"amount": ui.usd_text(done.amount)}

    @staff_action(
        permission="billing.decide_creditproposal",
        title=_("Reject"),
        button=_("Reject the proposal"),
        sentence=at_stake(_proposed, _("Nothing is given. The proposal stays on record with your reason.")),
        icon="close",
        danger=True,
        applies=lambda proposal: proposal.state == CreditProposal.State.PROPOSED,
    )
    def reject(self, request: HttpRequest, obj: CreditProposal, data: dict[str, Any]) -> str:
        """Nothing is given."""
        proposals.reject(obj.pk, actor=person(request), reason=data["reason"], now=clock.now())
        return gettext("The proposal is rejected.")


# --- The journal --------------------------------------------------------------------------------------------------
def postings_panel(ledger: LedgerAccount) -> Panel:
    """The newest postings of a ledger account, each with its entry."""
    postings = Posting.objects.filter(ledger=ledger).select_related("entry").order_by("-entry_id")[:20]
    return Panel(
        _("Newest postings"),
        (_("time"), _("entry"), _("side"), _("amount")),
        [
            (
                ui.when(one.entry.at, "seconds"),
                link(one.entry, one.entry.get_kind_display()),
                one.get_side_display(),
                exact(one.amount),
            )
            for one in postings
        ],
        numbers=frozenset({3}),
    )


@admin.register(JournalEntry)
class JournalEntryAdmin(BillingDesk):
    """Every movement of money, append-only, with its two sides."""

    row_title = staticmethod(lambda entry: f"{entry.get_kind_display()} · {entry.seq}")
    related = ("account",)
    moment = "at"
    ids_by_time = True
    list_display = (
        at("at", _("time")),
        state("kind", _("kind")),
        account,
        signed("delta", _("change")),
        usd("balance_after", _("balance after")),
        column(_("number"), lambda one: ui.count(one.seq), number=True, name="seq"),
        column(_("key"), lambda one: one.key if len(one.key) < 40 else f"{one.key[:39]}…", name="key"),
    )
    list_filter = (Since, "kind")
    ordering = ("-pk",)
    account_order = ("-seq",)
    finds = (("uuid", "pk"), ("uuid", "account_id"), ("text", "key"))
    search_help_text = _("Entry's or account's UUID, or the whole key")
    facts = (
        (_("Entry"), ("id", "account", "seq", "kind", "at", "key")),
        (_("Effect"), ("delta", "balance_after", "meta")),
    )

    def panels(self, request: HttpRequest, obj: JournalEntry) -> list[Panel]:
        """Both sides; they are equal, or the database would not have taken them."""
        postings = Posting.objects.filter(account_id=obj.account_id, entry_id=obj.pk).select_related("ledger")
        rows: list[tuple[Any, ...]] = []
        total = Decimal(0)
        for one in postings.order_by("line"):
            amount, debit = exact(one.amount), one.side == Posting.DEBIT
            total += one.amount if debit else 0
            name = link(one.ledger, one.ledger.code or one.ledger.get_kind_display())
            rows.append((str(one.line), name, short(one.ledger_id), amount if debit else "", "" if debit else amount))
        note = gettext("Debits and credits are both %(total)s.") % {"total": ui.price_text(total)}
        headings = (_("line"), _("ledger account"), _("ID"), _("debit"), _("credit"))
        return [Panel(_("Postings"), headings, rows, numbers=frozenset({3, 4}), note=note)]


@admin.register(LedgerAccount)
class LedgerAccountAdmin(BillingDesk):
    """Places in the books. The system's keep no balance; a page adds it up when asked."""

    row_title = staticmethod(lambda one: one.code or one.get_kind_display())
    related = ("account",)
    list_display = (
        column(_("code"), lambda one: one.code or one.get_kind_display(), name="code"),
        state("kind", _("kind")),
        account,
        column(_("ID"), lambda one: short(one.pk), name="id"),
    )
    list_filter = ("kind",)
    ordering = ("-pk",)
    finds = (("uuid", "pk"), ("uuid", "account_id"), ("text", "code"))
    search_help_text = _("Ledger account's or account's UUID, or a system account's code")
    facts = ((None, ("id", "kind", "code", "account")),)

    def panels(self, request: HttpRequest, obj: LedgerAccount) -> list[Panel]:
        """Its balance from the postings, and the newest of them."""
        return [self._balance(request, obj), postings_panel(obj)]

    def _balance(self, request: HttpRequest, obj: LedgerAccount) -> Panel:
        title = _("Balance, from its postings")
        if obj.kind == LedgerAccount.Kind.SYSTEM and "sum" not in request.GET:
            ask = links((_("Add up every posting of this account"), "?sum=1"))
            return Panel(title, (), [(ask,)], note=_("The system's accounts have very many; this may take a while."))
        sums = Posting.objects.filter(ledger=obj).aggregate(balance=Sum(F("amount") * F("side")))
        balance = sums["balance"] or Decimal(0)
        side = _("debit") if balance > 0 else _("credit")
        return Panel(title, (_("balance"), _("side")), [(exact(abs(balance)), side)], numbers=frozenset({0}))
