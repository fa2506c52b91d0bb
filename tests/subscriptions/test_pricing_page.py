"""`/pricing/subscription`: what a visitor, a free account and a subscriber read (F060-F076, F085, C03, C07, C11)."""

from __future__ import annotations

import re
from datetime import timedelta
from decimal import Decimal

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext

from billing.catalog import book
from billing.catalog.models import CatalogState, Model
from billing.catalog.models_flows import FlowFactor, FlowRate
from config import clock
from subscriptions import plans
from subscriptions.models import FlowStanding
from tests import factories
from tests.billing.pages import signed_in, text_of
from tests.subscriptions.driving import Driver, plan_version

pytestmark = pytest.mark.django_db
PAGE = "/pricing/subscription"


@pytest.fixture(autouse=True)
def _fresh():
    plans.forget()
    book.forget()
    yield
    plans.forget()
    book.forget()


@pytest.fixture
def catalogue():
    """Six of the plans' models, priced from long ago: $1 per 1K input tokens."""
    long_ago = factories.NOON - timedelta(days=3000)
    for slug in ("deepseek/deepseek-chat", "openai/gpt-5", "openai/gpt-5-pro", "openai/gpt-image-1.5", "acme/other"):
        factories.price(slug, at=long_ago)
    Model.objects.filter(slug="openai/gpt-image-1.5").update(coming_soon=True)
    Model.objects.filter(slug="openai/gpt-5").update(description="A model that reasons.", name="GPT-5")
    changed()


def changed():
    CatalogState.objects.update(revision=CatalogState.objects.get().revision + 1)
    book.forget()


def subscriber(code: str, account=None):
    """A client of an account whose period of this plan began an hour ago."""
    client, _user, account = signed_in(account)
    now = clock.now()
    version = plans.current_plans(fresh=True).current(code, now)
    row = plans.PlanVersion.objects.get(pk=version.id)
    held = Driver(account, None, row).subscribe(row, now - timedelta(hours=1), now + timedelta(days=30))  # type: ignore[arg-type]
    return client, account, held


def links(response) -> list[str]:
    return re.findall(r'href="(/platform/subscription/[^"]+)"', response.content.decode())


# --- Figures ---------------------------------------------------------------------------------------------------------


def test_a_visitor_reads_the_published_table_and_the_live_rate():
    page = Client().get(PAGE)
    told = text_of(page)
    assert page.status_code == 200
    assert "1 Flow = $0.02525 (≈ 40 Flows = $1)" in told
    assert "exactly 39.6 Flows for $1" in told
    for name, worth, times in (("Pro", "$54.55", "2.73"), ("Max", "$327.27", "3.27"), ("Ultra", "$872.73", "4.36")):
        assert f"worth {worth}, <b>{times}×</b> its price" in told
        assert f"Get {name}" in told
    for quota in ("50.4", "216", "504", "2,160", "3,024", "12,960", "8,064", "34,560"):
        assert f"<dd>{quota}</dd>" in told
    assert "2.73 to 4.36 × its list price" in told
    assert "10–15" in told
    assert "2,520 in all; the cap of the billing period is 2,160 and leaves 144 for the fifth" in told
    assert links(page) == []
    assert told.count("/accounts/signup/?next=/pricing/subscription") == 4


def test_everything_follows_another_rate_and_its_history_is_a_chart():
    """F067: computed, not written down."""
    now = clock.now()
    for value, at in (("36", now - timedelta(days=1)), ("45", now + timedelta(days=3))):
        FlowRate.objects.create(flows_per_usd=Decimal(value), effective_from=at, created_at=now)
    changed()
    told = text_of(Client().get(PAGE))
    assert "1 Flow = $0.02778 (≈ 36 Flows = $1)" in told
    assert "worth $60.00, <b>3×</b> its price" in told
    assert "then 1 Flow = $0.02222" in told
    assert '"data": ["39.6", "36", "36", "45"]' in told


def test_without_a_rate_nothing_is_said_in_dollars(monkeypatch):
    monkeypatch.setattr(book.Book, "flow_rate", lambda *_: None)
    told = text_of(Client().get(PAGE))
    assert "No Flow rate is published" in told
    assert "worth $" not in told


def test_the_flow_classes_show_their_rates():
    """F064, F065."""
    now = clock.now()
    for name, value in (("insider", "36"), ("restricted", "79.2")):
        FlowRate.objects.create(
            flow_class=name, flows_per_usd=Decimal(value), effective_from=now - timedelta(days=1), created_at=now
        )
    changed()
    told = text_of(Client().get(PAGE))
    assert "1 Flow = $0.02778 · a Flow is worth more" in told
    assert "1 Flow = $0.01263 · a Flow is worth less" in told
    client, _user, account = signed_in()
    FlowStanding.objects.create(account=account, flow_class="insider", since=now, reason="early")
    assert "Your account is an insider" in text_of(client.get(PAGE))


# --- Buttons ---------------------------------------------------------------------------------------------------------


def test_an_account_on_the_free_plan_may_get_each_paid_one():
    client, _user, _account = signed_in()
    page = client.get(PAGE)
    assert links(page) == [f"/platform/subscription/checkout?plan={code}" for code in ("pro", "max", "ultra")]
    assert text_of(page).count("Your plan") >= 1
    assert 'aria-label="Main menu"' in text_of(page)
    assert 'class="navbar navbar-vertical' in text_of(page)


def test_a_subscriber_may_upgrade_and_downgrade():
    client, _account, _held = subscriber("max")
    told = text_of(client.get(PAGE))
    found = re.findall(r'href="(/platform/subscription/ch[^"]+)">([^<]+)<', told)
    assert found == [
        ("/platform/subscription/change?plan=free", "Downgrade to Free"),
        ("/platform/subscription/change?plan=pro", "Downgrade to Pro"),
        ("/platform/subscription/change?plan=ultra", "Upgrade to Ultra"),
    ]


def test_a_plan_that_is_chosen_for_the_next_period_says_so():
    client, _account, held = subscriber("max")
    held.next_version = plans.PlanVersion.objects.filter(plan_id="pro").first()
    held.save()
    told = text_of(client.get(PAGE))
    assert "Already chosen" in told
    assert "change?plan=pro" not in told


def test_an_earlier_version_is_kept_and_the_page_says_so():
    client, _account, _held = subscriber("pro")
    plan_version("pro", price_usd=Decimal(30), effective_from=clock.now() - timedelta(minutes=1))
    told = text_of(client.get(PAGE))
    assert "$30.00" in told
    assert "You keep version 1 of this plan at $20.00 a month until you change your plan." in told


def test_a_member_who_may_not_pay_has_no_links():
    _client, account, _held = subscriber("pro")
    developer, _user, _account = signed_in(account, role="developer")
    page = developer.get(PAGE)
    assert [link for link in links(page) if "/ch" in link] == []
    assert "Only an owner, an administrator or a finance member" in text_of(page)


def test_the_page_needs_few_queries(catalogue):
    client, _account, _held = subscriber("pro")
    client.get(PAGE)
    with CaptureQueriesContext(connection) as asked:
        assert client.get(PAGE).status_code == 200
    assert len(asked) <= 12, [one["sql"][:120] for one in asked]


# --- Models ----------------------------------------------------------------------------------------------------------


def test_models_are_counted_from_the_catalogue_and_grouped_by_vendor(catalogue):
    told = text_of(Client().get(PAGE))
    assert "Free <b>1</b> · Pro <b>2</b> · Max <b>3</b> · Ultra <b>3</b>" in told
    assert "1 model more than Free" not in told  # few enough to be named
    assert "GPT-5" in told
    assert "A model that reasons." in told
    assert "1 model coming soon" in told
    assert "acme/other" not in told.split('id="plan-models"')[1]


@pytest.mark.parametrize(
    ("asked", "there", "absent"),
    [
        ("q=gpt-5-pro", ["openai/gpt-5-pro"], ["deepseek/deepseek-chat"]),
        ("of=free", ["deepseek/deepseek-chat"], ["openai/gpt-5"]),
        ("of=pro", ["openai/gpt-image-1.5"], ["openai/gpt-5-pro"]),
        ("of=nonsense&kind=nonsense", ["openai/gpt-5-pro", "deepseek/deepseek-chat"], []),
        ("q=nothing-like-it", ["No model fits"], ["openai/"]),
        ("kind=chat&q=DEEPSEEK", ["deepseek/deepseek-chat"], ["openai/"]),
    ],
)
def test_models_can_be_searched_with_and_without_script(catalogue, asked, there, absent):
    whole = text_of(Client().get(f"{PAGE}?{asked}"))
    part = Client().get(f"{PAGE}?{asked}", headers={"HX-Request": "true", "HX-Target": "plan-models-found"})
    assert "<html" not in text_of(part)
    assert part["HX-Push-Url"].startswith(PAGE)
    for told in (whole.split('id="plan-models-found"')[1].split("</section>")[0], text_of(part)):
        assert all(text in told for text in there)
        assert not [text for text in absent if text in told]


# --- The calculator --------------------------------------------------------------------------------------------------


def test_the_calculator_counts_as_calls_are_counted(catalogue):
    """J14's figures: $0.06 x 39.6 = 2.376 Flows; 21 fit into 50."""
    told = text_of(Client().get(f"{PAGE}?model=openai/gpt-5&input_tokens=60&output_tokens=0"))
    part = told.split('id="plan-calculation"')[1].split("</table>")[0]
    assert "not in this plan" in part
    assert "2.376" in part
    assert [int(n.replace(",", "")) for n in re.findall(r'data-label="Calls in 5 hours">([\d,]+)<', part)] == [
        21,
        126,
        336,
    ]
    assert '">909<' in part  # 2160 / 2.376


def test_a_factor_of_a_plan_counts_there_alone(catalogue):
    FlowFactor.objects.create(
        plan="max", model=Model.objects.get(slug="openai/gpt-5"), factor=Decimal(2),
        effective_from=clock.now() - timedelta(days=1), created_at=clock.now(),
    )  # fmt: skip
    changed()
    answer = Client().get(
        f"{PAGE}?model=openai/gpt-5&input_tokens=60&output_tokens=0",
        headers={"HX-Request": "true", "HX-Target": "plan-calculation"},
    )
    told = text_of(answer)
    assert "<html" not in told
    assert "2.376" in told
    assert "4.752" in told


@pytest.mark.parametrize(
    ("asked", "says"),
    [
        ("model=no/such", "There is no such model"),
        ("model=openai/gpt-5&input_tokens=many", "Input tokens"),
        ("model=openai/gpt-5&input_tokens=-1", "Input tokens"),
        ("model=openai/gpt-5&input_tokens=100000", "one call is larger than a whole five-hour window"),
        ("model=acme/other", "not in this plan"),
        ("model=" + "x" * 500, "There is no such model"),
        ("model=%00&q=%00&of=%00", "There is no such model"),
    ],
)
def test_the_calculator_says_what_it_cannot_count(catalogue, asked, says):
    answer = Client().get(f"{PAGE}?{asked}")
    assert answer.status_code == 200
    assert says in text_of(answer)


def test_without_any_priced_model_the_calculator_says_so():
    assert "No model of these plans has a price yet." in text_of(Client().get(PAGE))


def test_the_page_reads_in_chinese(client):
    answer = client.get(PAGE, headers={"Accept-Language": "zh-hans"})
    assert answer.status_code == 200
    assert '<html lang="zh-hans"' in answer.content.decode()
