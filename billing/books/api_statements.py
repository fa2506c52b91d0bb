"""`/api/v1/statements`: the months of an account, each as JSON, CSV or PDF."""

from __future__ import annotations

from typing import Any

from django.conf import settings
from django.http import HttpResponse
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import extend_schema, inline_serializer
from rest_framework import serializers
from rest_framework.renderers import JSONRenderer
from rest_framework.request import Request
from rest_framework.response import Response

from billing.books import details, statement_pdf, statements
from billing.books.months import Month
from billing.errors import NotFound
from config import clock
from config.api import AmountField, ApiView, CsvRenderer, UtcField
from config.exports import stream


class PdfRenderer(JSONRenderer):
    """Lets `Accept: application/pdf` pass. Documents never come here; what does is a problem document."""

    media_type, format = "application/pdf", "pdf"


class MonthOutput(serializers.Serializer[Any]):
    """A month that has a statement."""

    month = serializers.CharField(help_text="`2026-11`, a calendar month in UTC.")
    final = serializers.BooleanField(help_text="Nothing can come to it any more.")
    opening_balance = AmountField(help_text="USD, signed.")
    closing_balance = AmountField(help_text="USD, signed: the next month's opening balance.")

    def get_fields(self) -> dict[str, Any]:
        """`from` is a word of Python's."""
        return super().get_fields() | {
            "from": UtcField(help_text="The first instant that counts."),
            "to": UtcField(help_text="The first instant that does not."),
        }


class KindOutput(serializers.Serializer[Any]):
    """All entries of one kind."""

    kind = serializers.CharField()
    entries = serializers.IntegerField()
    amount = AmountField(help_text="USD, signed.")


class DayOutput(serializers.Serializer[Any]):
    """What the calls of one day in UTC cost."""

    day = serializers.DateField()
    calls = serializers.IntegerField()
    amount = AmountField(help_text="USD, signed.")


class StatementOutput(MonthOutput):
    """A month: opening balance + the amounts of `kinds` = closing balance, to the last digit."""

    as_of = UtcField()
    kinds = KindOutput(many=True)
    usage_by_day = DayOutput(many=True)


class StatementQuery(serializers.Serializer[Any]):
    """In which form."""

    format = serializers.ChoiceField(choices=["json", "csv", "pdf"], default="json", required=False)
    lang = serializers.ChoiceField(choices=settings.LANGUAGES, required=False, help_text="Of the PDF.")


def _told(month: Month, opening: Any, closing: Any, now: Any) -> dict[str, Any]:
    return {
        "month": str(month),
        "from": month.start,
        "to": month.end,
        "final": month.is_final(now),
        "opening_balance": opening,
        "closing_balance": closing,
    }


class Statements(ApiView):
    """The account's months."""

    @extend_schema(
        operation_id="statements_list",
        summary="List the monthly statements, newest first",
        description="The first is the present month, so far. At most the last 240 months.",
        responses=inline_serializer("StatementList", {"results": MonthOutput(many=True)}),
        tags=["Money"],
    )
    def get(self, request: Request) -> Response:
        """From the month of the first entry on."""
        now = clock.now()
        rows = statements.balances(self.account, statements.months(self.account, now=now))
        return Response({"results": MonthOutput([_told(*row, now) for row in rows], many=True).data})


class StatementDetail(ApiView):
    """One month."""

    def get_renderers(self) -> list[Any]:
        """JSON, CSV, PDF."""
        return [*super().get_renderers(), CsvRenderer(), PdfRenderer()]

    @extend_schema(
        operation_id="statements_read",
        summary="Read a monthly statement",
        parameters=[StatementQuery],
        responses={
            (200, "application/json"): StatementOutput,
            (200, "text/csv"): OpenApiTypes.STR,
            (200, "application/pdf"): OpenApiTypes.BINARY,
        },
        tags=["Money"],
    )
    def get(self, request: Request, month: str) -> Any:
        """A month before the first entry, or after the present one, does not exist."""
        query, now, wanted = self.query(StatementQuery), clock.now(), Month.read(month)
        if wanted is None or wanted not in statements.months(self.account, now=now):
            raise NotFound
        told = statements.statement(self.account, wanted, now=now)
        form = query["format"]
        if form == "json" and "format" not in request.query_params:
            form = getattr(request.accepted_renderer, "format", "json")
        if form == "csv":
            name = f"statement-{wanted}-{self.account.pk}"
            return stream(request._request, statements.COLUMNS, statements.table(told), name=name)
        if form == "pdf":
            content = statement_pdf.render(told, details.language_for(self.account, query.get("lang")))
            headers = {"Content-Disposition": f'inline; filename="statement-{wanted}.pdf"'}
            return HttpResponse(content, content_type="application/pdf", headers=headers)
        shown = _told(wanted, told.opening, told.closing, now) | {
            "as_of": told.as_of,
            "kinds": told.kinds,
            "usage_by_day": told.days,
        }
        return Response(StatementOutput(shown).data)
