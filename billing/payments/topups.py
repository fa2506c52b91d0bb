"""Top-up orders: place one, open its page at the provider. What becomes of it comes in through `settling`.

The row is the job: the intent is committed, then the provider is asked, then the outcome is recorded.
"""

from __future__ import annotations

import hashlib
import json
import logging
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Final
from uuid import UUID

from django.conf import settings
from django.db import transaction
from django.utils.translation import gettext as _t
from django.utils.translation import gettext_lazy as _
from django.utils.translation import override

from accounts.models import Account, User
from billing.books import ledger
from billing.errors import AccountSuspended, IdempotencyConflict, InvalidRequest
from billing.money import CNY, USD, parse_decimal, to_minor_units
from billing.payments import flags, fx, risk
from billing.payments.models import PaymentCustomer, TopUp
from billing.payments.numbers import order_number
from billing.payments.processor import (
    CheckoutRequest,
    CheckoutStarted,
    PaymentProcessor,
    ProcessorRefused,
)
from config.ids import uuid7

log = logging.getLogger(__name__)

Status = TopUp.Status
PAY_WITHIN: Final = timedelta(hours=2)
OPEN_WITHIN: Final = timedelta(hours=1)
"""For how long a page whose opening was never answered is asked for again."""
SHORTEST_PAGE: Final = timedelta(minutes=31)
"""The provider wants a page to live for thirty minutes at least from when it is opened; its clock may differ."""
METHODS: Final = (TopUp.Method.CARD, TopUp.Method.ALIPAY, TopUp.Method.WECHAT_PAY)
"""What customers may choose now."""
PAID_IN: Final[dict[str, str]] = {TopUp.Method.CARD: USD, TopUp.Method.ALIPAY: CNY, TopUp.Method.WECHAT_PAY: CNY}
FIRST_CHECK: Final = timedelta(minutes=2)


def parse_amount(value: object) -> Decimal:
    """US dollars in whole cents within the limits, or `invalid_request` that names the field."""
    least, most = settings.TOPUP_MIN_USD, settings.TOPUP_MAX_USD
    evidence = {"field": "amount", "minimum": f"{least:f}", "maximum": f"{most:f}"}
    try:
        amount = parse_decimal(value)
    except ValueError:
        raise InvalidRequest(_("Write the amount as a number of US dollars, for instance 20.00."), **evidence) from None
    if not least <= amount <= most:
        raise InvalidRequest(_("The amount must be between $%(minimum)s and $%(maximum)s."), **evidence)
    if amount != amount.quantize(Decimal("0.01")):
        raise InvalidRequest(_("The amount has more than two decimal places; cents are the smallest unit."), **evidence)
    return amount.quantize(Decimal("0.01"))


def start(
    account_id: UUID,
    amount: Decimal,
    *,
    method: str,
    client_key: str,
    actor: User | None,
    locale: str,
    processor: PaymentProcessor,
    now: datetime,
    quote_id: UUID | None = None,
    device: bytes | None = None,
) -> TopUp:
    """Place an order and open its page at the provider. The same `client_key` comes back to the same order and page.

    An order that our risk rules refuse comes back failed, and the provider is not asked. `ProcessorUnavailable` leaves
    the order placed: the same key again, or the sweep, goes on where it stopped.
    """
    order = place(
        account_id,
        amount,
        method=method,
        client_key=client_key,
        actor=actor,
        locale=locale,
        now=now,
        quote_id=quote_id,
        device=device,
    )
    return open_checkout(order.pk, processor=processor, now=now)


def place(
    account_id: UUID,
    amount: Decimal,
    *,
    method: str,
    client_key: str,
    actor: User | None,
    locale: str,
    now: datetime,
    quote_id: UUID | None = None,
    device: bytes | None = None,
) -> TopUp:
    """The intent, with its exchange rate locked (C01). Nothing is asked of the provider yet.

    `quote_id` is a rate that was promised before (`fx.offer`); without one the rate in force is locked. `device` is the
    hash of the browser's cookie.
    """
    amount = parse_amount(amount)
    if method not in METHODS:
        raise InvalidRequest(_("This payment method is not offered."), field="method")
    asked = [f"{amount:f}", str(method), *([str(quote_id)] if quote_id else [])]
    digest = hashlib.sha256(json.dumps(asked).encode()).digest()
    with transaction.atomic():
        ledger.lock_wallet(account_id)
        before: TopUp | None = TopUp.objects.filter(account_id=account_id, client_key=client_key).first()
        if before is not None:
            if bytes(before.digest) != digest:
                raise IdempotencyConflict(
                    _("This Idempotency-Key was used before with another amount or payment method."),
                    order=before.number,
                )
            return before
        account = Account.objects.get(pk=account_id)
        if account.status != Account.Status.ACTIVE:
            raise AccountSuspended(_("This account is not active and cannot be topped up."))
        flags.may_top_up(account_id)
        quote = fx.redeem(account_id, quote_id, now=now) if quote_id else fx.lock(account_id, now=now)
        currency = PAID_IN[method]
        due = fx.to_cny(amount, quote.rate) if currency == CNY else amount
        row_id = uuid7()
        number = order_number(row_id)
        order: TopUp = TopUp.objects.create(
            id=row_id,
            number=number,
            account=account,
            created_by=actor,
            created_at=now,
            locale=locale,
            amount_usd=amount,
            currency=currency,
            amount_minor=to_minor_units(due, currency),
            method=method,
            fx_quote=quote,
            status_at=now,
            client_key=client_key,
            digest=digest,
            idempotency_key=f"topup:{number}:checkout:v1",
            expires_at=now + PAY_WITHIN if currency == USD else quote.expires_at + SHORTEST_PAGE,
            check_at=now + FIRST_CHECK,
        )
        verdict = risk.before(order, device=device, now=now)
        if verdict.state == verdict.State.REFUSED:
            order.failure, order.check_at = risk.refusal(verdict), None
            order.move_to(Status.FAILED, now=now)
            order.save(update_fields=["failure", "check_at", "status", "status_at"])
    return order


def open_until(order: TopUp) -> datetime:
    """Until when the provider may be asked to open the order's page: in yuan, while the rate is promised."""
    return order.fx_quote.expires_at if order.currency == CNY else order.created_at + OPEN_WITHIN


def open_checkout(order_id: UUID, *, processor: PaymentProcessor, now: datetime) -> TopUp:
    """Open the provider's page for an order that has none. Safe to call again at any point: one key, one page."""
    order: TopUp = TopUp.objects.select_related("account", "created_by", "fx_quote").get(pk=order_id)
    if order.status != Status.CREATED or order.automatic:  # a saved card is charged without a page
        return order
    if order.currency == CNY and now >= open_until(order):
        raise fx.QuoteExpired(order=order.number)
    try:
        customer_id = customer_of(
            order.account_id,
            email=order.created_by.email if order.created_by else "",
            processor=processor,
            now=now,
        )
        started = processor.start_checkout(_request(order, customer_id))
    except ProcessorRefused as refusal:
        if refusal.evidence.get("provider_param") == "customer":
            _forget_customer(order.account_id)
        return _record_refusal(order_id, refusal, now=now)
    return _record_started(order_id, started, now=now)


def _request(order: TopUp, customer_id: str) -> CheckoutRequest:
    page = f"{settings.PUBLIC_URL}/billing/top-up/{order.number}"
    with override(order.locale or "en"):
        # An account's name may change between two tries; the request of a key may not.
        description = _t("%(site)s credit, %(amount)s USD") % {
            "site": settings.SITE_NAME,
            "amount": f"{order.amount_usd:.2f}",
        }
    return CheckoutRequest(
        order=order.number,
        account_id=str(order.account_id),
        customer_id=customer_id,
        description=description,
        amount_minor=order.amount_minor,
        currency=order.currency,
        methods=(order.method,),
        success_url=f"{page}?session_id={{CHECKOUT_SESSION_ID}}",
        cancel_url=f"{page}?left=1",
        expires_at=order.expires_at,
        locale=order.locale,
        idempotency_key=order.idempotency_key,
    )


def customer_of(account_id: UUID, *, email: str, processor: PaymentProcessor, now: datetime) -> str:
    """Who the account is at the provider; made, under a key of its own, when it is nobody yet."""
    row, _made = PaymentCustomer.objects.get_or_create(
        account_id=account_id,
        defaults={"email": email, "idempotency_key": f"customer:{account_id}:v1", "created_at": now},
    )
    if row.customer_id:
        return row.customer_id
    found = processor.create_customer(account_id=str(account_id), email=row.email, idempotency_key=row.idempotency_key)
    PaymentCustomer.objects.filter(pk=row.pk, customer_id=None).update(customer_id=found)
    return PaymentCustomer.objects.get(pk=row.pk).customer_id or found


def _forget_customer(account_id: UUID) -> None:
    """The provider no longer has this customer (deleted in its dashboard): the next order makes another one."""
    row = PaymentCustomer.objects.get(pk=account_id)
    stem, _sep, version = row.idempotency_key.rpartition(":v")
    PaymentCustomer.objects.filter(pk=account_id, customer_id=row.customer_id).update(
        customer_id=None, idempotency_key=f"{stem}:v{int(version) + 1}"
    )


def locked(order_id: UUID) -> TopUp:
    """The wallet first, then everything that belongs to it."""
    account_id = TopUp.objects.values_list("account_id", flat=True).get(pk=order_id)
    ledger.lock_wallet(account_id)
    found: TopUp = TopUp.objects.select_related("account", "created_by", "fx_quote").get(pk=order_id)
    return found


def _record_started(order_id: UUID, started: CheckoutStarted, *, now: datetime) -> TopUp:
    with transaction.atomic():
        order = locked(order_id)
        if order.status == Status.CREATED:
            order.checkout_session_id, order.checkout_url = started.session_id, started.url
            order.expires_at = started.expires_at
            order.move_to(Status.AWAITING_PAYMENT, now=now)
            order.save(update_fields=["checkout_session_id", "checkout_url", "expires_at", "status", "status_at"])
        return order


def _record_refusal(order_id: UUID, refusal: ProcessorRefused, *, now: datetime) -> TopUp:
    with transaction.atomic():
        order = locked(order_id)
        if order.status == Status.CREATED:
            order.failure, order.failure_code = "refused_by_us", str(refusal.evidence.get("provider_code", ""))[:80]
            order.check_at = None
            order.move_to(Status.FAILED, now=now)
            order.save(update_fields=["failure", "failure_code", "check_at", "status", "status_at"])
        return order
