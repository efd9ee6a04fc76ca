-- A payload is read as the types of the columns, but for those JSON has no value of: bytea comes as
-- base64, money as a number.
CREATE OR REPLACE FUNCTION tide.push_columns(
    table_id integer,
    OUT column_name text, OUT current_name name, OUT json_type text, OUT value text, OUT key_value text, OUT default_value text,
    OUT in_key boolean, OUT written boolean, OUT protected boolean, OUT always_identity boolean
)
    RETURNS SETOF record
    LANGUAGE plpgsql STABLE PARALLEL SAFE
    SET search_path = pg_catalog, pg_temp
AS $$
#variable_conflict use_column
BEGIN
    RETURN QUERY
    SELECT c.column_name, c.current_name,
           CASE
               WHEN c.base_type = 'bytea'::regtype THEN CASE WHEN c.is_array THEN 'text[]' ELSE 'text' END
               WHEN c.base_type = 'money'::regtype AND NOT c.is_array THEN 'numeric'
               ELSE t.name
           END,
           CASE
               WHEN c.base_type = 'bytea'::regtype AND c.is_array
                   THEN format('CASE WHEN tide_n.%1$I IS NOT NULL THEN ARRAY(SELECT decode(e, ''base64'') FROM unnest(tide_n.%1$I) AS e) END::%2$s', c.column_name, t.name)
               WHEN c.base_type = 'bytea'::regtype THEN format('decode(tide_n.%I, ''base64'')::%s', c.column_name, t.name)
               WHEN c.base_type = 'money'::regtype AND NOT c.is_array THEN format('tide_n.%I::%s', c.column_name, t.name)
               ELSE format('tide_n.%I', c.column_name)
           END,
           CASE
               WHEN c.base_type = 'bytea'::regtype THEN format('decode(tide_r.key ->> %L, ''base64'')::%s', c.column_name, t.name)
               ELSE format('(tide_r.key ->> %L)::%s', c.column_name, t.name)
           END,
           coalesce('(' || coalesce(pg_get_expr(d.adbin, d.adrelid), pg_get_expr(y.typdefaultbin, 0)) || ')', 'NULL') || '::' || t.name,
           c.in_key,
           a.attgenerated = '' AND (c.in_key OR c.column_name <> ALL (s.server_columns) AND a.attidentity = ''),
           c.column_name = ANY (s.protected_columns),
           a.attidentity = 'a'
      FROM tide.synced_table AS s
     CROSS JOIN LATERAL tide.synced_columns(s.table_id) AS c
      JOIN pg_attribute AS a ON a.attrelid = s.relation AND a.attname = c.current_name
      JOIN pg_type AS y ON y.oid = a.atttypid
      LEFT JOIN pg_attrdef AS d ON d.adrelid = a.attrelid AND d.adnum = a.attnum AND a.attgenerated = ''
     CROSS JOIN LATERAL format_type(a.atttypid, a.atttypmod) AS t (name)
     WHERE s.table_id = push_columns.table_id
       AND (c.in_payload OR c.in_key OR c.column_name = s.owner_column)
     ORDER BY a.attnum;
END;
$$;
COMMENT ON FUNCTION tide.push_columns(integer) IS 'How each column of a push is read and written: its type in the payload (tide_n), its value as the column''s type, the key''s value (tide_r.key), and what an absent one becomes. Internal.';
