-- Who may read is what the bucket rule says. In the forms that an index serves where there is one; a
-- rule that looks at other tables runs in a function, with the rights of pgtide.
CREATE OR REPLACE FUNCTION tide.policies(table_id integer, write text, OUT name text, OUT statement text)
    RETURNS SETOF record
    LANGUAGE plpgsql STABLE
    SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    v_table  tide.synced_table := (SELECT s FROM tide.synced_table AS s WHERE s.table_id = policies.table_id);
    v_client name := (SELECT s.client_role FROM tide.setting AS s);
    v_me     constant text := '(SELECT current_setting(''app.user_id'', true))';
    v_alias  text := (SELECT quote_ident(c.relname) FROM pg_class AS c WHERE c.oid = v_table.relation);
    v_type   regtype := (SELECT c.reltype FROM pg_class AS c WHERE c.oid = v_table.relation);
    v_owner  text;
    v_read   text;
    v_write  text;
    c        record;
BEGIN
    SELECT k.current_name, t.type, k.base_type INTO c
      FROM tide.synced_columns(v_table.table_id) AS k CROSS JOIN LATERAL tide.column_equality(v_table.relation, k.current_name) AS t WHERE k.column_name = v_table.owner_column;
    IF v_table.owner_column IS NOT NULL AND v_table.bucket_prefix = 'user:' THEN
        v_owner := format('%s.%I = (SELECT nullif(current_setting(''app.user_id'', true), ''''))::%s', v_alias, c.current_name, c.type);
    END IF;
    v_read := CASE
        WHEN v_table.derived THEN format('tide.reads_%s(%s, (SELECT tide.my_proven_buckets()))', table_id, v_alias)
        WHEN v_table.bucket IS NOT NULL THEN format('(SELECT %L = ANY (tide.my_buckets()))', v_table.bucket)
        WHEN v_owner IS NOT NULL AND v_table.null_owner_bucket IS NULL THEN v_owner
        WHEN v_owner IS NOT NULL THEN format('(%s OR %s.%I IS NULL AND (SELECT %L = ANY (tide.my_buckets())))', v_owner, v_alias, c.current_name, v_table.null_owner_bucket)
        ELSE format('tide.reads_%s(%s, (SELECT tide.my_proven_buckets()))', table_id, v_alias)
    END;
    v_write := CASE write
        WHEN 'none' THEN 'false'
        WHEN 'readers' THEN v_read
        WHEN 'owner' THEN v_owner
        ELSE format(CASE
            WHEN to_regprocedure(format('%s(text, %s)', write, v_type)) IS NOT NULL THEN '(%1$s AND %2$s(%3$s, %4$s))'
            WHEN (SELECT p.proretset FROM pg_proc AS p WHERE p.oid = to_regprocedure(write || '(text)')) THEN 'tide.reads_%5$s(%4$s, (SELECT tide.my_proven_buckets()), (SELECT ARRAY(SELECT tide_b FROM %2$s(%3$s) AS tide_b)))'
            ELSE 'tide.reads_%5$s(%4$s, (SELECT tide.my_proven_buckets()), (SELECT coalesce(%2$s(%3$s), ''{}'')))' END, v_read, write, v_me, v_alias, table_id)
    END;
    RETURN QUERY
    SELECT p.name, format('CREATE POLICY %I ON %s AS %s FOR %s TO %s %s', p.name, v_table.relation, p.kind, p.command, p.role, p.body)
      FROM (VALUES
               (1, 'tide_everybody',      'PERMISSIVE',  'ALL',    'PUBLIC',              'USING (true) WITH CHECK (true)'),
               (2, 'tide_client_reads',   'RESTRICTIVE', 'SELECT', quote_ident(v_client), format('USING (%s)', v_read)),
               (3, 'tide_client_inserts', 'RESTRICTIVE', 'INSERT', quote_ident(v_client), format('WITH CHECK (%s)', concat_ws(' AND ', v_write, CASE WHEN write <> 'none' THEN nullif(v_owner, v_write) END))),
               (4, 'tide_client_updates', 'RESTRICTIVE', 'UPDATE', quote_ident(v_client), format('USING (%1$s) WITH CHECK (%1$s)', v_write)),
               (5, 'tide_client_deletes', 'RESTRICTIVE', 'DELETE', quote_ident(v_client), format('USING (%s)', v_write))) AS p (nth, name, kind, command, role, body)
     ORDER BY p.nth;
END;
$$;
COMMENT ON FUNCTION tide.policies(integer, text) IS 'Policies that let the client role read what the bucket rule of a table says, and write as given. Internal.';
