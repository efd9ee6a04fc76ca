-- One query for one table and bucket: rows in the order of their key. The rule itself decides which; for
-- an owner its column is compared, so that its index finds them.
CREATE OR REPLACE FUNCTION tide.snapshot_source(table_id integer, bucket_id text)
    RETURNS text
    LANGUAGE plpgsql STABLE
    SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    v_table  tide.synced_table := (SELECT s FROM tide.synced_table AS s WHERE s.table_id = snapshot_source.table_id);
    v_owner  text := substr(bucket_id, 1 + length(v_table.bucket_prefix));
    v_column record;
    v_filter text;
    v_exact  boolean := false; -- the owner says it all
    n        record;
BEGIN
    IF v_table.bucket <> bucket_id AND NOT v_table.derived THEN
        RETURN NULL;
    END IF;
    SELECT * INTO n FROM tide.row_expressions(table_id, 'tide_n');
    IF v_table.derived THEN
        -- As of the seal of this snapshot, not of the one before, which is what the stored buckets are.
        RETURN format($sql$
            SELECT %1$s AS table_id, %2$s AS row_key, %3$s AS payload
              FROM (WITH pending AS MATERIALIZED (SELECT p.row_key COLLATE "C" AS row_key, p.after FROM tide.pending_moves(%1$s) AS p)
                    SELECT m.row_key FROM tide.membership AS m
                     WHERE m.bucket_id = %4$L AND m.table_id = %1$s AND m.row_key NOT IN (SELECT p.row_key FROM pending AS p)
                     UNION ALL
                    SELECT p.row_key FROM pending AS p WHERE %4$L = ANY (p.after)) AS g
              JOIN %5$s AS tide_n ON %6$s
             ORDER BY %7$s$sql$,
            table_id, n.row_key, n.payload, bucket_id, v_table.relation,
            (SELECT string_agg(format('tide_n.%I OPERATOR(%s) %s', k.current_name, k.equality, k.value), ' AND ') FROM tide.key_columns(table_id, 'g.row_key') AS k),
            (SELECT string_agg(format('tide_n.%I', k.column_name), ', ') FROM tide.key_equality(table_id) AS k));
    END IF;
    IF v_table.owner_column IS NOT NULL THEN
        SELECT c.current_name AS name, format_type(a.atttypid, a.atttypmod) AS type, format('%I.%s', opn.nspname, o.oprname) AS equality,
               -- Of these types equal values have one text, and the bucket is named by the text.
               c.base_type = ANY ('{int2,int4,int8,uuid}'::regtype[])
               OR c.base_type = ANY ('{text,varchar}'::regtype[]) AND octet_length(bucket_id) <= 512
                  AND EXISTS (SELECT FROM pg_collation AS l WHERE l.oid = a.attcollation AND l.collisdeterministic) AS one_text
          INTO v_column
          FROM tide.synced_columns(table_id) AS c
          JOIN pg_attribute AS a ON a.attrelid = v_table.relation AND a.attname = c.current_name
          LEFT JOIN pg_opclass AS oc ON oc.opcintype = c.base_type AND oc.opcdefault AND oc.opcmethod = (SELECT m.oid FROM pg_am AS m WHERE m.amname = 'btree')
          LEFT JOIN pg_amop AS am ON am.amopfamily = oc.opcfamily AND am.amopstrategy = 3 AND am.amoplefttype = oc.opcintype AND am.amoprighttype = oc.opcintype
          LEFT JOIN pg_operator AS o ON o.oid = am.amopopr
          LEFT JOIN pg_namespace AS opn ON opn.oid = o.oprnamespace
         WHERE c.column_name = v_table.owner_column;
        IF starts_with(bucket_id, v_table.bucket_prefix) AND v_column.equality IS NOT NULL THEN
            BEGIN
                -- A name that no owner can have: the bucket has none of these rows.
                EXECUTE format('SELECT %1$L::%2$s::text = %1$L', v_owner, v_column.type) INTO v_exact;
                v_exact := v_exact AND v_column.one_text;
                v_filter := format('tide_n.%I OPERATOR(%s) %L::%s', v_column.name, v_column.equality, v_owner, v_column.type);
            EXCEPTION
                WHEN data_exception OR integrity_constraint_violation THEN
                    v_filter := 'false';
            END;
        ELSIF v_column.equality IS NOT NULL THEN
            v_filter := 'false';
        END IF;
        IF v_table.null_owner_bucket = bucket_id THEN
            v_filter := format('(%s OR tide_n.%I IS NULL)', v_filter, v_column.name);
        END IF;
    END IF;
    RETURN format('SELECT %s AS table_id, %s AS row_key, %s AS payload FROM %s AS tide_n WHERE %s',
        table_id, n.row_key, n.payload, v_table.relation, concat_ws(' AND ', v_filter,
            -- Asked of each row, the rule costs as much as its JSON, and the planner expects one row of 200.
            CASE WHEN v_exact THEN '(' || tide.deleted_expression(table_id, 'tide_n') || ') IS NOT TRUE' ELSE format('%L = ANY (%s)', bucket_id, n.buckets) END))
        || format(' ORDER BY %s', (SELECT string_agg(format('tide_n.%I', k.column_name), ', ') FROM tide.key_equality(table_id) AS k));
END;
$$;
COMMENT ON FUNCTION tide.snapshot_source(integer, text) IS 'Query for the rows that one table has in one bucket, NULL when it can have none. Internal.';
