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
            credit_jobs,  # registers what performs credit jobs
            handlers,
            handlers_disputes,
            handlers_saved,  # registers the events of saved cards
            reconciling_payments,
        )

        post_migrate.connect(seeds.plant, sender=self, dispatch_uid="billing.seeds")
