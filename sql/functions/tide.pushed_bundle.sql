CREATE OR REPLACE FUNCTION tide.pushed_bundle(user_id text, source_id text, source_bundle_id bigint, max_rows integer)
    RETURNS TABLE (
        bundle_id bigint, bundle_seq bigint, row_count bigint, seal text, kind text,
        row_version bigint, buckets text[], table_schema text, table_name text, key json, op text, payload json,
        sealed_at timestamptz, bundle_source_id text, bundle_source_bundle_id bigint
    )
    LANGUAGE plpgsql STABLE SECURITY DEFINER
    SET search_path = pg_catalog, pg_temp
AS $$
#variable_conflict use_column
DECLARE
    v_push record;
BEGIN
    SELECT r.* INTO v_push FROM tide.push_result(pushed_bundle.user_id, pushed_bundle.source_id, pushed_bundle.source_bundle_id) AS r;
    IF NOT FOUND THEN
        RETURN;
    END IF;
    bundle_id := v_push.bundle_id;
    bundle_seq := v_push.bundle_seq;
    row_count := v_push.row_count;
    seal := v_push.seal;
    kind := tide.source_kind(pushed_bundle.user_id, pushed_bundle.source_id);
    IF kind = 'cursor' THEN
        RETURN QUERY
        SELECT v_push.bundle_id, v_push.bundle_seq, v_push.row_count, v_push.seal, 'cursor',
               r.row_bundle_id, r.buckets, r.table_schema, r.table_name, r.key, r.op, r.payload, NULL::timestamptz, NULL::text, NULL::bigint
          FROM tide.pushed_rows(pushed_bundle.user_id, pushed_bundle.source_id, pushed_bundle.source_bundle_id, v_push.bundle_id) AS r WHERE max_rows > 0;
    ELSE
        RETURN QUERY
        SELECT v_push.bundle_id, v_push.bundle_seq, v_push.row_count, v_push.seal, 'v1',
               v_push.bundle_seq, NULL::text[], r.table_schema, r.table_name, r.key, r.op, r.payload, r.sealed_at, r.source_id, r.source_bundle_id
          FROM tide.device_bundle_rows(pushed_bundle.user_id, pushed_bundle.source_id, nullif(v_push.bundle_seq, 0), -1, greatest(max_rows, 1)) AS r;
    END IF;
    IF NOT FOUND THEN
        RETURN NEXT;
    END IF;
END;
$$;
COMMENT ON FUNCTION tide.pushed_bundle(text, text, bigint, integer) IS
'What tide.push_result says of a push, with its rows as the device gets them, once they are sealed: for one that reads its home bucket so many of them, and one at least, with the name of their bundle; for one that reads many buckets all, or none with max_rows 0. One row without op where there are none. Raises TD014, TD032.';
