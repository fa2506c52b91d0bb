"""`/api/v1/usage`: what was called and what it cost (03-http-api 3.5). Reporting usage (POST) is the gateway lane's."""

from __future__ import annotations

from collections import defaultdict
from datetime import date, datetime, timedelta
from decimal import Decimal
from typing import Any
from uuid import UUID

from django.db.models import Q, QuerySet
from django.utils.translation import gettext_lazy as _
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import extend_schema, extend_schema_field, extend_schema_view
from rest_framework import exceptions, serializers
from rest_framework.request import Request
from rest_framework.response import Response

from accounts.models import ApiKey
from billing.books.models import JournalEntry
from billing.catalog.book import current_book
from billing.catalog.models import Model
from billing.catalog.rating import line_as_dict
from billing.catalog.sheets import SheetOutput
from billing.catalog.stored import lines_of
from billing.metering import rollups
from billing.metering.adjusted import adjustments_of
from billing.metering.models import Funding, UsageRecord
from billing.metering.sheet import Explained, explain, paid_from
from billing.money import text
from config import clock
from config.api import (
    AmountField,
    ApiView,
    CsvQuery,
    DayField,
    Keyset,
    ListQuery,
    ListView,
    PeriodQuery,
    UtcField,
    page_of,
)

MOST_DAYS = 400
MOST_GROUPS = 1000
STATUSES = [("charged", _("Charged")), ("not_charged", _("Not charged"))]


def explained_of(record: UsageRecord) -> Explained:
    """The record rated again and explained; the book is read again when it does not know the price version yet."""
    explained = explain(record, current_book())
    return explained if explained.sheet is not None else explain(record, current_book(fresh=True))


def sheet_of(record: UsageRecord, explained: Explained) -> dict[str, Any] | None:
    """The calculation behind a record (I8, F057): the lines that it keeps; those of a record older than kept sheets
    are recomputed. None where its price version cannot be read. `charge` is what was taken: nothing where Flows paid.
    """
    if explained.sheet is None:
        return None
    told = explained.sheet.as_dict(flows=record.flows)
    if record.sheet is not None:
        told["lines"] = [line_as_dict(line) for line in lines_of(record.sheet)]
    return told | {"list_price": text(record.list_price), "charge": text(record.charge)}


# --- Records -------------------------------------------------------------------------------------------------------


class UsageQuery(ListQuery, PeriodQuery, CsvQuery):
    """Which calls. `from` and `to` go by the time at which the call was authorised."""

    model = serializers.CharField(required=False, max_length=120, help_text="A slug.")
    key = serializers.UUIDField(required=False, help_text="An API key's id.")
    group = serializers.UUIDField(required=False, help_text="A key group's id.")
    funding = serializers.ChoiceField(choices=Funding.choices, required=False)
    kind = serializers.ChoiceField(choices=["call", "image", "video", "batch"], required=False)
    status = serializers.ChoiceField(choices=STATUSES, required=False)
    request_id = serializers.CharField(required=False, max_length=200)
    trace_id = serializers.CharField(required=False, max_length=64)


class KeyShown(serializers.Serializer[Any]):
    """The key that a call was made with."""

    id = serializers.UUIDField()
    name = serializers.CharField()
    masked = serializers.CharField()


class UsageOutput(serializers.Serializer[Any]):
    """One billed call."""

    id = serializers.UUIDField()
    at = UtcField(source="authorized_at", help_text="When the call was authorised.")
    created_at = UtcField(help_text="When it was charged.")
    request_id = serializers.CharField()
    trace_id = serializers.CharField()
    kind = serializers.CharField()
    model = serializers.SerializerMethodField()
    channel = serializers.SerializerMethodField()
    key = serializers.SerializerMethodField()
    funding = serializers.ChoiceField(choices=Funding.choices)
    status = serializers.SerializerMethodField()
    charge = AmountField(help_text="USD.")
    list_price = AmountField(help_text="USD, before discounts.")
    flows = AmountField(6)
    input_tokens = serializers.IntegerField()
    output_tokens = serializers.IntegerField()
    cache_read_tokens = serializers.IntegerField()
    cache_write_tokens = serializers.IntegerField()
    late = serializers.BooleanField(help_text="Captured after its hold had expired.")
    upstream_status = serializers.IntegerField(allow_null=True)
    latency_ms = serializers.IntegerField(allow_null=True)
    duplicate_of = serializers.UUIDField(allow_null=True)

    def get_model(self, record: UsageRecord) -> str:
        """The slug."""
        return str(record.model.slug)

    def get_channel(self, record: UsageRecord) -> str:
        """The channel's code."""
        return str(record.channel.code)

    @extend_schema_field(KeyShown(allow_null=True))
    def get_key(self, record: UsageRecord) -> dict[str, Any] | None:
        """Masked; null for calls of the platform's own apps."""
        return dict(KeyShown(record.api_key).data) if record.api_key else None

    @extend_schema_field(serializers.ChoiceField(choices=STATUSES))
    def get_status(self, record: UsageRecord) -> str:
        """Whether the call cost anything, money or Flows."""
        return "charged" if record.charged else "not_charged"


class EntryOutput(serializers.Serializer[Any]):
    """The journal entry that took the charge; it may take other calls' charges too."""

    id = serializers.UUIDField()
    seq = serializers.IntegerField()
    delta = AmountField()
    balance_after = AmountField()


class PartOutput(serializers.Serializer[Any]):
    """A share of a charge and the credit grant that paid it; no grant: it became overdraft."""

    amount = AmountField()
    grant = serializers.UUIDField(source="grant.pk", allow_null=True, default=None)
    kind = serializers.CharField(source="grant.kind", allow_null=True, default=None)


class WhatIfOutput(serializers.Serializer[Any]):
    """What the call would have cost otherwise, in USD or, where `flows` is told, in Flows."""

    code = serializers.CharField(
        help_text="`cache_hit`, `cache_miss`, `cache_written`, `channel`, `level`, `cheapest_model`, `on_flows` or "
        "`from_balance`."
    )
    label = serializers.CharField(help_text="For people, in the language asked for.")  # type: ignore[assignment]
    charge = AmountField(allow_null=True)
    flows = AmountField(6, allow_null=True)
    difference = AmountField(allow_null=True, help_text="`charge` less what was paid.")


class CheckOutput(serializers.Serializer[Any]):
    """A reason for the price, told only where it explains it (F107)."""

    code = serializers.CharField()
    topic = serializers.ChoiceField(choices=["model_choice", "token_counting", "cache_billing", "free"])
    text = serializers.CharField(help_text="For people, in the language asked for.")


class AdjustmentOutput(serializers.Serializer[Any]):
    """What a price correction, or its reversal, made of the charge."""

    at = UtcField()
    correction = serializers.UUIDField(source="correction_id")
    entry = serializers.UUIDField(source="entry_id")
    reversal = serializers.BooleanField()
    charge_before = AmountField(help_text="USD.")
    charge_after = AmountField(help_text="USD.")


class UsageDetailOutput(UsageOutput):
    """A call with all that made its price."""

    usage = serializers.DictField(help_text="Canonical usage, as rated.")
    sheet = serializers.SerializerMethodField()
    recomputed_equal = serializers.SerializerMethodField()
    what_if = serializers.SerializerMethodField()
    checks = serializers.SerializerMethodField()
    adjustments = serializers.SerializerMethodField()
    entry = serializers.SerializerMethodField()
    paid_by = serializers.SerializerMethodField()

    def get_fields(self) -> dict[str, Any]:
        """`fields` is a word of the serializer's own, so the field is made here."""
        return super().get_fields() | {
            "fields": serializers.DictField(help_text="Request fields that the price may depend on.")
        }

    @extend_schema_field(EntryOutput(allow_null=True))
    def get_entry(self, record: UsageRecord) -> dict[str, Any] | None:
        """null where nothing was charged."""
        entry = self.context.get("entry")
        return dict(EntryOutput(entry).data) if entry else None

    @extend_schema_field(AdjustmentOutput(many=True))
    def get_adjustments(self, record: UsageRecord) -> list[dict[str, Any]]:
        """Oldest first; the last one's `charge_after` is what the call costs."""
        return list(AdjustmentOutput(adjustments_of(record), many=True).data)

    @extend_schema_field(PartOutput(many=True))
    def get_paid_by(self, record: UsageRecord) -> list[dict[str, Any]]:
        """The credit that paid the charge, in burn order."""
        return list(PartOutput(paid_from(record), many=True).data)

    @extend_schema_field(SheetOutput(allow_null=True))
    def get_sheet(self, record: UsageRecord) -> dict[str, Any] | None:
        """The calculation, line by line."""
        return sheet_of(record, self.context["explained"])

    def get_recomputed_equal(self, record: UsageRecord) -> bool | None:
        """Whether lines, list price and charge, computed again just now, are the kept ones to the last digit. null:
        the price version cannot be read."""
        equal: bool | None = self.context["explained"].equal
        return equal

    @extend_schema_field(WhatIfOutput(many=True))
    def get_what_if(self, record: UsageRecord) -> list[dict[str, Any]]:
        """What the call would have cost otherwise."""
        return list(WhatIfOutput(self.context["explained"].what_if, many=True).data)

    @extend_schema_field(CheckOutput(many=True))
    def get_checks(self, record: UsageRecord) -> list[dict[str, Any]]:
        """Why it cost that, where there is a reason to name (F107)."""
        return list(CheckOutput(self.context["explained"].checks, many=True).data)


_RELATED = ("model", "channel", "api_key")


@extend_schema_view(
    get=extend_schema(
        operation_id="usage_list", summary="List calls and what they cost, newest first", parameters=[UsageQuery],
        responses={(200, "application/json"): page_of(UsageOutput, "UsagePage"), (200, "text/csv"): OpenApiTypes.STR},
        tags=["Usage"],
    )
)  # fmt: skip
class UsageList(ListView):
    """The account's calls."""

    query_form, row_form = UsageQuery, UsageOutput
    keyset = Keyset(("authorized_at", "id"), (datetime, UUID))
    table = "usage"
    columns = (
        "at", "request_id", "trace_id", "model", "channel", "key.name", "key.masked", "kind", "funding", "status",
        "input_tokens", "output_tokens", "cache_read_tokens", "cache_write_tokens", "list_price", "charge", "flows",
        "late", "upstream_status", "latency_ms", "duplicate_of", "id",
    )  # fmt: skip

    def rows(self, query: dict[str, Any]) -> QuerySet[UsageRecord]:
        """Names are turned into ids first, so that each filter can use an index."""
        wanted: dict[str, Any] = {
            "authorized_at__gte": query.get("from"),
            "authorized_at__lt": query.get("to"),
            "funding": query.get("funding"),
            "kind": query.get("kind"),
            "request_id": query.get("request_id"),
            "trace_id": query.get("trace_id"),
        }
        if "model" in query:
            wanted["model_id"] = model_id(query["model"])
        if "key" in query:
            wanted["api_key_id"] = key_id(query["key"], self.account.pk)
        rows: QuerySet[UsageRecord] = UsageRecord.objects.filter(account=self.account).select_related(*_RELATED)
        rows = rows.filter(**{name: value for name, value in wanted.items() if value is not None})
        if "group" in query:
            rows = rows.filter(api_key__in=ApiKey.objects.filter(account=self.account, group=query["group"]))
        if "status" in query:
            free = Q(charge=0, flows=0)
            rows = rows.filter(free if query["status"] == "not_charged" else ~free)
        return rows


def model_id(slug: str) -> int:
    """The model's id, also of one that is no longer offered. Raises 422 naming `model`."""
    found = Model.objects.filter(slug=slug).values_list("pk", flat=True).first()
    if found is None:
        raise serializers.ValidationError({"model": _("There is no such model.")})
    return found


def key_id(key: UUID, account: UUID) -> UUID:
    """The key's id when it is this account's. Raises 422 naming `key`; another account's key does not exist."""
    if not ApiKey.objects.filter(account=account, pk=key).exists():
        raise serializers.ValidationError({"key": _("There is no such key.")})
    return key


class UsageDetail(ApiView):
    """One call."""

    @extend_schema(
        operation_id="usage_read", summary="Read a call with its calculation", responses=UsageDetailOutput,
        tags=["Usage"],
    )  # fmt: skip
    def get(self, request: Request, record_id: UUID) -> Response:
        """Why it cost what it cost."""
        record = UsageRecord.objects.filter(account=self.account, pk=record_id).select_related(*_RELATED).first()
        if record is None:
            raise exceptions.NotFound
        entry = (
            JournalEntry.objects.filter(account=self.account, pk=record.entry_id).first() if record.entry_id else None
        )
        told = {"entry": entry, "explained": explained_of(record)}
        return Response(UsageDetailOutput(record, context=told).data)


# --- Sums ----------------------------------------------------------------------------------------------------------


class SummaryQuery(PeriodQuery):
    """Whole days in UTC; the last 30 when neither end is told."""

    by = serializers.ChoiceField(choices=["day", "model", "key", "group"], default="day")
    model = serializers.CharField(required=False, max_length=120)
    key = serializers.UUIDField(required=False)
    funding = serializers.ChoiceField(choices=Funding.choices, required=False)

    def _field(self, **terms: Any) -> serializers.Field:
        return DayField(required=False, **terms)


class SumOutput(serializers.Serializer[Any]):
    """What a group of calls adds up to."""

    calls = serializers.IntegerField()
    input_tokens = serializers.IntegerField()
    output_tokens = serializers.IntegerField()
    cache_read_tokens = serializers.IntegerField()
    cache_write_tokens = serializers.IntegerField()
    list_price = AmountField()
    charge = AmountField()
    flows = AmountField(6)


class GroupOutput(SumOutput):
    """One day, model, key or key group; which one, says the member that is there."""

    day = serializers.DateField(required=False)
    model = serializers.CharField(required=False)
    key = KeyShown(required=False, allow_null=True)
    group = serializers.UUIDField(required=False, allow_null=True)

    def to_representation(self, instance: dict[str, Any]) -> dict[str, Any]:
        """Without the members that were not asked for; null is a key or a group that is none."""
        told = super().to_representation(instance)
        return {name: value for name, value in told.items() if name in instance}


class SummaryOutput(serializers.Serializer[Any]):
    """Usage in groups: days in their order, anything else by charge, dearest first."""

    by = serializers.ChoiceField(choices=["day", "model", "key", "group"])
    first_day = serializers.DateField()
    last_day = serializers.DateField()
    results = GroupOutput(many=True)
    total = SumOutput()


class UsageSummary(ApiView):
    """The account's usage, added up."""

    @extend_schema(
        operation_id="usage_summary", summary="Add up usage by day, model, key or key group", parameters=[SummaryQuery],
        responses=SummaryOutput, tags=["Usage"],
        description=f"`from` and `to` are days in UTC, `to` not included; at most {MOST_DAYS} days. A list by model, "
        f"key or group holds the {MOST_GROUPS} dearest; `total` counts all.",
    )  # fmt: skip
    def get(self, request: Request) -> Response:
        """From the rollups and the tail after them."""
        query = self.query(SummaryQuery)
        first, last = _days(query, clock.now())
        scope = rollups.Scope(
            account_id=self.account.pk,
            first=first,
            last=last,
            model_id=model_id(query["model"]) if "model" in query else None,
            api_key_id=key_id(query["key"], self.account.pk) if "key" in query else None,
            funding=query.get("funding"),
        )
        by = query["by"]
        dimension = {"day": "day", "model": "model_id"}.get(by, "api_key_id")
        groups: dict[Any, dict[str, Any]] = defaultdict(_nothing)
        total = _nothing()
        keys = (
            ApiKey.objects.filter(account=self.account, group__isnull=False) if by == "group" else ApiKey.objects.none()
        )
        in_group = dict(keys.values_list("pk", "group_id"))
        for row in rollups.sums(scope, by=[dimension]):
            value = getattr(row, dimension)
            _add(groups[in_group.get(value) if by == "group" else value], row)
            _add(total, row)
        order = sorted(groups, key=lambda value: value if by == "day" else (-groups[value]["charge"], str(value)))
        shown = [groups[value] | {by: value} for value in order[:MOST_GROUPS]]
        _name(shown, by)
        told = {"by": by, "first_day": first, "last_day": last, "results": shown, "total": total}
        return Response(SummaryOutput(told).data)


def _days(query: dict[str, Any], now: datetime) -> tuple[date, date]:
    """The first and the last day, both included."""
    last = query["to"] - timedelta(days=1) if "to" in query else now.date()
    first = query.get("from", last - timedelta(days=29))
    if (last - first).days >= MOST_DAYS:
        raise serializers.ValidationError({"from": _("Ask for fewer days at a time.")})
    return first, last


SUMS = tuple(SumOutput._declared_fields)


def _nothing() -> dict[str, Any]:
    return {name: Decimal(0) if name in ("list_price", "charge", "flows") else 0 for name in SUMS}


def _add(to: dict[str, Any], row: rollups.Sums) -> None:
    for name in to:
        to[name] += getattr(row, name)


def _name(shown: list[dict[str, Any]], by: str) -> None:
    """Ids as the customer knows them."""
    if by == "model":
        slugs = dict(Model.objects.filter(pk__in=[row["model"] for row in shown]).values_list("pk", "slug"))
        for row in shown:
            row["model"] = slugs[row["model"]]
    elif by == "key":
        keys = ApiKey.objects.in_bulk([row["key"] for row in shown if row["key"]])
        for row in shown:
            row["key"] = keys.get(row["key"])
