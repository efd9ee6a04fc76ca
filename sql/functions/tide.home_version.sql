CREATE OR REPLACE FUNCTION tide.home_version(user_id text, changed_by xid8)
    RETURNS bigint
    LANGUAGE plpgsql STABLE SECURITY DEFINER
    SET search_path = pg_catalog, pg_temp
    SET enable_seqscan = off SET jit = off
AS $$
DECLARE
    v_bundle_id bigint;
    v_version   bigint;
BEGIN
    IF tide.is_cursor_push() THEN
        RETURN CASE WHEN changed_by IS NULL THEN tide.head() ELSE tide.position_of(changed_by) END;
    END IF;
    IF changed_by IS NOT NULL THEN
        v_bundle_id := tide.position_of(changed_by);
        IF v_bundle_id IS NULL THEN
            RETURN NULL;
        END IF;
        v_version := (SELECT l.bundle_seq FROM tide.bundle_log AS l
                       WHERE l.bucket_id = tide.home_bucket(home_version.user_id) COLLATE "C" AND l.bundle_id <= v_bundle_id
                       ORDER BY l.bundle_id DESC LIMIT 1);
    END IF;
    -- Where it was there before the bucket began, or came into it when its table was read.
    RETURN coalesce(v_version, (SELECT greatest(p.floor_seq, 1) FROM tide.bucket_position(tide.home_bucket(user_id)) AS p));
END;
$$;
COMMENT ON FUNCTION tide.home_version(text, xid8) IS 'Version that a row last changed by this transaction has in the home bucket of a user; NULL while that is not sealed. In the push of a device that reads many buckets, its bundle_id. Internal.';
