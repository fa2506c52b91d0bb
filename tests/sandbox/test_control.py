"""The control page, its JSON API, and the refusal to start where it must not."""

import httpx
import pytest
from django.core.exceptions import ImproperlyConfigured

import sandbox as package
from config import clock
from sandbox import switches
from sandbox.apps import SandboxConfig
from sandbox.models import Delivery, Event


@pytest.mark.parametrize(
    "change",
    [
        {"DEBUG": False},
        {"DEBUG": True, "STRIPE_SECRET_KEY": "sk_live_x"},
        {"DEBUG": True, "STRIPE_SECRET_KEY": "rk_live_x"},
    ],
)
def test_the_sandbox_refuses_to_start_where_money_could_be_real(settings, change):
    for name, value in change.items():
        setattr(settings, name, value)
    with pytest.raises(ImproperlyConfigured):
        SandboxConfig("sandbox", package).ready()


def test_it_starts_in_development(settings):
    settings.DEBUG = True
    SandboxConfig("sandbox", package).ready()


@pytest.fixture
def control(sandbox):
    with httpx.Client(base_url=f"{sandbox.url}/sandbox", timeout=20) as browser:
        yield browser


def press(control, path, **form):
    """Press a button of the control page."""
    page = control.get("/control")
    token = page.text.split('name="csrfmiddlewaretoken" value="', 1)[1].split('"', 1)[0]
    url = str(page.url)
    return control.post(f"/control{path}", data={**form, "csrfmiddlewaretoken": token}, headers={"Referer": url})


def test_switches_are_read_changed_and_reset_by_json(sandbox, control):
    assert control.get("/control/switches").json()["refunds"] == "succeed"
    changed = control.post("/control/switches", json={"refunds": "pending", "disturb": ["lost"], "percent": 10}).json()
    assert (changed["refunds"], changed["disturb"], changed["percent"]) == ("pending", ["lost"], 10)
    assert control.delete("/control/switches").json()["refunds"] == "succeed"


@pytest.mark.parametrize(
    "body",
    [
        {"refunds": "maybe"}, {"disturb": ["eaten"]}, {"disturb": "lost"}, {"percent": 101}, {"percent": "10"},
        {"hold": 1}, {"nothing": 1}, {"duplicates": -1},
    ],
)  # fmt: skip
def test_a_switch_that_does_not_exist_is_refused(sandbox, control, body):
    before = control.get("/control/switches").json()
    assert control.post("/control/switches", json=body).status_code == 400
    assert control.get("/control/switches").json() == before


def test_switches_take_json_only(sandbox, control):
    assert control.post("/control/switches", data={"refunds": "fail"}).status_code == 400
    assert (
        control.post("/control/switches", content=b"{", headers={"Content-Type": "application/json"}).status_code == 400
    )
    assert control.post("/control/switches", json=["x"]).status_code == 400


def test_faults_are_set_and_forgotten_by_json(sandbox, control):
    fault = {"kind": "lose", "path_regex": "^/v1/refunds$", "times": 2}
    assert control.post("/control/faults", json=fault).json()["faults"] == [{**fault, "status": None}]
    assert control.delete("/control/faults").json()["faults"] == []
    for wrong in (
        {"kind": "eat", "path_regex": "x"},
        {"kind": "fail", "path_regex": "("},
        {"kind": "fail", "times": "x"},
    ):
        assert control.post("/control/faults", json=wrong).status_code == 400


def test_the_page_shows_what_happened(sandbox, control):
    session = sandbox.client.v1.checkout.sessions.create(sandbox.session_params())
    sandbox.pay(session.id)
    page = control.get("/control").text
    for shown in (session.id, "checkout.session.completed", "order-7", "20.00 USD", "/v1/checkout/sessions", "Sandbox"):
        assert shown in page


def test_the_form_sets_switches_and_resets_them(sandbox, control):
    form = {"disturb": ["lost", "delayed"], "refunds": "pending", "percent": "25", "fault_path": "^/v1/x$"}
    assert press(control, "/set", **form).status_code == 302
    now = switches.as_json()
    assert (now["disturb"], now["refunds"], now["percent"], now["hold"]) == (["lost", "delayed"], "pending", 25, False)
    assert now["faults"][0]["path_regex"] == "^/v1/x$"
    press(control, "/set", percent="a hundred")
    assert switches.as_json() == now
    press(control, "/set", reset="1")
    assert switches.as_json()["disturb"] == []


def test_events_are_shown_released_and_sent_again(sandbox, control, settings):
    settings.SANDBOX_WEBHOOK_URL = "http://127.0.0.1:9/"
    sandbox.switch(disturb=["delayed"])
    sandbox.client.v1.customers.create({"name": "A"})
    event = Event.objects.get()
    assert "customer.created" in control.get(f"/control/events/{event.event_id}").text
    press(control, "/release")
    assert Delivery.objects.get().attempts == 1
    press(control, f"/events/{event.event_id}/send")
    assert Delivery.objects.count() == 2


def test_a_delayed_payment_and_a_refund_are_settled_from_the_page(sandbox, control):
    v1 = sandbox.client.v1
    session = v1.checkout.sessions.create(sandbox.session_params())
    sandbox.pay_by_wallet(session.id, "alipay", "delayed_fail")
    intent = v1.checkout.sessions.retrieve(session.id).payment_intent
    press(control, f"/settle/{intent}", outcome="succeeded")
    assert v1.checkout.sessions.retrieve(session.id).payment_status == "paid"
    sandbox.switch(refunds="pending")
    refund = v1.refunds.create({"payment_intent": intent})
    press(control, f"/settle/{refund.id}", outcome="failed")
    assert v1.refunds.retrieve(refund.id).status == "failed"
    assert press(control, f"/settle/{refund.id}", outcome="succeeded").status_code == 302
    assert v1.refunds.retrieve(refund.id).status == "failed"
    assert press(control, "/settle/pi_nothing").status_code == 404


def test_the_clock_is_moved_by_a_file_that_every_process_reads(sandbox, control, settings, tmp_path):
    settings.DATA_DIR = tmp_path
    press(control, "/clock", offset="+25h")
    assert clock.offset_file().read_text() == "+25h"
    press(control, "/clock", offset="tomorrow")
    assert clock.offset_file().read_text() == "+25h"
    press(control, "/clock", offset="")
    assert clock.offset_file().read_text() == ""


@pytest.mark.parametrize("path", ["/set", "/release", "/clock", "/settle/pi_1", "/events/evt_1/send"])
def test_buttons_need_the_token_of_their_page(sandbox, control, path):
    assert control.post(f"/control{path}", data={}).status_code == 403
