-- Stands in a rule for what cannot be judged any more: whoever judges a row by it gets the error, and
-- writing rows of other tables goes on.
CREATE OR REPLACE FUNCTION tide.lost_column(relation text)
    RETURNS text[]
    LANGUAGE plpgsql STABLE
    SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    RAISE EXCEPTION 'table % has lost a column that its bucket rule needs', relation
        USING ERRCODE = 'TD012', HINT = format('Register it anew: SELECT tide.register_table(%L, ...).', relation);
END;
$$;
COMMENT ON FUNCTION tide.lost_column(text) IS 'Raises TD012. Internal.';
