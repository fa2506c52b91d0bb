"""The invariants of the books, checked in set-based SQL (02-domain 2.2). Changes nothing.

A check is a query that returns what is broken: rows of (what, where). Apps to the right add theirs with `check`.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass

from django.db import connection, transaction


@dataclass(frozen=True, slots=True)
class Check:
    """One invariant: its number, what must hold in one sentence, how many rows are looked at, what is broken."""

    number: str
    sentence: str
    counted: str
    broken: str


@dataclass(frozen=True, slots=True)
class Result:
    """What a check found."""

    check: Check
    looked_at: int
    seconds: float
    broken: list[str]


_checks: list[Check] = []
MOST_SHOWN = 20


def check(number: str, sentence: str, *, counted: str, broken: str) -> None:
    """Register an invariant. `counted` is a table; `broken` selects one text column that names each broken row."""
    _checks.append(Check(number, sentence, counted, broken))


def run() -> Iterator[Result]:
    """Ask every check, all on one snapshot, so that work in progress does not look like a fault."""
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY")
        for one in sorted(_checks, key=lambda c: (int(c.number[1:]), c.sentence)):
            began = time.perf_counter()
            cursor.execute(f"SELECT count(*) FROM {one.counted}")
            looked_at = cursor.fetchone()[0]
            cursor.execute(f"SELECT * FROM ({one.broken}) AS broken LIMIT {MOST_SHOWN}")
            rows = [str(row[0]) for row in cursor.fetchall()]
            yield Result(one, looked_at, time.perf_counter() - began, rows)


check(
    "I1",
    "every journal entry balances and has postings",
    counted="billing_journalentry",
    broken="""
      SELECT 'entry ' || e.id FROM billing_journalentry e
      LEFT JOIN (SELECT account_id, entry_id, sum(side * amount) AS off FROM billing_posting GROUP BY 1, 2) p
        ON p.account_id = e.account_id AND p.entry_id = e.id
      WHERE p.off IS NULL OR p.off <> 0""",
)
check(
    "I1",
    "every posting belongs to an entry and a ledger account that exist",
    counted="billing_posting",
    broken="""
      SELECT 'posting ' || p.entry_id || ' line ' || p.line FROM billing_posting p
      LEFT JOIN billing_journalentry e ON e.id = p.entry_id AND e.account_id = p.account_id
      LEFT JOIN billing_ledgeraccount l ON l.id = p.ledger_id
      WHERE e.id IS NULL OR l.id IS NULL OR (l.account_id IS NOT NULL AND l.account_id <> p.account_id)""",
)
check(
    "I1",
    "entries of an account are numbered without a gap and each continues the balance before it",
    counted="billing_journalentry",
    broken="""
      SELECT 'entry ' || id FROM (
        SELECT id, seq, delta, balance_after, row_number() OVER w AS nth, coalesce(lag(balance_after) OVER w, 0) AS before
        FROM billing_journalentry WINDOW w AS (PARTITION BY account_id ORDER BY seq)) e
      WHERE seq <> nth OR balance_after <> before + delta""",
)
check(
    "I2",
    "a grant's remaining amount is its postings, and its ledger account is its own",
    counted="billing_creditgrant",
    broken="""
      SELECT 'grant ' || g.ledger_id FROM billing_creditgrant g
      JOIN billing_ledgeraccount l ON l.id = g.ledger_id
      LEFT JOIN (SELECT ledger_id, -sum(side * amount) AS net FROM billing_posting GROUP BY 1) p ON p.ledger_id = g.ledger_id
      WHERE coalesce(p.net, 0) <> g.remaining OR g.remaining < 0 OR g.remaining > g.amount OR l.kind <> 'grant' OR l.account_id <> g.account_id""",
)
check(
    "I2",
    "a wallet's balance is the sum of its grants, its overdraft the postings of the receivable, its last entry their difference",
    counted="billing_wallet",
    broken="""
      SELECT 'wallet ' || w.account_id FROM billing_wallet w
      LEFT JOIN (SELECT account_id, sum(remaining) AS total FROM billing_creditgrant GROUP BY 1) g ON g.account_id = w.account_id
      LEFT JOIN (SELECT p.ledger_id, sum(p.side * p.amount) AS net FROM billing_posting p
                 JOIN billing_ledgeraccount l ON l.id = p.ledger_id AND l.kind = 'overdraft' GROUP BY 1) o ON o.ledger_id = w.overdraft_ledger_id
      LEFT JOIN (SELECT DISTINCT ON (account_id) account_id, seq, balance_after FROM billing_journalentry ORDER BY account_id, seq DESC) e
        ON e.account_id = w.account_id
      WHERE w.balance <> coalesce(g.total, 0) OR w.overdraft <> coalesce(o.net, 0)
         OR w.seq <> coalesce(e.seq, 0) OR w.balance - w.overdraft <> coalesce(e.balance_after, 0)""",
)
check(
    "I12",
    "every manual credit that a person gave has an audit record with a reason",
    counted="billing_journalentry WHERE kind IN ('manual_credit', 'compensation') AND key LIKE 'manual:%'",
    broken="""
      SELECT 'entry ' || e.id FROM billing_journalentry e
      LEFT JOIN accounts_auditrecord a ON a.action = e.kind AND a.subject_id = e.meta ->> 'grant' AND a.reason <> ''
      WHERE e.kind IN ('manual_credit', 'compensation') AND e.key LIKE 'manual:%' AND a.id IS NULL""",
)
check(
    "I13",
    "no secret is stored: keys and tokens have a 32-byte hash and at most four characters of the secret",
    counted="accounts_apikey",
    broken="""
      SELECT 'credential ' || id FROM (
        SELECT id, hash, last_four, prefix FROM accounts_apikey UNION ALL SELECT id, hash, last_four, prefix FROM accounts_managementkey
        UNION ALL SELECT id, hash, last_four, prefix FROM accounts_gatewaytoken) c
      WHERE length(hash) <> 32 OR length(last_four) <> 4 OR length(prefix) > 10""",
)
