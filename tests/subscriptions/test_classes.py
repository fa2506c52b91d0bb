"""The Flow class, set by staff: lock, audit, mail, and what it changes (F064, F065, C16, C25, I12)."""

from __future__ import annotations

from datetime import timedelta

import pytest
from django.core import mail

from accounts.models import AuditRecord
from billing.catalog import book
from billing.errors import InvalidRequest
from billing.models_notices import Notice
from billing.notices import send
from config import clock
from subscriptions import classes, standing
from subscriptions.errors import FlowClassUnchanged, FlowClassWithoutRate
from subscriptions.models import FlowStanding
from tests import factories
from tests.factories import NOON
from tests.staff import act, action_of, at_desk, desk, page_of, person
from tests.subscriptions.driving import flow_rate

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def _book():
    """What a test published is forgotten with it."""
    yield
    book.forget()


@pytest.fixture
def account():
    flow_rate("insider", "36")
    flow_rate("restricted", "79.2")
    return factories.account()


def test_a_class_is_set_with_its_reason_and_holds_from_now_on(account):
    actor = factories.user()
    row = classes.set_class(account.pk, "insider", reason="With us from the first day", actor=actor, now=NOON)
    assert (row.flow_class, row.since, row.reason, row.changed_by) == (
        "insider", NOON, "With us from the first day", actor,
    )  # fmt: skip
    assert standing.of([account.pk], now=NOON)[account.pk].flow_class == "insider"
    record = AuditRecord.objects.get(action="flow_class_changed")
    assert (record.account, record.actor, record.reason) == (account, actor, "With us from the first day")
    assert (record.before, record.after["flow_class"]) == ({"flow_class": "standard"}, "insider")


def test_the_customer_is_mailed_what_a_flow_is_worth_now_why_and_whom_to_ask(account, settings):
    classes.set_class(account.pk, "restricted", reason="Keys of many accounts in rotation", actor=None, now=NOON)
    notice = Notice.objects.get(account=account, kind="flow_class_changed")
    mail.outbox.clear()
    send(notice.pk, now=NOON)
    [sent] = mail.outbox
    assert "worth less" in sent.subject
    assert "79.2 Flows stand for one US dollar" in sent.body
    assert "about $0.01263" in sent.body
    assert "Why: Keys of many accounts in rotation" in sent.body
    assert settings.SUPPORT_EMAIL in sent.body
    assert str(account.pk) in sent.body


def test_each_change_is_told_once(account):
    for number, flow_class in enumerate(("insider", "standard", "insider")):
        classes.set_class(account.pk, flow_class, reason="agreed", actor=None, now=NOON + timedelta(days=number))
    assert Notice.objects.filter(account=account, kind="flow_class_changed").count() == 3


def test_a_class_without_a_rate_in_force_is_refused():
    flow_rate("insider", "36", at=NOON + timedelta(days=1))
    account = factories.account()
    with pytest.raises(FlowClassWithoutRate):
        classes.set_class(account.pk, "insider", reason="early", actor=None, now=NOON)
    assert not FlowStanding.objects.exists()


def test_the_same_class_again_is_refused_and_told_to_nobody(account):
    with pytest.raises(FlowClassUnchanged):
        classes.set_class(account.pk, "standard", reason="again", actor=None, now=NOON)
    assert not Notice.objects.filter(kind="flow_class_changed").exists()


@pytest.mark.parametrize("wrong", [{"reason": " "}, {"flow_class": "gold"}])
def test_a_reason_and_a_known_class_are_needed(account, wrong):
    told = {"flow_class": "insider", "reason": "early"} | wrong
    with pytest.raises(InvalidRequest):
        classes.set_class(account.pk, told.pop("flow_class"), actor=None, now=NOON, **told)


# --- At the desk ----------------------------------------------------------------------------------------------------
def test_staff_set_the_class_on_the_customers_page_and_again_on_its_own(account):
    who = person("operations")
    done = act(at_desk(who), action_of(account, "set-flow-class"), flow_class="restricted", reason="Resold keys")
    assert done.status_code == 302
    row = FlowStanding.objects.get(pk=account.pk)
    assert (row.flow_class, row.changed_by, row.since <= clock.now()) == ("restricted", who, True)

    act(at_desk(who), action_of(row, "set-again"), flow_class="standard", reason="Settled")
    row.refresh_from_db()
    assert (row.flow_class, row.reason) == ("standard", "Settled")
    page = desk("support").get(page_of(row)).content.decode()
    assert "Resold keys" in page
    assert "Settled" in page


def test_a_refusal_stays_on_the_form(account):
    answer = act(desk("finance"), action_of(account, "set-flow-class"), flow_class="standard", reason="why not")
    assert answer.status_code == 422
    assert "of this Flow class already" in answer.content.decode()


def test_support_may_read_and_not_set(account):
    client = desk("support")
    assert (
        client.post(action_of(account, "set-flow-class"), {"flow_class": "insider", "reason": "x"}).status_code == 403
    )
    assert client.get("/admin/subscriptions/flowstanding/").status_code == 200
