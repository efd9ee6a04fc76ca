-- Variables of the written function begin with tide_, as a column of the table could have any other name.
CREATE OR REPLACE FUNCTION tide.capture_source(table_id integer, event text)
    RETURNS text
    LANGUAGE plpgsql STABLE
    SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    v_table tide.synced_table;
    v_body  text;
BEGIN
    SELECT * INTO STRICT v_table FROM tide.synced_table AS s WHERE s.table_id = capture_source.table_id;

    IF (SELECT s.paused_at IS NOT NULL FROM tide.setting AS s) THEN
        RETURN E'\nBEGIN\n    RETURN NULL; -- Paused by tide.pause().\nEND;\n';
    END IF;
    IF event = 'TRUNCATE' THEN
        v_body := format($body$    PERFORM tide.capture_truncate(%s, TG_RELID);
$body$, table_id);
    ELSIF tide.needs_read_back(v_table.relation) THEN
        v_body := format($body$    tide_order := tide.take_order(TG_RELID, TG_OP);
    tide_nested := currval('tide.change_id') <> tide_order;
    IF tide.has_shape(%1$s, %2$L) THEN%3$s;
    ELSE
        EXECUTE tide.capture_statement(%1$s, %4$L) USING tide_order, tide_nested;
    END IF;
$body$, table_id, tide.capture_shape(table_id), tide.capture_statement(table_id, event, 'tide_order', 'tide_nested'), event);
    ELSE
        -- One look at the transition table tells whether there is anything, and, as has_shape is
        -- folded into its plan, whether the table was altered since this function was written.
        v_body := format($body$    SELECT CASE WHEN tide.has_shape(%1$s, %2$L) THEN count(*) ELSE -1 END INTO tide_rows FROM (SELECT FROM %3$s LIMIT 2) AS few;
    IF tide_rows > 0 THEN%4$s%5$s;%6$s
    ELSIF tide_rows < 0 THEN
        EXECUTE tide.capture_statement(%1$s, %7$L) USING NULL::bigint, false;
    END IF;
$body$,
            table_id, tide.capture_shape(table_id), lower(event) || CASE event WHEN 'INSERT' THEN 'ed' ELSE 'd' END,
            CASE event WHEN 'UPDATE' THEN format($body$
        IF tide_rows = 1 THEN%s;
        END IF;
        -- Several rows; or one, equal or under another key.
        IF tide_rows > 1 OR NOT FOUND THEN$body$, tide.capture_statement(table_id, 'UPDATE ONE')) END,
            tide.capture_statement(table_id, event),
            CASE event WHEN 'UPDATE' THEN E'\n        END IF;' END,
            event);
    END IF;
    IF v_table.on_capture_error = 'mark_dirty' THEN
        v_body := format($body$    BEGIN
%s    EXCEPTION
        WHEN OTHERS THEN
            -- Not a failure of capture: the transaction is to be tried again as a whole.
            IF sqlstate LIKE '40%%' THEN
                RAISE;
            END IF;
            PERFORM tide.mark_table(%s, '!', 'capture failed: ' || sqlstate);
    END;
$body$, v_body, table_id);
    END IF;
    RETURN format(E'\nDECLARE\n    tide_rows   bigint;\n    tide_order  bigint;\n    tide_nested boolean;\nBEGIN\n%s    RETURN NULL;\nEND;\n', v_body);
END;
$$;
COMMENT ON FUNCTION tide.capture_source(integer, text) IS 'Body of a capture function, as it would be written now. Raises TD012. Internal.';
