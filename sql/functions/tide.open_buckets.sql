-- The device goes on from where it stands; what it fetches now counts from the position of the snapshot
-- on. One that holds nothing yet begins there.
CREATE OR REPLACE FUNCTION tide.open_buckets(
    user_id text, source_id text, read_cursor text, buckets text[], bundle_id bigint, seal_id bigint, identity uuid,
    OUT next_cursor text, OUT wanted text[], OUT shown jsonb
)
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path = pg_catalog, pg_temp
AS $$
#variable_conflict use_column
DECLARE
    v_open record;
    v_held jsonb;
    v_base bigint;
BEGIN
    IF current_setting('transaction_isolation') NOT IN ('repeatable read', 'serializable') THEN
        RAISE EXCEPTION 'a snapshot must be taken under REPEATABLE READ'
            USING ERRCODE = 'TD128',
                  DETAIL  = 'All tables must be read as they were when the position was sealed.',
                  HINT    = 'BEGIN ISOLATION LEVEL REPEATABLE READ; LOCK TABLE tide.seal_lock IN SHARE UPDATE EXCLUSIVE MODE; SELECT tide.seal(); and this, in one transaction.';
    END IF;
    PERFORM tide.assert_scope(open_buckets.user_id);
    SELECT * INTO v_open FROM tide.open_cursor(open_buckets.user_id, open_buckets.source_id, read_cursor);
    wanted := coalesce(buckets, v_open.add || v_open.repair);
    IF buckets IS NOT NULL THEN
        PERFORM tide.assert_buckets(open_buckets.user_id, wanted);
    END IF;
    SELECT coalesce(jsonb_object_agg(h.key, h.value), '{}') INTO shown
      FROM jsonb_each(v_open.held) AS h
     WHERE h.value <> 'null' AND h.key NOT IN (SELECT unnest(v_open.remove || wanted));
    v_base := v_open.bundle_id;
    IF shown = '{}' THEN
        v_base := open_buckets.bundle_id;
    END IF;
    SELECT shown || coalesce(jsonb_object_agg(w, CASE WHEN v_base < open_buckets.bundle_id THEN open_buckets.bundle_id ELSE 0 END), '{}') INTO shown FROM unnest(wanted) AS w;
    v_held := v_open.held || shown;
    next_cursor := tide.write_cursor(v_base, open_buckets.seal_id, open_buckets.identity,
        tide.hold_buckets(open_buckets.user_id, open_buckets.source_id, v_open.fingerprint, v_held));
END;
$$;
COMMENT ON FUNCTION tide.open_buckets(text, text, text, text[], bigint, bigint, uuid) IS
'What a snapshot of buckets (NULL: all that the device lacks) at this position is of, and the cursor for after it. Raises TD032, TD108, TD109, TD126, TD128, TD131 to TD134. Internal.';
