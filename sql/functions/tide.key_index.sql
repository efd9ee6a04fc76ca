-- Deferrable, partial and expression indexes are no keys: within a transaction they let two rows
-- have the same one.
CREATE OR REPLACE FUNCTION tide.key_index(relation regclass, columns name[])
    RETURNS oid
    LANGUAGE plpgsql STABLE PARALLEL SAFE
    SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    RETURN (
    SELECT i.indexrelid
      FROM pg_index AS i
      JOIN pg_class AS c ON c.oid = i.indexrelid
      JOIN pg_am AS m ON m.oid = c.relam AND m.amname = 'btree'
     WHERE i.indrelid = relation
       AND i.indisunique AND i.indimmediate AND i.indisvalid
       AND i.indpred IS NULL AND i.indexprs IS NULL
       AND (SELECT array_agg(a.attname ORDER BY a.attname)
              FROM pg_attribute AS a
             WHERE a.attrelid = relation AND a.attnotnull AND a.attnum = ANY ((i.indkey::smallint[])[0:i.indnkeyatts - 1]))
           = (SELECT array_agg(n ORDER BY n) FROM unnest(columns) AS n)
       AND i.indnkeyatts = cardinality(columns)
     ORDER BY i.indisprimary DESC, i.indexrelid
     LIMIT 1);
END;
$$;
COMMENT ON FUNCTION tide.key_index(regclass, name[]) IS 'The unique index that makes these columns a key of the table, NULL when there is none. Internal.';
