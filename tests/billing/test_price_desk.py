"""The price desk in the staff console: a price drafted by form, rehearsed, proposed, published by somebody else."""

import io
import json
from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest
from django.core.cache import cache
from django.urls import reverse

from billing.catalog.models import PriceVersion
from billing.catalog.models_drafts import PriceDraft
from billing.metering import rehearsal
from billing.metering.models_rehearsal import Rehearsal
from config import clock
from tests import factories
from tests.staff import act, action_of, at_desk, desk, page_of, person

pytestmark = pytest.mark.django_db
NEW = reverse("admin:billing_pricedraft_changelist") + "draft-price/"
FILE = reverse("admin:billing_pricedraft_changelist") + "draft-file/"
PRICE: dict[str, Any] = {
    "title": "GPT dearer",
    "model": "test/model",
    "channel": "default",
    "type": "per_token",
    "input_per_1k": "0.0015",
    "output_per_1k": "0.01",
    "specials": "cache_read × 0.1\nreasoning 0.012",
    "tiers": "above 200000: input 0.003, output 0.02, reasoning 0.024",
    "multipliers": "service_tier = priority × 1.8",
}


@pytest.fixture(autouse=True)
def _priced() -> None:
    factories.price()


def drafted(client: Any, **fields: Any) -> PriceDraft:
    """A draft made by the form."""
    done = act(client, NEW, **(PRICE | fields))
    assert done.status_code == 302, done.context["form"].errors
    return PriceDraft.objects.latest("created_at")


def rehearsed(draft: PriceDraft) -> Rehearsal:
    run = draft.rehearsals.get()
    while rehearsal.work(run.pk, now=clock.now()):
        pass
    run.refresh_from_db()
    return run


def test_from_a_form_to_a_price_in_force() -> None:
    writer, second = at_desk(person("operations")), at_desk(person("finance"))
    draft = drafted(writer)

    assert act(writer, action_of(draft, "rehearse"), days="30").status_code == 302
    assert rehearsed(draft).state == "done"
    assert act(writer, action_of(draft, "propose")).status_code == 302
    assert act(second, action_of(draft, "publish")).status_code == 302

    version = PriceVersion.objects.get(number=2)
    assert (version.input_per_1k, version.output_per_1k) == (Decimal("0.0015"), Decimal("0.01"))
    assert dict(version.components.values_list("component", "multiple")) == {
        "cache_read": Decimal("0.1"),
        "reasoning": None,
    }
    assert version.tiers.get().component_per_1k == {"reasoning": "0.024"}
    assert version.field_multipliers.get().multiplier == Decimal("1.8")
    page = second.get(page_of(version)).content.decode()
    assert "GPT dearer" in page
    page = second.get(page_of(draft)).content.decode()
    assert "Versions that it made" in page


def test_the_form_begins_with_the_price_in_force() -> None:
    page = desk("operations").get(f"{NEW}?model=test/model&channel=default")

    assert page.context["form"].initial["input_per_1k"] == "1"
    assert page.context["form"].initial["model"] == "test/model"


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"model": "no/such"}, "no model with this slug"),
        ({"specials": "cache_read 10%"}, "cache_read 10%"),
        ({"tiers": "above 10: input 1"}, "above 10: input 1"),
        ({"input_per_1k": ""}, "input_per_1k is missing"),
        ({"input_per_1k": "-1"}, "greater than or equal to 0"),
        ({"input_per_1k": "0", "output_per_1k": "0", "specials": "", "tiers": ""}, "must be marked free"),
        ({"type": "per_second", "price": "", "tiers": "", "specials": ""}, "price is missing"),
        ({"reason": ""}, "required"),
    ],
)
def test_a_bad_price_is_said_on_the_form_and_nothing_is_kept(fields: dict[str, str], said: str) -> None:
    answer = act(desk("operations"), NEW, **(PRICE | fields))

    assert answer.status_code == 422
    assert said in answer.content.decode()
    assert not PriceDraft.objects.exists()


def test_a_file_becomes_a_draft() -> None:
    body = {
        "models": [
            {
                "slug": "test/model",
                "prices": [
                    {"effective_from": "2026-01-01T00:00:00Z", "input_per_1k": "3", "output_per_1k": "4"},
                ],
            }
        ]
    }
    file = io.BytesIO(json.dumps(body).encode())
    file.name = "prices.json"

    done = act(desk("finance"), FILE, title="from a file", format="meterhall", file=file)

    assert done.status_code == 302
    assert PriceDraft.objects.get().changes[-1].endswith("1/2 per 1K -> 3/4 per 1K")


def test_a_file_that_cannot_be_read_names_the_place() -> None:
    file = io.BytesIO(b'{"models": [{"slug": "a b"}]}')
    file.name = "prices.json"

    answer = act(desk("finance"), FILE, title="from a file", format="meterhall", file=file)

    assert answer.status_code == 422
    assert "models[0].slug" in answer.content.decode()


def test_support_reads_the_drafts_and_writes_none() -> None:
    draft = drafted(desk("operations"))
    client = desk("support")

    assert client.get(page_of(draft)).status_code == 200
    assert client.get(NEW).status_code == 403
    for action in ("put-price", "schedule", "rehearse", "propose", "withdraw"):
        assert client.get(action_of(draft, action)).status_code == 403


def test_operations_write_and_do_not_publish() -> None:
    client = desk("operations")
    draft = drafted(client)
    act(client, action_of(draft, "rehearse"), days="1")
    rehearsed(draft)
    act(client, action_of(draft, "propose"))

    assert client.get(action_of(draft, "publish")).status_code == 403
    assert desk("finance").get(action_of(draft, "publish")).status_code == 200


def test_proposing_what_was_not_rehearsed_is_refused_on_the_form() -> None:
    client = desk("operations")
    draft = drafted(client)

    answer = act(client, action_of(draft, "propose"))

    assert answer.status_code == 422
    assert "Rehearse the draft" in answer.content.decode()


def test_a_start_is_set_and_shown() -> None:
    client = desk("operations")
    draft = drafted(client)
    start = (clock.now() + timedelta(days=2)).replace(second=0, microsecond=0)

    done = act(client, action_of(draft, "schedule"), starts_at=start.strftime("%Y-%m-%dT%H:%M"))

    assert done.status_code == 302
    draft.refresh_from_db()
    assert draft.starts_at == start


def test_a_running_rehearsal_looks_again_and_a_finished_one_says_what_it_found() -> None:
    client = desk("operations")
    account = factories.funded("3")
    now = clock.now()
    for minutes in (30, 20, 10):
        held = factories.hold(account, PriceVersion.objects.get(), "1", now=now - timedelta(minutes=minutes))
        factories.capture(held.id, now=now - timedelta(minutes=minutes), input_tokens=900)
    draft = drafted(client, input_per_1k="2", output_per_1k="2", tiers="", specials="")
    act(client, action_of(draft, "rehearse"), days="1")
    run = draft.rehearsals.get()

    waiting = client.get(page_of(run))
    assert waiting["Refresh"] == "2"
    rehearsed(draft)
    found = client.get(page_of(run))

    assert "Refresh" not in found
    text = found.content.decode()
    for said in (
        "$2.70",
        "$5.40",
        "+$2.70",
        "+100\N{NO-BREAK SPACE}%",
        account.name,
        "Who would newly have been refused",
    ):
        assert said in text, said


def test_jumps_are_named_on_the_drafts_page() -> None:
    client = desk("operations")
    draft = drafted(client, input_per_1k="10")

    assert "input jumps from 1 to 10" in client.get(page_of(draft)).content.decode()


def test_the_dashboard_names_drafts_that_wait_for_a_second_person() -> None:
    client = desk("finance")
    draft = drafted(client)
    assert "Price drafts" not in tiles(client)
    act(client, action_of(draft, "rehearse"), days="1")
    rehearsed(draft)
    act(client, action_of(draft, "propose"))
    cache.clear()  # the page may be twenty seconds old

    assert "Price drafts" in tiles(client)


def tiles(client: Any) -> list[str]:
    """What the console's first page tells."""
    return [stat.label for stat in client.get(reverse("admin:index")).context["board"].stats]
