"""The desks of vouchers: a campaign from its draft to its end, codes once, and where a code went."""

import pytest
from django.urls import reverse

from accounts.models import AuditRecord
from billing.books.models import CreditGrant, CreditProposal, JournalEntry
from billing.books.models_vouchers import Voucher, VoucherBatch, VoucherCampaign
from billing.errors import BillingError
from tests import factories
from tests.billing.books.vouchers import campaign, codes, redeem, wrong_code
from tests.staff import act, action_of, at_desk, desk, page_of, person

pytestmark = pytest.mark.django_db
TERMS = {"name": "Spring", "kind": "voucher", "amount": "5", "total": "3", "per_account": "1", "priority": "100"}
WRITE = "/admin/billing/vouchercampaign/write/"


def text(answer):
    return " ".join(answer.content.decode().split())


def test_finance_makes_a_campaign_with_codes_that_are_shown_once():
    client = desk("finance")
    act(client, WRITE, **TERMS)
    made = VoucherCampaign.objects.get()
    path = action_of(made, "make-codes")
    token = {"token": "f" * 32}

    answer = act(client, path, count="3", **token)
    lines = b"".join(answer.streaming_content).decode().splitlines()
    again = act(client, path, count="3", **token)
    act(client, action_of(made, "activate"))
    page = text(client.get(page_of(made)))

    assert answer["Content-Type"].startswith("text/csv")
    assert "no-store" in answer["Cache-Control"]
    assert len(lines) == 4
    assert "cannot be shown again" in text(again)
    code = lines[1].split(",")[0]
    assert code not in page
    assert redeem(factories.account(), code, now=VoucherCampaign.objects.get().valid_from).amount == 5
    assert AuditRecord.objects.filter(action="voucher_codes_made").count() == 1


def test_sending_the_draft_twice_makes_one_campaign():
    client = desk("finance")
    for _ in range(2):
        act(client, WRITE, **TERMS, token="d" * 32)
    assert VoucherCampaign.objects.count() == 1


def test_a_large_campaign_is_activated_by_another_person():
    who = person("finance")
    act(at_desk(who), WRITE, **{**TERMS, "total": "1000"})
    made = VoucherCampaign.objects.get()

    alone = act(at_desk(who), action_of(made, "activate"))
    act(desk("finance"), action_of(made, "activate"))

    assert "somebody other than the person who made it" in text(alone)
    made.refresh_from_db()
    assert made.status == "active"


@pytest.mark.parametrize(
    ("role", "may"),
    [("support", set()), ("operations", {"pause", "end"}), ("finance", {"pause", "end", "activate", "make-codes"})],
)
def test_roles_may_what_the_table_says(role, may):
    client, made = desk(role), campaign()
    opened = {
        action for action in ("pause", "end", "make-codes") if client.get(action_of(made, action)).status_code == 200
    }
    draft = campaign(active=False)
    if client.get(action_of(draft, "activate")).status_code == 200:
        opened.add("activate")

    assert opened == may
    assert client.get(page_of(made)).status_code == 200


def test_support_looks_up_a_code_in_full_or_by_its_last_four_and_sees_who_redeemed_it():
    client, account = desk("support"), factories.account(name="Asker Ltd")
    [code] = codes(campaign())
    redeem(account, code)

    found = client.post(reverse("admin:billing_voucher_changelist") + "look-up/", {"code": code, "token": "a" * 32})
    page = text(client.get(found["Location"]))
    listed = client.get(reverse("admin:billing_voucher_changelist"), {"q": code[-4:].lower()}).context["cl"].result_list
    missed = client.post(
        reverse("admin:billing_voucher_changelist") + "look-up/", {"code": wrong_code(), "token": "a" * 32}
    )

    assert "Asker Ltd" in page
    assert code not in page
    assert list(listed) == [Voucher.objects.get()]
    assert "No such code was ever made" in text(missed)


def test_attempts_are_listed_with_the_refused_ones_and_stand_on_the_accounts_page():
    """F013."""
    client, account = desk("support"), factories.account()
    bad = wrong_code()
    with pytest.raises(BillingError):
        redeem(account, bad)
    listed = reverse("admin:billing_redemption_changelist")

    assert bad[-4:] in text(client.get(listed, {"refused": "yes"}))
    assert len(client.get(listed, {"q": bad[-4:]}).context["cl"].result_list) == 1
    assert client.get(listed, {"refused": "no"}).context["cl"].result_list.count() == 0
    assert bad[-4:] in text(client.get(page_of(account)))


def test_a_lost_file_is_withdrawn():
    client, made = desk("finance"), campaign()
    [code] = codes(made)
    act(client, action_of(VoucherBatch.objects.get(), "withdraw"))

    with pytest.raises(BillingError) as refused:
        redeem(factories.account(), code)
    assert refused.value.code == "voucher_ended"


def test_staff_give_compensation_and_a_large_one_needs_a_second_person():
    client, account = desk("finance"), factories.account()
    path = action_of(account, "give-credit")

    act(client, path, amount="20", kind="compensation")
    act(client, path, amount="600", kind="compensation")
    proposal = CreditProposal.objects.get()
    act(desk("finance"), action_of(proposal, "approve"))

    assert list(CreditGrant.objects.order_by("amount").values_list("kind", "amount")) == [
        ("compensation", 20), ("compensation", 600),
    ]  # fmt: skip
    assert set(JournalEntry.objects.values_list("kind", flat=True)) == {"compensation"}
