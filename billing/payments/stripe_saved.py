"""Cards kept at Stripe: setup pages, payment methods, and payment intents confirmed off-session."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Final

import stripe

from billing.payments.processor import (
    Attempt,
    CheckoutStarted,
    PaymentState,
    ProcessorRefused,
    Progress,
    UnknownAtProcessor,
)
from billing.payments.processor_saved import CardSetupRequest, CardSetupState, ChargeRequest, SavedCard
from billing.payments.stripe_client import StripeClient, our_errors

_LOCALES: Final = {"zh-hans": "zh", "en": "en"}
_CHARGES: Final[dict[str, Progress]] = {
    "succeeded": Progress.PAID,
    "processing": Progress.PROCESSING,
    "requires_capture": Progress.PROCESSING,
    "requires_payment_method": Progress.FAILED,
    "canceled": Progress.FAILED,
    # Nobody is there to act: for a charge without the customer that is a refusal.
    "requires_action": Progress.FAILED,
    "requires_confirmation": Progress.FAILED,
}
_SETUPS: Final[dict[str, Progress]] = {
    "succeeded": Progress.PAID,
    "processing": Progress.PROCESSING,
    "canceled": Progress.FAILED,
}


class SavedCards(StripeClient):
    """`processor_saved.SavedCards` over Stripe's client."""

    def _attempts(self, intent: stripe.PaymentIntent) -> tuple[Attempt, ...]:
        raise NotImplementedError  # StripeProcessor's, which knows charges

    def start_card_setup(self, request: CardSetupRequest) -> CheckoutStarted:
        """A hosted page in setup mode: nothing is charged on it."""
        marks = {"card_setup": request.setup, "account": request.account_id}
        with our_errors():
            session = self._client.v1.checkout.sessions.create(
                {
                    "mode": "setup",
                    "ui_mode": "hosted_page",
                    "allowed_payment_method_types": ["card"],
                    "client_reference_id": request.setup,
                    "metadata": marks,
                    "setup_intent_data": {"metadata": marks},
                    "customer": request.customer_id,
                    "success_url": request.success_url,
                    "cancel_url": request.cancel_url,
                    "locale": _LOCALES.get(request.locale, "auto"),
                },
                {"idempotency_key": request.idempotency_key},
            )
        return CheckoutStarted(session.id, session.url or "", datetime.fromtimestamp(session.expires_at, UTC))

    def card_setup(self, session_id: str) -> CardSetupState:
        """The session with its setup intent and the card."""
        with our_errors():
            session = self._client.v1.checkout.sessions.retrieve(
                session_id, {"expand": ["setup_intent.payment_method"]}
            )
        intent = session.setup_intent if isinstance(session.setup_intent, stripe.SetupIntent) else None
        method = intent.payment_method if intent else None
        status, set_up = str(session.status), str(intent.status) if intent else ""
        return CardSetupState(
            session_id=session.id,
            setup=session.client_reference_id or "",
            progress=_setup_progress(status, set_up),
            livemode=session.livemode,
            card=_card(method) if isinstance(method, stripe.PaymentMethod) else None,
            statuses="/".join(filter(None, (status, set_up))),
        )

    def card(self, provider_id: str) -> SavedCard | None:
        """None when it was detached, here or in the Dashboard."""
        try:
            with our_errors():
                found = self._client.v1.payment_methods.retrieve(provider_id)
        except UnknownAtProcessor:
            return None
        return _card(found) if found.customer else None

    def forget_card(self, provider_id: str) -> None:
        """Detach it; a card that nobody keeps is what was wanted."""
        try:
            with our_errors():
                self._client.v1.payment_methods.detach(provider_id)
        except UnknownAtProcessor:
            return
        except ProcessorRefused:
            if self.card(provider_id) is not None:
                raise

    def charge(self, request: ChargeRequest) -> PaymentState:
        """An intent made and confirmed in one call. A decline comes as an error that names the intent."""
        with our_errors():
            try:
                intent = self._client.v1.payment_intents.create(
                    {
                        "amount": request.amount_minor,
                        "currency": request.currency.lower(),
                        "customer": request.customer_id,
                        "payment_method": request.card_id,
                        "allowed_payment_method_types": ["card"],
                        "confirm": True,
                        "off_session": True,
                        "description": request.order,
                        "metadata": {"order": request.order, "account": request.account_id},
                        "expand": ["latest_charge"],
                    },
                    {"idempotency_key": request.idempotency_key},
                )
            except stripe.CardError as declined:
                named = declined.error.payment_intent if declined.error else None
                if named is None:
                    raise
                return self.payment(named.id)
            return self._payment(intent)

    def payment(self, payment_id: str) -> PaymentState:
        """The intent and every charge that it made."""
        with our_errors():
            return self._payment(self._client.v1.payment_intents.retrieve(payment_id, {"expand": ["latest_charge"]}))

    def find_payment(self, customer_id: str, order: str, *, since: datetime) -> PaymentState | None:
        """By our metadata in the customer's list, which knows an intent as soon as it is made (a search does not)."""
        with our_errors():
            found = self._client.v1.payment_intents.list(
                {"customer": customer_id, "created": {"gte": int(since.timestamp())}, "limit": 100}
            )
            for intent in found.data:
                if _order_of(intent) == order:
                    return self._payment(intent)
        return None

    def _payment(self, intent: stripe.PaymentIntent) -> PaymentState:
        attempts = self._attempts(intent)
        status = str(intent.status)
        if status in {"requires_action", "requires_confirmation"}:
            at = attempts[-1].at if attempts else datetime.fromtimestamp(intent.created, UTC)
            attempts = (*attempts, Attempt(f"{intent.id}:{status}", at, "failed", "authentication_required"))
        return PaymentState(
            session_id="",
            order=_order_of(intent),
            progress=_CHARGES.get(status, Progress.UNKNOWN),
            amount_minor=intent.amount,
            received_minor=intent.amount_received,
            currency=intent.currency.upper(),
            livemode=intent.livemode,
            payment_intent_id=intent.id,
            statuses=status,
            attempts=attempts,
            customer_id=intent.customer if isinstance(intent.customer, str) else "",
        )


def _order_of(intent: stripe.PaymentIntent) -> str:
    metadata = intent.metadata.to_dict() if intent.metadata else {}
    return str(metadata.get("order", ""))


def _setup_progress(status: str, intent: str) -> Progress:
    if status == "expired":
        return Progress.EXPIRED
    if status == "open":
        return Progress.OPEN
    return _SETUPS.get(intent, Progress.UNKNOWN) if status == "complete" else Progress.UNKNOWN


def _card(method: stripe.PaymentMethod) -> SavedCard | None:
    card = method.card if method.type == "card" else None
    if card is None:
        return None
    customer = method.customer
    return SavedCard(
        provider_id=method.id,
        customer_id=customer if isinstance(customer, str) else (customer.id if customer else ""),
        brand=card.brand or "",
        last_four=card.last4 or "",
        exp_month=card.exp_month,
        exp_year=card.exp_year,
        fingerprint=card.fingerprint or "",
    )
