-- Add to what windows have used and hold (either may be negative), and carry the sum on to the windows that follow them after a
-- change of plan (C26). The caller holds the locks of the accounts' wallets.
CREATE OR REPLACE FUNCTION mh_move_flows(p_windows uuid[], p_used numeric[], p_held numeric[]) RETURNS void
LANGUAGE plpgsql SET jit = off SET plan_cache_mode = force_generic_plan SET enable_seqscan = off SET enable_hashjoin = off SET enable_mergejoin = off SET enable_material = off AS $$
BEGIN
  UPDATE subscriptions_quotawindow w SET used = w.used + m.used, held = w.held + m.held
  FROM (SELECT i.id, sum(i.used) AS used, sum(i.held) AS held FROM unnest(p_windows, p_used, p_held) AS i(id, used, held) GROUP BY i.id) m
  WHERE w.id = m.id;

  IF EXISTS (SELECT 1 FROM subscriptions_quotawindow w WHERE w.follows_id = ANY(p_windows)) THEN
    WITH RECURSIVE later AS (
      SELECT w.id, i.used + i.held AS change FROM unnest(p_windows, p_used, p_held) AS i(id, used, held)
      JOIN subscriptions_quotawindow w ON w.follows_id = i.id
      UNION ALL
      SELECT w.id, l.change FROM later l JOIN subscriptions_quotawindow w ON w.follows_id = l.id
    )
    UPDATE subscriptions_quotawindow w SET carried = w.carried + m.change
    FROM (SELECT id, sum(change) AS change FROM later GROUP BY id) m WHERE w.id = m.id;
  END IF;
END $$;
