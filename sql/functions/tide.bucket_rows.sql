-- The digest is over the bytes that a device is sent: the text of the key and of the payload, as the
-- columns that the device knows make it.
CREATE OR REPLACE FUNCTION tide.bucket_rows(table_id integer, buckets text[], columns jsonb)
    RETURNS text
    LANGUAGE plpgsql STABLE SECURITY DEFINER
    SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    v_query text := tide.rows_source(table_id, buckets, (SELECT jsonb_object_agg(b, 0) FROM unnest(buckets) AS b));
BEGIN
    IF v_query IS NULL THEN
        RETURN NULL;
    END IF;
    RETURN format('SELECT q.row_key, %s AS payload, q.buckets FROM (%s) AS q', CASE WHEN columns IS NULL THEN 'q.payload' ELSE format('tide.project_payload(q.payload, %L)', columns) END, v_query);
END;
$$;
COMMENT ON FUNCTION tide.bucket_rows(integer, text[], jsonb) IS 'Query for the rows (row_key, payload, buckets) of a table in buckets, as devices that know these columns are sent them; NULL when it can have none. Internal.';
