"""What tests of saved cards do again and again: save one on the provider's page, turn auto top-up on, spend."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Any
from uuid import uuid4

from accounts.models import User
from billing.books.models import Wallet
from billing.payments import auto_setting, auto_topup, saved
from billing.payments.auto_rules import Terms
from billing.payments.models import TopUp
from billing.payments.models_saved import AutoTopUp, CardSetup, PaymentMethod, ends_on
from billing.payments.stripe_processor import get_processor
from config import clock
from tests import factories
from tests.billing.payments.conftest import Shop

VISA = "4242424242424242"
ALWAYS_DECLINED = "4000000000000341"
ASKS_ALWAYS = "4000002760003184"
NO_FUNDS = "4000008260003178"


def terms(threshold: str = "5", amount: str = "10", count: int = 3, daily: str = "60", monthly: str = "600") -> Terms:
    """Terms as a customer would choose them."""
    return Terms(Decimal(threshold), Decimal(amount), count, Decimal(daily), Decimal(monthly))


def kept_card(account: Any, owner: User, now: datetime) -> PaymentMethod:
    """A card as if it had been saved on the provider's page."""
    consent = saved.agree(
        account.pk, purpose="save_card", text="-", version="t", locale="en", actor=owner, label="-", now=now
    )
    return PaymentMethod.objects.create(
        account=account, provider_id=f"pm_{uuid4().hex}", customer_id="cus_1", brand="visa", last_four="4242",
        exp_month=12, exp_year=2050, ends_on=ends_on(12, 2050), fingerprint_hash=b"\0" * 32, state_at=now,
        consent=consent, created_at=now,
    )  # fmt: skip


@dataclass
class Saver:
    """One customer with saved cards."""

    shop: Shop

    def begin(self, key: str = "", **more: Any) -> CardSetup:
        """Agree, and open the provider's page."""
        return saved.begin(
            self.shop.account.pk,
            client_key=key or uuid4().hex,
            text="Keep my card.",
            version="test",
            locale="en",
            actor=more.pop("actor", self.shop.owner),
            processor=get_processor(),
            now=clock.now(),
        )

    def give(self, setup: CardSetup, number: str = VISA, *, confirmed: str = "yes", expiry: str = "12/34") -> Any:
        """What the customer does on that page."""
        form = {"number": number, "expiry": expiry, "cvc": "123", "email": "payer@example.com", "name": "Pat Payer"}
        return self.shop.sandbox._submit(setup.session_id or "", "setup", form | {"confirmed": confirmed}, "en")

    def card(self, number: str = VISA, **more: Any) -> PaymentMethod:
        """A saved card, by the return page's door."""
        setup = self.begin()
        assert self.give(setup, number, **more).ok
        kept = saved.finish(setup.pk, processor=get_processor(), now=clock.now()).payment_method
        assert kept is not None
        return kept

    def on(self, card: PaymentMethod | None = None, *, now: datetime | None = None, **chosen: Any) -> AutoTopUp:
        """Auto top-up with these terms."""
        return auto_setting.configure(
            self.shop.account.pk,
            terms(**chosen),
            card_id=(card or self.card()).pk,
            text="Charge my card.",
            version="test",
            locale="en",
            actor=self.shop.owner,
            label=self.shop.owner.email,
            now=now or clock.now(),
        )

    def run(self, *, now: datetime | None = None) -> TopUp | None:
        """The one door."""
        return auto_topup.run(self.shop.account.pk, processor=get_processor(), now=now or clock.now())

    def spend(self, usd: str, *, now: datetime | None = None) -> None:
        """A call that costs this much, whatever the balance."""
        at = now or clock.now()
        price = {"type": "per_token", "input_per_1k": Decimal(usd), "output_per_1k": Decimal(usd)}
        version = factories.price(f"test/{uuid4().hex[:8]}", **price)
        held = factories.hold(self.shop.account, version, "0.01", now=at)
        factories.capture(held.id, input_tokens=1000, now=at)

    @property
    def row(self) -> AutoTopUp:
        """Auto top-up as it stands."""
        return AutoTopUp.objects.get(pk=self.shop.account.pk)

    @property
    def net(self) -> Decimal:
        """What the customer sees as balance."""
        return Decimal(Wallet.objects.get(pk=self.shop.account.pk).net)

    def charges(self) -> list[Any]:
        """What the provider took."""
        return [one for one in self.shop.sandbox.objects("charge") if one["status"] == "succeeded"]
