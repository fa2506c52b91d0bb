from django.apps import AppConfig
from django.utils.translation import gettext_lazy as _


class RefundsConfig(AppConfig):
    name = "refunds"
    verbose_name = _("Refunds")

    def ready(self) -> None:
        """Register the handlers of the provider's events and the invariants."""
        from refunds import verify, webhooks  # noqa: F401
