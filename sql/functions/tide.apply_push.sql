-- A refused push leaves nothing, not even its number: it runs in a subtransaction that ends with it.
CREATE OR REPLACE FUNCTION tide.apply_push(
    user_id text, source_id text, source_bundle_id bigint, rows tide.pushed_row[], initialization_id uuid, bundle_uuid uuid,
    OUT status text, OUT conflicts json, OUT rejected json, OUT unsealed boolean
)
    LANGUAGE plpgsql
    SET search_path = pg_catalog, pg_temp
AS $$
#variable_conflict use_variable
DECLARE
    v_revived bigint[];
    v_new     boolean;
    v_known   boolean;
BEGIN
    -- New rows need not be looked for first: to write them takes their keys, and then it shows whether they were there.
    SELECT bool_and(r.op = 'I' AND r.base = 0), bool_and(r.known) INTO v_new, v_known FROM unnest(rows) AS r;
    FOR v_try IN 1 .. 2 LOOP
        status := NULL;
        BEGIN
            IF NOT tide.claim_push(user_id, source_id, source_bundle_id, cardinality(rows), initialization_id, bundle_uuid) THEN
                status := 'already_committed';
                EXIT;
            END IF;
            IF NOT v_known THEN
                rejected := tide.unknown_columns(rows);
            END IF;
            WHILE rejected IS NULL LOOP
                IF NOT v_new THEN
                    SELECT f.conflicts, f.rejected, f.unsealed, f.revived INTO conflicts, rejected, unsealed, v_revived FROM tide.find_conflicts(rows, user_id, source_id) AS f;
                    EXIT WHEN conflicts IS NOT NULL OR rejected IS NOT NULL;
                END IF;
                BEGIN
                    SET CONSTRAINTS ALL DEFERRED;
                    PERFORM tide.write_pushed(CASE WHEN v_revived IS NULL THEN rows ELSE tide.revive_rows(rows, v_revived) END, user_id);
                    IF v_new AND EXISTS (SELECT FROM tide.judge_push(user_id, rows, NULL, NULL)) THEN
                        RAISE EXCEPTION 'a row was there before' USING ERRCODE = 'TD100', HINT = 'It is judged like any other.';
                    END IF;
                    status := 'applied';
                EXCEPTION
                    WHEN OTHERS THEN
                        IF tide.is_retryable(sqlstate) THEN
                            RAISE;
                        END IF;
                        v_new := v_new AND sqlstate IN ('TD100', '23505');
                END;
                EXIT WHEN status IS NOT NULL OR NOT v_new;
                v_new := false;
            END LOOP;
            IF rejected IS NULL AND conflicts IS NULL THEN
                IF status IS NULL THEN
                    PERFORM tide.renew_push_functions(rows);
                    rejected := tide.unknown_columns(rows);
                END IF;
                IF status IS NULL AND rejected IS NULL THEN
                    -- The key of an insert may have appeared meanwhile.
                    SELECT f.conflicts, f.rejected, f.unsealed, f.revived INTO conflicts, rejected, unsealed, v_revived FROM tide.find_conflicts(rows, user_id, source_id) AS f;
                    IF conflicts IS NULL AND rejected IS NULL THEN
                        rejected := tide.write_pushed_otherwise(tide.revive_rows(rows, v_revived), user_id);
                    END IF;
                END IF;
                IF conflicts IS NULL AND rejected IS NULL THEN
                    rejected := tide.rows_elsewhere(rows, user_id);
                END IF;
                IF conflicts IS NULL AND rejected IS NULL THEN
                    PERFORM tide.call_push_hook(user_id, source_id, source_bundle_id, rows);
                END IF;
            END IF;
            IF conflicts IS NOT NULL OR rejected IS NOT NULL THEN
                RAISE EXCEPTION 'refused' USING ERRCODE = 'TD100', HINT = 'The conflicts or the rejected rows say why.';
            END IF;
            status := 'applied';
            EXIT;
        EXCEPTION
            WHEN SQLSTATE 'TD100' THEN
                status := CASE WHEN conflicts IS NOT NULL THEN 'conflict' ELSE 'rejected' END;
                IF conflicts IS NOT NULL THEN
                    PERFORM tide.queue_conflict(user_id, source_id, source_bundle_id, conflicts);
                END IF;
                EXIT;
            WHEN syntax_error_or_access_rule_violation THEN
                -- The table was altered since its functions were written, perhaps.
                IF v_try = 2 THEN
                    RAISE;
                END IF;
                PERFORM tide.renew_push_functions(rows);
                v_known := false; -- by the functions of before
        END;
    END LOOP;
    unsealed := coalesce(unsealed, false);
END;
$$;
COMMENT ON FUNCTION tide.apply_push(text, text, bigint, tide.pushed_row[], uuid, uuid) IS 'Takes the number of a push, locks, judges and writes its rows; status applied, already_committed, conflict or rejected. Internal.';
