-- Variables of the written function begin with tide_, as a column of the table could have any other name.
CREATE OR REPLACE FUNCTION tide.capture_source(table_id integer, event text)
    RETURNS text
    LANGUAGE plpgsql STABLE
    SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    v_table     tide.synced_table;
    v_body      text;
    v_statement text;
    v_altered   text;
    v_again     text;
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
        v_statement := tide.capture_statement(table_id, event) || ';';
        v_altered := format('tide.capture_statement(%s, %L)', table_id, event);
        IF event IN ('UPDATE', 'DELETE') THEN
            v_again := format('tide.capture_read_back_statement(%s, %L, ''$1'', ''$2'')', table_id, event);
            v_altered := format('CASE WHEN tide_earlier = ''on'' THEN %s ELSE %s END', v_again, v_altered);
            v_statement := format($body$
        -- In two steps: the second costs as much as a query.
        IF tide_earlier = 'on' THEN
            tide_again := %s;
        END IF;
        IF tide_again THEN
            EXECUTE %s USING NULL::bigint, false;
        ELSE%s
        END IF;$body$, tide.capture_again_condition(table_id, event), v_again, v_statement);
        END IF;
        IF event = 'UPDATE' THEN
            v_statement := format($body$
        IF tide_rows = 1 THEN%s;
        END IF;
        -- Several rows; or one, equal or under another key.
        IF tide_rows > 1 OR NOT FOUND THEN%s
        END IF;$body$, tide.capture_statement(table_id, 'UPDATE ONE'), v_statement);
        END IF;
        -- One look at the transition table tells whether there is anything, and, as has_shape is
        -- folded into its plan, whether the table was altered since this function was written. Only if
        -- the transaction captured something earlier can a key that went have come in the same statement.
        v_body := format($body$    SELECT CASE WHEN tide.has_shape(%1$s, %2$L) THEN count(*) ELSE -1 END%6$s FROM (SELECT FROM %3$s LIMIT 2) AS few;
    IF tide_rows > 0 THEN%4$s
    ELSIF tide_rows < 0 THEN
        EXECUTE %5$s USING NULL::bigint, false;
    END IF;
$body$,
            table_id, tide.capture_shape(table_id), lower(event) || CASE event WHEN 'INSERT' THEN 'ed' ELSE 'd' END, v_statement, v_altered,
            CASE event
                WHEN 'INSERT' THEN ', set_config(''tide.captured'', ''on'', true) INTO tide_rows, tide_earlier'
                WHEN 'UPDATE' THEN ', current_setting(''tide.captured'', true), set_config(''tide.captured'', ''on'', true) INTO tide_rows, tide_earlier'
                ELSE ', current_setting(''tide.captured'', true) INTO tide_rows, tide_earlier'
            END);
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
    RETURN format(E'\nDECLARE\n    tide_rows    bigint;\n    tide_earlier text;\n    tide_again   boolean;\n    tide_order   bigint;\n    tide_nested  boolean;\nBEGIN\n%s    RETURN NULL;\nEND;\n', v_body);
END;
$$;
COMMENT ON FUNCTION tide.capture_source(integer, text) IS 'Body of a capture function, as it would be written now. Raises TD012. Internal.';
