-- What is written here: for one table, each step of a push as static, set-based SQL over its rows
-- ($1; $2 is the user). Under owner_only a function runs as tide_owner and holds to the rows of the
-- caller; under rls it runs as who calls it, and the policies do that.
--   keys      the rows of this table, among those of others, with their key in canonical text, NULL where it was given otherwise
--   lock      locks the rows that are there, in the order of their key, and says which are deleted softly
--   image     rows as the caller may see them
--   insert, update, delete    return how many rows they wrote; what may not be written is left out
CREATE OR REPLACE FUNCTION tide.push_source(table_id integer, part text)
    RETURNS text
    LANGUAGE plpgsql STABLE
    SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    v_target record;
    v_key    record;
    v_image  record;
    v_known  text[];
BEGIN
    SELECT * INTO v_target FROM tide.push_target(table_id);
    CASE part
        WHEN 'keys' THEN
            SELECT string_agg(format('%s AS %I', k.key_value, k.current_name), ', ' ORDER BY array_position(s.key_columns, k.column_name)) AS columns,
                   '''{' || string_agg(format('%s:', replace(to_json(k.column_name)::text, '''', ''''''))
                       -- Nothing that can be read as one of these needs escaping.
                       || format(CASE WHEN c.base_type = ANY ('{int2,int4,int8,oid,uuid,bool,numeric}'::regtype[]) AND NOT c.is_array
                                      THEN '"'' || (tide_r.key ->> %L) || ''"' ELSE ''' || to_json(tide_r.key ->> %L)::text || ''' END, k.column_name),
                       ',' ORDER BY array_position(s.key_columns, k.column_name)) || '}''' AS given
              INTO v_key
              FROM tide.synced_table AS s
             CROSS JOIN LATERAL tide.push_columns(s.table_id) AS k
              JOIN LATERAL tide.synced_columns(s.table_id) AS c ON c.column_name = k.column_name
             WHERE s.table_id = push_source.table_id AND k.in_key;
            SELECT * INTO v_image FROM tide.row_expressions(table_id, 'tide_k');
            v_known := ARRAY(SELECT c.column_name FROM tide.synced_columns(table_id) AS c WHERE c.in_payload);
            RETURN format($body$
BEGIN
    RETURN ARRAY(
        SELECT ROW(tide_r.ordinal, tide_r.table_id, tide_r.op, tide_r.base, hashtextextended(tide_r.tide_key, tide_r.table_id),
                   CASE WHEN tide_r.tide_key = %s THEN tide_r.tide_key END, tide_r.key, tide_r.payload, tide_r.columns,
                   -- As a rule all of them, in their order: to look for each in the other list takes longer.
                   tide_r.columns = %L::text[] OR tide_r.columns <@ %2$L::text[], %L::boolean)::tide.pushed_row
          FROM (SELECT tide_r.*, %s AS tide_key FROM unnest($1) AS tide_r CROSS JOIN LATERAL (SELECT %s) AS tide_k
                 WHERE tide_r.table_id = %s OFFSET 0) AS tide_r); -- once, not wherever it is named
END;
$body$, v_key.given, v_known, v_target.policy = 'rls', v_image.row_key, v_key.columns, table_id);
        WHEN 'lock' THEN
            RETURN format($body$
BEGIN
    -- A row that goes must not be referred to meanwhile.
    IF $3 THEN
        RETURN QUERY SELECT tide_r.ordinal, %1$s FROM unnest($1) AS tide_r JOIN %2$s AS tide_t ON %3$s WHERE %4$s ORDER BY %5$s FOR UPDATE OF tide_t;
    ELSE
        RETURN QUERY SELECT tide_r.ordinal, %1$s FROM unnest($1) AS tide_r JOIN %2$s AS tide_t ON %3$s WHERE %4$s ORDER BY %5$s FOR NO KEY UPDATE OF tide_t;
    END IF;
END;
$body$, v_target.dead, v_target.name, v_target.key, v_target.mine, v_target.key_order);
        WHEN 'image' THEN
            SELECT * INTO v_image FROM tide.row_expressions(table_id, 'tide_t');
            RETURN format($body$
BEGIN
    RETURN QUERY SELECT tide_r.ordinal, %s, %s FROM unnest($1) AS tide_r JOIN %s AS tide_t ON %s WHERE %s;
END;
$body$, v_target.dead, v_image.payload, v_target.name, v_target.key, v_target.mine);
        WHEN 'delete' THEN
            RETURN format($body$
DECLARE
    tide_written bigint;
BEGIN
    %s unnest($1) AS tide_r WHERE %s AND %s;
    GET DIAGNOSTICS tide_written = ROW_COUNT;
    RETURN tide_written;
END;
$body$,
                CASE WHEN v_target.deleted_at IS NULL THEN format('DELETE FROM %s AS tide_t USING', v_target.name)
                     ELSE format('UPDATE %s AS tide_t SET %I = %s FROM', v_target.name, v_target.deleted_at, CASE WHEN v_target.deleted_is_bool THEN 'true' ELSE 'now()' END) END,
                v_target.key, v_target.mine);
        WHEN 'insert' THEN
            RETURN tide.push_insert_source(table_id);
        WHEN 'update' THEN
            RETURN tide.push_update_source(table_id);
        ELSE
            RAISE EXCEPTION 'a push has no part %', part USING ERRCODE = 'invalid_parameter_value';
    END CASE;
END;
$$;
COMMENT ON FUNCTION tide.push_source(integer, text) IS 'Body of a function that does one step of a push for one table. Internal.';
