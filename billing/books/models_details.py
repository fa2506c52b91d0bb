"""Whom documents are addressed to."""

from __future__ import annotations

from typing import Any

from django.conf import settings
from django.db import models
from django.utils.translation import gettext_lazy as _

from accounts.models import Account


class BillingDetails(models.Model):
    """What stands on an account's receipts and statements. A receipt keeps a copy of its own."""

    TOLD = ("company_name", "tax_id", "address", "country", "email", "language", "statement_mail")

    account = models.OneToOneField(Account, models.PROTECT, primary_key=True, related_name="billing_details")
    company_name = models.CharField(_("company name"), max_length=200, blank=True)
    tax_id = models.CharField(_("tax ID"), max_length=64, blank=True)
    address = models.TextField(_("address"), max_length=500, blank=True)
    country = models.CharField(_("country or region"), max_length=80, blank=True)
    email = models.EmailField(_("e-mail address for invoices"), blank=True)
    language = models.CharField(
        _("language of documents"), max_length=16, choices=settings.LANGUAGES, default=settings.LANGUAGE_CODE
    )
    statement_mail = models.BooleanField(_("mail when a monthly statement is ready"), default=False)
    told_month = models.CharField(max_length=7, blank=True, editable=False)
    changed_at = models.DateTimeField(_("changed"))

    class Meta:
        verbose_name = _("billing details")
        verbose_name_plural = _("billing details")
        indexes = [
            models.Index(fields=["told_month"], name="billing_details_mail", condition=models.Q(statement_mail=True)),
            models.Index(fields=["-changed_at"], name="billing_details_changed"),
            models.Index(fields=["tax_id"], name="billing_details_tax_id", condition=~models.Q(tax_id="")),
        ]

    def __str__(self) -> str:
        return self.company_name or str(self.account_id)

    def told(self) -> dict[str, Any]:
        """The fields that a person may change."""
        return {name: getattr(self, name) for name in self.TOLD}
