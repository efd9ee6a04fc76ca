-- A bucket needs no repair when the last bundle that the device applied of it is one of this history: what
-- came after it in the bucket is sent from there on. A push that was answered and is not of this history may
-- have left rows in any of them.
CREATE OR REPLACE FUNCTION tide.read_positions(positions json, pushed text)
    RETURNS TABLE (bucket_id text, bundle_id bigint, seal_id bigint, identity uuid)
    LANGUAGE plpgsql STABLE SECURITY DEFINER
    SET search_path = pg_catalog, pg_temp
    SET enable_seqscan = off SET jit = off
AS $$
#variable_conflict use_column
DECLARE
    v_whole boolean := pushed IS NULL OR tide.reached_by(pushed) IS NOT NULL;
BEGIN
    IF json_typeof(positions) <> 'object' OR EXISTS (
           SELECT FROM json_each(positions) AS p (key, value)
            WHERE CASE WHEN json_typeof(p.value) = 'object'
                       THEN coalesce(p.value ->> 'bundle_id', '') !~ '^\d{1,18}$'
                            OR coalesce(p.value ->> 'seal', '') !~ '^\d{1,18}-[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$'
                       ELSE true END) THEN
        RAISE EXCEPTION 'the positions cannot be read'
            USING ERRCODE = 'TD133', HINT = 'Send {"<bucket>": {"bundle_id": n, "seal": "..."}}, as they came with the last bundle or snapshot of each bucket.';
    END IF;
    RETURN QUERY
    SELECT p.key, CASE WHEN v_whole AND s.seal_id IS NOT NULL AND p.bundle_id <= s.last_bundle_id THEN p.bundle_id END, s.seal_id, s.identity
      FROM (SELECT e.key, (e.value ->> 'bundle_id')::bigint AS bundle_id, split_part(e.value ->> 'seal', '-', 1)::bigint AS seal_id,
                   substr(e.value ->> 'seal', 1 + strpos(e.value ->> 'seal', '-'))::uuid AS identity
              FROM (SELECT DISTINCT ON (d.key) d.key, d.value FROM json_each(positions) AS d (key, value) ORDER BY d.key) AS e) AS p
      LEFT JOIN tide.seal_log AS s ON s.seal_id = p.seal_id AND s.identity = p.identity;
END;
$$;
COMMENT ON FUNCTION tide.read_positions(json, text) IS 'Where a device stands in each bucket, bundle_id NULL where that is not of this history, and everywhere if the push sealed so is not. Raises TD133. Internal.';
