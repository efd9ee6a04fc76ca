CREATE OR REPLACE FUNCTION tide.begin_push(user_id text, claims json)
    RETURNS void
    LANGUAGE plpgsql
    SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    IF current_setting('transaction_isolation') <> 'read committed' THEN
        RAISE EXCEPTION 'a push must run under READ COMMITTED, not %', upper(current_setting('transaction_isolation'))
            USING ERRCODE = 'TD128', DETAIL = 'It judges rows after it has locked them, in a newer snapshot.', HINT = 'Begin another transaction.';
    END IF;
    -- What triggers and policies know of the caller. His changes are captured also when they change nothing, so that every push has an answer.
    PERFORM set_config('app.user_id', user_id, true),
            set_config('request.jwt.claims', coalesce(claims::text, json_build_object('sub', user_id)::text), true),
            set_config('tide.capture_equal', 'on', true);
END;
$$;
COMMENT ON FUNCTION tide.begin_push(text, json) IS 'Sets the identity of the caller for this transaction. Raises TD128. Internal.';
