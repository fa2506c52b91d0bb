-- Release many holds at once without a charge: p_status is `voided` (asked for) or `expired` (by the sweep, only what is due).
-- Repeats are harmless. Rows out, in the order given.
CREATE OR REPLACE FUNCTION mh_release(p_now timestamptz, p_status text, p_ids uuid[], p_accounts uuid[], p_reasons text[])
RETURNS TABLE (ord integer, outcome text, status text) LANGUAGE plpgsql SET lock_timeout = '5s' SET jit = off SET plan_cache_mode = force_generic_plan SET enable_seqscan = off SET enable_hashjoin = off SET enable_mergejoin = off SET enable_material = off AS $$
#variable_conflict use_column
DECLARE
  r_outcome text[];
BEGIN
  PERFORM 1 FROM billing_wallet WHERE account_id = ANY(p_accounts) ORDER BY account_id FOR NO KEY UPDATE;

  SELECT array_agg(CASE
           WHEN a.id IS NULL THEN 'not_found'
           WHEN a.status = 'captured' THEN 'already_captured'
           WHEN a.status <> 'open' THEN 'repeated'
           WHEN p_status = 'expired' AND a.expires_at > p_now THEN 'not_due'
           ELSE 'released' END ORDER BY i.o)
  INTO r_outcome
  FROM unnest(p_ids, p_accounts) WITH ORDINALITY AS i(id, account, o)
  LEFT JOIN billing_authorization a ON a.id = i.id AND a.account_id = i.account;

  WITH ended AS (
    UPDATE billing_authorization a SET status = p_status, closed_at = p_now, void_reason = coalesce(i.reason, '')
    FROM unnest(p_ids, p_accounts, p_reasons) WITH ORDINALITY AS i(id, account, reason, o)
    WHERE a.id = i.id AND a.account_id = i.account AND r_outcome[i.o] = 'released' AND a.status = 'open'
    RETURNING a.account_id, a.held
  )
  UPDATE billing_wallet w SET held = w.held - e.held
  FROM (SELECT account_id, sum(held) AS held FROM ended GROUP BY account_id) e WHERE w.account_id = e.account_id AND e.held > 0;

  IF EXISTS (SELECT FROM unnest(p_ids) AS i(id) JOIN billing_authorization a ON a.id = i.id WHERE a.funding <> 'payg') THEN
    PERFORM mh_settle_flows(array_agg(a.id), array_agg(0::numeric), array_agg(0::numeric), array_agg(true), false)
    FROM unnest(p_ids, p_accounts) WITH ORDINALITY AS i(id, account, o)
    JOIN billing_authorization a ON a.id = i.id AND a.account_id = i.account
    WHERE r_outcome[i.o] = 'released' AND a.funding <> 'payg' HAVING count(*) > 0;
  END IF;

  RETURN QUERY
    SELECT i.o::integer, r_outcome[i.o], a.status::text
    FROM unnest(p_ids, p_accounts) WITH ORDINALITY AS i(id, account, o)
    LEFT JOIN billing_authorization a ON a.id = i.id AND a.account_id = i.account
    ORDER BY i.o;
END $$;
