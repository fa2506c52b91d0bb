"""The invariants of disputes: what was frozen is in the books, once, and came back or went away once (I6)."""

from __future__ import annotations

from billing.books.verify import check

check(
    "I6",
    "an order's disputed amount is that of its disputes that are open or lost",
    counted="billing_dispute",
    broken="""
      SELECT 'top-up ' || t.number FROM billing_topup t
      LEFT JOIN (SELECT top_up_id, sum(counted_minor) AS total FROM billing_dispute
                 WHERE state IN ('open', 'lost') GROUP BY 1) d ON d.top_up_id = t.id
      WHERE t.disputed_minor <> coalesce(d.total, 0)""",
)
check(
    "I6",
    "what disputes froze and what came back or went away is what the chargeback account says",
    counted="billing_dispute",
    broken="""
      SELECT 'account ' || coalesce(d.account_id, p.account_id) FROM (
        SELECT account_id,
               sum(from_frozen + from_grant + from_overdraft + from_revenue + from_fee)
                 FILTER (WHERE ended_at IS NULL) AS open,
               sum(from_frozen + from_grant + from_overdraft + from_revenue + from_fee + returned_usd) AS taken
        FROM billing_dispute GROUP BY 1) d
      FULL JOIN (SELECT account_id, -sum(side * amount) AS net, sum(amount) FILTER (WHERE side = -1) AS taken
                 FROM billing_posting
                 WHERE ledger_id = (SELECT id FROM billing_ledgeraccount WHERE code = 'chargeback') GROUP BY 1) p
        ON p.account_id = d.account_id
      WHERE coalesce(d.open, 0) <> coalesce(p.net, 0) OR coalesce(d.taken, 0) <> coalesce(p.taken, 0)""",
)
check(
    "I6",
    "what early fraud warnings keep frozen is what the account of frozen credit says",
    counted="billing_earlyfraudwarning",
    broken="""
      SELECT 'account ' || coalesce(w.account_id, p.account_id) FROM (
        SELECT account_id, sum(frozen_usd - used_usd - released_usd) AS held
        FROM billing_earlyfraudwarning GROUP BY 1) w
      FULL JOIN (SELECT account_id, -sum(side * amount) AS net FROM billing_posting
                 WHERE ledger_id = (SELECT id FROM billing_ledgeraccount WHERE code = 'frozen') GROUP BY 1) p
        ON p.account_id = w.account_id
      WHERE coalesce(w.held, 0) <> coalesce(p.net, 0)""",
)
