"""Prices that staff prepare: a draft is edited, rehearsed, proposed, and published by a second person or not at all."""

from __future__ import annotations

from datetime import datetime
from typing import ClassVar

from django.db import models
from django.utils.translation import gettext_lazy as _

from accounts.models import User
from billing.errors import InvalidTransition
from config.ids import uuid7


class PriceDraft(models.Model):
    """A catalogue document that is not in force, and what became of it. Publishing makes price versions out of it.

    `revision` grows with every edit, so that a rehearsal says which text of the draft it was of.
    """

    class State(models.TextChoices):
        DRAFT = "draft", _("Draft")
        PROPOSED = "proposed", _("Waiting for a second person")
        PUBLISHED = "published", _("Published")
        REJECTED = "rejected", _("Rejected")
        WITHDRAWN = "withdrawn", _("Withdrawn")

    NEXT: ClassVar[dict[str, set[str]]] = {
        State.DRAFT: {State.PROPOSED, State.WITHDRAWN},
        State.PROPOSED: {State.DRAFT, State.PUBLISHED, State.REJECTED},
        State.PUBLISHED: set(),
        State.REJECTED: set(),
        State.WITHDRAWN: set(),
    }

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    title = models.CharField(_("title"), max_length=120)
    source = models.CharField(_("source"), max_length=40, blank=True, help_text=_("The file's format; none: by hand."))
    document = models.JSONField(_("document"), default=dict, help_text=_("In the format of import_catalog."))
    only_prices = models.BooleanField(default=True, help_text=_("What we say of models that we have stays."))
    starts_at = models.DateTimeField(
        _("starts"), null=True, blank=True, help_text=_("None: at the moment of publishing.")
    )
    revision = models.PositiveIntegerField(_("revision"), default=1)
    changes = models.JSONField(_("changes"), default=list, help_text=_("The diff against the catalogue, line by line."))
    state = models.CharField(_("state"), max_length=10, choices=State, default=State.DRAFT)
    created_by = models.ForeignKey(User, models.PROTECT, related_name="+", verbose_name=_("created by"))
    created_at = models.DateTimeField(_("created"))
    edited_by = models.ForeignKey(User, models.PROTECT, related_name="+", verbose_name=_("last edited by"))
    edited_at = models.DateTimeField(_("last edited"))
    proposed_by = models.ForeignKey(
        User, models.PROTECT, null=True, blank=True, related_name="+", verbose_name=_("proposed by")
    )
    proposed_at = models.DateTimeField(_("proposed"), null=True, blank=True)
    reason = models.CharField(_("reason"), max_length=500, blank=True)
    decided_by = models.ForeignKey(
        User, models.PROTECT, null=True, blank=True, related_name="+", verbose_name=_("decided by")
    )
    decided_at = models.DateTimeField(_("decided"), null=True, blank=True)
    answer = models.CharField(_("reason of the decision"), max_length=500, blank=True)

    class Meta:
        verbose_name = _("price draft")
        verbose_name_plural = _("price drafts")
        constraints = [
            models.CheckConstraint(
                condition=models.Q(state="draft", decided_by__isnull=True)
                | models.Q(state="proposed", proposed_by__isnull=False, decided_by__isnull=True)
                | models.Q(state="published", proposed_by__isnull=False, decided_by__isnull=False)
                | models.Q(state__in=["rejected", "withdrawn"], decided_by__isnull=False),
                name="price_draft_state",
            ),
            models.CheckConstraint(  # neither whoever proposed it nor whoever wrote it last publishes it
                condition=~models.Q(state="published")
                | (~models.Q(decided_by=models.F("proposed_by")) & ~models.Q(decided_by=models.F("edited_by"))),
                name="price_draft_second_person",
            ),
        ]
        indexes = [
            models.Index(
                fields=["-created_at"], name="price_draft_open", condition=models.Q(state__in=["draft", "proposed"])
            )
        ]

    def __str__(self) -> str:
        return self.title

    def move_to(self, state: str) -> None:
        """Change state in memory if the table allows it; the caller holds the row's lock."""
        if state not in self.NEXT[self.state]:
            raise InvalidTransition(draft=str(self.pk), current=str(self.state), wanted=str(state))
        self.state = self.State(state)

    @property
    def prices(self) -> int:
        """How many prices it holds."""
        return sum(len(model.get("prices", [])) for model in self.document.get("models", []))

    def begins_at(self, now: datetime) -> datetime:
        """From when its prices would hold if it were published now."""
        return max(self.starts_at, now) if self.starts_at else now
