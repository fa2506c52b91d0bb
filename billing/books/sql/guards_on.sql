CREATE TRIGGER entry_append_only BEFORE UPDATE OR DELETE ON billing_journalentry FOR EACH STATEMENT EXECUTE FUNCTION mh_refuse_change();
CREATE TRIGGER posting_append_only BEFORE UPDATE OR DELETE ON billing_posting FOR EACH STATEMENT EXECUTE FUNCTION mh_refuse_change();
CREATE TRIGGER usage_append_only BEFORE UPDATE OR DELETE ON billing_usagerecord FOR EACH STATEMENT EXECUTE FUNCTION mh_refuse_change();
CREATE TRIGGER audit_append_only BEFORE UPDATE OR DELETE ON accounts_auditrecord FOR EACH STATEMENT EXECUTE FUNCTION mh_refuse_change();
CREATE TRIGGER component_append_only BEFORE UPDATE OR DELETE ON billing_pricecomponent FOR EACH STATEMENT EXECUTE FUNCTION mh_refuse_change();
CREATE TRIGGER tier_append_only BEFORE UPDATE OR DELETE ON billing_pricetier FOR EACH STATEMENT EXECUTE FUNCTION mh_refuse_change();
CREATE TRIGGER multiplier_append_only BEFORE UPDATE OR DELETE ON billing_fieldmultiplier FOR EACH STATEMENT EXECUTE FUNCTION mh_refuse_change();
CREATE TRIGGER price_version_guard BEFORE UPDATE OR DELETE ON billing_priceversion FOR EACH ROW EXECUTE FUNCTION mh_guard_price_version();
CREATE TRIGGER posting_balanced AFTER INSERT ON billing_posting REFERENCING NEW TABLE AS written FOR EACH STATEMENT EXECUTE FUNCTION mh_check_balanced();

-- Everything hot is keyed by account (06-performance 6.3). The id stands first, so that a look-up by id alone is served too.
ALTER TABLE billing_authorization DROP CONSTRAINT billing_authorization_pkey, ADD PRIMARY KEY (id, account_id);
ALTER TABLE billing_usagerecord DROP CONSTRAINT billing_usagerecord_pkey, ADD PRIMARY KEY (id, account_id);
ALTER TABLE billing_journalentry DROP CONSTRAINT billing_journalentry_pkey, ADD PRIMARY KEY (id, account_id);

-- Room on the page, so that the updates of every call stay within it.
ALTER TABLE billing_wallet SET (fillfactor = 50);
ALTER TABLE billing_creditgrant SET (fillfactor = 50);
ALTER TABLE billing_authorization SET (fillfactor = 70);
