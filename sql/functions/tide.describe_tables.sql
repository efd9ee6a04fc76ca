-- What is not synced is not named: neither columns nor keys that need them, nor tables that are captured
-- because rules look at them.
CREATE OR REPLACE FUNCTION tide.describe_tables(known jsonb)
    RETURNS json
    LANGUAGE plpgsql STABLE SECURITY DEFINER
    SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    RETURN (
    WITH told AS MATERIALIZED (
        SELECT s.*, c.column_name, c.current_name, c.ordinal
          FROM tide.synced_table AS s
          JOIN pg_class AS r ON r.oid = s.relation
         CROSS JOIN LATERAL tide.synced_columns(s.table_id) WITH ORDINALITY AS c (column_name, current_name, base_type, is_array, in_key, in_payload, ordinal)
         WHERE s.unregistered_at IS NULL AND s.synced AND c.in_payload
           AND (known IS NULL OR jsonb_exists(known -> (s.table_schema || '.' || s.table_name), c.column_name))
    ), keys AS MATERIALIZED (
        SELECT f.conrelid, f.oid, f.conname, f.confdeltype, f.confupdtype, f.condeferrable, f.condeferred, p.table_schema, p.table_name,
               array_agg(child.column_name ORDER BY k.ordinal) AS columns, array_agg(parent.column_name ORDER BY k.ordinal) AS parent_columns,
               array_agg(child.column_name ORDER BY k.ordinal) FILTER (WHERE k.attnum = ANY (f.confdelsetcols)) AS set_columns
          FROM pg_constraint AS f
          JOIN tide.synced_table AS p ON p.relation = f.confrelid
         CROSS JOIN LATERAL unnest(f.conkey, f.confkey) WITH ORDINALITY AS k (attnum, parent_attnum, ordinal)
          JOIN pg_attribute AS ca ON ca.attrelid = f.conrelid AND ca.attnum = k.attnum
          JOIN pg_attribute AS pa ON pa.attrelid = f.confrelid AND pa.attnum = k.parent_attnum
          JOIN told AS child ON child.relation = f.conrelid AND child.current_name = ca.attname
          JOIN told AS parent ON parent.relation = f.confrelid AND parent.current_name = pa.attname
         WHERE f.contype = 'f' AND f.conparentid = 0
         GROUP BY f.oid, f.conrelid, f.conname, f.conkey, f.confdeltype, f.confupdtype, f.condeferrable, f.condeferred, p.table_schema, p.table_name
        HAVING count(*) = cardinality(f.conkey)
    )
    SELECT coalesce(json_agg(json_strip_nulls(json_build_object(
               'schema', s.table_schema, 'table', s.table_name,
               'columns', (
                   SELECT json_agg(json_build_object(
                              'name', t.column_name, 'type', format_type(a.atttypid, a.atttypmod),
                              'kind', CASE WHEN y.is_array THEN 'array' ELSE tide.json_kind(y.base_type) END,
                              'element', CASE WHEN y.is_array THEN tide.json_kind(y.base_type, true) END,
                              'not_null', a.attnotnull OR d.typnotnull,
                              'default', CASE WHEN a.attgenerated = '' THEN coalesce(pg_get_expr(e.adbin, e.adrelid), pg_get_expr(d.typdefaultbin, 0)) END,
                              'generated', CASE WHEN a.attgenerated <> '' THEN pg_get_expr(e.adbin, e.adrelid) END,
                              'identity', CASE a.attidentity WHEN 'a' THEN 'always' WHEN 'd' THEN 'by default' END,
                              'server_filled', CASE WHEN NOT p.written THEN true END,
                              'protected', CASE WHEN p.protected THEN true END) ORDER BY t.ordinal)
                     FROM told AS t
                     JOIN tide.push_columns(s.table_id) AS p ON p.column_name = t.column_name
                     JOIN tide.synced_columns(s.table_id) AS y ON y.column_name = t.column_name
                     JOIN pg_attribute AS a ON a.attrelid = s.relation AND a.attname = t.current_name
                     JOIN pg_type AS d ON d.oid = a.atttypid
                     LEFT JOIN pg_attrdef AS e ON e.adrelid = a.attrelid AND e.adnum = a.attnum
                    WHERE t.table_id = s.table_id),
               'primary_key', s.key_columns,
               'foreign_keys', (
                   SELECT coalesce(json_agg(json_build_object(
                              'columns', k.columns,
                              'references', json_build_object('schema', k.table_schema, 'table', k.table_name, 'columns', k.parent_columns),
                              'on_delete', tide.fk_action(k.confdeltype), 'on_delete_columns', k.set_columns, 'on_update', tide.fk_action(k.confupdtype),
                              'deferrable', k.condeferrable, 'initially_deferred', k.condeferred) ORDER BY k.conname COLLATE "C"), '[]')
                     FROM keys AS k WHERE k.conrelid = s.relation),
               'owner_column', (SELECT t.column_name FROM told AS t WHERE t.table_id = s.table_id AND t.column_name = s.owner_column),
               'deleted_at_column', (SELECT t.column_name FROM told AS t WHERE t.table_id = s.table_id AND t.column_name = s.deleted_at_column),
               'push_policy', s.push_policy)) ORDER BY s.fk_depth, s.table_schema COLLATE "C", s.table_name COLLATE "C"), '[]')
      FROM tide.synced_table AS s
     WHERE s.table_id IN (SELECT t.table_id FROM told AS t)
    );
END;
$$;
COMMENT ON FUNCTION tide.describe_tables(jsonb) IS 'Synced tables as devices may know them, parents first; known leaves only these tables and columns ({"schema.table": ["column", ...]}). Internal.';
