"""The invariants of money that goes back (I5, I6, I12). Loaded when the app is ready."""

from __future__ import annotations

from billing.books.verify import check

check(
    "I6",
    "refunds of a payment that did not fail are no more than was paid, and the order's sum is theirs",
    counted="billing_topup WHERE refunded_minor > 0",
    broken="""
      SELECT 'top-up ' || t.number FROM billing_topup t
      LEFT JOIN (
        SELECT top_up_id, sum(requested_minor) AS live, sum(requested_minor) FILTER (WHERE NOT external) AS own,
               sum(sent_minor) FILTER (WHERE status = 'succeeded') AS sent,
               sum(requested_minor) FILTER (WHERE status = 'succeeded') AS gone
        FROM refunds_refund WHERE status NOT IN ('failed', 'cancelled') GROUP BY 1) r ON r.top_up_id = t.id
      WHERE t.refunded_minor <> least(coalesce(r.live, 0), t.amount_minor)
         OR coalesce(r.own, 0) > t.amount_minor OR coalesce(r.sent, 0) > t.amount_minor
         OR (t.status = 'refunded' AND coalesce(r.gone, 0) < t.amount_minor)
         OR (t.status = 'partially_refunded' AND coalesce(r.gone, 0) NOT BETWEEN 1 AND t.amount_minor - 1)
         OR (t.status = 'credited' AND coalesce(r.gone, 0) > 0)""",
)
check(
    "I6",
    "refunds of a plan's payment that did not fail are no more than was paid, and the invoice's sums are theirs",
    counted="subscriptions_invoice WHERE refunded_minor > 0 OR paid_back_minor > 0",
    broken="""
      SELECT 'invoice ' || i.provider_id FROM subscriptions_invoice i
      LEFT JOIN (
        SELECT invoice_id, sum(requested_minor) AS live, sum(requested_minor) FILTER (WHERE NOT external) AS own,
               sum(sent_minor) FILTER (WHERE status = 'succeeded') AS sent
        FROM refunds_refund WHERE invoice_id IS NOT NULL AND status NOT IN ('failed', 'cancelled') GROUP BY 1) r
        ON r.invoice_id = i.id
      WHERE (i.refunded_minor > 0 OR i.paid_back_minor > 0 OR r.invoice_id IS NOT NULL)
        AND (i.refunded_minor <> least(coalesce(r.live, 0), i.paid_minor)
             OR i.paid_back_minor <> least(coalesce(r.sent, 0), i.paid_minor)
             OR coalesce(r.own, 0) > i.paid_minor OR coalesce(r.sent, 0) > i.paid_minor)""",
)
check(
    "I6",
    "a plan refund sends what its payments' refunds send, never more than was agreed to, and ends as they do",
    counted="refunds_planrefund",
    broken="""
      SELECT 'plan refund ' || p.number FROM refunds_planrefund p
      LEFT JOIN (
        SELECT plan_refund_id, sum(sent_minor) AS asked, sum(fee_minor) AS fee,
               sum(sent_minor) FILTER (WHERE status = 'succeeded') AS gone,
               count(*) FILTER (WHERE status IN ('requested', 'approved', 'submitted')) AS waiting
        FROM refunds_refund WHERE plan_refund_id IS NOT NULL GROUP BY 1) r ON r.plan_refund_id = p.id
      WHERE (p.submitted_at IS NOT NULL) <> (r.plan_refund_id IS NOT NULL)
         OR p.final_minor > (p.quoted->>'final')::bigint OR p.sent_minor <> coalesce(r.gone, 0)
         OR (p.submitted_at IS NOT NULL AND (p.final_minor <> r.asked OR p.fee_minor <> r.fee
                                             OR (p.status = 'submitted') <> (r.waiting > 0)))""",
)
check(
    "I10",
    "the calls of a plan are stopped while its refund is decided, and only then",
    counted="subscriptions_subscription WHERE paused_at IS NOT NULL",
    broken="""
      SELECT 'subscription ' || s.id FROM subscriptions_subscription s
      LEFT JOIN refunds_planrefund p ON p.subscription_id = s.id AND p.status IN ('requested', 'settling', 'submitted')
      WHERE (s.paused_at IS NOT NULL) <> (p.id IS NOT NULL) AND s.status IN ('active', 'past_due')""",
)
check(
    "I6",
    "what lies in a customer's refunds payable is held by refunds that wait",
    counted="refunds_refund WHERE status IN ('requested', 'approved', 'submitted')",
    broken="""
      SELECT 'wallet ' || w.account_id FROM billing_wallet w
      LEFT JOIN (SELECT p.ledger_id, -sum(p.side * p.amount) AS net FROM billing_posting p
                 JOIN billing_ledgeraccount l ON l.id = p.ledger_id AND l.kind = 'refunds_payable'
                 GROUP BY 1) p ON p.ledger_id = w.refunds_ledger_id
      LEFT JOIN (SELECT account_id, sum(greatest(requested_usd, sent_usd)) AS held FROM refunds_refund
                 WHERE status IN ('requested', 'approved', 'submitted') GROUP BY 1) r ON r.account_id = w.account_id
      WHERE coalesce(p.net, 0) <> coalesce(r.held, 0)""",
)
check(
    "I5",
    "a refund is held once, paid once when it succeeded, and given back once when it did not",
    counted="refunds_refund",
    broken="""
      SELECT 'refund ' || r.number FROM refunds_refund r
      LEFT JOIN billing_topup t ON t.id = r.top_up_id
      LEFT JOIN subscriptions_invoice i ON i.id = r.invoice_id
      LEFT JOIN billing_journalentry held ON held.account_id = r.account_id AND held.key = 'refund:' || r.id || ':held'
      LEFT JOIN billing_journalentry paid ON paid.account_id = r.account_id AND paid.key = 'refund:' || r.id || ':paid'
      LEFT JOIN billing_journalentry back ON back.account_id = r.account_id AND back.key = 'refund:' || r.id || ':back'
      WHERE r.account_id <> coalesce(t.account_id, i.account_id) OR held.id IS NULL OR held.kind <> 'refund_hold'
         OR (paid.id IS NOT NULL) <> (r.succeeded_at IS NOT NULL)
         OR (back.id IS NOT NULL) <> (r.status IN ('failed', 'cancelled')
           AND NOT (t.id IS NOT NULL AND t.grant_id IS NULL AND r.succeeded_at IS NOT NULL))""",
)
check(
    "I5",
    "what was held of a refund that was approved in part, less what was given back at once, is what is requested",
    counted="refunds_refund WHERE asked_usd IS NOT NULL",
    broken="""
      SELECT 'refund ' || r.number FROM refunds_refund r
      LEFT JOIN billing_journalentry e
        ON e.account_id = r.account_id AND e.kind = 'refund_hold' AND e.key LIKE 'refund:' || r.id || ':%'
      WHERE r.asked_usd IS NOT NULL GROUP BY r.id, r.number, r.asked_usd, r.requested_usd
      HAVING coalesce(sum(e.delta), 0) <> -r.requested_usd
        OR coalesce(sum(e.delta) FILTER (WHERE e.key LIKE '%:held'), 0) <> -r.asked_usd""",
)
check(
    "I5",
    "every entry of a refund belongs to one",
    counted="billing_journalentry WHERE kind IN ('refund_hold', 'refund_paid', 'refund_failed', 'subscription_refund')",
    broken="""
      SELECT 'entry ' || e.id || ' ' || e.key FROM billing_journalentry e
      LEFT JOIN refunds_refund r ON r.account_id = e.account_id AND e.key LIKE 'refund:' || r.id || ':%'
      WHERE e.kind IN ('refund_hold', 'refund_paid', 'refund_failed', 'subscription_refund') AND r.id IS NULL""",
)
check(
    "I12",
    "every refund that a person approved, made less or stopped has an audit record with a reason",
    counted="refunds_refund WHERE decided_by_id IS NOT NULL",
    broken="""
      SELECT 'refund ' || r.number FROM refunds_refund r
      LEFT JOIN accounts_auditrecord a ON a.subject_id = r.id::text AND a.actor_id = r.decided_by_id AND a.reason <> ''
        AND a.action IN ('refund_approve', 'refund_reject', 'refund_cancel', 'refund_return')
      WHERE r.decided_by_id IS NOT NULL AND a.id IS NULL
      UNION ALL
      SELECT 'refund ' || r.number FROM refunds_refund r
      LEFT JOIN accounts_auditrecord a
        ON a.subject_id = r.id::text AND a.reason <> '' AND a.action = 'refund_part'
      WHERE r.asked_usd IS NOT NULL AND a.id IS NULL""",
)
