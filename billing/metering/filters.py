"""What the reader of the usage page asked for, read from the address; nonsense is no filter."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import Any, Final
from uuid import UUID

from django.db.models import QuerySet
from django.utils.translation import gettext_lazy as _

from billing.catalog.book import Book
from billing.metering.models import Funding, UsageRecord
from billing.metering.rollups import Scope, start_of

DAYS_SHOWN: Final = 30
MOST_DAYS: Final = 366
NOT_CHARGED: Final = "none"
PAID_BY: Final = [*Funding.choices, (NOT_CHARGED, _("Not charged"))]


@dataclass(frozen=True, slots=True)
class Asked:
    """The filters in force. Days are days in UTC, both ends included."""

    account_id: UUID
    model_slug: str
    model_id: int | None
    api_key_id: UUID | None
    paid_by: str
    first: date | None
    last: date | None
    request_id: str

    @property
    def any(self) -> bool:
        """True when something narrows the list."""
        return bool(self.narrowed or self.first or self.last)

    @property
    def narrowed(self) -> bool:
        """True when something other than the dates narrows the list."""
        return bool(self.model_slug or self.api_key_id or self.paid_by or self.request_id)

    def scope(self, today: date) -> Scope:
        """The days of the chart: those asked for, else the last thirty; never more than a year."""
        last = self.last or (max(today, self.first) if self.first else today)
        first = self.first or last - timedelta(days=DAYS_SHOWN - 1)
        return Scope(
            self.account_id,
            first=max(first, last - timedelta(days=MOST_DAYS - 1)),
            last=last,
            model_id=self.model_id,
            api_key_id=self.api_key_id,
            funding=self.paid_by if self.paid_by in Funding.values else None,
        )

    def rows(self) -> QuerySet[UsageRecord]:
        """The calls themselves, unordered."""
        found: QuerySet[UsageRecord] = UsageRecord.objects.filter(account_id=self.account_id)
        if self.model_id is not None:
            found = found.filter(model_id=self.model_id)
        if self.api_key_id is not None:
            found = found.filter(api_key_id=self.api_key_id)
        if self.paid_by == NOT_CHARGED:
            found = found.filter(charge=0, flows=0)
        elif self.paid_by:
            found = found.filter(funding=self.paid_by)
            if self.paid_by != Funding.PAYG:
                found = found.exclude(funding=Funding.PAYG)  # said in these words so that the partial index is used
        if self.first is not None:
            found = found.filter(authorized_at__gte=start_of(self.first))
        if self.last is not None:
            found = found.filter(authorized_at__lt=start_of(self.last + timedelta(days=1)))
        if self.request_id:
            found = found.filter(request_id=self.request_id)
        return found


def read(params: Mapping[str, str], account_id: UUID, book: Book) -> Asked:
    """The filters of a request."""
    slug = params.get("model", "")
    model = book.models.get(slug)
    paid_by = params.get("paid", "")
    first, last = day_of(params.get("from")), day_of(params.get("to"))
    if first and last and first > last:
        first, last = last, first
    return Asked(
        account_id=account_id,
        model_slug=slug if model else "",
        model_id=model.id if model else None,
        api_key_id=uuid_of(params.get("key")),
        paid_by=paid_by if paid_by in dict(PAID_BY) else "",
        first=first,
        last=last,
        request_id=params.get("request", "").strip()[:200],
    )


def day_of(text: Any) -> date | None:
    """An ISO day of a sensible year."""
    try:
        found = datetime.strptime(text, "%Y-%m-%d").date()  # noqa: DTZ007  # a day, not a moment
    except (TypeError, ValueError):
        return None
    return found if 2000 <= found.year < 2100 else None


def uuid_of(text: Any) -> UUID | None:
    """A UUID in any of its spellings."""
    try:
        return UUID(text)
    except (TypeError, ValueError, AttributeError):
        return None
