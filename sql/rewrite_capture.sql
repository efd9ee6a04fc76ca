-- An upgrade writes the capture functions anew, which locks no table.
SELECT count(*) FILTER (WHERE tide.write_capture_functions(s.table_id)) AS tables_rewritten
  FROM tide.synced_table AS s
  JOIN pg_class AS c ON c.oid = s.relation
 WHERE s.unregistered_at IS NULL;
