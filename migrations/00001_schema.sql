-- Roles and the schema they work in. Everything of pgtide in a database lives in schema tide.
--
-- The roles are shared by all databases of a cluster. A DBA may bring them: then they are used as
-- they are. Those made here say so in their comment, and only those are dropped by an uninstall.
-- Memberships granted here are written down, and only those are revoked.

-- +goose Up
-- A function of the same name in another schema of the path would be called, by a superuser perhaps.
SET LOCAL search_path = pg_catalog, pg_temp;
-- +goose StatementBegin
DO $$
DECLARE
    v_role   text;
    v_before text[];
BEGIN
    FOREACH v_role IN ARRAY ARRAY['tide_owner', 'tide_runtime', 'tide_client'] LOOP
        IF to_regrole(v_role) IS NULL THEN
            EXECUTE format('CREATE ROLE %I NOLOGIN', v_role);
            EXECUTE format('COMMENT ON ROLE %I IS %L', v_role, 'made by pgtide');
        END IF;
    END LOOP;
    -- Whole rows: the catalog says more of a membership from PostgreSQL 16 on.
    v_before := ARRAY(SELECT m::text FROM pg_auth_members AS m);
    IF NOT pg_has_role(current_user, 'tide_owner', 'USAGE') THEN
        GRANT tide_owner TO CURRENT_USER;
    END IF;
    -- pg_has_role is true for a superuser in any case, a role that was just made is not one.
    IF NOT pg_has_role('tide_runtime', 'tide_client', 'MEMBER') THEN
        GRANT tide_client TO tide_runtime;
    END IF;
    PERFORM set_config('tide.granted', (
        SELECT coalesce(json_agg(json_build_object('role_name', r.rolname, 'member_name', u.rolname, 'grantor_name', g.rolname)), '[]')::text
          FROM pg_auth_members AS m
          JOIN pg_roles AS r ON r.oid = m.roleid
          JOIN pg_roles AS u ON u.oid = m.member
          JOIN pg_roles AS g ON g.oid = m.grantor
         WHERE (r.rolname, u.rolname) IN (('tide_owner', current_user), ('tide_client', 'tide_runtime'))
           AND m::text <> ALL (v_before)), true);
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
-- Names, not oids: a dump must load where these roles are not.
CREATE TABLE tide.granted_membership (
    role_name    name NOT NULL,
    member_name  name NOT NULL,
    grantor_name name NOT NULL,

    CONSTRAINT granted_membership_pkey PRIMARY KEY (role_name, member_name, grantor_name)
);
COMMENT ON TABLE tide.granted_membership IS 'Role memberships that the installation granted, which belong to the whole cluster. Uninstalling revokes these and no others.';
INSERT INTO tide.granted_membership
SELECT g.role_name, g.member_name, g.grantor_name
  FROM json_to_recordset(current_setting('tide.granted')::json) AS g (role_name name, member_name name, grantor_name name);
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
    v_granted    json;
    v_membership record;
    v_problem    text;
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
    v_granted := (SELECT json_agg(g) FROM tide.granted_membership AS g);
    DROP SCHEMA tide CASCADE;
    FOR v_membership IN
        SELECT m.role_name, m.member_name, m.grantor_name
          FROM json_to_recordset(v_granted) AS m (role_name name, member_name name, grantor_name name)
          JOIN pg_auth_members AS a
            ON a.roleid = to_regrole(quote_ident(m.role_name))
           AND a.member = to_regrole(quote_ident(m.member_name))
           AND a.grantor = to_regrole(quote_ident(m.grantor_name))
               -- Else somebody granted it again since, and meant it.
           AND NOT a.admin_option
    LOOP
        SELECT 'database ' || string_agg(DISTINCT d.datname, ', ') || ' uses it'
          INTO v_problem
          FROM pg_shdepend AS s
          JOIN pg_database AS d ON d.oid = s.dbid
         WHERE s.refclassid = 'pg_authid'::regclass
           AND s.refobjid = to_regrole('tide_owner')
           AND d.datname <> current_database();
        IF v_problem IS NULL THEN
            BEGIN
                EXECUTE format('REVOKE %I FROM %I GRANTED BY %I', v_membership.role_name, v_membership.member_name, v_membership.grantor_name);
            EXCEPTION
                WHEN insufficient_privilege THEN
                    v_problem := sqlerrm;
            END;
        END IF;
        -- Of a role made here the lines below say so.
        IF v_problem IS NOT NULL AND shobj_description(to_regrole(quote_ident(v_membership.role_name)), 'pg_authid') IS DISTINCT FROM 'made by pgtide' THEN
            RAISE NOTICE 'membership of % in % stays: %; to end it: REVOKE % FROM %',
                v_membership.member_name, v_membership.role_name, v_problem,
                quote_ident(v_membership.role_name), quote_ident(v_membership.member_name);
        END IF;
    END LOOP;
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
