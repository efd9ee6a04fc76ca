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
    EXECUTE format('CREATE OR REPLACE FUNCTION tide.reads_%s(tide_n %s, tide_mine text[], tide_in text[] DEFAULT NULL) RETURNS boolean LANGUAGE plpgsql STABLE SECURITY DEFINER %s AS %L',
        table_id, v_type, tide.capture_settings(table_id), format($source$
DECLARE
    tide_buckets text[];
BEGIN
    -- About rows that he makes up, too, nobody hears more than what lies in buckets of his.
    IF tide_mine[cardinality(tide_mine)] IS DISTINCT FROM tide.buckets_proof(tide_mine[: cardinality(tide_mine) - 1]) THEN
        RETURN false;
    END IF;
    tide_buckets := %s;
    IF tide_in IS NULL THEN
        RETURN tide_buckets && tide_mine;
    END IF;
    RETURN EXISTS (SELECT FROM unnest(tide_buckets) AS b WHERE b = ANY (tide_in) AND b = ANY (tide_mine));
END;
$source$, tide.bucket_expression(table_id, 'tide_n')));
    EXECUTE format('ALTER FUNCTION tide.reads_%1$s(%2$s, text[], text[]) OWNER TO tide_owner; REVOKE ALL ON FUNCTION tide.reads_%1$s(%2$s, text[], text[]) FROM PUBLIC; GRANT EXECUTE ON FUNCTION tide.reads_%1$s(%2$s, text[], text[]) TO %3$I;
        COMMENT ON FUNCTION tide.reads_%1$s(%2$s, text[], text[]) IS %4$L', table_id, v_type, v_client,
        format('Whether a row of %s.%s lies, by its bucket rule, in one of these buckets that tide.my_proven_buckets gave, and of those in one of the others. Written by pgtide for its policies.', v_table.table_schema, v_table.table_name));
    EXECUTE format('GRANT USAGE ON SCHEMA tide TO %I; GRANT EXECUTE ON FUNCTION tide.my_buckets(), tide.my_proven_buckets() TO %1$I', v_client);
END;
$$;
COMMENT ON FUNCTION tide.write_reads_function(integer) IS 'Writes the function by which policies ask the bucket rule of a table. Internal.';
