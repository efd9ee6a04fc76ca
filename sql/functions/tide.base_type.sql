-- Asked for every column of every table, over and over: in LANGUAGE sql it would be planned at every call.
CREATE OR REPLACE FUNCTION tide.base_type(type_id oid)
    RETURNS regtype
    LANGUAGE plpgsql STABLE PARALLEL SAFE
    SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    v_base oid;
BEGIN
    LOOP
        SELECT t.typbasetype INTO v_base FROM pg_type AS t WHERE t.oid = type_id;
        EXIT WHEN v_base = 0 OR v_base IS NULL;
        type_id := v_base;
    END LOOP;
    RETURN CASE WHEN v_base = 0 THEN type_id::regtype END;
END;
$$;
COMMENT ON FUNCTION tide.base_type(oid) IS 'The type below a domain, through any number of domains. Internal.';
