"""The price list: every model, the reader's price, filters in the address, a model's page and the calculator."""

import csv
import io
from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest
from django.test import Client

from accounts.models import BenefitLevel
from billing.catalog import book
from billing.catalog.models import Channel, Model
from config import clock
from tests import factories
from tests.billing.pages import signed_in, text_of

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def _fresh_book():
    book.forget()
    yield
    book.forget()


def test_anyone_reads_every_price_and_what_has_none():
    factories.price("acme/chat", input_per_1k=Decimal("0.003"), output_per_1k=Decimal("0.015"), type="per_token")
    factories.price("acme/draw", kind="image", type="per_image", price=Decimal("0.04"))
    factories.price("acme/gift", type="per_token", free=True, input_per_1k=Decimal(0), output_per_1k=Decimal(0))
    Model.objects.create(slug="acme/later", name="Later", vendor="acme", coming_soon=True)
    book.forget()
    page = text_of(Client().get("/pricing"))
    for expected in (
        "$3.00",
        "$15.00",
        "$0.04",
        "free",
        "not priced yet – cannot be called",
        "coming soon",
        "4 models",
    ):
        assert expected in page
    assert "$0.003" in text_of(Client().get("/pricing?per=1k"))


def test_your_price_has_your_level_and_the_channel():
    factories.price("acme/chat")
    factories.price("acme/chat", channel="cheap")
    level = BenefitLevel.objects.create(number=9, name="Test level", threshold_usd=Decimal(9), discount=Decimal("0.95"))
    client, _user, account = signed_in()
    account.benefit_level = level
    account.save()
    page = text_of(client.get("/pricing"))
    assert "Test level" in page
    assert "$950.00" in page  # $1 per 1K = $1,000 per 1M x 0.95
    assert "$950.00" not in text_of(Client().get("/pricing"))
    assert "Yours" in text_of(client.get("/pricing/acme/chat"))


def test_search_vendor_and_kind_filter():
    factories.price("acme/chat")
    factories.price("acme/draw", kind="image", type="per_image", price=Decimal("0.04"))
    factories.price("other/chat")

    def shown(query: str) -> list[str]:
        return [line.entry.model.slug for line in Client().get(f"/pricing?{query}").context["lines"]]

    assert shown("") == ["acme/chat", "acme/draw", "other/chat"]
    assert shown("q=CHAT") == ["acme/chat", "other/chat"]
    assert shown("q=acme+draw") == ["acme/draw"]
    assert shown("vendor=other") == ["other/chat"]
    assert shown("kind=image") == ["acme/draw"]
    assert shown("vendor=none&kind=none") == ["acme/chat", "acme/draw", "other/chat"]
    assert shown("type=per_image") == ["acme/draw"]
    assert shown("discounted=1") == []
    factories.price("other/chat", channel="cheap")
    Channel.objects.filter(code="cheap").update(discount="0.8")
    book.forget()
    assert shown("discounted=1") == ["other/chat"]
    assert "No model fits" in text_of(Client().get("/pricing?q=zzz"))
    partial = Client().get("/pricing?q=chat", headers={"HX-Request": "true", "HX-Target": "price-list"})
    assert "<html" not in partial.content.decode()


def test_a_models_page_names_components_tiers_multipliers_and_history():
    now = clock.now()
    first = factories.price("acme/chat", at=now - timedelta(days=60))
    first.effective_to = now - timedelta(days=10)
    first.save()
    factories.price(
        "acme/chat",
        at=now - timedelta(days=10),
        input_per_1k=Decimal("0.003"),
        output_per_1k=Decimal("0.015"),
        components={"cache_read": {"multiple": "0.1"}, "reasoning": {"per_1k": "0.02"}},
        tiers=[{"above_input_tokens": 200_000, "input_per_1k": Decimal("0.006"), "output_per_1k": Decimal("0.03")}],
        multipliers=[("header:x-priority", "true", "1.8")],
        multiplier_cap=Decimal(2),
        type="per_token",
    )
    answer = Client().get("/pricing/acme/chat")
    page = text_of(answer)
    for expected in ("Cache read", "Reasoning", "200,000", "x-priority", "1.8", "Version 2", "in force", "$1,000.00"):
        assert expected in page
    assert [tier.above for tier in answer.context["tiers"]] == [None, 200_000]
    assert [str(one.label) for one in answer.context["tiers"][0].components] == [
        "Input",
        "Cache read",
        "Output",
        "Reasoning",
    ]


def test_unknown_and_unpriced_models():
    Model.objects.create(slug="acme/later", name="Later", vendor="acme")
    book.forget()
    assert Client().get("/pricing/no/such").status_code == 404
    assert "Not priced yet" in text_of(Client().get("/pricing/acme/later"))


def test_the_calculator_is_the_function_that_charges():
    """J02: 12,000 in and 3,000 out at 0.003 and 0.015, channel 0.80."""
    factories.price(
        "acme/chat", channel="cheap", input_per_1k=Decimal("0.003"), output_per_1k=Decimal("0.015"), type="per_token",
        components={"cache_read": {"multiple": "0.1"}},
    )  # fmt: skip
    channel = Model.objects.get().price_versions.get().channel
    channel.discount = Decimal("0.80")
    channel.save()
    book.forget()
    answer = Client().get("/pricing/acme/chat?channel=cheap&input_tokens=12,000&output_tokens=3000")
    assert answer.context["calculation"].layout.charge == Decimal("0.0648")
    partial = Client().get(
        "/pricing/acme/chat?input_tokens=12000&cache_read_tokens=20000",
        headers={"HX-Request": "true", "HX-Target": "calculation"},
    )
    assert "must include its cache" in text_of(partial)
    assert "<html" not in partial.content.decode()
    for bad in ("-1", "abc", "1e99", "NaN", "9" * 30):
        assert Client().get("/pricing/acme/chat", {"input_tokens": bad}).context["calculation"].problem


@pytest.mark.parametrize(
    ("terms", "query", "charge"),
    [
        ({"type": "per_image", "price": Decimal("0.04")}, "images=4", "0.16"),
        ({"type": "per_second", "price": Decimal("0.40")}, "seconds=8", "3.2"),
        ({"type": "per_request", "price": Decimal("0.05")}, "requests=1", "0.05"),
        ({"type": "per_megapixel", "price": Decimal("0.04")}, "width=1536&height=1024&images=1", "0.06291456"),
    ],
)
def test_the_calculator_knows_every_price_type(terms, query, charge):
    factories.price("acme/media", kind="video", multipliers=[("quality", "high", "2")], **terms)
    answer = Client().get(f"/pricing/acme/media?{query}")
    assert answer.context["calculation"].layout.charge == Decimal(charge)
    doubled = Client().get(f"/pricing/acme/media?{query}&field:quality=high")
    assert doubled.context["calculation"].layout.charge == 2 * Decimal(charge)
    assert "quality" in text_of(doubled)


def test_the_list_is_sorted_by_what_is_paid_tokens_before_units_and_unpriced_last():
    factories.price("acme/dear", type="per_token", input_per_1k=Decimal(3), output_per_1k=Decimal(1))
    factories.price("acme/cheap", type="per_token", input_per_1k=Decimal(1), output_per_1k=Decimal(9))
    factories.price("acme/draw", kind="image", type="per_image", price=Decimal("0.04"))
    Model.objects.create(slug="acme/later", name="Later", vendor="acme")
    book.forget()

    def shown(sort: str) -> list[str]:
        lines = Client().get(f"/pricing?sort={sort}").context["lines"]
        return [line.entry.model.slug.removeprefix("acme/") for line in lines]

    assert shown("input") == ["cheap", "dear", "draw", "later"]
    assert shown("-input") == ["dear", "cheap", "draw", "later"]
    assert shown("output") == ["dear", "cheap", "draw", "later"]
    assert shown("-output") == ["cheap", "dear", "draw", "later"]
    assert shown("nonsense") == shown("") == ["later", "cheap", "dear", "draw"]  # by vendor and name


def test_a_long_list_comes_a_page_at_a_time():
    Model.objects.bulk_create([Model(slug=f"acme/m{n:03}", name=f"M {n:03}", vendor="acme") for n in range(230)])
    book.forget()
    page = Client().get("/pricing")
    assert len(page.context["lines"]) == 50
    assert "50 of 230 shown" in text_of(page)
    more = Client().get("/pricing?after=200", headers={"HX-Request": "true", "HX-Target": "price-list-more"})
    assert more.context["lines"][0].entry.model.name == "M 200"
    assert len(more.context["lines"]) == 30
    assert "<html" not in more.content.decode()
    assert "price-list-more" not in more.content.decode()
    assert "From number 201 on" in text_of(Client().get("/pricing?after=200"))
    for nonsense in ("x", "-1", "9999999999", "٣"):
        assert len(Client().get("/pricing", {"after": nonsense}).context["lines"]) == 50


def test_the_drawer_holds_every_component_of_every_channel():
    factories.price(
        "acme/chat",
        components={"input_audio": {"multiple": "4"}, "reasoning": {"per_1k": "3"}},
        tiers=[{"above_input_tokens": 200_000, "input_per_1k": Decimal(2), "output_per_1k": Decimal(4)}],
        multipliers=[("header:x-priority", "true", "1.8")],
    )
    factories.price("acme/chat", channel="cheap")
    Channel.objects.filter(code="cheap").update(discount="0.8")
    book.forget()
    answer = Client().get("/pricing/acme/chat", headers={"HX-Request": "true", "HX-Target": "drawer-content"})
    page = text_of(answer)
    assert "<html" not in page
    for expected in ("Channel default", "Channel cheap", "Input audio", "$4,000.00", "Reasoning", "more than 200,000"):
        assert expected in page
    for expected in ("header:x-priority", "× 1.8", "$800.00"):
        assert expected in page


def test_the_list_can_be_downloaded_with_every_component_and_your_price():
    factories.price("acme/chat", components={"cache_read": {"multiple": "0.1"}}, tiers=[
        {"above_input_tokens": 200_000, "input_per_1k": Decimal(2), "output_per_1k": Decimal(4)}
    ])  # fmt: skip
    factories.price("acme/draw", kind="image", type="per_image", price=Decimal("0.04"))
    Model.objects.create(slug="acme/later", name="=Later", vendor="acme")
    Channel.objects.filter(code="default").update(discount="0.5")
    book.forget()
    answer = Client().get("/pricing.csv")
    later, chat, long, draw = csv.DictReader(io.StringIO(b"".join(answer.streaming_content).decode()))
    assert (chat["cache_read_list"], chat["cache_read_yours"], chat["above_input_tokens"]) == ("0.1", "0.05", "")
    assert (long["cache_read_list"], long["output_yours"], long["above_input_tokens"]) == ("0.2", "2", "200000")
    assert (draw["price_list"], draw["price_yours"], draw["input_list"], draw["unit"]) == ("0.04", "0.02", "", "image")
    assert (later["model"], later["name"], later["channel"]) == ("acme/later", "'=Later", "")
    only = Client().get("/pricing.csv?kind=image")
    assert len(b"".join(only.streaming_content).splitlines()) == 2


def calculated(query: str, target: str = "calculation") -> Any:
    return Client().get(f"/pricing/calculator?{query}", headers={"HX-Request": "true", "HX-Target": target})


def test_the_calculator_of_the_list_rates_any_model_and_compares_the_others_cheapest_first():
    factories.price("acme/chat")
    factories.price("acme/chat", channel="cheap")
    factories.price("acme/small", type="per_token", input_per_1k=Decimal("0.5"), output_per_1k=Decimal(1))
    factories.price("acme/big", type="per_token", input_per_1k=Decimal(5), output_per_1k=Decimal(9))
    factories.price("acme/draw", kind="image", type="per_image", price=Decimal("0.04"))
    book.forget()
    answer = calculated("model=acme/chat&input_tokens=1000&output_tokens=0")
    assert [(one.card.slug, one.charge, one.difference) for one in answer.context["compared"]] == [
        ("acme/small", Decimal("0.5"), Decimal("-0.5")),
        ("acme/chat", 1, 0),
        ("acme/big", 5, 4),
    ]
    page = text_of(answer)
    assert "39.6 Flows" in page
    assert "<form" not in page
    assert answer["HX-Push-Url"] == "/pricing?model=acme%2Fchat&input_tokens=1000&output_tokens=0"
    shared = text_of(Client().get(answer["HX-Push-Url"]))  # the address opens the same calculation
    assert '<details class="card mb-3" id="calculator" open>' in shared
    assert "39.6 Flows" in shared
    other = text_of(calculated("model=acme/chat&channel=cheap", "calculator"))
    assert 'value="cheap" selected' in other


def test_the_calculator_says_what_it_does_not_know():
    Model.objects.create(slug="acme/later", name="Later", vendor="acme")
    factories.price("acme/chat")
    book.forget()
    assert "There is no such model" in text_of(calculated("model=nope", "calculator"))
    assert "no price yet" in text_of(calculated("model=acme/later", "calculator"))
    assert text_of(Client().get("/pricing/models")).strip() == '<option value="acme/chat">acme/chat</option>'
    assert " open>" not in text_of(Client().get("/pricing")).split('id="calculator"')[1][:10]
