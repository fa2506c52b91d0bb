from django.urls import path

from subscriptions import api, api_invoices, api_plan

urlpatterns = [
    path("subscription", api.SubscriptionView.as_view(), name="api-subscription"),
    path("subscription/checkout", api_plan.CheckoutView.as_view(), name="api-subscription-checkout"),
    path("subscription/preview", api_plan.PreviewView.as_view(), name="api-subscription-preview"),
    path("subscription/change", api_plan.ChangeView.as_view(), name="api-subscription-change"),
    path("subscription/cancel", api_plan.CancelView.as_view(), name="api-subscription-cancel"),
    path("subscription/invoices", api_invoices.Invoices.as_view(), name="api-subscription-invoices"),
    path(
        "subscription/invoices/<uuid:invoice_id>/receipt",
        api_invoices.ReceiptView.as_view(),
        name="api-subscription-receipt",
    ),
]
