"""Refused usage is kept, without what was asked, and charged once when a person says what it meant."""

from datetime import timedelta
from decimal import Decimal

import pytest
from django.db import IntegrityError, transaction
from django.utils.translation import override

from accounts.models import AuditRecord
from billing.books import verify
from billing.books.models import Wallet
from billing.catalog import book
from billing.catalog.models import Channel
from billing.catalog.reading import ToldUsage
from billing.catalog.usage import Usage
from billing.errors import InvalidRequest, InvalidTransition, InvalidUsage
from billing.metering import holds, quarantine, usage
from billing.metering.kept import LARGEST, MARK, kept
from billing.metering.models import Authorization, UsageRecord
from billing.metering.models_quarantine import QuarantinedUsage
from gateway import reports
from tests import factories
from tests.factories import NOON
from tests.staff import person

pytestmark = pytest.mark.django_db

LATER = NOON + timedelta(hours=3)
# More cached tokens than input: a vendor that counts them apart, on a channel that does not say so.
APART = {"prompt_tokens": 100, "completion_tokens": 10, "prompt_tokens_details": {"cached_tokens": 900}}


@pytest.fixture(autouse=True)
def _english():
    with override("en"):
        yield


@pytest.fixture
def version():
    return factories.price(components={"cache_read": {"multiple": "0.1"}})


@pytest.fixture
def account():
    return factories.funded("10")


def refuse(hold, told=None, *, now=NOON, token=None):
    """A capture as the lane does it: charge, then keep what was refused."""
    wanted = usage.Capture(
        authorization_id=hold.id, usage=told or ToldUsage("openai.chat", APART), upstream_status=200, latency_ms=70
    )
    [answer] = usage.capture([wanted], now=now)
    quarantine.keep_captures([(token, wanted, answer)], now=now)
    return answer


def event(account, request_id="u-1", **more):
    body = {"account": str(account.pk), "model": "test/model", "request_id": request_id, "format": "openai.chat"}
    return body | {"provider_usage": APART} | more


def decided(row, **more):
    return quarantine.replay(
        row.pk, **({"actor": person("finance"), "reason": "they count apart", "now": LATER} | more)
    )


# --- Keeping ------------------------------------------------------------------------------------------------------
def test_a_refused_capture_is_kept_with_its_terms_and_changes_nothing_else(account, version):
    held = factories.hold(account, version, "5", request_id="r-1", user_discount=Decimal("0.9"))

    answer = refuse(held)

    row = QuarantinedUsage.objects.get()
    assert isinstance(answer, InvalidUsage)
    assert (row.kind, row.state, row.request_id, row.authorization_id) == ("capture", "waiting", "r-1", held.id)
    assert (row.format, row.body, row.user_discount) == ("openai.chat", APART, Decimal("0.9"))
    assert (row.problem_code, row.problem_field, row.upstream_status) == ("invalid_usage", "input_tokens", 200)
    assert row.problem == "input_tokens must include its cache, audio and image tokens."
    assert Authorization.objects.get().status == "open"
    assert Wallet.objects.get().balance == 10
    assert not UsageRecord.objects.exists()


def test_the_same_refused_thing_again_only_counts(account, version):
    held = factories.hold(account, version, "5")

    for minutes in (0, 1, 2):
        refuse(held, now=NOON + timedelta(minutes=minutes))

    row = QuarantinedUsage.objects.get()
    assert (row.times, row.first_seen_at, row.last_seen_at) == (3, NOON, NOON + timedelta(minutes=2))


def test_one_batch_with_the_same_call_twice_is_one_row(account, version):
    answers = reports.record([event(account), event(account), event(account, "u-2")], now=NOON)

    assert [one["code"] for one in answers] == ["invalid_usage"] * 3
    assert dict(QuarantinedUsage.objects.values_list("request_id", "times")) == {"u-1": 2, "u-2": 1}


def test_a_later_telling_replaces_an_undecided_one_and_never_a_decided_one(account, version):
    held = factories.hold(account, version, "5")
    refuse(held)
    refuse(held, ToldUsage("openai.chat", APART | {"completion_tokens": 11}))
    row = QuarantinedUsage.objects.get()
    quarantine.dismiss(row.pk, actor=person("finance"), reason="a test of theirs", now=LATER)

    refuse(held, ToldUsage("openai.chat", APART | {"completion_tokens": 12}))

    row.refresh_from_db()
    assert (row.body["completion_tokens"], row.times, row.state) == (11, 3, "dismissed")


def test_canonical_usage_that_contradicts_itself_or_lacks_what_is_priced_is_kept(account):
    by_second = factories.price(slug="test/video", kind="video", type="per_second", price=Decimal(1))
    refuse(factories.hold(account, by_second, "1", request_id="a"), Usage(requests=1))
    told = ToldUsage("canonical", {"input_tokens": 1, "cache_read_tokens": 2})
    refuse(factories.hold(account, factories.price(), "1", request_id="b"), told)

    assert dict(QuarantinedUsage.objects.values_list("request_id", "problem_field")) == {
        "a": "seconds",
        "b": "input_tokens",
    }


@pytest.mark.parametrize(
    "wrong",
    [
        {"model": "no/such"},
        {"account": "0193f6e8-0000-7000-8000-000000000000"},
        {"provider_usage": 5},
        {"latency_ms": "x"},
    ],
)
def test_what_is_no_refusal_of_usage_is_not_kept(account, version, wrong):
    [answer] = reports.record([event(account) | wrong], now=NOON)

    assert answer["status"] == "rejected"
    assert not QuarantinedUsage.objects.exists()


def test_what_is_charged_or_voided_already_is_not_kept(account, version):
    charged, voided = factories.hold(account, version, "1"), factories.hold(account, version, "1")
    factories.capture(charged.id, input_tokens=10)
    holds.void([(voided.id, account.pk, "")], now=NOON)

    refuse(charged)
    refuse(voided)

    assert not QuarantinedUsage.objects.exists()


def test_an_account_cannot_flood_the_list(account, version, monkeypatch):
    monkeypatch.setattr(quarantine, "MOST_WAITING", 3)
    reports.record([event(account, f"u-{n}") for n in range(5)], now=NOON)
    reports.record([event(account, f"u-{n}") for n in range(9)], now=NOON)
    reports.record([event(factories.funded("1"), "other")], now=NOON)

    assert dict(QuarantinedUsage.objects.values_list("request_id", "times")) == {
        "u-0": 2, "u-1": 2, "u-2": 2, "other": 1,
    }  # fmt: skip


# --- What is kept of a body -----------------------------------------------------------------------------------------
def test_a_prompt_is_never_kept():
    answer = {
        "id": "x",
        "choices": [{"message": {"content": "my secret", "tokens": [1, 2]}}],
        "usage": APART | {"service_tier": "default", "note": "my secret", "prompt": {"count": "my secret"}},
    }

    found = kept("openai.chat", answer)

    assert "secret" not in str(found)
    assert found["service_tier"] == "default"
    assert found["prompt_tokens_details"] == {"cached_tokens": 900}
    assert kept("openai.chat", {"prompt_tokens": [5, 6, 7], "messages": "hello"}) == {
        "prompt_tokens": [MARK] * 3,
        MARK: MARK,
    }


@pytest.mark.parametrize(
    ("format", "body"),
    [
        ("openai.chat", {"prompt_tokens": "a dozen", "completion_tokens": 5}),
        ("openai.chat", {"prompt_tokens": {"a": {"b": 1}}, "completion_tokens": 5}),
        ("canonical", {"input_tokens": 5, "tell me a story": 1}),
        ("gemini.generate", {"promptTokenCount": 5, "promptTokensDetails": ["TEXT"]}),
    ],
)
def test_what_lost_something_on_the_way_is_still_refused(format, body):
    with pytest.raises(InvalidUsage):
        ToldUsage(format, kept(format, body)).read()


def test_a_huge_object_is_not_kept():
    body = {f"tokens_{n}": {f"count_{m}": 10**15 for m in range(60)} for n in range(60)}

    assert kept("openai.chat", body) == {MARK: MARK}
    assert LARGEST == 16 * 1024


# --- Replaying ----------------------------------------------------------------------------------------------------
def test_a_replay_charges_the_hold_once_at_its_own_terms_and_late_when_it_expired(account, version):
    held = factories.hold(account, version, "5", request_id="r-1")
    refuse(held)
    holds.expire_due(now=NOON + timedelta(hours=1))
    row = QuarantinedUsage.objects.get()

    done = decided(row, convention="exclusive")
    again = decided(row, convention="exclusive")

    record = UsageRecord.objects.get()
    assert record.usage == {"input_tokens": 1000, "cache_read_tokens": 900, "output_tokens": 10}
    assert (record.request_id, record.late, record.latency_ms, record.price_version_id) == ("r-1", True, 70, version.pk)
    assert record.charge == Decimal("0.21")  # 100 at $1, 900 at $0.10, 10 at $2 per 1K
    assert (done.state, done.usage_record_id) == ("replayed", record.pk)
    assert again.usage_record_id == record.pk
    assert Wallet.objects.get().balance == Decimal("9.79")
    audited = AuditRecord.objects.get(action="usage_replayed")
    assert (audited.reason, audited.after["convention"]) == ("they count apart", "exclusive")


def test_a_replay_without_a_choice_reads_as_the_channel_counts_now(account, version):
    refuse(factories.hold(account, version, "5"))
    row = QuarantinedUsage.objects.get()
    with pytest.raises(InvalidUsage), transaction.atomic():
        decided(row)
    Channel.objects.filter(code="default").update(usage_convention="exclusive")
    book.forget()

    decided(row)

    assert UsageRecord.objects.get().charge == Decimal("0.21")


def test_a_report_is_replayed_with_its_time_and_price(account, version):
    at = NOON - timedelta(days=2)
    told = event(account, occurred_at=at.isoformat(), fingerprint="f" * 32, trace_id="t-1", upstream_status=200)
    reports.record([told], now=NOON)

    decided(QuarantinedUsage.objects.get(), usage={"input_tokens": 500})

    record = UsageRecord.objects.get()
    assert (record.authorized_at, record.charge, record.authorization_id) == (at, Decimal("0.5"), None)
    assert (record.fingerprint, record.trace_id, record.upstream_status) == ("f" * 32, "t-1", 200)
    # And the gateway that repeats the same in good form hears that it is charged.
    [answer] = reports.record(
        [event(account, provider_usage=None, usage={"input_tokens": 500}, format=None)], now=LATER
    )
    assert answer["status"] == "duplicate"


def test_another_format_may_be_the_answer(account, version):
    told = ToldUsage("openai.chat", {"input_tokens": 10, "output_tokens": 5, "cache_read_input_tokens": 90})
    refuse(factories.hold(account, version, "5"), told)

    decided(QuarantinedUsage.objects.get(), format="anthropic.messages")

    assert UsageRecord.objects.get().usage == {"input_tokens": 100, "output_tokens": 5, "cache_read_tokens": 90}


@pytest.mark.parametrize(
    ("how", "refusal"),
    [
        ({}, InvalidUsage),
        ({"convention": "inclusive"}, InvalidUsage),
        ({"format": "anthropic.messages"}, InvalidUsage),
        ({"usage": {"input_tokens": -1}}, InvalidUsage),
        ({"usage": {"input_tokens": 1}, "reason": " "}, InvalidRequest),
    ],
)
def test_what_still_cannot_be_read_goes_on_waiting(account, version, how, refusal):
    refuse(factories.hold(account, version, "5"))
    row = QuarantinedUsage.objects.get()

    with pytest.raises(refusal), transaction.atomic():
        decided(row, **how)

    row.refresh_from_db()
    assert (row.state, row.decided_by_id) == ("waiting", None)
    assert not UsageRecord.objects.exists()
    assert not AuditRecord.objects.filter(subject_type="quarantinedusage").exists()


def test_what_was_dismissed_is_not_replayed(account, version):
    refuse(factories.hold(account, version, "5"))
    row = QuarantinedUsage.objects.get()
    quarantine.dismiss(row.pk, actor=person("finance"), reason="a test of theirs", now=LATER)
    quarantine.dismiss(row.pk, actor=person("finance"), reason="again", now=LATER)

    with pytest.raises(InvalidTransition), transaction.atomic():
        decided(row, convention="exclusive")

    row.refresh_from_db()
    assert (row.state, row.reason) == ("dismissed", "a test of theirs")
    assert AuditRecord.objects.filter(action="usage_dismissed").count() == 1


# --- The gateway settles it itself --------------------------------------------------------------------------------
def test_a_replay_after_the_gateways_own_good_usage_charges_no_second_time(account, version):
    held = factories.hold(account, version, "5")
    refuse(held)
    factories.capture(held.id, input_tokens=100)

    done = decided(QuarantinedUsage.objects.get(), convention="exclusive")

    assert (done.state, done.usage_record_id) == ("replayed", held.id)
    assert Wallet.objects.get().balance == Decimal("9.9")
    assert AuditRecord.objects.get(action="usage_replayed").after["charged_before"] is True


def test_rows_that_the_gateway_settled_do_not_stay_waiting(account, version):
    good, voided, open_ = (factories.hold(account, version, "1", request_id=name) for name in ("good", "void", "open"))
    for hold in (good, voided, open_):
        refuse(hold)
    reports.record([event(account, "told")], now=NOON)
    factories.capture(good.id, input_tokens=100)
    holds.void([(voided.id, account.pk, "")], now=NOON)
    [told] = reports.record([event(account, "told", provider_usage=None, format=None, usage={})], now=NOON)

    closed = quarantine.settle(now=LATER)

    assert told["status"] == "created"
    assert closed == 3
    assert dict(QuarantinedUsage.objects.values_list("request_id", "state")) == {
        "good": "replayed", "told": "replayed", "void": "dismissed", "open": "waiting",
    }  # fmt: skip
    assert QuarantinedUsage.objects.get(request_id="good").usage_record_id == good.id
    assert quarantine.settle(now=LATER) == 0


# --- Many ---------------------------------------------------------------------------------------------------------
def test_all_like_one_are_replayed_each_by_itself(account, version):
    reports.record([event(account, f"u-{n}") for n in range(3)], now=NOON)
    other = factories.funded("1")
    reports.record([event(other, "o-1"), event(other, "o-2", format="no.such")], now=NOON)
    first = QuarantinedUsage.objects.get(request_id="u-0")
    QuarantinedUsage.objects.filter(request_id="u-1").update(body=APART | {"completion_tokens": -1})

    done = quarantine.replay_alike(
        first.pk, actor=person("finance"), reason="they count apart", now=LATER, convention="exclusive"
    )

    assert (done.charged, done.refused, done.left) == (3, 1, 0)
    assert set(UsageRecord.objects.values_list("request_id", flat=True)) == {"u-0", "u-2", "o-1"}


def test_a_preview_says_what_each_reading_costs(account, version):
    refuse(factories.hold(account, version, "5"))

    found = quarantine.readings(QuarantinedUsage.objects.get())

    assert [(one.convention, one.charge, one.of_channel) for one in found] == [
        ("", None, True), ("inclusive", None, False), ("exclusive", Decimal("0.21"), False),
    ]  # fmt: skip
    assert "must include" in found[0].problem


@pytest.mark.django_db(transaction=True)
def test_the_books_verify_after_replays(account, version):
    refuse(factories.hold(account, version, "5"))
    reports.record([event(account)], now=NOON)
    for row in QuarantinedUsage.objects.all():
        decided(row, convention="exclusive")

    assert [(one.check.number, one.broken) for one in verify.run() if one.broken] == []


@pytest.mark.parametrize(
    "broken",
    [{"state": "nonsense"}, {"state": "replayed"}, {"decided_at": NOON}, {"authorization": None}, {"times": 0}],
)
def test_the_database_refuses_impossible_rows(account, version, broken):
    refuse(factories.hold(account, version, "5"))

    with pytest.raises(IntegrityError), transaction.atomic():
        QuarantinedUsage.objects.update(**broken)


def test_what_the_books_cannot_hold_is_refused_and_goes_on_waiting(account):
    dear = factories.price(slug="test/dear", input_per_1k=Decimal(999_999))
    refuse(factories.hold(account, dear, "5"))

    with pytest.raises(InvalidUsage), transaction.atomic():
        decided(QuarantinedUsage.objects.get(), usage={"input_tokens": 2**53 - 1})

    assert QuarantinedUsage.objects.get().state == "waiting"
