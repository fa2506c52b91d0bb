from django.urls import path

from billing.payments import api, api_saved, benefit_views, receipt_views, views, views_saved

app_name = "payments"
urlpatterns = [
    path("benefits", benefit_views.page, name="benefits"),
    path("api/v1/benefits", benefit_views.Benefits.as_view(), name="api-benefits"),
    path("billing/top-up", views.top_up, name="top_up"),
    path("billing/top-up/<slug:number>", views.order, name="order"),
    path("billing/top-up/<slug:number>/status", views.status, name="status"),
    path("billing/top-up/<slug:number>/pay", views.pay, name="pay"),
    path("billing/top-up/<slug:number>/check", views.check_now, name="check"),
    path("billing/auto-top-up", views_saved.auto_top_up, name="auto_top_up"),
    path("billing/auto-top-up/on", views_saved.turn_on, name="auto_top_up_on"),
    path("billing/auto-top-up/off", views_saved.turn_off, name="auto_top_up_off"),
    path("billing/auto-top-up/resume", views_saved.resume, name="auto_top_up_resume"),
    path("billing/auto-top-up/cards", views_saved.add_card, name="card_add"),
    path("billing/auto-top-up/cards/<uuid:setup_id>", views_saved.card_given, name="card_given"),
    path("billing/auto-top-up/cards/<uuid:card_id>/default", views_saved.default_card, name="card_default"),
    path("billing/auto-top-up/cards/<uuid:card_id>/remove", views_saved.remove_card, name="card_remove"),
    path("api/v1/auto-top-up", api_saved.AutoTopUpView.as_view(), name="api-auto-top-up"),
    path("api/v1/payment-methods", api_saved.PaymentMethods.as_view(), name="api-payment-methods"),
    path("api/v1/payment-methods/<uuid:card_id>", api_saved.PaymentMethodDetail.as_view(), name="api-payment-method"),
    path("webhooks/stripe", views.stripe_webhook, name="stripe-webhook"),
    path("api/v1/top-ups", api.TopUps.as_view(), name="api-top-ups"),
    path("api/v1/top-ups/<slug:number>", api.TopUpDetail.as_view(), name="api-top-up"),
    path("api/v1/top-ups/<slug:number>/check", api.TopUpCheck.as_view(), name="api-top-up-check"),
    path("api/v1/fx/quotes", api.Quotes.as_view(), name="api-fx-quotes"),
    path("billing/top-up/<slug:number>/receipt.pdf", receipt_views.receipt, name="receipt"),
    path("api/v1/top-ups/<slug:number>/receipt", receipt_views.ReceiptView.as_view(), name="api-top-up-receipt"),
    path("api/v1/fx/usd-cny", api.UsdCny.as_view(), name="api-usd-cny"),
]
