CREATE OR REPLACE FUNCTION tide.is_cursor_push()
    RETURNS boolean
    LANGUAGE sql STABLE
    RETURN coalesce(current_setting('tide.push_kind', true), '') = 'cursor';
COMMENT ON FUNCTION tide.is_cursor_push() IS 'Whether the push of this transaction comes from a device that reads many buckets: its versions are bundle_ids. Internal.';
