CREATE OR REPLACE FUNCTION tide.take_back(statement text, table_id integer)
    RETURNS void
    LANGUAGE plpgsql
    SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    -- Another table of the same schema still needs it, and takes over the duty.
    IF statement ~ '^GRANT USAGE' THEN
        UPDATE tide.synced_table AS s
           SET granted = array_append(s.granted, statement)
         WHERE s.table_id = (SELECT o.table_id
                               FROM tide.synced_table AS o JOIN pg_class AS c ON c.oid = o.relation
                              WHERE o.unregistered_at IS NULL AND o.table_id <> take_back.table_id
                                AND (statement = format('GRANT USAGE ON SCHEMA %s TO tide_owner', c.relnamespace::regnamespace)
                                     OR o.push_policy = 'rls' AND statement = format('GRANT USAGE ON SCHEMA %s TO %I', c.relnamespace::regnamespace, (SELECT t.client_role FROM tide.setting AS t)))
                              LIMIT 1);
        IF FOUND THEN
            RETURN;
        END IF;
    END IF;
    EXECUTE CASE
                WHEN statement ~ '^GRANT' THEN regexp_replace(statement, '^GRANT (.*) TO (.*)$', 'REVOKE \1 FROM \2')
                ELSE regexp_replace(statement, '^CREATE (POLICY tide_owner_reads ON .*) FOR SELECT TO tide_owner USING \(true\)$', 'DROP \1')
            END;
EXCEPTION
    -- The table, schema or partition is gone, or was renamed and its grant taken back by hand.
    WHEN undefined_table OR invalid_schema_name OR undefined_object THEN
        RAISE NOTICE 'could not take back: %', statement USING DETAIL = sqlerrm;
END;
$$;
COMMENT ON FUNCTION tide.take_back(text, integer) IS 'Undoes one statement of tide.missing_grants. Internal.';
