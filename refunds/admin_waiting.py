"""What a desk of refunds is opened with: a question for each thing that somebody should do something about."""

from __future__ import annotations

from typing import Any, ClassVar

from django.contrib import admin
from django.db.models import Q, QuerySet
from django.http import HttpRequest
from django.utils.translation import gettext_lazy as _

ENDS = (("ageing", _("At the provider for more than 3 days")), ("failed", _("Failed")), ("look", _("Flagged")))
"""What both desks end with."""


class Questions(admin.SimpleListFilter):
    """Names and words in `questions`; a desk says which rows each means, in a way that an index has."""

    title = _("waiting")
    parameter_name = "waiting"
    questions: ClassVar[tuple[tuple[str, Any], ...]]

    def wanted(self) -> dict[str, Q]:
        """The rows of each question."""
        raise NotImplementedError

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, Any]]:
        """The questions that a desk is opened with."""
        return list(self.questions)

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        """Each through its index."""
        chosen = self.wanted().get(self.value() or "")
        return queryset.filter(chosen) if chosen is not None else queryset
