CREATE OR REPLACE FUNCTION tide.capture_shape(table_id integer)
    RETURNS text
    LANGUAGE plpgsql STABLE PARALLEL SAFE
    SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    RETURN (
    SELECT md5(concat(
               string_agg(concat_ws(' ', a.attnum, quote_ident(a.attname), format_type(a.atttypid, NULL)), ',' ORDER BY a.attnum),
               CASE WHEN r.read_back THEN s.relation::text END,
               (SELECT concat_ws('.', p.pronamespace::regnamespace, p.proname) FROM pg_proc AS p WHERE s.bucket_function IS NOT NULL AND p.oid = tide.bucket_function_of(s.table_id))))
      FROM tide.synced_table AS s
     CROSS JOIN LATERAL tide.needs_read_back(s.relation) AS r (read_back)
      JOIN pg_attribute AS a ON a.attrelid = s.relation AND a.attnum > 0 AND NOT a.attisdropped
     WHERE s.table_id = capture_shape.table_id
     GROUP BY s.table_id, r.read_back);
END;
$$;
COMMENT ON FUNCTION tide.capture_shape(integer) IS 'Fingerprint of everything in the table''s definition that its capture functions were written for. Internal.';
