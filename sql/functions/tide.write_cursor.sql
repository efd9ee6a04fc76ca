-- 54 bytes: version, bundle_id, seal and its identity, fingerprint of the held buckets, and a check that
-- tells a cut or mistyped cursor. It carries no right: what it may read is asked anew each time. The
-- identity of a seal is random, so it also tells histories apart.
CREATE OR REPLACE FUNCTION tide.write_cursor(bundle_id bigint, seal_id bigint, identity uuid, fingerprint bytea)
    RETURNS text
    LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE
    SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    v_bytes bytea := '\x01' || int8send(bundle_id) || int8send(seal_id) || uuid_send(identity) || fingerprint;
BEGIN
    RETURN translate(encode(v_bytes || substr(sha256(v_bytes), 1, 5), 'base64'), E'+/\n', '-_');
END;
$$;
COMMENT ON FUNCTION tide.write_cursor(bigint, bigint, uuid, bytea) IS 'A cursor, base64url. Internal.';
