"""What the customers' API answers to requests that are not as they should be: problem documents, never pages."""

import json
from datetime import UTC, datetime

import httpx
import pytest
from django.contrib.auth.models import AnonymousUser
from django.db import OperationalError
from django.test import Client, RequestFactory

from accounts.models import ApiKey
from config import errors, exports
from config.api import Keyset
from tests import factories, live
from tests.api import Program, management_key, problem, program

pytestmark = pytest.mark.django_db


@pytest.fixture
def caller():
    """A program that may do everything."""
    return program(factories.account())


@pytest.mark.parametrize(
    "path", ["/api/", "/api/v1/", "/api/v2/keys", "/api/v1/keys/not-a-uuid", "/api/v1/%00", "/api/v1/usage/"]
)
@pytest.mark.parametrize("debug", [False, True])
def test_an_unknown_address_is_a_problem_document(caller, path, debug, settings):
    settings.DEBUG = debug
    problem(caller.call("GET", path), 404, "not_found")
    problem(Program().call("POST", path, {}), 404, "not_found")


def test_a_page_that_does_not_exist_stays_a_page():
    answer = Client().get("/no/such/page")
    assert answer.status_code == 404
    assert answer["Content-Type"].startswith("text/html")


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "OPTIONS", "TRACE", "BREW"])
def test_a_method_that_is_not_known_is_405_and_says_which_are(caller, method):
    answer = caller.call(method, "balance")
    problem(answer, 405, "method_not_allowed")
    assert answer["Allow"] == "GET, HEAD"


def test_head_answers_as_get_does_without_a_body(caller):
    answer = caller.call("HEAD", "balance")
    assert (answer.status_code, answer.content) == (200, b"")


def test_a_format_that_we_do_not_speak_is_406(caller):
    problem(caller.call("GET", "balance", headers={"accept": "application/xml"}), 406, "not_acceptable")
    problem(caller.call("GET", "balance", headers={"accept": "text/csv"}), 406, "not_acceptable")


@pytest.mark.parametrize(
    "kind", ["text/plain", "application/x-www-form-urlencoded", "multipart/form-data; boundary=x", "x"]
)
def test_a_body_that_is_not_json_is_415(caller, kind):
    problem(caller.call("POST", "keys", b"name=x", content_type=kind), 415, "unsupported_media_type")


@pytest.mark.parametrize(
    "body",
    [
        b"{",
        b"\xff\xfe",
        b'{"name": NaN}',
        b'{"name": "\\ud800"}',
        b"[" * 100_000,
        b'{"name": 1e999}',
        b"{'name': 'x'}",
        b'{"name": "x"}{}',
    ],
)
def test_wrong_json_is_400_and_nothing_is_written(caller, body):
    problem(caller.call("POST", "keys", body), 400, "bad_request")
    assert not ApiKey.objects.exists()


@pytest.mark.parametrize("body", [b"[]", b"[1]", b'"x"', b"7", b"null", b"true"])
def test_json_that_is_no_object_is_422(caller, body):
    problem(caller.call("POST", "keys", body), 422, "invalid_request")


def test_a_body_of_ten_megabytes_is_413(caller):
    body = json.dumps({"name": "x" * 10_000_000}).encode()
    problem(caller.call("POST", "keys", body), 413, "body_too_large")
    problem(Program().call("POST", "quotes", body), 413, "body_too_large")
    assert not ApiKey.objects.exists()


def test_a_body_of_ten_megabytes_is_413_over_the_wire_too(transactional_db):
    secret = management_key(factories.account())
    with live.serving() as url, httpx.Client(base_url=url, headers={"Authorization": f"Bearer {secret}"}) as wire:
        answer = wire.post("/api/v1/keys", json={"name": "x" * 10_000_000})
        assert (answer.status_code, answer.json()["code"]) == (413, "body_too_large")
        assert answer.headers["content-type"] == "application/problem+json"


def test_refusals_speak_the_callers_language_and_their_codes_never_change(caller):
    english = problem(caller.call("GET", "keys?kind=x"), 422, "invalid_request")
    chinese = problem(caller.call("GET", "keys?kind=x", headers={"accept-language": "zh-hans"}), 422, "invalid_request")
    assert english["field"] == chinese["field"] == "kind"
    assert (english["title"], chinese["title"]) == ("A value in the request is not valid.", "请求中有无效的值。")


def test_the_callers_trace_id_comes_back(caller):
    answer = caller.call("GET", "keys?kind=x", headers={"x-trace-id": "abc-123"})
    assert (answer["X-Trace-Id"], answer.json()["trace_id"]) == ("abc-123", "abc-123")


def test_a_database_that_is_away_is_503_with_retry_after(caller, monkeypatch):
    def away(*_args: object, **_more: object) -> None:
        raise OperationalError("the connection is closed")

    monkeypatch.setattr("billing.books.api.summary", away)
    answer = caller.call("GET", "balance")
    problem(answer, 503, "service_unavailable")
    assert answer["Retry-After"] == "1"


def test_a_bug_is_500_and_tells_nothing_of_itself(monkeypatch):
    def bug(*_args: object, **_more: object) -> None:
        raise RuntimeError("secret details")

    monkeypatch.setattr("billing.books.api.summary", bug)
    caller = program(factories.account())
    caller.raise_request_exception = False
    answer = caller.call("GET", "balance")
    problem(answer, 500, "internal_error")
    assert b"secret details" not in answer.content


def test_pages_get_pages_from_the_handlers_and_programs_get_problems():
    page, api = RequestFactory().get("/keys"), RequestFactory().get("/api/v1/keys")
    for request in (page, api):
        request.user = AnonymousUser()
    assert errors.bad_request(api, ValueError()).status_code == 400
    assert errors.permission_denied(api, ValueError())["Content-Type"] == "application/problem+json"
    assert errors.bad_request(page, ValueError())["Content-Type"].startswith("text/html")


def test_an_address_without_its_slash_is_led_to_the_page_with_it():
    answer = Client().get("/api/docs")
    assert (answer.status_code, answer["Location"]) == (302, "/api/docs/")


# --- Pages and tables ----------------------------------------------------------------------------------------------


def test_a_cursor_brings_back_what_it_was_made_of():
    class Row:
        at = datetime(2026, 11, 22, 12, 0, 0, 123456, tzinfo=UTC)
        number = 7
        slug = "a/b"

    keyset = Keyset(("at", "number", "slug"), (datetime, int, str))
    assert keyset.values(keyset.cursor(Row)) == [Row.at, 7, "a/b"]


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        ("=1+1", "'=1+1"),
        ("+CMD", "'+CMD"),
        ("-2+3", "'-2+3"),
        ("@SUM", "'@SUM"),
        ("  =1", "'  =1"),
        ("\t=1", "'\t=1"),
        ("\uff1d1", "'\uff1d1"),
        ("-12.50", "-12.50"),
        ("+7", "+7"),
        ("a=b", "a=b"),
        ("", ""),
        (None, ""),
        (True, "true"),
        (-3, "-3"),
    ],
)
def test_a_cell_is_a_value_and_never_a_formula(value, shown):
    assert exports.cell(value) == shown


def test_a_long_table_streams_over_asgi_and_gives_its_connection_back(transactional_db, monkeypatch):
    monkeypatch.setattr("config.api.CSV_CHUNK", 10)
    account = factories.account()
    for _ in range(35):
        factories.credit(account, "1")
    secret = management_key(account)
    with live.serving() as url, httpx.Client(base_url=url, headers={"Authorization": f"Bearer {secret}"}) as wire:
        with wire.stream("GET", "/api/v1/transactions?format=csv") as answer:
            lines = [line for line in answer.iter_lines() if line]
        assert answer.headers["content-disposition"] == 'attachment; filename="transactions.csv"'
        assert "content-length" not in answer.headers
    assert len(lines) == 36
    assert [line.partition(",")[0] for line in lines[1:]] == [str(number) for number in range(35, 0, -1)]
