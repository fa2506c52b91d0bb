"""Publishing refund terms (F090, F091, C10, C12-C14): checked, compared, written once, and kept by payments."""

from __future__ import annotations

import dataclasses
import threading
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any
from uuid import UUID, uuid4

import pytest
from django.db import DatabaseError, connection, transaction

from accounts.models import AuditRecord
from billing.errors import BillingError, Conflict, IdempotencyConflict, InvalidRequest
from refunds import lifecycle, models_policy, plan_lifecycle, publishing
from refunds.models_policy import RefundPolicy
from refunds.policy_words import Promise
from tests import factories
from tests.refunds.orders import credited
from tests.refunds.test_window import against, submit, subscribed
from tests.subscriptions.driving import NOON

pytestmark = pytest.mark.django_db
HOUR, DAY = timedelta(hours=1), timedelta(days=1)
TICK = timedelta(microseconds=1)


def changed(**more: Any) -> publishing.Terms:
    return dataclasses.replace(publishing.terms_of(models_policy.in_force(NOON)), **more)


def publish(terms: publishing.Terms, *, now: datetime = NOON, reason: str = "agreed", key: Any = None) -> RefundPolicy:
    seen = publishing.preview(terms, now=now).seen
    actor = factories.user()
    return publishing.publish(terms, actor=actor, reason=reason, seen=seen, key=key or uuid4(), now=now)


def codes(now: datetime = NOON, **more: Any) -> list[str]:
    return [one.code for one in publishing.preview(changed(**more), now=now).findings]


# --- One row ----------------------------------------------------------------------------------------------------------


def test_new_terms_are_in_force_from_the_moment_of_publishing_and_not_before() -> None:
    row = publish(changed(window_hours=48, fee_rate=Decimal("0.03")), reason=" as agreed ")
    assert (row.effective_from, row.created_at, row.note) == (NOON, NOON, "as agreed")
    assert models_policy.in_force(NOON) == row
    assert models_policy.in_force(NOON - TICK).window_hours == 24


def test_terms_may_wait_for_their_start() -> None:
    later = publish(changed(window_hours=48, effective_from=NOON + DAY))
    assert models_policy.in_force(NOON + DAY - TICK).window_hours == 24
    assert models_policy.in_force(NOON + DAY) == later
    between = publish(changed(window_hours=36), now=NOON + HOUR)
    assert [models_policy.in_force(NOON + n * HOUR).window_hours for n in (0, 1, 23, 24)] == [24, 36, 36, 48]
    assert publishing.preview(changed(window_hours=12, effective_from=NOON + 2 * DAY), now=NOON).base == later
    assert publishing.preview(changed(window_hours=12, effective_from=NOON + 2 * HOUR), now=NOON).base == between


def test_it_is_in_the_audit_with_the_difference_and_the_reason() -> None:
    row = publish(changed(fee_rate=Decimal("0.075"), days_by_method={"alipay": 90}))
    [kept] = AuditRecord.objects.filter(action="refund_policy_published")
    assert (kept.subject_id, kept.reason, kept.at) == (str(row.pk), "agreed", NOON)
    assert kept.before == {"fee_rate": "0.05", "days_by_method": {"alipay": 90, "wechat_pay": 180}}
    start = {"effective_from": NOON.isoformat()}
    assert kept.after == {"fee_rate": "0.075", "days_by_method": {"alipay": 90}} | start


def test_a_row_is_never_changed_or_removed() -> None:
    row = publish(changed(window_hours=48))
    for change in (lambda: RefundPolicy.objects.filter(pk=row.pk).update(window_hours=1), row.delete):
        with pytest.raises(DatabaseError, match="append-only"), transaction.atomic():
            change()


# --- What is refused --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"window_hours": 0}, "window_hours"),
        ({"window_hours": -1}, "window_hours"),
        ({"window_hours": 8761}, "window_hours"),
        ({"window_hours": True}, "window_hours"),
        ({"fee_rate": Decimal("-0.01")}, "fee_rate"),
        ({"fee_rate": Decimal(1)}, "fee_rate"),
        ({"fee_rate": Decimal("0.0000001")}, "fee_rate"),
        ({"fee_rate": Decimal("NaN")}, "fee_rate"),
        ({"fee_base": "turnover"}, "fee_base"),
        ({"settle_minutes": 0}, "settle_minutes"),
        ({"settle_minutes": 1441}, "settle_minutes"),
        ({"quote_minutes": 0}, "quote_minutes"),
        ({"days_by_method": {"cheque": 5}}, "days_by_method"),
        ({"days_by_method": {"alipay": 0}}, "days_by_method"),
        ({"effective_from": NOON - TICK}, "effective_from"),
        ({"effective_from": NOON + timedelta(days=400) + TICK}, "effective_from"),
    ],
    ids=str,
)
def test_terms_that_make_no_sense_are_refused_by_field(change: dict[str, Any], field: str) -> None:
    with pytest.raises(InvalidRequest) as refused:
        publishing.preview(changed(**({"on_renewal": True} | change)), now=NOON)
    assert refused.value.evidence["field"] == field
    assert refused.value.detail
    assert RefundPolicy.objects.count() == 1


def test_a_fee_is_a_decimal() -> None:
    with pytest.raises(TypeError, match="Decimal"):
        publishing.preview(changed(fee_rate=0.05), now=NOON)


def test_a_start_becomes_the_past_between_preview_and_confirmation() -> None:
    terms = changed(window_hours=48, effective_from=NOON + HOUR)
    seen = publishing.preview(terms, now=NOON).seen
    with pytest.raises(InvalidRequest, match="must not lie in the past"):
        publishing.publish(terms, actor=factories.user(), reason="r", seen=seen, key=uuid4(), now=NOON + HOUR + TICK)
    assert RefundPolicy.objects.count() == 1


def test_terms_that_change_nothing_are_refused() -> None:
    with pytest.raises(Conflict, match="Nothing changes"):
        publishing.preview(changed(), now=NOON)
    with pytest.raises(Conflict, match="Nothing changes"):
        publishing.preview(changed(fee_rate=Decimal("0.050"), effective_from=NOON + DAY), now=NOON)


def test_two_rows_never_begin_together() -> None:
    publish(changed(window_hours=48, effective_from=NOON + DAY))
    with pytest.raises(Conflict, match="begin at that moment already"):
        publishing.preview(changed(window_hours=12, effective_from=NOON + DAY), now=NOON)
    publish(changed(window_hours=12, effective_from=NOON + DAY + TICK))
    assert RefundPolicy.objects.count() == 3


def test_a_reason_is_needed() -> None:
    for wrong in ("  ", "r" * 501):
        with pytest.raises(InvalidRequest) as refused:
            publish(changed(window_hours=48), reason=wrong)
        assert refused.value.evidence["field"] == "reason"


# --- Once -------------------------------------------------------------------------------------------------------------


def test_only_what_was_previewed_is_published() -> None:
    first, second = changed(window_hours=36), changed(window_hours=48)
    seen = publishing.preview(first, now=NOON).seen
    actor = factories.user()
    with pytest.raises(Conflict, match="since the preview"):
        publishing.publish(second, actor=actor, reason="r", seen=seen, key=uuid4(), now=NOON)
    publish(second)
    with pytest.raises(Conflict, match="since the preview"):
        publishing.publish(first, actor=actor, reason="r", seen=seen, key=uuid4(), now=NOON + DAY)
    assert RefundPolicy.objects.count() == 2


def test_what_was_published_for_later_asks_for_another_preview_too() -> None:
    first = changed(window_hours=36)
    seen = publishing.preview(first, now=NOON).seen
    publish(changed(window_hours=48, effective_from=NOON + DAY))
    with pytest.raises(Conflict, match="since the preview"):
        publishing.publish(first, actor=factories.user(), reason="r", seen=seen, key=uuid4(), now=NOON)


def test_sent_twice_with_one_token_it_is_one_row() -> None:
    terms, key, actor = changed(window_hours=48), uuid4(), factories.user()
    seen = publishing.preview(terms, now=NOON).seen
    made = [
        publishing.publish(terms, actor=actor, reason="r", seen=seen, key=key, now=NOON + n * HOUR) for n in (0, 1, 30)
    ]
    assert {row.pk for row in made} == {RefundPolicy.objects.latest("pk").pk}
    assert RefundPolicy.objects.count() == 2
    assert AuditRecord.objects.filter(action="refund_policy_published").count() == 1


def test_a_token_that_was_used_carries_no_other_terms() -> None:
    key = uuid4()
    publish(changed(window_hours=48, effective_from=NOON + DAY), key=key)
    for other in (
        changed(window_hours=12, effective_from=NOON + DAY),
        changed(window_hours=48, effective_from=NOON + 2 * DAY),
    ):
        with pytest.raises(IdempotencyConflict):
            publishing.publish(other, actor=factories.user(), reason="r", seen="", key=key, now=NOON)
    assert RefundPolicy.objects.count() == 2


def at_once(terms: list[publishing.Terms], *, keys: list[UUID]) -> list[str]:
    """So many people publish, each what was previewed: the new row, or the refusal's code."""
    seen = [publishing.preview(one, now=NOON).seen for one in terms]
    actor = factories.user()

    def go(number: int) -> str:
        try:
            row = publishing.publish(
                terms[number], actor=actor, reason="r", seen=seen[number], key=keys[number], now=NOON
            )
        except BillingError as refused:
            return refused.code
        finally:
            connection.close()
        return f"row {row.pk}"

    with ThreadPoolExecutor(len(terms)) as pool:
        return list(pool.map(go, range(len(terms))))


START = datetime(2026, 12, 1, tzinfo=UTC)


@pytest.mark.django_db(transaction=True)
def test_two_people_at_once_never_publish_for_the_same_moment() -> None:
    answers = at_once(
        [changed(window_hours=30 + n, effective_from=START) for n in range(4)], keys=[uuid4() for _ in range(4)]
    )
    assert sorted(answers)[:3] == ["conflict"] * 3
    assert RefundPolicy.objects.filter(effective_from=START).count() == 1


def many(count: int) -> list[publishing.Terms]:
    """Terms for a day each, all compared with those of today."""
    return [changed(window_hours=30 + n, effective_from=START + n * DAY) for n in range(count)]


@pytest.mark.django_db(transaction=True)
def test_of_people_who_saw_the_same_terms_one_publishes_and_the_others_look_again() -> None:
    answers = at_once(many(4), keys=[uuid4() for _ in range(4)])
    assert sorted(answers)[:3] == ["conflict"] * 3
    assert RefundPolicy.objects.count() == 2


@pytest.mark.django_db(transaction=True)
def test_without_the_lock_all_of_them_would_publish(monkeypatch: pytest.MonkeyPatch) -> None:
    terms, gate, looked = many(3), threading.Barrier(3), publishing.preview

    def slowly(*asked: Any, **more: Any) -> publishing.Preview:
        found = looked(*asked, **more)
        if threading.current_thread() is not threading.main_thread():
            gate.wait(30)
        return found

    monkeypatch.setattr(publishing, "_one_at_a_time", lambda: None)
    monkeypatch.setattr(publishing, "preview", slowly)
    at_once(terms, keys=[uuid4() for _ in range(3)])
    assert RefundPolicy.objects.count() == 4


@pytest.mark.django_db(transaction=True)
def test_one_form_sent_twice_at_once_is_one_row_and_one_answer() -> None:
    answers = at_once([changed(window_hours=30, effective_from=START)] * 4, keys=[uuid4()] * 4)
    assert len(set(answers)) == 1
    assert answers[0].startswith("row ")
    assert RefundPolicy.objects.count() == 2


# --- The preview ------------------------------------------------------------------------------------------------------


def test_j16_and_j17_are_computed_under_the_old_and_the_new_terms() -> None:
    found = publishing.preview(changed(fee_base="paid"), now=NOON)
    told = {
        one.example.plan: (one.before.final, one.after.final) for one in found.examples if not one.example.tax_minor
    }
    assert told == {"Pro": (1660, 1647), "Max": (6391, 6227)}
    assert [(one.field, one.before, one.after) for one in found.changes] == [("fee_base", "difference", "paid")]
    found = publishing.preview(changed(fee_rate=Decimal(0)), now=NOON)
    assert [one.after.final for one in found.examples if not one.example.tax_minor] == [1747, 6727]
    assert RefundPolicy.objects.count() == 1


def test_an_example_with_tax_shows_what_becomes_of_it() -> None:
    found = publishing.preview(changed(refund_tax=False), now=NOON)
    [taxed] = [one for one in found.examples if one.example.tax_minor]
    assert (taxed.before.final, taxed.before.tax) == (1660 + 332, 332)
    assert (taxed.after.final, taxed.after.tax) == (1660, 0)


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({"window_hours": 12}, "window_shorter"),
        ({"window_hours": 25}, "window_longer"),
        ({"window_hours": 29 * 24}, "past_period"),
        ({"fee_rate": Decimal("0.06")}, "fee_up"),
        ({"fee_rate": Decimal("0.5")}, "fee_steep"),
        ({"fee_rate": Decimal("0.04")}, "fee_down"),
        ({"fee_base": "paid"}, "fee_of_paid"),
        ({"on_renewal": True}, "renewal_on"),
        ({"refund_tax": False}, "tax_kept"),
        ({"settle_minutes": 5}, "settle_shorter"),
        ({"settle_minutes": 20}, "settle_long"),
        ({"quote_minutes": 5}, "quote"),
        ({"days_by_method": {"alipay": 90, "wechat_pay": 180, "card": 365}}, "limits_shorter"),
        ({"days_by_method": {"alipay": 90}}, "limits"),
    ],
    ids=str,
)
def test_what_becomes_of_customers_is_pointed_out(change: dict[str, Any], expected: str) -> None:
    assert expected in codes(**change)


def test_the_other_way_round_is_said_too() -> None:
    publish(changed(fee_base="paid", on_renewal=True, refund_tax=False))
    found = publishing.preview(changed(fee_base="difference", on_renewal=False, refund_tax=True), now=NOON + HOUR)
    warnings = [one.code for one in found.findings if one.warning]
    assert warnings == ["renewal_off", "at_once"]
    assert [one.code for one in found.findings if not one.warning] == ["fee_of_difference", "tax_back", "kept"]


def test_what_takes_from_customers_should_not_begin_at_once() -> None:
    assert "at_once" in codes(window_hours=12)
    assert "at_once" not in codes(window_hours=12, effective_from=NOON + DAY)
    assert "at_once" not in codes(window_hours=48)


def test_terms_that_take_over_later_are_named() -> None:
    publish(changed(window_hours=48, effective_from=NOON + DAY))
    found = publishing.preview(changed(window_hours=36), now=NOON + HOUR)
    [later] = [one.text for one in found.findings if one.code == "later"]
    assert f"{NOON + DAY:%Y-%m-%d %H:%M} UTC" in later


def test_plans_that_may_still_be_given_back_are_counted() -> None:
    def told(now: datetime) -> str:
        found = publishing.preview(changed(window_hours=12), now=now).findings
        return str(next(one.text for one in found if one.code == "kept"))

    subscribed()
    subscribed(NOON + HOUR)
    assert told(NOON + 2 * HOUR).startswith("2 plans may still be given back")
    assert told(NOON + DAY + TICK).startswith("1 plan may still be given back")
    assert told(NOON + DAY + HOUR + TICK).startswith("No plan may still")


# --- Whom they hold for -----------------------------------------------------------------------------------------------


def test_a_plan_keeps_the_terms_of_its_payment_and_a_newer_one_has_the_new() -> None:
    made = subscribed()
    publish(changed(window_hours=2, fee_rate=Decimal("0.2")), now=NOON + HOUR)
    quote = plan_lifecycle.preview(made.account.pk, now=NOON + DAY)
    assert (quote.possible, quote.lines.final) == (True, 1900)
    newer = subscribed(NOON + HOUR)
    assert plan_lifecycle.preview(newer.account.pk, now=NOON + 2 * HOUR).lines.final == 1600
    assert against(newer, NOON + 3 * HOUR + TICK) == ["window_closed"]


def test_a_refund_that_was_asked_for_keeps_its_terms() -> None:
    made = subscribed()
    refund = submit(made, NOON + HOUR)
    publish(changed(fee_rate=Decimal("0.2"), settle_minutes=1), now=NOON + HOUR + TICK)
    refund.refresh_from_db()
    assert (refund.policy.fee_rate, refund.settle_by) == (Decimal("0.05"), NOON + HOUR + timedelta(minutes=15))


def test_a_top_up_keeps_the_fee_of_its_payment_and_follows_the_providers_limits_of_now() -> None:
    order = credited("20")
    paid_at = order.paid_at or order.created_at
    now = paid_at + 31 * DAY
    publish(changed(fee_rate=Decimal("0.2"), days_by_method={"card": 30}), now=now)
    assert lifecycle.fee_rate(order) == Decimal("0.05")
    assert lifecycle.refundable_until(order, now=now - TICK) is None
    with pytest.raises(BillingError, match="30 days"):
        lifecycle.check_possible(order, now=now)


# --- What customers read ----------------------------------------------------------------------------------------------


def test_customers_read_the_figures_of_the_terms() -> None:
    row = publish(changed(window_hours=168, fee_rate=Decimal("0.025")))
    told = Promise(row)
    assert told.plan.replace("\xa0", " ") == (
        "within 7 days of the payment, less what was used and a fee of 2.5 % of the rest"
    )
    assert told.credit.replace("\xa0", " ") == "unused credit, case by case, less a fee of 2.5 %"
    assert "not for renewals" in told.renewals
    free = publish(changed(window_hours=1, fee_rate=Decimal(0), on_renewal=True), now=NOON + HOUR)
    assert Promise(free).plan == "within 1 hour of the payment, less what was used"
    assert Promise(free).renewals == "The same holds after each renewal."
    paid = publish(changed(window_hours=36, fee_base="paid"), now=NOON + 2 * HOUR)
    assert "5 % of what was paid" in Promise(paid).plan.replace("\xa0", " ")


def test_a_window_that_closed_is_told_in_its_own_hours() -> None:
    publish(changed(window_hours=1))
    made = subscribed(NOON + DAY)
    [reason] = plan_lifecycle.preview(made.account.pk, now=NOON + DAY + 2 * HOUR).reasons
    assert reason.text.startswith("A refund can be asked for within 1 hour of the payment.")
