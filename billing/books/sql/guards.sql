-- What the database itself refuses (I1, I8, I12). Loaded by migration 0002.

-- A time-ordered UUID (version 7) for rows that functions write; the argument is the time that the edge read.
CREATE OR REPLACE FUNCTION mh_uuid7(p_at timestamptz) RETURNS uuid LANGUAGE sql VOLATILE PARALLEL SAFE AS $$
  SELECT encode(
    set_bit(set_bit(
      overlay(uuid_send(gen_random_uuid()) PLACING substring(int8send((extract(epoch FROM p_at) * 1000)::bigint) FROM 3) FROM 1 FOR 6),
      52, 1), 53, 1), 'hex')::uuid
$$;

CREATE OR REPLACE FUNCTION mh_refuse_change() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  RAISE EXCEPTION '% is append-only: write a correcting row', TG_TABLE_NAME USING ERRCODE = 'restrict_violation';
END $$;

-- I1. One check a statement: every entry that a statement writes postings for is written whole by that statement
-- (it has line 1) and balances. Immediate, set-based, and no entry can be added to later.
CREATE OR REPLACE FUNCTION mh_check_balanced() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE bad uuid;
BEGIN
  SELECT entry_id INTO bad FROM written GROUP BY account_id, entry_id HAVING sum(side * amount) <> 0 OR min(line) <> 1 LIMIT 1;
  IF bad IS NOT NULL THEN
    RAISE EXCEPTION 'journal entry % does not balance, or was added to', bad USING ERRCODE = 'check_violation';
  END IF;
  RETURN NULL;
END $$;

-- A published price version never changes; only its end may be set, once, or moved earlier before it is reached.
CREATE OR REPLACE FUNCTION mh_guard_price_version() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  IF TG_OP = 'DELETE' OR (to_jsonb(OLD) - 'effective_to') IS DISTINCT FROM (to_jsonb(NEW) - 'effective_to') THEN
    RAISE EXCEPTION 'price version % is published and never changes', OLD.id USING ERRCODE = 'restrict_violation';
  END IF;
  IF OLD.effective_to IS NOT NULL AND (NEW.effective_to IS NULL OR NEW.effective_to > OLD.effective_to) THEN
    RAISE EXCEPTION 'price version % has an end; it may only move earlier', OLD.id USING ERRCODE = 'restrict_violation';
  END IF;
  RETURN NEW;
END $$;
