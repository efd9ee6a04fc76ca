CREATE OR REPLACE FUNCTION tide.take_order(relation oid, event text)
    RETURNS bigint
    LANGUAGE plpgsql
    SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    v_stack  text := format('tide.order_%s_%s', relation, lower(event));
    v_orders text := nullif(current_setting(v_stack, true), '');
BEGIN
    IF v_orders IS NULL OR v_orders !~ '^\d{1,18}(,\d{1,18})*$' THEN
        RETURN nextval('tide.change_id');
    END IF;
    PERFORM set_config(v_stack, coalesce(substr(v_orders, nullif(strpos(v_orders, ','), 0) + 1), ''), true);
    RETURN split_part(v_orders, ',', 1)::bigint;
END;
$$;
COMMENT ON FUNCTION tide.take_order(oid, text) IS 'The number that tide.draw_order drew for the statement that ends now. Internal.';
