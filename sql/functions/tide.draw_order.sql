-- Statements nest, so the drawn numbers of one table and event form a stack. It lives in a setting
-- of the transaction: when a savepoint is rolled back, so is the stack.
CREATE OR REPLACE FUNCTION tide.draw_order()
    RETURNS trigger
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    v_stack text := format('tide.order_%s_%s', TG_RELID, lower(TG_OP));
BEGIN
    PERFORM set_config(v_stack, concat_ws(',', nextval('tide.change_id'), nullif(current_setting(v_stack, true), '')), true);
    RETURN NULL;
END;
$$;
COMMENT ON FUNCTION tide.draw_order() IS 'Trigger function: draws the order of a statement before it, and before the statements that its row triggers run. Internal.';
