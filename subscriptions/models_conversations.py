"""What pays for a conversation of a first-party app such as Studio Chat: Flows or the balance (F084)."""

from __future__ import annotations

from typing import Any, ClassVar

from django.db import models
from django.db.models import Q
from django.utils.translation import gettext_lazy as _

from accounts.models import Account
from config.ids import uuid7
from subscriptions.models_windows import ScopedQuerySet


class Conversation(models.Model):
    """A conversation whose billing mode was chosen. Its name is the app's own, unique within the account; a
    conversation that nobody chose for has no row and goes by the default."""

    class Mode(models.TextChoices):
        SUBSCRIPTION = "subscription", _("Subscription")
        PAYG = "payg", _("Pay as you go")

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    account = models.ForeignKey(Account, models.PROTECT, related_name="conversations", db_index=False)
    external_id = models.CharField(_("conversation"), max_length=200, help_text=_("As the app names it."))
    billing_mode = models.CharField(_("paid by"), max_length=12, choices=Mode)
    updated_at = models.DateTimeField(_("changed"))

    objects: ClassVar[Any] = ScopedQuerySet.as_manager()

    class Meta:
        verbose_name = _("conversation")
        verbose_name_plural = _("conversations")
        constraints = [
            models.UniqueConstraint(fields=["account", "external_id"], name="conversation_once"),
            models.CheckConstraint(
                condition=Q(billing_mode__in=["subscription", "payg"]) & ~Q(external_id=""), name="conversation_mode"
            ),
        ]

    def __str__(self) -> str:
        return f"{self.external_id} {self.billing_mode}"
