CREATE OR REPLACE FUNCTION tide.head_seal(OUT bundle_id bigint, OUT seal_id bigint, OUT identity uuid)
    LANGUAGE plpgsql STABLE SECURITY DEFINER
    SET search_path = pg_catalog, pg_temp
AS $$
#variable_conflict use_column
BEGIN
    SELECT s.last_bundle_id, s.seal_id, s.identity INTO bundle_id, seal_id, identity
      FROM tide.seal_log AS s WHERE s.cut_change_id IS NULL ORDER BY s.seal_id DESC LIMIT 1;
END;
$$;
COMMENT ON FUNCTION tide.head_seal() IS 'The newest seal that is complete, and the last bundle_id that may be read.';
