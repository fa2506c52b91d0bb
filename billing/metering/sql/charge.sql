-- Charge many calls at once: end their holds, draw the credit grants in burn order, write one `usage` entry an account
-- and the usage records that point at it (02-domain 2.3, I2, I4, I7). Arrays in, rows out, in the order given.
--
-- An item with an authorization is a capture; one without is usage reported without a hold. What was charged before
-- answers `repeated` (same usage) or `already_captured` (other usage) and changes nothing. The caller sends each
-- (account, request id) at most once a call.
CREATE OR REPLACE FUNCTION mh_charge(
  p_now timestamptz,
  p_ids uuid[], p_holds uuid[], p_accounts uuid[], p_keys uuid[], p_requests text[], p_digests bytea[], p_kinds text[], p_fundings text[],
  p_models bigint[], p_channels bigint[], p_versions bigint[], p_channel_discounts numeric[], p_user_discounts numeric[], p_fields jsonb[],
  p_usages jsonb[], p_input bigint[], p_output bigint[], p_cache_read bigint[], p_cache_write bigint[],
  p_lists numeric[], p_charges numeric[], p_flows numeric[], p_upstream smallint[], p_latencies integer[],
  p_fingerprints text[], p_traces text[], p_authorized timestamptz[], p_sheets jsonb[],
  p_flow_classes text[], p_flow_rates numeric[], p_flow_factors numeric[], p_flow_overheads numeric[]
) RETURNS TABLE (
  ord integer, outcome text, id uuid, charge numeric, list_price numeric, flows numeric, funding text, balance numeric, late boolean
) LANGUAGE plpgsql SET lock_timeout = '5s' SET jit = off SET plan_cache_mode = force_generic_plan SET enable_seqscan = off SET enable_hashjoin = off SET enable_mergejoin = off SET enable_material = off AS $$
#variable_conflict use_column
DECLARE
  n integer := coalesce(array_length(p_ids, 1), 0);
  r_outcome text[];
  r_late boolean[];
BEGIN
  PERFORM 1 FROM billing_wallet WHERE account_id = ANY(p_accounts) ORDER BY account_id FOR NO KEY UPDATE;
  IF EXISTS (SELECT 1 FROM billing_wallet WHERE account_id = ANY(p_accounts) AND next_expiry_at <= p_now) THEN
    PERFORM mh_expire_grants(p_now, p_accounts);
  END IF;

  SELECT array_agg(CASE
           WHEN u.id IS NOT NULL AND u.authorization_id IS NOT DISTINCT FROM p_holds[i.o] AND u.digest = p_digests[i.o] THEN 'repeated'
           WHEN u.id IS NOT NULL THEN 'already_captured'
           WHEN p_holds[i.o] IS NULL AND other.id IS NOT NULL THEN 'conflict'
           WHEN p_holds[i.o] IS NOT NULL AND a.id IS NULL THEN 'not_found'
           WHEN a.status = 'voided' THEN 'already_voided'
           ELSE 'created' END ORDER BY i.o),
         array_agg(coalesce(a.status = 'expired', false) ORDER BY i.o)
  INTO r_outcome, r_late
  FROM unnest(p_accounts, p_requests, p_holds) WITH ORDINALITY AS i(account, request, hold, o)
  LEFT JOIN billing_usagerecord u ON u.account_id = i.account AND u.request_id = i.request
  LEFT JOIN billing_authorization a ON a.id = i.hold AND a.account_id = i.account
  LEFT JOIN billing_authorization other ON i.hold IS NULL AND other.account_id = i.account AND other.request_id = i.request;

  WITH item AS (
    SELECT o, p_accounts[o] AS account_id, p_charges[o] AS charge, p_holds[o] AS hold,
           sum(p_charges[o]) OVER (PARTITION BY p_accounts[o] ORDER BY o) - p_charges[o] AS charge_from
    FROM generate_series(1, n) AS o WHERE r_outcome[o] = 'created'
  ), total AS (
    SELECT i.account_id, sum(i.charge) AS charge, count(*) AS calls, mh_uuid7(p_now) AS entry_id, min(i.o) AS first
    FROM item i GROUP BY i.account_id
  ), bucket AS (
    SELECT g.ledger_id, g.account_id, g.remaining, t.charge,
           sum(g.remaining) OVER burn - g.remaining AS before, row_number() OVER burn AS line
    FROM billing_creditgrant g JOIN total t ON t.account_id = g.account_id
    WHERE g.remaining > 0 AND t.charge > 0
    WINDOW burn AS (PARTITION BY g.account_id ORDER BY g.priority, g.expires_at NULLS LAST, g.paid, g.created_at, g.ledger_id)
  ), draw AS MATERIALIZED (
    SELECT ledger_id, account_id, line, least(remaining, charge - before) AS take FROM bucket WHERE before < charge
  ), share AS MATERIALIZED (
    SELECT t.account_id, t.entry_id, t.charge, t.calls, t.first, coalesce(d.take, 0) AS taken, t.charge - coalesce(d.take, 0) AS over,
           coalesce(d.lines, 0) AS lines, w.overdraft_ledger_id, w.seq + 1 AS seq, w.balance - w.overdraft - t.charge AS balance_after
    FROM total t JOIN billing_wallet w ON w.account_id = t.account_id
    LEFT JOIN (SELECT account_id, sum(take) AS take, count(*) AS lines FROM draw GROUP BY account_id) d ON d.account_id = t.account_id
  ), emptied AS (
    UPDATE billing_creditgrant g SET remaining = g.remaining - d.take FROM draw d WHERE g.ledger_id = d.ledger_id
  ), entry AS (
    INSERT INTO billing_journalentry (id, account_id, seq, kind, key, at, delta, balance_after, meta)
    SELECT entry_id, account_id, seq, 'usage', 'usage:' || p_ids[first], p_now, -charge, balance_after, jsonb_build_object('calls', calls)
    FROM share WHERE charge > 0
  ), posting AS (
    INSERT INTO billing_posting (account_id, entry_id, line, ledger_id, side, amount)
    SELECT d.account_id, s.entry_id, d.line, d.ledger_id, 1, d.take FROM draw d JOIN share s ON s.account_id = d.account_id
    UNION ALL
    SELECT account_id, entry_id, lines + 1, overdraft_ledger_id, 1, over FROM share WHERE over > 0
    UNION ALL
    SELECT account_id, entry_id, lines + (over > 0)::integer + 1, (SELECT l.id FROM billing_ledgeraccount l WHERE l.kind = 'system' AND l.code = 'revenue:usage'), -1, charge
    FROM share WHERE charge > 0
  ), ended AS (
    UPDATE billing_authorization a SET status = 'captured', closed_at = p_now
    FROM item i WHERE a.id = i.hold AND a.account_id = i.account_id
    RETURNING a.account_id, CASE WHEN r_late[i.o] THEN 0 ELSE a.held END AS held
  ), wallet AS (
    UPDATE billing_wallet w SET balance = w.balance - s.taken, overdraft = w.overdraft + s.over, held = w.held - coalesce(h.held, 0),
                                seq = w.seq + (s.charge > 0)::integer
    FROM share s LEFT JOIN (SELECT account_id, sum(held) AS held FROM ended GROUP BY account_id) h ON h.account_id = s.account_id
    WHERE w.account_id = s.account_id
  )
  INSERT INTO billing_usagerecord (
    id, account_id, authorization_id, api_key_id, request_id, digest, kind, funding, entry_id, charge_from, model_id, channel_id, price_version_id,
    usage, input_tokens, output_tokens, cache_read_tokens, cache_write_tokens, fields, list_price, channel_discount, user_discount, charge, flows,
    flows_per_usd, flow_class, flow_factor, flow_overhead, late, upstream_status, latency_ms, fingerprint, duplicate_of, trace_id, authorized_at, created_at, sheet)
  SELECT p_ids[o], i.account_id, i.hold, p_keys[o], p_requests[o], p_digests[o], p_kinds[o], p_fundings[o],
         CASE WHEN s.charge > 0 AND i.charge > 0 THEN s.entry_id END, i.charge_from, p_models[o], p_channels[o], p_versions[o],
         p_usages[o], p_input[o], p_output[o], p_cache_read[o], p_cache_write[o], p_fields[o], p_lists[o], p_channel_discounts[o], p_user_discounts[o],
         i.charge, p_flows[o], p_flow_rates[o], p_flow_classes[o], p_flow_factors[o], p_flow_overheads[o], r_late[o], p_upstream[o], p_latencies[o], p_fingerprints[o], NULL, p_traces[o], p_authorized[o], p_now, p_sheets[o]
  FROM item i JOIN share s ON s.account_id = i.account_id;

  IF EXISTS (SELECT FROM unnest(p_fundings) AS f(funding) WHERE f.funding <> 'payg') THEN
    PERFORM mh_settle_flows(array_agg(p_holds[o]), array_agg(p_flows[o]), array_agg(p_charges[o]), array_agg(NOT r_late[o]), true)
    FROM generate_series(1, n) AS o
    WHERE r_outcome[o] = 'created' AND p_holds[o] IS NOT NULL AND p_fundings[o] <> 'payg' HAVING count(*) > 0;
  END IF;

  -- What comes back is read from the rows, so that the answer to a repeat is the answer that was given.
  RETURN QUERY
    SELECT o, r_outcome[o], u.id, u.charge, u.list_price, u.flows, u.funding::text, coalesce(e.balance_after, w.balance - w.overdraft), u.late
    FROM generate_series(1, n) AS o
    LEFT JOIN billing_usagerecord u ON r_outcome[o] IN ('created', 'repeated') AND u.account_id = p_accounts[o] AND u.request_id = p_requests[o]
    LEFT JOIN billing_journalentry e ON e.id = u.entry_id AND e.account_id = u.account_id
    LEFT JOIN billing_wallet w ON w.account_id = p_accounts[o]
    ORDER BY o;
END $$;
