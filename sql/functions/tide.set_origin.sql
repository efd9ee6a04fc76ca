CREATE OR REPLACE FUNCTION tide.set_origin(source text, source_bundle_id bigint, label text DEFAULT NULL)
    RETURNS void
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    IF source IS NULL OR source = '' OR octet_length(source) > 512 OR source_bundle_id IS NULL OR source_bundle_id <= 0 OR octet_length(label) > 512 THEN
        RAISE EXCEPTION 'origin is not valid'
            USING ERRCODE = 'TD017',
                  DETAIL  = 'A source has 1 to 512 bytes, its number is positive, a label has at most 512 bytes.',
                  HINT    = 'Number the transactions of a source 1, 2, 3 ...';
    END IF;
    INSERT INTO tide.change_log (table_id, op, payload)
    VALUES (0, 'O', json_build_object('source', source, 'source_bundle_id', source_bundle_id, 'label', label,
                                      'user', nullif(current_setting('app.user_id', true), ''),
                                      'traceparent', substring(current_setting('tide.traceparent', true) FROM '^[0-9a-f]{2}-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}$')));
END;
$$;
COMMENT ON FUNCTION tide.set_origin(text, bigint, text) IS 'Names the source of the current transaction, its number there, and a label; they appear on its bundle together with app.user_id, and with tide.traceparent where that is set to the W3C trace context. The last call counts. Raises TD017.';
