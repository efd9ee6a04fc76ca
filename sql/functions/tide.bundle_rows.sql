-- The floor keeps readers from going on past something that the log does not tell. A device that pushed
-- asks for the answer that got lost, and must get it however late: else it would push again.
CREATE OR REPLACE FUNCTION tide.bundle_rows(
    bucket            text,
    seq               bigint,
    after_row_ordinal bigint  DEFAULT -1,
    max_rows          integer DEFAULT 1000,
    pushed_by_user    text    DEFAULT NULL,
    pushed_by_source  text    DEFAULT NULL
)
    RETURNS TABLE (
        bundle_id bigint, bundle_seq bigint, bucket_ids text[], row_ordinal bigint, table_schema text, table_name text,
        key json, op text, payload json, source_id text, source_bundle_id bigint, sealed_at timestamptz
    )
    LANGUAGE plpgsql STABLE SECURITY DEFINER
    SET search_path = pg_catalog, pg_temp
    SET plan_cache_mode = force_generic_plan
    SET enable_hashjoin = off SET enable_mergejoin = off SET enable_seqscan = off SET enable_bitmapscan = off SET max_parallel_workers_per_gather = 0 SET jit = off
AS $$
#variable_conflict use_column
DECLARE
    v_bundle tide.bundle_log;
    v_first  bigint := after_row_ordinal + 2;
    v_last   bigint;
    v_there  boolean;
BEGIN
    IF max_rows IS NULL OR max_rows < 1 OR after_row_ordinal IS NULL OR after_row_ordinal < -1 THEN
        RAISE EXCEPTION 'page of a bundle is not valid'
            USING ERRCODE = 'TD018', HINT = 'max_rows is at least 1, after_row_ordinal at least -1.';
    END IF;
    SELECT l.* INTO v_bundle
      FROM tide.bundle_log AS l
     WHERE l.bucket_id = bundle_rows.bucket COLLATE "C" AND l.bundle_seq = bundle_rows.seq AND l.bundle_id + 0 <= (SELECT tide.head());
    -- A query only where it is asked for.
    v_there := v_bundle.bundle_id IS NOT NULL;
    IF v_there AND (v_bundle.user_id = pushed_by_user AND v_bundle.source_id = pushed_by_source) IS NOT TRUE THEN
        v_there := NOT EXISTS (SELECT FROM tide.bucket_floor AS f WHERE f.bucket_id = bundle_rows.bucket AND f.floor_seq >= seq);
    END IF;
    IF NOT v_there THEN
        RAISE EXCEPTION 'bucket % has no bundle % in the log', bucket, seq
            USING ERRCODE = 'TD014',
                  DETAIL  = (SELECT format('Its log goes from %s to %s.', p.floor_seq, p.head_seq) FROM tide.bucket_position(bucket) AS p),
                  HINT    = 'Take a snapshot of the bucket, and go on from its position.';
    END IF;
    v_last := least(after_row_ordinal + 1 + max_rows, cardinality(v_bundle.changes));
    RETURN QUERY
    SELECT v_bundle.bundle_id, v_bundle.bundle_seq, ARRAY[v_bundle.bucket_id::text], after_row_ordinal + p.nth, p.table_schema, p.table_name, p.key, p.op, p.payload,
           p.source_id, p.source_bundle_id, v_bundle.sealed_at
      FROM tide.bundle_page(v_bundle, v_first, v_last) AS p;
END;
$$;
COMMENT ON FUNCTION tide.bundle_rows(text, bigint, bigint, integer, text, text) IS
'A page of the changes of one bundle, for bundles too large to be taken at once; row_ordinal counts from 0. Bundles that this user and source pushed are given also below the floor. Never writes. Raises TD014, TD018.';
