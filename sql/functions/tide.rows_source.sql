-- Like tide.snapshot_source, for many buckets: each row once. For an owner its column is compared with all
-- the owners that the buckets name, so that its index finds them. Of a row in one bucket that bucket is
-- wanted, and wanted ones are shown: most rows need no filter, which costs as much as their JSON.
CREATE OR REPLACE FUNCTION tide.rows_source(table_id integer, wanted text[], shown jsonb)
    RETURNS text
    LANGUAGE plpgsql STABLE
    SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    v_table  tide.synced_table := (SELECT s FROM tide.synced_table AS s WHERE s.table_id = rows_source.table_id);
    v_owner  text;
    v_owners text[];
    v_filter text;
    n        tide.reading;
BEGIN
    IF v_table.bucket <> ALL (wanted) AND NOT v_table.derived THEN
        RETURN NULL;
    END IF;
    n := tide.reading_of(table_id);
    PERFORM tide.assert_key_order(n);
    IF v_table.derived THEN
        -- As of the seal of this snapshot, not of the one before, which is what the stored buckets are.
        RETURN format($sql$
            SELECT %1$s AS table_id, %2$s AS row_key, %3$s AS payload, CASE WHEN cardinality(g.buckets) = 1 THEN g.buckets ELSE ARRAY(SELECT b FROM unnest(g.buckets) AS b WHERE jsonb_exists(%4$L, b) ORDER BY b COLLATE "C") END AS buckets
              FROM (WITH pending AS MATERIALIZED (SELECT p.row_key COLLATE "C" AS row_key, p.after FROM tide.pending_moves(%1$s) AS p)
                    SELECT k.row_key, ARRAY(SELECT o.bucket_id::text FROM tide.membership AS o WHERE o.table_id = %1$s AND o.key_hash = k.key_hash AND o.row_key = k.row_key) AS buckets
                      FROM (SELECT DISTINCT m.key_hash, m.row_key FROM tide.membership AS m WHERE m.bucket_id = ANY (%5$L::text[]) AND m.table_id = %1$s) AS k
                     WHERE k.row_key NOT IN (SELECT p.row_key FROM pending AS p)
                     UNION ALL
                    SELECT p.row_key, p.after FROM pending AS p WHERE p.after && %5$L::text[]) AS g
              JOIN %6$s AS tide_n ON %7$s
             ORDER BY %8$s$sql$,
            table_id, n.row_key, n.payload, shown, wanted, v_table.relation, n.key_match, n.key_order);
    END IF;
    IF n.owner IS NOT NULL THEN
        FOR v_owner IN SELECT substr(w, 1 + length(v_table.bucket_prefix)) FROM unnest(wanted) AS w WHERE starts_with(w, v_table.bucket_prefix) LOOP
            BEGIN
                EXECUTE format('SELECT %L::%s', v_owner, n.owner_type);
                v_owners := v_owners || v_owner;
            EXCEPTION
                -- A name that no owner can have: the bucket has none of these rows.
                WHEN data_exception OR integrity_constraint_violation THEN
                    NULL;
            END;
        END LOOP;
        v_filter := format('%s OPERATOR(%s) ANY (%L::%s[])', n.owner, n.owner_equality, coalesce(v_owners, '{}'), n.owner_type);
        IF v_table.null_owner_bucket = ANY (wanted) THEN
            v_filter := format('(%s OR %s IS NULL)', v_filter, n.owner);
        END IF;
    END IF;
    RETURN format('SELECT %s AS table_id, %s AS row_key, %s AS payload, CASE WHEN cardinality(tide_b.buckets) = 1 THEN tide_b.buckets ELSE ARRAY(SELECT b FROM unnest(tide_b.buckets) AS b WHERE jsonb_exists(%L, b) ORDER BY b COLLATE "C") END AS buckets '
                  || 'FROM %s AS tide_n CROSS JOIN LATERAL (SELECT %s AS buckets OFFSET 0) AS tide_b WHERE %s ORDER BY %s',
        table_id, n.row_key, n.payload, shown, v_table.relation, n.buckets,
        concat_ws(' AND ', v_filter, format('jsonb_exists_any(%L, tide_b.buckets)', (SELECT jsonb_object_agg(w, 0) FROM unnest(wanted) AS w))),
        n.key_order);
END;
$$;
COMMENT ON FUNCTION tide.rows_source(integer, text[], jsonb) IS 'Query for the rows that one table has in any of these buckets, each with those of its buckets that are keys of shown; NULL when it can have none. Internal.';
