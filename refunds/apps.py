from django.apps import AppConfig
from django.db.models.signals import post_migrate
from django.utils.translation import gettext_lazy as _


class RefundsConfig(AppConfig):
    name = "refunds"
    verbose_name = _("Refunds")

    def ready(self) -> None:
        """Register the handlers of events, what follows a refusal, the invariants and the daily comparison."""
        from refunds import booking, disputed, duplicates, reconciling, refused, seeds, verify, webhooks  # noqa: F401

        post_migrate.connect(seeds.plant, sender=self, dispatch_uid="refunds.seeds")
