-- Row-level security would not raise an error, it would hide rows, and hidden rows look deleted.
CREATE OR REPLACE FUNCTION tide.assert_readable(relation regclass)
    RETURNS void
    LANGUAGE plpgsql STABLE
    SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    v_problem text := tide.read_problem(relation);
BEGIN
    IF v_problem IS NOT NULL THEN
        RAISE EXCEPTION 'pgtide cannot read all rows of %', relation
            USING ERRCODE = 'TD011',
                  DETAIL  = v_problem,
                  HINT    = format('As the owner of the table: SELECT tide.refresh(%L); where a RESTRICTIVE policy applies to everybody, limit it with ALTER POLICY ... TO, or let a superuser ALTER ROLE tide_owner BYPASSRLS.', relation);
    END IF;
END;
$$;
COMMENT ON FUNCTION tide.assert_readable(regclass) IS 'Raises TD011 unless tide_owner can read every row of the table. Internal.';
