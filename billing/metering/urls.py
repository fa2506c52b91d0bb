from django.urls import path

from billing.metering import key_views, views

app_name = "metering"
urlpatterns = [
    path("billing/details", views.details, name="details"),
    path("billing/details.csv", views.details_csv, name="details_csv"),
    path("billing/details/<uuid:record_id>", views.call, name="call"),
    path("billing/transactions/<uuid:entry_id>", views.entry, name="entry"),
    path("keys", key_views.keys, name="keys"),
    path("keys/new", key_views.create, name="key_create"),
    path("keys/<uuid:key_id>", key_views.key, name="key"),
    path("keys/<uuid:key_id>/change", key_views.change, name="key_change"),
    path("keys/<uuid:key_id>/rotate", key_views.rotate, name="key_rotate"),
    path("keys/<uuid:key_id>/disable", key_views.disable, name="key_disable"),
]
