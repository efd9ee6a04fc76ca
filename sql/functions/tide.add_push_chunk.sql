CREATE OR REPLACE FUNCTION tide.add_push_chunk(user_id text, source_id text, push_id uuid, start_row_ordinal bigint, rows json)
    RETURNS bigint
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path = pg_catalog, pg_temp
AS $$
#variable_conflict use_variable
DECLARE
    v_setting tide.setting := (SELECT s FROM tide.setting AS s);
    v_session tide.push_session := tide.assert_push_session(user_id, source_id, push_id);
    v_last    tide.push_chunk;
    v_next    bigint;
    v_count   bigint;
BEGIN
    PERFORM tide.assert_open();
    PERFORM tide.assert_source(user_id, source_id);
    PERFORM tide.assert_initialization(user_id, source_id, v_session.initialization_id);
    IF start_row_ordinal IS NULL OR start_row_ordinal < 0 THEN
        RAISE EXCEPTION 'start_row_ordinal is not valid' USING ERRCODE = 'TD102', HINT = 'Rows count from 0.';
    END IF;
    SELECT c.* INTO v_last FROM tide.push_chunk AS c WHERE c.push_id = v_session.push_id ORDER BY c.start_row_ordinal DESC LIMIT 1;
    v_next := coalesce(v_last.start_row_ordinal + v_last.row_count, 0);
    -- The answer to the newest chunk was lost, perhaps.
    IF start_row_ordinal = v_last.start_row_ordinal AND v_last.rows::text = rows::text THEN
        RETURN v_next;
    END IF;
    IF start_row_ordinal <> v_next THEN
        RAISE EXCEPTION 'this chunk is out of order'
            USING ERRCODE = 'TD104', DETAIL = format('It begins at row %s, the next one is %s.', start_row_ordinal, v_next), HINT = 'Go on from there.';
    END IF;
    v_count := cardinality(tide.parse_push(rows, start_row_ordinal));
    IF v_count > v_setting.max_rows_per_chunk THEN
        RAISE EXCEPTION 'a chunk of % rows is too large', v_count
            USING ERRCODE = 'TD102', DETAIL = format('At most %s are allowed.', v_setting.max_rows_per_chunk), HINT = 'Send smaller ones.';
    ELSIF v_next + v_count > v_session.planned_row_count THEN
        RAISE EXCEPTION 'the push was planned with % rows', v_session.planned_row_count
            USING ERRCODE = 'TD102', DETAIL = format('With this chunk it has %s.', v_next + v_count), HINT = 'Plan another push.';
    ELSIF octet_length(rows::text) + (SELECT coalesce(sum(octet_length(c.rows::text)), 0) FROM tide.push_chunk AS c WHERE c.push_id = v_session.push_id) > v_setting.max_bytes_per_push THEN
        RAISE EXCEPTION 'the push is too large'
            USING ERRCODE = 'TD127', DETAIL = format('At most %s bytes are allowed.', v_setting.max_bytes_per_push), HINT = 'Push in several bundles.';
    END IF;
    INSERT INTO tide.push_chunk (push_id, start_row_ordinal, row_count, rows) VALUES (v_session.push_id, v_next, v_count, rows);
    RETURN v_next + v_count;
END;
$$;
COMMENT ON FUNCTION tide.add_push_chunk(text, text, uuid, bigint, json) IS
'Adds rows to a push session, and returns the ordinal of the next one. The newest chunk may be sent again. Raises TD102, TD104 to TD107, TD110, TD111, TD114, TD127, TD129.';
