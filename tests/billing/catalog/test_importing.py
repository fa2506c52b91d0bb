"""import_catalog: a diff, new versions, one transaction, and old versions that never change (02-domain 2.4)."""

import io
import json
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from django.core.management import CommandError, call_command
from django.db import DatabaseError, transaction

from accounts.models import AuditRecord
from billing.catalog import importing
from billing.catalog.book import current_book, load_book, spec_of
from billing.catalog.documents import read_document, read_json
from billing.catalog.models import CatalogState, Channel, Model, PriceVersion
from billing.catalog.rating import rate
from billing.catalog.usage import Usage
from billing.catalog.writing import document_body
from billing.errors import InvalidCatalog, ModelUnpriced, UnknownChannel, UnknownModel

pytestmark = pytest.mark.django_db

NOON = datetime(2026, 5, 1, 12, tzinfo=UTC)
DEMO = Path(importing.__file__).resolve().parents[1] / "data" / "demo_catalog.json"
D = Decimal


def catalogue(*prices: dict[str, Any], slug: str = "openai/gpt-5", **model: Any) -> dict[str, Any]:
    return {
        "channels": [{"code": "default", "discount": "1"}, {"code": "aws-us", "discount": "0.82"}],
        "models": [{"slug": slug, "prices": list(prices), **model}],
    }


def token_price(price_in: str = "0.00125", price_out: str = "0.01", **more: Any) -> dict[str, Any]:
    return {
        "channel": "default",
        "type": "per_token",
        "effective_from": "2026-01-01T00:00:00Z",
        "input_per_1k": price_in,
        "output_per_1k": price_out,
        **more,
    }


def bring(body: dict[str, Any], *, now: datetime = NOON, dry_run: bool = False) -> importing.Diff:
    return importing.import_catalog(read_document(body, source="test"), now=now, dry_run=dry_run)


def changes(diff: importing.Diff, what: str = "price") -> list[tuple[str, str]]:
    return [(change.kind, change.key) for change in diff.changes if change.what == what]


def test_the_designs_example_is_priced_as_written() -> None:
    body = catalogue(
        token_price(
            multiples={"cache_read": "0.1"},
            component_per_1k={"reasoning": "0.012"},
            tiers=[{"above_input_tokens": 200000, "input_per_1k": "0.0025", "output_per_1k": "0.015"}],
            field_multipliers=[{"field": "header:x-priority", "equals": "true", "multiplier": "1.8"}],
        ),
        name="GPT-5",
        vendor="openai",
        kind="chat",
    )
    diff = bring(body)
    assert changes(diff) == [("new", "openai/gpt-5 @ default")]
    priced = load_book().priced("openai/gpt-5", None, NOON)
    sheet = rate(
        priced.plan,
        Usage(input_tokens=300_000, cache_read_tokens=100_000, output_tokens=2000, reasoning_tokens=1000),
        fields={"header:x-priority": "true"},
    )
    assert sheet.charge == (200 * D("0.0025") + 100 * D("0.00025") + D("0.015") + D("0.012")) * D("1.8")
    assert sheet.version == PriceVersion.objects.get().pk


def test_the_same_file_again_changes_nothing() -> None:
    bring(catalogue(token_price()))
    revision = CatalogState.objects.get().revision
    diff = bring(catalogue(token_price()), now=NOON + timedelta(days=1))
    assert diff.changes == []
    assert CatalogState.objects.get().revision == revision
    assert PriceVersion.objects.count() == 1


def test_a_changed_price_follows_the_old_one_and_calls_of_the_past_keep_theirs() -> None:
    bring(catalogue(token_price()))
    later = NOON + timedelta(days=30)
    diff = bring(catalogue(token_price("0.002")), now=later)
    assert changes(diff) == [("changed", "openai/gpt-5 @ default")]
    assert "0.00125/0.01 per 1K -> 0.002/0.01 per 1K" in str(diff.changes[-1])
    old, new = PriceVersion.objects.order_by("number")
    assert (old.effective_from, old.effective_to) == (datetime(2026, 1, 1, tzinfo=UTC), later)
    assert (new.number, new.effective_from, new.effective_to) == (2, later, None)
    book = load_book()
    before = book.current("openai/gpt-5", "default", later - timedelta(microseconds=1))
    after = book.current("openai/gpt-5", "default", later)
    assert (before and before.number, after and after.number) == (1, 2)
    assert book.plan_of(old.pk).spec.input_per_1k == D("0.00125")
    assert book.current("openai/gpt-5", "default", datetime(2025, 12, 31, tzinfo=UTC)) is None


def test_two_changes_in_one_instant_still_follow_each_other() -> None:
    for price in ("0.001", "0.002", "0.003"):
        bring(catalogue(token_price(price, effective_from=NOON.isoformat())))
    current = load_book().priced("openai/gpt-5", None, NOON + timedelta(seconds=1)).price
    assert (current.number, current.plan.spec.input_per_1k) == (3, D("0.003"))


def test_a_history_and_a_scheduled_price_come_in_together() -> None:
    body = catalogue(
        token_price("0.003", effective_from="2027-01-01T00:00:00Z"),
        token_price("0.001", effective_from="2025-01-01T00:00:00Z"),
        token_price("0.002", effective_from="2026-01-01T00:00:00+08:00"),
    )
    bring(body)
    book = load_book()
    days = ("2025-06-01", "2025-12-31T16:00:00", "2026-06-01", "2027-01-01")
    moments = [datetime.fromisoformat(day).replace(tzinfo=UTC) for day in days]
    prices = [book.current("openai/gpt-5", "default", moment) for moment in moments]
    assert [price.plan.spec.input_per_1k for price in prices if price] == [
        D("0.001"),
        D("0.002"),
        D("0.002"),
        D("0.003"),
    ]
    assert bring(body, now=NOON + timedelta(days=9)).changes == []


def test_a_price_before_a_scheduled_one_ends_where_that_begins() -> None:
    bring(catalogue(token_price(), token_price("0.005", effective_from="2026-12-01T00:00:00Z")))
    bring(catalogue(token_price("0.002"), token_price("0.005", effective_from="2026-12-01T00:00:00Z")))
    history = load_book().history("openai/gpt-5", "default")
    assert [(price.plan.spec.input_per_1k, price.effective_to) for price in history] == [
        (D("0.005"), None),
        (D("0.002"), datetime(2026, 12, 1, tzinfo=UTC)),
        (D("0.00125"), NOON),
    ]


def test_what_is_not_in_the_file_is_named_and_stays() -> None:
    bring(catalogue(token_price()))
    diff = bring(catalogue(token_price(), slug="openai/gpt-6"))
    assert changes(diff) == [("new", "openai/gpt-6 @ default"), ("gone", "openai/gpt-5 @ default")]
    assert load_book().priced("openai/gpt-5", None, NOON)


def test_a_dry_run_tells_all_and_writes_nothing() -> None:
    diff = bring(catalogue(token_price()), dry_run=True)
    assert changes(diff) == [("new", "openai/gpt-5 @ default")]
    assert not PriceVersion.objects.exists()
    assert not Model.objects.filter(slug="openai/gpt-5").exists()
    assert not AuditRecord.objects.filter(action="catalog_imported").exists()


def test_a_model_without_a_price_is_refused_and_never_free() -> None:
    bring(catalogue(slug="baidu/ernie-x"))
    book = load_book()
    with pytest.raises(ModelUnpriced):
        book.priced("baidu/ernie-x", None, NOON)
    with pytest.raises(UnknownModel):
        book.priced("baidu/ernie-y", None, NOON)
    with pytest.raises(UnknownChannel):
        book.priced("baidu/ernie-x", "moon", NOON)


def test_the_import_leaves_an_audit_record() -> None:
    bring(catalogue(token_price()))
    record = AuditRecord.objects.get(action="catalog_imported")
    assert any("openai/gpt-5 @ default" in change for change in record.after["changes"])


def test_the_database_refuses_to_edit_or_overlap_a_version() -> None:
    bring(catalogue(token_price()))
    version = PriceVersion.objects.get()
    with pytest.raises(DatabaseError), transaction.atomic():
        PriceVersion.objects.filter(pk=version.pk).update(input_per_1k=D(9))
    version.pk, version.number, version.effective_from = None, 2, NOON
    with pytest.raises(DatabaseError), transaction.atomic():
        version.save(force_insert=True)


def test_a_row_reads_back_as_the_price_that_was_imported() -> None:
    body = catalogue(
        token_price(
            multiples={"cache_read": "0.1", "cache_write_1h": "2"},
            component_per_1k={"output_audio": "0.08"},
            tiers=[
                {
                    "above_input_tokens": 128000,
                    "input_per_1k": "0.002",
                    "output_per_1k": "0.02",
                    "component_per_1k": {"output_audio": "0.16"},
                }
            ],
            field_multipliers=[{"field": "service_tier", "equals": "flex", "multiplier": "0.5"}],
            multiplier_cap="3",
            additive=True,
        )
    )
    document = read_document(body)
    bring(body)
    assert importing.same_price(spec_of(PriceVersion.objects.get()), document.models[0].prices[0].spec)


@pytest.mark.parametrize(
    ("text", "place"),
    [
        ("", "line 1, column 1"),
        ("{", "line 1, column 2"),
        (b"\xff", "file"),
        ("[]", "file"),
        ('{"models": [], "models": []}', "models"),
        ('{"model": []}', "file"),
        ('{"models": {}}', "models"),
        ('{"models": [7]}', "models[0]"),
        ('{"models": [{}]}', "models[0].slug"),
        ('{"models": [{"slug": "a b"}]}', "models[0].slug"),
        ('{"models": [{"slug": "a"}, {"slug": "a"}]}', "models"),
        ('{"models": [{"slug": "a", "kind": "toaster"}]}', "models[0].kind"),
        ('{"models": [{"slug": "a", "context_window": -1}]}', "models[0].context_window"),
        ('{"channels": [{"code": "c", "discount": "0"}]}', "channels[0].discount"),
        ('{"channels": [{"code": "c", "discount": "1.6"}]}', "channels[0].discount"),
        ('{"channels": [{"code": "c", "discount": NaN}]}', "NaN"),
    ],
)
def test_a_bad_file_is_refused_and_the_place_named(text: str | bytes, place: str) -> None:
    with pytest.raises(InvalidCatalog) as refusal:
        read_json(text)
    assert str(refusal.value).startswith(f"{place}: ")


@pytest.mark.parametrize(
    ("price", "place"),
    [
        (token_price("x"), "models[0].prices[0].input_per_1k"),
        (token_price("-1"), "models[0].prices[0].input_per_1k"),
        (token_price(0.5), "models[0].prices[0].input_per_1k"),  # type: ignore[arg-type]
        (token_price("0.000000000000001"), "models[0].prices[0].input_per_1k"),
        (token_price("0", "0"), "models[0].prices[0]"),
        (token_price(effective_from="soon"), "models[0].prices[0].effective_from"),
        (token_price(effective_from="2026-01-01T00:00:00"), "models[0].prices[0].effective_from"),
        (token_price(price="1"), "models[0].prices[0]"),
        (token_price(multiples={"smell": "2"}), "models[0].prices[0]"),
        (token_price(tiers=[{"above_input_tokens": 5}]), "models[0].prices[0].tiers[0].input_per_1k"),
        (token_price(typo=1), "models[0].prices[0]"),
        ({"type": "per_image", "effective_from": "2026-01-01T00:00:00Z"}, "models[0].prices[0]"),
    ],
)
def test_a_bad_price_is_refused_and_nothing_is_written(price: dict[str, Any], place: str) -> None:
    body = catalogue(price)
    body["models"].insert(0, {"slug": "good/model", "prices": [token_price()]})
    place = place.replace("models[0]", "models[1]")
    with pytest.raises(InvalidCatalog) as refusal:
        bring(body)
    assert str(refusal.value).startswith(f"{place}: ")
    assert not Model.objects.filter(slug="good/model").exists()


def test_an_unknown_channel_rolls_everything_back() -> None:
    with pytest.raises(InvalidCatalog, match=r"models\[0\]\.prices\[0\]\.channel"):
        bring(catalogue(token_price(channel="moon")))
    assert not Model.objects.filter(slug="openai/gpt-5").exists()


# --- the command -----------------------------------------------------------------------------------------------------


def run(*args: str) -> str:
    out = io.StringIO()
    call_command("import_catalog", *args, stdout=out)
    return out.getvalue()


def test_the_command_prints_the_diff(tmp_path: Path) -> None:
    path = tmp_path / "catalogue.json"
    path.write_text(json.dumps(catalogue(token_price())))
    assert "dry run, nothing was written" in run(str(path), "--dry-run")
    assert "new      price    openai/gpt-5 @ default  0.00125/0.01 per 1K" in run(str(path))
    assert "0 new, 0 changed, 0 gone" in run(str(path))


def test_the_command_fails_clearly(tmp_path: Path) -> None:
    with pytest.raises(CommandError, match="No such file"):
        run(str(tmp_path / "nowhere.json"))
    path = tmp_path / "bad.json"
    path.write_text('{"models": [{"slug": "a b"}]}')
    with pytest.raises(CommandError, match=r"models\[0\]\.slug: .*nothing was written"):
        run(str(path))
    with pytest.raises(CommandError, match="needs a file"):
        run("-")


def test_genai_prices_come_in_under_our_own_slugs() -> None:
    bring(catalogue(slug="anthropic/claude-opus-4.6", name="Opus", max_output_tokens=7))
    out = run("--format", "genai-prices")
    assert "anthropic/claude-opus-4.6 @ default  0.005/0.025 per 1K" in out
    assert "anthropic/claude-opus-4-6 @" not in out  # not twice
    model = Model.objects.get(slug="anthropic/claude-opus-4.6")
    assert (model.name, model.max_output_tokens) == ("Opus", 7)
    assert Model.objects.filter(slug="openai/gpt-4o").exists()
    assert "0 new, 0 changed" in run("--format", "genai-prices")


def test_the_demo_catalogue_is_current_and_prices_most_models() -> None:
    call_command("build_demo_catalog", "--check", stdout=io.StringIO())
    run(str(DEMO))
    body = json.loads(DEMO.read_text())
    assert len(body["models"]) == 96
    book = load_book()
    now = datetime(2026, 2, 1, tzinfo=UTC)
    assert sum(book.current(model["slug"], "default", now) is not None for model in body["models"]) >= 70
    assert book.priced("anthropic/claude-opus-4.6", "aws-us", now).channel.discount == D("0.82")
    with pytest.raises(ModelUnpriced):
        book.priced("tencent/hunyuan-image3", None, now)


# --- the book --------------------------------------------------------------------------------------------------------


def test_the_book_is_read_again_only_when_the_catalogue_changed(django_assert_num_queries: Any) -> None:
    bring(catalogue(token_price()))
    book = current_book(fresh=True)
    with django_assert_num_queries(0):
        assert current_book() is book
    with django_assert_num_queries(1):
        assert current_book(fresh=True) is book
    bring(catalogue(token_price("0.002")))
    again = current_book(fresh=True)
    assert again is not book
    assert len(again.history("openai/gpt-5", "default")) == 2


def test_a_rolled_back_import_does_not_stay_in_memory() -> None:
    bring(catalogue(token_price()))
    with transaction.atomic():
        bring(catalogue(token_price("0.002")))
        assert len(current_book(fresh=True).history("openai/gpt-5", "default")) == 2
        transaction.set_rollback(True)
    assert len(current_book(fresh=True).history("openai/gpt-5", "default")) == 1


def test_a_bad_row_refuses_its_own_calls_and_nobody_elses(caplog: pytest.LogCaptureFixture) -> None:
    bring(catalogue(token_price()))
    model = Model.objects.create(slug="bad/price", name="Bad", vendor="bad")
    PriceVersion.objects.create(
        model=model,
        channel=Channel.objects.get(code="default"),
        number=1,
        type="per_request",
        price=0,  # zero without `free`
        effective_from=NOON,
        created_at=NOON,
    )
    book = load_book()
    with pytest.raises(ModelUnpriced):
        book.priced("bad/price", None, NOON)
    assert book.priced("openai/gpt-5", None, NOON)
    assert "cannot be used" in caplog.text


# --- LiteLLM's file --------------------------------------------------------------------------------------------------

LITELLM = {
    "sample_spec": {"input_cost_per_token": 0.0, "mode": "one of: chat"},
    "gpt-5": {
        "litellm_provider": "openai",
        "mode": "chat",
        "max_input_tokens": 272000,
        "max_output_tokens": 128000,
        "input_cost_per_token": 1.25e-06,
        "output_cost_per_token": 1e-05,
        "cache_read_input_token_cost": 1.25e-07,
        "input_cost_per_token_flex": 6.25e-07,
        "output_cost_per_token_flex": 5e-06,
        "cache_read_input_token_cost_flex": 6.25e-08,
        "input_cost_per_token_priority": 2.5e-06,
        "search_context_cost_per_query": {"search_context_size_low": 0.01},
    },
    "claude-sonnet-4-5": {
        "litellm_provider": "anthropic",
        "input_cost_per_token": 3e-06,
        "output_cost_per_token": 1.5e-05,
        "cache_creation_input_token_cost": 3.75e-06,
        "cache_creation_input_token_cost_above_1hr": 6e-06,
        "cache_read_input_token_cost": 3e-07,
        "input_cost_per_token_above_200k_tokens": 6e-06,
        "output_cost_per_token_above_200k_tokens": 2.25e-05,
        "cache_creation_input_token_cost_above_200k_tokens": 7.5e-06,
        "cache_creation_input_token_cost_above_1hr_above_200k_tokens": 1.2e-05,
        "cache_read_input_token_cost_above_200k_tokens": 6e-07,
    },
    "dall-e-3": {"mode": "image_generation", "output_cost_per_image": 0.04},
    "veo": {"mode": "video_generation", "output_cost_per_second": 0.4, "output_cost_per_second_4k": 0.6},
    "rerank-v3": {"mode": "rerank", "input_cost_per_query": 0.002},
    "free-model": {"mode": "chat", "input_cost_per_token": 0, "output_cost_per_token": 0},
    "bad name": {"mode": "chat", "input_cost_per_token": 1e-06},
    "zero-write": {"input_cost_per_token": 1e-06, "cache_creation_input_token_cost": 0},
}


def test_litellms_file_is_read_exactly(tmp_path: Path) -> None:
    path = tmp_path / "model_prices.json"
    path.write_text(json.dumps(LITELLM))
    bring(catalogue(slug="openai/gpt-5"))
    out = run(str(path), "--format", "litellm")
    assert "openai/gpt-5 @ default  0.00125/0.01 per 1K cache_read x0.1 service_tier=flex x0.5" in out
    assert "claude-sonnet-4-5 @ default  0.003/0.015 per 1K" in out
    assert ">200000 0.006/0.0225" in out
    assert "dall-e-3 @ default  0.04 per_image" in out
    assert "veo @ default  0.4 per_second" in out
    assert "note     veo: output_cost_per_second_4k has no item in the rate card, ignored" in out
    assert "rerank-v3 @ default  0.002 per_request" in out
    assert "note     free-model: no price, left out" in out
    assert "note     bad name: not a name that we can use, left out" in out
    assert "0 new, 0 changed" in run(str(path), "--format", "litellm")

    book = load_book()
    sonnet = book.priced("claude-sonnet-4-5", None, NOON).plan
    long = Usage(input_tokens=300_000, cache_write_1h_tokens=1000, cache_read_tokens=1000)
    assert rate(sonnet, long).charge == 298_000 * D("0.000006") + D("0.012") + D("0.0006")
    zero_write = book.priced("zero-write", None, NOON).plan
    assert rate(zero_write, Usage(input_tokens=1000, cache_write_5m_tokens=1000)).charge == D("0.001")


def test_a_file_that_is_not_litellms_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "bad.json"
    path.write_text("[1]")
    with pytest.raises(CommandError, match="file: an object of models is expected"):
        run(str(path), "--format", "litellm")


# --- A part of a file, another channel, a later start ---------------------------------------------------------------
def litellm_path(tmp_path: Path) -> str:
    path = tmp_path / "model_prices.json"
    path.write_text(json.dumps(LITELLM))
    return str(path)


def test_a_files_prices_begin_when_staff_say_so_and_a_repeat_changes_nothing(tmp_path: Path) -> None:
    path, start = litellm_path(tmp_path), (NOON + timedelta(days=400)).isoformat()
    first = run(path, "--format", "litellm")
    assert "dall-e-3 @ default  0.04 per_image" in first
    dearer = {**LITELLM, "dall-e-3": {**LITELLM["dall-e-3"], "output_cost_per_image": 0.05}}
    Path(path).write_text(json.dumps(dearer))

    out = run(path, "--format", "litellm", "--effective-from", start)

    assert f"dall-e-3 @ default  0.04 per_image -> 0.05 per_image from {start}" in out
    book, at = load_book(), NOON + timedelta(days=400)
    assert book.priced("dall-e-3", None, at - timedelta(microseconds=1)).plan.spec.price == D("0.04")
    assert book.priced("dall-e-3", None, at).plan.spec.price == D("0.05")
    assert "0 new, 0 changed" in run(path, "--format", "litellm", "--effective-from", start)


@pytest.mark.parametrize("start", ["2020-01-01T00:00:00Z", "2099-01-01T00:00:00", "soon"])
def test_a_start_in_the_past_or_without_a_zone_is_refused(tmp_path: Path, start: str) -> None:
    with pytest.raises(CommandError):
        run(litellm_path(tmp_path), "--format", "litellm", "--effective-from", start)
    assert not PriceVersion.objects.exists()


def test_a_part_of_a_file_comes_in(tmp_path: Path) -> None:
    out = run(litellm_path(tmp_path), "--format", "litellm", "--only", "claude-*")

    assert [line.split()[2] for line in out.splitlines() if line.startswith("new      price")] == ["claude-sonnet-4-5"]
    assert set(PriceVersion.objects.values_list("model__slug", flat=True)) == {"claude-sonnet-4-5"}


def test_prices_come_in_on_another_channel(tmp_path: Path) -> None:
    bring(catalogue())

    run(litellm_path(tmp_path), "--format", "litellm", "--only", "claude-*", "--channel", "aws-us")

    version = PriceVersion.objects.get(model__slug="claude-sonnet-4-5")
    assert version.channel.code == "aws-us"
    with pytest.raises(CommandError, match="there is no channel nowhere"):
        run(litellm_path(tmp_path), "--format", "litellm", "--channel", "nowhere")


def test_prices_by_length_of_context_come_in_as_tiers(tmp_path: Path) -> None:
    path = tmp_path / "tiers.json"
    tiers = [
        {"input_cost_per_token": 5e-08, "output_cost_per_token": 4e-07, "range": [0, 256000.0]},
        {"input_cost_per_token": 2.5e-07, "output_cost_per_token": 2e-06, "range": [256000.0, 1000000.0]},
    ]
    path.write_text(json.dumps({"qwen-flash": {"litellm_provider": "x", "mode": "chat", "tiered_pricing": tiers}}))

    out = run(str(path), "--format", "litellm")

    assert "qwen-flash @ default  0.00005/0.0004 per 1K >256000 0.00025/0.002" in out


def test_a_channels_counting_of_input_is_imported_and_written_back() -> None:
    body = {"channels": [{"code": "apart", "usage_convention": "exclusive"}, {"code": "default"}], "models": []}
    document = read_document(body)

    importing.import_catalog(document, now=NOON)

    assert Channel.objects.get(code="apart").usage_convention == "exclusive"
    assert load_book().channels["apart"].usage_convention == "exclusive"
    assert [one.get("usage_convention") for one in document_body(document)["channels"]] == ["exclusive", None]
    with pytest.raises(InvalidCatalog, match="usage_convention"):
        read_document({"channels": [{"code": "c", "usage_convention": "both"}]})
