from django.urls import path

from subscriptions import views

app_name = "subscriptions"
urlpatterns = [
    path("subscription", views.overview, name="cockpit"),
    path("subscription/cards/extra", views.card, {"name": "extra"}, name="card_extra"),
    path("subscription/cards/keys", views.card, {"name": "keys"}, name="card_keys"),
    path("subscription/cards/history", views.card, {"name": "history"}, name="card_history"),
    path("subscription/flows", views.flows, name="flows"),
    path("subscription/advice", views.advice, name="advice"),
]
