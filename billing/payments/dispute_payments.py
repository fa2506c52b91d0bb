"""What a disputed payment paid: an order of credit, or something that an app to the right sells and knows.

Who else takes payments registers once (`disputes_of`) and is asked which of its things a payment paid, and told what
disputes take of it. Apps import only from their left, so a row names such a thing by a word, an id and a number.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from typing import Any, Final, Protocol
from uuid import UUID

from billing.payments.models import PaymentCustomer, TopUp
from billing.payments.models_disputes import Dispute, EarlyFraudWarning
from billing.payments.processor import PaymentProcessor, PaymentState


@dataclass(frozen=True, slots=True)
class OtherPayment:
    """A payment that gave no credit. Amounts in the smallest unit of `currency`; `amount_usd` is all that was paid.

    What a dispute takes of it comes out of the ledger account `revenue`. `meta` goes with each entry, `told` with each
    mail, whose kind begins with `notice`.
    """

    of: str
    pk: UUID
    number: str
    account_id: UUID
    amount_minor: int
    amount_usd: Decimal
    currency: str
    refunded_minor: int
    revenue: str
    notice: str
    meta: dict[str, str] = field(default_factory=dict)
    told: dict[str, str] = field(default_factory=dict)


Disputed = TopUp | OtherPayment


class Taker(Protocol):
    """Somebody who takes payments for something else than credit. `desk` is the URL name of a thing's staff page."""

    of: str
    desk: str

    def known(self, payment_intent_id: str) -> UUID | None:
        """What this payment paid, if it is known here for paid."""
        ...

    def ask(self, account_id: UUID, *, processor: PaymentProcessor, now: datetime) -> None:
        """The news of a payment of this account were perhaps lost: ask the provider. No lock is held."""
        ...

    def locked(self, payment_id: UUID) -> OtherPayment:
        """The payment as it is now, under the wallet's lock."""
        ...

    def disputed(self, payment_id: UUID, counted: Sequence[Dispute], *, changed: Dispute | None, now: datetime) -> None:
        """Keep what these open and lost disputes take of it. `changed`: the one that has taken a step just now. The
        wallet's lock is held."""
        ...

    def warned(self, payment_id: UUID, warning: EarlyFraudWarning) -> None:
        """The card's network warns of the payment, for the first time. The wallet's lock is held."""
        ...


_takers: Final[dict[str, Taker]] = {}


def disputes_of(taker: Taker) -> Taker:
    """Register who else takes payments."""
    _takers[taker.of] = taker
    return taker


def other(of: str, payment_id: UUID) -> OtherPayment:
    """It, under the wallet's lock."""
    return _takers[of].locked(payment_id)


def known(payment_intent_id: str) -> tuple[str, UUID] | None:
    """What else than an order a payment paid."""
    for of, taker in _takers.items():
        found = taker.known(payment_intent_id)
        if found is not None:
            return of, found
    return None


def ask(state: PaymentState, *, processor: PaymentProcessor, now: datetime) -> tuple[str, UUID] | None:
    """The same for a payment that nobody told us of, once those who take payments have asked for theirs."""
    payer = PaymentCustomer.objects.filter(customer_id=state.customer_id).first() if state.customer_id else None
    if payer is None:
        return None
    for taker in _takers.values():
        taker.ask(payer.account_id, processor=processor, now=now)
    return known(state.payment_intent_id)


def tell(payment: OtherPayment, counted: Sequence[Dispute], *, changed: Dispute | None, now: datetime) -> None:
    """Who took the payment keeps what its disputes take."""
    _takers[payment.of].disputed(payment.pk, counted, changed=changed, now=now)


def warn(payment: OtherPayment, warning: EarlyFraudWarning) -> None:
    """Who took the payment hears of a warning."""
    _takers[payment.of].warned(payment.pk, warning)


def reference(payment: Disputed) -> dict[str, Any]:
    """How a row names it, and how its rows are found."""
    if isinstance(payment, TopUp):
        return {"top_up": payment}
    return {"of": payment.of, "of_id": payment.pk}


def rows_of(payment: Disputed) -> Any:
    """Its disputes."""
    return Dispute.objects.filter(**reference(payment))


def is_of(row: Dispute, payment: Disputed) -> bool:
    """Whether a dispute is one of this payment."""
    if isinstance(payment, TopUp):
        return bool(row.top_up_id == payment.pk)
    return (row.of, row.of_id) == (payment.of, payment.pk)


def desk_of(row: Dispute | EarlyFraudWarning) -> str:
    """The URL name of the staff page of what else was paid; empty when nobody knows it."""
    return _takers[row.of].desk if row.of in _takers else ""
