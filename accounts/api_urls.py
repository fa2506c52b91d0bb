from django.urls import path

from accounts import api

urlpatterns = [
    path("account", api.AccountView.as_view(), name="api-account"),
    path("keys", api.Keys.as_view(), name="api-keys"),
    path("keys/<uuid:key_id>", api.KeyDetail.as_view(), name="api-key"),
    path("keys/<uuid:key_id>/rotate", api.KeyRotate.as_view(), name="api-key-rotate"),
]
