"""The desks of money: credit by hand, proposals, channels, the provider's events, what a page explains."""

from decimal import Decimal

import pytest
from django.urls import reverse

from accounts.models import AuditRecord
from billing.books import verify
from billing.books.models import CreditProposal, JournalEntry, LedgerAccount, System, Wallet
from billing.catalog.models import CatalogState
from billing.metering.models import UsageRecord
from billing.payments.models import PaymentEvent
from config import clock
from tests import factories
from tests.staff import act, action_of, at_desk, desk, page_of, person, token_of

pytestmark = pytest.mark.django_db


@pytest.fixture
def account():
    return factories.account()


def balance(account):
    return Wallet.objects.get(pk=account.pk).balance


# --- Credit -------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("place", ["account", "wallet"])
def test_credit_is_given_from_the_accounts_and_the_wallets_page(account, place):
    who = person("finance")
    row = account if place == "account" else account.wallet

    done = act(at_desk(who), action_of(row, "give-credit"), amount="12.50", reason="goodwill")

    entry = JournalEntry.objects.get(account=account, kind="manual_credit")
    assert done.status_code == 302
    assert balance(account) == Decimal("12.5")
    assert entry.key.startswith("manual:")
    assert AuditRecord.objects.get(action="manual_credit", actor=who).reason == "goodwill"


def test_sending_the_form_twice_gives_one_credit(account):
    client = desk("finance")
    path = action_of(account, "give-credit")
    token = token_of(client.get(path))

    for _ in range(2):
        assert act(client, path, amount="20", token=token).status_code == 302

    assert balance(account) == 20
    assert JournalEntry.objects.filter(account=account).count() == 1


def test_the_same_form_with_another_amount_is_refused(account):
    client = desk("finance")
    path = action_of(account, "give-credit")
    token = token_of(client.get(path))
    act(client, path, amount="20", token=token)

    answer = act(client, path, amount="30", token=token)

    assert answer.status_code == 422
    assert balance(account) == 20


@pytest.mark.parametrize(
    "wrong",
    [{"reason": ""}, {"amount": "0"}, {"amount": "-5"}, {"amount": "1.001"}, {"amount": "much"}, {"amount": "NaN"}],
)
def test_a_form_that_is_wrong_gives_nothing(account, wrong):
    answer = act(desk("finance"), action_of(account, "give-credit"), **({"amount": "5"} | wrong))

    assert answer.status_code == 422
    assert balance(account) == 0


def test_a_large_credit_waits_for_another_person_who_may_decide(account):
    first, second = person("finance"), person("finance")
    act(at_desk(first), action_of(account, "give-credit"), amount="800")
    proposal = CreditProposal.objects.get()

    own = act(at_desk(first), action_of(proposal, "approve"))
    support = desk("support").post(action_of(proposal, "approve"), {"reason": "please"})
    before = balance(account)
    act(at_desk(second), action_of(proposal, "approve"), reason="contract seen")

    assert own.status_code == 422
    assert "A second person decides" in own.content.decode()
    assert support.status_code == 403
    assert before == 0
    assert balance(account) == 800


def test_a_proposal_is_rejected_with_a_reason(account):
    act(desk("finance"), action_of(account, "give-credit"), amount="800")
    proposal = CreditProposal.objects.get()

    act(desk("finance"), action_of(proposal, "reject"), reason="no contract")

    proposal.refresh_from_db()
    assert (proposal.state, proposal.answer) == ("rejected", "no contract")
    assert balance(account) == 0


@pytest.mark.django_db(transaction=True)
def test_the_books_verify_after_credit_by_hand(account):
    act(desk("finance"), action_of(account, "give-credit"), amount="20")
    act(desk("finance"), action_of(account, "give-credit"), amount="800")
    act(desk("finance"), action_of(CreditProposal.objects.get(), "approve"))

    assert [(one.check.number, one.broken) for one in verify.run() if one.broken] == []


# --- Channels -----------------------------------------------------------------------------------------------------
def test_a_channels_discount_changes_with_audit_and_is_noticed_by_every_process():
    channel = factories.price().channel
    before = CatalogState.objects.get().revision

    act(desk("operations"), action_of(channel, "change-terms"), discount="0.8", active="on", reason="new contract")

    channel.refresh_from_db()
    record = AuditRecord.objects.get(action="channel_changed")
    assert channel.discount == Decimal("0.8")
    assert CatalogState.objects.get().revision == before + 1
    assert (record.before["discount"], record.after["discount"], record.reason) == ("1.0000", "0.8000", "new contract")


@pytest.mark.parametrize("discount", ["0", "-1", "1.6", "0.00001"])
def test_a_discount_that_makes_no_sense_is_refused(discount):
    channel = factories.price().channel

    answer = act(desk("operations"), action_of(channel, "change-terms"), discount=discount, active="on")

    channel.refresh_from_db()
    assert answer.status_code == 422
    assert channel.discount == 1


# --- Events -------------------------------------------------------------------------------------------------------
@pytest.fixture
def event():
    now = clock.now()
    body = {"data": {"object": {"id": "pi_1", "client_secret": "pi_1_secret_hush", "url": "https://pay.example/c/1"}}}
    return PaymentEvent.objects.create(
        event_id="evt_1", type="payment_intent.succeeded", object_id="pi_1", body=body, received_at=now,
        state="parked", state_at=now, due_at=now, attempts=8, reason="failing",
    )  # fmt: skip


def test_a_parked_event_goes_back_into_the_inbox(event):
    act(desk("finance"), action_of(event, "replay"), reason="fixed since")

    event.refresh_from_db()
    assert (event.state, event.attempts) == ("received", 0)
    assert AuditRecord.objects.get(action="event_replay").reason == "fixed since"


def test_an_events_body_is_shown_without_what_opens_something(event):
    page = desk("support").get(page_of(event)).content.decode()

    assert "pi_1" in page
    assert "hush" not in page
    assert "pay.example" not in page


# --- Explaining ---------------------------------------------------------------------------------------------------
def test_an_entrys_page_shows_both_sides(account):
    factories.credit(account, "7")
    entry = JournalEntry.objects.get(account=account)

    page = desk("support").get(page_of(entry)).content.decode()

    assert "Debits and credits are both $7.00" in page
    assert System.MANUAL in page


def test_a_calls_page_shows_its_calculation_and_that_it_is_the_same_again():
    account = factories.funded("10")
    held = factories.hold(account, factories.price(), "1")
    factories.capture(held.id, input_tokens=300, output_tokens=50)

    page = desk("support").get(page_of(UsageRecord.objects.get())).content.decode()

    assert "the same to the last digit" in page
    assert "$0.40" in page  # 300 x $1 / 1K + 50 x $2 / 1K


def test_a_systems_balance_is_added_up_only_when_asked(account):
    factories.credit(account, "7")
    manual = LedgerAccount.objects.get(code=System.MANUAL)
    client = desk("support")

    before, after = client.get(page_of(manual)), client.get(page_of(manual) + "?sum=1")

    assert "Add up every posting" in before.content.decode()
    assert "$7.00" in after.content.decode()


def test_who_owes_is_listed_by_how_much(account):
    owing = reverse("admin:billing_wallet_changelist") + "?owing=yes"
    Wallet.objects.filter(pk=account.pk).update(overdraft=3)

    rows = desk("support").get(owing).context["cl"].result_list

    assert [row.pk for row in rows] == [account.pk]
