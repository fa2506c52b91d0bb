from django.urls import path, re_path

from billing.catalog import calculator_views, views

app_name = "catalog"
urlpatterns = [
    path("pricing", views.pricing, name="pricing"),
    path("pricing.csv", views.pricing_csv, name="csv"),
    path("pricing/calculator", calculator_views.calculator, name="calculator"),
    path("pricing/models", calculator_views.slugs, name="slugs"),
    # A slug has slashes in it; the plans' page stands under the same path and is another app's.
    re_path(r"^pricing/(?!subscription/?$)(?P<slug>[\w.:@+/-]{1,120})$", views.model, name="model"),
]
