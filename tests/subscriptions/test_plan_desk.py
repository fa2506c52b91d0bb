"""The plan desk in the staff console: previewed, confirmed, published; read by every role, published by two."""

from __future__ import annotations

import re
from datetime import timedelta
from decimal import Decimal
from html import unescape

import pytest
from django.urls import reverse

from accounts.models import AuditRecord
from billing.catalog import book
from billing.catalog.models import Model
from config import clock
from subscriptions import plans
from subscriptions.models import Plan, PlanVersion
from tests.billing.pages import text_of
from tests.staff import act, action_of, at_desk, desk, page_of, person, token_of

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def _catalogue():
    plans.forget()
    slugs = {slug for row in PlanVersion.objects.all() for slug in row.model_slugs}
    Model.objects.bulk_create(Model(slug=slug, name=slug, vendor="v") for slug in sorted(slugs | {"acme/new"}))
    book.forget()
    yield
    plans.forget()
    book.forget()


def form_of(client, code="pro") -> dict[str, str]:
    """The form as it opens."""
    answer = client.get(action_of(Plan.objects.get(pk=code), "publish-version"))
    assert answer.status_code == 200
    form = answer.context["form"]
    found = {name: form[name].value() for name in form.fields}
    return {name: "on" if value is True else value for name, value in found.items() if value not in (None, False, "")}


def hidden_of(answer) -> dict[str, str]:
    """What the preview's confirmation sends."""
    body = answer.content.decode().split("<details")[0]
    return {name: unescape(value) for name, value in re.findall(r'type="hidden" name="(\w+)" value="([^"]*)"', body)}


def previewed(client, code="pro", **fields):
    path = action_of(Plan.objects.get(pk=code), "publish-version")
    return client.post(path, form_of(client, code) | {"reason": "as agreed"} | fields)


def confirmed(client, preview, code="pro"):
    return client.post(action_of(Plan.objects.get(pk=code), "publish-version"), hidden_of(preview))


def test_a_version_goes_from_the_form_over_the_preview_into_force():
    who = person("finance")
    client = at_desk(who)
    pro = PlanVersion.objects.get(plan_id="pro")
    first = pro.model_slugs[0]
    slugs = "\n".join([*pro.model_slugs[1:], "acme/new"])
    preview = previewed(client, price_usd="25.00", model_slugs=slugs, note="dearer, with one more")
    told = text_of(preview)
    assert preview.status_code == 200
    assert "Publish Pro v2?" in told
    assert "$20.00" in told
    assert "$25.00" in told
    assert f'− <code class="mh-id">{first}</code>' in told
    assert '+ <code class="mh-id">acme/new</code>' in told
    assert {"removed", "price", "idle"} <= set(re.findall(r'data-finding="(\w+)"', told))
    assert PlanVersion.objects.filter(plan_id="pro").count() == 1

    done = confirmed(client, preview)
    row = PlanVersion.objects.get(plan_id="pro", number=2)
    assert (done.status_code, done["Location"]) == (302, page_of(row))
    assert (row.price_usd, row.note, row.created_by) == (Decimal(25), "dearer, with one more", who)
    assert "acme/new" in row.model_slugs
    assert first not in row.model_slugs
    [kept] = AuditRecord.objects.filter(action="plan_version_published")
    assert (kept.actor, kept.reason) == (who, "as agreed")
    assert "is published" in text_of(client.get(page_of(row)))


def test_the_form_is_prefilled_with_the_version_in_force():
    told = form_of(desk("finance"))
    assert (str(told["price_usd"]), told["flows_5h"], told["flows_week"], told["flows_period"]) == (
        "20.00", "50", "504", "2160",
    )  # fmt: skip
    assert told["model_slugs"].split("\n") == PlanVersion.objects.get(plan_id="pro").model_slugs
    assert told["enforce_period_cap"] == "on"


def test_a_cap_that_is_off_and_a_grid_survive_the_preview():
    client = desk("admin")
    fields = form_of(client) | {"reason": "r", "anchor_policy": "grid"}
    fields.pop("enforce_period_cap")
    preview = client.post(action_of(Plan.objects.get(pk="pro"), "publish-version"), fields)
    assert confirmed(client, preview).status_code == 302
    row = PlanVersion.objects.get(plan_id="pro", number=2)
    assert (row.anchor_policy, row.enforce_period_cap) == ("grid", False)


def test_a_start_is_a_time_of_utc_whatever_the_readers_zone():
    who = person("finance", time_zone="Asia/Shanghai")
    client = at_desk(who)
    start = (clock.now() + timedelta(days=3)).replace(hour=9, minute=30, second=0, microsecond=0)
    preview = previewed(client, rpm="12", effective_from=start.strftime("%Y-%m-%dT%H:%M"))
    assert f"{start:%Y-%m-%d} 09:30 UTC" in text_of(preview)
    assert confirmed(client, preview).status_code == 302
    assert PlanVersion.objects.get(plan_id="pro", number=2).effective_from == start


@pytest.mark.parametrize(
    ("fields", "says"),
    [
        ({}, "Nothing changes"),
        ({"rpm": "12", "effective_from": "2020-01-01T00:00"}, "must not lie in the past"),
        ({"model_slugs": "no/such"}, "The catalogue does not know: no/such"),
        ({"price_usd": "0"}, "every other plan something"),
        ({"rpm": "12", "reason": ""}, "This field is required"),
        ({"flows_5h": "-1"}, "greater than or equal to 0"),
    ],
    ids=str,
)
def test_what_cannot_be_published_is_said_on_the_form(fields, says):
    answer = previewed(desk("finance"), **fields)
    assert answer.status_code == 422
    assert says in text_of(answer)
    assert PlanVersion.objects.filter(plan_id="pro").count() == 1


def test_a_confirmation_for_something_else_publishes_nothing():
    client = desk("finance")
    path = action_of(Plan.objects.get(pk="pro"), "publish-version")
    sent = hidden_of(previewed(client, rpm="12"))
    for wrong in (sent | {"rpm": "13"}, sent | {"seen": "0" * 64}):
        answer = client.post(path, wrong)
        assert answer.status_code == 422
        assert "since the preview" in text_of(answer)
        assert 'value=""' in str(answer.context["form"]["seen"])  # the next step is a preview again
    assert client.post(path, sent).status_code == 302
    assert client.post(path, sent).status_code == 422  # a second click
    assert PlanVersion.objects.filter(plan_id="pro").count() == 2


@pytest.mark.parametrize("role", ["support", "operations"])
def test_other_roles_read_and_do_not_publish(role):
    client = desk(role)
    plan = Plan.objects.get(pk="pro")
    page = text_of(client.get(page_of(plan)))
    assert "$20.00" in page
    assert "publish-version" not in page
    assert client.get(action_of(plan, "publish-version")).status_code == 403
    assert client.post(action_of(plan, "publish-version"), {"reason": "r"}).status_code == 403


def test_lists_and_pages_show_the_terms():
    client = desk("finance")
    told = text_of(client.get(reverse("admin:subscriptions_plan_changelist")))
    for text in ("Pro", "$20.00", "2,160", "$200.00", "34,560"):
        assert text in told
    told = text_of(client.get(reverse("admin:subscriptions_planversion_changelist")))
    assert told.count("in force") >= 4
    row = PlanVersion.objects.get(plan_id="pro")
    told = text_of(client.get(page_of(row)))
    assert "$54.55 · 2.73×" in told
    assert row.model_slugs[0] in told
    assert "publish-version" in text_of(client.get(page_of(row.plan)))
    assert act(client, action_of(row.plan, "publish-version"), **form_of(client)).status_code == 422
    assert token_of(client.get(action_of(row.plan, "publish-version")))
