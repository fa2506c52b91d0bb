from django.urls import path

from billing.metering import alert_views, key_views, views

app_name = "metering"
urlpatterns = [
    path("billing/details", views.details, name="details"),
    path("billing/details.csv", views.details_csv, name="details_csv"),
    path("billing/details/<uuid:record_id>", views.call, name="call"),
    path("billing/transactions/<uuid:entry_id>", views.entry, name="entry"),
    path("billing/alerts", alert_views.index, name="alerts"),
    path("billing/alerts.csv", alert_views.told_csv, name="alerts_csv"),
    path("billing/alerts/new", alert_views.create, name="alert_create"),
    path("billing/alerts/<uuid:alert_id>", alert_views.change, name="alert_change"),
    path("billing/alerts/<uuid:alert_id>/pause", alert_views.pause, name="alert_pause"),
    path("billing/alerts/<uuid:alert_id>/delete", alert_views.delete, name="alert_delete"),
    path("keys", key_views.keys, name="keys"),
    path("keys/new", key_views.create, name="key_create"),
    path("keys/<uuid:key_id>", key_views.key, name="key"),
    path("keys/<uuid:key_id>/change", key_views.change, name="key_change"),
    path("keys/<uuid:key_id>/rotate", key_views.rotate, name="key_rotate"),
    path("keys/<uuid:key_id>/disable", key_views.disable, name="key_disable"),
]
