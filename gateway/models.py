"""What the door remembers: why a call was refused."""

from __future__ import annotations

from typing import Any, ClassVar

from django.db import models
from django.utils.translation import gettext_lazy as _

from accounts.models import Account, ApiKey
from billing.metering.models import ScopedQuerySet
from config.ids import uuid7


class DecisionReceipt(models.Model):
    """A refused call and the gates that were asked, in their order, up to the one that refused (03-http-api 3.2)."""

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    account = models.ForeignKey(Account, models.PROTECT, related_name="+", db_constraint=False, db_index=False)
    api_key = models.ForeignKey(
        ApiKey, models.PROTECT, null=True, related_name="+", db_constraint=False, db_index=False
    )
    request_id = models.CharField(_("request ID"), max_length=200)
    trace_id = models.CharField(_("trace ID"), max_length=64)
    model = models.CharField(_("model"), max_length=120)
    code = models.CharField(_("code"), max_length=40)
    limit_source = models.CharField(_("what refused"), max_length=40)
    needed = models.CharField(_("needed"), max_length=60, blank=True)
    available = models.CharField(_("available"), max_length=60, blank=True)
    resets_at = models.DateTimeField(_("resets"), null=True, blank=True)
    gates = models.JSONField(_("gates"), default=list)
    at = models.DateTimeField(_("time"))

    objects: ClassVar[Any] = ScopedQuerySet.as_manager()

    class Meta:
        verbose_name = _("decision receipt")
        verbose_name_plural = _("decision receipts")
        indexes = [
            models.Index(fields=["account", "-at"], name="receipt_account_time"),
            models.Index(fields=["account", "trace_id"], name="receipt_trace"),
        ]

    def __str__(self) -> str:
        return f"{self.code} {self.request_id}"
