from django.urls import path

from subscriptions import views

app_name = "subscriptions"
urlpatterns = [
    path("subscription", views.overview, name="cockpit"),
    path("subscription/flows", views.flows, name="flows"),
    path("subscription/advice", views.advice, name="advice"),
]
