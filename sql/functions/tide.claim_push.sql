-- The first write of a push is its number: a second one with the same number waits here until the
-- first has ended, and then finds it, or takes its place.
CREATE OR REPLACE FUNCTION tide.claim_push(user_id text, source_id text, source_bundle_id bigint, row_count bigint, initialization_id uuid, bundle_uuid uuid)
    RETURNS boolean
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path = pg_catalog, pg_temp
AS $$
#variable_conflict use_variable
DECLARE
    v_known boolean;
    v_kind  text;
    v_last  bigint;
    v_next  boolean;
BEGIN
    IF source_bundle_id IS NULL OR source_bundle_id <= 0 THEN
        RAISE EXCEPTION 'source_bundle_id is not positive' USING ERRCODE = 'TD101', HINT = 'Number the pushes of a source 1, 2, 3 ...';
    END IF;
    -- A device that has pushed before, and nothing in its way: seen at once, as a push is mostly of one row.
    SELECT o.kind, t.maintenance_message IS NULL AND initialization_id IS NULL
           AND NOT EXISTS (SELECT FROM tide.source_replacement AS r WHERE r.user_id = o.user_id AND r.source_id = o.source_id),
           (SELECT p.source_bundle_id FROM tide.push_log AS p WHERE p.user_id = o.user_id AND p.source_id = o.source_id ORDER BY p.source_bundle_id DESC LIMIT 1)
      INTO v_kind, v_known, v_last
      FROM tide.source AS o JOIN tide.scope AS s ON s.user_id = o.user_id CROSS JOIN tide.setting AS t
     WHERE o.user_id = user_id AND o.source_id = source_id;
    -- A retry gets its answer whatever has changed meanwhile.
    v_next := coalesce(source_bundle_id = v_last + 1, false);
    IF NOT v_next AND tide.is_committed(user_id, source_id, source_bundle_id, bundle_uuid) THEN
        RETURN false;
    END IF;
    IF v_known IS NOT TRUE THEN
        PERFORM tide.assert_open();
        PERFORM tide.assert_source(user_id, source_id);
        PERFORM tide.assert_initialization(user_id, source_id, initialization_id);
    END IF;
    INSERT INTO tide.push_log AS p (user_id, source_id, source_bundle_id, bundle_uuid, row_count) VALUES (user_id, source_id, source_bundle_id, bundle_uuid, row_count)
        ON CONFLICT DO NOTHING;
    IF NOT FOUND THEN
        PERFORM tide.is_committed(user_id, source_id, source_bundle_id, bundle_uuid);
        RETURN false;
    END IF;
    -- Not before: another one with this number may have been committed since it was looked for.
    IF NOT v_next THEN
        PERFORM tide.assert_next_push(user_id, source_id, source_bundle_id);
    END IF;
    IF v_known IS NOT TRUE THEN
        PERFORM tide.meet_source(user_id, source_id);
        INSERT INTO tide.scope AS s (user_id) VALUES (user_id) ON CONFLICT DO NOTHING;
        v_kind := tide.source_kind(user_id, source_id);
    END IF;
    PERFORM tide.set_origin(source_id, source_bundle_id);
    PERFORM set_config('tide.push_kind', v_kind, true);
    RETURN true;
END;
$$;
COMMENT ON FUNCTION tide.claim_push(text, text, bigint, bigint, uuid, uuid) IS 'Takes the number of a push; false when it was committed before. Raises TD014, TD017, TD101, TD108 to TD114, TD129. Internal.';
