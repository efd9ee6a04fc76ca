-- An upgrade writes the capture functions anew, which locks no table.
DO $$
BEGIN
    PERFORM tide.write_capture_functions(s.table_id)
       FROM tide.synced_table AS s
       JOIN pg_catalog.pg_class AS c ON c.oid = s.relation
      WHERE s.unregistered_at IS NULL;
END;
$$;
