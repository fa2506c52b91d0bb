"""Drafts: written, proposed, published by a second person; nothing of it edits a version."""

from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest

from accounts.models import AuditRecord, User
from billing.catalog import drafts
from billing.catalog.book import current_book
from billing.catalog.documents import read_document
from billing.catalog.models import CatalogState, Model, PriceVersion
from billing.catalog.models_drafts import PriceDraft
from billing.catalog.plans import PriceSpec
from billing.errors import BillingError, Conflict, InvalidRequest, InvalidTransition, SecondPersonNeeded
from billing.metering import rehearsal
from tests import factories
from tests.factories import NOON

pytestmark = pytest.mark.django_db
State = PriceDraft.State
LATER = NOON + timedelta(hours=1)


@pytest.fixture
def writer() -> User:
    return factories.user()


@pytest.fixture
def second() -> User:
    return factories.user()


def spec(usd: str = "1.5", **terms: Any) -> PriceSpec:
    return PriceSpec(
        model="test/model", input_per_1k=Decimal(usd), output_per_1k=Decimal(2), **{"channel": "default"} | terms
    )


def draft(writer: User, price: PriceSpec | None = None, **terms: Any) -> PriceDraft:
    """A draft that makes the model's input dearer: $1 to $1.50 per 1K."""
    return drafts.create_price(
        "test/model", price or spec(**terms), title="dearer", actor=writer, reason="the vendor raised it", now=NOON
    )


def rehearsed(one: PriceDraft, by: User) -> PriceDraft:
    """The draft after a rehearsal of its present text."""
    run = rehearsal.request(one.pk, days=1, actor=by, now=NOON)
    while rehearsal.work(run.pk, now=NOON):
        pass
    return one


def proposed(writer: User, **terms: Any) -> PriceDraft:
    made = rehearsed(draft(writer, **terms), writer)
    return drafts.propose(made.pk, actor=writer, reason="ready", now=NOON)


def price_now(at: Any = NOON) -> Decimal | None:
    found = current_book(fresh=True).current("test/model", "default", at)
    return found.plan.spec.input_per_1k if found else None


def test_a_draft_changes_nothing_and_says_what_it_would_change(writer: User) -> None:
    factories.price()
    before = CatalogState.objects.get(pk=1).revision

    made = draft(writer)

    assert made.changes == ["changed  price    test/model @ default  1/2 per 1K -> 1.5/2 per 1K"]
    assert price_now() == 1
    assert PriceVersion.objects.count() == 1
    assert CatalogState.objects.get(pk=1).revision == before


def test_a_second_person_publishes_and_the_old_version_ends(writer: User, second: User) -> None:
    old = factories.price()
    made = proposed(writer)

    drafts.publish(made.pk, actor=second, reason="agreed", now=LATER)

    old.refresh_from_db()
    new = PriceVersion.objects.exclude(pk=old.pk).get()
    assert (old.input_per_1k, old.effective_to) == (1, LATER)
    assert (new.input_per_1k, new.effective_from, new.number, new.source) == (
        Decimal("1.5"), LATER, 2, f"draft:{made.pk}",
    )  # fmt: skip
    made.refresh_from_db()
    assert (made.state, made.decided_by) == (State.PUBLISHED, second)
    assert AuditRecord.objects.get(action="draft_published", actor=second).reason == "agreed"


def test_whoever_proposed_or_wrote_it_does_not_publish_it(writer: User, second: User) -> None:
    factories.price()
    made = rehearsed(draft(writer), writer)
    drafts.propose(made.pk, actor=second, reason="ready", now=NOON)

    for one in (writer, second):
        with pytest.raises(SecondPersonNeeded):
            drafts.publish(made.pk, actor=one, reason="mine", now=LATER)

    assert PriceVersion.objects.count() == 1


def test_publishing_twice_is_publishing_once(writer: User, second: User) -> None:
    factories.price()
    made = proposed(writer)

    for _ in range(2):
        drafts.publish(made.pk, actor=second, reason="agreed", now=LATER)

    assert PriceVersion.objects.count() == 2


def test_a_scheduled_draft_begins_at_its_start(writer: User, second: User) -> None:
    factories.price()
    start = NOON + timedelta(days=3)
    made = draft(writer)
    drafts.schedule(made.pk, starts_at=start, actor=writer, reason="as announced", now=NOON)
    rehearsed(made, writer)
    drafts.propose(made.pk, actor=writer, reason="ready", now=NOON)

    drafts.publish(made.pk, actor=second, reason="agreed", now=LATER)

    assert price_now(start - timedelta(microseconds=1)) == 1
    assert price_now(start) == Decimal("1.5")


def test_a_channels_factor_does_not_wait_for_a_start_and_says_so(writer: User) -> None:
    factories.price()
    body = {"channels": [{"code": "default", "discount": "0.5"}], "models": []}
    made = drafts.create(read_document(body), title="half", actor=writer, reason="a sale", now=NOON)
    drafts.schedule(made.pk, starts_at=NOON + timedelta(days=1), actor=writer, reason="tomorrow", now=NOON)
    rehearsed(made, writer)

    with pytest.raises(Conflict, match="change at once"):
        drafts.propose(made.pk, actor=writer, reason="ready", now=NOON)


@pytest.mark.parametrize("start", [NOON, NOON - timedelta(days=1), NOON + timedelta(days=401)])
def test_a_start_in_the_past_or_very_far_ahead_is_refused(writer: User, start: Any) -> None:
    factories.price()
    made = draft(writer)

    with pytest.raises(InvalidRequest):
        drafts.schedule(made.pk, starts_at=start, actor=writer, reason="oops", now=NOON)


def test_what_was_agreed_on_is_what_happens_or_nothing(writer: User, second: User) -> None:
    factories.price()
    made, other = proposed(writer), proposed(writer, usd="3")
    drafts.publish(other.pk, actor=second, reason="agreed", now=LATER)

    with pytest.raises(Conflict):
        drafts.publish(made.pk, actor=second, reason="agreed", now=LATER + timedelta(hours=1))

    assert price_now(LATER + timedelta(hours=1)) == 3


def test_a_draft_is_rehearsed_as_it_is_before_it_is_proposed(writer: User) -> None:
    factories.price()
    made = draft(writer)
    with pytest.raises(Conflict):
        drafts.propose(made.pk, actor=writer, reason="ready", now=NOON)

    rehearsed(made, writer)
    drafts.put_price(made.pk, "test/model", spec("1.6"), actor=writer, reason="better", now=NOON)
    with pytest.raises(Conflict):
        drafts.propose(made.pk, actor=writer, reason="ready", now=NOON)


def test_a_draft_that_changes_nothing_is_not_proposed(writer: User) -> None:
    factories.price()
    made = draft(writer, usd="1")

    assert made.changes == []
    with pytest.raises(Conflict):
        drafts.propose(made.pk, actor=writer, reason="ready", now=NOON)


def test_only_a_draft_is_edited_and_taking_it_back_makes_it_one_again(writer: User) -> None:
    factories.price()
    made = proposed(writer)
    with pytest.raises(Conflict):
        drafts.put_price(made.pk, "test/model", spec("9"), actor=writer, reason="sneaky", now=NOON)

    drafts.take_back(made.pk, actor=writer, reason="not yet", now=NOON)
    drafts.put_price(made.pk, "test/model", spec("9"), actor=writer, reason="better", now=NOON)

    made.refresh_from_db()
    assert (made.state, made.revision) == (State.DRAFT, 2)
    assert drafts.price_in(made, "test/model", "default").input_per_1k == 9  # type: ignore[union-attr]


def test_a_rejected_and_a_withdrawn_draft_end_there(writer: User, second: User) -> None:
    factories.price()
    rejected, withdrawn = proposed(writer), draft(writer)

    drafts.reject(rejected.pk, actor=second, reason="too dear", now=NOON)
    drafts.withdraw(withdrawn.pk, actor=writer, reason="a mistake", now=NOON)

    for one in (rejected, withdrawn):
        with pytest.raises(Conflict):
            drafts.publish(one.pk, actor=second, reason="after all", now=LATER)
    assert price_now() == 1


def test_prices_are_put_into_a_draft_and_taken_out_of_it(writer: User) -> None:
    factories.price()
    factories.price("test/other")
    made = draft(writer)

    other = PriceSpec(model="test/other", input_per_1k=Decimal(4), output_per_1k=Decimal(4))
    drafts.put_price(made.pk, "test/other", other, actor=writer, reason="both", now=NOON)
    made.refresh_from_db()
    assert (made.prices, len(made.changes)) == (2, 2)

    drafts.drop_price(made.pk, "test/model", "default", actor=writer, reason="only the other", now=NOON)
    made.refresh_from_db()
    assert [line.split()[2] for line in made.changes] == ["test/other"]


def test_a_files_draft_brings_new_models_and_begins_when_it_is_published(writer: User, second: User) -> None:
    document = read_document(
        {
            "channels": [{"code": "default"}],
            "models": [
                {
                    "slug": "new/model",
                    "kind": "image",
                    "prices": [{"type": "per_image", "effective_from": "2026-01-01T00:00:00Z", "price": "0.04"}],
                }
            ],
        },
        source="meterhall",
    )
    factories.price()
    made = rehearsed(drafts.create(document, title="images", actor=writer, reason="new vendor", now=NOON), writer)
    drafts.propose(made.pk, actor=writer, reason="ready", now=NOON)

    drafts.publish(made.pk, actor=second, reason="agreed", now=LATER)

    assert Model.objects.get(slug="new/model").kind == "image"
    assert PriceVersion.objects.get(model__slug="new/model").effective_from == LATER


def test_every_step_says_why(writer: User, second: User) -> None:
    factories.price()
    made = draft(writer)
    steps = [
        lambda: drafts.propose(made.pk, actor=writer, reason=" ", now=NOON),
        lambda: drafts.publish(made.pk, actor=second, reason="", now=NOON),
        lambda: drafts.withdraw(made.pk, actor=writer, reason="", now=NOON),
        lambda: drafts.create_price("test/model", spec(), title="x", actor=writer, reason=" ", now=NOON),
    ]
    for step in steps:
        with pytest.raises(InvalidRequest):
            step()


@pytest.mark.parametrize("now", State.values)
@pytest.mark.parametrize("wanted", State.values)
def test_a_draft_moves_only_as_its_table_says(now: str, wanted: str) -> None:
    one = PriceDraft(state=now)
    if wanted in PriceDraft.NEXT[State(now)]:
        one.move_to(wanted)
        assert one.state == wanted
    else:
        with pytest.raises(InvalidTransition):
            one.move_to(wanted)


def test_a_bad_price_is_refused_and_the_draft_stays_as_it_was(writer: User) -> None:
    factories.price()
    made = draft(writer)
    bad = PriceSpec(model="test/model", input_per_1k=Decimal(0), output_per_1k=Decimal(0))

    with pytest.raises(BillingError):
        drafts.put_price(made.pk, "test/model", bad, actor=writer, reason="oops", now=NOON)

    made.refresh_from_db()
    assert made.revision == 1
