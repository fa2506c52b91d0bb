"""Campaigns: terms that make sense, codes once, a second person where much is at stake, everything audited."""

import io
import json
from dataclasses import replace
from datetime import timedelta
from decimal import Decimal

import pytest
from django.core.management import CommandError, call_command

from accounts.models import AuditRecord
from billing.books import campaigns
from billing.books.models_vouchers import Voucher, VoucherBatch, VoucherCampaign
from billing.errors import Conflict, InvalidRequest, SecondPersonNeeded
from tests import factories
from tests.billing.books.vouchers import SAID, TERMS, campaign, codes, redeem
from tests.factories import NOON

pytestmark = pytest.mark.django_db


@pytest.fixture
def ann():
    return factories.user("ann@example.com")


@pytest.fixture
def bob():
    return factories.user("bob@example.com")


def draft(actor, **terms):
    return campaigns.create(replace(TERMS, **terms), actor=actor, reason="spring", now=NOON)


def test_up_to_the_limit_one_person_is_enough_and_everything_is_audited(ann):
    """I12."""
    made = draft(ann, total=100)
    campaigns.activate(made.pk, actor=ann, reason="go", now=NOON)
    campaigns.activate(made.pk, actor=ann, reason="go", now=NOON)
    campaigns.pause(made.pk, actor=ann, reason="wait", now=NOON)
    campaigns.activate(made.pk, actor=ann, reason="on", now=NOON)
    campaigns.make_codes(made.pk, 3, shared=False, actor=ann, reason="print", key="k", now=NOON)
    campaigns.end(made.pk, actor=ann, reason="over", now=NOON)

    told = AuditRecord.objects.filter(subject_id=str(made.pk)).order_by("at", "pk").values_list("action", "reason")
    assert [action for action, _reason in told] == [
        "campaign_created", "campaign_activated", "campaign_paused", "campaign_activated", "voucher_codes_made",
        "campaign_ended",
    ]  # fmt: skip
    assert all(reason for _action, reason in told)


def test_above_the_limit_somebody_else_activates_it(ann, bob):
    made = draft(ann, total=101)

    with pytest.raises(SecondPersonNeeded, match="505 USD"):
        campaigns.activate(made.pk, actor=ann, reason="go", now=NOON)
    done = campaigns.activate(made.pk, actor=bob, reason="checked", now=NOON)

    assert (done.status, done.activated_by) == ("active", bob)


def test_what_one_person_starts_within_a_day_counts_together(ann):
    first, second = draft(ann, total=60), draft(ann, total=60)
    campaigns.activate(first.pk, actor=ann, reason="go", now=NOON)

    with pytest.raises(SecondPersonNeeded):
        campaigns.activate(second.pk, actor=ann, reason="go", now=NOON + timedelta(hours=23))
    assert campaigns.activate(second.pk, actor=ann, reason="go", now=NOON + timedelta(hours=25)).status == "active"


@pytest.mark.parametrize(
    ("field", "terms"),
    [
        ("name", {"name": "  "}), ("amount", {"amount": Decimal(0)}), ("amount", {"amount": Decimal(-1)}),
        ("total", {"total": 0}), ("per_account", {"per_account": 0}), ("valid_until", {"valid_until": NOON}),
        ("valid_until", {"valid_from": NOON + timedelta(days=2), "valid_until": NOON + timedelta(days=1)}),
        ("credit_until", {"credit_days": 3, "credit_until": NOON + timedelta(days=9)}),
        ("credit_until", {"valid_until": NOON + timedelta(days=9), "credit_until": NOON + timedelta(days=9)}),
        ("credit_days", {"credit_days": 0}),
    ],
)  # fmt: skip
def test_terms_that_make_no_sense_are_refused(ann, field, terms):
    with pytest.raises(InvalidRequest) as refused:
        draft(ann, **terms)
    assert refused.value.evidence["field"] == field
    assert not VoucherCampaign.objects.exists()


def test_codes_are_made_once_for_a_key_and_no_more_than_the_campaign_allows(ann):
    made = draft(ann, total=5)
    first = campaigns.make_codes(made.pk, 3, shared=False, actor=ann, reason="print", key="k", now=NOON)

    assert len(set(first)) == 3
    with pytest.raises(Conflict, match="cannot be shown again"):
        campaigns.make_codes(made.pk, 3, shared=False, actor=ann, reason="print", key="k", now=NOON)
    with pytest.raises(InvalidRequest, match="2 more"):
        campaigns.make_codes(made.pk, 3, shared=False, actor=ann, reason="print", key="l", now=NOON)
    with pytest.raises(InvalidRequest):
        campaigns.make_codes(made.pk, 2, shared=True, actor=ann, reason="print", key="m", now=NOON)
    made.refresh_from_db()
    assert (made.codes_made, Voucher.objects.count(), VoucherBatch.objects.count()) == (3, 3, 1)


def test_a_hundred_thousand_codes_are_made_at_once(ann, record_property):
    import time

    made = draft(ann, total=100_000)
    began = time.perf_counter()
    told = campaigns.make_codes(made.pk, 100_000, shared=False, actor=ann, reason="print", key="k", now=NOON)
    took = time.perf_counter() - began

    record_property("said", f"100,000 voucher codes in {took:.1f} s")
    assert len(set(told)) == 100_000 == Voucher.objects.count()


def test_an_ended_campaign_gets_no_codes_and_is_never_active_again(ann):
    made = draft(ann)
    campaigns.end(made.pk, actor=ann, reason="no", now=NOON)

    with pytest.raises(Conflict):
        campaigns.make_codes(made.pk, 1, shared=False, actor=ann, reason="x", key="k", now=NOON)
    with pytest.raises(Conflict):
        campaigns.activate(made.pk, actor=ann, reason="x", now=NOON)


def test_the_command_prints_an_active_campaign_with_codes_that_work():
    out = io.StringIO()
    call_command("create_voucher_campaign", "Chaos", "--amount", "2.50", "--codes", "3", "--shared", "2", stdout=out)
    told = json.loads(out.getvalue())

    assert len(told["codes"]) == 3
    assert VoucherCampaign.objects.get(pk=told["campaign"]).status == "active"
    now = VoucherCampaign.objects.get().valid_from
    for code in (told["codes"][0], told["shared_code"]):
        assert redeem(factories.account(), code, now=now).amount == Decimal("2.5")


@pytest.mark.parametrize(
    "terms", [["--amount", "x", "--codes", "1"], ["--amount", "1"], ["--amount", "-1", "--codes", "1"]]
)
def test_the_command_refuses_what_makes_no_sense(terms):
    with pytest.raises(CommandError):
        call_command("create_voucher_campaign", "Chaos", *terms)


def test_the_helpers_make_codes_for_tests():
    assert len(codes(campaign(), 2)) == 2
    assert SAID["actor"] is None
