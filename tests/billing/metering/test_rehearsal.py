"""Rehearsals: the past under a draft, in parts, on read-only snapshots, never in the books."""

from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest
from django.db import connection

from accounts.models import Account, User
from billing.books import verify
from billing.catalog import drafts
from billing.catalog.documents import read_document
from billing.catalog.models import PriceVersion
from billing.catalog.models_drafts import PriceDraft
from billing.catalog.plans import PriceSpec
from billing.errors import Conflict, InvalidRequest, InvalidTransition
from billing.metering import rehearsal, tasks
from billing.metering.models_rehearsal import Rehearsal, RehearsalPart, RehearsedAccount, RehearsedModel
from config.celery import app
from tests import factories
from tests.factories import NOON

pytestmark = pytest.mark.django_db(transaction=True)
State = Rehearsal.State
MINUTE = timedelta(minutes=1)
BOOKS = (
    *("billing_wallet", "billing_creditgrant", "billing_journalentry", "billing_posting", "billing_ledgeraccount"),
    *("billing_usagerecord", "billing_authorization", "billing_usagerollup", "billing_priceversion", "billing_model"),
    *("billing_channel", "billing_catalogstate"),
)


@pytest.fixture
def staff() -> User:
    return factories.user()


def called(of: Account, version: PriceVersion, *, minute: int = 0, hold: str = "0.5", **quantities: Any) -> None:
    """One call that was made and charged, some minutes before noon."""
    at = NOON - timedelta(hours=2) + minute * MINUTE
    held = factories.hold(of, version, hold, now=at)
    factories.capture(held.id, now=at, **quantities)


def dearer(staff: User, usd: str = "2", slug: str = "test/model", **terms: Any) -> PriceDraft:
    """A draft: input costs this instead of $1 per 1K."""
    spec = PriceSpec(model=slug, **{"input_per_1k": Decimal(usd), "output_per_1k": Decimal(2)} | terms)
    return drafts.create_price(slug, spec, title="dearer", actor=staff, reason="try it", now=NOON)


def run(draft: PriceDraft, staff: User, *, days: int = 1) -> Rehearsal:
    made = rehearsal.request(draft.pk, days=days, actor=staff, now=NOON)
    while rehearsal.work(made.pk, now=NOON):
        pass
    made.refresh_from_db()
    return made


def fingerprint() -> list[tuple[Any, ...]]:
    """Every row of the books and of the catalogue, as one number a table."""
    with connection.cursor() as cursor:
        found = []
        for table in BOOKS:
            cursor.execute(f"SELECT count(*), coalesce(sum(hashtextextended(t::text, 0)), 0) FROM {table} t")
            found.append((table, *cursor.fetchone()))
    return found


def test_revenue_is_what_the_calls_would_have_cost(staff: User) -> None:
    account, version = factories.funded("10"), factories.price()
    called(account, version, input_tokens=1000)  # $1 -> $2
    called(account, version, minute=1, input_tokens=100, output_tokens=50)  # $0.20 -> $0.30

    made = run(dearer(staff), staff)

    sums = rehearsal.totals(made)
    assert made.state == State.DONE
    assert (sums.calls, sums.before, sums.after, sums.change) == (2, Decimal("1.2"), Decimal("2.3"), Decimal("1.1"))
    assert (sums.accounts, sums.dearer, sums.cheaper, sums.refused) == (1, 1, 0, 0)
    assert (made.calls, made.revenue) == (2, Decimal("1.2"))


def test_it_writes_nothing_to_the_books_or_to_the_prices(staff: User) -> None:
    account, version = factories.funded("10"), factories.price()
    for minute in range(5):
        called(account, version, minute=minute, input_tokens=100)
    draft = dearer(staff)
    before = fingerprint()

    run(draft, staff)

    assert fingerprint() == before
    assert [row for result in verify.run() for row in result.broken] == []


def test_winners_and_losers_by_account_and_by_model(staff: User) -> None:
    one, other = factories.funded("10"), factories.funded("10")
    version, cheap = factories.price(), factories.price("test/cheap")
    called(one, version, input_tokens=1000)
    called(other, cheap, input_tokens=1000)
    draft = dearer(staff)
    lower = PriceSpec(model="test/cheap", input_per_1k=Decimal("0.25"), output_per_1k=Decimal(2))
    drafts.put_price(draft.pk, "test/cheap", lower, actor=staff, reason="and this", now=NOON)

    made = run(draft, staff)

    found = {row.account_id: row.after - row.before for row in RehearsedAccount.objects.filter(rehearsal=made)}
    assert found == {one.pk: Decimal(1), other.pk: Decimal("-0.75")}
    by_model = {row.model.slug: (row.before, row.after) for row in RehearsedModel.objects.select_related("model")}
    assert by_model == {"test/model": (1, 2), "test/cheap": (1, Decimal("0.25"))}


def test_a_model_that_is_not_in_the_draft_keeps_its_charge(staff: User) -> None:
    account = factories.funded("10")
    called(account, factories.price(), input_tokens=1000)
    called(account, factories.price("test/other"), input_tokens=1000)

    made = run(dearer(staff), staff)

    assert rehearsal.totals(made).calls == 1
    assert (made.calls, made.revenue) == (2, 2)


def test_each_call_keeps_its_discounts_and_fields(staff: User) -> None:
    account = factories.funded("10")
    version = factories.price(multipliers=[("service_tier", "priority", "2")])
    held = factories.hold(
        account, version, "1", now=NOON - MINUTE, channel_discount=Decimal("0.8"), user_discount=Decimal("0.5"),
        fields={"service_tier": "priority"},
    )  # fmt: skip
    factories.capture(held.id, now=NOON - MINUTE, input_tokens=1000)  # $1 x 2 x 0.4
    spec = drafts.in_force("test/model", "default", NOON).plan.spec  # type: ignore[union-attr]
    draft = dearer(staff, field_multipliers=spec.field_multipliers)

    sums = rehearsal.totals(run(draft, staff))

    assert (sums.before, sums.after) == (Decimal("0.8"), Decimal("1.6"))


def test_who_would_newly_be_refused_is_named_with_the_moment(staff: User) -> None:
    account, version = factories.funded("3"), factories.price()
    for minute in range(3):
        called(account, version, minute=minute, input_tokens=900)  # $0.90 each; under the draft $1.80

    made = run(dearer(staff), staff)

    # $3.00: the first is paid with $1.80 and leaves $1.20; the second does not fit and is not made, nor the third.
    row = RehearsedAccount.objects.get(rehearsal=made)
    assert (row.refused, row.refused_charge) == (2, Decimal("3.6"))
    assert row.refused_since == NOON - timedelta(hours=2) + MINUTE


def test_credit_that_came_in_between_counts_and_a_rich_account_is_never_refused(staff: User) -> None:
    poor, rich, version = factories.funded("1"), factories.funded("100"), factories.price()
    called(poor, version, input_tokens=900)
    factories.credit(poor, "10", now=NOON - timedelta(hours=1))
    called(poor, version, minute=90, input_tokens=900)
    called(rich, version, input_tokens=900)

    made = run(dearer(staff), staff)

    refused = dict(RehearsedAccount.objects.filter(rehearsal=made).values_list("account_id", "refused"))
    assert refused == {poor.pk: 1, rich.pk: 0}  # the first of the poor one: $1.80 of $1.00


def test_a_call_beyond_its_hold_is_not_called_newly_refused(staff: User) -> None:
    account, version = factories.funded("1"), factories.price()
    called(account, version, hold="1", input_tokens=5000)  # $5 charged of $1: overdraft, as it was

    made = run(dearer(staff, "1.1"), staff)

    assert RehearsedAccount.objects.get(rehearsal=made).refused == 0


def test_calls_that_the_draft_cannot_price_are_counted_with_the_reason(staff: User) -> None:
    account, version = factories.funded("10"), factories.price()
    called(account, version, input_tokens=1000)
    draft = drafts.create_price(
        "test/model", PriceSpec(model="test/model", type="per_second", price=Decimal("0.1")), title="by the second",
        actor=staff, reason="try it", now=NOON,
    )  # fmt: skip

    made = run(draft, staff)

    row = RehearsedModel.objects.get(rehearsal=made)
    assert (row.calls, row.unpriced) == (0, 1)
    assert "seconds" in row.reason


def test_a_channels_new_factor_is_rehearsed_too(staff: User) -> None:
    account, version = factories.funded("10"), factories.price()
    called(account, version, input_tokens=1000)
    document = read_document({"channels": [{"code": "default", "discount": "0.5"}], "models": []}, source="meterhall")
    draft = drafts.create(document, title="half", actor=staff, reason="a sale", now=NOON)

    sums = rehearsal.totals(run(draft, staff))

    assert (sums.before, sums.after) == (1, Decimal("0.5"))


def test_calls_outside_the_period_are_left_out(staff: User) -> None:
    account, version = factories.funded("10"), factories.price()
    held = factories.hold(account, version, "1", now=NOON - timedelta(days=2))
    factories.capture(held.id, now=NOON - timedelta(days=2), input_tokens=1000)

    assert rehearsal.totals(run(dearer(staff), staff, days=1)).calls == 0
    assert rehearsal.totals(run(dearer(staff), staff, days=3)).calls == 1


def test_it_is_cut_into_parts_that_add_up(staff: User, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rehearsal, "PART_CALLS", 2)
    version = factories.price()
    for account in [factories.funded("10") for _ in range(5)]:
        called(account, version, input_tokens=1000)
        called(account, version, minute=1, input_tokens=1000)

    made = run(dearer(staff), staff)

    assert made.parts.count() == 5
    assert rehearsal.progress(made) == (10, 10)
    assert rehearsal.totals(made).after == 20


def test_a_part_whose_worker_died_is_done_by_another_and_counted_once(staff: User) -> None:
    account, version = factories.funded("10"), factories.price()
    called(account, version, input_tokens=1000)
    made = rehearsal.request(dearer(staff).pk, days=1, actor=staff, now=NOON)
    rehearsal._start(made.pk, NOON)
    made.refresh_from_db()
    lost = rehearsal._claim(made, NOON)
    assert lost is not None

    assert not rehearsal.work(made.pk, now=NOON + MINUTE)  # somebody is at it
    later = NOON + rehearsal.STALE_AFTER + MINUTE
    assert rehearsal.work(made.pk, now=later)
    rehearsal._write(made, lost, rehearsal._rated(made, lost, rehearsal.tariff_of(made.document)), later)

    made.refresh_from_db()
    assert made.state == State.DONE
    assert rehearsal.totals(made).calls == 1


def test_a_part_that_fails_again_and_again_fails_the_whole(staff: User) -> None:
    account, version = factories.funded("10"), factories.price()
    called(account, version, input_tokens=1000)
    made = rehearsal.request(dearer(staff).pk, days=1, actor=staff, now=NOON)
    rehearsal._start(made.pk, NOON)
    RehearsalPart.objects.update(attempts=rehearsal.MOST_ATTEMPTS)

    assert not rehearsal.work(made.pk, now=NOON)

    made.refresh_from_db()
    assert (made.state, made.due_at) == (State.FAILED, None)
    assert "part 1" in made.error


def test_the_sweep_goes_on_with_what_nobody_was_woken_for(staff: User) -> None:
    account, version = factories.funded("10"), factories.price()
    called(account, version, input_tokens=1000)
    made = rehearsal.request(dearer(staff).pk, days=1, actor=staff, now=NOON)

    assert rehearsal.claim_due(now=NOON) == [made.pk]
    assert rehearsal.claim_due(now=NOON) == []
    assert rehearsal.claim_due(now=NOON + rehearsal.LOOK_AGAIN) == [made.pk]


def test_the_task_does_one_piece_and_wakes_the_next(staff: User) -> None:
    account, version = factories.funded("10"), factories.price()
    called(account, version, input_tokens=1000)
    made = rehearsal.request(dearer(staff).pk, days=1, actor=staff, now=NOON)
    with app.connection_for_write() as broker:
        waiting = broker.SimpleQueue(app.conf.task_default_queue)
        waiting.clear()

        tasks.rehearse(str(made.pk))
        woken = waiting.get(timeout=5)
        woken.ack()
        tasks.rehearse(str(made.pk))

        assert woken.headers["task"] == "billing.metering.tasks.rehearse"
        assert str(made.pk) in woken.headers["argsrepr"]
        with pytest.raises(waiting.Empty):  # the second found nothing more to do
            waiting.get(block=False)
        waiting.close()
    made.refresh_from_db()
    assert made.state == State.DONE


def test_one_draft_has_one_rehearsal_at_a_time_and_a_sensible_length(staff: User) -> None:
    factories.price()
    draft = dearer(staff)
    for days in (0, 93, -1):
        with pytest.raises(InvalidRequest):
            rehearsal.request(draft.pk, days=days, actor=staff, now=NOON)
    first = rehearsal.request(draft.pk, days=1, actor=staff, now=NOON)

    with pytest.raises(Conflict):
        rehearsal.request(draft.pk, days=1, actor=staff, now=NOON)

    rehearsal.cancel(first.pk, actor=staff, reason="wrong draft", now=NOON)
    assert not rehearsal.work(first.pk, now=NOON)
    assert rehearsal.request(draft.pk, days=1, actor=staff, now=NOON).pk != first.pk


@pytest.mark.parametrize("now", State.values)
@pytest.mark.parametrize("wanted", State.values)
def test_a_rehearsal_moves_only_as_its_table_says(now: str, wanted: str) -> None:
    one = Rehearsal(state=now)
    if wanted in Rehearsal.NEXT[State(now)]:
        one.move_to(wanted)
        assert one.state == wanted
    else:
        with pytest.raises(InvalidTransition):
            one.move_to(wanted)
