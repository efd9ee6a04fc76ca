CREATE OR REPLACE FUNCTION tide.who_sees(table_name regclass, key jsonb)
    RETURNS TABLE (user_id text, bucket_id text)
    LANGUAGE plpgsql STABLE SECURITY DEFINER
    SET search_path = pg_catalog, pg_temp
AS $$
#variable_conflict use_column
DECLARE
    v_buckets text[] := tide.row_buckets(who_sees.table_name, key);
BEGIN
    RETURN QUERY
    SELECT u.user_id, b
      FROM (SELECT s.user_id::text FROM tide.scope AS s UNION SELECT s.user_id FROM tide.source AS s UNION SELECT substr(h, 6) FROM unnest(v_buckets) AS h WHERE starts_with(h, 'user:')) AS u (user_id)
     CROSS JOIN LATERAL unnest(tide.buckets_of(u.user_id)) AS b
     WHERE b = ANY (v_buckets)
     ORDER BY 1, 2;
END;
$$;
COMMENT ON FUNCTION tide.who_sees(regclass, jsonb) IS
'Users whose devices get a row, and by which bucket, as the tables are now: those who ever connected, and those with a bucket of their own. SELECT * FROM tide.who_sees(''app.task'', ''{"id": 42}''). Raises TD003, TD009.';
