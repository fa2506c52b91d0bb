"""Buying, changing and ending a plan from a program (03-http-api 3.5)."""

from __future__ import annotations

from typing import Any
from uuid import uuid4

import pytest
from django.test import Client

from accounts import api_keys
from accounts.models import AuditRecord
from config import clock
from subscriptions.models import PlanChange, Subscription
from tests.subscriptions.conftest import Club

pytestmark = pytest.mark.django_db(transaction=True)


class Program:
    """A program with a management key of the account."""

    def __init__(self, club: Club, role: str = "finance") -> None:
        _, secret = api_keys.issue_management_key(club.account, name="p", role=role, now=clock.now(), actor=None)
        self.headers = {"Authorization": f"Bearer {secret}"}

    def post(self, verb: str, body: dict[str, Any], key: str | None = "") -> Any:
        sent = self.headers | ({} if key is None else {"Idempotency-Key": key or uuid4().hex})
        return Client().post(f"/api/v1/subscription/{verb}", body, content_type="application/json", headers=sent)


@pytest.fixture
def program(club: Club) -> Program:
    return Program(club)


def test_a_plan_is_bought_looked_at_changed_cancelled_and_taken_back(club: Club, program: Program) -> None:
    bought = program.post("checkout", {"plan": "pro"}, "one")
    assert bought.status_code == 201, bought.content
    row = Subscription.objects.get()
    assert (bought.json()["id"], bought.json()["checkout_url"]) == (str(row.pk), row.checkout_url)
    assert program.post("checkout", {"plan": "pro"}, "one").json() == bought.json()
    assert club.sandbox.pay(row.session_id).ok
    club.settle(row)

    shown = program.post("preview", {"plan": "max"}).json()
    assert (shown["kind"], shown["current"], shown["plan"]) == ("upgrade", "pro", "max")
    assert sum(line["amount_minor"] for line in shown["lines"]) == round(float(shown["due_usd"]) * 100)
    done = program.post("change", {"plan": "max", "at": shown["at"]}, "two").json()
    assert (done["status"], done["plan"], club.plan()) == ("done", "max", "max")
    assert AuditRecord.objects.get(action="plan_upgrade").actor_label.startswith("management key mk-")

    ended = program.post("cancel", {}).json()
    assert (ended["plan"], ended["renews"]) == ("max", False)
    assert program.post("cancel", {"cancel": False}).json()["renews"] is True


def test_what_cannot_be_done_is_a_problem_with_its_code_and_writes_nothing(club: Club, program: Program) -> None:
    at = clock.now().isoformat()
    asked = [
        ("checkout", {"plan": "pro"}, None, 400, "idempotency_key_required"),
        ("checkout", {"plan": "huge"}, "", 422, "invalid_request"),
        ("checkout", {"plan": "free"}, "", 422, "invalid_request"),
        ("checkout", {}, "", 422, "invalid_request"),
        ("preview", {"plan": "max"}, "", 404, "no_subscription"),
        ("change", {"plan": "max", "at": at}, "", 404, "no_subscription"),
        ("change", {"plan": "max"}, "", 422, "invalid_request"),
        ("cancel", {}, "", 404, "no_subscription"),
    ]
    for verb, body, key, status, code in asked:
        answer = program.post(verb, body, key)
        assert (answer.status_code, answer.json()["code"]) == (status, code), (verb, body)
    assert not Subscription.objects.exists()
    assert not PlanChange.objects.exists()


def test_the_same_key_for_another_plan_is_a_conflict(club: Club, program: Program) -> None:
    assert program.post("checkout", {"plan": "pro"}, "one").status_code == 201
    assert program.post("checkout", {"plan": "max"}, "one").json()["code"] == "idempotency_conflict"


def test_a_developers_key_may_not_buy(club: Club) -> None:
    assert Program(club, "developer").post("checkout", {"plan": "pro"}).status_code == 403
