CREATE OR REPLACE FUNCTION tide.why_not(user_id text, table_name regclass, key jsonb)
    RETURNS text
    LANGUAGE plpgsql STABLE SECURITY DEFINER
    SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    v_table   tide.synced_table;
    v_key     text COLLATE "C";
    v_buckets text[];
    v_may     text[] := tide.buckets_of(why_not.user_id);
    v_failed  text;
BEGIN
    SELECT * INTO v_table FROM tide.synced_table AS s WHERE s.relation = why_not.table_name AND s.unregistered_at IS NULL;
    IF v_table.table_id IS NULL THEN
        RETURN format('Table %s is not registered.', table_name);
    ELSIF NOT v_table.synced THEN
        RETURN format('Table %s is captured for the rules of other tables alone; no device gets it.', table_name);
    END IF;
    v_key := tide.key_text(table_name, key);
    SELECT f.error INTO v_failed FROM tide.bucket_failure AS f
     WHERE f.table_id = v_table.table_id AND f.row_key = v_key AND f.key_hash = hashtextextended(v_key, v_table.table_id);
    IF v_failed IS NOT NULL THEN
        RETURN format('Its bucket rule raised an error, so it is in no bucket: %s. Mend it, then SELECT tide.retry_bucket_failures().', v_failed);
    END IF;
    v_buckets := tide.row_buckets(table_name, key);
    RETURN CASE
        WHEN v_buckets IS NULL THEN 'There is no such row.'
        WHEN v_buckets = '{}' THEN 'It is in no bucket: deleted softly, without an owner, or no rule gives it one.'
        WHEN NOT v_buckets && v_may THEN format('It is in %s; the user may read %s.', array_to_string(v_buckets, ', '), CASE WHEN cardinality(v_may) > 20 THEN format('%s other buckets', cardinality(v_may)) ELSE array_to_string(v_may, ', ') END)
        WHEN v_table.derived AND NOT EXISTS (SELECT FROM tide.membership AS m WHERE m.table_id = v_table.table_id AND m.key_hash = hashtextextended(v_key, v_table.table_id) AND m.row_key = v_key AND m.bucket_id = ANY (v_may))
            THEN 'The next seal puts it there; SELECT * FROM tide.lag says when there was one.'
        ELSE format('The user gets it, by %s. A device that has not got it has not pulled yet, or connected before the table was registered.',
                    (SELECT string_agg(b, ', ') FROM unnest(v_buckets) AS b WHERE b = ANY (v_may)))
    END;
END;
$$;
COMMENT ON FUNCTION tide.why_not(text, regclass, jsonb) IS
'Why a user does not get a row, in one sentence: SELECT tide.why_not(''42'', ''app.task'', ''{"id": 7}''). Raises TD003.';
