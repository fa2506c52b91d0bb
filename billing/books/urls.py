from django.urls import path

from billing.books import views, voucher_views

app_name = "books"
urlpatterns = [
    path("billing/transactions", views.transactions, name="transactions"),
    path("billing/transactions.csv", views.transactions_csv, name="transactions_csv"),
    path("billing/vouchers", voucher_views.vouchers, name="vouchers"),
    path("billing/vouchers.csv", voucher_views.vouchers_csv, name="vouchers_csv"),
]
