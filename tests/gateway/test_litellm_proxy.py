"""A real LiteLLM proxy before the real stack: what a gateway authorises, captures and voids, and what it then costs.

The proxy is a process of its own with `integrations/litellm` in it; Meterhall is the ASGI application on the test
database; the provider behind the proxy is a small server that says how many tokens it has used. Prices are $1 per
1,000 input and $2 per 1,000 output tokens, so that each charge can be checked in the head.
"""

import threading
from collections.abc import Iterator
from datetime import timedelta
from decimal import Decimal
from typing import Any

import httpx
import pytest

from accounts import api_keys, secrets
from accounts.models import Account, BenefitLevel, GatewayToken
from billing.books.models import JournalEntry, Wallet
from billing.catalog.models import Model, PriceVersion
from billing.metering.models import Authorization, UsageRecord
from config import clock
from gateway.models import DecisionReceipt
from tests import factories
from tests.gateway.litellm_proxy import Line, Proxy, Upstream, missing, question, until
from tests.subscriptions.driving import Driver, plan_version

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(missing() is not None, reason=str(missing())),
]

TOKEN = secrets.new("gw-")
MULTIPLES = {
    "cache_read": {"multiple": "0.1"},
    "cache_write_5m": {"multiple": "1.25"},
    "cache_write_1h": {"multiple": "2"},
}
MOCKED = {
    "choices": [{"message": {"role": "assistant", "content": "Good day."}}],
    "usage": {"prompt_tokens": 1_000, "completion_tokens": 50, "total_tokens": 1_050,
              "prompt_tokens_details": {"cached_tokens": 800}},
}  # fmt: skip


def models(upstream: Upstream) -> list[dict[str, Any]]:
    """The proxy's model list: some mocked by LiteLLM itself, the others answered by our provider."""

    def at_provider(name: str, behaviour: str, vendor: str = "openai", **info: str) -> dict[str, Any]:
        base = upstream.url if vendor == "anthropic" else f"{upstream.url}/v1"
        params = {"model": f"{vendor}/{behaviour}", "api_base": base, "api_key": "none"}
        return {"model_name": name, "litellm_params": params, "model_info": info}

    def mocked(name: str, answer: Any) -> dict[str, Any]:
        return {
            "model_name": name,
            "litellm_params": {"model": "openai/mock", "api_key": "none", "mock_response": answer},
        }

    return [
        mocked("test/mock", "Good day."),
        mocked("test/mock-cached", MOCKED),
        mocked("test/mock-down", "litellm.InternalServerError"),
        at_provider("test/chat", "chat"),
        at_provider("test/cached", "cached"),
        at_provider("test/down", "down"),
        at_provider("test/falls-back", "down"),
        at_provider("test/flaky", "flaky"),
        at_provider("test/breaks", "breaks"),
        at_provider("test/slow", "slow"),
        at_provider("test/silent", "silent"),
        at_provider("test/claude", "claude", "anthropic"),
        at_provider("short-name", "chat", meterhall_model="test/chat"),
    ]


@pytest.fixture(scope="module")
def upstream() -> Iterator[Upstream]:
    upstream = Upstream()
    yield upstream
    upstream.close()


@pytest.fixture(scope="module")
def line() -> Iterator[Line]:
    line = Line()
    yield line
    line.close()


@pytest.fixture(scope="module")
def litellm(tmp_path_factory: pytest.TempPathFactory, upstream: Upstream, line: Line) -> Iterator[Proxy]:
    """The proxy's process, one for the module."""
    directory = tmp_path_factory.mktemp("litellm")
    proxy = Proxy(directory, models=models(upstream), meterhall=line.url, token=TOKEN.text)
    try:
        proxy.start()
        yield proxy
    finally:
        proxy.stop()


@pytest.fixture
def proxy(litellm: Proxy, upstream: Upstream, line: Line, live_stack: str) -> Iterator[Proxy]:
    """The proxy, its provider rested, its line leading to this test's stack, which knows its token."""
    GatewayToken.objects.create(
        name="litellm", created_at=factories.NOON, hash=TOKEN.hash, prefix=TOKEN.prefix, last_four=TOKEN.last_four
    )
    upstream.requests.clear()
    upstream.release.clear()
    line.lead_to(live_stack)
    yield litellm
    upstream.release.set()
    line.cut()


@pytest.fixture
def customer(live_stack: str) -> tuple[Account, str]:
    """A customer with $10 and a key; every model of the proxy has the same price."""
    for model in models_with_a_price():
        factories.price(model, components=MULTIPLES, multipliers=[("header:x-priority", "true", "1.8")])
    account = factories.funded("10")
    return account, factories.key(account)[1]


def models_with_a_price() -> list[str]:
    names = ("mock", "mock-cached", "mock-down", "chat", "cached", "down", "falls-back", "flaky", "breaks", "slow",
             "silent", "claude")  # fmt: skip
    return [f"test/{name}" for name in names]


def settled(calls: int = 1) -> list[Authorization]:
    """Wait until so many calls have been authorised and none is open; the capture follows the answer by a moment."""

    def all_closed() -> list[Authorization]:
        found = list(Authorization.objects.order_by("created_at"))
        return found if len(found) >= calls and all(one.status != "open" for one in found) else []

    found = until(all_closed, what=f"{calls} calls are settled")
    assert len(found) == calls
    return list(found)


def charged_once(account: Account, usd: str) -> UsageRecord:
    """The one call of the account is charged exactly this, in its record, in the ledger and in the wallet."""
    [authorization] = settled()
    assert authorization.status == "captured"
    record = UsageRecord.objects.get()
    assert record.charge == Decimal(usd)
    assert record.authorization_id == authorization.pk
    entry = JournalEntry.objects.get(kind=JournalEntry.Kind.USAGE)
    assert (record.entry_id, entry.delta) == (entry.pk, -Decimal(usd))
    assert_wallet(account, Decimal(10) - Decimal(usd))
    return record


def charged_nothing(account: Account, *, reason: str) -> None:
    """The one call of the account was held and released."""
    [authorization] = settled()
    assert (authorization.status, authorization.void_reason) == ("voided", reason)
    assert not UsageRecord.objects.exists()
    assert_wallet(account, Decimal(10))


def assert_wallet(account: Account, balance: Decimal) -> None:
    wallet = Wallet.objects.get(account=account)
    assert (wallet.balance, wallet.held, wallet.overdraft) == (balance, Decimal(0), Decimal(0))


def slug_of(record: UsageRecord) -> str:
    return Model.objects.get(pk=record.model_id).slug


# --- calls that succeed ----------------------------------------------------------------------------------------------


def test_a_call_is_held_before_and_charged_exactly_after(proxy: Proxy, customer: tuple[Account, str]) -> None:
    account, key = customer
    trace = "4bf92f3577b34da6a3ce929d0e0e4736"
    answer = proxy.chat(key, "test/chat", headers={"traceparent": f"00-{trace}-00f067aa0ba902b7-01"})
    assert answer.status_code == 200, answer.text
    assert answer.json()["choices"][0]["message"]["content"] == "Good day."
    record = charged_once(account, "0.18")  # 120 × $1/1K + 30 × $2/1K
    assert (record.input_tokens, record.output_tokens, record.upstream_status) == (120, 30, 200)
    assert record.latency_ms is not None
    assert record.trace_id == trace == answer.headers["x-meterhall-trace-id"]
    assert len(record.fingerprint) == 32
    assert Authorization.objects.get().held >= record.charge


def test_a_mocked_model_is_charged_like_any_other(proxy: Proxy, customer: tuple[Account, str]) -> None:
    account, key = customer
    usage = proxy.chat(key, "test/mock").json()["usage"]
    charged_once(account, str((usage["prompt_tokens"] + 2 * usage["completion_tokens"]) / Decimal(1000)))


def test_cached_tokens_are_rated_at_their_multiple(proxy: Proxy, customer: tuple[Account, str]) -> None:
    account, key = customer
    proxy.chat(key, "test/mock-cached")
    record = charged_once(account, "0.38")  # (200 + 800 × 0.1) × $1/1K + 50 × $2/1K
    assert record.cache_read_tokens == 800


@pytest.mark.parametrize("route", ["/v1/chat/completions", "/v1/messages"])
@pytest.mark.parametrize("stream", [False, True], ids=["whole", "streamed"])
def test_anthropics_cache_writes_and_reads_are_rated_on_both_routes(
    proxy: Proxy, customer: tuple[Account, str], route: str, stream: bool
) -> None:
    """C17, J08: Anthropic counts the input without the cache, LiteLLM with it; the charge is the same."""
    account, key = customer
    answer = proxy.post(route, key, question("test/claude") | {"stream": stream})
    assert answer.status_code == 200, answer.text
    record = charged_once(account, "0.71")  # (100 + 800 × 0.1 + 200 × 1.25 + 100 × 2) × $1/1K + 40 × $2/1K
    assert (record.input_tokens, record.cache_read_tokens, record.cache_write_tokens) == (1_200, 800, 300)


@pytest.mark.parametrize(
    ("route", "body", "charge"),
    [
        ("/v1/embeddings", {"model": "test/chat", "input": ["Good", "day"]}, "0.077"),
        ("/v1/responses", {"model": "test/chat", "input": "Good day"}, "0.26"),  # 100 + 400 × 0.1 in, 60 out
        ("/v1/responses", {"model": "test/chat", "input": "Good day", "stream": True}, "0.26"),
        ("/v1/completions", {"model": "test/chat", "prompt": "Good day"}, "0.18"),
        ("/v1/chat/completions", question("short-name"), "0.18"),
    ],
    ids=["embeddings", "responses", "responses streamed", "completions", "a name of the proxy's own"],
)
def test_every_metered_route_is_charged_by_what_the_provider_tells(
    proxy: Proxy, customer: tuple[Account, str], route: str, body: dict[str, Any], charge: str
) -> None:
    account, key = customer
    answer = proxy.post(route, key, body)
    assert answer.status_code == 200, answer.text
    record = charged_once(account, charge)
    assert slug_of(record) == "test/chat"


def test_a_header_that_changes_the_price_changes_the_charge(proxy: Proxy, customer: tuple[Account, str]) -> None:
    """F051: priority costs ×1.8."""
    account, key = customer
    proxy.chat(key, "test/chat", headers={"X-Priority": "true"})
    charged_once(account, "0.324")


def test_usage_that_the_provider_does_not_tell_is_counted(proxy: Proxy, customer: tuple[Account, str]) -> None:
    account, key = customer
    assert proxy.chat(key, "test/silent").json()["usage"]["total_tokens"] == 0
    [authorization] = settled()
    record = UsageRecord.objects.get(account=account)
    assert authorization.status == "captured"
    assert record.input_tokens > 0
    assert record.output_tokens > 0


def test_twenty_calls_at_once_are_twenty_charges(proxy: Proxy, customer: tuple[Account, str]) -> None:
    account, key = customer
    statuses: list[int] = []

    def call(number: int) -> None:
        if number % 2:
            statuses.append(proxy.chat(key, "test/chat").status_code)
        else:
            with proxy.streamed(key, "test/chat") as answer:
                answer.read()
                statuses.append(answer.status_code)

    threads = [threading.Thread(target=call, args=(number,)) for number in range(20)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert statuses == [200] * 20
    settled(20)
    assert list(UsageRecord.objects.values_list("charge", flat=True)) == [Decimal("0.18")] * 20
    assert_wallet(account, Decimal("6.4"))


# --- streams ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("options", [{}, {"stream_options": {"include_usage": False}}], ids=["silent", "declined"])
def test_a_stream_is_charged_once_by_usage_that_the_caller_did_not_ask_for(
    proxy: Proxy, customer: tuple[Account, str], upstream: Upstream, options: dict[str, Any]
) -> None:
    account, key = customer
    with proxy.streamed(key, "test/cached", **options) as answer:
        text = answer.read().decode()
    assert text.count("data: [DONE]") == 1
    assert '"usage"' not in text
    assert upstream.requests[0]["body"]["stream_options"] == {"include_usage": True}
    charged_once(account, "0.85")  # (500 + 1,500 × 0.1) × $1/1K + 100 × $2/1K


def test_a_caller_who_hangs_up_pays_for_what_had_flowed(
    proxy: Proxy, customer: tuple[Account, str], upstream: Upstream
) -> None:
    account, key = customer
    with proxy.streamed(key, "test/slow") as answer:
        for text in answer.iter_lines():
            if "customer" in text:
                break
    [authorization] = settled()
    upstream.release.set()
    record = UsageRecord.objects.get()
    assert authorization.status == "captured"
    assert record.input_tokens > 0
    assert 0 < record.output_tokens < 30
    assert_wallet(account, Decimal(10) - record.charge)


def test_a_stream_that_the_provider_breaks_costs_nothing(proxy: Proxy, customer: tuple[Account, str]) -> None:
    account, key = customer
    with proxy.streamed(key, "test/breaks") as answer:
        assert '"error"' in answer.read().decode()
    charged_nothing(account, reason="upstream_error")


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "streamed"])
def test_an_answer_out_of_the_proxys_own_cache_costs_nothing(
    proxy: Proxy, customer: tuple[Account, str], upstream: Upstream, stream: bool
) -> None:
    account, key = customer
    asked = {"stream": stream, "cache": {"use-cache": True}, "user": f"streamed {stream}"}
    assert proxy.chat(key, "test/chat", **asked).status_code == 200
    charged_once(account, "0.18")

    def repeated() -> bool:
        proxy.chat(key, "test/chat", **asked)
        return Authorization.objects.filter(void_reason="served_from_cache").exists()

    until(repeated, what="an answer came out of the cache")
    calls = upstream.calls_of("chat")
    settled(Authorization.objects.count())
    assert UsageRecord.objects.count() == calls
    assert_wallet(account, Decimal(10) - calls * Decimal("0.18"))


# --- calls that fail -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("model", ["test/mock-down", "test/down"])
@pytest.mark.parametrize("stream", [False, True], ids=["whole", "streamed"])
def test_a_call_that_the_provider_fails_is_voided(
    proxy: Proxy, customer: tuple[Account, str], model: str, stream: bool
) -> None:
    account, key = customer
    assert proxy.chat(key, model, stream=stream).status_code == 500
    charged_nothing(account, reason="upstream_error")


def test_a_retry_inside_the_proxy_is_charged_once(
    proxy: Proxy, customer: tuple[Account, str], upstream: Upstream
) -> None:
    account, key = customer
    assert proxy.chat(key, "test/flaky").status_code == 200
    assert upstream.calls_of("flaky") == 2
    charged_once(account, "0.18")


def test_a_fallback_inside_the_proxy_is_charged_once_as_the_model_that_was_asked_for(
    proxy: Proxy, customer: tuple[Account, str], upstream: Upstream
) -> None:
    account, key = customer
    assert proxy.chat(key, "test/falls-back").status_code == 200
    assert (upstream.calls_of("down"), upstream.calls_of("chat")) == (2, 1)
    assert slug_of(charged_once(account, "0.18")) == "test/falls-back"


# --- refusals --------------------------------------------------------------------------------------------------------


def test_an_empty_wallet_gets_402_with_the_receipt_and_the_provider_is_not_asked(
    proxy: Proxy, customer: tuple[Account, str], upstream: Upstream
) -> None:
    poor = factories.funded("0")
    answer = proxy.chat(factories.key(poor)[1], "test/chat")
    error = answer.json()["error"]
    assert (answer.status_code, error["code"]) == (402, "insufficient_balance")
    assert Decimal(error["needed"]) > Decimal(error["available"]) == 0
    assert error["limit_source"] == "balance"
    assert error["gates"][-1]["verdict"] == "refuse"
    assert error["trace_id"] == answer.headers["x-meterhall-trace-id"]
    assert DecisionReceipt.objects.get().trace_id == error["trace_id"]
    assert (upstream.requests, Authorization.objects.count()) == ([], 0)


def test_a_refusal_on_a_route_that_keeps_only_messages_tells_its_code_in_a_header(
    proxy: Proxy, customer: tuple[Account, str]
) -> None:
    answer = proxy.post("/v1/messages", factories.key(factories.funded("0"))[1], question("test/claude"))
    assert (answer.status_code, answer.headers["x-meterhall-code"]) == (402, "insufficient_balance")


def test_a_subscription_key_spends_flows_is_refused_and_goes_on_by_extra_usage_until_the_window_is_over(
    proxy: Proxy, customer: tuple[Account, str], settings: Any
) -> None:
    account, _ = customer
    there = Driver(account, PriceVersion.objects.first(), plan_version("free"))
    plan = plan_version("pro", model_slugs=["test/chat"], flows_5h=10)
    there.subscribe(plan, clock.now(), clock.now() + timedelta(days=30))
    key = factories.key(account, kind="subscription")[1]

    assert proxy.chat(key, "test/chat").status_code == 200
    settled()
    record = UsageRecord.objects.get()
    assert (record.funding, record.flows, record.charge) == ("subscription", Decimal("7.128"), 0)  # $0.18 x 39.6
    assert_wallet(account, Decimal(10))

    refused = proxy.chat(key, "test/chat")  # 2.872 are left, and it may write for more
    error = refused.json()["error"]
    assert (refused.status_code, error["code"]) == (429, "flow_5h_exhausted")
    assert "five-hour" in error["message"]
    assert 17_900 < int(refused.headers["retry-after"]) <= 18_000
    assert error["resets_at"] == there.windows()[0].ends_at.isoformat().replace("+00:00", "Z")

    there.agree("20", clock.now())
    assert proxy.chat(key, "test/chat").status_code == 200
    settled(2)
    paid = UsageRecord.objects.get(funding="extra_usage")
    assert (paid.charge, paid.flows) == (Decimal("0.18"), 0)
    assert_wallet(account, Decimal("9.82"))

    settings.DEBUG = True  # the clock can only be moved in development
    settings.CLOCK_OFFSET = "+301m"
    assert proxy.chat(key, "test/chat").status_code == 200
    settled(3)
    assert list(UsageRecord.objects.order_by("created_at").values_list("funding", flat=True)) == [
        "subscription", "extra_usage", "subscription",
    ]  # fmt: skip
    assert_wallet(account, Decimal("9.82"))


def test_a_rate_limit_gets_429_and_says_when_to_come_back(proxy: Proxy, customer: tuple[Account, str]) -> None:
    account, key = customer
    BenefitLevel.objects.update(rpm=1)
    assert proxy.chat(key, "test/chat").status_code == 200
    answer = proxy.chat(key, "test/chat")
    assert (answer.status_code, answer.json()["error"]["code"]) == (429, "rpm_exceeded")
    assert 0 < int(answer.headers["retry-after"]) <= 60
    charged_once(account, "0.18")


def test_keys_that_are_wrong_or_stopped_get_in_nowhere(
    proxy: Proxy, customer: tuple[Account, str], upstream: Upstream
) -> None:
    account = customer[0]
    stopped, secret = factories.key(account)
    api_keys.disable(stopped.pk, now=factories.NOON, actor=None)
    for wrong in ("sk-1234", "sk-pg-v1-short", TOKEN.text, secrets.new("sk-pg-v1-").text):
        answer = proxy.chat(wrong, "test/chat")
        assert (answer.status_code, answer.json()["error"]["code"]) == (401, "invalid_credential")
    answer = proxy.chat(secret, "test/chat")
    assert (answer.status_code, answer.json()["error"]["code"]) == (403, "key_disabled")
    assert upstream.requests == []


def test_a_model_without_a_price_is_refused(proxy: Proxy, live_stack: str, upstream: Upstream) -> None:
    answer = proxy.chat(factories.key(factories.funded("10"))[1], "test/chat")
    assert answer.status_code in (403, 404, 422)
    assert answer.json()["error"]["code"] in ("unknown_model", "model_unpriced")
    assert upstream.requests == []


def test_routes_that_are_not_metered_are_closed(
    proxy: Proxy, customer: tuple[Account, str], upstream: Upstream
) -> None:
    key = customer[1]
    for route in (
        "/v1/audio/transcriptions",
        "/v1/batches",
        "/anthropic/v1/messages",
        "/openai/v1/chat/completions",
        "/engines/test/chat/chat/completions",
        "/v1/responses/resp_1/cancel",
        "/key/generate",
        "/model/new",
    ):
        answer = proxy.post(route, key, question("test/chat"))
        assert (route, answer.status_code) == (route, 403)
    background = proxy.post("/v1/responses", key, {"model": "test/chat", "input": "Good day", "background": True})
    assert background.status_code == 403
    assert upstream.requests == []
    assert not Authorization.objects.exists()
    listed = httpx.get(f"{proxy.url}/v1/models", headers={"Authorization": f"Bearer {key}"})
    assert "test/chat" in listed.text


def test_a_caller_cannot_put_another_model_or_another_call_behind_the_one_authorised(
    proxy: Proxy, customer: tuple[Account, str], upstream: Upstream
) -> None:
    account, key = customer
    answer = proxy.chat(key, "test/down", fallbacks=["test/chat"], num_retries=5)
    assert answer.status_code == 500
    assert upstream.calls_of("chat") == 0
    assert upstream.calls_of("down") == 2

    for _ in range(2):  # LiteLLM takes a call id from the caller; ours must differ all the same
        assert proxy.chat(key, "test/chat", headers={"x-litellm-call-id": "mine"}).status_code == 200
    settled(3)
    assert UsageRecord.objects.count() == 2
    assert_wallet(account, Decimal("9.64"))


# --- Meterhall goes away ---------------------------------------------------------------------------------------------


def test_no_call_is_let_through_while_meterhall_cannot_be_asked(
    proxy: Proxy, customer: tuple[Account, str], upstream: Upstream, line: Line, live_stack: str
) -> None:
    account, key = customer
    line.cut()
    answer = proxy.chat(key, "test/chat")
    assert (answer.status_code, answer.json()["error"]["code"]) == (503, "billing_unavailable")
    assert int(answer.headers["retry-after"]) > 0
    assert upstream.requests == []

    line.lead_to(live_stack)
    assert proxy.chat(key, "test/chat").status_code == 200
    charged_once(account, "0.18")


def test_a_capture_waits_for_meterhall_and_the_caller_does_not(
    proxy: Proxy, customer: tuple[Account, str], upstream: Upstream, line: Line, live_stack: str
) -> None:
    account, key = customer
    with proxy.streamed(key, "test/slow") as answer:
        texts = answer.iter_lines()
        next(texts)
        line.cut()
        upstream.release.set()
        assert any("[DONE]" in text for text in texts)
    spooled = "".join(path.read_text() for path in proxy.spool.glob("spool-*.jsonl"))
    assert f"{Authorization.objects.get().pk}/capture" in spooled
    assert Authorization.objects.get().status == "open"

    line.lead_to(live_stack)
    charged_once(account, "0.18")


def test_a_proxy_that_is_killed_after_the_answer_captures_when_it_is_back(
    proxy: Proxy, customer: tuple[Account, str], upstream: Upstream, line: Line, live_stack: str
) -> None:
    """I11: a call that was answered is charged, whatever dies."""
    account, key = customer
    with proxy.streamed(key, "test/slow") as answer:
        texts = answer.iter_lines()
        next(texts)
        line.cut()
        upstream.release.set()
        assert any("[DONE]" in text for text in texts)
    proxy.kill()
    line.lead_to(live_stack)
    assert Authorization.objects.get().status == "open"

    proxy.start()
    charged_once(account, "0.18")


def test_no_key_and_no_prompt_is_written_anywhere(proxy: Proxy, customer: tuple[Account, str]) -> None:
    """I13, F112: the proxy's log and spool hold neither."""
    key = customer[1]
    proxy.chat(key, "test/chat")
    proxy.chat(key, "test/down")
    settled(2)
    written = proxy.log.read_text() + "".join(path.read_text() for path in proxy.spool.iterdir())
    assert key not in written
    assert key.removeprefix("sk-pg-v1-") not in written
    assert "Good day to you" not in written
    assert TOKEN.text not in written
