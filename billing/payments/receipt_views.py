"""Receipts to open: in the portal and through the API."""

from __future__ import annotations

from typing import Any

from django.conf import settings
from django.contrib.auth.decorators import login_required
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404
from django.utils.translation import gettext_lazy as _
from django.views.decorators.http import require_safe
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import extend_schema
from rest_framework import serializers
from rest_framework.request import Request

from billing.books.api_statements import PdfRenderer
from billing.books.details import language_for
from billing.books.statement_views import pdf_response
from billing.errors import NotFound
from billing.payments import numbers, receipt_issuing, receipt_pdf
from billing.payments.models import TopUp
from config import clock
from config.api import ApiView


def _answer(order: TopUp, language: str | None) -> HttpResponse:
    receipt = receipt_issuing.issue(order.pk, now=clock.now())
    content = receipt_pdf.render(receipt, language_for(order.account, language))
    return pdf_response(content, f"{receipt.number}.pdf")


@require_safe
@login_required
def receipt(request: HttpRequest, number: str) -> HttpResponse:
    """The order's receipt; 404 while it is not credited. `lang` chooses the language."""
    order = get_object_or_404(TopUp.objects.visible_to(request.user).select_related("account"), number=number)
    try:
        return _answer(order, request.GET.get("lang"))
    except NotFound:
        raise Http404 from None


class ReceiptQuery(serializers.Serializer[Any]):
    """In which language."""

    lang = serializers.ChoiceField(
        choices=settings.LANGUAGES, required=False, help_text=_("Absent: the account's language of documents.")
    )


class PdfView(ApiView):
    """Answers with a PDF; with problems as everywhere."""

    def get_renderers(self) -> list[Any]:
        """Lets a client ask for nothing but a PDF."""
        return [*super().get_renderers(), PdfRenderer()]


class ReceiptView(PdfView):
    """The receipt of one order."""

    @extend_schema(
        operation_id="top_ups_receipt",
        summary="Read a top-up's receipt as a PDF",
        description="404 until the order is credited. The same order always has the same receipt and number.",
        parameters=[ReceiptQuery],
        responses={(200, "application/pdf"): OpenApiTypes.BINARY},
        tags=["Money"],
    )
    def get(self, request: Request, number: str) -> HttpResponse:
        """Another account's order does not exist."""
        query = self.query(ReceiptQuery)
        orders = TopUp.objects.filter(account=self.account).select_related("account")
        order = orders.filter(number=numbers.tidy(number)).first()
        if order is None:
            raise NotFound
        return _answer(order, query.get("lang"))
