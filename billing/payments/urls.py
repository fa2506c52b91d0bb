from django.urls import path

from billing.payments import api, receipt_views, views

app_name = "payments"
urlpatterns = [
    path("billing/top-up", views.top_up, name="top_up"),
    path("billing/top-up/<slug:number>", views.order, name="order"),
    path("billing/top-up/<slug:number>/status", views.status, name="status"),
    path("billing/top-up/<slug:number>/pay", views.pay, name="pay"),
    path("billing/top-up/<slug:number>/check", views.check_now, name="check"),
    path("billing/top-up/<slug:number>/receipt.pdf", receipt_views.receipt, name="receipt"),
    path("webhooks/stripe", views.stripe_webhook, name="stripe-webhook"),
    path("api/v1/top-ups", api.TopUps.as_view(), name="api-top-ups"),
    path("api/v1/top-ups/<slug:number>", api.TopUpDetail.as_view(), name="api-top-up"),
    path("api/v1/top-ups/<slug:number>/receipt", receipt_views.ReceiptView.as_view(), name="api-top-up-receipt"),
    path("api/v1/fx/usd-cny", api.UsdCny.as_view(), name="api-usd-cny"),
]
