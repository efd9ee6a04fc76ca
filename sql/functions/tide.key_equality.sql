CREATE OR REPLACE FUNCTION tide.key_equality(table_id integer, OUT column_name name, OUT equality text)
    RETURNS SETOF record
    LANGUAGE plpgsql STABLE PARALLEL SAFE
    SET search_path = pg_catalog, pg_temp
AS $$
#variable_conflict use_column
DECLARE
    v_relation regclass := (SELECT s.relation FROM tide.synced_table AS s WHERE s.table_id = key_equality.table_id);
    v_index    oid := tide.key_index(v_relation, ARRAY(SELECT c.current_name FROM tide.synced_columns(table_id) AS c WHERE c.in_key));
BEGIN
    -- The equality of the unique index itself: that of another search_path might not use the index.
    RETURN QUERY
    SELECT a.attname, format('%I.%s', n.nspname, op.oprname)
      FROM pg_index AS i
     CROSS JOIN LATERAL unnest((i.indkey::smallint[])[0:i.indnkeyatts - 1], i.indclass::oid[]) WITH ORDINALITY AS k (attnum, opclass, ordinal)
      JOIN pg_attribute AS a ON a.attrelid = v_relation AND a.attnum = k.attnum
      JOIN pg_opclass AS oc ON oc.oid = k.opclass
      JOIN pg_amop AS am ON am.amopfamily = oc.opcfamily AND am.amopstrategy = 3
                        AND am.amoplefttype = oc.opcintype AND am.amoprighttype = oc.opcintype
      JOIN pg_operator AS op ON op.oid = am.amopopr
      JOIN pg_namespace AS n ON n.oid = op.oprnamespace
     WHERE i.indexrelid = v_index
     ORDER BY k.ordinal;
END;
$$;
COMMENT ON FUNCTION tide.key_equality(integer) IS 'Key columns of a synced table in the order of the index on them, each with its equality operator. Internal.';
