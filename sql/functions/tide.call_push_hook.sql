-- What a hook raises with RAISE EXCEPTION, or with an SQLSTATE of its own, is meant for the device. What else
-- goes wrong in it is for whoever wrote it: its text may hold what nobody else should read.
CREATE OR REPLACE FUNCTION tide.call_push_hook(user_id text, source_id text, source_bundle_id bigint, rows tide.pushed_row[])
    RETURNS void
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    v_message text;
    v_detail  text;
    v_hint    text;
BEGIN
    IF NOT EXISTS (SELECT FROM tide.hook AS h WHERE h.hook = 'before_push_commit') THEN
        RETURN;
    END IF;
    BEGIN
        PERFORM tide.call_hook('before_push_commit', jsonb_build_object(
            'user_id', user_id, 'source_id', source_id, 'source_bundle_id', source_bundle_id,
            'rows', (SELECT jsonb_agg(jsonb_strip_nulls(jsonb_build_object('schema', s.table_schema, 'table', s.table_name, 'key', r.row_key::jsonb, 'op', tide.op_name(r.op), 'base_row_version', r.base))
                                      || CASE WHEN r.payload IS NULL THEN '{}' ELSE jsonb_build_object('payload', r.payload::jsonb) END ORDER BY r.ordinal)
                       FROM unnest(rows) AS r JOIN tide.synced_table AS s ON s.table_id = r.table_id)));
        -- What the hook wrote must hold too: at the end of the transaction nobody could say why it does not.
        SET CONSTRAINTS ALL IMMEDIATE;
    EXCEPTION
        WHEN OTHERS THEN
            IF tide.is_retryable(sqlstate) THEN
                RAISE;
            END IF;
            GET STACKED DIAGNOSTICS v_message = MESSAGE_TEXT, v_detail = PG_EXCEPTION_DETAIL, v_hint = PG_EXCEPTION_HINT;
            IF sqlstate <> 'P0001' AND (sqlstate !~ '^[5-9I-Z]' OR sqlstate ~ '^(5[3-8]|72|P0|XX|TD)') THEN
                v_message := 'the application refuses this push';
                v_detail := '';
                v_hint := '';
            END IF;
            RAISE EXCEPTION '%', v_message
                USING ERRCODE = 'TD136', DETAIL = v_detail, HINT = coalesce(nullif(v_hint, ''), 'Nothing was applied.'), DATATYPE = sqlstate;
    END;
END;
$$;
COMMENT ON FUNCTION tide.call_push_hook(text, text, bigint, tide.pushed_row[]) IS 'Asks the application whether it takes a push, whose rows are written already. Raises TD136. Internal.';
