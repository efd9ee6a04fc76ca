CREATE OR REPLACE FUNCTION tide.client_schema(
    user_id text DEFAULT NULL, source_id text DEFAULT NULL,
    OUT version text, OUT newest_version text, OUT tables json
)
    LANGUAGE plpgsql STABLE SECURITY DEFINER
    SET search_path = pg_catalog, pg_temp SET jit = off
AS $$
DECLARE
    v_newest json := tide.describe_tables(NULL);
    -- A device keeps what was registered when it first connected.
    v_known  jsonb := (SELECT k.tables
                         FROM tide.source AS s
                         JOIN tide.setting AS t ON t.shape_id <> s.shape_id
                         JOIN tide.shape AS k ON k.shape_id = s.shape_id
                        WHERE s.user_id = client_schema.user_id AND s.source_id = client_schema.source_id);
BEGIN
    tables := CASE WHEN v_known IS NULL THEN v_newest ELSE tide.describe_tables(v_known) END;
    version := encode(substr(sha256(convert_to(tables::text, 'UTF8')), 1, 16), 'hex');
    newest_version := encode(substr(sha256(convert_to(v_newest::text, 'UTF8')), 1, 16), 'hex');
END;
$$;
COMMENT ON FUNCTION tide.client_schema(text, text) IS
'Tables, columns and keys for devices to make their own tables from: what a device of a user gets, or without one what a new device would get. version names what is told, newest_version what a new device would be told.';
