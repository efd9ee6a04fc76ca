CREATE OR REPLACE FUNCTION tide.keep_reading(table_id integer)
    RETURNS boolean
    LANGUAGE plpgsql
    SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    v_reading tide.reading := tide.make_reading(table_id);
BEGIN
    IF (SELECT r FROM tide.reading AS r WHERE r.table_id = keep_reading.table_id) IS NOT DISTINCT FROM v_reading THEN
        RETURN false;
    END IF;
    INSERT INTO tide.reading AS r SELECT v_reading.*
        ON CONFLICT ON CONSTRAINT reading_pkey DO UPDATE
       SET (shape, row_key, payload, buckets, deleted, key_match, key_order, owner, owner_type, owner_equality, owner_exact)
         = (excluded.shape, excluded.row_key, excluded.payload, excluded.buckets, excluded.deleted, excluded.key_match, excluded.key_order,
            excluded.owner, excluded.owner_type, excluded.owner_equality, excluded.owner_exact);
    RETURN true;
END;
$$;
COMMENT ON FUNCTION tide.keep_reading(integer) IS 'Keeps how the rows of a table are read, where that is not what is kept, and says whether it did. Raises TD012. Internal.';
