from django.urls import path

from subscriptions import views_invoices, views_plan

app_name = "plan"
urlpatterns = [
    path("checkout", views_plan.checkout, name="checkout"),
    path("return/<uuid:subscription_id>", views_plan.returned, name="returned"),
    path("change", views_plan.change, name="change"),
    path("change/withdraw", views_plan.withdraw, name="withdraw"),
    path("history", views_invoices.history, name="history"),
    path("history.csv", views_invoices.history_csv, name="history_csv"),
    path("history/<uuid:invoice_id>", views_invoices.invoice, name="invoice"),
    path("history/<uuid:invoice_id>/receipt.pdf", views_invoices.receipt, name="receipt"),
    path("history/<uuid:invoice_id>/pay", views_invoices.pay, name="pay_invoice"),
    path("cancel", views_plan.cancel, name="cancel"),
    path("cancel/undo", views_plan.resume, name="resume"),
    path("card", views_plan.provider_page, name="provider_page"),
]
