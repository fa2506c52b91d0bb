from django.urls import path, re_path

from billing.catalog import views

app_name = "catalog"
urlpatterns = [
    path("pricing", views.pricing, name="pricing"),
    # A slug has slashes in it; the plans' page stands under the same path and is another app's.
    re_path(r"^pricing/(?!subscription/?$)(?P<slug>[\w.:@+/-]{1,120})$", views.model, name="model"),
]
