"""Receipts: one a credited order, numbered without a gap, never changed."""

from __future__ import annotations

from decimal import Decimal
from typing import TYPE_CHECKING, Any, ClassVar

from django.db import models
from django.utils.translation import gettext_lazy as _

from accounts.models import Account, User
from billing.books.models import AMOUNT
from billing.money import from_minor_units
from billing.payments.models import TopUp
from config.ids import uuid7

if TYPE_CHECKING:
    from django.contrib.auth.models import AnonymousUser


class ReceiptSeries(models.Model):
    """The last number given in a year; its row is the lock under which the next one is given."""

    year = models.PositiveSmallIntegerField(primary_key=True)
    last = models.PositiveIntegerField(default=0)

    def __str__(self) -> str:
        return f"{self.year}: {self.last}"


class ReceiptQuerySet(models.QuerySet["Receipt"]):
    """Reads of receipts."""

    def visible_to(self, user: User | AnonymousUser) -> ReceiptQuerySet:
        """The receipts of the accounts that this user is a member of."""
        return self.filter(account__in=Account.objects.visible_to(user))


class Receipt(models.Model):
    """That an order was paid, as it was told on the day it was issued. Append-only by trigger."""

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    year = models.PositiveSmallIntegerField(_("year"))
    serial = models.PositiveIntegerField(_("number in the year"))
    number = models.CharField(_("receipt"), max_length=20, unique=True)
    account = models.ForeignKey(Account, models.PROTECT, related_name="receipts", db_index=False)
    top_up = models.OneToOneField(TopUp, models.PROTECT, related_name="receipt", verbose_name=_("order"))
    issued_at = models.DateTimeField(_("issued"))
    paid_at = models.DateTimeField(_("paid"))
    seller = models.JSONField(_("from"))
    buyer = models.JSONField(_("for"))
    amount_usd = models.DecimalField(_("credit"), **AMOUNT)
    currency = models.CharField(_("paid in"), max_length=3)
    amount_minor = models.BigIntegerField(_("paid"), help_text=_("In the smallest unit of the currency paid in."))
    fx_rate = models.DecimalField(_("CNY for 1 USD"), max_digits=18, decimal_places=8, null=True, blank=True)
    method = models.CharField(_("payment method"), max_length=12, choices=TopUp.Method)
    brand = models.CharField(_("brand"), max_length=30, blank=True)
    last_four = models.CharField(_("last four digits"), max_length=4, blank=True)

    objects: ClassVar[Any] = ReceiptQuerySet.as_manager()

    class Meta:
        verbose_name = _("receipt")
        verbose_name_plural = _("receipts")
        constraints = [
            models.UniqueConstraint(fields=["year", "serial"], name="receipt_series"),
            models.CheckConstraint(condition=models.Q(serial__gte=1), name="receipt_serial"),
            models.CheckConstraint(condition=models.Q(amount_usd__gt=0, amount_minor__gt=0), name="receipt_amount"),
            models.CheckConstraint(condition=models.Q(currency__in=["USD", "CNY"]), name="receipt_currency"),
        ]
        indexes = [models.Index(fields=["account", "-id"], name="receipt_account")]

    def __str__(self) -> str:
        return self.number

    @property
    def paid_amount(self) -> Decimal:
        """What was paid, in `currency`."""
        return from_minor_units(self.amount_minor, self.currency)
