-- Roles and the schema they work in. Everything of pgtide in a database lives in schema tide.
--
-- The roles are shared by all databases of a cluster. A DBA may bring them: then they are used as
-- they are. Those made here say so in their comment, and only those are dropped by an uninstall.

-- +goose Up
-- A function of the same name in another schema of the path would be called, by a superuser perhaps.
SET LOCAL search_path = pg_catalog, pg_temp;
-- +goose StatementBegin
DO $$
DECLARE
    v_role text;
BEGIN
    FOREACH v_role IN ARRAY ARRAY['tide_owner', 'tide_runtime', 'tide_client'] LOOP
        IF to_regrole(v_role) IS NULL THEN
            EXECUTE format('CREATE ROLE %I NOLOGIN', v_role);
            EXECUTE format('COMMENT ON ROLE %I IS %L', v_role, 'made by pgtide');
        END IF;
    END LOOP;
    IF NOT pg_has_role(current_user, 'tide_owner', 'USAGE') THEN
        GRANT tide_owner TO CURRENT_USER;
    END IF;
    -- pg_has_role is true for a superuser in any case, a role that was just made is not one.
    IF NOT pg_has_role('tide_runtime', 'tide_client', 'MEMBER') THEN
        GRANT tide_client TO tide_runtime;
    END IF;
EXCEPTION
    WHEN insufficient_privilege THEN
        RAISE EXCEPTION 'the roles of pgtide cannot be prepared by %', current_user
            USING ERRCODE = 'insufficient_privilege',
                  DETAIL  = sqlerrm,
                  HINT    = 'Give the installing role CREATEROLE, or let a DBA run: '
                            'CREATE ROLE tide_owner; CREATE ROLE tide_runtime; CREATE ROLE tide_client; '
                            'GRANT tide_client TO tide_runtime; GRANT tide_owner TO '
                            || quote_ident(current_user) || ';';
END;
$$;
-- +goose StatementEnd

CREATE SCHEMA tide AUTHORIZATION tide_owner;
SET LOCAL ROLE tide_owner;
COMMENT ON SCHEMA tide IS 'pgtide: the server side of an offline-first application. Start with: SELECT * FROM tide.status';
GRANT USAGE ON SCHEMA tide TO tide_runtime, tide_client;
RESET ROLE;
-- goose writes its version row next, by a name that the path must find.
SET LOCAL search_path TO DEFAULT;

-- +goose Down
-- The one Down there is: it removes pgtide as a whole, and what registering left on the user's tables.
SET LOCAL search_path = pg_catalog, pg_temp;
-- +goose StatementBegin
DO $$
DECLARE
    v_relation   regclass;
    v_role       text;
    v_dependents text;
BEGIN
    FOR v_relation IN
        SELECT s.relation FROM tide.synced_table AS s JOIN pg_class AS c ON c.oid = s.relation WHERE s.unregistered_at IS NULL
    LOOP
        PERFORM tide.unregister_table(v_relation);
    END LOOP;
    -- CASCADE would take a view or function of the user that reads tide with it, in silence.
    SELECT string_agg(DISTINCT o.identity, ', ')
      INTO v_dependents
      FROM pg_depend AS d
     CROSS JOIN LATERAL pg_identify_object(d.classid, d.objid, d.objsubid) AS o
     WHERE d.deptype = 'n'
       AND d.refobjid >= 16384
       AND (pg_identify_object(d.refclassid, d.refobjid, 0)).schema = 'tide'
       AND o.schema IS DISTINCT FROM 'tide'
       AND o.identity !~ '(^| )(on|for) tide\.';
    IF v_dependents IS NOT NULL THEN
        RAISE EXCEPTION 'schema tide is in use outside of it'
            USING ERRCODE = 'dependent_objects_still_exist',
                  DETAIL  = format('These refer to it: %s.', v_dependents),
                  HINT    = 'Drop them, then uninstall again.';
    END IF;
    DROP SCHEMA tide CASCADE;
    FOREACH v_role IN ARRAY ARRAY['tide_client', 'tide_runtime', 'tide_owner'] LOOP
        IF shobj_description(to_regrole(v_role), 'pg_authid') = 'made by pgtide' THEN
            BEGIN
                EXECUTE format('DROP ROLE %I', v_role);
            EXCEPTION
                WHEN dependent_objects_still_exist OR insufficient_privilege THEN
                    RAISE NOTICE 'role % stays: %', v_role, sqlerrm;
            END;
        END IF;
    END LOOP;
END;
$$;
-- +goose StatementEnd
SET LOCAL search_path TO DEFAULT;
