from django.urls import path

from billing.books import grant_views, statement_views, views, voucher_views

app_name = "books"
urlpatterns = [
    path("billing/transactions", views.transactions, name="transactions"),
    path("billing/transactions.csv", views.transactions_csv, name="transactions_csv"),
    path("billing/vouchers", voucher_views.vouchers, name="vouchers"),
    path("billing/vouchers.csv", voucher_views.vouchers_csv, name="vouchers_csv"),
    path("billing/credit/<uuid:grant_id>", grant_views.grant, name="grant"),
    path("billing/statements", statement_views.statement_choice, name="statement_choice"),
    path("billing/statements/<str:month>", statement_views.statement, name="statement"),
    path("billing/statements/<str:month>/statement.pdf", statement_views.statement_document, name="statement_pdf"),
    path("billing/statements/<str:month>/statement.csv", statement_views.statement_csv, name="statement_csv"),
    path("account/billing-details", statement_views.billing_details, name="billing_details"),
]
