CREATE OR REPLACE FUNCTION tide.queue_conflict(user_id text, source_id text, source_bundle_id bigint, conflicts json)
    RETURNS void
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    PERFORM tide.queue_event('on_conflict', jsonb_build_object('user_id', user_id, 'source_id', source_id, 'source_bundle_id', source_bundle_id, 'conflicts', conflicts));
END;
$$;
COMMENT ON FUNCTION tide.queue_conflict(text, text, bigint, json) IS 'Keeps a refused push for on_conflict. Internal.';
