from django.urls import path

from subscriptions import views_plan

app_name = "plan"
urlpatterns = [
    path("checkout", views_plan.checkout, name="checkout"),
    path("return/<uuid:subscription_id>", views_plan.returned, name="returned"),
    path("change", views_plan.change, name="change"),
    path("change/withdraw", views_plan.withdraw, name="withdraw"),
    path("history", views_plan.history, name="history"),
    path("history/<uuid:invoice_id>/receipt.pdf", views_plan.receipt, name="receipt"),
    path("cancel", views_plan.cancel, name="cancel"),
    path("cancel/undo", views_plan.resume, name="resume"),
    path("card", views_plan.provider_page, name="provider_page"),
]
