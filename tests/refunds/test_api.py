"""Refunds from a program: looking, asking, following and taking back (03-http-api 3.5)."""

from __future__ import annotations

import csv
import io
from datetime import timedelta
from decimal import Decimal
from typing import Any
from uuid import uuid4

import pytest

from accounts.models import Account, AuditRecord
from billing.payments.models import TopUp
from billing.payments.stripe_processor import get_processor
from config import clock
from refunds import deciding, lifecycle, plan_settling
from refunds.models import Refund
from refunds.models_plan import PlanRefund
from tests import factories
from tests.api import Program, problem, program
from tests.flush import broken_books
from tests.refunds.conftest import Desk, Shop, broker_away, desk, inbox, shop, work
from tests.refunds.orders import paid_in_review
from tests.subscriptions.conftest import Club, club, move

__all__ = ["Shop", "broker_away", "club", "desk", "inbox", "move", "shop", "work"]

pytestmark = pytest.mark.django_db(transaction=True)


def asked(by: Program, path: str, body: Any, key: str | None = "") -> Any:
    """A POST with a key of its own, unless one is given or None."""
    headers = {} if key is None else {"Idempotency-Key": key or uuid4().hex}
    return by.call("POST", path, body, headers=headers)


def previewed(by: Program, **body: Any) -> dict[str, Any]:
    found = asked(by, "refunds/preview", body or {"kind": "subscription"}, None)
    assert found.status_code == 200, found.content
    return dict(found.json())


def listed(by: Program, query: str = "") -> list[dict[str, Any]]:
    found = by.get(f"/api/v1/refunds?{query}")
    assert found.status_code == 200, found.content
    return list(found.json()["results"])


@pytest.fixture
def finance(shop: Shop) -> Program:
    """A program of the account that may pay."""
    return program(shop.account, "finance")


def test_a_plan_is_looked_at_given_back_and_followed(club: Club, finance: Program) -> None:
    club.subscribe("pro")
    shown = previewed(finance)
    assert (shown["possible"], shown["reasons"], shown["plan"], shown["needs_decision"]) == (True, [], "pro", False)
    lines = shown["lines"]
    assert lines | {"flows": ""} == {
        "currency": "USD", "paid_total": "20.00", "actual_usage": "0.00", "flows": "",
        "pending": {"calls": 0, "max": "0.00"}, "already_refunded": "0.00", "disputed": None, "refundable": None,
        "difference": "20.00", "fee": "1.00", "fee_rate": "0.05", "fee_base": "difference", "tax": "0.00",
        "final": "19.00", "final_min": "19.00", "final_max": "19.00",
    }  # fmt: skip
    assert Decimal(lines["flows"]) == 0
    assert shown["window"]["opened_at"] < shown["expires_at"] < shown["window"]["closes_at"]

    body = {"quote": shown["quote"], "reason": "does not fit"}
    made = asked(finance, "refunds", body, "one")
    assert made.status_code == 201, made.content
    told = made.json()
    assert (told["status"], told["final"], told["reason"]) == ("processing", "19.00", "does not fit")
    assert AuditRecord.objects.get(action="plan_refund_submitted").actor_label.startswith("management key mk-")
    assert asked(finance, "refunds", body, "one").json()["id"] == told["id"]

    club.tell()
    done = finance.get(f"/api/v1/refunds/{told['id']}").json()
    assert (done["status"], done["sent"], club.plan()) == ("succeeded", "19.00", "free")
    assert done["provider_references"] == [one["id"] for one in club.sandbox.refunds()]
    [part] = done["parts"]
    assert (part["requested"], part["fee"], part["final"], part["state"]) == ("20.00", "1.00", "19.00", "succeeded")
    events = [one["event"] for one in done["timeline"]]
    assert (events[0], {"submitted", "succeeded", "plan_ended_at_provider"} - set(events)) == ("requested", set())
    assert done["lines"] == done["quoted"]
    assert listed(finance)[0]["id"] == told["id"]


def test_a_plan_refund_goes_on_by_itself_after_the_answer(club: Club, finance: Program) -> None:
    club.subscribe("pro")
    asked(finance, "refunds", {"quote": previewed(finance)["quote"]})
    work()
    assert PlanRefund.objects.get().status == "succeeded"


def test_a_plan_refund_is_taken_back_and_the_plan_goes_on(club: Club, finance: Program, broker_away: None) -> None:
    club.subscribe("pro")
    made = asked(finance, "refunds", {"quote": previewed(finance)["quote"]}).json()
    assert (made["can_cancel"], club.row().paused_at is not None) == (True, True)
    for _time in range(2):  # a repeat changes nothing
        taken = asked(finance, f"refunds/{made['id']}/cancel", {"reason": "I keep it"}, None)
        assert (taken.status_code, taken.json()["status"], taken.json()["can_cancel"]) == (200, "cancelled", False)
    plan_settling.go_on(PlanRefund.objects.get().pk, processor=get_processor(), now=clock.now())
    row = club.row()
    assert (row.paused_at, row.renews, club.plan(), club.sandbox.refunds()) == (None, True, "pro", [])
    assert AuditRecord.objects.get(action="plan_refund_cancelled").reason == "I keep it"


def test_what_was_sent_is_not_taken_back(club: Club, finance: Program) -> None:
    club.subscribe("pro")
    made = asked(finance, "refunds", {"quote": previewed(finance)["quote"]}).json()
    work()
    problem(asked(finance, f"refunds/{made['id']}/cancel", {}, None), 409, "invalid_transition")


def test_every_reason_is_told_at_once_by_the_preview_and_by_the_refusal(
    club: Club, finance: Program, move: Any
) -> None:
    club.subscribe("pro")
    token = previewed(finance)["quote"]
    Account.objects.filter(pk=club.account.pk).update(status="suspended")
    move("+8m")
    refused = problem(asked(finance, "refunds", {"quote": token}), 409, "not_refundable")
    assert [one["code"] for one in refused["reasons"]] == ["account_not_active"]
    move("+25h")
    shown = previewed(finance)
    assert (shown["possible"], shown["quote"], shown["expires_at"]) == (False, None, None)
    codes = {one["code"]: one for one in shown["reasons"]}
    assert set(codes) == {"account_not_active", "window_closed"}
    assert Decimal(codes["window_closed"]["evidence"]["late_by_seconds"]) > 3500
    assert codes["window_closed"]["text"].startswith("A refund can be asked for within 24 hours")
    assert shown["lines"]["final"] == "19.00"


def test_an_old_quote_and_one_that_is_not_ours_are_refused(club: Club, finance: Program, move: Any) -> None:
    club.subscribe("pro")
    token = previewed(finance)["quote"]
    problem(asked(finance, "refunds", {"quote": token + "x"}), 422, "invalid_request")
    move("+16m")
    problem(asked(finance, "refunds", {"quote": token}), 409, "refund_quote_expired")
    assert not PlanRefund.objects.exists()


def test_a_top_up_is_asked_back_in_part_decided_and_paid(desk: Desk, finance: Program) -> None:
    order = desk.paid("20")
    desk.spend("5")
    shown = previewed(finance, kind="top_up", order=order.number, amount="10.00")
    assert (shown["possible"], shown["needs_decision"], shown["quote"]) == (True, True, None)
    names = ("paid_total", "actual_usage", "refundable", "difference", "fee", "final")
    assert [shown["lines"][name] for name in names] == ["20.00", "5.00", "15.00", "10.00", "0.50", "9.50"]

    body = {"kind": "top_up", "order": order.number, "amount": "10.00", "reason": "paid twice"}
    made = asked(finance, "refunds", body, "one")
    assert made.status_code == 201, made.content
    told = made.json()
    assert (told["status"], told["order"], told["requested"]) == ("processing", order.number, "10.00")
    assert (asked(finance, "refunds", body, "one").json()["id"], desk.net()) == (told["id"], 5)
    assert AuditRecord.objects.get(action="refund_request").actor_label.startswith("management key mk-")

    desk.submit(desk.approve(Refund.objects.get()))
    done = finance.get(f"/api/v1/refunds/{told['id']}").json()
    assert (done["status"], done["sent"], len(done["provider_references"])) == ("succeeded", "9.50", 1)
    assert [one["event"] for one in done["timeline"]] == ["requested", "approved", "submitted", "succeeded"]
    assert broken_books() == []


def test_a_top_ups_refund_is_taken_back_by_a_program_and_the_credit_is_there_again(
    desk: Desk, finance: Program
) -> None:
    order = desk.paid("20")
    made = asked(finance, "refunds", {"kind": "top_up", "order": order.number, "reason": "mistake"}).json()
    assert desk.net() == 0
    for _time in range(2):
        taken = asked(finance, f"refunds/{made['id']}/cancel", {}, None)
        assert (taken.status_code, taken.json()["status"], desk.net()) == (200, "cancelled", 20)
    record = AuditRecord.objects.get(action="refund_cancel")
    assert (record.actor, record.actor_label.startswith("management key mk-")) == (None, True)


def test_what_goes_back_without_a_request_is_not_taken_back(finance: Program, shop: Shop) -> None:
    order = paid_in_review(account=shop.account)
    refund = lifecycle.return_uncredited(order.pk, reason="risk", actor=factories.user(), now=clock.now())
    assert finance.get(f"/api/v1/refunds/{refund.pk}").json()["can_cancel"] is False
    problem(asked(finance, f"refunds/{refund.pk}/cancel", {}, None), 409, "invalid_transition")
    refund.refresh_from_db()
    assert refund.status == "approved"


def test_a_top_up_of_which_nothing_is_left_says_why(desk: Desk, finance: Program) -> None:
    order = desk.paid("20")
    desk.spend("20")
    shown = previewed(finance, kind="top_up", order=order.number)
    assert (shown["possible"], shown["lines"], shown["reasons"][0]["code"]) == (False, None, "nothing_left")
    body = {"kind": "top_up", "order": order.number, "reason": "why not"}
    refused = problem(asked(finance, "refunds", body), 409, "not_refundable")
    assert refused["reasons"] == shown["reasons"]
    old = desk.paid("20")
    moved = clock.now() - timedelta(days=91)
    TopUp.objects.filter(pk=old.pk).update(method="alipay", paid_at=moved, status="disputed", disputed_minor=2000)
    shown = previewed(finance, kind="top_up", order=old.number)
    assert [one["code"] for one in shown["reasons"]] == ["disputed", "too_old"]
    refused = problem(asked(finance, "refunds", body | {"order": old.number}), 409, "not_refundable")
    assert (refused["reasons"], refused["detail"]) == (shown["reasons"], shown["reasons"][0]["text"])
    TopUp.objects.filter(pk=old.pk).update(status="credited", disputed_minor=0)
    too_much = previewed(finance, kind="top_up", order=desk.paid("10").number, amount="10.01")
    assert too_much["reasons"][0] == {
        "code": "more_than_unused",
        "text": "Only $10.00 of this payment is unused and can be refunded.",
        "evidence": {"refundable": "10.00"},
    }


def test_the_same_key_with_another_body_is_a_conflict(desk: Desk, club: Club, finance: Program) -> None:
    order, other = desk.paid("20"), desk.paid("20")
    club.subscribe("pro")
    token = previewed(finance)["quote"]
    body = {"kind": "top_up", "order": order.number, "amount": "5.00", "reason": "mistake"}
    assert asked(finance, "refunds", body, "one").status_code == 201
    for change in ({"amount": "6.00"}, {"order": other.number}, {"reason": "another one"}):
        problem(asked(finance, "refunds", body | change, "one"), 409, "idempotency_conflict")
    all_of_it = {name: value for name, value in body.items() if name != "amount"}
    problem(asked(finance, "refunds", all_of_it, "one"), 409, "idempotency_conflict")
    problem(asked(finance, "refunds", {"quote": token}, "one"), 409, "idempotency_conflict")
    assert asked(finance, "refunds", {"quote": token}, "two").status_code == 201
    problem(asked(finance, "refunds", {"quote": token, "reason": "x"}, "two"), 409, "idempotency_conflict")
    problem(asked(finance, "refunds", body, "two"), 409, "idempotency_conflict")
    assert (Refund.objects.filter(plan_refund=None).count(), PlanRefund.objects.count()) == (1, 1)


def test_what_is_not_right_is_refused_and_writes_nothing(desk: Desk, finance: Program) -> None:
    order = desk.paid("20").number
    top_up = {"kind": "top_up", "order": order, "reason": "mistake"}
    problem(asked(finance, "refunds", top_up, None), 400, "idempotency_key_required")
    wrong: list[dict[str, Any]] = [
        {},
        {"kind": "subscription"},
        {"kind": "top_up", "order": order},
        {"kind": "top_up", "reason": "mistake"},
        top_up | {"quote": "x"},
        top_up | {"amount": 5},
        top_up | {"amount": "0"},
        top_up | {"amount": "1.001"},
        top_up | {"amount": "NaN"},
        top_up | {"reason": "  "},
        {"quote": "x", "order": order},
        {"quote": "x", "nonsense": 1},
    ]
    for body in wrong:
        problem(asked(finance, "refunds", body), 422, "invalid_request")
    for body in ({"kind": "top_up"}, {"kind": "subscription", "order": order}, {"kind": "all"}):
        problem(asked(finance, "refunds/preview", body, None), 422, "invalid_request")
    problem(asked(finance, "refunds/preview", {"kind": "subscription"}, None), 404, "not_found")
    assert not Refund.objects.exists()


def test_another_accounts_order_quote_and_refund_do_not_exist(desk: Desk, club: Club, finance: Program) -> None:
    order = desk.paid("20").number
    club.subscribe("pro")
    token = previewed(finance)["quote"]
    body = {"kind": "top_up", "order": order, "reason": "mistake"}
    made = asked(finance, "refunds", body).json()
    stranger = program(factories.account(), "owner")
    problem(asked(stranger, "refunds", body), 404, "not_found")
    problem(asked(stranger, "refunds", {"quote": token}), 404, "not_found")
    problem(asked(stranger, "refunds/preview", {"kind": "top_up", "order": order}, None), 404, "not_found")
    problem(stranger.get(f"/api/v1/refunds/{made['id']}"), 404, "not_found")
    problem(asked(stranger, f"refunds/{made['id']}/cancel", {}, None), 404, "not_found")
    assert listed(stranger) == []


def test_who_may_not_pay_reads_and_does_not_ask(desk: Desk, finance: Program) -> None:
    order = desk.paid("20").number
    made = asked(finance, "refunds", {"kind": "top_up", "order": order, "reason": "mistake"}).json()
    reader = program(desk.shop.account, "developer")
    assert [one["id"] for one in listed(reader)] == [made["id"]]
    assert reader.get(f"/api/v1/refunds/{made['id']}").status_code == 200
    for path in ("refunds", "refunds/preview", f"refunds/{made['id']}/cancel"):
        problem(asked(reader, path, {}), 403, "permission_denied")


def test_the_list_is_newest_first_across_both_kinds_with_filters_pages_and_a_table(
    desk: Desk, club: Club, finance: Program
) -> None:
    orders = [desk.paid("20") for _ in range(2)]
    first = desk.ask(orders[0])
    club.subscribe("pro")
    asked(finance, "refunds", {"quote": previewed(finance)["quote"]})
    plan = PlanRefund.objects.get()
    last = desk.ask(orders[1])
    deciding.reject(first.pk, actor=desk.staff, reason="used", now=clock.now())
    club.tell()

    everything = [str(row.pk) for row in (last, plan, first)]
    assert [one["id"] for one in listed(finance)] == everything
    assert [one["id"] for one in listed(finance, "kind=subscription")] == everything[1:2]
    assert [one["id"] for one in listed(finance, "kind=top_up")] == [everything[0], everything[2]]
    assert [one["id"] for one in listed(finance, "status=processing")] == everything[:1]
    [rejected] = listed(finance, "status=cancelled")
    assert (rejected["id"], rejected["answer"]) == (everything[2], "used")

    walked, cursor = [], ""
    while True:
        page = finance.get(f"/api/v1/refunds?page_size=1{cursor}").json()
        walked += [one["id"] for one in page["results"]]
        if page["next_cursor"] is None:
            break
        cursor = f"&cursor={page['next_cursor']}"
    assert walked == everything
    # The plan's own payment belongs to it, and is no row and no refund of its own.
    part = Refund.objects.get(plan_refund=plan)
    problem(finance.get(f"/api/v1/refunds/{part.pk}"), 404, "not_found")

    table = b"".join(finance.get("/api/v1/refunds?format=csv").streaming_content).decode("utf-8-sig")
    rows = list(csv.DictReader(io.StringIO(table)))
    assert [row["id"] for row in rows] == everything
    assert (rows[1]["plan"], rows[1]["sent"], rows[2]["status"]) == ("pro", "19.00", "cancelled")
    for wrong in ("kind=gift", "status=open", "cursor=xx", "nonsense=1"):
        problem(finance.get(f"/api/v1/refunds?{wrong}"), 422, "invalid_request")
