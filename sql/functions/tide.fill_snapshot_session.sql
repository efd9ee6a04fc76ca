-- The rows come in their order, and a loop puts them into pages: an aggregate would have to sort or hash all of
-- them, which goes by way of the disk.
CREATE OR REPLACE FUNCTION tide.fill_snapshot_session(
    snapshot_id uuid, user_id text, source_id text, wanted text[], shown jsonb,
    OUT row_count bigint, OUT byte_count bigint
)
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path = pg_catalog, pg_temp
    SET TimeZone = 'UTC' SET extra_float_digits = 1 SET DateStyle = 'ISO, YMD' SET IntervalStyle = 'postgres'
    SET bytea_output = 'hex' SET lc_monetary = 'C' SET quote_all_identifiers = off SET jit = off
AS $$
#variable_conflict use_column
DECLARE
    v_setting  tide.setting := (SELECT s FROM tide.setting AS s);
    v_position bigint := (SELECT s.snapshot_bundle_seq FROM tide.snapshot_session AS s WHERE s.snapshot_id = fill_snapshot_session.snapshot_id);
    v_shape    jsonb := tide.renew_shape(user_id, source_id);
    v_table    record;
    v_query    text;
    v_item     text;
    v_size     integer;
    v_items    text[] := '{}'; -- the page that is being filled
    v_next     bigint := 1;    -- the ordinal after the page before,
    v_bytes    bigint := 0;    -- and the bytes until then
BEGIN
    row_count := 0;
    byte_count := 0;
    FOR v_table IN SELECT s.table_id, s.table_schema, s.table_name, v_shape -> (s.table_schema || '.' || s.table_name) AS columns FROM tide.synced_table AS s JOIN pg_class AS c ON c.oid = s.relation WHERE s.unregistered_at IS NULL AND s.synced ORDER BY s.fk_depth, s.table_id LOOP
        CONTINUE WHEN v_shape IS NOT NULL AND v_table.columns IS NULL;
        v_query := CASE WHEN wanted IS NULL THEN tide.snapshot_source(v_table.table_id, tide.home_bucket(user_id))
                        ELSE tide.rows_source(v_table.table_id, wanted, shown) END;
        CONTINUE WHEN v_query IS NULL;
        FOR v_item, v_size IN EXECUTE format($sql$
            SELECT %L || r.row_key || %L || r.payload || %s, octet_length(r.payload)
              FROM (SELECT q.row_key, %s::text AS payload, %s AS buckets FROM (%s) AS q LIMIT %s) AS r$sql$,
            '{"schema":' || to_json(v_table.table_schema) || ',"table":' || to_json(v_table.table_name) || ',"key":', ',"row_version":' || v_position || ',"payload":',
            CASE WHEN wanted IS NULL THEN $sql$'}'$sql$ ELSE $sql$',"buckets":' || r.buckets || '}'$sql$ END,
            CASE WHEN v_shape IS NULL THEN 'q.payload' ELSE format('tide.project_payload(q.payload, %L)', v_table.columns) END,
            CASE WHEN wanted IS NULL THEN 'NULL' ELSE 'to_json(q.buckets)::text' END, v_query, v_setting.max_rows_per_snapshot - row_count + 1)
        LOOP
            v_items := array_append(v_items, v_item);
            row_count := row_count + 1;
            byte_count := byte_count + v_size;
            IF row_count - v_next >= 99 OR byte_count - v_bytes > 65536 THEN
                INSERT INTO tide.snapshot_page VALUES (snapshot_id, v_next, v_items);
                v_items := '{}';
                v_next := row_count + 1;
                v_bytes := byte_count;
                EXIT WHEN byte_count > v_setting.max_bytes_per_snapshot;
            END IF;
        END LOOP;
        IF row_count > v_setting.max_rows_per_snapshot OR byte_count > v_setting.max_bytes_per_snapshot THEN
            RAISE EXCEPTION 'the snapshot is too large for a session'
                USING ERRCODE = 'TD124', DETAIL = format('At most %s rows and %s bytes are allowed.', v_setting.max_rows_per_snapshot, v_setting.max_bytes_per_snapshot), HINT = 'Take it as a stream.';
        END IF;
    END LOOP;
    IF row_count >= v_next THEN
        INSERT INTO tide.snapshot_page VALUES (snapshot_id, v_next, v_items);
    END IF;
    UPDATE tide.snapshot_session AS s
       SET row_count = fill_snapshot_session.row_count, byte_count = fill_snapshot_session.byte_count
     WHERE s.snapshot_id = fill_snapshot_session.snapshot_id;
END;
$$;
COMMENT ON FUNCTION tide.fill_snapshot_session(uuid, text, text, text[], jsonb) IS
'Copies the rows of these buckets, NULL for the home bucket, as this transaction sees them. Raises TD124. Internal.';
