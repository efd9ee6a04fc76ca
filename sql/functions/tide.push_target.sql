CREATE OR REPLACE FUNCTION tide.push_target(
    table_id integer,
    OUT name text, OUT key text, OUT key_order text, OUT mine text, OUT dead text,
    OUT deleted_at name, OUT deleted_is_bool boolean, OUT owner name, OUT owner_type text, OUT policy text
)
    LANGUAGE plpgsql STABLE
    SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    v_table tide.synced_table := (SELECT s FROM tide.synced_table AS s WHERE s.table_id = push_target.table_id);
BEGIN
    -- IS TRUE keeps an index on the owner out of it: rows are found by their key.
    name := v_table.relation::text;
    policy := v_table.push_policy;
    -- ANY of one value: with a mere equality, the planner also thinks of reading the whole table in the order of
    -- its key and looking into all pushed rows for each of its rows. It expects ten of those; there may be thousands.
    SELECT string_agg(format('tide_t.%I OPERATOR(%s) ANY (ARRAY[%s])', e.column_name, e.equality, c.key_value), ' AND ' ORDER BY e.ordinal),
           string_agg(c.key_value, ', ' ORDER BY e.ordinal)
      INTO key, key_order
      FROM tide.key_equality(v_table.table_id) WITH ORDINALITY AS e (column_name, equality, ordinal) JOIN tide.push_columns(v_table.table_id) AS c ON c.current_name = e.column_name;
    SELECT a.attname, format_type(a.atttypid, a.atttypmod)
      INTO owner, owner_type
      FROM pg_attribute AS a
     WHERE a.attrelid = v_table.relation AND a.attname = (tide.current_names(v_table.table_id, ARRAY[v_table.owner_column]))[1];
    mine := CASE WHEN policy = 'owner_only' THEN format('(tide_t.%I::text = $2) IS TRUE', owner) ELSE 'true' END;
    SELECT c.current_name, c.base_type = 'bool'::regtype
      INTO deleted_at, deleted_is_bool
      FROM tide.synced_columns(v_table.table_id) AS c
     WHERE c.column_name = v_table.deleted_at_column;
    dead := CASE WHEN deleted_at IS NULL THEN 'false' ELSE format('tide_t.%I %s', deleted_at, CASE WHEN deleted_is_bool THEN 'IS TRUE' ELSE 'IS NOT NULL' END) END;
END;
$$;
COMMENT ON FUNCTION tide.push_target(integer) IS 'What all steps of a push to a table need: how its rows (tide_t) are found for those of the push (tide_r), which are the caller''s, and which are deleted softly. Internal.';
