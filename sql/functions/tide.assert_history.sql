CREATE OR REPLACE FUNCTION tide.assert_history(seal text)
    RETURNS void
    LANGUAGE plpgsql STABLE SECURITY DEFINER
    SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    IF tide.reached_by(seal) IS NOT NULL THEN
        RETURN;
    END IF;
    IF pg_is_in_recovery() AND split_part(seal, '-', 1)::bigint > (SELECT h.seal_id FROM tide.head_seal() AS h) THEN
        RAISE EXCEPTION 'this server has not received so much yet'
            USING ERRCODE = 'TD126', HINT = 'Try again.';
    END IF;
    RAISE EXCEPTION 'a push of this device is not of this history'
        USING ERRCODE = 'TD131',
              DETAIL  = 'The database went back to an earlier state, or is another one.',
              HINT    = 'Connect with the positions of the buckets and the seal of the push, and fetch those that are named.';
END;
$$;
COMMENT ON FUNCTION tide.assert_history(text) IS 'Refuses a device that has the answer to a push which this database knows nothing of, by its seal. Raises TD126, TD131, TD133.';
