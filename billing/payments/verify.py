"""The invariant of money that came in: each provider payment credits exactly once (I5)."""

from __future__ import annotations

from billing.books.verify import check
from billing.payments.benefits import BELOW

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
    "a payment that arrived for an order is credited, held, going back or in review, and one payment pays one order",
    counted="billing_topup",
    broken="""
      SELECT 'top-up ' || t.number FROM billing_topup t
      WHERE t.status = 'paid' AND NOT t.in_review AND t.refunded_minor = 0 AND NOT EXISTS (
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
check(
    "I5",
    "an automatic top-up has its run with the same account and amount, and what is under way is the account's own",
    counted="billing_autotopuprun",
    broken="""
      SELECT 'top-up ' || t.number FROM billing_topup t LEFT JOIN billing_autotopuprun r ON r.order_id = t.id
      WHERE t.automatic AND (r.order_id IS NULL OR r.account_id <> t.account_id OR r.amount_usd <> t.amount_usd)
      UNION ALL
      SELECT 'run ' || r.order_id FROM billing_autotopuprun r JOIN billing_topup t ON t.id = r.order_id
      WHERE NOT t.automatic OR t.checkout_session_id IS NOT NULL
      UNION ALL
      SELECT 'auto top-up ' || a.account_id FROM billing_autotopup a JOIN billing_topup t ON t.id = a.pending_order_id
      WHERE t.account_id <> a.account_id OR NOT t.automatic
         OR (t.status IN ('credited', 'failed', 'expired') AND NOT t.in_review)""",
)
check(
    "C19",
    "no account stands below the benefit level that its net top-ups earn",
    counted="accounts_account",
    broken=f"SELECT 'account ' || account_id FROM ({BELOW}) AS below",
)
check(
    "C19",
    "an account's benefit level is the one that its history ends with, each change begins where the last one ended, and none stands below what staff promised",
    counted="billing_benefitlevelchange",
    broken="""
      SELECT 'account ' || c.account_id || ' change ' || c.id FROM (
        SELECT account_id, id, before_id, after_id, floor_id,
               lag(after_id) OVER of_account AS previous, lead(id) OVER of_account AS following
        FROM billing_benefitlevelchange WINDOW of_account AS (PARTITION BY account_id ORDER BY id)
      ) AS c
      JOIN accounts_account a ON a.id = c.account_id
      JOIN accounts_benefitlevel l ON l.id = c.after_id
      LEFT JOIN accounts_benefitlevel f ON f.id = c.floor_id
      WHERE (c.previous IS NOT NULL AND c.before_id IS DISTINCT FROM c.previous)
         OR (c.following IS NULL AND a.benefit_level_id IS DISTINCT FROM c.after_id)
         OR (c.following IS NULL AND f.threshold_usd > l.threshold_usd)""",
)
