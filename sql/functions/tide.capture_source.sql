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
    v_again     text := CASE WHEN event IN ('UPDATE', 'DELETE') THEN format('tide.capture_read_back_statement(%s, %L, ''$1'', ''$2'')', table_id, event) END;
    v_altered   text := format(CASE WHEN v_again IS NULL THEN '%2$s' ELSE 'CASE WHEN tide_earlier = ''on'' THEN %1$s ELSE %2$s END' END,
                               v_again, format('tide.capture_statement(%s, %L)', table_id, event));
    v_order     text := '';
    v_shape     text;
    v_paused    boolean := (SELECT s.paused_at IS NOT NULL FROM tide.setting AS s);
BEGIN
    SELECT * INTO STRICT v_table FROM tide.synced_table AS s WHERE s.table_id = capture_source.table_id;

    -- By its number: names change.
    v_shape := format('tide.has_shape(%s, %L, %L)', table_id, tide.capture_shape(table_id), v_table.relation::oid);

    IF tide.needs_read_back(v_table.relation) THEN
        v_altered := format('tide.capture_statement(%s, %L)', table_id, event);
        v_order := $body$    tide_order := tide.take_order(TG_RELID, TG_OP);
    tide_nested := currval('tide.change_id') <> tide_order;
$body$;
    END IF;
    IF event = 'TRUNCATE' THEN
        v_body := format($body$    PERFORM tide.capture_truncate(%s, TG_RELID);
$body$, table_id);
    ELSIF v_paused THEN
        -- Made at every write: nothing that is wrong with the table now may keep anybody from pausing.
        v_body := format($body$    tide_earlier := current_setting('tide.captured', true);
    PERFORM set_config('tide.captured', 'on', true);
%s    EXECUTE %s USING tide_order, tide_nested;
$body$, v_order, v_altered);
    ELSIF v_order <> '' THEN
        v_body := format($body$%s    IF %s THEN%s;
    ELSE
        EXECUTE %s USING tide_order, tide_nested;
    END IF;
$body$, v_order, v_shape, tide.capture_statement(table_id, event, 'tide_order', 'tide_nested'), v_altered);
    ELSE
        v_statement := tide.capture_statement(table_id, event) || ';';
        IF v_again IS NOT NULL THEN
            v_statement := format($body$
        -- In two steps: the second costs as much as a query.
        IF tide_earlier = 'on' THEN
            tide_again := %s;
        END IF;
        IF tide_again THEN
            EXECUTE %s USING tide_order, tide_nested;
        ELSE%s
        END IF;$body$, tide.capture_again_condition(table_id, event), v_again, v_statement);
        END IF;
        -- Only if the transaction captured something earlier can a key that went have come in the same statement.
        IF event = 'UPDATE' THEN
            -- One look at the transition table tells whether there is anything.
            v_statement := format($body$
        SELECT count(*) INTO tide_rows FROM (SELECT FROM updated LIMIT 2) AS few;
        IF tide_rows = 1 THEN%s;
        END IF;
        -- Several rows; or one, equal or under another key.
        IF tide_rows > 1 OR tide_rows = 1 AND NOT FOUND THEN%s
        END IF;$body$, tide.capture_statement(table_id, 'UPDATE ONE'), v_statement);
        END IF;
        v_body := format($body$%s    IF %s THEN%s
    ELSE
        EXECUTE %s USING tide_order, tide_nested;
    END IF;
$body$,
            concat(CASE WHEN event <> 'INSERT' THEN E'    tide_earlier := current_setting(''tide.captured'', true);\n' END,
                   CASE WHEN event <> 'DELETE' THEN E'    tide_noted := set_config(''tide.captured'', ''on'', true);\n' END), v_shape, v_statement, v_altered);
    END IF;
    IF v_paused THEN
        v_body := format($body$    -- Paused by tide.pause(). But a part of a transaction is no state of the database: one of which
    -- something was captured before is captured to its end.
    IF NOT EXISTS (SELECT FROM tide.change_log AS c WHERE c.xid = pg_current_xact_id_if_assigned()) THEN
        RETURN NULL;
    END IF;
%s$body$, v_body);
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
    RETURN format(E'\nDECLARE\n    tide_rows    bigint;\n    tide_earlier text;\n    tide_noted   text;\n    tide_again   boolean;\n    tide_order   bigint;\n    tide_nested  boolean := false;\nBEGIN\n%s    RETURN NULL;\nEND;\n', v_body);
END;
$$;
COMMENT ON FUNCTION tide.capture_source(integer, text) IS 'Body of a capture function, as it would be written now. Raises TD012. Internal.';
