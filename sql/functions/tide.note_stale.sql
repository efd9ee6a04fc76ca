CREATE OR REPLACE FUNCTION tide.note_stale(user_id text, source_id text, reason text, buckets text[] DEFAULT NULL)
    RETURNS void
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    PERFORM tide.queue_event('on_stale', jsonb_strip_nulls(jsonb_build_object('user_id', user_id, 'source_id', source_id, 'reason', reason, 'buckets', buckets)));
END;
$$;
COMMENT ON FUNCTION tide.note_stale(text, text, text, text[]) IS 'Keeps for on_stale that a device cannot go on from where it stands, and must take a snapshot, of these buckets or of all.';
