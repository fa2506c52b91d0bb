"""What must hold of vouchers: every redemption is one grant and one entry, and campaigns count right."""

from __future__ import annotations

from billing.books.verify import check

check(
    "I5",
    "every redemption gave one grant of its account by one entry under its code's key, and the other way round",
    counted="billing_redemption WHERE result = 'redeemed'",
    broken="""
      SELECT 'redemption ' || r.id FROM billing_redemption r
      JOIN billing_vouchercampaign c ON c.id = r.campaign_id
      LEFT JOIN billing_creditgrant g ON g.ledger_id = r.grant_id
      LEFT JOIN billing_journalentry e
        ON e.account_id = r.account_id AND e.key = 'voucher:' || r.voucher_id || ':redeemed'
      WHERE r.result = 'redeemed' AND (
        g.account_id IS DISTINCT FROM r.account_id OR g.amount IS DISTINCT FROM r.amount OR r.amount <> c.amount
        OR g.kind IS DISTINCT FROM c.kind OR e.meta ->> 'grant' IS DISTINCT FROM r.grant_id::text
        OR e.at IS DISTINCT FROM r.at)
      UNION ALL
      SELECT 'entry ' || e.id FROM billing_journalentry e
      WHERE e.kind IN ('voucher', 'compensation') AND e.key LIKE 'voucher:%:redeemed'
        AND NOT EXISTS (SELECT 1 FROM billing_redemption r WHERE r.result = 'redeemed' AND r.account_id = e.account_id
                        AND r.grant_id::text = e.meta ->> 'grant')""",
)
check(
    "I5",
    "a campaign's counters are its redemptions and its codes, within its limits",
    counted="billing_vouchercampaign",
    broken="""
      SELECT 'campaign ' || c.id FROM billing_vouchercampaign c
      LEFT JOIN (SELECT campaign_id, count(*) AS n FROM billing_redemption WHERE result = 'redeemed' GROUP BY 1) r
        ON r.campaign_id = c.id
      LEFT JOIN (SELECT campaign_id, count(*) AS n FROM billing_voucher WHERE NOT shared GROUP BY 1) v
        ON v.campaign_id = c.id
      WHERE c.redeemed <> coalesce(r.n, 0) OR c.codes_made <> coalesce(v.n, 0) OR c.redeemed > c.total
      UNION ALL
      SELECT 'account ' || r.account_id || ' in campaign ' || c.id FROM billing_redemption r
      JOIN billing_vouchercampaign c ON c.id = r.campaign_id
      WHERE r.result = 'redeemed' GROUP BY r.account_id, c.id, c.per_account HAVING count(*) > c.per_account""",
)
check(
    "I5",
    "a code for one redemption is used exactly when it was redeemed, and once",
    counted="billing_voucher",
    broken="""
      SELECT 'voucher ' || v.id FROM billing_voucher v
      LEFT JOIN (SELECT voucher_id, count(*) AS n, min(at) AS at FROM billing_redemption
                 WHERE result = 'redeemed' GROUP BY 1) r
        ON r.voucher_id = v.id
      WHERE NOT v.shared AND (v.used_at IS DISTINCT FROM r.at OR coalesce(r.n, 0) > 1)""",
)
check(
    "I13",
    "no voucher code is stored: a 32-byte hash and four characters",
    counted="billing_voucher",
    broken="""
      SELECT 'voucher ' || id FROM billing_voucher WHERE length(digest) <> 32 OR length(last_four) <> 4
      UNION ALL
      SELECT 'redemption ' || id FROM billing_redemption WHERE length(digest) <> 32 OR length(last_four) <> 4""",
)
