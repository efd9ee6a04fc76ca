CREATE OR REPLACE FUNCTION tide.set_source_kind(user_id text, source_id text, kind text)
    RETURNS void
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    UPDATE tide.source AS s SET kind = set_source_kind.kind
     WHERE s.user_id = set_source_kind.user_id AND s.source_id = set_source_kind.source_id AND s.kind <> set_source_kind.kind;
END;
$$;
COMMENT ON FUNCTION tide.set_source_kind(text, text, text) IS 'Notes whether a device reads its home bucket or many. Internal.';
