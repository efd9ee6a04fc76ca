CREATE OR REPLACE FUNCTION tide.forget_push_chunks(user_id text, source_id text, push_id uuid)
    RETURNS void
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    DELETE FROM tide.push_chunk AS c
     USING tide.push_session AS s
     WHERE s.push_id = forget_push_chunks.push_id AND s.user_id = forget_push_chunks.user_id AND s.source_id = forget_push_chunks.source_id
       AND c.push_id = s.push_id;
END;
$$;
COMMENT ON FUNCTION tide.forget_push_chunks(text, text, uuid) IS 'Drops the rows of a session that was committed; the session answers retries until it expires. Internal.';
