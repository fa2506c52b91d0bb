DROP TRIGGER multiplier_sealed ON billing_fieldmultiplier;
DROP TRIGGER tier_sealed ON billing_pricetier;
DROP TRIGGER component_sealed ON billing_pricecomponent;
DROP FUNCTION mh_check_version_open();
ALTER TABLE billing_priceversion DROP COLUMN written_in;
