from django.apps import AppConfig
from django.utils.translation import gettext_lazy as _


class RefundsConfig(AppConfig):
    name = "refunds"
    verbose_name = _("Refunds")

    def ready(self) -> None:
        """Register the handlers of events, what follows a refusal, the invariants and the daily comparison."""
        from refunds import booking, reconciling, refused, verify, webhooks  # noqa: F401
