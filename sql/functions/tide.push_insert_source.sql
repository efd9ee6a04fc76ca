CREATE OR REPLACE FUNCTION tide.push_insert_source(table_id integer)
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
%8$s    INSERT INTO %1$s AS tide_t (%2$s)%3$s
    SELECT %4$s
      FROM unnest($1) AS tide_r CROSS JOIN LATERAL json_to_record(tide_r.payload) AS tide_n (%5$s)
     WHERE %6$s
     ORDER BY tide_r.ordinal;
    GET DIAGNOSTICS tide_written = ROW_COUNT;
%7$s    RETURN tide_written;
END;
$body$,
               v_target.name,
               string_agg(quote_ident(c.current_name), ', ') FILTER (WHERE c.inserted),
               CASE WHEN bool_or(c.always_identity AND c.inserted) THEN E'\n    OVERRIDING SYSTEM VALUE' END,
               string_agg(
                   CASE
                       WHEN c.in_key THEN c.key_value
                       -- Whose row it is, is not for the device to say.
                       WHEN c.current_name = v_target.owner AND v_target.policy = 'owner_only' THEN format('$2::%s', v_target.owner_type)
                       WHEN c.current_name = v_target.owner THEN format('CASE WHEN %L = ANY (tide_r.columns) THEN %s ELSE $2::%s END', c.column_name, c.value, v_target.owner_type)
                       WHEN c.default_value ~ '^NULL::' THEN c.value
                       ELSE format('CASE WHEN %L = ANY (tide_r.columns) THEN %s ELSE %s END', c.column_name, c.value, c.default_value)
                   END, ', ') FILTER (WHERE c.inserted),
               string_agg(format('%I %s', c.column_name, c.json_type), ', '),
               concat_ws(' AND ',
                   string_agg(format('(NOT %L = ANY (tide_r.columns) OR ROW(%s)::record *= ROW(%s)::record)', c.column_name, c.value, c.key_value), ' AND ') FILTER (WHERE c.in_key),
                   string_agg(format('(NOT %L = ANY (tide_r.columns) OR %s IS NULL OR ROW(%2$s)::record *= ROW(%s)::record)', c.column_name, c.value, c.default_value), ' AND ')
                       FILTER (WHERE c.protected AND NOT c.in_key),
                   CASE WHEN v_target.policy = 'owner_only' THEN
                       string_agg(format('coalesce(%s::text, $2) = $2', CASE WHEN c.in_key THEN c.key_value ELSE c.value END), '') FILTER (WHERE c.current_name = v_target.owner)
                   END),
               CASE WHEN v_target.policy = 'rls' THEN tide.push_reference_check(table_id, 'INSERT') END,
               CASE WHEN v_target.policy = 'owner_only' THEN tide.push_reference_check(table_id, 'INSERT') END)
      INTO v_source
      FROM (SELECT p.*, p.written AND (p.in_key OR NOT p.protected) AS inserted FROM tide.push_columns(table_id) AS p) AS c;
    RETURN v_source;
END;
$$;
COMMENT ON FUNCTION tide.push_insert_source(integer) IS 'Body of the function that inserts pushed rows. A protected column must be absent, null or its default. Internal.';
