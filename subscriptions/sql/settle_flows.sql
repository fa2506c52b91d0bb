-- What ended authorizations of subscriptions did to their windows and to the month of Extra Usage: called by `mh_charge` and
-- `mh_release` (billing/metering/sql) in their transaction, under the wallets' locks. `p_flows` and `p_charges` are 0 for a
-- release; `p_holding` says whether the authorization still held its estimate (a late capture no longer does).
-- A call counts in the windows in which it was admitted, however late it is captured (C06).
CREATE OR REPLACE FUNCTION mh_settle_flows(p_ids uuid[], p_flows numeric[], p_charges numeric[], p_holding boolean[], p_captured boolean) RETURNS void
LANGUAGE plpgsql SET jit = off SET plan_cache_mode = force_generic_plan SET enable_seqscan = off SET enable_hashjoin = off SET enable_mergejoin = off SET enable_material = off AS $$
BEGIN
  PERFORM mh_move_flows(array_agg(window_id), array_agg(flows), array_agg(-held))
  FROM (
    SELECT w.id AS window_id, i.flows, CASE WHEN i.holding THEN a.held_flows ELSE 0 END AS held
    FROM unnest(p_ids, p_flows, p_holding) AS i(id, flows, holding)
    JOIN subscriptions_flowhold f ON f.authorization_id = i.id
    JOIN billing_authorization a ON a.account_id = f.account_id AND a.id = i.id
    CROSS JOIN LATERAL (VALUES (f.five_hours_id), (f.week_id), (f.period_id)) w(id)
    WHERE f.five_hours_id IS NOT NULL
  ) moved
  HAVING count(*) > 0;

  UPDATE subscriptions_extrausagemonth m SET spent = m.spent + s.charge, held = m.held - s.held, calls = m.calls + s.calls
  FROM (
    SELECT f.extra_month_id AS id, sum(i.charge) AS charge, sum(CASE WHEN i.holding THEN a.held ELSE 0 END) AS held,
           CASE WHEN p_captured THEN count(*) ELSE 0 END AS calls
    FROM unnest(p_ids, p_charges, p_holding) AS i(id, charge, holding)
    JOIN subscriptions_flowhold f ON f.authorization_id = i.id
    JOIN billing_authorization a ON a.account_id = f.account_id AND a.id = i.id
    WHERE f.extra_month_id IS NOT NULL
    GROUP BY f.extra_month_id
  ) s WHERE m.id = s.id;
END $$;
