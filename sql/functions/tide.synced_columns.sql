-- A column is found by its name at registration, or, when no column has that name any more, by its
-- number: so a renamed column goes on under the name that devices know, and a dump that was
-- restored (which renumbers) is read right. A dropped column yields no row.
CREATE OR REPLACE FUNCTION tide.synced_columns(table_id integer)
    RETURNS SETOF tide.synced_column
    LANGUAGE plpgsql STABLE PARALLEL SAFE
    SET search_path = pg_catalog, pg_temp
AS $$
#variable_conflict use_column
BEGIN
    RETURN QUERY
    SELECT known.column_name,
           a.attname,
           CASE WHEN ty.is_array THEN tide.base_type(ty.typelem) ELSE ty.oid::regtype END,
           ty.is_array,
           known.column_name = ANY (s.key_columns),
           known.column_name = ANY (s.sync_columns)
      FROM tide.synced_table AS s
     CROSS JOIN LATERAL unnest(s.column_names, s.column_attnums) WITH ORDINALITY AS known (column_name, attnum, ordinal)
     CROSS JOIN LATERAL (
               -- Domains are rare.
               SELECT c.attname, CASE WHEN d.typtype = 'd' THEN tide.base_type(d.oid) ELSE d.oid END AS type_id
                 FROM pg_attribute AS c
                 JOIN pg_type AS d ON d.oid = c.atttypid
                WHERE c.attrelid = s.relation
                  AND c.attnum > 0
                  AND NOT c.attisdropped
                  AND (c.attname = known.column_name
                       OR (c.attnum = known.attnum AND c.attname <> ALL (s.column_names)))
                ORDER BY c.attname = known.column_name DESC
                LIMIT 1
           ) AS a
     CROSS JOIN LATERAL (
               SELECT t.oid, t.typelem, t.typsubscript = 'array_subscript_handler'::regproc AS is_array
                 FROM pg_type AS t
                WHERE t.oid = a.type_id
           ) AS ty
     WHERE s.table_id = synced_columns.table_id
     ORDER BY known.ordinal;
END;
$$;
COMMENT ON FUNCTION tide.synced_columns(integer) IS 'The columns capture uses: name for devices, name in the table now, and type without domains (of the element, for an array). Internal.';
