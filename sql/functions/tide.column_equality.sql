CREATE OR REPLACE FUNCTION tide.column_equality(relation regclass, column_name name, OUT type text, OUT equality text)
    LANGUAGE plpgsql STABLE PARALLEL SAFE
    SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    SELECT format_type(a.atttypid, a.atttypmod), CASE WHEN o.oid IS NOT NULL THEN format('%I.%s', n.nspname, o.oprname) END
      INTO type, equality
      FROM pg_attribute AS a
      LEFT JOIN pg_opclass AS oc
        ON oc.opcintype = (SELECT CASE WHEN t.typsubscript = 'array_subscript_handler'::regproc THEN 'anyarray'::regtype
                                       WHEN t.typtype = 'e' THEN 'anyenum'::regtype
                                       WHEN t.typtype = 'r' THEN 'anyrange'::regtype
                                       WHEN t.typtype = 'm' THEN 'anymultirange'::regtype
                                       WHEN t.oid = 'varchar'::regtype THEN 'text'::regtype ELSE t.oid::regtype END
                             FROM pg_type AS t WHERE t.oid = tide.base_type(a.atttypid))
       AND oc.opcdefault AND oc.opcmethod = (SELECT m.oid FROM pg_am AS m WHERE m.amname = 'btree')
      LEFT JOIN pg_amop AS am ON am.amopfamily = oc.opcfamily AND am.amopstrategy = 3 AND am.amoplefttype = oc.opcintype AND am.amoprighttype = oc.opcintype
      LEFT JOIN pg_operator AS o ON o.oid = am.amopopr
      LEFT JOIN pg_namespace AS n ON n.oid = o.oprnamespace
     WHERE a.attrelid = relation AND a.attname = column_name AND NOT a.attisdropped;
END;
$$;
COMMENT ON FUNCTION tide.column_equality(regclass, name) IS 'Type of a column, and the equality that an ordinary index on it serves; NULL when there is none. Internal.';
