-- Turn what is left of expired grants into breakage, one entry a grant. The caller holds the wallets' locks, or this
-- takes them in id order. Returns how many grants expired. A grant that got something back after it had expired (J21)
-- expires again, under a key of its own.
CREATE OR REPLACE FUNCTION mh_expire_grants(p_now timestamptz, p_accounts uuid[]) RETURNS integer LANGUAGE plpgsql AS $$
DECLARE n integer;
BEGIN
  PERFORM 1 FROM billing_wallet WHERE account_id = ANY(p_accounts) AND next_expiry_at <= p_now ORDER BY account_id FOR NO KEY UPDATE;
  WITH due AS (
    SELECT g.ledger_id, g.account_id, g.remaining, mh_uuid7(p_now) AS entry_id, w.balance - w.overdraft AS net, w.seq,
           CASE WHEN EXISTS (SELECT 1 FROM billing_journalentry e WHERE e.account_id = g.account_id AND e.key = 'grant:' || g.ledger_id || ':expired')
                THEN ':' || extract(epoch FROM g.expires_at) ELSE '' END AS again,
           row_number() OVER o AS nth, sum(g.remaining) OVER o AS so_far
    FROM billing_creditgrant g JOIN billing_wallet w ON w.account_id = g.account_id
    WHERE g.account_id = ANY(p_accounts) AND g.remaining > 0 AND g.expires_at <= p_now
    WINDOW o AS (PARTITION BY g.account_id ORDER BY g.expires_at, g.ledger_id)
  ), entry AS (
    INSERT INTO billing_journalentry (id, account_id, seq, kind, key, at, delta, balance_after, meta)
    SELECT entry_id, account_id, seq + nth, 'grant_expired', 'grant:' || ledger_id || ':expired' || again, p_now, -remaining, net - so_far,
           jsonb_build_object('grant', ledger_id)
    FROM due
  ), posting AS (
    INSERT INTO billing_posting (account_id, entry_id, line, ledger_id, side, amount)
    SELECT account_id, entry_id, 1, ledger_id, 1, remaining FROM due
    UNION ALL
    SELECT account_id, entry_id, 2, (SELECT id FROM billing_ledgeraccount WHERE kind = 'system' AND code = 'breakage'), -1, remaining FROM due
  ), emptied AS (
    UPDATE billing_creditgrant g SET remaining = 0 FROM due WHERE g.ledger_id = due.ledger_id
  ), wallet AS (
    UPDATE billing_wallet w SET balance = w.balance - d.total, seq = w.seq + d.entries,
      next_expiry_at = (SELECT min(g.expires_at) FROM billing_creditgrant g
                        WHERE g.account_id = w.account_id AND g.remaining > 0 AND g.expires_at > p_now)
    FROM (SELECT account_id, sum(remaining) AS total, count(*) AS entries FROM due GROUP BY account_id) d
    WHERE w.account_id = d.account_id
  )
  SELECT count(*) INTO n FROM due;
  -- A grant that was spent to the last cent leaves an expiry behind that nothing is due at.
  UPDATE billing_wallet w SET next_expiry_at = (SELECT min(g.expires_at) FROM billing_creditgrant g
                                                WHERE g.account_id = w.account_id AND g.remaining > 0 AND g.expires_at > p_now)
  WHERE w.account_id = ANY(p_accounts) AND w.next_expiry_at <= p_now;
  RETURN n;
END $$;
