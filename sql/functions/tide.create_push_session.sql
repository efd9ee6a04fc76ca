CREATE OR REPLACE FUNCTION tide.create_push_session(
    user_id text, source_id text, source_bundle_id bigint, planned_row_count bigint, initialization_id uuid DEFAULT NULL,
    bundle_uuid uuid DEFAULT NULL,
    OUT status text, OUT push_id uuid
)
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path = pg_catalog, pg_temp
AS $$
#variable_conflict use_column
DECLARE
    v_user    text COLLATE "C" := user_id;
    v_source  text COLLATE "C" := source_id;
    v_setting tide.setting := (SELECT s FROM tide.setting AS s);
BEGIN
    IF source_bundle_id IS NULL OR source_bundle_id <= 0 OR planned_row_count IS NULL OR planned_row_count <= 0 THEN
        RAISE EXCEPTION 'a push has a number and rows' USING ERRCODE = 'TD101', HINT = 'source_bundle_id and planned_row_count are positive.';
    END IF;
    IF planned_row_count > v_setting.max_rows_per_push THEN
        RAISE EXCEPTION 'a push of % rows is too large', planned_row_count
            USING ERRCODE = 'TD127', DETAIL = format('At most %s are allowed.', v_setting.max_rows_per_push), HINT = 'Push in several bundles.';
    END IF;
    -- The answer to a retry comes first: what was committed stays committed, whatever the home bucket is now.
    IF tide.is_committed(v_user, v_source, source_bundle_id, bundle_uuid) THEN
        status := 'already_committed';
        RETURN;
    END IF;
    PERFORM tide.assert_open();
    PERFORM tide.assert_initialization(v_user, v_source, initialization_id);
    PERFORM tide.assert_source(v_user, v_source);
    PERFORM tide.assert_next_push(v_user, v_source, source_bundle_id);
    DELETE FROM tide.push_session AS s WHERE s.user_id = v_user AND (s.source_id = v_source OR s.expires_at <= clock_timestamp());
    FOR v_slot IN 1 .. v_setting.max_push_sessions LOOP
        INSERT INTO tide.push_session AS s (user_id, source_id, slot, source_bundle_id, planned_row_count, initialization_id, bundle_uuid, expires_at)
        VALUES (v_user, v_source, v_slot, source_bundle_id, planned_row_count, initialization_id, bundle_uuid, clock_timestamp() + v_setting.push_session_ttl)
            ON CONFLICT (user_id, slot) DO NOTHING
        RETURNING s.push_id INTO push_id;
        EXIT WHEN push_id IS NOT NULL;
    END LOOP;
    IF push_id IS NULL THEN
        RAISE EXCEPTION 'this user has too many open push sessions'
            USING ERRCODE = 'TD125', DETAIL = format('At most %s are allowed.', v_setting.max_push_sessions), HINT = 'Finish or delete one, or wait.';
    END IF;
    status := 'staging';
END;
$$;
COMMENT ON FUNCTION tide.create_push_session(text, text, bigint, bigint, uuid, uuid) IS
'Begins a push that arrives in chunks, and ends an earlier one of the same source; status staging, or already_committed for a retry. Raises TD014, TD017, TD101, TD108 to TD114, TD125, TD127, TD129.';
