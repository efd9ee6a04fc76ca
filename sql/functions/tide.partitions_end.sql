CREATE OR REPLACE FUNCTION tide.partitions_end(log regclass)
    RETURNS bigint
    LANGUAGE sql STABLE
    SET search_path = pg_catalog, pg_temp
AS $$
    SELECT coalesce(max((regexp_match(pg_get_expr(c.relpartbound, c.oid), 'TO \(''?(\d+)''?\)'))[1]::bigint), 0)
      FROM pg_inherits AS i JOIN pg_class AS c ON c.oid = i.inhrelid
     WHERE i.inhparent = log;
$$;
COMMENT ON FUNCTION tide.partitions_end(regclass) IS 'Where the partitions of a log end: from here on rows go to the DEFAULT one. Internal.';
