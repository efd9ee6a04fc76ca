-- Set-based, in the order of the key so that several runtimes do not wait for each other in a circle,
-- and without a write where nothing is new.
CREATE OR REPLACE FUNCTION tide.note_clients(clients json)
    RETURNS void
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    INSERT INTO tide.client AS c (user_id, source_id, app_version, platform, device_name, last_seen_at)
    SELECT DISTINCT ON (s.user_id, s.source_id)
           s.user_id, s.source_id, left(n.app_version, 200), left(n.platform, 200), left(n.device_name, 200), clock_timestamp()
      FROM json_to_recordset(clients) AS n (user_id text, source_id text, app_version text, platform text, device_name text)
      JOIN tide.source AS s ON s.user_id = n.user_id COLLATE "C" AND s.source_id = n.source_id COLLATE "C"
     WHERE num_nulls(n.app_version, n.platform, n.device_name) = 0
     ORDER BY s.user_id, s.source_id
        ON CONFLICT (user_id, source_id) DO UPDATE
       SET app_version = coalesce(nullif(excluded.app_version, ''), c.app_version), platform = coalesce(nullif(excluded.platform, ''), c.platform),
           device_name = coalesce(nullif(excluded.device_name, ''), c.device_name), last_seen_at = excluded.last_seen_at
     WHERE excluded.app_version NOT IN ('', c.app_version) OR excluded.platform NOT IN ('', c.platform) OR excluded.device_name NOT IN ('', c.device_name)
        OR c.last_seen_at <= excluded.last_seen_at - interval '1 hour';
END;
$$;
COMMENT ON FUNCTION tide.note_clients(json) IS 'Notes what devices said of themselves: [{"user_id", "source_id", "app_version", "platform", "device_name"}, ...], of which those that never connected are left out. Empty is what they did not say now.';
