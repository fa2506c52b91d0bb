DROP TRIGGER quota_window_no_overlap ON subscriptions_quotawindow;
DROP FUNCTION mh_refuse_overlap();
DROP TRIGGER plan_version_append_only ON subscriptions_planversion;
DROP FUNCTION mh_admit_flows, mh_settle_flows, mh_move_flows;
