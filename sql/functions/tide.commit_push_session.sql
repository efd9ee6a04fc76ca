CREATE OR REPLACE FUNCTION tide.commit_push_session(
    user_id text, source_id text, push_id uuid, claims json DEFAULT NULL,
    OUT status text, OUT source_bundle_id bigint, OUT conflicts json, OUT rejected json, OUT unsealed boolean
)
    LANGUAGE plpgsql
    SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    v_staged record;
BEGIN
    PERFORM tide.begin_push(user_id, claims);
    SELECT s.session, s.rows INTO v_staged FROM tide.staged_push(user_id, source_id, push_id) AS s;
    source_bundle_id := (v_staged.session).source_bundle_id;
    unsealed := false;
    IF v_staged.rows IS NULL THEN
        status := 'already_committed';
        RETURN;
    END IF;
    BEGIN
        SELECT a.status, a.conflicts, a.rejected, a.unsealed
          INTO status, conflicts, rejected, unsealed
          FROM tide.apply_push(user_id, source_id, source_bundle_id, v_staged.rows, (v_staged.session).initialization_id, (v_staged.session).bundle_uuid) AS a;
    EXCEPTION
        -- It was the next number when the session was created.
        WHEN SQLSTATE 'TD112' THEN
            RAISE EXCEPTION 'the source has pushed something else meanwhile'
                USING ERRCODE = 'TD113', HINT = 'Rebuild from a snapshot, as a new source.';
    END;
    IF status = 'applied' THEN
        PERFORM tide.forget_push_chunks(user_id, source_id, push_id);
    END IF;
END;
$$;
COMMENT ON FUNCTION tide.commit_push_session(text, text, uuid, json) IS
'Applies the push of a session like tide.push. Called again after success it says already_committed. Raises what tide.push does, and TD103, TD105 to TD107, TD113.';
