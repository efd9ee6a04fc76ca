CREATE OR REPLACE FUNCTION tide.make_reading(table_id integer)
    RETURNS tide.reading
    LANGUAGE plpgsql STABLE
    SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    v_relation regclass;
    v_owner    text;
    v_reading  tide.reading;
BEGIN
    SELECT s.relation, s.owner_column INTO v_relation, v_owner FROM tide.synced_table AS s WHERE s.table_id = make_reading.table_id;
    v_reading.table_id := table_id;
    v_reading.shape := tide.reading_shape(table_id);
    SELECT n.row_key, n.payload, n.buckets INTO v_reading.row_key, v_reading.payload, v_reading.buckets FROM tide.row_expressions(table_id, 'tide_n') AS n;
    v_reading.deleted := tide.deleted_expression(table_id, 'tide_n');
    SELECT string_agg(format('tide_n.%I OPERATOR(%s) %s', k.current_name, k.equality, k.value), ' AND ') INTO v_reading.key_match FROM tide.key_columns(table_id, 'g.row_key') AS k;
    SELECT string_agg(format('tide_n.%I', k.column_name), ', ') INTO v_reading.key_order FROM tide.key_equality(table_id) AS k;
    SELECT format('tide_n.%I', c.current_name), format_type(a.atttypid, a.atttypmod), format('%I.%s', opn.nspname, o.oprname),
           -- Of these types equal values have one text, and the bucket is named by the text.
           c.base_type = ANY ('{int2,int4,int8,uuid}'::regtype[])
           OR c.base_type = ANY ('{text,varchar}'::regtype[]) AND EXISTS (SELECT FROM pg_collation AS l WHERE l.oid = a.attcollation AND l.collisdeterministic)
      INTO v_reading.owner, v_reading.owner_type, v_reading.owner_equality, v_reading.owner_exact
      FROM tide.synced_columns(table_id) AS c
      JOIN pg_attribute AS a ON a.attrelid = v_relation AND a.attname = c.current_name
      JOIN pg_opclass AS oc ON oc.opcintype = c.base_type AND oc.opcdefault AND oc.opcmethod = (SELECT m.oid FROM pg_am AS m WHERE m.amname = 'btree')
      JOIN pg_amop AS am ON am.amopfamily = oc.opcfamily AND am.amopstrategy = 3 AND am.amoplefttype = oc.opcintype AND am.amoprighttype = oc.opcintype
      JOIN pg_operator AS o ON o.oid = am.amopopr
      JOIN pg_namespace AS opn ON opn.oid = o.oprnamespace
     WHERE c.column_name = v_owner;
    RETURN v_reading;
END;
$$;
COMMENT ON FUNCTION tide.make_reading(integer) IS 'Works out how the rows of a table are read, for the table as it is. Raises TD012. Internal.';
