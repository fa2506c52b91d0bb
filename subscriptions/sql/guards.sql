-- What no program may do: change a published plan version, or open two windows of a kind at once.
CREATE TRIGGER plan_version_append_only BEFORE UPDATE OR DELETE ON subscriptions_planversion
  FOR EACH STATEMENT EXECUTE FUNCTION mh_refuse_change();

CREATE FUNCTION mh_refuse_overlap() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  IF EXISTS (
    SELECT FROM subscriptions_quotawindow w
    WHERE w.account_id = NEW.account_id AND w.kind = NEW.kind AND w.ends_at > NEW.starts_at AND w.starts_at < NEW.ends_at AND w.id <> NEW.id
  ) THEN
    RAISE EXCEPTION 'a % window of account % overlaps another', NEW.kind, NEW.account_id USING ERRCODE = 'exclusion_violation';
  END IF;
  RETURN NULL;
END $$;

-- Deferred, because a change of plan ends one window and opens the next in one transaction.
CREATE CONSTRAINT TRIGGER quota_window_no_overlap AFTER INSERT OR UPDATE OF starts_at, ends_at, kind ON subscriptions_quotawindow
  DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION mh_refuse_overlap();
