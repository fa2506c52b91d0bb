-- Admit many calls of subscriptions at once, each its own decision (02-domain 2.7, C06, C07, C24). Arrays in, rows out, in the
-- order given.
--
-- Under the wallet's lock, which also guards the windows: five hours, then the week, then the billing period; where one of them
-- has no room, Extra Usage, if the account agreed to it: its month, then the balance. What pays is chosen here, once. A call that
-- is refused opens no window. `p_plans` is the plan version in force; `p_extra_keys` the key of Extra Usage where it may pay.
-- While a plan is being refunded it admits nothing (C14), unless the call was made already and is only reported (`p_made`).
-- A call may always take a whole, untouched window: an estimate that is larger than any window would never be admitted.
-- Lengths are written in hours: a day of an interval is as long as the session's time zone makes it.
CREATE OR REPLACE FUNCTION mh_admit_flows(
  p_now timestamptz, p_expires timestamptz,
  p_ids uuid[], p_accounts uuid[], p_keys uuid[], p_tokens uuid[], p_requests text[], p_digests bytea[], p_kinds text[],
  p_models bigint[], p_channels bigint[], p_versions bigint[], p_channel_discounts numeric[], p_user_discounts numeric[],
  p_fields jsonb[], p_flows numeric[], p_holds numeric[], p_fingerprints text[], p_traces text[],
  p_plans bigint[], p_classes text[], p_rates numeric[], p_factors numeric[], p_overheads numeric[], p_extra_keys uuid[], p_made boolean
) RETURNS TABLE (
  ord integer, outcome text, id uuid, status text, funding text, held numeric, held_flows numeric, expires_at timestamptz, trace_id text,
  needed numeric, taken numeric[], caps numeric[], ends timestamptz[], extra_left numeric, extra_cap numeric, available numeric
) LANGUAGE plpgsql SET lock_timeout = '5s' SET jit = off SET plan_cache_mode = force_generic_plan SET enable_seqscan = off SET enable_hashjoin = off SET enable_mergejoin = off SET enable_material = off AS $$
#variable_conflict use_column
DECLARE
  n integer := coalesce(array_length(p_ids, 1), 0);
  item record;
  plan subscriptions_planversion;
  period subscriptions_quotawindow;
  five subscriptions_quotawindow;
  week subscriptions_quotawindow;
  extra subscriptions_extrausage;
  spending subscriptions_extrausagemonth;
  this_account uuid;
  left_over numeric;
  need numeric;
  at timestamptz;
  fits boolean;
  free_period constant interval := interval '720 hours';
  this_month constant date := date_trunc('month', p_now AT TIME ZONE 'UTC')::date;
  r_outcome text[] := array_fill(NULL::text, ARRAY[n]);
  r_funding text[] := array_fill(NULL::text, ARRAY[n]);
  r_need numeric[] := array_fill(NULL::numeric, ARRAY[n]);
  r_five uuid[] := array_fill(NULL::uuid, ARRAY[n]);
  r_week uuid[] := array_fill(NULL::uuid, ARRAY[n]);
  r_period uuid[] := array_fill(NULL::uuid, ARRAY[n]);
  r_month uuid[] := array_fill(NULL::uuid, ARRAY[n]);
  r_taken numeric[] := array_fill(NULL::numeric, ARRAY[n, 3]);
  r_caps numeric[] := array_fill(NULL::numeric, ARRAY[n, 3]);
  r_ends timestamptz[] := array_fill(NULL::timestamptz, ARRAY[n, 3]);
  r_extra_left numeric[] := array_fill(NULL::numeric, ARRAY[n]);
  r_extra_cap numeric[] := array_fill(NULL::numeric, ARRAY[n]);
  r_available numeric[] := array_fill(NULL::numeric, ARRAY[n]);
BEGIN
  PERFORM 1 FROM billing_wallet WHERE account_id = ANY(p_accounts) ORDER BY account_id FOR NO KEY UPDATE;
  IF EXISTS (SELECT 1 FROM billing_wallet WHERE account_id = ANY(p_accounts) AND next_expiry_at <= p_now) THEN
    PERFORM mh_expire_grants(p_now, p_accounts);
  END IF;

  FOR item IN
    SELECT i.o::integer AS o, i.account, a.id AS seen, a.digest = p_digests[i.o] AS same, w.account_id IS NOT NULL AS known,
           a.id IS NULL AND EXISTS (SELECT FROM billing_usagerecord u WHERE u.account_id = i.account AND u.request_id = i.request) AS charged,
           w.balance - w.overdraft - w.held + w.credit_limit AS available
    FROM unnest(p_accounts, p_requests) WITH ORDINALITY AS i(account, request, o)
    LEFT JOIN billing_authorization a ON a.account_id = i.account AND a.request_id = i.request
    LEFT JOIN billing_wallet w ON w.account_id = i.account
    ORDER BY i.account, i.o
  LOOP
    IF item.seen IS NOT NULL THEN
      r_outcome[item.o] := CASE WHEN item.same THEN 'repeated' ELSE 'conflict' END;
      CONTINUE;
    ELSIF item.charged THEN
      r_outcome[item.o] := 'conflict';
      CONTINUE;
    ELSIF NOT item.known THEN
      r_outcome[item.o] := 'not_found';
      CONTINUE;
    END IF;

    IF item.account IS DISTINCT FROM this_account THEN
      this_account := item.account;
      left_over := item.available;
      -- The windows that are open, or that opened a moment after `p_now` was read: of two calls at once either may be first.
      SELECT * INTO period FROM subscriptions_quotawindow w WHERE w.account_id = this_account AND w.kind = 'period' AND w.ends_at > p_now
      ORDER BY w.ends_at LIMIT 1;
      SELECT * INTO five FROM subscriptions_quotawindow w WHERE w.account_id = this_account AND w.kind = '5h' AND w.ends_at > p_now AND w.period_id = period.id
      ORDER BY w.ends_at LIMIT 1;
      SELECT * INTO week FROM subscriptions_quotawindow w WHERE w.account_id = this_account AND w.kind = 'week' AND w.ends_at > p_now AND w.period_id = period.id
      ORDER BY w.ends_at LIMIT 1;
      SELECT * INTO plan FROM subscriptions_planversion v WHERE v.id = coalesce(period.plan_version_id, p_plans[item.o]);
      SELECT * INTO extra FROM subscriptions_extrausage e WHERE e.account_id = this_account AND e.enabled;
      spending := NULL;
      IF extra.account_id IS NOT NULL THEN
        SELECT * INTO spending FROM subscriptions_extrausagemonth m WHERE m.account_id = this_account AND m.month = this_month;
      END IF;
      -- What a window that is not open yet would be; it is written when a call is admitted to it.
      IF period.id IS NULL THEN
        period.starts_at := p_now; period.ends_at := p_now + free_period;
        period.cap := plan.flows_period; period.enforced := plan.enforce_period_cap; period.used := 0; period.held := 0; period.carried := 0;
      END IF;
      at := greatest(p_now, period.starts_at);
      -- On a grid a window that staff ended early is followed by one for the rest of its time: it begins where that one ended.
      IF five.id IS NULL THEN
        five.starts_at := CASE WHEN plan.anchor_policy = 'grid' THEN date_bin(interval '5 hours', at, period.starts_at) ELSE at END;
        five.ends_at := least(five.starts_at + interval '5 hours', period.ends_at);
        IF plan.anchor_policy = 'grid' THEN
          five.starts_at := greatest(five.starts_at, (SELECT max(w.ends_at) FROM subscriptions_quotawindow w
            WHERE w.account_id = this_account AND w.kind = '5h' AND w.ends_at > five.starts_at AND w.ends_at <= at));
        END IF;
        five.cap := plan.flows_5h; five.used := 0; five.held := 0; five.carried := 0;
      END IF;
      IF week.id IS NULL THEN
        week.starts_at := CASE WHEN plan.anchor_policy = 'grid' THEN date_bin(interval '168 hours', at, period.starts_at) ELSE at END;
        week.ends_at := least(week.starts_at + interval '168 hours', period.ends_at);
        IF plan.anchor_policy = 'grid' THEN
          week.starts_at := greatest(week.starts_at, (SELECT max(w.ends_at) FROM subscriptions_quotawindow w
            WHERE w.account_id = this_account AND w.kind = 'week' AND w.ends_at > week.starts_at AND w.ends_at <= at));
        END IF;
        week.cap := plan.flows_week; week.used := 0; week.held := 0; week.carried := 0;
      END IF;
    END IF;

    -- Nobody is billed for the Free plan: its period begins with a call. A paid one is opened by the subscription alone.
    IF period.id IS NULL AND plan.price_usd > 0 THEN
      r_outcome[item.o] := 'lapsed';
      CONTINUE;
    END IF;
    IF NOT p_made AND period.subscription_id IS NOT NULL AND EXISTS (
      SELECT FROM subscriptions_subscription s WHERE s.id = period.subscription_id AND s.paused_at IS NOT NULL)
    THEN
      r_outcome[item.o] := 'refund_pending';
      CONTINUE;
    END IF;
    need := least(p_flows[item.o], plan.flows_5h, plan.flows_week, plan.flows_period);
    r_need[item.o] := need;
    r_taken[item.o][1] := five.used + five.held + five.carried;
    r_taken[item.o][2] := week.used + week.held + week.carried;
    r_taken[item.o][3] := period.used + period.held + period.carried;
    r_caps[item.o][1] := five.cap; r_caps[item.o][2] := week.cap;
    r_caps[item.o][3] := CASE WHEN period.enforced THEN period.cap END;
    r_ends[item.o][1] := five.ends_at; r_ends[item.o][2] := week.ends_at; r_ends[item.o][3] := period.ends_at;
    r_available[item.o] := left_over;
    -- A full window admits nothing, not even what holds no Flows, unless it never costs any.
    fits := need = 0 OR (
      r_taken[item.o][1] + need <= five.cap AND r_taken[item.o][2] + need <= week.cap
      AND (NOT period.enforced OR r_taken[item.o][3] + need <= period.cap));

    IF fits THEN
      IF period.id IS NULL THEN
        INSERT INTO subscriptions_quotawindow (id, account_id, kind, plan_version_id, subscription_id, period_id, follows_id, starts_at, ends_at, cap, enforced, used, held, carried, opened_at, ended_by)
        VALUES (mh_uuid7(p_now), this_account, 'period', plan.id, NULL, NULL, NULL, period.starts_at, period.ends_at, period.cap, period.enforced, 0, 0, 0, p_now, '')
        RETURNING * INTO period;
      END IF;
      IF five.id IS NULL THEN
        INSERT INTO subscriptions_quotawindow (id, account_id, kind, plan_version_id, subscription_id, period_id, follows_id, starts_at, ends_at, cap, enforced, used, held, carried, opened_at, ended_by)
        VALUES (mh_uuid7(p_now), this_account, '5h', plan.id, period.subscription_id, period.id, NULL, five.starts_at, five.ends_at, five.cap, true, 0, 0, 0, p_now, '')
        RETURNING * INTO five;
      END IF;
      IF week.id IS NULL THEN
        INSERT INTO subscriptions_quotawindow (id, account_id, kind, plan_version_id, subscription_id, period_id, follows_id, starts_at, ends_at, cap, enforced, used, held, carried, opened_at, ended_by)
        VALUES (mh_uuid7(p_now), this_account, 'week', plan.id, period.subscription_id, period.id, NULL, week.starts_at, week.ends_at, week.cap, true, 0, 0, 0, p_now, '')
        RETURNING * INTO week;
      END IF;
      five.held := five.held + need; week.held := week.held + need; period.held := period.held + need;
      r_five[item.o] := five.id; r_week[item.o] := week.id; r_period[item.o] := period.id;
      r_outcome[item.o] := 'created'; r_funding[item.o] := 'subscription';
    ELSIF extra.account_id IS NULL OR p_extra_keys[item.o] IS DISTINCT FROM extra.api_key_id THEN
      r_outcome[item.o] := 'exhausted';
    ELSE
      r_extra_cap[item.o] := extra.monthly_cap;
      r_extra_left[item.o] := extra.monthly_cap - coalesce(spending.spent + spending.held, 0);
      IF r_extra_left[item.o] < p_holds[item.o] THEN
        r_outcome[item.o] := 'extra_usage_cap';
        -- What is spent, not what is held, leaves too little for it: that will not pass, and the account is told (F083).
        IF extra.monthly_cap - coalesce(spending.spent, 0) < p_holds[item.o] THEN
          IF spending.id IS NULL THEN
            INSERT INTO subscriptions_extrausagemonth (id, account_id, month, spent, held, calls, told, refused_at, refusal_told)
            VALUES (mh_uuid7(p_now), this_account, this_month, 0, 0, 0, 0, p_now, false) RETURNING * INTO spending;
          ELSE
            UPDATE subscriptions_extrausagemonth m SET refused_at = p_now WHERE m.id = spending.id AND m.refused_at IS NULL;
          END IF;
        END IF;
      ELSIF left_over >= p_holds[item.o] AND (left_over > 0 OR p_holds[item.o] = 0 AND left_over >= 0) THEN
        IF spending.id IS NULL THEN
          INSERT INTO subscriptions_extrausagemonth (id, account_id, month, spent, held, calls, told, refusal_told)
          VALUES (mh_uuid7(p_now), this_account, this_month, 0, 0, 0, 0, false) RETURNING * INTO spending;
        END IF;
        spending.held := spending.held + p_holds[item.o];
        left_over := left_over - p_holds[item.o];
        r_month[item.o] := spending.id;
        r_outcome[item.o] := 'created'; r_funding[item.o] := 'extra_usage';
      ELSE
        r_outcome[item.o] := 'insufficient_balance';
      END IF;
    END IF;
  END LOOP;

  INSERT INTO billing_authorization (
    id, account_id, api_key_id, token_id, request_id, digest, kind, status, funding, model_id, channel_id, price_version_id,
    channel_discount, user_discount, fields, held, held_flows, flow_class, flows_per_usd, flow_factor, flow_overhead, fingerprint, trace_id,
    created_at, expires_at, closed_at, void_reason)
  SELECT p_ids[o], p_accounts[o], p_keys[o], p_tokens[o], p_requests[o], p_digests[o], p_kinds[o], 'open', r_funding[o], p_models[o], p_channels[o],
         p_versions[o], p_channel_discounts[o], p_user_discounts[o], p_fields[o],
         CASE WHEN r_funding[o] = 'extra_usage' THEN p_holds[o] ELSE 0 END, CASE WHEN r_funding[o] = 'subscription' THEN r_need[o] ELSE 0 END,
         p_classes[o], p_rates[o], p_factors[o], p_overheads[o], p_fingerprints[o], p_traces[o], p_now, p_expires, NULL, ''
  FROM generate_series(1, n) AS o WHERE r_outcome[o] = 'created';

  INSERT INTO subscriptions_flowhold (authorization_id, account_id, five_hours_id, week_id, period_id, extra_month_id, extra_key_id)
  SELECT p_ids[o], p_accounts[o], r_five[o], r_week[o], r_period[o], r_month[o], CASE WHEN r_month[o] IS NOT NULL THEN p_extra_keys[o] END
  FROM generate_series(1, n) AS o WHERE r_outcome[o] = 'created';

  UPDATE billing_wallet w SET held = w.held + h.total
  FROM (SELECT p_accounts[o] AS account, sum(p_holds[o]) AS total FROM generate_series(1, n) AS o
        WHERE r_outcome[o] = 'created' AND r_funding[o] = 'extra_usage' GROUP BY 1) h
  WHERE w.account_id = h.account AND h.total > 0;

  UPDATE subscriptions_extrausagemonth m SET held = m.held + h.total
  FROM (SELECT r_month[o] AS id, sum(p_holds[o]) AS total FROM generate_series(1, n) AS o WHERE r_month[o] IS NOT NULL GROUP BY 1) h
  WHERE m.id = h.id;

  PERFORM mh_move_flows(
    array_agg(window_id), array_agg(0::numeric), array_agg(need))
  FROM (SELECT w.id AS window_id, r_need[o] AS need FROM generate_series(1, n) AS o CROSS JOIN LATERAL (VALUES (r_five[o]), (r_week[o]), (r_period[o])) w(id)
        WHERE r_five[o] IS NOT NULL) moved
  HAVING count(*) > 0;

  RETURN QUERY
    SELECT o, r_outcome[o], coalesce(a.id, p_ids[o]), coalesce(a.status::text, 'open'), a.funding::text,
           coalesce(a.held, 0), coalesce(a.held_flows, 0), coalesce(a.expires_at, p_expires), coalesce(a.trace_id::text, p_traces[o]),
           r_need[o], ARRAY[r_taken[o][1], r_taken[o][2], r_taken[o][3]], ARRAY[r_caps[o][1], r_caps[o][2], r_caps[o][3]],
           ARRAY[r_ends[o][1], r_ends[o][2], r_ends[o][3]], r_extra_left[o], r_extra_cap[o], r_available[o]
    FROM generate_series(1, n) AS o
    LEFT JOIN billing_authorization a ON r_outcome[o] IN ('created', 'repeated', 'conflict') AND a.account_id = p_accounts[o] AND a.request_id = p_requests[o]
    ORDER BY o;
END $$;
