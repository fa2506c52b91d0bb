from django.apps import AppConfig
from django.db.models.signals import post_migrate
from django.utils.translation import gettext_lazy as _


class SubscriptionsConfig(AppConfig):
    name = "subscriptions"
    verbose_name = _("Subscriptions")

    def ready(self) -> None:
        """Register the invariants, the events of subscriptions, the plans that every installation has, and what goes
        with a rotated key."""
        from accounts import api_keys
        from billing.books.ledger import lock_wallet
        from subscriptions import disputes, extra, handlers, reconciling, seeds, verify  # noqa: F401

        api_keys.follows_rotation(api_keys.Follower(lock_wallet, extra.follow, extra.says))

        post_migrate.connect(seeds.plant, sender=self, dispatch_uid="subscriptions.seeds")
