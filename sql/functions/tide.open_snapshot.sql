-- A cursor, so that the first row leaves before the last is read. What it computes is computed while it
-- is fetched, outside of this function: hence settings of the transaction.
CREATE OR REPLACE FUNCTION tide.open_snapshot(user_id text, cursor_name text DEFAULT 'tide_snapshot')
    RETURNS void
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    v_cursor refcursor := cursor_name;
    v_query  text;
BEGIN
    PERFORM tide.assert_scope(user_id);
    PERFORM tide.set_snapshot_output();
    SELECT string_agg(format('SELECT %L, %L, q.row_key::json, q.payload FROM (%s) AS q', t.table_schema, t.table_name, t.query), ' UNION ALL ' ORDER BY t.fk_depth, t.table_id)
      INTO v_query
      -- OFFSET 0: or each query would be made twice, once to see whether there is one.
      FROM (SELECT s.*, tide.snapshot_source(s.table_id, tide.home_bucket(open_snapshot.user_id)) AS query
              FROM tide.synced_table AS s JOIN pg_class AS c ON c.oid = s.relation WHERE s.unregistered_at IS NULL AND s.synced OFFSET 0) AS t
     WHERE t.query IS NOT NULL;
    OPEN v_cursor NO SCROLL FOR EXECUTE coalesce(v_query, 'SELECT ''''::text, ''''::text, ''{}''::json, ''{}''::json WHERE false');
END;
$$;
COMMENT ON FUNCTION tide.open_snapshot(text, text) IS
'Opens a cursor over the rows of a user''s home bucket (schema, table, key, payload), parents first, each table in the order of its key; for a REPEATABLE READ transaction whose snapshot was sealed. Raises TD108, TD109.';
