-- A price version is written whole, with its components, tiers and field multipliers, by one transaction, and is sealed
-- when that transaction ends: nothing is added to a version that may already have priced a call. Loaded by 0010.

-- The top-level transaction that wrote the version: inside a savepoint the id is the same. Versions that are there
-- already carry 0, which no transaction ever has.
ALTER TABLE billing_priceversion ADD COLUMN written_in xid8 NOT NULL DEFAULT '0';
ALTER TABLE billing_priceversion ALTER COLUMN written_in SET DEFAULT pg_current_xact_id();

-- One check a statement. A version that is not there is the foreign key's business.
CREATE FUNCTION mh_check_version_open() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE sealed bigint;
BEGIN
  SELECT v.id INTO sealed FROM written w JOIN billing_priceversion v ON v.id = w.version_id
    WHERE v.written_in <> pg_current_xact_id() LIMIT 1;
  IF sealed IS NOT NULL THEN
    RAISE EXCEPTION 'price version % is published: % cannot be added to it', sealed, TG_TABLE_NAME
      USING ERRCODE = 'restrict_violation';
  END IF;
  RETURN NULL;
END $$;

CREATE TRIGGER component_sealed AFTER INSERT ON billing_pricecomponent REFERENCING NEW TABLE AS written FOR EACH STATEMENT EXECUTE FUNCTION mh_check_version_open();
CREATE TRIGGER tier_sealed AFTER INSERT ON billing_pricetier REFERENCING NEW TABLE AS written FOR EACH STATEMENT EXECUTE FUNCTION mh_check_version_open();
CREATE TRIGGER multiplier_sealed AFTER INSERT ON billing_fieldmultiplier REFERENCING NEW TABLE AS written FOR EACH STATEMENT EXECUTE FUNCTION mh_check_version_open();
