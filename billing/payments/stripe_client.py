"""Stripe's own client, held to our timeouts, and its errors in our words. What is asked of it lives in the files
beside this one, one subject each; `stripe_processor` puts them together.

Silence (`ProcessorUnavailable`) is not a refusal (`ProcessorRefused`): after silence the call may have taken effect,
and only the same key may be used to ask again (04-payments 4.1).
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

import stripe

from billing.payments.processor import ProcessorRefused, ProcessorUnavailable, UnknownAtProcessor

log = logging.getLogger(__name__)

CONNECT_SECONDS: Final = 3.0
ANSWER_SECONDS: Final = 15.0


class StripeClient:
    """What every subject of Stripe's API is asked through."""

    def __init__(self, *, api_key: str, api_base: str = "", http_client: stripe.HTTPClient | None = None) -> None:
        addresses: stripe._base_address.BaseAddresses = {"api": api_base} if api_base else {}
        self._client = stripe.StripeClient(
            api_key,
            base_addresses=addresses,
            http_client=http_client or stripe.RequestsClient(timeout=(CONNECT_SECONDS, ANSWER_SECONDS)),
            max_network_retries=2,
        )


@contextmanager
def our_errors() -> Iterator[None]:
    """Stripe's exceptions as ours: silence, a refusal, or an object that it does not know."""
    try:
        yield
    except (stripe.AuthenticationError, stripe.PermissionError) as wrong_key:
        log.error("Stripe does not accept STRIPE_SECRET_KEY: %s", wrong_key.code or type(wrong_key).__name__)
        raise ProcessorUnavailable from wrong_key
    except (stripe.APIConnectionError, stripe.RateLimitError) as silence:
        raise ProcessorUnavailable from silence
    except stripe.StripeError as error:
        if error.http_status is None or error.http_status >= 500 or error.http_status in {409, 429}:
            raise ProcessorUnavailable from error
        if error.http_status == 404:
            raise UnknownAtProcessor from error
        log.warning("Stripe refused a request (%s): %s", error.request_id, error.user_message)
        refused = {
            "provider_code": str(error.code or type(error).__name__),
            "provider_param": getattr(error, "param", ""),
        }
        raise ProcessorRefused(**refused) from error
