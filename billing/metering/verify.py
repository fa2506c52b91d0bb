"""The invariants of holds and charges, and the recomputation of every charge from its record (I3, I4, I7, I8, I11)."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import orjson

from billing.books.verify import check
from billing.catalog.book import Book, current_book
from billing.catalog.rating import rate
from billing.catalog.stored import recompute, store
from billing.catalog.usage import parse_usage
from billing.errors import BillingError
from billing.metering.streaming import stream
from billing.metering.usage import FlowsOf

check(
    "I3",
    "what a wallet holds is the sum of its open authorizations",
    counted="billing_wallet",
    broken="""
      SELECT 'wallet ' || w.account_id FROM billing_wallet w
      LEFT JOIN (SELECT account_id, sum(held) AS total FROM billing_authorization WHERE status = 'open' GROUP BY 1) a
        ON a.account_id = w.account_id
      WHERE w.held <> coalesce(a.total, 0)""",
)
check(
    "I4",
    "an authorization is captured exactly when one usage record ends it, and no request is charged twice",
    counted="billing_authorization",
    broken="""
      SELECT 'authorization ' || a.id FROM billing_authorization a
      LEFT JOIN billing_usagerecord u ON u.id = a.id AND u.account_id = a.account_id
      WHERE (a.status = 'captured') <> (u.id IS NOT NULL)
         OR (u.id IS NOT NULL AND (u.authorization_id <> a.id OR u.request_id <> a.request_id))
         OR (a.status = 'open') <> (a.closed_at IS NULL)
      UNION ALL
      SELECT 'request ' || account_id || ' ' || request_id FROM billing_usagerecord GROUP BY account_id, request_id HAVING count(*) > 1
      UNION ALL
      SELECT 'record ' || u.id FROM billing_usagerecord u
      LEFT JOIN billing_authorization a ON a.id = u.authorization_id AND a.account_id = u.account_id
      WHERE u.authorization_id IS NOT NULL AND a.id IS NULL""",
)
check(
    "I7",
    "a usage entry's records, what left the grants and the overdraft, and what reached revenue are one sum",
    counted="billing_journalentry WHERE kind = 'usage'",
    broken="""
      SELECT 'entry ' || e.id FROM billing_journalentry e
      LEFT JOIN (SELECT account_id, entry_id, sum(charge) AS total FROM billing_usagerecord WHERE entry_id IS NOT NULL GROUP BY 1, 2) u
        ON u.account_id = e.account_id AND u.entry_id = e.id
      LEFT JOIN (SELECT p.account_id, p.entry_id,
                        sum(p.amount) FILTER (WHERE p.side = 1 AND l.kind IN ('grant', 'overdraft')) AS taken,
                        sum(p.amount) FILTER (WHERE p.side = -1 AND l.code = 'revenue:usage') AS earned
                 FROM billing_posting p JOIN billing_ledgeraccount l ON l.id = p.ledger_id GROUP BY 1, 2) p
        ON p.account_id = e.account_id AND p.entry_id = e.id
      WHERE e.kind = 'usage' AND (u.total IS DISTINCT FROM -e.delta OR p.taken IS DISTINCT FROM -e.delta OR p.earned IS DISTINCT FROM -e.delta)
      UNION ALL
      SELECT 'record ' || u.id FROM billing_usagerecord u
      LEFT JOIN billing_journalentry e ON e.id = u.entry_id AND e.account_id = u.account_id
      WHERE (u.entry_id IS NOT NULL AND e.kind IS DISTINCT FROM 'usage') OR (u.entry_id IS NULL AND u.charge <> 0)""",
)
check(
    "I8",
    "a call was rated by a price version of its own model and channel that was in force when it was made",
    counted="billing_usagerecord",
    broken="""
      SELECT 'record ' || u.id FROM billing_usagerecord u LEFT JOIN billing_priceversion v ON v.id = u.price_version_id
      WHERE v.id IS NULL OR v.model_id <> u.model_id OR v.channel_id <> u.channel_id
         OR u.authorized_at < v.effective_from
         -- A process may read a new price list up to a second late.
         OR u.authorized_at > v.effective_to + interval '2 seconds'""",
)

_RECORDS = """
  SELECT id, price_version_id, usage::text, fields::text, channel_discount, user_discount, funding, list_price, charge, sheet::text,
         flows, flow_class, flows_per_usd, flow_factor, flow_overhead
  FROM billing_usagerecord WHERE created_at >= %s"""
_BEGINNING = datetime(1970, 1, 1, tzinfo=UTC)


def recompute_charges(since: datetime | None = None, *, chunk: int = 5000) -> Iterator[tuple[int, list[str]]]:
    """Rate every record again (I8): from the sheet that it keeps alone, and by its price version; both give the charge.

    Yields, per chunk, how many were checked and what differs.
    """
    book = current_book(fresh=True)
    for rows in stream(_RECORDS, [since or _BEGINNING], chunk=chunk):
        yield len(rows), [fault for row in rows if (fault := _fault(book, row))]


def _fault(book: Book, row: tuple[Any, ...]) -> str:
    """What is wrong with one record, or nothing."""
    record, version, used, fields, of_channel, of_user, funding, list_price, charge, kept, flows, *terms = row
    try:
        sheet = rate(
            book.plan_of(version),
            parse_usage(orjson.loads(used)),
            channel_discount=of_channel,
            user_discount=of_user,
            fields=orjson.loads(fields) if fields != "{}" else None,
        )
    except (KeyError, BillingError) as error:
        return f"record {record}: cannot be rated: {error}"
    by_flows = funding == "subscription"
    if sheet.list_price != list_price or (0 if by_flows else sheet.charge) != charge:
        return _difference(record, sheet.list_price, list_price, 0 if by_flows else sheet.charge, charge)
    counted = FlowsOf(*terms).cost(sheet) if by_flows else 0
    if flows != counted:
        return f"record {record}: {flows} Flows, recomputed {counted}"
    if kept is None:
        return ""
    stored_sheet = orjson.loads(kept)
    if stored_sheet != orjson.loads(store(sheet)):
        return f"record {record}: the sheet that it keeps is not the one of its price version"
    listed, owed = recompute(stored_sheet, of_channel, of_user)
    if listed != list_price or (0 if by_flows else owed) != charge:
        return _difference(record, listed, list_price, 0 if by_flows else owed, charge)
    return ""


def _difference(record: UUID, listed: object, list_price: object, expected: object, charge: object) -> str:
    return f"record {record}: list price {list_price}, recomputed {listed}; charge {charge}, recomputed {expected}"
