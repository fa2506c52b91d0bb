"""The API as the real `StripeClient` meets it: keys, parameters, idempotency, faults, lists, expansion."""

import threading
from datetime import timedelta

import httpx
import pytest
import stripe

from sandbox import API_VERSION
from sandbox.models import IdempotentRequest, StoredObject


@pytest.fixture
def v1(sandbox):
    return sandbox.client.v1


def test_the_installed_sdk_speaks_the_version_that_the_sandbox_serves():
    from stripe._api_version import _ApiVersion

    assert _ApiVersion.CURRENT == API_VERSION


def test_answers_carry_the_request_id_and_the_version(sandbox, v1):
    customer = v1.customers.create({"email": "a@example.com"})
    headers = customer.last_response.headers
    assert headers["Request-Id"].startswith("req_")
    assert headers["Stripe-Version"] == API_VERSION
    assert customer.livemode is False


@pytest.mark.parametrize("key", ["sk_test_other", "sk_test_sandbox_more", "x"])
def test_a_wrong_key_is_401(sandbox, key):
    with pytest.raises(stripe.AuthenticationError):
        sandbox.client_with(key=key).v1.customers.list()


def test_no_key_is_401(sandbox):
    answer = httpx.get(f"{sandbox.url}/sandbox/v1/customers")
    assert answer.status_code == 401
    assert answer.json()["error"]["type"] == "invalid_request_error"


def test_another_api_version_is_refused(sandbox):
    headers = {"Authorization": "Bearer sk_test_sandbox", "Stripe-Version": "2024-06-20"}
    assert httpx.get(f"{sandbox.url}/sandbox/v1/customers", headers=headers).status_code == 400


@pytest.mark.parametrize(
    ("change", "code", "param"),
    [
        ({"payment_method_types": ["card"]}, "parameter_unknown", "payment_method_types"),
        ({"shop": "x"}, "parameter_unknown", "shop"),
        ({"line_items": [{"quantity": 1, "prize": "x"}]}, "parameter_unknown", "line_items[0][prize]"),
        ({"line_items": [{"quantity": 1}]}, "parameter_missing", "line_items[0][price_data]"),
        ({"client_reference_id": ""}, "parameter_invalid_empty", "client_reference_id"),
        ({"ui_mode": "hosted"}, None, "ui_mode"),
        ({"customer": "cus_nobody"}, "resource_missing", "customer"),
        ({"customer_email": "nobody"}, "email_invalid", "customer_email"),
        ({"success_url": "nowhere"}, "url_invalid", "success_url"),
        ({"payment_method_options": {"wechat_pay": {"app_id": "x"}}}, "parameter_missing", None),
        ({"metadata": {"k" * 41: "v"}}, None, "metadata"),
        ({"metadata": {"k": "v" * 501}}, None, "metadata[k]"),
        ({"expires_at": 1}, None, "expires_at"),
    ],
)
def test_a_bad_parameter_is_named(sandbox, v1, change, code, param):
    sandbox.bad_requests_expected()
    with pytest.raises(stripe.InvalidRequestError) as refusal:
        v1.checkout.sessions.create(sandbox.session_params(**change))
    assert refusal.value.http_status == 400
    assert refusal.value.code == code
    assert param is None or refusal.value.param == param
    assert not StoredObject.objects.exists()


@pytest.mark.parametrize("left_out", ["mode", "success_url", "line_items"])
def test_a_missing_parameter_is_named(sandbox, v1, left_out):
    sandbox.bad_requests_expected()
    params = sandbox.session_params()
    del params[left_out]
    with pytest.raises(stripe.InvalidRequestError) as refusal:
        v1.checkout.sessions.create(params)
    assert (refusal.value.code, refusal.value.param) == ("parameter_missing", left_out)


@pytest.mark.parametrize(("amount", "code"), [(49, "amount_too_small"), (100_000_000, "amount_too_large")])
def test_an_amount_outside_the_limits_is_refused(sandbox, v1, amount, code):
    sandbox.bad_requests_expected()
    with pytest.raises(stripe.InvalidRequestError) as refusal:
        v1.checkout.sessions.create(sandbox.session_params(amount=amount))
    assert refusal.value.code == code


@pytest.mark.parametrize(
    "fetch",
    [
        lambda v1: v1.customers.retrieve("cus_nobody"),
        lambda v1: v1.checkout.sessions.retrieve("cs_test_nothing"),
        lambda v1: v1.payment_intents.retrieve("pi_nothing"),
        lambda v1: v1.charges.retrieve("ch_nothing"),
        lambda v1: v1.refunds.retrieve("re_nothing"),
        lambda v1: v1.events.retrieve("evt_nothing"),
        lambda v1: v1.balance_transactions.retrieve("txn_nothing"),
        lambda v1: v1.payment_methods.retrieve("pm_nothing"),
    ],
)
def test_an_unknown_id_is_404(v1, fetch):
    with pytest.raises(stripe.InvalidRequestError) as refusal:
        fetch(v1)
    assert (refusal.value.http_status, refusal.value.code) == (404, "resource_missing")


def test_an_unknown_url_is_404(sandbox):
    answer = httpx.get(f"{sandbox.url}/sandbox/v1/nothing", headers={"Authorization": "Bearer sk_test_sandbox"})
    sandbox.bad_requests_expected()
    assert answer.status_code == 404
    assert "Unrecognized request URL" in answer.json()["error"]["message"]


# --- Idempotency --------------------------------------------------------------------------------------------------
def test_the_same_key_and_body_return_the_first_answer(sandbox, v1):
    options = {"idempotency_key": "order:7:v1"}
    first = v1.checkout.sessions.create(sandbox.session_params(), options)
    second = v1.checkout.sessions.create(sandbox.session_params(), options)
    assert first.id == second.id
    assert "Idempotent-Replayed" not in first.last_response.headers
    assert second.last_response.headers["Idempotent-Replayed"] == "true"
    assert len(sandbox.objects("checkout.session")) == 1


def test_the_same_key_with_another_body_is_refused(sandbox, v1):
    options = {"idempotency_key": "order:7:v1"}
    v1.customers.create({"email": "a@example.com"}, options)
    with pytest.raises(stripe.IdempotencyError):
        v1.customers.create({"email": "b@example.com"}, options)
    assert len(sandbox.objects("customer")) == 1


def test_a_refusal_after_the_parameters_is_an_answer_too(sandbox, v1):
    options = {"idempotency_key": "refund:7:v1"}
    for _ in range(2):
        with pytest.raises(stripe.InvalidRequestError) as refusal:
            v1.refunds.create({"payment_intent": "pi_nothing"}, options)
    assert refusal.value.headers["Idempotent-Replayed"] == "true"


def test_a_key_at_work_is_409(sandbox, v1):
    v1.customers.create({"name": "A"}, {"idempotency_key": "k"})
    IdempotentRequest.objects.update(status=None, body=None)
    with pytest.raises(stripe.APIError) as conflict:
        v1.customers.create({"name": "A"}, {"idempotency_key": "k"})
    assert conflict.value.http_status == 409
    assert len(sandbox.objects("customer")) == 1


def test_one_key_sent_ten_times_at_once_does_the_work_once(sandbox):
    answers: list[object] = []

    def create() -> None:
        try:
            answers.append(sandbox.client.v1.customers.create({"name": "A"}, {"idempotency_key": "k"}).id)
        except stripe.APIError as conflict:
            answers.append(conflict.http_status)

    threads = [threading.Thread(target=create) for _ in range(10)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    (customer,) = sandbox.objects("customer")
    assert len(answers) == 10
    assert set(answers) <= {customer["id"], 409}


def test_a_key_is_forgotten_after_a_day(sandbox, v1):
    options = {"idempotency_key": "k"}
    first = v1.customers.create({"name": "A"}, options)
    row = IdempotentRequest.objects.get()
    row.created -= timedelta(hours=24, seconds=1)
    row.save()
    assert v1.customers.create({"name": "A"}, options).id != first.id


# --- Faults -------------------------------------------------------------------------------------------------------
def test_a_lost_answer_does_the_work_and_cuts_the_connection(sandbox, v1):
    options = {"idempotency_key": "k"}
    sandbox.lose_next_answer("^/v1/customers$")
    with pytest.raises(stripe.APIConnectionError):
        v1.customers.create({"name": "A"}, options)
    (kept,) = sandbox.objects("customer")
    assert v1.customers.create({"name": "A"}, options).id == kept["id"]


def test_a_lost_answer_is_found_again_by_the_sdk_with_the_same_key(sandbox):
    sandbox.lose_next_answer("customers", status=502)
    customer = sandbox.client_with(retries=1).v1.customers.create({"name": "A"})
    assert customer.last_response.headers["Idempotent-Replayed"] == "true"
    assert [kept["id"] for kept in sandbox.objects("customer")] == [customer.id]


@pytest.mark.parametrize(
    ("status", "error"), [(500, stripe.APIError), (429, stripe.RateLimitError), (409, stripe.APIError)]
)
def test_a_refused_call_does_no_work(sandbox, v1, status, error):
    sandbox.fail_next("^/v1/customers$", status=status)
    with pytest.raises(error):
        v1.customers.create({"name": "A"})
    assert sandbox.objects("customer") == []
    v1.customers.create({"name": "A"})


def test_a_fault_meets_as_many_calls_as_it_says(sandbox, v1):
    sandbox.fail_next("customers", times=2)
    for _ in range(2):
        with pytest.raises(stripe.APIError):
            v1.customers.list()
    assert v1.customers.list().data == []


# --- Lists and expansion ------------------------------------------------------------------------------------------
def test_lists_are_newest_first_and_page_both_ways(v1):
    ids = [v1.customers.create({"name": f"C{n}"}).id for n in range(5)]
    first = v1.customers.list({"limit": 2})
    assert ([one.id for one in first.data], first.has_more) == ([ids[4], ids[3]], True)
    second = v1.customers.list({"limit": 2, "starting_after": ids[3]})
    assert [one.id for one in second.data] == [ids[2], ids[1]]
    last = v1.customers.list({"limit": 2, "starting_after": ids[1]})
    assert ([one.id for one in last.data], last.has_more) == ([ids[0]], False)
    back = v1.customers.list({"limit": 2, "ending_before": ids[0]})
    assert ([one.id for one in back.data], back.has_more) == ([ids[2], ids[1]], True)
    assert [one.id for one in v1.customers.list({"limit": 2}).auto_paging_iter()] == ids[::-1]


def test_ids_of_later_objects_sort_later(v1):
    ids = [v1.customers.create().id for _ in range(5)]
    assert ids == sorted(ids)


def test_lists_are_filtered_by_creation(v1):
    made = v1.customers.create({"name": "A"})
    assert v1.customers.list({"created": {"gte": made.created}}).data
    assert not v1.customers.list({"created": {"gt": made.created}}).data
    assert v1.customers.list({"created": {"lte": made.created}}).data
    assert not v1.customers.list({"created": {"lt": made.created}}).data
    assert v1.customers.list({"created": made.created}).data


@pytest.mark.parametrize("limit", [0, 101])
def test_a_page_has_one_to_a_hundred_objects(v1, limit):
    with pytest.raises(stripe.InvalidRequestError):
        v1.customers.list({"limit": limit})


def test_references_are_expanded_where_they_are_asked_for(sandbox, v1):
    customer = v1.customers.create({"email": "a@example.com"})
    session = v1.checkout.sessions.create(sandbox.session_params(customer=customer.id))
    sandbox.pay(session.id)
    plain = v1.checkout.sessions.retrieve(session.id)
    assert plain.customer == customer.id
    assert plain.payment_intent.startswith("pi_")
    paths = [
        "customer",
        "line_items",
        "payment_intent.latest_charge.balance_transaction",
        "payment_intent.payment_method",
    ]
    full = v1.checkout.sessions.retrieve(session.id, {"expand": paths})
    assert full.customer.email == "a@example.com"
    assert full.line_items.data[0].amount_total == 2000
    assert full.payment_intent.payment_method.card.last4 == "4242"
    assert full.payment_intent.latest_charge.balance_transaction.net == 2000 - 88
    listed = v1.charges.list({"expand": ["data.payment_intent"]})
    assert listed.data[0].payment_intent.status == "succeeded"


@pytest.mark.parametrize("path", ["status", "nothing", "payment_intent.nothing", "a.b.c.d.e"])
def test_what_is_not_a_reference_cannot_be_expanded(sandbox, v1, path):
    sandbox.bad_requests_expected()
    session = v1.checkout.sessions.create(sandbox.session_params())
    sandbox.pay(session.id)
    with pytest.raises(stripe.InvalidRequestError):
        v1.checkout.sessions.retrieve(session.id, {"expand": [path]})


# --- Customers ----------------------------------------------------------------------------------------------------
def test_a_customer_is_changed_and_deleted(sandbox, v1):
    customer = v1.customers.create({"email": "a@example.com", "metadata": {"account": "1", "gone": "x"}})
    changed = v1.customers.update(customer.id, {"name": "A", "metadata": {"gone": "", "more": "2"}})
    assert changed.metadata.to_dict() == {"account": "1", "more": "2"}
    assert v1.customers.delete(customer.id).deleted is True
    assert v1.customers.retrieve(customer.id).deleted is True
    assert v1.customers.list().data == []
    assert [event["type"] for event in sandbox.events()] == ["customer.created", "customer.updated", "customer.deleted"]
