from django.urls import path

from subscriptions import api_plans, views_plans

app_name = "plans"
urlpatterns = [
    path("pricing/subscription", views_plans.plans, name="plans"),
    path("api/v1/plans", api_plans.Plans.as_view(), name="api-plans"),
]
