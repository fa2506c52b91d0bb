"""What an installation must have before it may take money."""

from typing import Any

from django.conf import settings
from django.core.checks import CheckMessage, Error, register


@register()
def webhook_secret(app_configs: Any, **kwargs: Any) -> list[CheckMessage]:
    """A key without a webhook secret: payments would be taken, and nobody could tell us of them."""
    if settings.STRIPE_SECRET_KEY and not any(settings.STRIPE_WEBHOOK_SECRETS):
        return [
            Error(
                "STRIPE_SECRET_KEY is set and STRIPE_WEBHOOK_SECRET is not: /webhooks/stripe answers 404.",
                hint="Set STRIPE_WEBHOOK_SECRET to the signing secret of the endpoint (several, separated by commas, "
                "while one is being replaced).",
                id="billing.E001",
            )
        ]
    return []
