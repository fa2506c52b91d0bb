"""The invariants of corrections, and the recomputation of every corrected charge (I4, I7, I8)."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any, Final

import orjson

from billing.books.verify import check
from billing.catalog.plans import Plan
from billing.catalog.rating import rate
from billing.catalog.stored import recompute, store
from billing.catalog.usage import parse_usage
from billing.errors import BillingError
from billing.metering.models_rerating import Correction
from billing.metering.rerating import plan_of
from billing.metering.streaming import stream

check(
    "I4",
    "each adjustment of a call continues the charge before it, and a reversal undoes one of its correction",
    counted="billing_chargeadjustment",
    broken="""
      SELECT 'adjustment ' || a.record_id FROM (
        SELECT a.account_id, a.record_id, a.charge_after, u.charge + sum(a.delta) OVER (PARTITION BY a.account_id, a.record_id ORDER BY e.seq) AS charge
        FROM billing_chargeadjustment a
        LEFT JOIN billing_usagerecord u ON u.id = a.record_id AND u.account_id = a.account_id
        LEFT JOIN billing_journalentry e ON e.id = a.entry_id AND e.account_id = a.account_id) a
      WHERE a.charge IS DISTINCT FROM a.charge_after
      UNION ALL
      SELECT 'reversal ' || r.record_id FROM billing_chargeadjustment r
      LEFT JOIN billing_chargeadjustment a
        ON a.account_id = r.account_id AND a.record_id = r.record_id AND a.correction_id = r.correction_id AND NOT a.reversal
      WHERE r.reversal AND r.delta IS DISTINCT FROM -a.delta""",  # noqa: E501
)
check(
    "I7",
    "an adjustment entry's adjustments, what it moved of the customer's and what it moved of revenue are one sum",
    counted="billing_journalentry WHERE kind = 'usage_adjustment'",
    broken="""
      SELECT 'entry ' || e.id FROM billing_journalentry e
      LEFT JOIN (SELECT account_id, entry_id, sum(delta) AS total FROM billing_chargeadjustment GROUP BY 1, 2) a
        ON a.account_id = e.account_id AND a.entry_id = e.id
      LEFT JOIN (SELECT p.account_id, p.entry_id,
                        sum(p.side * p.amount) FILTER (WHERE l.kind IN ('grant', 'overdraft')) AS taken,
                        sum(p.side * p.amount) FILTER (WHERE l.code = 'revenue:usage') AS given
                 FROM billing_posting p JOIN billing_ledgeraccount l ON l.id = p.ledger_id GROUP BY 1, 2) p
        ON p.account_id = e.account_id AND p.entry_id = e.id
      WHERE e.kind = 'usage_adjustment'
        AND (a.total IS DISTINCT FROM -e.delta OR p.taken IS DISTINCT FROM -e.delta OR p.given IS DISTINCT FROM e.delta)
      UNION ALL
      SELECT 'adjustment ' || a.record_id FROM billing_chargeadjustment a
      LEFT JOIN billing_journalentry e ON e.id = a.entry_id AND e.account_id = a.account_id
      WHERE e.kind IS DISTINCT FROM 'usage_adjustment'""",
)
check(
    "I7",
    "what a correction says it did is the sum of its adjustments, and a reversed one adds up to nothing",
    counted="billing_correction",
    broken="""
      SELECT 'correction ' || c.id FROM billing_correction c
      LEFT JOIN (SELECT correction_id, count(*) FILTER (WHERE NOT reversal) AS calls, sum(delta) AS net,
                        -sum(delta) FILTER (WHERE NOT reversal AND delta < 0) AS given,
                        sum(delta) FILTER (WHERE NOT reversal AND delta > 0) AS charged
                 FROM billing_chargeadjustment GROUP BY 1) a ON a.correction_id = c.id
      WHERE (c.state IN ('applied', 'reversal_asked', 'reversing', 'reversed')
             AND (c.applied_records <> coalesce(a.calls, 0) OR c.applied_given <> coalesce(a.given, 0)
                  OR c.applied_charged <> coalesce(a.charged, 0)))
         OR (c.state = 'reversed' AND coalesce(a.net, 0) <> 0)
         OR (c.state IN ('applied', 'reversal_asked') AND coalesce(a.net, 0) <> c.applied_charged - c.applied_given)
         OR (c.state NOT IN ('applying', 'applied', 'reversal_asked', 'reversing', 'reversed') AND a.calls > 0)""",
)

_ADJUSTED: Final = """
  SELECT a.record_id, a.correction_id, u.usage::text, u.fields::text, u.channel_discount, u.user_discount,
         a.charge_before, a.charge_after, a.list_price_after, a.sheet::text
  FROM billing_chargeadjustment a JOIN billing_usagerecord u ON u.id = a.record_id AND u.account_id = a.account_id
  WHERE NOT a.reversal AND a.at >= %s"""
_BEGINNING: Final = datetime(1970, 1, 1, tzinfo=UTC)


def recompute_adjustments(since: datetime | None = None, *, chunk: int = 5000) -> Iterator[tuple[int, list[str]]]:
    """Rate every corrected call again: from the sheet that its adjustment keeps alone, and by the correction's price.

    Yields, per chunk, how many were checked and what differs.
    """
    corrections = {row.pk: (row, plan_of(row)) for row in Correction.objects.select_related("model")}
    for rows in stream(_ADJUSTED, [since or _BEGINNING], chunk=chunk):
        yield len(rows), [fault for row in rows if (fault := _fault(*corrections[row[1]], row))]


def _fault(correction: Correction, plan: Plan, row: tuple[Any, ...]) -> str:
    """What is wrong with one adjustment, or nothing."""
    record, _correction, used, fields, of_channel, of_user, before, after, listed, kept = row
    kept_sheet = orjson.loads(kept)
    found, owed = recompute(kept_sheet, of_channel, of_user)
    if (found, owed) != (listed, after):
        return f"adjustment of {record}: list price {listed}, recomputed {found}; charge {after}, recomputed {owed}"
    if correction.favour == Correction.Favour.CUSTOMER and after > before:
        return f"adjustment of {record}: charges more, in a correction that only gives back"
    try:
        sheet = rate(
            plan,
            parse_usage(orjson.loads(used)),
            channel_discount=of_channel,
            user_discount=of_user,
            fields=orjson.loads(fields) if fields != "{}" else None,
        )
    except BillingError as error:
        return f"adjustment of {record}: cannot be rated: {error}"
    if kept_sheet != orjson.loads(store(sheet)):
        return f"adjustment of {record}: the sheet that it keeps is not the one of the right price"
    return ""
