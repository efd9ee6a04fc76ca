CREATE OR REPLACE FUNCTION tide.buckets_proof(buckets text[])
    RETURNS text
    LANGUAGE plpgsql STABLE
    SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    RETURN encode(sha256(convert_to(concat_ws(' ', (SELECT s.policy_key FROM tide.setting AS s), extract(epoch FROM now()), buckets::text), 'UTF8')), 'hex');
END;
$$;
COMMENT ON FUNCTION tide.buckets_proof(text[]) IS 'Tells in this transaction that a list of buckets is what pgtide made it. Internal.';
