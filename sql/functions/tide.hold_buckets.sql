-- A device may come back with the cursor it used last, because an answer was lost: the list of that one
-- is kept, beside the newest ones.
CREATE OR REPLACE FUNCTION tide.hold_buckets(user_id text, source_id text, used bytea, held jsonb)
    RETURNS bytea
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path = pg_catalog, pg_temp
AS $$
#variable_conflict use_column
DECLARE
    v_fingerprint bytea := substr(sha256(convert_to(held::text, 'UTF8')), 1, 16);
BEGIN
    INSERT INTO tide.source_buckets AS b (user_id, source_id, fingerprint, held)
    VALUES (hold_buckets.user_id, hold_buckets.source_id, v_fingerprint, hold_buckets.held)
        ON CONFLICT (user_id, source_id, fingerprint) DO NOTHING;
    DELETE FROM tide.source_buckets AS b
     WHERE b.user_id = hold_buckets.user_id AND b.source_id = hold_buckets.source_id
       AND b.fingerprint <> v_fingerprint AND b.fingerprint IS DISTINCT FROM used
       AND b.fingerprint NOT IN (SELECT n.fingerprint FROM tide.source_buckets AS n
                                  WHERE n.user_id = hold_buckets.user_id AND n.source_id = hold_buckets.source_id
                                  ORDER BY n.written_at DESC LIMIT 3);
    RETURN v_fingerprint;
END;
$$;
COMMENT ON FUNCTION tide.hold_buckets(text, text, bytea, jsonb) IS 'Remembers which buckets a device holds, and returns the fingerprint of the list. Internal.';
