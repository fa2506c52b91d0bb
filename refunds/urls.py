from django.urls import path

from refunds import views

app_name = "refunds"
urlpatterns = [
    path("billing/refunds", views.history, name="history"),
    path("billing/refunds/export.csv", views.history_csv, name="history_csv"),
    path("billing/refunds/current", views.current, name="current"),
    path("billing/refunds/plan", views.plan, name="plan"),
    path("billing/refunds/<uuid:refund_id>", views.detail, name="detail"),
    path("billing/refunds/<uuid:refund_id>/status", views.status, name="status"),
    path("billing/refunds/<uuid:refund_id>/cancel", views.cancel, name="cancel"),
]
