CREATE OR REPLACE FUNCTION tide.connect(
    user_id text, source_id text, has_local_pending_rows boolean, many_buckets boolean DEFAULT false,
    OUT resolution text, OUT initialization_id uuid, OUT lease_expires_at timestamptz, OUT retry_after_seconds integer
)
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path = pg_catalog, pg_temp
AS $$
#variable_conflict use_column
DECLARE
    v_user   text COLLATE "C" := user_id;
    v_source text := source_id;
    v_lease  tide.scope_lease;
    v_now    timestamptz := clock_timestamp();
BEGIN
    PERFORM tide.assert_open();
    PERFORM tide.assert_source(v_user, v_source);
    PERFORM tide.meet_source(v_user, v_source);
    PERFORM tide.set_source_kind(v_user, v_source, CASE WHEN many_buckets THEN 'cursor' ELSE 'v1' END);
    IF tide.scope_state(v_user) <> 'initialized' THEN
        -- Rows that are not sealed yet begin a home bucket as well.
        PERFORM tide.seal();
    END IF;
    IF tide.scope_state(v_user) = 'initialized' THEN
        resolution := 'remote_authoritative';
        RETURN;
    END IF;
    -- The lease is taken, kept or refused in one statement: of two devices one gets it.
    INSERT INTO tide.scope_lease AS l (user_id, source_id, initialization_id, expires_at)
    SELECT v_user, v_source, gen_random_uuid(), v_now + s.initialization_lease_ttl
      FROM tide.setting AS s
        ON CONFLICT (user_id) DO UPDATE
       SET source_id = excluded.source_id,
           initialization_id = CASE WHEN l.source_id = excluded.source_id AND l.expires_at > v_now THEN l.initialization_id ELSE excluded.initialization_id END,
           expires_at = excluded.expires_at
     WHERE l.source_id = excluded.source_id OR l.expires_at <= v_now
    RETURNING l.* INTO v_lease;
    IF tide.scope_state(v_user) = 'initialized' THEN
        resolution := 'remote_authoritative';
    ELSIF v_lease.user_id IS NULL THEN
        SELECT l.* INTO v_lease FROM tide.scope_lease AS l WHERE l.user_id = v_user;
        resolution := 'retry_later';
        lease_expires_at := v_lease.expires_at;
        retry_after_seconds := greatest(1, least(30, ceil(extract(epoch FROM v_lease.expires_at - v_now))));
    ELSIF has_local_pending_rows THEN
        resolution := 'initialize_local';
        initialization_id := v_lease.initialization_id;
        lease_expires_at := v_lease.expires_at;
    ELSE
        INSERT INTO tide.scope (user_id) VALUES (v_user) ON CONFLICT DO NOTHING;
        resolution := 'initialize_empty';
    END IF;
END;
$$;
COMMENT ON FUNCTION tide.connect(text, text, boolean, boolean) IS
'What a device must do first: remote_authoritative (take a snapshot), initialize_local (push what it holds, with the initialization_id), initialize_empty, or retry_later while another device fills the home bucket. Seals first, when it would be the beginning of that. With many_buckets the versions of its pushes are bundle_ids; tide.connect_buckets says the rest. Raises TD017, TD114, TD129 and what tide.seal does.';
