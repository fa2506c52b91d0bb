"""Every URL of the product. The gateway's hot verbs are answered by the lane before they get here (config/asgi.py)."""

from django.conf import settings
from django.contrib import admin
from django.urls import include, path, re_path

from config import errors, health, mailbox, pages
from config.openapi import ApiDocs, ApiSchema

urlpatterns = [
    path("healthz", health.healthz, name="healthz"),
    path("readyz", health.readyz, name="readyz"),
    path("", pages.landing, name="landing"),
    path("overview", pages.overview, name="overview"),
    path("account/", include("accounts.urls")),
    path("accounts/", include("allauth.urls")),
    *([path("dev/mail/", mailbox.inbox, name="mailbox")] if settings.MAILBOX_ENABLED else []),
    path("", include("billing.payments.urls")),
    path("", include("billing.catalog.urls")),
    path("", include("billing.books.urls")),
    path("", include("billing.metering.urls")),
    path("platform/subscription/", include("subscriptions.urls_plan")),
    path("platform/", include("subscriptions.urls")),
    path("", include("subscriptions.urls_extra")),
    path("", include("subscriptions.urls_plans")),
    path("", include("refunds.urls")),
    path("", include("refunds.urls_top_up")),
    path(settings.ADMIN_PATH, admin.site.urls),
    *([path("sandbox/", include("sandbox.urls"))] if settings.SANDBOX_ENABLED else []),
    path("api/v1/", include("accounts.api_urls")),
    path("api/v1/", include("billing.api_urls")),
    path("api/v1/", include("subscriptions.api_urls")),
    path("api/v1/", include("refunds.api_urls")),
    path("api/schema/", ApiSchema.as_view(), name="api-schema"),
    path("api/docs/", ApiDocs.as_view(url_name="api-schema"), name="api-docs"),
    re_path(r"^api/", errors.nothing_here, name="api-nothing-here"),
]
handler400, handler403 = "config.errors.bad_request", "config.errors.permission_denied"
handler404, handler500 = "config.errors.page_not_found", "config.errors.server_error"
