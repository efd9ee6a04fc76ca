CREATE OR REPLACE FUNCTION tide.push(
    user_id text, source_id text, INOUT source_bundle_id bigint, rows json, claims json DEFAULT NULL, initialization_id uuid DEFAULT NULL,
    bundle_uuid uuid DEFAULT NULL,
    OUT status text, OUT conflicts json, OUT rejected json, OUT unsealed boolean
)
    LANGUAGE plpgsql
    SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    v_rows tide.pushed_row[];
BEGIN
    PERFORM tide.begin_push(user_id, claims);
    BEGIN
        v_rows := tide.parse_push(rows);
    EXCEPTION
        -- The answer to a retry does not depend on what its rows mean by now.
        WHEN OTHERS THEN
            IF NOT tide.is_committed(user_id, source_id, source_bundle_id, bundle_uuid) THEN
                RAISE;
            END IF;
            status := 'already_committed';
            unsealed := false;
            RETURN;
    END;
    SELECT a.status, a.conflicts, a.rejected, a.unsealed
      INTO status, conflicts, rejected, unsealed
      FROM tide.apply_push(user_id, source_id, source_bundle_id, v_rows, initialization_id, bundle_uuid) AS a;
END;
$$;
COMMENT ON FUNCTION tide.push(text, text, bigint, json, json, uuid, uuid) IS
'Applies one numbered push of a device, whole or not at all, as user_id. status: applied, already_committed (a retry; nothing was done), conflict or rejected (the rows say why; nothing was done). rows is the JSON array of the wire. tide.push_result gives its place in the log after a seal. Raises TD014, TD017, TD100 to TD129.';
