"""Publishing a plan's next version (F066-F068, C07): checked, compared, numbered, kept."""

from __future__ import annotations

import dataclasses
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest
from django.db import DatabaseError, connection, transaction

from accounts.models import AuditRecord
from billing.catalog import book
from billing.catalog.models import Model
from billing.errors import BillingError, Conflict, InvalidRequest, NotFound
from subscriptions import plans, publishing
from subscriptions.models import PlanVersion
from tests import factories
from tests.subscriptions.driving import NOON, driver, plan_version

pytestmark = pytest.mark.django_db
DAY = timedelta(days=1)


@pytest.fixture(autouse=True)
def _catalogue():
    """Every model of the plans, without prices."""
    plans.forget()
    slugs = {slug for row in PlanVersion.objects.all() for slug in row.model_slugs}
    Model.objects.bulk_create(Model(slug=slug, name=slug, vendor="v") for slug in sorted(slugs | {"acme/new"}))
    book.forget()
    yield
    plans.forget()
    book.forget()


def present(code: str = "pro") -> publishing.Terms:
    return publishing.terms_of(PlanVersion.objects.get(plan_id=code, number=1))


def changed(code: str = "pro", **more) -> publishing.Terms:
    return dataclasses.replace(present(code), **more)


def publish(terms: publishing.Terms, code: str = "pro", *, now: datetime = NOON, reason: str = "agreed") -> PlanVersion:
    seen = publishing.preview(code, terms, now=now).seen
    return publishing.publish(code, terms, actor=factories.user(), reason=reason, seen=seen, now=now)


def codes(terms: publishing.Terms, code: str = "pro", now: datetime = NOON) -> set[str]:
    return {one.code for one in publishing.preview(code, terms, now=now).findings}


def test_the_next_version_is_in_force_from_the_moment_of_publishing():
    row = publish(changed(price_usd=Decimal(25), note="dearer"))
    assert (row.number, row.effective_from, row.price_usd, row.note) == (2, NOON, Decimal(25), "dearer")
    there = plans.current_plans(fresh=True)
    assert there.current("pro", NOON).number == 2
    assert there.current("pro", NOON - DAY).number == 1


def test_a_version_may_wait_for_its_start_and_numbers_go_on():
    publish(changed(rpm=12, effective_from=NOON + DAY))
    publish(changed(rpm=11), now=NOON + timedelta(hours=1))
    there = plans.current_plans(fresh=True)
    assert [there.current("pro", NOON + hours * timedelta(hours=1)).rpm for hours in (0, 1, 23, 24)] == [10, 11, 11, 12]
    assert [there.current("pro", NOON + hours * timedelta(hours=1)).number for hours in (1, 24)] == [3, 2]


def test_it_is_in_the_audit_with_the_difference_and_the_reason():
    terms = changed(price_usd=Decimal(25), model_slugs=(*present().model_slugs[1:], "acme/new"))
    row = publish(terms, reason="  as agreed ")
    [kept] = AuditRecord.objects.filter(action="plan_version_published")
    assert (kept.subject_id, kept.reason, kept.at) == (str(row.pk), "as agreed", NOON)
    assert kept.before == {"price_usd": "20", "models_removed": [present().model_slugs[0]]}
    assert kept.after["price_usd"] == "25"
    assert kept.after["models_added"] == ["acme/new"]
    assert (kept.after["plan"], kept.after["number"]) == ("pro", 2)


def test_the_preview_shows_what_comes_and_what_goes_and_changes_nothing():
    terms = changed(flows_5h=Decimal(60), model_slugs=(*present().model_slugs[2:], "acme/new"))
    found = publishing.preview("pro", terms, now=NOON)
    assert [(one.field, one.before, one.after) for one in found.changes] == [("flows_5h", Decimal(50), Decimal(60))]
    assert (found.added, found.removed) == (["acme/new"], list(present().model_slugs[:2]))
    assert PlanVersion.objects.filter(plan_id="pro").count() == 1


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"price_usd": Decimal("-1")}, "price_usd"),
        ({"price_usd": Decimal("20.001")}, "price_usd"),
        ({"price_usd": Decimal("NaN")}, "price_usd"),
        ({"price_usd": Decimal(0)}, "price_usd"),
        ({"flows_5h": Decimal(0)}, "flows_5h"),
        ({"flows_week": Decimal("0.0000001")}, "flows_week"),
        ({"flows_period": Decimal("Infinity")}, "flows_period"),
        ({"flows_period": Decimal(10**15)}, "flows_period"),
        ({"rpm": 0}, "rpm"),
        ({"rpm": 10**7}, "rpm"),
        ({"anchor_policy": "sometimes"}, "anchor_policy"),
        ({"model_slugs": ()}, "model_slugs"),
        ({"model_slugs": ("no/such",)}, "model_slugs"),
        ({"effective_from": NOON - timedelta(microseconds=1)}, "effective_from"),
        ({"effective_from": NOON + timedelta(days=401)}, "effective_from"),
        ({"note": "n" * 201}, "note"),
    ],
    ids=str,
)
def test_terms_that_make_no_sense_are_refused_by_field(change, field):
    with pytest.raises(InvalidRequest) as refused:
        publishing.preview("pro", changed(**({"rpm": 11} | change)), now=NOON)
    assert refused.value.evidence["field"] == field


def test_what_the_catalogue_does_not_know_is_named():
    with pytest.raises(InvalidRequest, match="does not know: no/other, no/such"):
        publishing.preview("pro", changed(model_slugs=("no/such", "acme/new", "no/other")), now=NOON)


def test_the_free_plan_costs_nothing():
    with pytest.raises(InvalidRequest, match="Free plan costs nothing"):
        publishing.preview("free", changed("free", price_usd=Decimal(1)), now=NOON)


def test_there_is_no_such_plan():
    with pytest.raises(NotFound):
        publishing.preview("team", present(), now=NOON)


def test_a_version_that_changes_nothing_is_refused():
    with pytest.raises(Conflict, match="Nothing changes"):
        publishing.preview("pro", present(), now=NOON)
    slugs = tuple(reversed(present().model_slugs))
    with pytest.raises(Conflict, match="Nothing changes"):
        publishing.preview("pro", changed(model_slugs=slugs + slugs), now=NOON)


def test_two_versions_never_begin_together():
    publish(changed(rpm=11, effective_from=NOON + DAY))
    with pytest.raises(Conflict, match="begins at that moment"):
        publish(changed(rpm=12, effective_from=NOON + DAY))
    publish(changed(rpm=12, effective_from=NOON + DAY), "max")  # another plan may


def test_only_what_was_previewed_is_published():
    first, second = changed(rpm=11), changed(rpm=12)
    seen = publishing.preview("pro", first, now=NOON).seen
    with pytest.raises(Conflict, match="since the preview"):
        publishing.publish("pro", second, actor=factories.user(), reason="r", seen=seen, now=NOON)
    publish(second, now=NOON)
    with pytest.raises(Conflict, match="since the preview"):
        publishing.publish("pro", first, actor=factories.user(), reason="r", seen=seen, now=NOON + DAY)
    assert PlanVersion.objects.filter(plan_id="pro").count() == 2


def test_sent_twice_it_is_published_once():
    terms = changed(rpm=11)
    seen = publishing.preview("pro", terms, now=NOON).seen
    publishing.publish("pro", terms, actor=factories.user(), reason="r", seen=seen, now=NOON)
    with pytest.raises(Conflict):
        publishing.publish("pro", terms, actor=factories.user(), reason="r", seen=seen, now=NOON + DAY)


def test_a_reason_is_needed():
    with pytest.raises(InvalidRequest, match="why"):
        publish(changed(rpm=11), reason="  ")


def test_a_version_is_never_changed_or_removed():
    row = publish(changed(rpm=11))
    for change in (lambda: PlanVersion.objects.filter(pk=row.pk).update(rpm=99), row.delete):
        with pytest.raises(DatabaseError, match="append-only"), transaction.atomic():
            change()


def test_c07_the_relations_of_the_quotas_are_watched_and_not_enforced():
    assert codes(changed(rpm=11)) & {"week", "period", "order"} == set()
    assert codes(changed(flows_5h=Decimal(60))) & {"week", "period"} == {"week"}
    assert codes(changed(flows_5h=Decimal(60), flows_week=Decimal("604.8"))) & {"week", "period"} == {"period"}
    whole = changed(flows_5h=Decimal(60), flows_week=Decimal("604.8"), flows_period=Decimal(2592))
    assert codes(whole) & {"week", "period", "order"} == set()
    assert "order" in codes(changed(flows_5h=Decimal(600)))
    assert "cap_off" in codes(changed(enforce_period_cap=False))


def test_a_model_that_goes_a_price_that_changes_and_a_plan_out_of_order_are_pointed_out():
    assert "removed" in codes(changed(model_slugs=present().model_slugs[1:]))
    assert "idle" in codes(changed(model_slugs=(*present().model_slugs, "acme/new")))
    assert "price" in codes(changed(price_usd=Decimal(25)))
    assert "neighbour" in codes(changed(price_usd=Decimal(150)))
    assert "neighbour" in codes(changed("max", flows_period=Decimal(2000)), "max")
    assert "free" in codes(changed("free", rpm=9), "free")
    publish(changed(rpm=11, effective_from=NOON + DAY))
    assert "later" in codes(changed(rpm=12))


@pytest.mark.django_db(transaction=True)
def test_subscribers_keep_what_they_subscribed_to_and_free_accounts_do_not():
    old = plan_version("pro")
    subscribed, free = driver(old), driver()
    terms = dataclasses.replace(publishing.terms_of(old), rpm=11, flows_5h=Decimal(7))
    Model.objects.get_or_create(slug="test/model", defaults={"name": "m", "vendor": "v"})
    assert "kept" in codes(terms)
    publish(terms)
    assert subscribed.use("50", NOON).outcome == "created"
    was = publishing.terms_of(free.plan)
    publish(dataclasses.replace(was, flows_5h=Decimal(4)), "free")
    free.plan = PlanVersion.objects.filter(plan_id="free").latest("pk")
    assert free.use("4", NOON + timedelta(hours=1)).outcome == "created"
    assert free.ask("1", NOON + timedelta(hours=1)).outcome == "exhausted"


@pytest.mark.django_db(transaction=True)
def test_two_people_at_once_publish_one_version():
    terms = [changed(rpm=rpm, effective_from=datetime(2026, 12, 1, tzinfo=UTC)) for rpm in (11, 12)]
    seen = [publishing.preview("pro", one, now=NOON).seen for one in terms]
    actor = factories.user()

    def go(number: int) -> str:
        try:
            publishing.publish("pro", terms[number], actor=actor, reason="r", seen=seen[number], now=NOON)
        except BillingError as refused:
            return refused.code
        finally:
            connection.close()
        return "published"

    with ThreadPoolExecutor(2) as pool:
        assert sorted(pool.map(go, (0, 1))) == ["conflict", "published"]
    assert PlanVersion.objects.filter(plan_id="pro", effective_from__gt=NOON).count() == 1
