from django.apps import AppConfig
from django.conf import settings
from django.core.exceptions import ImproperlyConfigured


class SandboxConfig(AppConfig):
    name = "sandbox"

    def ready(self) -> None:
        """Refuse to stand in for a payment provider where real money or real customers may be."""
        if not settings.DEBUG:
            raise ImproperlyConfigured("The payment sandbox does not start with DEBUG off. Unset SANDBOX_ENABLED.")
        if settings.STRIPE_SECRET_KEY.startswith(("sk_live_", "rk_live_")):
            raise ImproperlyConfigured(
                "The payment sandbox does not start with a live Stripe key in STRIPE_SECRET_KEY."
            )
        # Imported here because the app may be absent: then Celery must not look for its tasks.
        from config.celery import app
        from sandbox import resources, tasks

        resources.register()
        sweep = {"task": tasks.deliver_due.name, "schedule": tasks.SWEEP_SECONDS}
        app.conf.beat_schedule = {**app.conf.beat_schedule, "sandbox: events and settlements that are due": sweep}
