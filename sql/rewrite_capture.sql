-- An upgrade writes the functions of every table anew, which locks no table.
DO $$
BEGIN
    PERFORM tide.write_capture_functions(s.table_id), tide.write_bucket_functions(s.table_id), tide.write_push_functions(s.table_id)
       FROM tide.synced_table AS s
       JOIN pg_catalog.pg_class AS c ON c.oid = s.relation
      WHERE s.unregistered_at IS NULL;
END;
$$;
