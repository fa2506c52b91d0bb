"""Stripe, spoken through its own client at the API version that the installed SDK pins: customers, checkouts, events.

Only this file and its siblings `stripe_…` import the SDK.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any, Final

import orjson
import stripe
from django.conf import settings

from billing.payments.processor import (
    Attempt,
    CheckoutRequest,
    CheckoutStarted,
    PaymentState,
    ProcessorUnavailable,
    Progress,
    ReceivedEvent,
    SignatureInvalid,
)
from billing.payments.stripe_books import Books
from billing.payments.stripe_client import StripeClient, our_errors
from billing.payments.stripe_disputes import Disputes
from billing.payments.stripe_refunds import Refunds
from billing.payments.stripe_saved import SavedCards
from billing.payments.stripe_subscriptions import Subscriptions

TOLERANCE_SECONDS: Final = 300
_WAITING_INTENTS: Final = {"processing", "requires_action", "requires_capture", "requires_confirmation"}
_REFUSED_INTENTS: Final = {"requires_payment_method", "canceled"}
_LOCALES: Final = {"zh-hans": "zh", "en": "en"}


class StripeProcessor(Books, Disputes, Refunds, SavedCards, Subscriptions, StripeClient):
    """`PaymentProcessor` over `stripe.StripeClient`."""

    def create_customer(self, *, account_id: str, email: str, idempotency_key: str) -> str:
        """A customer for one account."""
        params: stripe.params.CustomerCreateParams = {"metadata": {"account": account_id}}
        if email:
            params["email"] = email
        with our_errors():
            found = self._client.v1.customers.create(params, {"idempotency_key": idempotency_key})
        return found.id

    def start_checkout(self, request: CheckoutRequest) -> CheckoutStarted:
        """A hosted page for one payment, with the order number wherever Stripe keeps one."""
        marks = {"order": request.order, "account": request.account_id}
        # A WeChat payment is started by scanning a code on the page.
        options: stripe.params.checkout.SessionCreateParamsPaymentMethodOptions = (
            {"wechat_pay": {"client": "web"}} if "wechat_pay" in request.methods else {}
        )
        with our_errors():
            session = self._client.v1.checkout.sessions.create(
                {
                    **({"payment_method_options": options} if options else {}),
                    "mode": "payment",
                    "ui_mode": "hosted_page",
                    "allowed_payment_method_types": list(request.methods),
                    "line_items": [
                        {
                            "quantity": 1,
                            "price_data": {
                                "currency": request.currency.lower(),
                                "unit_amount": request.amount_minor,
                                "product_data": {"name": request.description},
                            },
                        }
                    ],
                    "client_reference_id": request.order,
                    "metadata": marks,
                    "payment_intent_data": {"metadata": marks, "description": request.order},
                    "customer": request.customer_id,
                    "success_url": request.success_url,
                    "cancel_url": request.cancel_url,
                    "expires_at": int(request.expires_at.timestamp()),
                    "locale": _LOCALES.get(request.locale, "auto"),
                },
                {"idempotency_key": request.idempotency_key},
            )
        return CheckoutStarted(session.id, session.url or "", datetime.fromtimestamp(session.expires_at, UTC))

    def checkout(self, session_id: str) -> PaymentState:
        """The session, its payment and every attempt to pay it, as they are now."""
        with our_errors():
            session = self._client.v1.checkout.sessions.retrieve(
                session_id, {"expand": ["payment_intent.latest_charge.balance_transaction"]}
            )
            intent = session.payment_intent if isinstance(session.payment_intent, stripe.PaymentIntent) else None
            attempts = self._attempts(intent) if intent else ()
        status, payment_status = str(session.status), str(session.payment_status)
        metadata = session.metadata.to_dict() if session.metadata else {}
        return PaymentState(
            session_id=session.id,
            order=session.client_reference_id or str(metadata.get("order", "")),
            progress=_progress(status, payment_status, str(intent.status) if intent else ""),
            amount_minor=session.amount_total,
            received_minor=intent.amount_received if intent else None,
            currency=(session.currency or "").upper(),
            livemode=session.livemode,
            url=session.url or "",
            payment_intent_id=intent.id if intent else "",
            statuses="/".join(filter(None, (status, payment_status, str(intent.status) if intent else ""))),
            attempts=attempts,
            paid_at=_paid_at(intent),
        )

    def _attempts(self, intent: stripe.PaymentIntent) -> tuple[Attempt, ...]:
        """Declines too, also those before a success: only the list of charges remembers them all."""
        charges = self._client.v1.charges.list({"payment_intent": intent.id, "limit": 100})
        oldest_first = map(_attempt, reversed(charges.data))
        found = sorted(oldest_first, key=lambda attempt: attempt.at)  # stable: their times have whole seconds only
        error = intent.last_payment_error
        if error and not _member(error, "charge"):  # refused before there was a charge, by 3-D Secure for one
            code = _member(error, "code")
            at = found[-1].at if found else datetime.fromtimestamp(intent.created, UTC)
            found.append(Attempt(f"{intent.id}:{code}", at, "failed", code, _member(error, "decline_code")))
        return tuple(found)


def _member(error: stripe.PaymentIntent.LastPaymentError, name: str) -> str:
    """What an error says of itself, where it does: Stripe leaves out what it has nothing to say of."""
    return str(error[name] or "") if name in error else ""


def _progress(status: str, payment_status: str, intent: str) -> Progress:
    """Every enum of Stripe's is open: what is not named here is UNKNOWN."""
    if payment_status not in {"paid", "unpaid"} or status not in {"open", "complete", "expired"}:
        return Progress.UNKNOWN
    if payment_status == "paid" or intent == "succeeded":
        return Progress.PAID
    if status == "expired":
        return Progress.EXPIRED
    if status == "open":
        return Progress.PROCESSING if intent == "processing" else Progress.OPEN
    if intent in _WAITING_INTENTS:
        return Progress.PROCESSING
    return Progress.FAILED if intent in _REFUSED_INTENTS else Progress.UNKNOWN


def _paid_at(intent: stripe.PaymentIntent | None) -> datetime | None:
    """When the money reached us. A charge is made when a payment begins; its balance transaction when it succeeds."""
    charge = intent.latest_charge if intent else None
    if not isinstance(charge, stripe.Charge) or charge.status != "succeeded":
        return None
    booked = charge.balance_transaction
    moment = booked.created if isinstance(booked, stripe.BalanceTransaction) else charge.created
    return datetime.fromtimestamp(moment, UTC)


def _attempt(charge: stripe.Charge) -> Attempt:
    outcome, card = charge.outcome, None
    if charge.payment_method_details and charge.payment_method_details.type == "card":
        card = charge.payment_method_details.card
    failed = charge.status == "failed"
    blocked = failed and outcome is not None and outcome.type == "blocked"
    reason = (outcome.reason or "") if outcome else ""
    rule = outcome.rule if outcome and "rule" in outcome else None
    return Attempt(
        reference=charge.id,
        at=datetime.fromtimestamp(charge.created, UTC),
        outcome=charge.status if charge.status in {"succeeded", "pending", "failed"} else "pending",
        code=charge.failure_code or "",
        decline_code=reason if failed and not blocked else "",
        blocked=blocked,
        risk=reason if blocked or reason == "elevated_risk_level" else "",
        rule=rule if isinstance(rule, str) else (f"{rule.id} {rule.predicate}" if rule else ""),
        brand=(card.brand or "") if card else "",
        last_four=(card.last4 or "") if card else "",
        fingerprint=(card.fingerprint or "") if card else "",
        holder=(charge.billing_details.name or "") if card and charge.billing_details else "",
        risk_level=(outcome.risk_level or "") if outcome else "",
    )


def read_event(payload: bytes, header: str, secrets: Sequence[str]) -> ReceivedEvent:
    """The event in a webhook's raw body, if it was signed with one of the secrets in the last five minutes."""
    for secret in secrets:
        try:
            stripe.WebhookSignature.verify_header(payload, header, secret, TOLERANCE_SECONDS)
            body: dict[str, Any] = orjson.loads(payload)
            kind = body.get("object")
        except stripe.SignatureVerificationError:
            continue
        except (ValueError, TypeError, AttributeError) as broken:
            raise SignatureInvalid from broken
        if kind != "event":
            raise SignatureInvalid
        subject = (body.get("data") or {}).get("object")
        return ReceivedEvent(
            event_id=str(body.get("id") or ""),
            type=str(body.get("type") or ""),
            api_version=str(body.get("api_version") or ""),
            livemode=bool(body.get("livemode")),
            object_id=str(subject.get("id", "")) if isinstance(subject, dict) else "",
            body=body,
        )
    raise SignatureInvalid


@lru_cache(maxsize=4)
def _processor(api_key: str, api_base: str) -> StripeProcessor:
    return StripeProcessor(api_key=api_key, api_base=api_base)


def get_processor() -> StripeProcessor:
    """The provider that the settings name. Without a key there is none, and nothing can be paid."""
    if not settings.STRIPE_SECRET_KEY:
        raise ProcessorUnavailable
    return _processor(settings.STRIPE_SECRET_KEY, settings.STRIPE_API_BASE)
