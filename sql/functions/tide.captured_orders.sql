CREATE OR REPLACE FUNCTION tide.captured_orders(table_id integer)
    RETURNS TABLE (row_key text, order_id bigint, image text)
    LANGUAGE plpgsql STABLE
    SET search_path = pg_catalog, pg_temp
AS $$
#variable_conflict use_column
BEGIN
    RETURN QUERY
    SELECT DISTINCT ON (c.row_key) c.row_key, coalesce(c.order_id, c.change_id), coalesce(c.payload, c.deps)::text
      FROM tide.change_log AS c
     WHERE c.xid = pg_current_xact_id() AND c.table_id = captured_orders.table_id AND c.row_key IS NOT NULL
     ORDER BY c.row_key, c.change_id DESC;
END;
$$;
COMMENT ON FUNCTION tide.captured_orders(integer) IS 'What this transaction captured last of each row of a table: its order and the image, NULL for a deletion. Internal.';
