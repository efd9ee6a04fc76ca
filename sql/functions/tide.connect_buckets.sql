CREATE OR REPLACE FUNCTION tide.connect_buckets(
    user_id text, source_id text, read_cursor text DEFAULT NULL, positions json DEFAULT NULL, pushed text DEFAULT NULL,
    OUT next_cursor text, OUT bundle_id bigint, OUT add text[], OUT remove text[], OUT repair text[]
)
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path = pg_catalog, pg_temp
AS $$
#variable_conflict use_column
DECLARE
    v_open record;
    v_base bigint;
    v_held jsonb;
    v_lost text[];
    v_nothing boolean;
BEGIN
    SELECT * INTO v_open FROM tide.open_cursor(connect_buckets.user_id, connect_buckets.source_id, CASE WHEN positions IS NULL THEN read_cursor END);
    v_held := v_open.held;
    v_base := v_open.bundle_id;
    add := v_open.add;
    remove := v_open.remove;
    repair := v_open.repair;
    IF positions IS NOT NULL THEN
        -- The push has left rows of its bundle_id, of which no position tells yet.
        SELECT coalesce(jsonb_object_agg(p.bucket_id, p.bundle_id), '{}'), min(p.bundle_id), coalesce(greatest(max(p.bundle_id), tide.reached_by(pushed)), 0),
               max(p.seal_id), (array_agg(p.identity ORDER BY p.seal_id DESC NULLS LAST))[1]
          INTO v_held, v_base, bundle_id, v_open.seal_id, v_open.identity
          FROM tide.read_positions(positions, pushed) AS p;
        v_lost := tide.lost_buckets(v_held, v_base);
        add := ARRAY(SELECT a FROM unnest(v_open.access) AS a WHERE NOT jsonb_exists(v_held, a));
        remove := ARRAY(SELECT k FROM jsonb_object_keys(v_held) AS k EXCEPT SELECT a FROM unnest(v_open.access) AS a ORDER BY 1);
        repair := ARRAY(SELECT h.key FROM jsonb_each(v_held) AS h WHERE h.value = 'null' OR h.key IN (SELECT unnest(v_lost)) EXCEPT SELECT r FROM unnest(remove) AS r ORDER BY 1);
    END IF;
    IF repair <> '{}' THEN
        PERFORM tide.note_stale(connect_buckets.user_id, connect_buckets.source_id, 'repair', repair);
    END IF;
    SELECT coalesce(jsonb_object_agg(h.key, CASE WHEN h.key IN (SELECT unnest(repair)) THEN 'null' WHEN h.value::bigint <= v_base THEN '0' ELSE h.value END), '{}'),
           coalesce(bool_and(h.key IN (SELECT unnest(repair))), true)
      INTO v_held, v_nothing
      FROM jsonb_each(v_held) AS h
     WHERE h.key NOT IN (SELECT unnest(remove));
    IF v_nothing THEN
        -- Nothing that bundles could go on from.
        v_base := (v_open.head).last_bundle_id;
        v_open.seal_id := (v_open.head).seal_id;
        v_open.identity := (v_open.head).identity;
    END IF;
    next_cursor := tide.write_cursor(v_base, v_open.seal_id, v_open.identity,
        tide.hold_buckets(connect_buckets.user_id, connect_buckets.source_id, v_open.fingerprint, v_held));
END;
$$;
COMMENT ON FUNCTION tide.connect_buckets(text, text, text, json, text) IS
'For a device that reads many buckets, after tide.connect: its next cursor, which buckets to fetch with a snapshot (add; repair, where it holds something older), and which to drop. Without a cursor it holds nothing. With positions ({"bucket": {"bundle_id", "seal"}}) it holds what of them is of this history, and no version of its rows is later than bundle_id; pushed is the seal of its last push of which no pull has told yet. Raises TD032, TD126, TD131 to TD133.';
