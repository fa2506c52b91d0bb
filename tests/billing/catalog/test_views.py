"""The price list: every model, the reader's price, filters in the address, a model's page and the calculator."""

from datetime import timedelta
from decimal import Decimal

import pytest
from django.test import Client

from accounts.models import BenefitLevel
from billing.catalog import book
from billing.catalog.models import Model
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
