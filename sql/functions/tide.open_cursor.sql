-- What every request of a cursor client begins with: is the position of this history, which buckets does
-- the device hold, and which may its user read now.
CREATE OR REPLACE FUNCTION tide.open_cursor(
    user_id text, source_id text, read_cursor text,
    OUT bundle_id bigint, OUT seal_id bigint, OUT identity uuid, OUT fingerprint bytea, OUT held jsonb,
    OUT head tide.seal_log, OUT access text[], OUT add text[], OUT remove text[], OUT repair text[], OUT ready boolean
)
    LANGUAGE plpgsql STABLE SECURITY DEFINER
    SET search_path = pg_catalog, pg_temp
AS $$
#variable_conflict use_column
DECLARE
    v_seal tide.seal_log;
    v_lost text[] := '{}';
BEGIN
    access := tide.buckets_of(open_cursor.user_id);
    SELECT s.* INTO head FROM tide.seal_log AS s WHERE s.cut_change_id IS NULL ORDER BY s.seal_id DESC LIMIT 1;
    held := '{}';
    IF coalesce(read_cursor, '') <> '' THEN
        SELECT r.bundle_id, r.seal_id, r.identity, r.fingerprint INTO bundle_id, seal_id, identity, fingerprint FROM tide.read_cursor(open_cursor.read_cursor) AS r;
        SELECT s.* INTO v_seal FROM tide.seal_log AS s WHERE s.seal_id = open_cursor.seal_id;
        IF v_seal.identity IS DISTINCT FROM identity OR bundle_id NOT BETWEEN 0 AND head.last_bundle_id THEN
            IF pg_is_in_recovery() AND seal_id > head.seal_id THEN
                RAISE EXCEPTION 'this server has not received so much yet'
                    USING ERRCODE = 'TD126', HINT = 'Try again.';
            END IF;
            RAISE EXCEPTION 'the position is not of this history'
                USING ERRCODE = 'TD131',
                      DETAIL  = 'The database went back to an earlier state, or is another one.',
                      HINT    = 'Connect with the positions of the buckets, and fetch those that are named.';
        END IF;
        SELECT b.held INTO held FROM tide.source_buckets AS b
         WHERE b.user_id = open_cursor.user_id AND b.source_id = open_cursor.source_id AND b.fingerprint = open_cursor.fingerprint;
        IF held IS NULL THEN
            RAISE EXCEPTION 'it is not known which buckets this device holds'
                USING ERRCODE = 'TD132', HINT = 'Connect with the positions of the buckets.';
        END IF;
        v_lost := tide.lost_buckets(held, bundle_id);
    END IF;
    add := ARRAY(SELECT a FROM unnest(access) AS a WHERE NOT jsonb_exists(held, a));
    remove := '{}';
    -- As many as there are, all of them his: none is to be removed.
    IF cardinality(access) - cardinality(add) < (SELECT count(*) FROM jsonb_object_keys(held)) THEN
        remove := ARRAY(SELECT k FROM jsonb_object_keys(held) AS k EXCEPT SELECT a FROM unnest(access) AS a ORDER BY 1);
    END IF;
    repair := ARRAY(SELECT h.key FROM jsonb_each(held) AS h WHERE h.value = 'null' OR h.key IN (SELECT unnest(v_lost)) EXCEPT SELECT r FROM unnest(remove) AS r ORDER BY 1);
    -- The position goes on only with all that the list says: what was passed over would never come.
    ready := remove = '{}' AND v_lost = '{}';
END;
$$;
COMMENT ON FUNCTION tide.open_cursor(text, text, text) IS
'Reads a cursor, NULL for none: the position, the held buckets, and what is to be fetched (add, repair) or dropped (remove). ready: bundles may be sent. Raises TD032, TD126, TD131 to TD133. Internal.';
