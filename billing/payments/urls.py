from django.urls import path

from billing.payments import api, benefit_views, views

app_name = "payments"
urlpatterns = [
    path("benefits", benefit_views.page, name="benefits"),
    path("api/v1/benefits", benefit_views.Benefits.as_view(), name="api-benefits"),
    path("billing/top-up", views.top_up, name="top_up"),
    path("billing/top-up/<slug:number>", views.order, name="order"),
    path("billing/top-up/<slug:number>/status", views.status, name="status"),
    path("billing/top-up/<slug:number>/pay", views.pay, name="pay"),
    path("billing/top-up/<slug:number>/check", views.check_now, name="check"),
    path("webhooks/stripe", views.stripe_webhook, name="stripe-webhook"),
    path("api/v1/top-ups", api.TopUps.as_view(), name="api-top-ups"),
    path("api/v1/top-ups/<slug:number>", api.TopUpDetail.as_view(), name="api-top-up"),
    path("api/v1/fx/usd-cny", api.UsdCny.as_view(), name="api-usd-cny"),
]
