CREATE OR REPLACE FUNCTION tide.parent_columns(
    table_id integer,
    OUT parent_id integer, OUT parent regclass, OUT parent_ordinal bigint, OUT key_ordinal bigint, OUT fk_column name, OUT fk_type text, OUT fk_equality text,
    OUT key_column name, OUT key_name text, OUT key_type text, OUT key_equality text
)
    RETURNS SETOF record
    LANGUAGE plpgsql STABLE
    SET search_path = pg_catalog, pg_temp
AS $$
#variable_conflict use_column
BEGIN
    RETURN QUERY
    SELECT p.table_id, p.relation, r.ordinal, f.ordinal, c.current_name, ct.type, ct.equality, k.current_name, k.column_name, kt.type, e.equality
      FROM tide.synced_table AS s
     CROSS JOIN LATERAL unnest(s.parents, s.parent_fks) WITH ORDINALITY AS r (relation, fk, ordinal)
      JOIN tide.synced_table AS p ON p.relation = r.relation
     CROSS JOIN LATERAL unnest(string_to_array(r.fk, ',')) WITH ORDINALITY AS f (name, ordinal)
      JOIN tide.synced_columns(s.table_id) AS c ON c.column_name = f.name
     CROSS JOIN LATERAL tide.column_equality(s.relation, c.current_name) AS ct
      JOIN tide.synced_columns(p.table_id) AS k ON k.column_name = p.key_columns[f.ordinal]
     CROSS JOIN LATERAL tide.column_equality(p.relation, k.current_name) AS kt
      JOIN tide.key_equality(p.table_id) AS e ON e.column_name = k.current_name
     WHERE s.table_id = parent_columns.table_id
     ORDER BY r.ordinal, f.ordinal;
END;
$$;
COMMENT ON FUNCTION tide.parent_columns(integer) IS 'Columns by which a table refers to its parents, each with the key column it refers to. Internal.';
