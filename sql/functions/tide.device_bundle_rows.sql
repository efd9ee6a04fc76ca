-- Ordinals count the rows that the device gets: for one that does not know every table, after the others
-- were left out.
CREATE OR REPLACE FUNCTION tide.device_bundle_rows(
    user_id           text,
    device            text,
    seq               bigint,
    after_row_ordinal bigint  DEFAULT -1,
    max_rows          integer DEFAULT 1000
)
    RETURNS TABLE (
        bundle_id bigint, row_ordinal bigint, table_schema text, table_name text,
        key json, op text, payload json, source_id text, source_bundle_id bigint, sealed_at timestamptz
    )
    LANGUAGE plpgsql STABLE STRICT SECURITY DEFINER
    SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    v_home  text := tide.home_bucket(user_id);
    v_shape jsonb := tide.source_shape(user_id, device);
BEGIN
    IF v_shape IS NULL THEN
        RETURN QUERY
        SELECT b.bundle_id, b.row_ordinal, b.table_schema, b.table_name, b.key, b.op, b.payload, b.source_id, b.source_bundle_id, b.sealed_at
          FROM tide.bundle_rows(v_home, seq, after_row_ordinal, max_rows, user_id, device) AS b;
        RETURN;
    END IF;
    RETURN QUERY
    SELECT r.bundle_id, r.nth, r.table_schema, r.table_name, r.key, r.op,
           tide.project_payload(r.payload, v_shape -> (r.table_schema || '.' || r.table_name)), r.source_id, r.source_bundle_id, r.sealed_at
      FROM (SELECT b.*, row_number() OVER (ORDER BY b.row_ordinal) - 1 AS nth
              FROM tide.bundle_rows(v_home, seq, -1, 2147483647, user_id, device) AS b
             WHERE jsonb_exists(v_shape, b.table_schema || '.' || b.table_name)) AS r
     WHERE r.nth > after_row_ordinal AND r.nth <= after_row_ordinal + max_rows
     ORDER BY r.nth;
END;
$$;
COMMENT ON FUNCTION tide.device_bundle_rows(text, text, bigint, bigint, integer) IS
'A page of the changes of one bundle of a user''s home bucket, as a device gets them: tables and columns that it does not know are left out. No bundle (NULL) has no rows. Raises TD014, TD018.';
