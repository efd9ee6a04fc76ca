-- A device keeps what was registered when it came, also when it goes on under another name.
CREATE OR REPLACE FUNCTION tide.meet_source(user_id text, source_id text)
    RETURNS void
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    INSERT INTO tide.source (user_id, source_id, shape_id, kind)
    SELECT meet_source.user_id, meet_source.source_id,
           coalesce((SELECT o.shape_id
                       FROM tide.source_replacement AS r JOIN tide.source AS o ON o.user_id = r.user_id AND o.source_id = r.source_id
                      WHERE r.user_id = meet_source.user_id AND r.new_source_id = meet_source.source_id),
                    t.shape_id, tide.shape_of('{}')),
           coalesce((SELECT o.kind
                       FROM tide.source_replacement AS r JOIN tide.source AS o ON o.user_id = r.user_id AND o.source_id = r.source_id
                      WHERE r.user_id = meet_source.user_id AND r.new_source_id = meet_source.source_id), 'v1')
      FROM tide.setting AS t
        ON CONFLICT DO NOTHING;
END;
$$;
COMMENT ON FUNCTION tide.meet_source(text, text) IS 'Notes a device that is seen for the first time. Internal.';
