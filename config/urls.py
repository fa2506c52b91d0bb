"""Every URL of the product. The gateway's hot verbs are answered by the lane before they get here (config/asgi.py)."""

from django.conf import settings
from django.contrib import admin
from django.urls import include, path
from drf_spectacular.views import SpectacularAPIView, SpectacularSwaggerView

from config import health, mailbox, pages

urlpatterns = [
    path("healthz", health.healthz, name="healthz"),
    path("readyz", health.readyz, name="readyz"),
    path("", pages.landing, name="landing"),
    path("overview", pages.overview, name="overview"),
    path("account/", include("accounts.urls")),
    path("accounts/", include("allauth.urls")),
    *([path("dev/mail/", mailbox.inbox, name="mailbox")] if settings.DEBUG else []),
    path("", include("billing.payments.urls")),
    path(settings.ADMIN_PATH, admin.site.urls),
    *([path("sandbox/", include("sandbox.urls"))] if settings.SANDBOX_ENABLED else []),
    path("api/v1/", include("accounts.api_urls")),
    path("api/v1/", include("billing.api_urls")),
    path("api/schema/", SpectacularAPIView.as_view(), name="api-schema"),
    path("api/docs/", SpectacularSwaggerView.as_view(url_name="api-schema"), name="api-docs"),
]
