"""Benefit levels follow the net captured top-ups: raised at once for the next call, never lost by spending (J12)."""

from __future__ import annotations

import itertools
from datetime import timedelta
from decimal import ROUND_HALF_UP, Decimal
from typing import Any

import pytest
from django.core import mail
from django.core.exceptions import ValidationError
from django.db import DatabaseError, transaction
from hypothesis import HealthCheck, given
from hypothesis import settings as thoroughness
from hypothesis import strategies as some

from accounts import levels
from accounts.models import Account, AuditRecord, BenefitLevel
from billing import notices
from billing.books import ledger, verify
from billing.errors import Conflict, InvalidRequest
from billing.metering.models import Authorization, UsageRecord
from billing.models_notices import Notice
from billing.payments import benefits, settling, tasks, topups
from billing.payments import verify as _payments  # noqa: F401  # registers its checks
from billing.payments.models import TopUp
from billing.payments.models_benefits import BenefitLevelChange
from billing.payments.processor_refunds import RefundProgress, RefundState
from config import clock
from gateway import admission, callers
from gateway.parsing import Call
from refunds import external, lifecycle
from tests import factories
from tests.api import Program, program
from tests.billing.payments.conftest import Shop
from tests.concurrency.helpers import at_once
from tests.refunds import orders

pytestmark = pytest.mark.django_db(transaction=True)
NOON = factories.NOON
_keys = itertools.count(1)


def topped_up(account: Account, usd: str, *, now: Any = NOON) -> TopUp:
    """An order whose payment arrived, credited through the one door's own function."""
    order = topups.place(
        account.pk, Decimal(usd), method="card", client_key=f"k{next(_keys)}", actor=None, locale="en", now=now
    )
    with transaction.atomic():
        found = topups.locked(order.pk)
        found.move_to(TopUp.Status.AWAITING_PAYMENT, now=now)
        found.move_to(TopUp.Status.PAID, now=now)
        found.payment_intent_id = f"pi_{found.number}"
        settling._credit(found, now=now)
        found.save()
    return found


def refunded(order: TopUp, minor: int, *, progress: str = "succeeded", now: Any = NOON) -> None:
    """A refund that was made in the provider's dashboard; again with "failed": the bank returned it."""
    refund_id, payment = f"re_{order.number}", f"pi_{order.number}"
    way = RefundProgress(progress)
    external.apply(RefundState(refund_id, payment, way, progress, minor, order.currency), now=now)


def disputed(order: TopUp, cents: int, *, now: Any = NOON) -> None:
    """What whoever records a dispute does: the amount on the order, then the level."""
    with transaction.atomic():
        ledger.lock_wallet(order.account_id)
        TopUp.objects.filter(pk=order.pk).update(disputed_minor=cents)
        benefits.refresh(order.account_id, cause="dispute", source=order.number, now=now)


def factor(account: Account) -> Decimal:
    """What the next call of this account pays, as admission sees it."""
    [caller] = callers.callers_of([_Asked(account.pk)]).values()
    return caller.user_discount


class _Asked:
    """As much of a call as the look-up of its caller reads."""

    key_hash = None

    def __init__(self, account_id: Any) -> None:
        self.account_id = account_id


def level_of(account: Account) -> str:
    return str(Account.objects.select_related("benefit_level").get(pk=account.pk).benefit_level)


def test_j12_480_pays_098_and_25_more_pay_095_for_the_next_request_and_a_refund_of_10_keeps_it():
    account = factories.account()
    topped_up(account, "480")
    assert factor(account) == Decimal("0.98")
    order = topped_up(account, "25")
    assert factor(account) == Decimal("0.95")
    refunded(order, 1000)
    assert benefits.net_top_ups(account.pk) == Decimal(495)
    assert factor(account) == Decimal("0.95")
    assert [str(change) for change in BenefitLevelChange.objects.order_by("pk")] == [
        "Standard → Silver",
        "Silver → Gold",
    ]


def test_j12_with_the_flag_the_refund_of_10_leads_back_to_098(settings):
    settings.BENEFIT_DOWNGRADE_ON_REVERSAL = True
    account = factories.account()
    topped_up(account, "480")
    order = topped_up(account, "25")
    refunded(order, 1000)
    assert factor(account) == Decimal("0.98")
    last = BenefitLevelChange.objects.order_by("-pk")[0]
    assert (last.cause, last.source, last.net_usd) == ("refund", order.number, Decimal(495))
    refunded(order, 1000, progress="failed")  # the bank returned it: the money counts again, and the level with it
    assert factor(account) == Decimal("0.95")


def test_a_lost_dispute_counts_like_a_refund_and_a_won_one_gives_the_level_back(settings):
    settings.BENEFIT_DOWNGRADE_ON_REVERSAL = True
    account = factories.account()
    order = topped_up(account, "60")
    disputed(order, 6000)
    assert level_of(account) == "Standard"
    assert benefits.net_top_ups(account.pk) == 0
    disputed(order, 0)
    assert level_of(account) == "Silver"


def test_a_call_authorised_before_keeps_its_discount_and_the_next_one_has_the_new_one():
    account = factories.account()
    version = factories.price("acme/chat")
    topped_up(account, "49")
    before = factories.hold(account, version, "1", user_discount=factor(account))
    topped_up(account, "5")
    after = factories.hold(account, version, "1", user_discount=factor(account))
    assert factor(account) == Decimal("0.98")
    kept = {row.pk: row.user_discount for row in Authorization.objects.filter(account=account)}
    assert kept == {before.id: Decimal(1), after.id: Decimal("0.98")}


def test_vouchers_gifts_and_unpaid_orders_do_not_count_and_spending_takes_nothing_away():
    account = factories.account()
    factories.credit(account, "9000")
    topups.place(account.pk, Decimal(600), method="card", client_key="unpaid", actor=None, locale="en", now=NOON)
    benefits.refresh(account.pk, cause="order", now=NOON)
    assert level_of(account) == "Standard"
    topped_up(account, "50")
    version = factories.price("acme/chat")
    held = factories.hold(account, version, "60")
    factories.capture(held.id, input_tokens=60_000)
    benefits.refresh(account.pk, cause="order", now=NOON)
    assert (level_of(account), benefits.net_top_ups(account.pk)) == ("Silver", Decimal(50))


def test_repeats_change_nothing_and_the_history_is_append_only():
    account = factories.account()
    topped_up(account, "50")
    for _ in range(3):
        assert benefits.refresh(account.pk, cause="order", now=NOON) is None
    assert BenefitLevelChange.objects.count() == 1
    with pytest.raises(DatabaseError):
        BenefitLevelChange.objects.update(net_usd=0)
    with pytest.raises(DatabaseError):
        BenefitLevelChange.objects.all().delete()


def test_ten_credits_at_once_end_at_the_level_of_their_sum():
    account = factories.account()
    at_once(10, lambda number: topped_up(account, "50"))
    assert level_of(account) == "Gold"
    assert [change.after.name for change in BenefitLevelChange.objects.order_by("pk")] == ["Silver", "Gold"]
    assert verify_says_nothing()


def verify_says_nothing() -> bool:
    return not [found for result in verify.run() if result.check.number == "C19" for found in result.broken]


@given(
    some.permutations(
        [("in", 300), ("in", 150), ("in", 60), ("back", 0, 100), ("back", 2, 60), ("contest", 1, 150), ("won", 1)]
    ),
    some.booleans(),
)
@thoroughness(max_examples=25, deadline=None, suppress_health_check=list(HealthCheck))
def test_the_order_of_top_ups_and_refunds_does_not_matter_for_the_net(steps, downgrade):
    """Each order's steps stay in their own order; between orders they come in any."""
    account = factories.account()
    placed: dict[int, TopUp] = {}
    amounts = {0: 300, 1: 150, 2: 60}
    highest, waiting = -1, list(steps)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("django.conf.settings.BENEFIT_DOWNGRADE_ON_REVERSAL", downgrade)
        numbers = {300: 0, 150: 1, 60: 2}
        contested = False
        while waiting:
            step = next(
                one for one in waiting if one[0] == "in" or (one[1] in placed and (one[0] != "won" or contested))
            )
            waiting.remove(step)
            if step[0] == "in":
                placed[numbers[step[1]]] = topped_up(account, str(step[1]))
            elif step[0] == "back":
                refunded(placed[step[1]], step[2] * 100)
            else:
                contested = step[0] == "contest"
                disputed(placed[1], 15_000 if contested else 0)
            number = Account.objects.select_related("benefit_level").get(pk=account.pk).benefit_level.number
            assert downgrade or number >= highest
            highest = max(highest, number)
    assert benefits.net_top_ups(account.pk) == sum(amounts.values()) - 160
    earned = benefits.earned_by(Decimal(350), BenefitLevel.objects.all())
    assert level_of(account) == str(earned) or not downgrade
    assert verify_says_nothing()


def test_what_is_left_of_a_payment_in_yuan_is_its_share_in_dollars():
    order = orders.credited("100", currency="CNY")
    refunded(order, 24_333)
    order.refresh_from_db()
    share = Decimal(order.amount_minor - 24_333) / order.amount_minor
    left = (100 * share).quantize(Decimal("1e-10"), ROUND_HALF_UP)
    assert 0 < left < 100
    assert benefits.net_top_ups(order.account_id) == benefits.left_of(order) == left


# --- Staff ------------------------------------------------------------------------------------------------------------
def test_a_promised_level_is_never_lowered_by_top_ups_or_refunds(settings):
    settings.BENEFIT_DOWNGRADE_ON_REVERSAL = True
    account, staff = factories.account(), factories.user()
    platinum = BenefitLevel.objects.get(name="Platinum")
    benefits.set_by_hand(account.pk, platinum, actor=staff, reason="Contract", now=NOON)
    order = topped_up(account, "600")
    refunded(order, 60_000)
    assert level_of(account) == "Platinum"
    assert verify_says_nothing()
    benefits.set_by_hand(account.pk, None, actor=staff, reason="Contract ended", now=NOON)
    assert level_of(account) == "Standard"
    told = AuditRecord.objects.filter(action="benefit_level_set").order_by("pk")
    assert [(one.reason, one.after["level"]) for one in told] == [
        ("Contract", "Platinum"),
        ("Contract ended", "Standard"),
    ]


def test_a_promise_below_what_was_bought_without_reason_or_repeated_is_refused():
    account, staff = factories.account(), factories.user()
    topped_up(account, "500")
    silver, gold = (BenefitLevel.objects.get(name=name) for name in ("Silver", "Gold"))
    with pytest.raises(InvalidRequest):
        benefits.set_by_hand(account.pk, silver, actor=staff, reason="x", now=NOON)
    with pytest.raises(InvalidRequest):
        benefits.set_by_hand(account.pk, gold, actor=staff, reason="  ", now=NOON)
    benefits.set_by_hand(account.pk, gold, actor=staff, reason="Kept", now=NOON)
    with pytest.raises(Conflict):
        benefits.set_by_hand(account.pk, gold, actor=staff, reason="Kept", now=NOON)


def test_a_lowered_threshold_raises_those_who_reach_it_and_a_raised_one_takes_nothing():
    account, staff = factories.account(), factories.user()
    topped_up(account, "450")
    gold = BenefitLevel.objects.get(name="Gold")
    terms = {"discount": gold.discount, "rpm": gold.rpm, "tpm": gold.tpm, "actor": staff, "now": NOON}
    levels.change(gold.pk, threshold_usd=Decimal(400), reason="Spring", **terms)
    assert not verify_says_nothing()
    tasks.raise_levels()
    assert level_of(account) == "Gold"
    assert verify_says_nothing()
    levels.change(gold.pk, threshold_usd=Decimal(900), reason="Autumn", **terms)
    tasks.raise_levels()
    benefits.refresh(account.pk, cause="refund", now=NOON)
    assert level_of(account) == "Gold"
    record = AuditRecord.objects.filter(action="benefit_level_changed").latest("pk")
    assert (record.before["threshold_usd"], record.after["threshold_usd"]) == ("400.00", "900.00")


@pytest.mark.parametrize("usd", ["-1", "50", "5000", "9999", "499.999", "1e12"])
def test_a_threshold_out_of_order_or_finer_than_cents_is_refused(usd):
    gold, staff = BenefitLevel.objects.get(name="Gold"), factories.user()
    with pytest.raises(ValidationError):
        levels.change(
            gold.pk, threshold_usd=Decimal(usd), discount=gold.discount, rpm=1, tpm=1, actor=staff, reason="x", now=NOON
        )
    gold.refresh_from_db()
    assert gold.threshold_usd == 500


def test_the_level_where_all_begin_stays_at_zero():
    standard, staff = BenefitLevel.objects.get(name="Standard"), factories.user()
    with pytest.raises(ValidationError):
        levels.change(
            standard.pk, threshold_usd=Decimal(5), discount=Decimal(1), rpm=1, tpm=1, actor=staff, reason="x", now=NOON
        )


@pytest.mark.damages_books
def test_the_verify_check_finds_a_level_that_was_written_past_the_history():
    account = factories.account()
    topped_up(account, "500")
    Account.objects.filter(pk=account.pk).update(benefit_level=BenefitLevel.objects.get(name="Silver"))
    assert not verify_says_nothing()


def test_a_rise_is_told_by_mail_with_the_new_terms():
    account = factories.account(factories.user("rise@example.com", time_zone="Asia/Shanghai"))
    topped_up(account, "480", now=NOON + timedelta(hours=1))
    notice = Notice.objects.get(account=account, kind="benefit_level_up")
    notices.send(notice.pk, now=NOON)
    [sent] = [one for one in mail.outbox if one.to == ["rise@example.com"] and "Silver" in one.subject]
    assert "0.98" in sent.body
    assert "$480.00" in sent.body


# --- Page and API -----------------------------------------------------------------------------------------------------
def test_the_api_tells_everybody_the_levels_and_an_account_its_standing():
    told = Program().call("GET", "benefits").json()
    assert [(level["name"], level["threshold_usd"], level["discount"]) for level in told["levels"]] == [
        ("Standard", "0.00", "1.0000"),
        ("Silver", "50.00", "0.9800"),
        ("Gold", "500.00", "0.9500"),
        ("Platinum", "5000.00", "0.9000"),
    ]
    assert told["standing"] is None
    account = factories.account()
    topped_up(account, "480")
    assert program(account, "developer").call("GET", "benefits").json()["standing"] == {
        "level": 2,
        "net_top_ups_usd": "480.0000000000",
        "next_level": 3,
        "missing_usd": "20.0000000000",
        "promised_level": None,
    }


def test_the_page_says_where_i_stand_and_what_is_missing(client):
    owner = factories.user()
    account = factories.account(owner)
    assert "Platinum" in client.get("/benefits").content.decode()
    client.force_login(owner)
    topped_up(account, "480")
    page = client.get("/benefits").content.decode()
    assert "$480.00 of $500.00" in page
    assert "$20.00 to Gold" in page
    assert "Standard → Silver" in page


def test_staff_set_a_level_from_the_accounts_page(client):
    account, staff = factories.account(), factories.user(is_staff=True, is_superuser=True)
    client.force_login(staff)
    page = client.get(f"/admin/accounts/account/{account.pk}/change/").content.decode()
    assert "Benefit level" in page
    address = f"/admin/accounts/account/{account.pk}/set-level/"
    assert "Platinum" in client.get(address, follow=True).content.decode()
    gold = BenefitLevel.objects.get(name="Gold")
    client.post(address, {"level": str(gold.pk), "reason": "Contract 7", "token": "0" * 32}, follow=True)
    assert level_of(account) == "Gold"


# --- Through the provider and the gateway -----------------------------------------------------------------------------
def paid(shop: Shop, usd: str) -> TopUp:
    """Ordered, paid at the provider, and told by a signed event."""
    order = shop.order(usd)
    assert shop.sandbox.pay(order.checkout_session_id).ok
    shop.tell()
    return TopUp.objects.get(pk=order.pk)


def authorised(shop: Shop, name: str) -> Authorization:
    """A call as a gateway has it authorised."""
    call = Call(
        request_id=name,
        key_hash=None,
        account_id=shop.account.pk,
        billing_mode="payg",
        model="acme/chat",
        channel=None,
        estimate={"input_tokens": 100, "max_output_tokens": 10},
        trace_id=name,
    )
    [answer] = admission.authorize([call], token_id=None, now=clock.now())
    assert isinstance(answer, admission.Admitted), answer
    return Authorization.objects.get(account=shop.account, request_id=name)


def test_j12_with_real_payments_and_calls_the_next_request_has_the_new_discount(shop: Shop) -> None:
    factories.price("acme/chat", at=clock.now() - timedelta(days=1))
    first = paid(shop, "480")
    before = authorised(shop, "before")
    second = paid(shop, "25")
    after = authorised(shop, "after")
    lifecycle.request(second.pk, Decimal(10), reason="too much", actor=shop.owner, client_key="back", now=clock.now())
    last = authorised(shop, "last")
    assert [one.user_discount for one in (before, after, last)] == [Decimal("0.98"), Decimal("0.95"), Decimal("0.95")]
    assert [change.source for change in BenefitLevelChange.objects.order_by("pk")] == [first.number, second.number]
    charged = factories.capture(before.pk, input_tokens=100, output_tokens=10, now=clock.now())
    assert charged is not None
    assert UsageRecord.objects.get(request_id="before").user_discount == Decimal("0.98")
