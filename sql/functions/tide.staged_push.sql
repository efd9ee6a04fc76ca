CREATE OR REPLACE FUNCTION tide.staged_push(user_id text, source_id text, push_id uuid, OUT session tide.push_session, OUT rows tide.pushed_row[])
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path = pg_catalog, pg_temp
AS $$
#variable_conflict use_column
BEGIN
    session := tide.assert_push_session(user_id, source_id, staged_push.push_id);
    -- It was committed already: its number is answered, whatever has become of its rows.
    IF tide.is_committed(user_id, source_id, (session).source_bundle_id, (session).bundle_uuid) THEN
        RETURN;
    END IF;
    PERFORM tide.assert_source(user_id, source_id);
    IF (SELECT coalesce(sum(c.row_count), 0) FROM tide.push_chunk AS c WHERE c.push_id = (session).push_id) <> (session).planned_row_count THEN
        RAISE EXCEPTION 'the push is not complete'
            USING ERRCODE = 'TD103',
                  DETAIL  = format('It was planned with %s rows and has %s.', (session).planned_row_count, (SELECT coalesce(sum(c.row_count), 0) FROM tide.push_chunk AS c WHERE c.push_id = (session).push_id)),
                  HINT    = 'Send the missing chunks.';
    END IF;
    SELECT array_agg(r ORDER BY r.ordinal) INTO rows
      FROM tide.push_chunk AS c CROSS JOIN LATERAL unnest(tide.parse_push(c.rows, c.start_row_ordinal)) AS r
     WHERE c.push_id = (session).push_id;
    IF EXISTS (SELECT FROM unnest(rows) AS r GROUP BY r.table_id, r.row_key COLLATE "C" HAVING count(*) > 1) THEN
        RAISE EXCEPTION 'the push has a key twice' USING ERRCODE = 'TD103', HINT = 'Send one row for each key.';
    END IF;
END;
$$;
COMMENT ON FUNCTION tide.staged_push(text, text, uuid) IS 'A push session with all its rows; without rows when it was committed already. Raises TD102, TD103, TD105 to TD107, TD113, TD114. Internal.';
