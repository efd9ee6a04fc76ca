CREATE OR REPLACE FUNCTION tide.assert_source(user_id text, source_id text)
    RETURNS void
    LANGUAGE plpgsql STABLE SECURITY DEFINER
    SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    v_new text;
BEGIN
    IF coalesce(user_id, '') = '' OR octet_length(user_id) > 500 OR coalesce(btrim(source_id), '') = '' OR octet_length(source_id) > 512 THEN
        RAISE EXCEPTION 'user or source is not valid'
            USING ERRCODE = 'TD017', DETAIL = 'A user has 1 to 500 bytes, a source 1 to 512.', HINT = 'Give both.';
    END IF;
    v_new := tide.replacement_of(user_id, source_id);
    IF v_new IS NOT NULL THEN
        RAISE EXCEPTION 'this source was replaced'
            USING ERRCODE = 'TD114', DETAIL = format('It goes on as %s.', v_new), HINT = 'Push as the new source.';
    END IF;
END;
$$;
COMMENT ON FUNCTION tide.assert_source(text, text) IS 'Raises TD017 for names that cannot be, TD114 for a source that was replaced. Internal.';
