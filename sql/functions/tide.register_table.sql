CREATE OR REPLACE FUNCTION tide.register_table(
    table_name        regclass,
    owner_column      name    DEFAULT NULL,
    bucket_prefix     text    DEFAULT 'user:',
    bucket            text    DEFAULT NULL,
    bucket_function   text    DEFAULT NULL,
    null_owner_bucket text    DEFAULT NULL,
    key_columns       name[]  DEFAULT NULL,
    sync_columns      name[]  DEFAULT NULL,
    exclude_columns   name[]  DEFAULT '{}',
    deleted_at_column name    DEFAULT NULL,
    on_capture_error  text    DEFAULT 'fail',
    push_policy       text    DEFAULT 'disabled',
    server_columns    name[]  DEFAULT '{}',
    protected_columns name[]  DEFAULT '{}',
    push_search_path  text    DEFAULT NULL,
    parent            regclass DEFAULT NULL,
    parent_fk         text    DEFAULT NULL,
    parents           jsonb   DEFAULT NULL,
    dry_run           boolean DEFAULT false
)
    RETURNS SETOF text
    LANGUAGE plpgsql
    SET search_path = pg_catalog, pg_temp SET jit = off
AS $$
DECLARE
    v_problem text := tide.registration_problem(table_name);
    v_wanted  tide.synced_table;
BEGIN
    IF v_problem IS NOT NULL THEN
        RAISE EXCEPTION 'table % cannot be registered', table_name
            USING ERRCODE = 'TD001', DETAIL = v_problem, HINT = 'Register an ordinary, logged table that is not reached by inheritance or replication.';
    END IF;
    SELECT p.parents, p.fks INTO v_wanted.parents, v_wanted.parent_fks FROM tide.resolve_parents(table_name, key_columns, parent, parent_fk, parents) AS p (parents, fks);
    IF num_nonnulls(owner_column, bucket, bucket_function) <> 1 AND (cardinality(v_wanted.parents) = 0 OR num_nonnulls(owner_column, bucket, bucket_function) > 1) THEN
        RAISE EXCEPTION 'table % needs exactly one bucket rule', table_name
            USING ERRCODE = 'TD004',
                  DETAIL  = format('Given: %s.', coalesce(nullif(concat_ws(', ',
                                CASE WHEN owner_column IS NOT NULL THEN 'owner_column' END,
                                CASE WHEN bucket IS NOT NULL THEN 'bucket' END,
                                CASE WHEN bucket_function IS NOT NULL THEN 'bucket_function' END), ''), 'none')),
                  HINT    = 'Give owner_column (rows of one user), bucket (one bucket for all rows), bucket_function (a function of the row) or parent (the buckets of another row); a parent may go with one of the others.';
    END IF;
    IF null_owner_bucket IS NOT NULL AND owner_column IS NULL THEN
        RAISE EXCEPTION 'null_owner_bucket goes with owner_column'
            USING ERRCODE = 'TD004', HINT = 'Leave it out, or name the owner column.';
    END IF;
    IF on_capture_error NOT IN ('fail', 'mark_dirty') THEN
        RAISE EXCEPTION 'on_capture_error cannot be %', quote_literal(on_capture_error)
            USING ERRCODE = 'TD006',
                  HINT    = 'Use ''fail'' (the write fails) or ''mark_dirty'' (it passes, and devices fetch the table anew).';
    END IF;
    IF 0 IN (length(bucket), length(bucket_prefix), length(null_owner_bucket))
       OR greatest(octet_length(bucket), octet_length(bucket_prefix), octet_length(null_owner_bucket)) > 512 THEN
        RAISE EXCEPTION 'a bucket name or prefix has 1 to 512 bytes' USING ERRCODE = 'TD006', HINT = 'Give another name.';
    END IF;

    SELECT n.nspname, c.relname
      INTO v_wanted.table_schema, v_wanted.table_name
      FROM pg_class AS c JOIN pg_namespace AS n ON n.oid = c.relnamespace
     WHERE c.oid = table_name::oid;
    v_wanted.relation := table_name;
    v_wanted.owner_column := owner_column;
    v_wanted.bucket := bucket;
    v_wanted.null_owner_bucket := null_owner_bucket;
    v_wanted.deleted_at_column := deleted_at_column;
    v_wanted.on_capture_error := on_capture_error;
    v_wanted.exclude_columns := coalesce(exclude_columns, '{}');
    v_wanted.all_columns := sync_columns IS NULL;
    v_wanted.push_policy := push_policy;
    v_wanted.server_columns := coalesce(server_columns, '{}');
    v_wanted.protected_columns := coalesce(protected_columns, '{}');
    -- The application's own path, for what its triggers and policies leave unqualified.
    v_wanted.push_search_path := coalesce(push_search_path, (SELECT s.reset_val FROM pg_settings AS s WHERE s.name = 'search_path'));
    v_wanted.key_columns := key_columns;
    v_wanted.sync_columns := sync_columns;
    IF owner_column IS NOT NULL THEN
        v_wanted.bucket_prefix := bucket_prefix;
    END IF;
    IF bucket_function IS NOT NULL THEN
        v_wanted.bucket_function := tide.resolve_bucket_function(table_name, bucket_function);
    END IF;
    v_wanted.synced := true;
    v_wanted.derived := cardinality(v_wanted.parents) > 0
        OR EXISTS (SELECT FROM pg_proc AS p WHERE p.oid = v_wanted.bucket_function::regprocedure AND p.provolatile <> 'i');
    RETURN QUERY SELECT tide.apply_registration(v_wanted, NULL, dry_run);
END;
$$;
COMMENT ON FUNCTION tide.register_table(regclass, name, text, text, text, text, name[], name[], name[], name, text, text, name[], name[], text, regclass, text, jsonb, boolean) IS
'Captures every change of a table from now on, and puts its rows into buckets by one rule: owner_column (user:<owner>), bucket (a constant), or bucket_function (a function of the row, which may look at other tables when these are declared with tide.add_bucket_dependency). With parent and parent_fk (columns, comma-separated), or several in parents ({"table": "columns"}, or a list where several refer to one), a row also lies in the buckets of its parents. push_policy says who may change rows by pushing: nobody (disabled), the owner named in owner_column (owner_only), or whom the row-level security policies of the table let (rls). Declarative: call it again to change settings; with dry_run it only says what it would do. Must be called by the owner of the table, who is also a member of tide_owner. Raises TD001 to TD008, TD011, TD020.';
