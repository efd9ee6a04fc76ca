CREATE OR REPLACE FUNCTION tide.delete_push_session(user_id text, source_id text, push_id uuid)
    RETURNS void
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    PERFORM tide.assert_push_session(user_id, source_id, push_id);
    DELETE FROM tide.push_session AS s WHERE s.push_id = delete_push_session.push_id;
END;
$$;
COMMENT ON FUNCTION tide.delete_push_session(text, text, uuid) IS 'Ends a push session. Raises TD105 to TD107.';
