-- One row for each table and bucket; XOR does not mind in which order rows are read, and keys differ.
CREATE OR REPLACE FUNCTION tide.verify_buckets(user_id text, source_id text, buckets text[] DEFAULT NULL)
    RETURNS TABLE (bucket_id text, table_schema text, table_name text, row_count bigint, checksum text)
    LANGUAGE plpgsql STABLE SECURITY DEFINER
    SET search_path = pg_catalog, pg_temp
    SET TimeZone = 'UTC' SET extra_float_digits = 1 SET DateStyle = 'ISO, YMD' SET IntervalStyle = 'postgres'
    SET bytea_output = 'hex' SET lc_monetary = 'C' SET quote_all_identifiers = off SET jit = off
AS $$
#variable_conflict use_column
DECLARE
    v_wanted text[] := tide.buckets_to_verify(user_id, buckets);
    v_shape  jsonb := tide.source_shape(user_id, source_id);
    t        record;
BEGIN
    FOR t IN
        SELECT s.table_schema, s.table_name, tide.bucket_rows(s.table_id, v_wanted, v_shape -> (s.table_schema || '.' || s.table_name)) AS query
          FROM tide.synced_table AS s
          JOIN pg_class AS c ON c.oid = s.relation
         WHERE s.unregistered_at IS NULL AND s.synced AND (v_shape IS NULL OR jsonb_exists(v_shape, s.table_schema || '.' || s.table_name))
         ORDER BY s.fk_depth, s.table_id
    LOOP
        CONTINUE WHEN t.query IS NULL;
        RETURN QUERY EXECUTE format($sql$
            SELECT b.bucket_id, %L, %L, count(*), lpad(to_hex(bit_xor(('x' || encode(q.digest, 'hex'))::bit(64)::bigint)), 16, '0')
              FROM (SELECT r.buckets, tide.row_digest(r.row_key || E'\n' || r.payload::text) AS digest FROM (%s) AS r OFFSET 0) AS q
             CROSS JOIN LATERAL unnest(q.buckets) AS b (bucket_id)
             GROUP BY b.bucket_id
             ORDER BY b.bucket_id COLLATE "C"$sql$, t.table_schema, t.table_name, t.query);
    END LOOP;
END;
$$;
COMMENT ON FUNCTION tide.verify_buckets(text, text, text[]) IS
'Number and checksum of the rows that a device of a user should have, for each table in each of these buckets, NULL for the home bucket; tables without rows are left out. For a REPEATABLE READ transaction whose snapshot was sealed. Raises TD014, TD032, TD108, TD109, TD128, TD134, TD135.';
