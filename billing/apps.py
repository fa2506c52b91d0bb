from django.apps import AppConfig
from django.db.models.signals import post_migrate


class BillingConfig(AppConfig):
    name = "billing"

    def ready(self) -> None:
        """Register what the account needs at its opening, and what every installation has."""
        from billing import seeds
        from billing.books import credits  # noqa: F401  # registers open_wallet
        from billing.payments import (  # noqa: F401  # register themselves
            checks,
            handlers,
            handlers_saved,
            reconciling_payments,
        )

        post_migrate.connect(seeds.plant, sender=self, dispatch_uid="billing.seeds")
