"""`GET /api/v1/subscription/invoices` and `…/{id}/receipt`: the billing history with its receipts (F077)."""

from __future__ import annotations

from datetime import datetime
from typing import Any
from uuid import UUID

from django.db.models import QuerySet
from django.http import HttpResponse
from django.urls import reverse
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import extend_schema, extend_schema_view
from rest_framework import serializers
from rest_framework.request import Request

from billing.errors import NotFound
from billing.money import from_minor_units
from billing.payments.receipt_views import PdfView, ReceiptQuery
from config.api import Keyset, ListQuery, ListView, UtcField, page_of
from subscriptions.models import Invoice
from subscriptions.views_invoices import receipt_pdf


class InvoiceOutput(serializers.Serializer[Any]):
    """What was asked for a plan, and whether it was paid."""

    id = serializers.UUIDField(source="pk")
    number = serializers.CharField(help_text="The payment provider's; empty before there is one.")
    kind = serializers.ChoiceField(choices=Invoice.Kind.choices)
    status = serializers.ChoiceField(choices=Invoice.Status.choices)
    plan = serializers.CharField(source="plan_version.plan_id")
    at = UtcField()
    amount = serializers.SerializerMethodField(help_text="Asked for, tax included, in `currency`.")
    paid = serializers.SerializerMethodField(help_text="In `currency`.")
    currency = serializers.CharField()
    period_start = UtcField(allow_null=True)
    period_end = UtcField(allow_null=True)
    paid_at = UtcField(allow_null=True)
    paid_back = serializers.SerializerMethodField(help_text="What of it has gone back, in `currency`.")
    paid_back_at = UtcField(allow_null=True, help_text="When money of it went back last; else null.")
    disputed = serializers.SerializerMethodField(help_text="What of it a bank holds or has taken, in `currency`.")
    card_brand = serializers.CharField()
    card_last_four = serializers.CharField()
    receipt = serializers.SerializerMethodField(help_text="Where its receipt is; null while nothing was paid.")

    def get_amount(self, row: Invoice) -> str:
        """An invoice has whole cents."""
        return f"{from_minor_units(row.amount_minor, row.currency):.2f}"

    def get_paid(self, row: Invoice) -> str:
        """An invoice has whole cents."""
        return f"{from_minor_units(row.paid_minor, row.currency):.2f}"

    def get_paid_back(self, row: Invoice) -> str:
        """A refund has whole cents."""
        return f"{from_minor_units(row.paid_back_minor, row.currency):.2f}"

    def get_disputed(self, row: Invoice) -> str:
        """While a dispute is open, and for good when it was lost."""
        return f"{from_minor_units(row.disputed_minor, row.currency):.2f}"

    def get_receipt(self, row: Invoice) -> str | None:
        """In the language of the account's documents; `lang` chooses another."""
        return reverse("api-subscription-receipt", args=[row.pk]) if row.paid_usd else None


@extend_schema_view(
    get=extend_schema(
        operation_id="subscription_invoices_list",
        summary="List what was paid for plans, newest first",
        parameters=[ListQuery],
        responses=page_of(InvoiceOutput, "InvoicePage"),
        tags=["Subscription"],
    )
)
class Invoices(ListView):
    """The account's billing history."""

    row_form = InvoiceOutput
    keyset = Keyset(("at", "id"), (datetime, UUID))

    def rows(self, query: dict[str, Any]) -> QuerySet[Invoice]:
        """Every member may read them."""
        found: QuerySet[Invoice] = Invoice.objects.filter(account=self.account).select_related("plan_version")
        return found


class ReceiptView(PdfView):
    """The receipt of one payment for a plan."""

    @extend_schema(
        operation_id="subscription_receipt",
        summary="Read the receipt of a payment for a plan as a PDF",
        description="404 until the invoice is paid. It carries the billing details as they were on that day; the "
        "lines of a change of plan are the credit for unused time and the charge for the new plan.",
        parameters=[ReceiptQuery],
        responses={(200, "application/pdf"): OpenApiTypes.BINARY},
        tags=["Subscription"],
    )
    def get(self, request: Request, invoice_id: UUID) -> HttpResponse:
        """Another account's invoice does not exist."""
        query = self.query(ReceiptQuery)
        rows = Invoice.objects.filter(account=self.account).select_related("account", "plan_version__plan")
        invoice = rows.filter(pk=invoice_id).first()
        if invoice is None:
            raise NotFound
        return receipt_pdf(invoice, query.get("lang"))
