-- A range is all keys whose digest begins with a prefix: every language can compute it, and none has to
-- order keys as PostgreSQL does, whose types and collations it does not have.
CREATE OR REPLACE FUNCTION tide.verify_range(
    user_id text, source_id text, bucket_id text, table_schema text, table_name text, prefixes text[], with_payload boolean DEFAULT false, max_rows integer DEFAULT 5000
)
    RETURNS TABLE (kind text, prefix text, row_count bigint, checksum text, key json, payload json)
    LANGUAGE plpgsql STABLE SECURITY DEFINER
    SET search_path = pg_catalog, pg_temp
    SET TimeZone = 'UTC' SET extra_float_digits = 1 SET DateStyle = 'ISO, YMD' SET IntervalStyle = 'postgres'
    SET bytea_output = 'hex' SET lc_monetary = 'C' SET quote_all_identifiers = off SET jit = off
AS $$
#variable_conflict use_column
DECLARE
    v_wanted text[] := tide.buckets_to_verify(verify_range.user_id, CASE WHEN verify_range.bucket_id IS NOT NULL THEN ARRAY[verify_range.bucket_id] END);
    v_shape  jsonb := tide.source_shape(verify_range.user_id, verify_range.source_id);
    v_length integer := length(prefixes[1]);
    v_listed text[] := '{}';
    v_rows   bigint := 0;
    v_table  record;
    v_sql    text;
    p        record;
BEGIN
    SELECT s.table_id, tide.bucket_rows(s.table_id, v_wanted, v_shape -> (s.table_schema || '.' || s.table_name)) AS query INTO v_table
      FROM tide.synced_table AS s
      JOIN pg_class AS c ON c.oid = s.relation
     WHERE s.table_schema = verify_range.table_schema AND s.table_name = verify_range.table_name
       AND s.unregistered_at IS NULL AND s.synced AND (v_shape IS NULL OR jsonb_exists(v_shape, s.table_schema || '.' || s.table_name));
    IF v_table.table_id IS NULL
       OR cardinality(prefixes) NOT BETWEEN 1 AND 1000 OR array_ndims(prefixes) <> 1 OR max_rows NOT BETWEEN 1 AND 5000
       OR EXISTS (SELECT FROM unnest(prefixes) AS g (prefix) WHERE g.prefix IS NULL OR length(g.prefix) <> v_length OR g.prefix !~ '^([0-9a-f]{2}){0,8}$')
       OR num_nonnulls(prefixes, max_rows) < 2 THEN
        RAISE EXCEPTION 'this range of keys cannot be verified'
            USING ERRCODE = 'TD135',
                  DETAIL  = CASE WHEN v_table.table_id IS NULL THEN 'There is no such table.' ELSE 'Its prefixes make no sense.' END,
                  HINT    = 'Name a table that the device knows, and 1 to 1000 prefixes: lowercase hexadecimal digits, all of one even length of up to 16.';
    END IF;
    IF v_table.query IS NULL THEN
        RETURN;
    END IF;
    v_sql := format($sql$
        SELECT k.range, k.hash, r.row_key, r.payload
          FROM (%s) AS r
         CROSS JOIN LATERAL (SELECT encode(tide.row_digest(r.row_key), 'hex') AS hash, left(encode(tide.row_digest(r.row_key), 'hex'), %s) AS range) AS k
         WHERE k.range = ANY ($1)$sql$, v_table.query, v_length);
    FOR p IN EXECUTE format($sql$
        SELECT g.prefix, coalesce(n.row_count, 0) AS row_count, g.nth
          FROM unnest($1) WITH ORDINALITY AS g (prefix, nth)
          LEFT JOIN (SELECT h.range, count(*) AS row_count FROM (%s) AS h GROUP BY h.range) AS n ON n.range = g.prefix
         ORDER BY g.nth$sql$, v_sql) USING prefixes
    LOOP
        v_rows := v_rows + p.row_count;
        IF v_rows <= max_rows THEN
            v_listed := v_listed || p.prefix;
        ELSIF p.nth > 1 THEN
            RETURN QUERY SELECT 'left', p.prefix, NULL::bigint, NULL::text, NULL::json, NULL::json;
        ELSE
            RETURN QUERY EXECUTE format($sql$
                SELECT 'range', left(h.hash, %s), count(*), lpad(to_hex(bit_xor(('x' || encode(tide.row_digest(h.row_key || E'\n' || h.payload::text), 'hex'))::bit(64)::bigint)), 16, '0'), NULL::json, NULL::json
                  FROM (%s) AS h GROUP BY 2 ORDER BY 2$sql$, v_length + 2, v_sql) USING ARRAY[p.prefix];
        END IF;
    END LOOP;
    RETURN QUERY EXECUTE format($sql$
        SELECT 'row', h.hash, NULL::bigint, encode(tide.row_digest(h.row_key || E'\n' || h.payload::text), 'hex'), h.row_key::json, CASE WHEN $2 THEN h.payload END
          FROM (%s) AS h ORDER BY 2$sql$, v_sql) USING v_listed, with_payload;
END;
$$;
COMMENT ON FUNCTION tide.verify_range(text, text, text, text, text, text[], boolean, integer) IS
'Rows that a device of a user should have of a table in a bucket, NULL for the home bucket, whose digest of the key begins with these prefixes: each with its digest (row), as long as they are not more than max_rows together; of the first prefix number and checksum of the ranges within it, if it alone has more (range); and prefixes to be asked for again (left). For a REPEATABLE READ transaction whose snapshot was sealed. Raises TD014, TD032, TD108, TD109, TD128, TD134, TD135.';
