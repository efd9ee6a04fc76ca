-- last_bundle_id never falls from one seal to the next.
CREATE OR REPLACE FUNCTION tide.seal_of(bundle_id bigint)
    RETURNS tide.seal_log
    LANGUAGE plpgsql STABLE SECURITY DEFINER
    SET search_path = pg_catalog, pg_temp
    SET enable_seqscan = off SET jit = off
AS $$
#variable_conflict use_column
DECLARE
    v_seal   tide.seal_log;
    v_low    bigint;
    v_high   bigint;
BEGIN
    SELECT s.* INTO v_seal
      FROM tide.bundle_log AS l JOIN tide.seal_log AS s ON s.seal_id = l.seal_id
     WHERE l.bundle_id = seal_of.bundle_id LIMIT 1;
    IF v_seal.seal_id IS NOT NULL THEN
        RETURN v_seal;
    END IF;
    -- A number that nothing is listed under.
    SELECT min(s.seal_id), max(s.seal_id) INTO v_low, v_high FROM tide.seal_log AS s;
    WHILE v_low < v_high LOOP
        SELECT s.* INTO v_seal FROM tide.seal_log AS s WHERE s.seal_id >= (v_low + v_high) / 2 ORDER BY s.seal_id LIMIT 1;
        IF v_seal.last_bundle_id >= seal_of.bundle_id THEN
            v_high := (v_low + v_high) / 2;
        ELSE
            v_low := v_seal.seal_id + 1;
        END IF;
    END LOOP;
    SELECT s.* INTO v_seal FROM tide.seal_log AS s WHERE s.seal_id >= v_high AND s.last_bundle_id >= seal_of.bundle_id ORDER BY s.seal_id LIMIT 1;
    RETURN v_seal;
END;
$$;
COMMENT ON FUNCTION tide.seal_of(bigint) IS 'The seal that a bundle_id was given by, or the first that reached it; NULL beyond the last. Internal.';
