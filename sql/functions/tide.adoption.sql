-- What a seal must do for tables that are to be read: runs on the snapshot of the statement that
-- calls it, which is the seal's (that is why it is STABLE and a function).
CREATE OR REPLACE FUNCTION tide.adoption(
    table_ids integer[], ops text[],
    OUT table_id integer, OUT bucket_id text, OUT row_key text, OUT payload json, OUT error text
)
    RETURNS SETOF record
    LANGUAGE plpgsql STABLE
    SET search_path = pg_catalog, pg_temp
    SET TimeZone = 'UTC' SET extra_float_digits = 1 SET DateStyle = 'ISO, YMD' SET IntervalStyle = 'postgres'
    SET bytea_output = 'hex' SET lc_monetary = 'C' SET quote_all_identifiers = off
    -- The plans of sealing are not for whole tables.
    SET enable_seqscan = on SET enable_nestloop = on SET plan_cache_mode = auto SET jit = off
    -- Behind an ALTER TABLE all sealing would wait; the next seal tries again instead.
    SET lock_timeout = '200ms'
AS $$
DECLARE
    v_max      bigint := (SELECT s.adoption_max_rows FROM tide.setting AS s);
    v_known    boolean := EXISTS (SELECT FROM tide.bucket_floor);
    v_relation regclass;
    v_rows     bigint;
    n          tide.reading;
BEGIN
    FOR v_index IN 1 .. coalesce(cardinality(table_ids), 0) LOOP
        table_id := table_ids[v_index];
        v_relation := (SELECT s.relation FROM tide.synced_table AS s JOIN pg_class AS c ON c.oid = s.relation
                        WHERE s.table_id = table_ids[v_index] AND s.unregistered_at IS NULL);
        -- Dropped or unregistered since: there is nothing to read.
        CONTINUE WHEN v_relation IS NULL;
        -- A table that cannot be read, or a rule that raises, must not stop the log of all others.
        BEGIN
            PERFORM tide.assert_readable(v_relation);
            n := tide.reading_of(table_ids[v_index]);
            -- No device has anything yet, or it must drop rows that nobody can list: only the buckets count.
            v_rows := v_max + 1;
            IF v_known AND ops[v_index] = 'A' THEN
                EXECUTE format('SELECT count(*) FROM (SELECT FROM %s LIMIT %s) AS few', v_relation, v_max + 1) INTO v_rows;
            END IF;
            RETURN QUERY EXECUTE CASE
                WHEN v_rows <= v_max THEN
                    format('SELECT %s, u.bucket_id, %s, %s, NULL FROM %s AS tide_n CROSS JOIN LATERAL unnest(%s) AS u (bucket_id)',
                           table_id, n.row_key, n.payload, v_relation, n.buckets)
                ELSE
                    format('SELECT %s, d.bucket_id, NULL, NULL::json, NULL FROM (SELECT DISTINCT u.bucket_id FROM %s AS tide_n CROSS JOIN LATERAL unnest(%s) AS u (bucket_id)) AS d',
                           table_id, v_relation, n.buckets)
                END;
        EXCEPTION
            WHEN OTHERS THEN
                IF sqlstate LIKE '40%' OR sqlstate LIKE '57%' THEN
                    RAISE;
                END IF;
                error := format('%s (%s)', sqlerrm, sqlstate);
                RETURN NEXT;
                error := NULL;
        END;
    END LOOP;
END;
$$;
COMMENT ON FUNCTION tide.adoption(integer[], text[]) IS 'Buckets that hold rows of these tables and, where the table is small enough, the rows; a row with error where a table could not be read. Internal.';
