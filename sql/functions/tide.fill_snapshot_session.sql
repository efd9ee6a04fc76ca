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
    v_setting tide.setting := (SELECT s FROM tide.setting AS s);
    v_shape   jsonb := tide.renew_shape(user_id, source_id);
    v_table   record;
    v_query   text;
    v_rows    bigint;
    v_bytes   bigint;
BEGIN
    row_count := 0;
    byte_count := 0;
    FOR v_table IN SELECT s.table_id, v_shape -> (s.table_schema || '.' || s.table_name) AS columns FROM tide.synced_table AS s JOIN pg_class AS c ON c.oid = s.relation WHERE s.unregistered_at IS NULL AND s.synced ORDER BY s.fk_depth, s.table_id LOOP
        CONTINUE WHEN v_shape IS NOT NULL AND v_table.columns IS NULL;
        v_query := CASE WHEN wanted IS NULL THEN tide.snapshot_source(v_table.table_id, tide.home_bucket(user_id))
                        ELSE tide.rows_source(v_table.table_id, wanted, shown) END;
        CONTINUE WHEN v_query IS NULL;
        EXECUTE format($sql$
            WITH written AS (
                INSERT INTO tide.snapshot_page (snapshot_id, page, first_ordinal, table_id, byte_count, items)
                SELECT $1, tide.snapshot_page_of(r.row_ordinal), min(r.row_ordinal), $5, sum(r.bytes),
                       array_agg(ROW(r.row_ordinal, r.row_key::json, r.payload, r.buckets)::tide.snapshot_item)
                  FROM (SELECT n.*, octet_length(n.payload::text) AS bytes
                          FROM (SELECT $2 + row_number() OVER () AS row_ordinal, q.row_key, CASE WHEN $4 IS NULL THEN q.payload ELSE tide.project_payload(q.payload, $4) END AS payload, %s AS buckets
                                  FROM (%s LIMIT $3) AS q) AS n) AS r
                 GROUP BY tide.snapshot_page_of(r.row_ordinal), CASE WHEN r.bytes > 65536 THEN r.row_ordinal END
                RETURNING cardinality(items) AS row_count, byte_count
            )
            SELECT coalesce(sum(w.row_count), 0), coalesce(sum(w.byte_count), 0) FROM written AS w$sql$, CASE WHEN wanted IS NULL THEN 'NULL::text[]' ELSE 'q.buckets' END, v_query)
           INTO v_rows, v_bytes USING snapshot_id, row_count, v_setting.max_rows_per_snapshot - row_count + 1, v_table.columns, v_table.table_id;
        row_count := row_count + v_rows;
        byte_count := byte_count + v_bytes;
        IF row_count > v_setting.max_rows_per_snapshot OR byte_count > v_setting.max_bytes_per_snapshot THEN
            RAISE EXCEPTION 'the snapshot is too large for a session'
                USING ERRCODE = 'TD124', DETAIL = format('At most %s rows and %s bytes are allowed.', v_setting.max_rows_per_snapshot, v_setting.max_bytes_per_snapshot), HINT = 'Take it as a stream.';
        END IF;
    END LOOP;
    UPDATE tide.snapshot_session AS s
       SET row_count = fill_snapshot_session.row_count, byte_count = fill_snapshot_session.byte_count
     WHERE s.snapshot_id = fill_snapshot_session.snapshot_id;
END;
$$;
COMMENT ON FUNCTION tide.fill_snapshot_session(uuid, text, text, text[], jsonb) IS
'Copies the rows of these buckets, NULL for the home bucket, as this transaction sees them. Raises TD124. Internal.';
