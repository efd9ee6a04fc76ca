CREATE OR REPLACE FUNCTION tide.read_cursor(
    read_cursor text,
    OUT bundle_id bigint, OUT seal_id bigint, OUT identity uuid, OUT fingerprint bytea
)
    LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE
    SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    v_bytes bytea;
BEGIN
    IF read_cursor ~ '^[A-Za-z0-9_-]{72}$' THEN
        v_bytes := decode(translate(read_cursor, '-_', '+/'), 'base64');
    END IF;
    IF v_bytes IS NULL OR get_byte(v_bytes, 0) <> 1 OR substr(v_bytes, 50) <> substr(sha256(substr(v_bytes, 1, 49)), 1, 5) THEN
        RAISE EXCEPTION 'the cursor cannot be read'
            USING ERRCODE = 'TD133', HINT = 'Send the newest one as it came, or connect without one and begin anew.';
    END IF;
    bundle_id := ('x' || encode(substr(v_bytes, 2, 8), 'hex'))::bit(64)::bigint;
    seal_id := ('x' || encode(substr(v_bytes, 10, 8), 'hex'))::bit(64)::bigint;
    identity := encode(substr(v_bytes, 18, 16), 'hex')::uuid;
    fingerprint := substr(v_bytes, 34, 16);
END;
$$;
COMMENT ON FUNCTION tide.read_cursor(text) IS 'What a cursor says. Raises TD133.';
