CREATE OR REPLACE FUNCTION tide.key_equality(table_id integer, OUT column_name name, OUT equality text)
    RETURNS SETOF record
    LANGUAGE plpgsql STABLE PARALLEL SAFE
    SET search_path = pg_catalog, pg_temp
AS $$
#variable_conflict use_column
BEGIN
    -- The equality of the unique index itself: that of another search_path might not use the index.
    RETURN QUERY
    SELECT c.current_name, format('%I.%s', n.nspname, op.oprname)
      FROM tide.synced_table AS s
      JOIN pg_index AS i
        ON i.indexrelid = tide.key_index(s.relation, ARRAY(SELECT c.current_name FROM tide.synced_columns(s.table_id) AS c WHERE c.in_key))
     CROSS JOIN LATERAL unnest((i.indkey::smallint[])[0:i.indnkeyatts - 1], i.indclass::oid[]) AS k (attnum, opclass)
      JOIN pg_attribute AS a ON a.attrelid = s.relation AND a.attnum = k.attnum
      JOIN tide.synced_columns(s.table_id) AS c ON c.current_name = a.attname
      JOIN pg_opclass AS oc ON oc.oid = k.opclass
      JOIN pg_amop AS am ON am.amopfamily = oc.opcfamily AND am.amopstrategy = 3
                        AND am.amoplefttype = oc.opcintype AND am.amoprighttype = oc.opcintype
      JOIN pg_operator AS op ON op.oid = am.amopopr
      JOIN pg_namespace AS n ON n.oid = op.oprnamespace
     WHERE s.table_id = key_equality.table_id;
END;
$$;
COMMENT ON FUNCTION tide.key_equality(integer) IS 'Key columns of a synced table, each with the equality operator of the index on them. Internal.';
