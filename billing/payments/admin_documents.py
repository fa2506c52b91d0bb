"""Desks of documents: receipts as they were issued, and whom an account's documents are addressed to."""

from __future__ import annotations

from typing import Any

from django.conf import settings
from django.contrib import admin
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404
from django.urls import path, reverse
from django.utils.html import format_html, format_html_join
from django.utils.translation import gettext_lazy as _

from accounts.admin import AccountAdmin
from accounts.admin_parts import audit_panel
from accounts.models import Account
from billing.books.models_details import BillingDetails
from billing.books.statement_views import pdf_response
from billing.desk import BillingDesk
from billing.payments import receipt_pdf
from billing.payments.cards import card_text
from billing.payments.models_documents import Receipt
from config.admin_cells import Panel, at, column, document, link, list_url, to, usd
from config.admin_finding import Since
from config.templatetags import ui


def paid(receipt: Receipt) -> str:
    """What the customer paid, in the currency of the payment."""
    return ui.cny(receipt.paid_amount) if receipt.currency == "CNY" else ui.usd(receipt.paid_amount)


def downloads(receipt: Receipt) -> str:
    """The document in each language."""
    return document_links(reverse("admin:billing_receipt_pdf", args=[receipt.pk]))


def document_links(url: str) -> str:
    """A document's address, in each language."""
    return format_html_join(
        " · ",
        '<a class="mh-link" href="{}?lang={}">{}</a>',
        ((url, code, f"PDF {name}") for code, name in settings.LANGUAGES),
    )


def with_four(receipt: Receipt) -> str:
    """Method, brand and last four digits."""
    if not receipt.last_four:
        return receipt.get_method_display()
    return format_html("{} {}", receipt.get_method_display(), card_text(receipt.brand, receipt.last_four))


def receipt_panels(request: HttpRequest, owner: Account) -> list[Panel]:
    """The newest receipts, on the customer's page."""
    if not request.user.has_perm("billing.view_receipt"):
        return []
    rows = Receipt.objects.filter(account=owner).order_by("-pk")[:5]
    return [
        Panel(
            _("Newest receipts"),
            (_("receipt"), _("issued"), _("amount paid"), _("document")),
            [(link(one), ui.when(one.issued_at), paid(one), downloads(one)) for one in rows],
            numbers=frozenset({2}),
            more=list_url(Receipt, account__id__exact=owner.pk),
        )
    ]


AccountAdmin.add_panels(receipt_panels, place=70)


@admin.register(Receipt)
class ReceiptAdmin(BillingDesk):
    """Receipts, as they were issued: read and download."""

    related = ("account", "top_up")
    ids_by_time = True
    moment = "issued_at"
    list_display = (
        "number",
        to("account", _("account")),
        usd("amount_usd", _("credit")),
        column(_("amount paid"), paid, number=True, name="paid_text"),
        at("issued_at", _("issued")),
        column(_("document"), downloads, name="downloads"),
    )
    list_filter = (Since, "currency")
    ordering = ("-pk",)
    account_order = ("-pk",)
    finds = (("uuid", "pk"), ("uuid", "account_id"), ("text", "number"), ("text", "top_up__number"))
    search_help_text = _("Receipt or order number, account UUID")
    facts = (
        (
            _("Receipt"),
            ("number", to("account", _("account")), to("top_up", _("order")), "issued_at", "paid_at",
             column(_("document"), downloads, name="downloads")),
        ),
        (
            _("Payment"),
            (usd("amount_usd", _("credit")), column(_("amount paid"), paid, name="paid_text"), "currency", "fx_rate",
             column(_("payment method"), with_four, name="with_four")),
        ),
        (
            _("As it was on that day"),
            (column(_("for"), lambda row: document(row.buyer), name="buyer_text"),
             column(_("from"), lambda row: document(row.seller), name="seller_text")),
        ),
    )  # fmt: skip

    def get_urls(self) -> list[Any]:
        """Its own page and the document."""
        own = path("<uuid:receipt_id>/receipt.pdf", self.admin_site.admin_view(self.pdf), name="billing_receipt_pdf")
        return [own, *super().get_urls()]

    def pdf(self, request: HttpRequest, receipt_id: Any) -> HttpResponse:
        """The document as the customer has it."""
        if not self.has_view_permission(request):
            return HttpResponse(status=403)
        row = get_object_or_404(Receipt.objects.select_related("top_up"), pk=receipt_id)
        asked = request.GET.get("lang", "")
        language = asked if asked in dict(settings.LANGUAGES) else settings.LANGUAGE_CODE
        return pdf_response(receipt_pdf.render(row, language), f"{row.number}.pdf")


@admin.register(BillingDetails)
class BillingDetailsAdmin(BillingDesk):
    """What customers entered for their documents."""

    related = ("account",)
    list_display = (
        to("account", _("account")),
        "company_name",
        "tax_id",
        "country",
        "language",
        at("changed_at", _("changed")),
    )
    list_filter = ("language", "statement_mail")
    ordering = ("-changed_at",)
    finds = (("uuid", "account_id"), ("text", "tax_id"))
    search_help_text = _("Account UUID, tax ID")
    facts = (
        (_("Addressee"), (to("account", _("account")), "company_name", "tax_id", "address", "country", "email")),
        (_("Documents"), ("language", "statement_mail", "changed_at")),
    )

    def panels(self, request: HttpRequest, obj: BillingDetails) -> list[Panel]:
        """Who changed what."""
        return audit_panel(request, obj)
