"""Stripe's subscriptions: prices, checkout in subscription mode, changes with proration, schedules, invoices."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Final

import stripe

from billing.payments.processor import CheckoutStarted, ProcessorRefused, Progress, UnknownAtProcessor
from billing.payments.processor_subscriptions import (
    ChangePreview,
    ChangeRequest,
    InvoiceLine,
    InvoiceProgress,
    InvoiceState,
    PlanPriceRequest,
    PreviewLine,
    SubscriptionCheckout,
    SubscriptionProgress,
    SubscriptionRequest,
    SubscriptionState,
)
from billing.payments.stripe_client import StripeClient, our_errors

_LOCALES: Final = {"zh-hans": "zh", "en": "en"}
# Both enums are open: what is not named here is UNKNOWN.
_SUBSCRIPTIONS: Final[dict[str, SubscriptionProgress]] = {
    "incomplete": SubscriptionProgress.INCOMPLETE,
    "active": SubscriptionProgress.ACTIVE,
    "trialing": SubscriptionProgress.ACTIVE,
    "past_due": SubscriptionProgress.PAST_DUE,
    "unpaid": SubscriptionProgress.PAST_DUE,
    "canceled": SubscriptionProgress.ENDED,
    "incomplete_expired": SubscriptionProgress.EXPIRED,
}
_INVOICES: Final[dict[str, InvoiceProgress]] = {
    "draft": InvoiceProgress.DRAFT,
    "open": InvoiceProgress.OPEN,
    "paid": InvoiceProgress.PAID,
    "uncollectible": InvoiceProgress.FAILED,
    "void": InvoiceProgress.VOID,
}
_PAGE: Final = 100  # the most that the provider gives at once; older ones follow page by page


class Subscriptions(StripeClient):
    """`SubscriptionProcessor` over `stripe.StripeClient`."""

    def plan_price(self, request: PlanPriceRequest) -> tuple[str, str]:
        """Found by its lookup key: the answer that named it may have been lost."""
        with our_errors():
            known = self._client.v1.prices.list({"lookup_keys": [request.lookup_key], "limit": 1}).data
            if known:
                product = known[0].product
                return known[0].id, product if isinstance(product, str) else product.id
            made = self._client.v1.products.create(
                {"name": request.name, "metadata": {"plan": request.plan}},
                {"idempotency_key": f"{request.lookup_key}:product"},
            )
            price = self._client.v1.prices.create(
                {
                    "product": made.id,
                    "currency": request.currency.lower(),
                    "unit_amount": request.amount_minor,
                    "recurring": {"interval": "month"},
                    "lookup_key": request.lookup_key,
                    "metadata": {"plan": request.plan},
                },
                {"idempotency_key": f"{request.lookup_key}:price"},
            )
        return price.id, made.id

    def start_subscription(self, request: SubscriptionRequest) -> CheckoutStarted:
        """A hosted page in subscription mode; cards only, because a wallet cannot be charged again."""
        marks = {"subscription": request.subscription, "account": request.account_id}
        with our_errors():
            session = self._client.v1.checkout.sessions.create(
                {
                    "mode": "subscription",
                    "ui_mode": "hosted_page",
                    "allowed_payment_method_types": ["card"],
                    "line_items": [{"price": request.price_id, "quantity": 1}],
                    "client_reference_id": request.subscription,
                    "metadata": marks,
                    "subscription_data": {"metadata": marks},
                    "customer": request.customer_id,
                    "success_url": request.success_url,
                    "cancel_url": request.cancel_url,
                    "locale": _LOCALES.get(request.locale, "auto"),
                },
                {"idempotency_key": request.idempotency_key},
            )
        return CheckoutStarted(session.id, session.url or "", _time(session.expires_at))

    def subscription_checkout(self, session_id: str) -> SubscriptionCheckout:
        """The session, with the id of the subscription that it made."""
        with our_errors():
            session = self._client.v1.checkout.sessions.retrieve(session_id)
        status, paid = str(session.status), str(session.payment_status)
        progress = Progress.UNKNOWN
        if status == "open":
            progress = Progress.OPEN
        elif status == "expired":
            progress = Progress.EXPIRED
        elif status == "complete":
            progress = Progress.PAID if paid in {"paid", "no_payment_required"} else Progress.PROCESSING
        return SubscriptionCheckout(
            session_id=session.id,
            subscription=session.client_reference_id or "",
            provider_id=_id(session.subscription),
            progress=progress,
            livemode=session.livemode,
            url=session.url or "",
        )

    def subscription(self, provider_id: str) -> SubscriptionState:
        """With its schedule, which knows the price of the next period."""
        with our_errors():
            return _state(self._client.v1.subscriptions.retrieve(provider_id, {"expand": ["schedule"]}))

    def subscriptions_of(self, customer_id: str) -> tuple[SubscriptionState, ...]:
        """Ended ones too."""
        with our_errors():
            found = self._client.v1.subscriptions.list({"customer": customer_id, "status": "all", "limit": _PAGE})
            return tuple(_state(one) for one in found.auto_paging_iter())

    def invoices_of(self, provider_id: str) -> tuple[InvoiceState, ...]:
        """All of them, oldest first, with their payments: one of long ago may still be open, or never have been heard
        of. There is one a month and one for each change, so that a page holds years."""
        with our_errors():
            found = self._client.v1.invoices.list(
                {"subscription": provider_id, "limit": _PAGE, "expand": ["data.payments"]}
            )
            return tuple(_invoice(one) for one in reversed(list(found.auto_paging_iter())))

    def preview_change(self, provider_id: str, price_id: str, *, at: datetime) -> ChangePreview:
        """The invoice that `change_now` would make at the same moment."""
        with our_errors():
            item = self._item_of(provider_id)
            invoice = self._client.v1.invoices.create_preview(
                {
                    "subscription": provider_id,
                    "subscription_details": {
                        "items": [{"id": item, "price": price_id, "quantity": 1}],
                        "proration_behavior": "always_invoice",
                        "proration_date": int(at.timestamp()),
                    },
                }
            )
        lines = tuple(
            PreviewLine(line.description or "", line.amount, _is_proration(line)) for line in invoice.lines.data
        )
        return ChangePreview(
            due_minor=invoice.amount_due, currency=invoice.currency.upper(), at=_time(int(at.timestamp())), lines=lines
        )

    def change_now(self, request: ChangeRequest) -> SubscriptionState:
        """`pending_if_incomplete`: the new price comes into force with the payment, or not at all."""
        with our_errors():
            item = self._item_of(request.provider_id)
            changed = self._client.v1.subscriptions.update(
                request.provider_id,
                {
                    "items": [{"id": item, "price": request.price_id, "quantity": 1}],
                    "proration_behavior": "always_invoice",
                    "proration_date": int(request.at.timestamp()),
                    "payment_behavior": "pending_if_incomplete",
                    "expand": ["schedule"],
                },
                {"idempotency_key": request.idempotency_key},
            )
            return _state(changed)

    def change_at_period_end(self, provider_id: str, price_id: str, *, change: str, idempotency_key: str) -> str:
        """A schedule made from the subscription, then given its second phase."""
        with our_errors():
            current = self._client.v1.subscriptions.retrieve(provider_id)
            schedule_id = _id(current.schedule)
            if not schedule_id:
                made = self._client.v1.subscription_schedules.create(
                    {"from_subscription": provider_id}, {"idempotency_key": f"{idempotency_key}:create"}
                )
                schedule_id = made.id
            item = current.items.data[0]
            self._client.v1.subscription_schedules.update(
                schedule_id,
                {
                    "end_behavior": "release",
                    "metadata": {"change": change},
                    "phases": [
                        {
                            "items": [{"price": item.price.id, "quantity": 1}],
                            "start_date": item.current_period_start,
                            "end_date": item.current_period_end,
                        },
                        {
                            "items": [{"price": price_id, "quantity": 1}],
                            "start_date": item.current_period_end,
                            "duration": {"interval": "month", "interval_count": 1},
                            "proration_behavior": "none",
                        },
                    ],
                },
                {"idempotency_key": f"{idempotency_key}:phases"},
            )
        return schedule_id

    def withdraw_change(self, schedule_id: str) -> None:
        """Release the schedule: the subscription goes on as it is."""
        try:
            with our_errors():
                self._client.v1.subscription_schedules.release(schedule_id)
        except UnknownAtProcessor:
            return
        except ProcessorRefused:  # released, cancelled or completed already: what was wanted
            with our_errors():
                found = self._client.v1.subscription_schedules.retrieve(schedule_id)
            if found.status in {"active", "not_started"}:
                raise

    def renew(self, provider_id: str, *, on: bool, idempotency_key: str) -> SubscriptionState:
        """`cancel_at_period_end` the other way round."""
        with our_errors():
            return _state(
                self._client.v1.subscriptions.update(
                    provider_id,
                    {"cancel_at_period_end": not on, "expand": ["schedule"]},
                    {"idempotency_key": idempotency_key},
                )
            )

    def end_subscription(self, provider_id: str, *, idempotency_key: str) -> SubscriptionState:
        """Cancel at once, nothing prorated."""
        try:
            with our_errors():
                ended = self._client.v1.subscriptions.cancel(
                    provider_id, {"invoice_now": False, "prorate": False}, {"idempotency_key": idempotency_key}
                )
            return _state(ended)
        except (ProcessorRefused, UnknownAtProcessor):
            state = self.subscription(provider_id)
            if state.progress not in {SubscriptionProgress.ENDED, SubscriptionProgress.EXPIRED}:
                raise
            return state

    def invoice_page(self, provider_id: str) -> str:
        """The hosted page of an invoice. Its address expires, so that it is asked for anew each time."""
        with our_errors():
            return self._client.v1.invoices.retrieve(provider_id).hosted_invoice_url or ""

    def billing_page(self, customer_id: str, *, return_url: str) -> str:
        """A session of Stripe's customer portal."""
        with our_errors():
            return self._client.v1.billing_portal.sessions.create(
                {"customer": customer_id, "return_url": return_url}
            ).url

    def _item_of(self, provider_id: str) -> str:
        return self._client.v1.subscriptions.retrieve(provider_id).items.data[0].id


def _time(seconds: int) -> datetime:
    return datetime.fromtimestamp(seconds, UTC)


def _id(reference: object) -> str:
    """An id, whether or not the object came in full."""
    return reference if isinstance(reference, str) else str(getattr(reference, "id", "") or "")


def _state(found: stripe.Subscription) -> SubscriptionState:
    item = found.items.data[0]
    marks = found.metadata.to_dict() if found.metadata else {}
    schedule = found.schedule if isinstance(found.schedule, stripe.SubscriptionSchedule) else None
    pending = found.pending_update.subscription_items if found.pending_update else None
    return SubscriptionState(
        provider_id=found.id,
        subscription=str(marks.get("subscription", "")),
        customer_id=_id(found.customer),
        progress=_SUBSCRIPTIONS.get(str(found.status), SubscriptionProgress.UNKNOWN),
        status=str(found.status),
        price_id=item.price.id,
        period_start=_time(item.current_period_start),
        period_end=_time(item.current_period_end),
        cancel_at_period_end=bool(found.cancel_at_period_end),
        livemode=found.livemode,
        created_at=_time(found.created),
        ended_at=_time(found.ended_at) if found.ended_at else None,
        schedule_id=_id(found.schedule),
        next_price_id=_next_price(schedule, item.current_period_end),
        pending_price_id=pending[0].price.id if pending else "",
    )


def _next_price(schedule: stripe.SubscriptionSchedule | None, period_end: int) -> str:
    """The price of the phase that begins with the next period, while the schedule is alive."""
    if schedule is None or schedule.status not in {"active", "not_started"}:
        return ""
    for phase in schedule.phases:
        if phase.start_date >= period_end:
            return _id(phase.items[0].price)
    return ""


def _invoice(found: stripe.Invoice) -> InvoiceState:
    details = found.parent.subscription_details if found.parent else None
    paid = [one for one in (found.payments.data if found.payments else []) if one.payment.type == "payment_intent"]
    newest = next((one for one in paid if one.status == "paid"), paid[-1] if paid else None)
    spans = [line.period for line in found.lines.data]
    moved = found.status_transitions
    return InvoiceState(
        provider_id=found.id or "",
        subscription_id=_id(details.subscription) if details else "",
        number=found.number or "",
        progress=_INVOICES.get(str(found.status), InvoiceProgress.UNKNOWN),
        status=str(found.status),
        reason=str(found.billing_reason or ""),
        amount_minor=found.total,
        tax_minor=sum(tax.amount for tax in found.total_taxes or []),
        paid_minor=found.amount_paid,
        currency=found.currency.upper(),
        at=_time(found.created),
        livemode=found.livemode,
        period_start=_time(max(span.start for span in spans)) if spans else None,
        period_end=_time(max(span.end for span in spans)) if spans else None,
        paid_at=_time(moved.paid_at) if moved.paid_at else None,
        payment_intent_id=_id(newest.payment.payment_intent) if newest else "",
        attempts=found.attempt_count,
        next_attempt_at=_time(found.next_payment_attempt) if found.next_payment_attempt else None,
        lines=tuple(_line(one) for one in found.lines.data),
    )


def _line(found: stripe.InvoiceLineItem) -> InvoiceLine:
    details = found.pricing.price_details if found.pricing else None
    return InvoiceLine(
        text=found.description or "",
        amount_minor=found.amount,
        proration=_is_proration(found),
        price_id=_id(details.price) if details else "",
        starts_at=_time(found.period.start),
        ends_at=_time(found.period.end),
    )


def _is_proration(line: stripe.InvoiceLineItem) -> bool:
    parent = line.parent
    details = parent.subscription_item_details or parent.invoice_item_details if parent else None
    return bool(details and details.proration)
