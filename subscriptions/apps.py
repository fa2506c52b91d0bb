from django.apps import AppConfig
from django.db.models.signals import post_migrate
from django.utils.translation import gettext_lazy as _


class SubscriptionsConfig(AppConfig):
    name = "subscriptions"
    verbose_name = _("Subscriptions")

    def ready(self) -> None:
        """Register the invariants, the events of subscriptions, and the plans that every installation has."""
        from subscriptions import handlers, seeds, verify  # noqa: F401

        post_migrate.connect(seeds.plant, sender=self, dispatch_uid="subscriptions.seeds")
