"""The invariant of money that came in: each provider payment credits exactly once (I5)."""

from __future__ import annotations

from billing.books.verify import check

check(
    "I5",
    "a credited top-up has its grant of the same account and amount, and one entry under its key",
    counted="billing_topup",
    broken="""
      SELECT 'top-up ' || t.number FROM billing_topup t
      LEFT JOIN billing_creditgrant g ON g.ledger_id = t.grant_id
      LEFT JOIN billing_journalentry e
        ON e.account_id = t.account_id AND e.key = 'topup:' || t.number || ':credited' AND e.kind = 'topup'
      WHERE CASE WHEN t.credited_at IS NULL THEN t.grant_id IS NOT NULL OR e.id IS NOT NULL
            ELSE g.ledger_id IS NULL OR e.id IS NULL OR g.account_id <> t.account_id OR g.amount <> t.amount_usd
                 OR g.source <> t.number OR NOT g.paid OR e.meta ->> 'grant' <> t.grant_id::text END""",
)
check(
    "I5",
    "every top-up entry belongs to an order that was credited",
    counted="billing_journalentry",
    broken="""
      SELECT 'entry ' || e.id || ' ' || e.key FROM billing_journalentry e
      LEFT JOIN billing_topup t ON t.account_id = e.account_id AND e.key = 'topup:' || t.number || ':credited'
      WHERE e.kind = 'topup' AND t.credited_at IS NULL""",
)
check(
    "I5",
    "a payment that arrived for an order is credited, in review or held, and one payment pays one order",
    counted="billing_topup",
    broken="""
      SELECT 'top-up ' || t.number FROM billing_topup t WHERE t.status = 'paid' AND NOT t.in_review AND NOT EXISTS (
        SELECT 1 FROM billing_riskassessment r WHERE r.top_up_id = t.id AND r.state IN ('held', 'refund_wanted'))
      UNION ALL
      SELECT 'payment ' || payment_intent_id FROM billing_topup
      WHERE payment_intent_id <> '' GROUP BY payment_intent_id HAVING count(*) > 1""",
)
check(
    "I5",
    "what a risk check holds, refused or paid back was not credited, and what it let through was",
    counted="billing_riskassessment",
    broken="""
      SELECT 'top-up ' || t.number FROM billing_riskassessment r JOIN billing_topup t ON t.id = r.top_up_id
      WHERE (r.state IN ('refused', 'held', 'refund_wanted', 'refunded') AND t.credited_at IS NOT NULL)
         OR (r.state = 'released' AND t.credited_at IS NULL)""",
)
