-- Place holds for many calls at once, each its own decision (03-http-api 3.3, I3). Arrays in, rows out, in the order given.
--
-- The gates up to the rate limits were asked before; this one asks the balance, under the wallet's lock. A request id
-- seen before answers with the authorization it made: `repeated` for the same body, `conflict` for another; so does one
-- that was charged without a hold (I4), since nothing could be captured for it. The caller sends each (account, request
-- id) at most once a call.
-- A wallet that somebody keeps locked fails this batch after 5 s (the caller answers 503) instead of holding everybody up.
-- Planned once, and held to index look-ups: planning costs more than running, and a plan made while the tables were small must
-- not turn into a scan of a million rows.
CREATE OR REPLACE FUNCTION mh_authorize(
  p_now timestamptz, p_expires timestamptz,
  p_ids uuid[], p_accounts uuid[], p_keys uuid[], p_tokens uuid[], p_requests text[], p_digests bytea[], p_kinds text[], p_fundings text[],
  p_models bigint[], p_channels bigint[], p_versions bigint[], p_channel_discounts numeric[], p_user_discounts numeric[],
  p_fields jsonb[], p_holds numeric[], p_fingerprints text[], p_traces text[]
) RETURNS TABLE (
  ord integer, outcome text, id uuid, status text, funding text, held numeric, held_flows numeric, expires_at timestamptz, trace_id text,
  available numeric
) LANGUAGE plpgsql SET lock_timeout = '5s' SET jit = off SET plan_cache_mode = force_generic_plan SET enable_seqscan = off SET enable_hashjoin = off SET enable_mergejoin = off SET enable_material = off AS $$
#variable_conflict use_column
DECLARE
  item record;
  n integer := coalesce(array_length(p_ids, 1), 0);
  current_account uuid;
  left_over numeric;
  r_outcome text[] := array_fill(NULL::text, ARRAY[n]);
  r_available numeric[] := array_fill(NULL::numeric, ARRAY[n]);
BEGIN
  PERFORM 1 FROM billing_wallet WHERE account_id = ANY(p_accounts) ORDER BY account_id FOR NO KEY UPDATE;
  IF EXISTS (SELECT 1 FROM billing_wallet WHERE account_id = ANY(p_accounts) AND next_expiry_at <= p_now) THEN
    PERFORM mh_expire_grants(p_now, p_accounts);
  END IF;

  FOR item IN
    SELECT i.o::integer AS o, i.account, p_holds[i.o] AS hold, a.id AS seen, a.digest = p_digests[i.o] AS same, w.account_id IS NOT NULL AS known,
           a.id IS NULL AND EXISTS (SELECT FROM billing_usagerecord u WHERE u.account_id = i.account AND u.request_id = i.request) AS charged,
           w.balance - w.overdraft - w.held + w.credit_limit AS available
    FROM unnest(p_accounts, p_requests) WITH ORDINALITY AS i(account, request, o)
    LEFT JOIN billing_authorization a ON a.account_id = i.account AND a.request_id = i.request
    LEFT JOIN billing_wallet w ON w.account_id = i.account
    ORDER BY i.account, i.o
  LOOP
    IF item.account IS DISTINCT FROM current_account THEN
      current_account := item.account;
      left_over := item.available;
    END IF;
    r_available[item.o] := left_over;
    IF item.seen IS NOT NULL THEN
      r_outcome[item.o] := CASE WHEN item.same THEN 'repeated' ELSE 'conflict' END;
    ELSIF item.charged THEN
      r_outcome[item.o] := 'conflict';
    ELSIF NOT item.known THEN
      r_outcome[item.o] := 'not_found';
    -- A call that holds nothing is a free one; it needs no balance, but no one calls on while in debt.
    ELSIF left_over >= item.hold AND (left_over > 0 OR item.hold = 0 AND left_over >= 0) THEN
      r_outcome[item.o] := 'created';
      left_over := left_over - item.hold;
    ELSE
      r_outcome[item.o] := 'insufficient_balance';
    END IF;
  END LOOP;

  INSERT INTO billing_authorization (
    id, account_id, api_key_id, token_id, request_id, digest, kind, status, funding, model_id, channel_id, price_version_id,
    channel_discount, user_discount, fields, held, held_flows, flow_class, fingerprint, trace_id, created_at, expires_at, closed_at, void_reason)
  SELECT p_ids[o], p_accounts[o], p_keys[o], p_tokens[o], p_requests[o], p_digests[o], p_kinds[o], 'open', p_fundings[o], p_models[o], p_channels[o],
         p_versions[o], p_channel_discounts[o], p_user_discounts[o], p_fields[o], p_holds[o], 0, '', p_fingerprints[o], p_traces[o], p_now, p_expires, NULL, ''
  FROM generate_series(1, n) AS o WHERE r_outcome[o] = 'created';

  UPDATE billing_wallet w SET held = w.held + h.total
  FROM (SELECT p_accounts[o] AS account, sum(p_holds[o]) AS total FROM generate_series(1, n) AS o WHERE r_outcome[o] = 'created' GROUP BY 1) h
  WHERE w.account_id = h.account AND h.total > 0;

  RETURN QUERY
    SELECT o, r_outcome[o], coalesce(a.id, p_ids[o]), coalesce(a.status::text, 'open'), coalesce(a.funding::text, p_fundings[o]),
           coalesce(a.held, p_holds[o]), coalesce(a.held_flows, 0), coalesce(a.expires_at, p_expires), coalesce(a.trace_id::text, p_traces[o]),
           r_available[o]
    FROM generate_series(1, n) AS o
    LEFT JOIN billing_authorization a ON r_outcome[o] IN ('repeated', 'conflict') AND a.account_id = p_accounts[o] AND a.request_id = p_requests[o]
    ORDER BY o;
END $$;
