"""The invariants of windows, Extra Usage and subscriptions (I6, I9, I10)."""

from billing.books.verify import check

check(
    "I9",
    "a window has used the Flows of the calls that were admitted in it, and holds those of the open ones",
    counted="subscriptions_quotawindow",
    broken="""
      SELECT 'window ' || w.id FROM subscriptions_quotawindow w
      LEFT JOIN (
        SELECT p.window_id, sum(u.flows) AS used, sum(a.held_flows) FILTER (WHERE a.status = 'open') AS held
        FROM subscriptions_flowhold f
        CROSS JOIN LATERAL (VALUES (f.five_hours_id), (f.week_id), (f.period_id)) p(window_id)
        JOIN billing_authorization a ON a.id = f.authorization_id AND a.account_id = f.account_id
        LEFT JOIN billing_usagerecord u ON u.id = f.authorization_id AND u.account_id = f.account_id
        WHERE f.five_hours_id IS NOT NULL GROUP BY 1) s ON s.window_id = w.id
      WHERE w.used <> coalesce(s.used, 0) OR w.held <> coalesce(s.held, 0)""",
)
check(
    "I9",
    "windows lie within their billing period, do not overlap, and carry on what the window before a change of plan has used and holds",
    counted="subscriptions_quotawindow",
    broken="""
      SELECT 'window ' || w.id FROM subscriptions_quotawindow w JOIN subscriptions_quotawindow p ON p.id = w.period_id
      WHERE w.starts_at < p.starts_at OR w.ends_at > p.ends_at OR w.account_id <> p.account_id OR w.plan_version_id <> p.plan_version_id
      UNION ALL
      SELECT 'window ' || id FROM (
        SELECT id, starts_at, max(ends_at) OVER (PARTITION BY account_id, kind ORDER BY starts_at, ends_at ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING) AS before
        FROM subscriptions_quotawindow) w
      WHERE starts_at < before
      UNION ALL
      SELECT 'window ' || w.id FROM subscriptions_quotawindow w LEFT JOIN subscriptions_quotawindow b ON b.id = w.follows_id
      WHERE w.carried <> coalesce(b.used + b.held + b.carried, 0)""",
)
check(
    "I9",
    "what Flows or Extra Usage pay for says in which windows or which month it counts, and nothing else does",
    counted="subscriptions_flowhold",
    broken="""
      SELECT 'authorization ' || a.id FROM billing_authorization a
      LEFT JOIN subscriptions_flowhold f ON f.authorization_id = a.id AND f.account_id = a.account_id
      WHERE a.funding <> 'payg' AND (f.authorization_id IS NULL OR (a.funding = 'subscription') <> (f.period_id IS NOT NULL))
      UNION ALL
      SELECT 'authorization ' || f.authorization_id FROM subscriptions_flowhold f
      LEFT JOIN billing_authorization a ON a.id = f.authorization_id AND a.account_id = f.account_id
      WHERE a.id IS NULL OR a.funding = 'payg'
      UNION ALL
      SELECT 'record ' || u.id FROM billing_usagerecord u
      WHERE (u.funding = 'subscription' AND (u.charge <> 0 OR u.flows_per_usd IS NULL)) OR (u.funding <> 'subscription' AND u.flows <> 0)""",
)
check(
    "I9",
    "a month of Extra Usage has spent the charges of its calls and holds those of the open ones",
    counted="subscriptions_extrausagemonth",
    broken="""
      SELECT 'month ' || m.id FROM subscriptions_extrausagemonth m
      LEFT JOIN (
        SELECT f.extra_month_id, sum(u.charge) AS spent, count(u.id) AS calls, sum(a.held) FILTER (WHERE a.status = 'open') AS held
        FROM subscriptions_flowhold f
        JOIN billing_authorization a ON a.id = f.authorization_id AND a.account_id = f.account_id
        LEFT JOIN billing_usagerecord u ON u.id = f.authorization_id AND u.account_id = f.account_id
        WHERE f.extra_month_id IS NOT NULL GROUP BY 1) s ON s.extra_month_id = m.id
      WHERE m.spent <> coalesce(s.spent, 0) OR m.held <> coalesce(s.held, 0) OR m.calls <> coalesce(s.calls, 0)""",
)
check(
    "I10",
    "a subscription in force has the window of its period, and no account has two",
    counted="subscriptions_subscription",
    broken="""
      SELECT 'subscription ' || s.id FROM subscriptions_subscription s
      WHERE s.status IN ('active', 'past_due') AND NOT EXISTS (
        SELECT FROM subscriptions_quotawindow w WHERE w.subscription_id = s.id AND w.kind = 'period' AND w.starts_at < s.period_end AND w.ends_at > s.period_start)
      UNION ALL
      SELECT 'account ' || account_id FROM subscriptions_subscription WHERE status IN ('active', 'past_due') GROUP BY account_id HAVING count(*) > 1""",
)
check(
    "I6",
    "an invoice's disputed amount is that of its disputes that are open or lost, and they are of its account",
    counted="billing_dispute WHERE of = 'invoice'",
    broken="""
      SELECT 'invoice ' || i.provider_id FROM subscriptions_invoice i
      JOIN (SELECT of_id, sum(counted_minor) FILTER (WHERE state IN ('open', 'lost')) AS total, min(account_id::text) AS account
            FROM billing_dispute WHERE of = 'invoice' GROUP BY 1) d ON d.of_id = i.id
      WHERE i.disputed_minor <> coalesce(d.total, 0) OR i.account_id::text <> d.account
      UNION ALL
      SELECT 'invoice ' || i.provider_id FROM subscriptions_invoice i
      WHERE i.disputed_minor > 0 AND NOT EXISTS (SELECT FROM billing_dispute d WHERE d.of = 'invoice' AND d.of_id = i.id)
      UNION ALL
      SELECT 'dispute ' || d.provider_id FROM billing_dispute d
      WHERE d.of = 'invoice' AND NOT EXISTS (SELECT FROM subscriptions_invoice i WHERE i.id = d.of_id)""",
)
