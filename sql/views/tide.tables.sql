CREATE OR REPLACE VIEW tide.tables AS
SELECT s.table_id, s.relation, s.table_schema, s.table_name, s.key_columns, s.sync_columns, tide.describe_rule(s) AS rule, s.on_capture_error, s.registered_at
  FROM tide.synced_table AS s
 WHERE s.unregistered_at IS NULL;
COMMENT ON VIEW tide.tables IS 'Registered tables, and the names by which devices know them.';
