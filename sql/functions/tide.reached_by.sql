-- Seals are a line: what has one of them has all before it.
CREATE OR REPLACE FUNCTION tide.reached_by(seal text)
    RETURNS bigint
    LANGUAGE plpgsql STABLE STRICT SECURITY DEFINER
    SET search_path = pg_catalog, pg_temp
    SET enable_seqscan = off SET jit = off
AS $$
BEGIN
    IF seal !~ '^\d{1,18}-[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$' THEN
        RAISE EXCEPTION 'the seal of a push cannot be read'
            USING ERRCODE = 'TD133', HINT = 'Send it as it came with the answer to the push.';
    END IF;
    RETURN (
        SELECT s.last_bundle_id FROM tide.seal_log AS s
         WHERE s.seal_id = split_part(seal, '-', 1)::bigint AND s.identity = substr(seal, 1 + strpos(seal, '-'))::uuid);
END;
$$;
COMMENT ON FUNCTION tide.reached_by(text) IS 'Last bundle_id of a seal that a device was told, NULL where it is none of this database. Raises TD133. Internal.';
