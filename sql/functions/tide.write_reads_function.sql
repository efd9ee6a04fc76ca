CREATE OR REPLACE FUNCTION tide.write_reads_function(table_id integer)
    RETURNS void
    LANGUAGE plpgsql
    SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    v_table  tide.synced_table := (SELECT s FROM tide.synced_table AS s WHERE s.table_id = write_reads_function.table_id);
    v_type   regtype := (SELECT c.reltype FROM pg_class AS c WHERE c.oid = v_table.relation);
    v_client name := (SELECT s.client_role FROM tide.setting AS s);
BEGIN
    EXECUTE format('CREATE OR REPLACE FUNCTION tide.reads_%s(tide_n %s, tide_in text[]) RETURNS boolean LANGUAGE plpgsql STABLE SECURITY DEFINER %s AS %L',
        table_id, v_type, tide.capture_settings(table_id), format(E'\nBEGIN\n    RETURN (%s) && tide_in;\nEND;\n', tide.bucket_expression(table_id, 'tide_n')));
    EXECUTE format('ALTER FUNCTION tide.reads_%1$s(%2$s, text[]) OWNER TO tide_owner; REVOKE ALL ON FUNCTION tide.reads_%1$s(%2$s, text[]) FROM PUBLIC; GRANT EXECUTE ON FUNCTION tide.reads_%1$s(%2$s, text[]) TO %3$I;
        COMMENT ON FUNCTION tide.reads_%1$s(%2$s, text[]) IS %4$L', table_id, v_type, v_client,
        format('Whether a row of %s.%s lies in one of these buckets, by its bucket rule. Written by pgtide for its policies.', v_table.table_schema, v_table.table_name));
    EXECUTE format('GRANT USAGE ON SCHEMA tide TO %I; GRANT EXECUTE ON FUNCTION tide.my_buckets() TO %1$I', v_client);
END;
$$;
COMMENT ON FUNCTION tide.write_reads_function(integer) IS 'Writes the function by which policies ask the bucket rule of a table. Internal.';
