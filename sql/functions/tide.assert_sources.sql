CREATE OR REPLACE FUNCTION tide.assert_sources(table_id integer)
    RETURNS void
    LANGUAGE plpgsql STABLE
    SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    PERFORM tide.assert_readable(c.oid)
       FROM tide.bucket_source AS b JOIN tide.synced_table AS s ON s.table_id = b.source_id JOIN pg_class AS c ON c.oid = s.relation
      WHERE b.table_id = assert_sources.table_id;
END;
$$;
COMMENT ON FUNCTION tide.assert_sources(integer) IS 'Raises TD011 unless tide_owner can read every row of all tables that buckets of a table hang on. Internal.';
