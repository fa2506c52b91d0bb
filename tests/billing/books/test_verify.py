"""Every invariant finds the damage that it is there for. The damage is done behind the triggers' back."""

import pytest
from django.core.management import call_command
from django.core.management.base import CommandError
from django.db import connection

import billing.metering.rerating_verify
import billing.metering.verify  # noqa: F401  # registers its checks
from billing.books import verify
from tests import factories

DAMAGE = [
    ("I1", "UPDATE billing_posting SET amount = amount + 1 WHERE side = 1"),
    ("I1", "DELETE FROM billing_posting WHERE entry_id = (SELECT id FROM billing_journalentry WHERE kind = 'usage')"),
    ("I1", "DELETE FROM billing_journalentry WHERE kind = 'usage'"),
    ("I1", "UPDATE billing_journalentry SET seq = seq + 1 WHERE kind = 'usage'"),
    ("I1", "UPDATE billing_journalentry SET balance_after = balance_after + 1 WHERE kind = 'usage'"),
    ("I2", "UPDATE billing_creditgrant SET remaining = remaining - 1"),
    ("I2", "UPDATE billing_wallet SET balance = balance + 1"),
    ("I2", "UPDATE billing_wallet SET overdraft = overdraft + 1"),
    ("I2", "UPDATE billing_wallet SET seq = seq + 1"),
    ("I3", "UPDATE billing_wallet SET held = held + 1"),
    ("I4", "UPDATE billing_authorization SET status = 'voided' WHERE status = 'captured'"),
    ("I4", "UPDATE billing_authorization SET closed_at = NULL WHERE status = 'captured'"),
    ("I4", "DELETE FROM billing_authorization WHERE status = 'captured'"),
    ("I7", "UPDATE billing_usagerecord SET charge = charge + 1"),
    ("I8", "UPDATE billing_usagerecord SET authorized_at = '2020-01-01T00:00:00Z'"),
    ("I12", "UPDATE billing_journalentry SET key = 'manual:x' WHERE kind = 'manual_credit'"),
    ("I13", "UPDATE accounts_apikey SET hash = '\\x00'"),
]


@pytest.fixture
def books(db):
    """A credit, a charged call, an open hold, a key."""
    account, version = factories.funded("10"), factories.price()
    factories.key(account)
    factories.capture(factories.hold(account, version, "1").id, input_tokens=500)
    factories.hold(account, version, "1")


def broken() -> set[str]:
    with connection.cursor() as cursor:
        found = set()
        for one in verify._checks:
            cursor.execute(f"SELECT count(*) FROM ({one.broken}) AS b")
            if cursor.fetchone()[0]:
                found.add(one.number)
        return found


def test_sound_books_break_nothing(books):
    assert broken() == set()


@pytest.mark.parametrize(("number", "damage"), DAMAGE)
def test_damage_is_found_by_its_invariant(books, number, damage):
    with connection.cursor() as cursor:
        cursor.execute("SET LOCAL session_replication_role = replica")
        cursor.execute(damage)
        assert cursor.rowcount
    assert number in broken()


@pytest.mark.damages_books
@pytest.mark.django_db(transaction=True)
def test_the_commands_exit_with_1_and_name_the_damage(capsys):
    account, version = factories.funded("10"), factories.price()
    factories.capture(factories.hold(account, version, "1").id, input_tokens=500)
    call_command("verify_books")
    call_command("verify_charges")
    said = capsys.readouterr().out
    assert "verify_books: " in said
    assert "verify_charges: 1 records" in said
    with connection.cursor() as cursor:
        cursor.execute("ALTER TABLE billing_usagerecord DISABLE TRIGGER USER")
        cursor.execute("UPDATE billing_usagerecord SET charge = charge + 0.0000000001")
        cursor.execute("ALTER TABLE billing_usagerecord ENABLE TRIGGER USER")
    for command in ("verify_books", "verify_charges"):
        with pytest.raises(CommandError) as refusal:
            call_command(command)
        assert refusal.value.returncode == 1
    assert "recomputed 0.5000000000" in capsys.readouterr().out
