CREATE OR REPLACE FUNCTION tide.replace_source(user_id text, previous_source_id text, new_source_id text, reason text)
    RETURNS void
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    IF coalesce(new_source_id, '') = '' OR octet_length(new_source_id) > 512 OR new_source_id = previous_source_id
       OR reason IS NULL OR reason NOT IN ('history_pruned', 'source_sequence_out_of_order', 'source_sequence_changed', 'source_retired') THEN
        RAISE EXCEPTION 'replacement of a source is not valid'
            USING ERRCODE = 'TD123',
                  DETAIL  = 'The new source has another name of 1 to 512 bytes, the reason is history_pruned, source_sequence_out_of_order, source_sequence_changed or source_retired.',
                  HINT    = 'Send previous_source_id, new_source_id and reason.';
    END IF;
    IF tide.replacement_of(user_id, previous_source_id) = new_source_id THEN
        RETURN;
    END IF;
    PERFORM tide.assert_source(user_id, previous_source_id);
    IF EXISTS (SELECT FROM tide.source AS s WHERE s.user_id = replace_source.user_id AND s.source_id = replace_source.new_source_id)
       OR EXISTS (SELECT FROM tide.source_replacement AS r
                   WHERE r.user_id = replace_source.user_id AND replace_source.new_source_id IN (r.source_id, r.new_source_id)) THEN
        -- By the same request, sent twice, which was done in the meantime.
        IF tide.replacement_of(user_id, previous_source_id) = new_source_id THEN
            RETURN;
        END IF;
        RAISE EXCEPTION 'the new source is known already'
            USING ERRCODE = 'TD115', HINT = 'Name a source that was never used.';
    END IF;
    INSERT INTO tide.source_replacement (user_id, source_id, new_source_id, reason) VALUES (user_id, previous_source_id, new_source_id, reason)
        ON CONFLICT DO NOTHING;
    IF tide.replacement_of(user_id, previous_source_id) IS DISTINCT FROM new_source_id THEN
        PERFORM tide.assert_source(user_id, previous_source_id);
        RAISE EXCEPTION 'the new source is known already'
            USING ERRCODE = 'TD115', HINT = 'Name a source that was never used.';
    END IF;
    -- What it holds, it holds under the new name.
    INSERT INTO tide.source_buckets (user_id, source_id, fingerprint, held, written_at)
    SELECT b.user_id, replace_source.new_source_id, b.fingerprint, b.held, b.written_at
      FROM tide.source_buckets AS b WHERE b.user_id = replace_source.user_id AND b.source_id = replace_source.previous_source_id
        ON CONFLICT DO NOTHING;
    DELETE FROM tide.push_session AS p WHERE p.user_id = replace_source.user_id AND p.source_id = replace_source.previous_source_id;
END;
$$;
COMMENT ON FUNCTION tide.replace_source(text, text, text, text) IS 'Ends a source and reserves the name under which its device goes on; the same again changes nothing. Raises TD114, TD115, TD123.';
