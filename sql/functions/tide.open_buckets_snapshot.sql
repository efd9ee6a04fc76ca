-- A cursor, so that the first row leaves before the last is read. What it computes is computed while it
-- is fetched, outside of this function: hence settings of the transaction.
CREATE OR REPLACE FUNCTION tide.open_buckets_snapshot(
    user_id text, source_id text, read_cursor text, buckets text[], bundle_id bigint, seal_id bigint, identity uuid, cursor_name text DEFAULT 'tide_snapshot',
    OUT next_cursor text, OUT wanted text[]
)
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    v_cursor refcursor := cursor_name;
    v_shown  jsonb;
    v_shape  jsonb;
    v_query  text;
BEGIN
    SELECT o.next_cursor, o.wanted, o.shown INTO next_cursor, wanted, v_shown
      FROM tide.open_buckets(user_id, source_id, read_cursor, buckets, bundle_id, seal_id, identity) AS o;
    v_shape := tide.renew_shape(user_id, source_id);
    PERFORM tide.set_snapshot_output();
    SELECT string_agg(format('SELECT %L, %L, q.row_key::json, %s, to_json(q.buckets) FROM (%s) AS q', t.table_schema, t.table_name,
                             CASE WHEN v_shape IS NULL THEN 'q.payload' ELSE format('tide.project_payload(q.payload, %L)', t.columns) END, t.query), ' UNION ALL ' ORDER BY t.fk_depth, t.table_id)
      INTO v_query
      -- OFFSET 0: or each query would be made twice, once to see whether there is one.
      FROM (SELECT s.*, v_shape -> (s.table_schema || '.' || s.table_name) AS columns, tide.rows_source(s.table_id, wanted, v_shown) AS query
              FROM tide.synced_table AS s JOIN pg_class AS c ON c.oid = s.relation WHERE s.unregistered_at IS NULL AND s.synced OFFSET 0) AS t
     WHERE t.query IS NOT NULL AND (v_shape IS NULL OR t.columns IS NOT NULL);
    OPEN v_cursor NO SCROLL FOR EXECUTE coalesce(v_query, 'SELECT ''''::text, ''''::text, ''{}''::json, ''{}''::json, ''[]''::json WHERE false');
END;
$$;
COMMENT ON FUNCTION tide.open_buckets_snapshot(text, text, text, text[], bigint, bigint, uuid, text) IS
'Opens a cursor over the rows of buckets of a user (schema, table, key, payload, buckets), NULL for all that the device lacks; for a REPEATABLE READ transaction whose snapshot was sealed. next_cursor is for when all rows are applied. Raises what tide.create_buckets_session does.';
