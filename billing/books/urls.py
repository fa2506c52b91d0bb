from django.urls import path

from billing.books import views

app_name = "books"
urlpatterns = [
    path("billing/transactions", views.transactions, name="transactions"),
    path("billing/transactions.csv", views.transactions_csv, name="transactions_csv"),
]
