CREATE OR REPLACE FUNCTION tide.snapshot_page_of(row_ordinal bigint)
    RETURNS bigint
    LANGUAGE sql IMMUTABLE PARALLEL SAFE
    RETURN row_ordinal / 100;
COMMENT ON FUNCTION tide.snapshot_page_of(bigint) IS 'Page of a snapshot session that holds this row. Internal.';
