"""What every endpoint of the customers' API shares: whose data, which role, strict input, pages by cursor, CSV.

It raises REST framework's exceptions, which `config/problems.py` turns into problem documents; so the apps on the
left may use it without knowing `billing`.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, time
from decimal import Decimal
from typing import Any, ClassVar, TypeVar
from uuid import UUID

import orjson
from django.db.models import Q, QuerySet
from django.http import StreamingHttpResponse
from django.utils.dateparse import parse_date, parse_datetime
from django.utils.translation import gettext_lazy as _
from drf_spectacular.utils import extend_schema_field, inline_serializer
from rest_framework import exceptions, serializers
from rest_framework.renderers import JSONRenderer
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from accounts import access
from accounts.authentication import Caller
from accounts.models import Account
from config import clock, exports

PAGE_SIZE, LARGEST_PAGE, CSV_CHUNK = 50, 200, 1000
EARLIEST, LATEST = datetime(2000, 1, 1, tzinfo=UTC), datetime(2200, 1, 1, tzinfo=UTC)

Row = TypeVar("Row")


# --- Fields --------------------------------------------------------------------------------------------------------


@extend_schema_field({"type": "string", "format": "decimal", "examples": ["0.0123400000"]})
class AmountField(serializers.DecimalField):
    """An exact decimal as a string without exponent, with its places filled up: money has ten, Flows six."""

    def __init__(self, places: int = 10, **terms: Any) -> None:
        super().__init__(max_digits=None, decimal_places=places, coerce_to_string=True, **terms)

    def to_representation(self, value: Any) -> str:
        """As it is, never rounded: what is finer than the places is told in full."""
        whole, _point, after = format(value if isinstance(value, Decimal) else Decimal(value), "f").partition(".")
        return f"{whole}.{after.ljust(self.decimal_places or 0, '0')}"


class UtcField(serializers.DateTimeField):
    """A time, told in UTC whatever the reader's own time zone."""

    def __init__(self, **terms: Any) -> None:
        super().__init__(default_timezone=UTC, **terms)


@extend_schema_field({"type": "string", "examples": ["2026-11-22T12:00:00Z", "2026-11-22"]})
class MomentField(serializers.Field):
    """A filter's time: RFC 3339 with its offset, or a date, which is its midnight in UTC."""

    default_error_messages = {
        "invalid": _("Write a time such as 2026-11-22T12:00:00Z, or a date such as 2026-11-22 (midnight UTC)."),
        "zone": _("Say the time zone, for instance 2026-11-22T12:00:00Z."),
        "range": _("The time must lie between the years 2000 and 2200."),
    }

    def to_internal_value(self, data: Any) -> datetime:
        """An aware time in UTC."""
        # In a query string a plus sign is a space, and every program forgets to escape it once.
        text = str(data).replace(" ", "+") if "T" in str(data) else str(data)
        try:
            day = parse_date(text)
            found = datetime.combine(day, time(), UTC) if day else parse_datetime(text)
        except ValueError:
            found = None
        if found is None:
            self.fail("invalid")
        if found.tzinfo is None:
            self.fail("zone")
        try:
            inside = EARLIEST <= found < LATEST
        except OverflowError:
            inside = False
        if not inside:
            self.fail("range")
        return found.astimezone(UTC)

    def to_representation(self, value: datetime) -> str:
        """Back to text."""
        return value.isoformat().replace("+00:00", "Z")


class DayField(serializers.DateField):
    """A calendar day in UTC, within the years that we keep."""

    def to_internal_value(self, value: Any) -> date:
        """The day."""
        day = super().to_internal_value(value)
        if not EARLIEST.date() <= day < LATEST.date():
            raise serializers.ValidationError(_("The time must lie between the years 2000 and 2200."))
        return day


class ListQuery(serializers.Serializer[Any]):
    """What every list takes."""

    cursor = serializers.CharField(
        required=False, max_length=400, help_text="`next_cursor` of the page before; absent: the first page."
    )
    page_size = serializers.IntegerField(required=False, min_value=1, max_value=LARGEST_PAGE, default=PAGE_SIZE)


class PeriodQuery(serializers.Serializer[Any]):
    """A half-open stretch of time: `from` counts, `to` does not."""

    def get_fields(self) -> dict[str, Any]:
        """`from` is a word of Python's, so the fields are made here."""
        return super().get_fields() | {
            "from": self._field(help_text="From this time on: RFC 3339, or a date (midnight UTC)."),
            "to": self._field(help_text="Up to, but without, this time."),
        }

    def _field(self, **terms: Any) -> serializers.Field:
        return MomentField(required=False, **terms)

    def validate(self, attrs: dict[str, Any]) -> dict[str, Any]:
        """`to` does not lie before `from`."""
        if "from" in attrs and "to" in attrs and attrs["to"] < attrs["from"]:
            raise serializers.ValidationError({"to": _("This lies before the start.")})
        return attrs


class CsvQuery(serializers.Serializer[Any]):
    """Lists that can be had as a table."""

    format = serializers.ChoiceField(
        choices=["json", "csv"], default="json", required=False, help_text="`csv` streams all rows that match."
    )


# --- Pages ---------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Keyset:
    """A total order of a list; the cursor names the last row seen, so a page costs the same however deep it is."""

    fields: tuple[str, ...]
    types: tuple[type, ...]
    descending: bool = True

    @property
    def ordering(self) -> list[str]:
        """For `order_by`."""
        return [f"-{name}" if self.descending else name for name in self.fields]

    def after(self, cursor: str) -> Q:
        """The rows that follow the cursor. Raises 422 naming `cursor`."""
        values = self.values(cursor)
        step = "lt" if self.descending else "gt"
        condition = Q(**{f"{self.fields[-1]}__{step}": values[-1]})
        for name, value in zip(self.fields[-2::-1], values[-2::-1], strict=True):
            # `time <= x and (time < x or id < y)`: the first half is what an index can seek by.
            condition = Q(**{f"{name}__{step}e": value}) & (Q(**{f"{name}__{step}": value}) | condition)
        return condition

    def cursor(self, row: Any) -> str:
        """The cursor that continues after this row."""
        values = [getattr(row, name) for name in self.fields]
        told = [value.isoformat() if isinstance(value, datetime) else value for value in values]
        return base64.urlsafe_b64encode(orjson.dumps(told)).decode().rstrip("=")

    def values(self, text: str) -> list[Any]:
        """The last row's values, out of a cursor. Raises 422 naming `cursor`."""
        try:
            told = orjson.loads(base64.urlsafe_b64decode(text + "=" * (-len(text) % 4)))
            if len(told) != len(self.types):
                raise ValueError
            return [_typed(kind, value) for kind, value in zip(self.types, told, strict=True)]
        except (ValueError, TypeError, AttributeError, OverflowError, binascii.Error):
            raise serializers.ValidationError({"cursor": _("This is not a cursor of this list.")}) from None


def _typed(kind: type, value: Any) -> Any:
    if kind is int:
        if type(value) is not int or not 0 <= value < 2**63:
            raise ValueError
        return value
    if not isinstance(value, str) or "\0" in value:
        raise ValueError
    if kind is datetime:
        found = datetime.fromisoformat(value)
        if not EARLIEST <= found < LATEST:
            raise ValueError
        return found
    return UUID(value) if kind is UUID else value


def pages(rows: QuerySet[Any], keyset: Keyset, size: int, cursor: str | None = None) -> Iterator[list[Any]]:
    """The list page by page; the last one may be short."""
    rows = rows.order_by(*keyset.ordering)
    while True:
        page = list((rows.filter(keyset.after(cursor)) if cursor else rows)[:size])
        yield page
        if len(page) < size:
            return
        cursor = keyset.cursor(page[-1])


# --- Views ---------------------------------------------------------------------------------------------------------


class ApiView(APIView):
    """An endpoint of one account. `needs` says which action of the role table a method takes; reading takes none."""

    needs: ClassVar[dict[str, str]] = {}
    keyset: ClassVar[Keyset]
    http_method_names = ["get", "head", "post", "put", "patch", "delete"]

    def initial(self, request: Request, *args: Any, **kwargs: Any) -> None:
        """Who, then whether the role may, before anything is read."""
        super().initial(request, *args, **kwargs)
        action = self.needs.get(request.method or "")
        if action and not access.may(self.caller.role, action):
            raise exceptions.PermissionDenied(_("Your role does not allow this."))

    def finalize_response(self, request: Request, response: Any, *args: Any, **kwargs: Any) -> Any:
        """What is told of an account is kept by nobody on the way."""
        response.headers.setdefault("Cache-Control", "no-store")
        return super().finalize_response(request, response, *args, **kwargs)

    @property
    def caller(self) -> Caller:
        """Who asks."""
        return self.request.user  # type: ignore[return-value]  # every authentication class gives a Caller

    @property
    def account(self) -> Account:
        """Whose data this is: every read starts here."""
        return self.caller.account

    def query(self, kind: type[serializers.Serializer[Any]]) -> dict[str, Any]:
        """The query string, checked. An unknown parameter is refused: a filter with a typo filters nothing."""
        told = self.request.query_params
        form = kind(data={name: told[name] for name in told})
        unknown = sorted(told.keys() - form.fields.keys())
        if unknown:
            raise serializers.ValidationError({name[:60]: _("There is no such parameter.") for name in unknown[:10]})
        form.is_valid(raise_exception=True)
        return dict(form.validated_data)

    def page(self, shown: Any, last: Any) -> Response:
        """One page of a list; `last` is its last row when others follow."""
        following = self.keyset.cursor(last) if last is not None else None
        link = None
        if following:
            parameters = self.request.query_params.copy()
            parameters["cursor"] = following
            link = self.request.build_absolute_uri(f"{self.request.path}?{parameters.urlencode()}")
        return Response({"results": shown, "next_cursor": following, "next": link})

    def body(self, kind: type[serializers.Serializer[Any]], *, partial: bool = False) -> dict[str, Any]:
        """The JSON body, checked; unknown members are refused for the same reason."""
        told = self.request.data
        form = kind(data=told, partial=partial)
        if isinstance(told, dict) and (unknown := sorted(told.keys() - form.fields.keys())):
            raise serializers.ValidationError({name[:60]: _("There is no such field.") for name in unknown[:10]})
        form.is_valid(raise_exception=True)
        return dict(form.validated_data)


class CsvRenderer(JSONRenderer):
    """Lets `Accept: text/csv` pass. Rows are streamed and never come here; what does is a problem document."""

    media_type, format = "text/csv", "csv"


class ListView(ApiView):
    """A list: `query_form` checks, `rows` selects, `row_form` shows, `keyset` orders; with `columns` a table too."""

    query_form: ClassVar[type[serializers.Serializer[Any]]] = ListQuery
    row_form: ClassVar[type[serializers.Serializer[Any]]]
    columns: ClassVar[Sequence[str]] = ()
    table: ClassVar[str] = "list"

    def rows(self, query: dict[str, Any]) -> QuerySet[Any]:
        """The rows of this account that match."""
        raise NotImplementedError

    def pages(self, query: dict[str, Any], size: int) -> Iterator[list[Any]]:
        """Page by page from the cursor on; a list of several tables does this in its own way."""
        return pages(self.rows(query), self.keyset, size, query.get("cursor"))

    def shown(self, rows: list[Any]) -> Any:
        """Rows as the API tells them."""
        return self.row_form(rows, many=True, context={"now": clock.now()}).data

    def get_renderers(self) -> list[Any]:
        """JSON, and CSV where the list has columns."""
        return [*super().get_renderers(), *([CsvRenderer()] if self.columns else [])]

    def get(self, request: Request) -> Any:
        """One page as JSON, or everything as CSV."""
        query = self.query(self.query_form)
        accepted = getattr(request.accepted_renderer, "format", "json")
        if self.columns and (query.get("format") == "csv" or accepted == "csv"):
            return self._csv(self.pages(query, CSV_CHUNK))
        size = query["page_size"]
        found = next(self.pages(query, size + 1))
        more = len(found) > size
        shown = self.shown(found[:size])
        return self.page(shown, found[size - 1] if more else None)

    def _csv(self, found: Iterable[list[Any]]) -> StreamingHttpResponse:
        def tables() -> Iterator[list[list[Any]]]:
            for page in found:
                yield [[_cell(row, column) for column in self.columns] for row in self.shown(page)]

        return exports.stream(self.request._request, self.columns, tables(), name=self.table)


def _cell(row: Any, column: str) -> Any:
    for part in column.split("."):
        row = row.get(part) if isinstance(row, dict) else None
    return row


def page_of(row_form: Callable[..., Any], name: str) -> Any:
    """The shape of a list's page, for the published schema."""
    return inline_serializer(
        name,
        {
            "results": row_form(many=True),
            "next_cursor": serializers.CharField(allow_null=True, help_text="The next `cursor`."),
            "next": serializers.URLField(allow_null=True, help_text="The same as a whole address."),
        },
    )
