-- One query for one table and bucket: rows in the order of their key. The rule itself decides which; for
-- an owner its column is compared, so that its index finds them.
CREATE OR REPLACE FUNCTION tide.snapshot_source(table_id integer, bucket_id text)
    RETURNS text
    LANGUAGE plpgsql STABLE
    SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    v_table  tide.synced_table := (SELECT s FROM tide.synced_table AS s WHERE s.table_id = snapshot_source.table_id);
    v_owner  text := substr(bucket_id, 1 + length(v_table.bucket_prefix));
    v_filter text;
    v_exact  boolean := false; -- the owner says it all
    n        tide.reading;
BEGIN
    IF v_table.bucket <> bucket_id AND NOT v_table.derived THEN
        RETURN NULL;
    END IF;
    n := tide.reading_of(table_id);
    PERFORM tide.assert_key_order(n);
    IF v_table.derived THEN
        -- As of the seal of this snapshot, not of the one before, which is what the stored buckets are.
        RETURN format($sql$
            SELECT %1$s AS table_id, %2$s AS row_key, %3$s AS payload
              FROM (WITH pending AS MATERIALIZED (SELECT p.row_key COLLATE "C" AS row_key, p.after FROM tide.pending_moves(%1$s) AS p)
                    SELECT m.row_key FROM tide.membership AS m
                     WHERE m.bucket_id = %4$L AND m.table_id = %1$s AND m.row_key NOT IN (SELECT p.row_key FROM pending AS p)
                     UNION ALL
                    SELECT p.row_key FROM pending AS p WHERE %4$L = ANY (p.after)) AS g
              JOIN %5$s AS tide_n ON %6$s
             ORDER BY %7$s$sql$,
            table_id, n.row_key, n.payload, bucket_id, v_table.relation, n.key_match, n.key_order);
    END IF;
    IF n.owner IS NOT NULL THEN
        v_filter := 'false';
        IF starts_with(bucket_id, v_table.bucket_prefix) THEN
            BEGIN
                -- A name that no owner can have: the bucket has none of these rows.
                EXECUTE format('SELECT %1$L::%2$s::text = %1$L', v_owner, n.owner_type) INTO v_exact;
                -- A longer name is not the text of the owner.
                v_exact := v_exact AND n.owner_exact AND octet_length(bucket_id) <= 512;
                v_filter := format('%s OPERATOR(%s) %L::%s', n.owner, n.owner_equality, v_owner, n.owner_type);
            EXCEPTION
                WHEN data_exception OR integrity_constraint_violation THEN
                    v_exact := false;
            END;
        END IF;
        IF v_table.null_owner_bucket = bucket_id THEN
            v_filter := format('(%s OR %s IS NULL)', v_filter, n.owner);
        END IF;
    END IF;
    RETURN format('SELECT %s AS table_id, %s AS row_key, %s AS payload FROM %s AS tide_n WHERE %s ORDER BY %s',
        table_id, n.row_key, n.payload, v_table.relation, concat_ws(' AND ', v_filter,
            -- Asked of each row, the rule costs as much as its JSON, and the planner expects one row of 200.
            CASE WHEN v_exact THEN '(' || n.deleted || ') IS NOT TRUE' ELSE format('%L = ANY (%s)', bucket_id, n.buckets) END),
        n.key_order);
END;
$$;
COMMENT ON FUNCTION tide.snapshot_source(integer, text) IS 'Query for the rows that one table has in one bucket, NULL when it can have none. Internal.';
