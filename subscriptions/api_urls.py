from django.urls import path

from subscriptions import api

urlpatterns = [
    path("subscription", api.SubscriptionView.as_view(), name="api-subscription"),
]
