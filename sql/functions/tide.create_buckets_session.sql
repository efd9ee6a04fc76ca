CREATE OR REPLACE FUNCTION tide.create_buckets_session(
    user_id text, source_id text, read_cursor text, buckets text[], bundle_id bigint, seal_id bigint, identity uuid,
    OUT snapshot_id uuid, OUT row_count bigint, OUT byte_count bigint, OUT expires_at timestamptz, OUT next_cursor text, OUT wanted text[]
)
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    v_shown jsonb;
BEGIN
    SELECT o.next_cursor, o.wanted, o.shown INTO next_cursor, wanted, v_shown
      FROM tide.open_buckets(user_id, source_id, read_cursor, buckets, bundle_id, seal_id, identity) AS o;
    SELECT b.snapshot_id, b.expires_at INTO snapshot_id, expires_at FROM tide.begin_snapshot_session(user_id, source_id, bundle_id, wanted) AS b;
    SELECT f.row_count, f.byte_count INTO row_count, byte_count FROM tide.fill_snapshot_session(snapshot_id, user_id, source_id, wanted, v_shown) AS f;
END;
$$;
COMMENT ON FUNCTION tide.create_buckets_session(text, text, text, text[], bigint, bigint, uuid) IS
'Copies the rows of buckets of a user, NULL for all that the device lacks, like tide.create_snapshot_session; bundle_id, seal_id and identity are those that tide.head_seal gave after the seal. next_cursor is for when all rows are applied. Raises what that does, and TD032, TD131 to TD134.';
