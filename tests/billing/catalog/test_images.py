"""Images of the input count as tokens by their size, as the model's rule says (F053)."""

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from billing.catalog import book, importing
from billing.catalog.demo import IMAGES
from billing.catalog.documents import read_document
from billing.catalog.images import Image, read_images, read_rule, rule_body, with_images
from billing.catalog.models import Model
from billing.catalog.writing import document_body
from billing.errors import InvalidCatalog, InvalidPrice, InvalidUsage
from gateway import admission
from tests import factories
from tests.api import Program
from tests.factories import NOON

CLAUDE = {"kind": "area", "pixels_per_token": 750, "longest_side": 1568, "max_tokens": 1600}
GEMINI = IMAGES["google/gemini-2.5-pro"]
GPT_4O = IMAGES["openai/gpt-4o"]
NANO = {"kind": "patches", "patch": 32, "max_patches": 1536}


@pytest.mark.parametrize(
    ("rule", "width", "height", "tokens"),
    [
        # Each vendor's own examples.
        (CLAUDE, 200, 200, 54),
        (CLAUDE, 1000, 1000, 1334),
        (CLAUDE, 1092, 1092, 1590),
        (CLAUDE, 8000, 8000, 1600),
        (CLAUDE, 3136, 100, 105),  # shrunk to 1568 x 50
        (GEMINI, 384, 384, 258),
        (GEMINI, 385, 384, 258),
        (GEMINI, 768, 768, 258),
        (GEMINI, 960, 540, 516),
        (GEMINI, 1536, 1536, 1032),
        (GPT_4O, 1024, 1024, 765),
        (GPT_4O, 2048, 4096, 1105),
        (GPT_4O, 512, 512, 255),
        (IMAGES["openai/gpt-4o-mini"], 1024, 1024, 25501),
        (NANO, 1024, 1024, 1024),
        (NANO, 1800, 2400, 1452),
        (NANO, 33, 32, 2),
        (NANO | {"multiplier": "1.62"}, 1024, 1024, 1659),
        ({"kind": "fixed", "tokens": 256}, 9, 99_999, 256),
    ],
)
def test_an_image_counts_as_its_vendor_documents(rule, width, height, tokens):
    assert read_rule(rule).count(Image(width, height)) == tokens


def test_low_detail_costs_what_the_rule_says_and_nothing_else_where_it_says_nothing():
    assert read_rule(GPT_4O).count(Image(4000, 4000, low=True)) == 85
    assert read_rule(CLAUDE).count(Image(200, 200, low=True)) == 54


sides = st.integers(1, 100_000)


@given(sides, sides, st.sampled_from([CLAUDE, GEMINI, GPT_4O, NANO]))
def test_a_count_is_a_positive_whole_number_that_does_not_depend_on_how_the_image_lies(width, height, rule):
    found = read_rule(rule)

    assert found.count(Image(width, height)) == found.count(Image(height, width)) >= 1
    if rule is CLAUDE:
        assert found.count(Image(width, height)) <= 1600
    if rule is NANO:
        assert found.count(Image(width, height)) <= 1536


@pytest.mark.parametrize("rule", [CLAUDE, *IMAGES.values()])
def test_a_rule_is_written_as_it_is_read(rule):
    assert rule_body(read_rule(rule)) == rule


@pytest.mark.parametrize(
    ("rule", "field"),
    [
        ("tiles", "image_tokens"),
        ({"kind": "guess"}, "kind"),
        ({"kind": "tiles", "tile": 512}, "tile_tokens"),
        ({"kind": "tiles", "tile": 0, "tile_tokens": 1}, "tile"),
        ({"kind": "tiles", "tile": 512, "tile_tokens": 170.5}, "tile_tokens"),
        ({"kind": "area", "pixels_per_token": True}, "pixels_per_token"),
        ({"kind": "area", "pixels_per_token": 750, "tile": 5}, "tile"),
        ({"kind": "patches", "patch": 32, "multiplier": 1.5}, "multiplier"),
        ({"kind": "patches", "patch": 32, "multiplier": "0"}, "multiplier"),
        ({"kind": "patches", "patch": 32, "multiplier": "NaN"}, "multiplier"),
        ({"kind": "fixed"}, "tokens"),
        ({"kind": "fixed", "tokens": 10**9}, "tokens"),
    ],
)
def test_a_rule_that_makes_no_sense_is_refused(rule, field):
    with pytest.raises(InvalidPrice) as refusal:
        read_rule(rule)

    assert refusal.value.evidence["field"] == field


@pytest.mark.parametrize(
    ("told", "field"),
    [
        ({"width": 1}, "input_images"),
        ("images", "input_images"),
        ([{"width": 1, "height": 1}] * 101, "input_images"),
        ([5], "input_images[0]"),
        ([{"width": 1, "height": 1}, {"width": 0, "height": 1}], "input_images[1].width"),
        ([{"width": 1, "height": "1"}], "input_images[0].height"),
        ([{"width": 1.5, "height": 1}], "input_images[0].width"),
        ([{"width": True, "height": 1}], "input_images[0].width"),
        ([{"width": 100_001, "height": 1}], "input_images[0].width"),
        ([{"width": 1, "height": 1, "detail": "best"}], "input_images[0].detail"),
        ([{"width": 1, "height": 1, "url": "x"}], "input_images[0].url"),
    ],
)
def test_images_that_make_no_sense_are_refused_with_their_place(told, field):
    with pytest.raises(InvalidUsage) as refusal:
        read_images(told)

    assert refusal.value.evidence["field"] == field


def test_images_add_to_the_input_and_to_its_image_tokens():
    told = {"input_tokens": "100", "input_image_tokens": 5, "input_images": [{"width": 1024, "height": 1024}] * 2}

    found = with_images(told, read_rule(GPT_4O))

    assert found == {"input_tokens": 1630, "input_image_tokens": 1535}
    assert with_images({"input_tokens": 1}, None) == {"input_tokens": 1}
    assert with_images({"input_images": []}, None) == {}


# --- In the catalogue, in holds, in quotes --------------------------------------------------------------------------
@pytest.fixture
def version(db):
    made = factories.price(components={"input_image": {"multiple": "2"}})
    Model.objects.filter(slug="test/model").update(image_tokens=GPT_4O)
    factories.price(slug="test/blind")
    book.forget()
    return made


def test_a_hold_covers_the_images_that_the_estimate_names(version):
    priced = book.current_book(fresh=True).priced("test/model", None, NOON)
    estimate = {"input_tokens": 1000, "max_output_tokens": 0}

    _, plain = admission.hold_of(priced, estimate, {}, Decimal(1))
    with_image = estimate | {"input_images": [{"width": 1024, "height": 1024}]}
    _, seeing = admission.hold_of(priced, with_image, {}, Decimal(1))

    assert (plain, seeing) == (Decimal(1), Decimal("2.53"))  # 765 tokens at twice $1 per 1K


def test_a_model_without_a_rule_refuses_images_clearly(version):
    priced = book.current_book(fresh=True).priced("test/blind", None, NOON)

    with pytest.raises(InvalidUsage) as refusal:
        admission.hold_of(priced, {"input_images": [{"width": 1, "height": 1}]}, {}, Decimal(1))

    assert refusal.value.evidence["field"] == "input_images"


def test_a_quote_answers_the_tokens_that_it_counted(version):
    usage = {
        "input_tokens": 100,
        "input_images": [{"width": 1024, "height": 1024}, {"width": 9, "height": 9, "detail": "low"}],
    }

    answer = Program().call("POST", "quotes", {"model": "test/model", "usage": usage}).json()
    without = Program().call("POST", "quotes", {"model": "test/model", "usage": {"input_tokens": 100}}).json()
    blind = Program().call("POST", "quotes", {"model": "test/blind", "usage": usage})

    assert answer["input_images"] == [
        {"width": 1024, "height": 1024, "tokens": 765},
        {"width": 9, "height": 9, "tokens": 85},
    ]
    assert answer["charge"] == "1.8000000000"  # 100 at $1, 850 at $2 per 1K
    assert without["input_images"] == []
    assert (blind.status_code, blind.json()["code"]) == (422, "invalid_usage")


def test_canonical_usage_of_a_call_takes_no_images(version):
    account = factories.funded("5")
    answer = factories.hold(account, version, "1")

    with pytest.raises(InvalidUsage):
        factories.capture(answer.id, input_images=[])


def test_a_rule_is_imported_written_back_and_in_the_book(db):
    body = {"channels": [{"code": "default"}], "models": [{"slug": "a/b", "image_tokens": GPT_4O}, {"slug": "a/c"}]}
    document = read_document(body)

    importing.import_catalog(document, now=NOON)
    again = importing.import_catalog(read_document(document_body(document)), now=NOON)

    models = book.load_book().models
    assert models["a/b"].image_rule == read_rule(GPT_4O)
    assert models["a/c"].image_rule is None
    assert not again.written
    with pytest.raises(InvalidCatalog, match=r"models\[0\]\.image_tokens") as refusal:
        read_document({"models": [{"slug": "a/b", "image_tokens": {"kind": "tiles"}}]})
    assert "models[0].image_tokens" in refusal.value.detail


def test_the_models_page_says_the_rule_and_counts_images(version, client):
    page = client.get("/pricing/test/model").content.decode()
    counted = client.get(
        "/pricing/test/model",
        {"input_tokens": "0", "output_tokens": "0", "input_image_number": "2", "input_image_width": "1024"},
    ).content.decode()
    wrong = client.get("/pricing/test/model", {"input_image_number": "2", "input_image_width": "wide"}).content.decode()
    blind = client.get("/pricing/test/blind").content.decode()

    assert "Each tile of 512 × 512 pixels, also one begun, is 170 tokens." in page
    assert "2 images of 765 tokens, together 1,530, are added to the input." in counted
    assert "$3.06" in counted
    assert "sides are whole numbers of pixels" in wrong
    assert "Images in the input" not in blind
