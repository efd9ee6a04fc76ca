-- A device that was copied numbers on in each copy. What one of them pushed must not be the answer to another one.
CREATE OR REPLACE FUNCTION tide.is_committed(user_id text, source_id text, source_bundle_id bigint, bundle_uuid uuid DEFAULT NULL)
    RETURNS boolean
    LANGUAGE plpgsql STABLE SECURITY DEFINER
    SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    v_other boolean;
BEGIN
    SELECT p.bundle_uuid <> is_committed.bundle_uuid INTO v_other FROM tide.push_log AS p
     WHERE p.user_id = is_committed.user_id AND p.source_id = is_committed.source_id AND p.source_bundle_id = is_committed.source_bundle_id;
    IF v_other THEN
        RAISE EXCEPTION 'push % of this source was another one', source_bundle_id
            USING ERRCODE = 'TD113', DETAIL = 'The device is a copy of the one that made it, or was restored to what it was before.', HINT = 'Rebuild from a snapshot, as a new source.';
    END IF;
    RETURN FOUND;
END;
$$;
COMMENT ON FUNCTION tide.is_committed(text, text, bigint, uuid) IS 'Whether a push with this number was accepted. Raises TD113 when it has another bundle_uuid.';
