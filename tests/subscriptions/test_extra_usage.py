"""Extra Usage: on, off, another key, another cap; the audit, and the mails at 50, 80 and 100 % (F080-F083)."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest
from django.core import mail

from accounts import api_keys
from accounts.models import Account, AuditRecord
from billing import notices
from billing.errors import AccountSuspended, Conflict, InvalidRequest
from billing.models_notices import Notice
from subscriptions import extra, extra_state, extra_told
from subscriptions.models import ExtraUsage, ExtraUsageMonth
from tests import factories
from tests.factories import NOON
from tests.subscriptions.driving import driver

pytestmark = pytest.mark.django_db
TEXT = "I agree: calls are paid from the balance."
HOUR = timedelta(hours=1)
NEXT_MONTH = datetime(2026, 12, 1, tzinfo=UTC)


def turn_on(account: Account, key: Any = None, cap: str = "20.00", now: datetime = NOON, text: str = TEXT) -> Any:
    key = key or factories.key(account)[0]
    owner = account.memberships.get(role="owner").user
    return extra.turn_on(
        account.pk, key_id=key.pk, monthly_cap=Decimal(cap), agreed_text=text, actor=owner, label=owner.email, now=now
    )


def by(account: Account, now: datetime = NOON + HOUR) -> dict[str, Any]:
    owner = account.memberships.get(role="owner").user
    return {"actor": owner, "label": owner.email, "now": now}


def spent(account: Account, usd: str, *, held: str = "0", month: datetime = NOON) -> ExtraUsageMonth:
    row, _ = ExtraUsageMonth.objects.update_or_create(
        account=account, month=month.date().replace(day=1), defaults={"spent": Decimal(usd), "held": Decimal(held)}
    )
    return row


def actions(account: Account) -> list[str]:
    rows = AuditRecord.objects.filter(account=account, action__startswith="extra_usage")
    return list(rows.order_by("at", "id").values_list("action", flat=True))


def told(account: Account) -> list[str]:
    rows = Notice.objects.filter(account=account, kind="extra_usage_reached").order_by("created_at", "pk")
    return [notice.context["step"] for notice in rows]


# --- On and off -----------------------------------------------------------------------------------------------------


def test_turning_on_keeps_who_agreed_when_and_to_the_very_text():
    account = factories.funded("10")
    row = turn_on(account)
    owner = account.memberships.get(role="owner").user
    assert (row.enabled, row.monthly_cap, row.agreed_by, row.agreed_at, row.agreed_text) == (
        True, Decimal("20.00"), owner, NOON, TEXT,
    )  # fmt: skip
    [record] = AuditRecord.objects.filter(action="extra_usage_on")
    assert record.before == {}
    assert record.after == {"enabled": True, "key": row.api_key.masked, "monthly_cap": "20.00", "agreed_text": TEXT}
    assert record.actor == owner


def test_without_consent_nothing_is_turned_on():
    with pytest.raises(InvalidRequest) as refused:
        turn_on(factories.funded("10"), text=" ")
    assert refused.value.evidence["field"] == "consent"
    assert not ExtraUsage.objects.exists()


def test_turning_on_again_with_the_same_terms_changes_nothing_and_mails_nobody():
    account = factories.funded("10")
    key = turn_on(account).api_key
    again = turn_on(account, key, now=NOON + HOUR)
    assert again.agreed_at == NOON
    assert actions(account) == ["extra_usage_on"]
    assert Notice.objects.filter(kind="extra_usage_changed").count() == 1


def test_turning_on_with_other_terms_is_a_change_with_a_consent_of_its_own():
    account = factories.funded("10")
    key = turn_on(account).api_key
    row = turn_on(account, key, "50.00", now=NOON + HOUR)
    assert (row.monthly_cap, row.agreed_at) == (Decimal("50.00"), NOON + HOUR)
    assert actions(account) == ["extra_usage_on", "extra_usage_changed"]


def test_turning_off_keeps_what_was_agreed_and_repeats_change_nothing():
    account = factories.funded("10")
    turn_on(account)
    for _ in range(2):
        row = extra.turn_off(account.pk, **by(account))
    assert row is not None
    assert (row.enabled, row.agreed_text, row.monthly_cap) == (False, TEXT, Decimal("20.00"))
    assert actions(account) == ["extra_usage_on", "extra_usage_off"]
    never = factories.funded("0")
    assert extra.turn_off(never.pk, **by(never)) is None
    assert not ExtraUsage.objects.filter(pk=never.pk).exists()


def test_the_key_is_a_live_pay_as_you_go_key_of_the_same_account_that_none_has_followed():
    account, other = factories.funded("10"), factories.funded("10")
    subscription = factories.key(account, kind="subscription")[0]
    dead = api_keys.disable(factories.key(account)[0].pk, now=NOON, actor=None)
    over = factories.key(account, expires_at=NOON)[0]
    rotated = factories.key(account)[0]
    api_keys.rotate(rotated.pk, now=NOON, actor=None, grace=timedelta(days=1))
    for key in (factories.key(other)[0], subscription, dead, over, rotated):
        with pytest.raises(InvalidRequest) as refused:
            turn_on(account, key)
        assert refused.value.evidence["field"] == "api_key"
    assert not ExtraUsage.objects.exists()


@pytest.mark.parametrize("cap", ["0", "-1", "0.001", "100000.01", "1e9", "NaN", "Infinity", "twenty", "", None, 5.5])
def test_a_cap_is_a_number_of_dollars_above_zero_in_whole_cents_and_not_beyond_reason(cap):
    with pytest.raises(InvalidRequest) as refused:
        extra.parse_cap(cap)
    assert refused.value.evidence["field"] == "monthly_cap"


@pytest.mark.parametrize(("told", "cap"), [("0.01", "0.01"), ("20", "20.00"), ("100000", "100000.00")])
def test_the_smallest_and_the_largest_cap_are_taken(told, cap):
    assert str(extra.parse_cap(told)) == cap


def test_a_suspended_account_turns_nothing_on_and_may_turn_off():
    account = factories.funded("10")
    turn_on(account)
    Account.objects.filter(pk=account.pk).update(status="suspended")
    for change in (
        lambda: extra.set_cap(account.pk, monthly_cap=Decimal(50), **by(account)),
        lambda: extra.reselect(account.pk, key_id=factories.key(account)[0].pk, **by(account)),
        lambda: turn_on(account),
    ):
        with pytest.raises(AccountSuspended):
            change()
    assert not extra.turn_off(account.pk, **by(account)).enabled  # type: ignore[union-attr]


def test_key_and_cap_change_only_while_it_is_on():
    account = factories.funded("10")
    for change in (
        lambda: extra.set_cap(account.pk, monthly_cap=Decimal(50), **by(account)),
        lambda: extra.reselect(account.pk, key_id=factories.key(account)[0].pk, **by(account)),
    ):
        with pytest.raises(Conflict):
            change()


def test_another_key_and_another_cap_are_audited_and_mailed_once_each():
    account = factories.funded("10")
    turn_on(account)
    key = factories.key(account, name="second")[0]
    for later in (HOUR, 2 * HOUR):
        extra.reselect(account.pk, key_id=key.pk, **by(account, NOON + later))
        row = extra.set_cap(account.pk, monthly_cap=Decimal("35.50"), **by(account, NOON + later))
    assert (row.api_key, row.monthly_cap, row.agreed_at) == (key, Decimal("35.50"), NOON)
    assert actions(account) == ["extra_usage_on", "extra_usage_changed", "extra_usage_changed"]
    assert Notice.objects.filter(kind="extra_usage_changed").count() == 3
    last = AuditRecord.objects.filter(action="extra_usage_changed").latest("at", "id")
    assert (last.before["monthly_cap"], last.after["monthly_cap"]) == ("20.00", "35.50")


# --- The key is rotated, or stops -----------------------------------------------------------------------------------


@pytest.mark.parametrize("grace", [timedelta(), timedelta(days=1)])
def test_a_rotated_key_is_followed_by_its_successor(grace):
    account = factories.funded("10")
    key = turn_on(account).api_key
    successor, _ = api_keys.rotate(key.pk, now=NOON + HOUR, actor=None, grace=grace, actor_label="a program")
    assert ExtraUsage.objects.get(pk=account.pk).api_key == successor
    [record] = AuditRecord.objects.filter(action="extra_usage_key_followed")
    assert (record.before["key"], record.after["key"], record.actor_label) == (
        key.masked,
        successor.masked,
        "a program",
    )


def test_another_key_that_is_rotated_moves_nothing():
    account = factories.funded("10")
    key = turn_on(account).api_key
    api_keys.rotate(factories.key(account)[0].pk, now=NOON, actor=None)
    assert ExtraUsage.objects.get(pk=account.pk).api_key == key


def test_a_disabled_key_leaves_it_on_and_the_state_says_that_the_key_cannot_pay():
    account = factories.funded("10")
    key = turn_on(account).api_key
    api_keys.disable(key.pk, now=NOON, actor=None)
    state = extra_state.state_of(account.pk, now=NOON)
    assert (state.on, state.key_problem) == (True, "disabled")


def test_the_state_adds_up_months_and_tells_what_the_cap_leaves():
    account = factories.funded("10")
    turn_on(account)
    spent(account, "3", month=NOON - timedelta(days=60))
    spent(account, "12.5", held="4")
    state = extra_state.state_of(account.pk, now=NOON)
    assert (state.spent, state.held, state.left, state.spent_in_all) == (
        Decimal("12.5"), Decimal(4), Decimal("3.5"), Decimal("15.5"),
    )  # fmt: skip
    assert state.resets_at == NEXT_MONTH
    assert state.tone == "warning"
    assert extra_state.state_of(account.pk, now=NEXT_MONTH).spent == 0


def test_keys_that_may_be_chosen_are_live_and_those_used_last_come_first():
    account = factories.funded("10")
    never, older, newer = (factories.key(account, name=name)[0] for name in ("never", "older", "newer"))
    type(older).objects.filter(pk=older.pk).update(last_used_at=NOON - HOUR)
    type(older).objects.filter(pk=newer.pk).update(last_used_at=NOON)
    factories.key(account, kind="subscription")
    factories.key(account, expires_at=NOON)
    api_keys.disable(factories.key(account)[0].pk, now=NOON, actor=None)
    gone = factories.key(account)[0]
    follower, _ = api_keys.rotate(gone.pk, now=NOON, actor=None, grace=HOUR)
    assert extra_state.payable_keys(account.pk, now=NOON) == [newer, older, follower, never]


# --- 50, 80 and 100 % -----------------------------------------------------------------------------------------------


def test_each_step_is_told_once_as_the_month_fills():
    account = factories.funded("10")
    turn_on(account)
    for usd, mails in (("9.99", 0), ("10", 1), ("15", 0), ("16", 1), ("19.99", 0), ("20", 1), ("25", 0)):
        spent(account, usd)
        assert extra_told.sweep(now=NOON) == mails, usd
        assert extra_told.sweep(now=NOON) == 0
    assert told(account) == ["50", "80", "100"]


def test_of_several_steps_passed_at_once_only_the_highest_is_mailed():
    account = factories.funded("10")
    turn_on(account)
    assert spent(account, "17").told == 0
    assert extra_told.sweep(now=NOON) == 1
    assert told(account) == ["80"]
    assert ExtraUsageMonth.objects.get().told == 80


def test_when_the_cap_leaves_too_little_for_a_call_that_is_told_once_though_it_is_not_spent():
    """A cap is hardly ever spent to the cent: nobody would be told that calls have stopped."""
    made = driver(usd="100")
    key = made.agree("20.00").pk
    made.use("5", NOON)  # Free is full
    held = made.ask("1", NOON, usd="19.90", key=key)
    assert made.ask("1", NOON, usd="0.50", key=key).outcome == "extra_usage_cap"
    assert extra_told.sweep(now=NOON) == 0  # what calls hold may come to nothing
    made.capture(held, NOON, "19.90")
    assert extra_told.sweep(now=NOON) == 1  # 80 %
    for _ in range(2):
        assert made.ask("1", NOON, usd="0.50", key=key).outcome == "extra_usage_cap"
    assert made.ask("1", NOON, usd="0.05", key=key).funding == "extra_usage"
    assert extra_told.sweep(now=NOON + HOUR) == 1
    assert extra_told.sweep(now=NOON + HOUR) == 0
    assert told(made.account) == ["80", "80"]

    notice = Notice.objects.filter(kind="extra_usage_reached").latest("created_at")
    mail.outbox.clear()
    notices.send(notice.pk, now=NOON)
    [sent] = mail.outbox
    assert "Extra Usage refused a call, $0.05 of its cap are left" in sent.subject
    assert "A call was refused, because its estimate is larger than what the cap leaves." in sent.body

    extra.set_cap(made.account.pk, monthly_cap=Decimal("20.10"), **by(made.account))
    assert made.ask("1", NOON, usd="0.50", key=key).outcome == "extra_usage_cap"
    assert extra_told.sweep(now=NOON + HOUR) == 1


def test_a_call_larger_than_the_whole_cap_is_told_and_the_steps_are_told_later_all_the_same():
    made = driver(usd="100")
    key = made.agree("20.00").pk
    made.use("5", NOON)
    assert made.ask("1", NOON, usd="30", key=key).outcome == "extra_usage_cap"
    assert extra_told.sweep(now=NOON) == 1
    made.capture(made.ask("1", NOON, usd="12", key=key), NOON, "12")
    assert extra_told.sweep(now=NOON + HOUR) == 1
    assert told(made.account) == ["0", "50"]


def test_what_calls_hold_is_not_spent():
    account = factories.funded("10")
    turn_on(account)
    spent(account, "5", held="15")
    assert extra_told.sweep(now=NOON) == 0


def test_an_account_that_turned_it_off_is_told_nothing():
    account = factories.funded("10")
    turn_on(account)
    spent(account, "20")
    extra.turn_off(account.pk, **by(account))
    assert extra_told.sweep(now=NOON) == 0


def test_a_higher_cap_lets_its_own_steps_be_told_and_a_lower_one_the_steps_that_it_brings():
    account = factories.funded("10")
    turn_on(account)
    spent(account, "20")
    extra_told.sweep(now=NOON)
    extra.set_cap(account.pk, monthly_cap=Decimal(100), **by(account))
    assert extra_told.sweep(now=NOON) == 0
    spent(account, "50")
    assert extra_told.sweep(now=NOON) == 1
    extra.set_cap(account.pk, monthly_cap=Decimal(60), **by(account))
    assert extra_told.sweep(now=NOON) == 1
    assert told(account) == ["100", "50", "80"]


def test_the_last_minutes_of_a_month_are_told_in_the_next_and_older_months_no_more():
    account = factories.funded("10")
    turn_on(account)
    spent(account, "10")
    assert extra_told.sweep(now=NEXT_MONTH + 2 * HOUR) == 0
    assert extra_told.sweep(now=NEXT_MONTH + timedelta(minutes=5)) == 1
    assert Notice.objects.get(kind="extra_usage_reached").context["month"] == "2026-11"


def test_the_sweep_asks_one_question_for_all_accounts(django_assert_num_queries):
    for usd in ("1", "2", "3"):
        account = factories.funded("10")
        turn_on(account)
        spent(account, usd)
    with django_assert_num_queries(1):
        extra_told.sweep(now=NOON)


# --- The mails ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("locale", ["en", "zh-hans"])
@pytest.mark.parametrize("usd", ["16", "20"])
def test_the_mail_tells_spend_cap_balance_and_where_to_change_it(locale, usd):
    account = factories.funded("7.50")
    owner = account.memberships.get(role="owner").user
    owner.locale = locale
    owner.save()
    key = turn_on(account).api_key
    spent(account, usd)
    extra_told.sweep(now=NOON)
    assert notices.send(Notice.objects.get(kind="extra_usage_reached").pk, now=NOON)
    [sent] = mail.outbox
    for part in (
        "$20.00",
        f"${usd}.00",
        "$7.50",
        "2026-12-01 00:00 UTC",
        key.masked,
        "/platform/subscription/extra-usage",
    ):
        assert part in sent.body, part
    assert str(account.pk) in sent.body


def test_the_security_mail_names_who_did_what_and_no_secret():
    account = factories.funded("7.50")
    key, secret = factories.key(account, name="production")
    turn_on(account, key)
    assert notices.send(Notice.objects.get(kind="extra_usage_changed").pk, now=NOON)
    [sent] = mail.outbox
    owner = account.memberships.get(role="owner").user
    assert sent.subject == f"Extra Usage is on for {account.name}"
    for part in (f"{owner.email} turned Extra Usage on", "up to $20.00 a month", f"production ({key.masked})"):
        assert part in sent.body
    assert secret not in sent.body
