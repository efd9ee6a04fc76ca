CREATE OR REPLACE VIEW tide.bucket_failures AS
SELECT s.relation, nullif(f.row_key, '*')::json AS key, f.error, f.seal_id, f.failed_at
  FROM tide.bucket_failure AS f JOIN tide.synced_table AS s ON s.table_id = f.table_id;
COMMENT ON VIEW tide.bucket_failures IS 'Rows whose bucket rule raised an error: they are in no bucket until it is mended and tide.retry_bucket_failures() was called. key is NULL where it could not even be told which rows a change reaches.';
