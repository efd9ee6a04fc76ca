CREATE OR REPLACE FUNCTION tide.push_update_source(table_id integer)
    RETURNS text
    LANGUAGE plpgsql STABLE
    SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    v_target record;
    v_source text;
BEGIN
    SELECT * INTO v_target FROM tide.push_target(table_id);
    SELECT format($body$
DECLARE
    tide_written bigint;
BEGIN
%7$s    UPDATE %1$s AS tide_t
       SET %2$s
      FROM unnest($1) AS tide_r CROSS JOIN LATERAL json_to_record(tide_r.payload) AS tide_n (%3$s)
     WHERE %4$s AND %5$s AND %6$s;
    GET DIAGNOSTICS tide_written = ROW_COUNT;
    RETURN tide_written;
END;
$body$,
               v_target.name,
               concat_ws(E',\n           ',
                   -- Also where nothing but the key is synced, the push is a change.
                   coalesce(string_agg(format('%I = CASE WHEN %L = ANY (tide_r.columns) THEN %s ELSE %s END', c.current_name, c.column_name, c.value,
                                              CASE WHEN c.current_name = v_target.deleted_at THEN 'NULL' ELSE format('tide_t.%I', c.current_name) END),
                                       E',\n           ') FILTER (WHERE c.updated),
                            min(format('%1$I = tide_t.%1$I', c.current_name)) FILTER (WHERE c.in_key)),
                   -- Pushing a row that was deleted softly brings it back.
                   CASE WHEN v_target.deleted_at IS NOT NULL AND NOT coalesce(bool_or(c.updated AND c.current_name = v_target.deleted_at), false) THEN
                       format('%I = %s', v_target.deleted_at, CASE WHEN v_target.deleted_is_bool THEN 'false' ELSE 'NULL' END) END),
               string_agg(format('%I %s', c.column_name, c.json_type), ', '),
               v_target.key, v_target.mine,
               concat_ws(' AND ',
                   string_agg(format('(NOT %L = ANY (tide_r.columns) OR ROW(%s)::record *= ROW(%s)::record)', c.column_name, c.value, c.key_value), ' AND ') FILTER (WHERE c.in_key),
                   string_agg(format('(NOT %L = ANY (tide_r.columns) OR ROW(%s)::record *= ROW(tide_t.%I)::record)', c.column_name, c.value, c.current_name), ' AND ')
                       FILTER (WHERE NOT c.in_key AND c.protected),
                   CASE WHEN v_target.policy = 'owner_only' THEN
                       string_agg(format('coalesce(%s::text, $2) = $2', c.value), '') FILTER (WHERE c.current_name = v_target.owner)
                   END),
               tide.push_reference_check(table_id, 'UPDATE'))
      INTO v_source
      FROM (SELECT p.*, p.written AND NOT p.in_key AND NOT p.protected AND (v_target.policy <> 'owner_only' OR p.current_name <> v_target.owner) AS updated
              FROM tide.push_columns(table_id) AS p) AS c;
    RETURN v_source;
END;
$$;
COMMENT ON FUNCTION tide.push_update_source(integer) IS 'Body of the function that updates pushed rows: columns that are absent, protected or the server''s keep their value. Internal.';
