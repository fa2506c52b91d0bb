"""The books: ledger accounts, journal entries, postings, and what they add up to: wallets and credit grants.

The hot tables are keyed by account throughout (primary keys contain `account_id`, see migration 0002 and
docs/scaling.md), and their references carry no foreign-key constraint: the functions in `metering/sql` write them
under the wallet's lock, and `verify_books` looks for orphans.
"""

from __future__ import annotations

import uuid
from datetime import datetime
from typing import TYPE_CHECKING, Any, ClassVar

from django.db import models
from django.utils.translation import gettext_lazy as _

from accounts.models import Account, User
from billing.errors import InvalidTransition
from config.ids import uuid7

if TYPE_CHECKING:
    from django.contrib.auth.models import AnonymousUser

AMOUNT: dict[str, Any] = {"max_digits": 24, "decimal_places": 10}
_NAMESPACE = uuid.UUID("6d657465-7268-416c-8c00-6c6564676572")


class System:
    """Codes of the installation's own ledger accounts (02-domain 2.3). They keep no cached balance."""

    PROCESSOR_STRIPE = "processor:stripe"
    REVENUE_USAGE = "revenue:usage"
    REVENUE_SUBSCRIPTION = "revenue:subscription"
    REVENUE_REFUND_FEE = "revenue:refund_fee"
    EXPENSE_PROMOTION = "expense:promotion"
    EXPENSE_COMPENSATION = "expense:compensation"
    BREAKAGE = "breakage"
    CHARGEBACK = "chargeback"
    FROZEN = "frozen"
    MANUAL = "manual"

    ALL = (
        PROCESSOR_STRIPE,
        REVENUE_USAGE,
        REVENUE_SUBSCRIPTION,
        REVENUE_REFUND_FEE,
        EXPENSE_PROMOTION,
        EXPENSE_COMPENSATION,
        BREAKAGE,
        CHARGEBACK,
        FROZEN,
        MANUAL,
    )

    @staticmethod
    def id_of(code: str) -> uuid.UUID:
        """The fixed id of a system account, the same in every installation, so that SQL may name it."""
        return uuid.uuid5(_NAMESPACE, code)


class LedgerAccount(models.Model):
    """A place in the books: one per credit grant, two more per customer, and the system's own."""

    class Kind(models.TextChoices):
        GRANT = "grant", _("Credit grant")
        OVERDRAFT = "overdraft", _("Overdraft (receivable)")
        REFUNDS_PAYABLE = "refunds_payable", _("Refunds payable")
        SYSTEM = "system", _("System")

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    account = models.ForeignKey(Account, models.PROTECT, null=True, blank=True, related_name="ledger_accounts")
    kind = models.CharField(_("kind"), max_length=16, choices=Kind)
    code = models.CharField(_("code"), max_length=60, blank=True)

    class Meta:
        verbose_name = _("ledger account")
        verbose_name_plural = _("ledger accounts")
        constraints = [
            models.UniqueConstraint(fields=["code"], condition=models.Q(kind="system"), name="ledger_account_code"),
            models.UniqueConstraint(
                fields=["account", "kind"],
                condition=models.Q(kind__in=["overdraft", "refunds_payable"]),
                name="ledger_account_one_each",
            ),
            models.CheckConstraint(
                condition=models.Q(kind="system", account__isnull=True)
                | models.Q(kind__in=["grant", "overdraft", "refunds_payable"], account__isnull=False),
                name="ledger_account_owner",
            ),
        ]

    def __str__(self) -> str:
        return self.code or f"{self.kind} {self.pk}"


class WalletQuerySet(models.QuerySet["Wallet"]):
    """The customer's lock."""

    def locked(self) -> WalletQuerySet:
        """Lock in primary-key order. Evaluate inside transaction.atomic()."""
        return self.order_by("pk").select_for_update(of=("self",), no_key=True)


class Wallet(models.Model):
    """A customer's stored value, one row, the lock. The amounts are caches of postings and holds (I2, I3)."""

    account = models.OneToOneField(Account, models.PROTECT, primary_key=True, related_name="wallet")
    balance = models.DecimalField(_("credit"), default=0, **AMOUNT)
    overdraft = models.DecimalField(_("overdraft"), default=0, **AMOUNT)
    held = models.DecimalField(_("held"), default=0, **AMOUNT)
    credit_limit = models.DecimalField(_("credit limit"), default=0, **AMOUNT)
    seq = models.BigIntegerField(default=0, editable=False)
    next_expiry_at = models.DateTimeField(null=True, blank=True, editable=False)
    overdraft_ledger = models.ForeignKey(LedgerAccount, models.PROTECT, related_name="+")
    refunds_ledger = models.ForeignKey(LedgerAccount, models.PROTECT, related_name="+")

    objects: ClassVar[Any] = WalletQuerySet.as_manager()

    class Meta:
        verbose_name = _("wallet")
        verbose_name_plural = _("wallets")
        constraints = [
            models.CheckConstraint(condition=models.Q(balance__gte=0), name="wallet_balance"),
            models.CheckConstraint(condition=models.Q(overdraft__gte=0), name="wallet_overdraft"),
            models.CheckConstraint(condition=models.Q(held__gte=0), name="wallet_held"),
            models.CheckConstraint(condition=models.Q(credit_limit__gte=0), name="wallet_credit_limit"),
        ]
        indexes = [
            models.Index(
                fields=["next_expiry_at"], name="wallet_next_expiry", condition=models.Q(next_expiry_at__isnull=False)
            )
        ]

    def __str__(self) -> str:
        return str(self.account_id)

    @property
    def net(self) -> Any:
        """USD. What the customer sees as balance: credit less overdraft (I2)."""
        return self.balance - self.overdraft

    @property
    def available(self) -> Any:
        """USD. What a new call may hold (I3)."""
        return self.balance - self.overdraft - self.held + self.credit_limit


class CreditGrantQuerySet(models.QuerySet["CreditGrant"]):
    """Reads of credit."""

    def visible_to(self, user: User | AnonymousUser) -> CreditGrantQuerySet:
        """The grants of the accounts that this user is a member of."""
        return self.filter(account__in=Account.objects.visible_to(user))

    def burn_order(self) -> CreditGrantQuerySet:
        """Lowest priority, then earliest expiry, then promotional before paid, then oldest (C18, J21)."""
        return self.order_by("priority", models.F("expires_at").asc(nulls_last=True), "paid", "created_at", "pk")


class CreditGrant(models.Model):
    """A bucket of credit with terms; it *is* a ledger account, whose postings are its remaining amount (I2)."""

    class Kind(models.TextChoices):
        CASH = "cash", _("Cash")
        VOUCHER = "voucher", _("Voucher")
        COMPENSATION = "compensation", _("Compensation")
        PROMOTION = "promotion", _("Promotion")

    ledger = models.OneToOneField(LedgerAccount, models.PROTECT, primary_key=True, related_name="grant")
    account = models.ForeignKey(Account, models.PROTECT, related_name="credit_grants")
    kind = models.CharField(_("kind"), max_length=14, choices=Kind)
    paid = models.BooleanField(_("paid for"), help_text=_("Promotional credit burns before paid credit."))
    priority = models.SmallIntegerField(_("priority"), default=100)
    amount = models.DecimalField(_("amount"), **AMOUNT)
    remaining = models.DecimalField(_("remaining"), **AMOUNT)
    expires_at = models.DateTimeField(_("expires"), null=True, blank=True)
    created_at = models.DateTimeField(_("created"))
    source = models.CharField(
        _("source"), max_length=120, help_text=_("What it came from: a top-up order, a campaign.")
    )
    note = models.CharField(_("note"), max_length=200, blank=True)

    objects: ClassVar[Any] = CreditGrantQuerySet.as_manager()

    class Meta:
        verbose_name = _("credit grant")
        verbose_name_plural = _("credit grants")
        constraints = [
            models.CheckConstraint(
                condition=models.Q(remaining__gte=0, remaining__lte=models.F("amount")), name="grant_remaining"
            ),
            models.CheckConstraint(condition=models.Q(amount__gt=0), name="grant_amount"),
            models.CheckConstraint(
                condition=models.Q(kind__in=["cash", "voucher", "compensation", "promotion"]), name="grant_kind"
            ),
        ]
        indexes = [
            models.Index(fields=["account", "-created_at"], name="grant_account"),
            models.Index(fields=["account"], name="grant_open", condition=models.Q(remaining__gt=0)),
            models.Index(fields=["source"], name="grant_source"),
            models.Index(
                fields=["expires_at", "ledger"], name="grant_expiry", condition=models.Q(expires_at__isnull=False)
            ),
        ]

    def __str__(self) -> str:
        return f"{self.get_kind_display()} · {self.amount:.2f} USD"


class JournalEntryQuerySet(models.QuerySet["JournalEntry"]):
    """Reads of the journal."""

    def visible_to(self, user: User | AnonymousUser) -> JournalEntryQuerySet:
        """The entries of the accounts that this user is a member of."""
        return self.filter(account__in=Account.objects.visible_to(user))


class JournalEntry(models.Model):
    """One balanced fact about one customer's money. Append-only; a correction is a new entry (I1)."""

    class Kind(models.TextChoices):
        TOPUP = "topup", _("Top-up")
        VOUCHER = "voucher", _("Voucher")
        COMPENSATION = "compensation", _("Compensation")
        MANUAL_CREDIT = "manual_credit", _("Manual credit")
        USAGE = "usage", _("Usage")
        USAGE_REVERSAL = "usage_reversal", _("Usage reversal")
        USAGE_ADJUSTMENT = "usage_adjustment", _("Price correction")
        GRANT_EXPIRED = "grant_expired", _("Credit expired")
        REFUND_HOLD = "refund_hold", _("Refund requested")
        REFUND_PAID = "refund_paid", _("Refund paid")
        REFUND_FAILED = "refund_failed", _("Refund failed")
        DISPUTE_OPENED = "dispute_opened", _("Dispute opened")
        DISPUTE_WON = "dispute_won", _("Dispute won")
        DISPUTE_LOST = "dispute_lost", _("Dispute lost")
        CREDIT_FROZEN = "credit_frozen", _("Credit frozen")
        CREDIT_RELEASED = "credit_released", _("Credit released")
        SUBSCRIPTION_PAID = "subscription_paid", _("Subscription paid")
        SUBSCRIPTION_REFUND = "subscription_refund", _("Subscription refund")

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    account = models.ForeignKey(Account, models.PROTECT, related_name="+", db_constraint=False, db_index=False)
    seq = models.BigIntegerField(help_text=_("Counts the account's entries up without a gap."))
    kind = models.CharField(_("kind"), max_length=20, choices=Kind)
    key = models.CharField(_("key"), max_length=160, help_text=_("Names the intent, for ever."))
    at = models.DateTimeField(_("time"))
    delta = models.DecimalField(_("change"), help_text=_("USD, signed: the change of credit less overdraft."), **AMOUNT)
    balance_after = models.DecimalField(_("balance after"), help_text=_("USD, signed."), **AMOUNT)
    meta = models.JSONField(default=dict)

    objects: ClassVar[Any] = JournalEntryQuerySet.as_manager()

    class Meta:
        verbose_name = _("journal entry")
        verbose_name_plural = _("journal entries")
        constraints = [
            models.UniqueConstraint(fields=["account", "seq"], name="entry_seq"),
            models.UniqueConstraint(fields=["account", "key"], name="entry_key"),
        ]
        indexes = [
            # Money in stands among a thousand times as many usage entries; this finds it.
            models.Index(fields=["account", "-seq"], name="entry_not_usage", condition=~models.Q(kind="usage")),
        ]

    def __str__(self) -> str:
        return f"{self.kind} {self.delta}"


class Posting(models.Model):
    """One side of an entry: an amount above zero and its direction. Append-only; each statement balances (I1)."""

    DEBIT, CREDIT = 1, -1

    pk = models.CompositePrimaryKey("account_id", "entry_id", "line")
    account = models.ForeignKey(Account, models.PROTECT, related_name="+", db_constraint=False, db_index=False)
    entry = models.ForeignKey(
        JournalEntry, models.PROTECT, related_name="postings", db_constraint=False, db_index=False
    )
    line = models.SmallIntegerField()
    ledger = models.ForeignKey(
        LedgerAccount, models.PROTECT, related_name="postings", db_constraint=False, db_index=False
    )
    side = models.SmallIntegerField(choices=[(DEBIT, _("debit")), (CREDIT, _("credit"))])
    amount = models.DecimalField(_("amount"), **AMOUNT)

    class Meta:
        verbose_name = _("posting")
        verbose_name_plural = _("postings")
        constraints = [
            models.CheckConstraint(condition=models.Q(amount__gt=0), name="posting_amount"),
            models.CheckConstraint(condition=models.Q(side__in=[1, -1]), name="posting_side"),
        ]
        indexes = [models.Index(fields=["ledger", "entry"], name="posting_ledger")]

    def __str__(self) -> str:
        return f"{'debit' if self.side == self.DEBIT else 'credit'} {self.amount}"


class CreditProposal(models.Model):
    """A manual credit that needs a second person, and what became of it (07-reliability 7.2)."""

    class State(models.TextChoices):
        PROPOSED = "proposed", _("Waiting for a second person")
        GIVEN = "given", _("Given")
        REJECTED = "rejected", _("Rejected")

    NEXT: ClassVar[dict[str, set[str]]] = {
        State.PROPOSED: {State.GIVEN, State.REJECTED},
        State.GIVEN: set(),
        State.REJECTED: set(),
    }

    class Kind(models.TextChoices):
        MANUAL = "manual", _("Manual credit")
        COMPENSATION = "compensation", _("Compensation")

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    account = models.ForeignKey(Account, models.PROTECT, related_name="+")
    kind = models.CharField(_("kind"), max_length=12, choices=Kind, default=Kind.MANUAL)
    amount = models.DecimalField(_("amount"), **AMOUNT)
    expires_at = models.DateTimeField(_("expires"), null=True, blank=True)
    reason = models.CharField(_("reason"), max_length=500)
    key = models.CharField(_("key"), max_length=120, help_text=_("Names the intent, for ever."))
    state = models.CharField(_("state"), max_length=10, choices=State, default=State.PROPOSED)
    proposed_by = models.ForeignKey(User, models.PROTECT, related_name="+", verbose_name=_("proposed by"))
    created_at = models.DateTimeField(_("proposed"))
    decided_by = models.ForeignKey(
        User, models.PROTECT, null=True, blank=True, related_name="+", verbose_name=_("decided by")
    )
    decided_at = models.DateTimeField(_("decided"), null=True, blank=True)
    answer = models.CharField(_("reason of the decision"), max_length=500, blank=True)
    grant = models.OneToOneField(
        CreditGrant, models.PROTECT, null=True, blank=True, related_name="proposal", verbose_name=_("credit grant")
    )

    class Meta:
        verbose_name = _("credit proposal")
        verbose_name_plural = _("credit proposals")
        constraints = [
            models.UniqueConstraint(fields=["account", "key"], name="credit_proposal_key"),
            models.CheckConstraint(condition=models.Q(amount__gt=0), name="credit_proposal_amount"),
            models.CheckConstraint(
                condition=models.Q(state="proposed", decided_by__isnull=True, grant__isnull=True)
                | models.Q(state="given", decided_by__isnull=False, grant__isnull=False)
                | models.Q(state="rejected", decided_by__isnull=False, grant__isnull=True),
                name="credit_proposal_state",
            ),
            models.CheckConstraint(  # whoever proposed it does not approve it
                condition=~models.Q(state="given") | ~models.Q(decided_by=models.F("proposed_by")),
                name="credit_proposal_second_person",
            ),
        ]
        indexes = [
            models.Index(fields=["created_at"], name="credit_proposal_open", condition=models.Q(state="proposed")),
        ]

    def __str__(self) -> str:
        return f"{self.amount.normalize():f} USD · {self.get_state_display()}"

    def move_to(self, state: str, *, by: User, now: datetime) -> None:
        """Change state in memory if the table allows it; the caller holds the wallet's lock."""
        if state not in self.NEXT[self.state]:
            raise InvalidTransition(proposal=str(self.pk), current=str(self.state), wanted=str(state))
        self.state, self.decided_by, self.decided_at = self.State(state), by, now
