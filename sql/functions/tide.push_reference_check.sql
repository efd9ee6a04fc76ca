-- A foreign key is checked by PostgreSQL against every row. That would tell a device which keys other
-- users have, so a key of theirs is refused in the very words in which one that does not exist is.
CREATE OR REPLACE FUNCTION tide.push_reference_check(table_id integer, event text)
    RETURNS text
    LANGUAGE plpgsql STABLE
    SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    RETURN (
    SELECT string_agg(format($check$    IF EXISTS (
           SELECT FROM unnest($1) AS tide_r CROSS JOIN LATERAL json_to_record(tide_r.payload) AS tide_n (%s)%s
            WHERE %s AND %s%s)
    THEN
        RAISE EXCEPTION USING ERRCODE = 'foreign_key_violation', CONSTRAINT = %L,
            MESSAGE = %L;
    END IF;
$check$,
               (SELECT string_agg(format('%I %s', c.column_name, c.json_type), ', ') FROM tide.push_columns(s.table_id) AS c),
               CASE WHEN event = 'UPDATE' THEN format(' JOIN %s AS tide_t ON %s', t.name, t.key) END,
               f.given,
               CASE WHEN t.policy = 'owner_only' THEN
                   format('EXISTS (SELECT FROM %s AS tide_p WHERE %s AND coalesce(tide_p.%I::text, %s) IS DISTINCT FROM $2)', parent.relation, f.matches,
                          (tide.current_names(parent.table_id, ARRAY[parent.owner_column]))[1], CASE WHEN parent.null_owner_bucket IS NULL THEN 'NULL' ELSE '$2' END)
               ELSE
                   format('NOT EXISTS (SELECT FROM %s AS tide_p WHERE %s)', parent.relation, f.matches)
               END,
               CASE WHEN event = 'UPDATE' THEN ' AND (' || f.changed || ')' END,
               k.conname,
               format('insert or update on table "%s" violates foreign key constraint "%s"', c.relname, k.conname)),
           '' ORDER BY k.conname)
      FROM tide.synced_table AS s
     CROSS JOIN LATERAL tide.push_target(s.table_id) AS t
      JOIN pg_class AS c ON c.oid = s.relation
      JOIN pg_constraint AS k ON k.conrelid = s.relation AND k.contype = 'f' AND k.conparentid = 0
      JOIN tide.synced_table AS parent ON parent.relation = k.confrelid AND parent.unregistered_at IS NULL
      JOIN pg_class AS pc ON pc.oid = k.confrelid
     CROSS JOIN LATERAL (
               SELECT string_agg(CASE WHEN p.in_key THEN 'true' ELSE format('%L = ANY (tide_r.columns) AND %s IS NOT NULL', p.column_name, p.value) END, ' AND ' ORDER BY r.ordinal) AS given,
                      string_agg(format('tide_p.%I OPERATOR(%I.%s) ANY (ARRAY[%s])', pa.attname, opn.nspname, op.oprname, CASE WHEN p.in_key THEN p.key_value ELSE p.value END), ' AND ' ORDER BY r.ordinal) AS matches,
                      string_agg(CASE WHEN p.in_key THEN 'false' ELSE format('ROW(%s)::record *<> ROW(tide_t.%I)::record', p.value, p.current_name) END, ' OR ' ORDER BY r.ordinal) AS changed,
                      count(*) AS columns
                 FROM unnest(k.conkey, k.confkey, k.conpfeqop) WITH ORDINALITY AS r (attnum, parent_attnum, equality, ordinal)
                 JOIN pg_attribute AS ca ON ca.attrelid = k.conrelid AND ca.attnum = r.attnum
                 JOIN pg_attribute AS pa ON pa.attrelid = k.confrelid AND pa.attnum = r.parent_attnum
                 JOIN pg_operator AS op ON op.oid = r.equality
                 JOIN pg_namespace AS opn ON opn.oid = op.oprnamespace
                 JOIN tide.push_columns(s.table_id) AS p ON p.current_name = ca.attname
           ) AS f
     WHERE s.table_id = push_reference_check.table_id
       AND f.columns = cardinality(k.conkey)
       AND CASE WHEN t.policy = 'owner_only' THEN parent.owner_column IS NOT NULL
                ELSE pc.relrowsecurity AND has_table_privilege((SELECT o.client_role FROM tide.setting AS o), pc.oid, 'SELECT')
                     AND (parent.fk_depth < s.fk_depth OR event = 'INSERT' AND parent.table_id = s.table_id) END);
END;
$$;
COMMENT ON FUNCTION tide.push_reference_check(integer, text) IS 'Statements that refuse pushed rows whose foreign key leads to a row the caller may not see. Internal.';
