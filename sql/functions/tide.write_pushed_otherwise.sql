-- After all rows at once have failed: with deletes last; then in the order of the device, each for
-- itself, and what fails again as long as others succeed, as it may need them; then what remains at
-- once, under keys that can wait. What fails even so is refused.
CREATE OR REPLACE FUNCTION tide.write_pushed_otherwise(rows tide.pushed_row[], user_id text)
    RETURNS json
    LANGUAGE plpgsql
    SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    v_waiting    tide.pushed_row[] := ARRAY(SELECT r FROM unnest(rows) AS r ORDER BY r.ordinal);
    v_failed     tide.pushed_row[];
    v_rejected   json[];
    v_row        tide.pushed_row;
    v_state      text;
    v_message    text;
    v_constraint text;
    v_column     text;
BEGIN
    IF 'D' = ANY (ARRAY(SELECT r.op FROM unnest(rows) AS r)) THEN
        BEGIN
            SET CONSTRAINTS ALL DEFERRED;
            PERFORM tide.write_pushed(rows, user_id, false);
            RETURN NULL;
        EXCEPTION
            WHEN OTHERS THEN
                IF tide.is_retryable(sqlstate) THEN
                    RAISE;
                END IF;
        END;
    END IF;
    LOOP
        v_failed := '{}';
        v_rejected := '{}';
        FOREACH v_row IN ARRAY v_waiting LOOP
            BEGIN
                PERFORM tide.write_pushed(ARRAY[v_row], user_id);
            EXCEPTION
                WHEN OTHERS THEN
                    IF tide.is_retryable(sqlstate) THEN
                        RAISE;
                    END IF;
                    -- DETAIL may show values that are not the caller's.
                    GET STACKED DIAGNOSTICS v_state = RETURNED_SQLSTATE, v_message = MESSAGE_TEXT, v_constraint = CONSTRAINT_NAME, v_column = COLUMN_NAME;
                    v_failed := v_failed || v_row;
                    v_rejected := v_rejected || tide.rejection_body(v_row, v_state, v_message, v_constraint, v_column);
            END;
        END LOOP;
        IF cardinality(v_failed) = 0 THEN
            RETURN NULL;
        END IF;
        EXIT WHEN cardinality(v_failed) = cardinality(v_waiting);
        v_waiting := v_failed;
    END LOOP;
    BEGIN
        SET CONSTRAINTS ALL DEFERRED;
        PERFORM tide.write_pushed(v_failed, user_id);
        RETURN NULL;
    EXCEPTION
        WHEN OTHERS THEN
            IF tide.is_retryable(sqlstate) THEN
                RAISE;
            END IF;
    END;
    RETURN array_to_json(v_rejected);
END;
$$;
COMMENT ON FUNCTION tide.write_pushed_otherwise(tide.pushed_row[], text) IS 'Writes the rows of a push in every other order; NULL when one succeeded, else the rows the database refuses, as the wire has them. Internal.';
