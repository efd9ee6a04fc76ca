-- Both are given changes of a seal as $1. The text of a key needs its columns alone.
CREATE OR REPLACE FUNCTION tide.bucket_queries(table_id integer, OUT affected text, OUT judged text)
    LANGUAGE plpgsql STABLE
    SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    v_relation regclass := (SELECT s.relation FROM tide.synced_table AS s WHERE s.table_id = bucket_queries.table_id);
    n          record;
    k          record;
BEGIN
    SELECT * INTO n FROM tide.row_expressions(table_id, 'tide_n');
    SELECT string_agg(format('tide_a.tide_k%s AS %I', c.ordinal, c.current_name), ', ' ORDER BY c.ordinal) AS names,
           string_agg(format('tide_n.%I OPERATOR(%s) %s', c.current_name, c.equality, c.value), ' AND ') AS found
      INTO k
      FROM tide.key_columns(table_id, 'g.row_key') AS c;
    affected := format($sql$
    WITH given AS MATERIALIZED (SELECT * FROM unnest($1))
    SELECT k.row_key, max(k.last_change_id)
      FROM (SELECT %1$s AS row_key, tide_n.last_change_id FROM (SELECT %2$s, tide_a.last_change_id FROM (%3$s) AS tide_a) AS tide_n) AS k
     GROUP BY k.row_key$sql$, n.row_key, k.names, tide.affected_source(table_id));
    judged := format($sql$
    SELECT g.row_key, h.key_hash, g.last_change_id, g.op, b.before, coalesce(r.after, '{}'), r.payload, NULL::text
      FROM unnest($1) AS g
     CROSS JOIN LATERAL (SELECT hashtextextended(g.row_key, %1$s)) AS h (key_hash)
     CROSS JOIN LATERAL (
               SELECT ARRAY(SELECT m.bucket_id::text FROM tide.membership AS m
                             WHERE m.table_id = %1$s AND m.key_hash = h.key_hash AND m.row_key = g.row_key COLLATE "C" ORDER BY m.bucket_id)) AS b (before)
      LEFT JOIN LATERAL (
               SELECT j.after, CASE WHEN j.after <> '{}' AND (g.op = 'A' OR j.after <> b.before) THEN %3$s END AS payload
                 FROM %4$s AS tide_n CROSS JOIN LATERAL (SELECT %2$s AS after OFFSET 0) AS j WHERE %5$s) AS r ON true$sql$, table_id, n.buckets, n.payload, v_relation, k.found);
END;
$$;
COMMENT ON FUNCTION tide.bucket_queries(integer) IS 'Queries for the rows of a table whose buckets may have changed, and for the buckets of rows as stored and as they are now, for the tables as they are. Raises TD012. Internal.';
