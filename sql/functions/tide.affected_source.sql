-- From each table that the rule looks at, a way down to the rows whose buckets may be others now: by
-- the foreign keys of children, and by what was declared for a function. given are changes of the
-- seal; every branch yields keys (tide_k1 ...) and the last change that reaches them. LATERAL … OFFSET 0:
-- a join would be planned by statistics of today, and once a parent has many children compare all with all.
-- Each row is followed down once, however many changes reach it: a thousand shares of one document are
-- one walk through what hangs on it.
CREATE OR REPLACE FUNCTION tide.affected_source(table_id integer)
    RETURNS text
    LANGUAGE plpgsql STABLE
    SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    v_table    tide.synced_table := (SELECT s FROM tide.synced_table AS s WHERE s.table_id = affected_source.table_id);
    v_keys     text := (SELECT string_agg(format('%s AS tide_k%s', k.value, k.ordinal), ', ' ORDER BY k.ordinal) FROM tide.key_columns(table_id, 'g.row_key') AS k);
    v_row      text := (SELECT string_agg(format('tide_n.%I::%s AS tide_k%s', k.current_name, k.type, k.ordinal), ', ' ORDER BY k.ordinal) FROM tide.key_columns(table_id, 'g.row_key') AS k);
    v_branches text[];
    v_link     record;
BEGIN
    v_branches := ARRAY[format('SELECT %s, g.last_change_id FROM given AS g WHERE g.table_id = %s', v_keys, table_id)];
    FOR v_link IN
        SELECT c.parent_id, string_agg('tide_k' || c.key_ordinal, ', ' ORDER BY c.key_ordinal) AS keys,
               string_agg(format('tide_n.%I OPERATOR(%s) tide_a.tide_k%s::%s', c.fk_column, c.fk_equality, c.key_ordinal, c.fk_type), ' AND ' ORDER BY c.key_ordinal) AS joined
          FROM tide.parent_columns(table_id) AS c WHERE c.parent_id <> affected_source.table_id GROUP BY c.parent_ordinal, c.parent_id ORDER BY c.parent_ordinal
    LOOP
        v_branches := v_branches || format('SELECT tide_d.*, tide_a.last_change_id FROM (SELECT %1$s, max(tide_s.last_change_id) AS last_change_id FROM (%2$s) AS tide_s GROUP BY %1$s) AS tide_a CROSS JOIN LATERAL (SELECT %3$s FROM %4$s AS tide_n WHERE %5$s OFFSET 0) AS tide_d',
            v_link.keys, tide.affected_source(v_link.parent_id), v_row, v_table.relation, v_link.joined);
    END LOOP;
    FOR v_link IN
        SELECT d.source_id,
               tide.changed_columns(d.source_id, d.source_columns) AS changed,
               coalesce(d.affects, (
                   SELECT format('SELECT tide_t.* FROM %s AS tide_t WHERE %s', v_table.relation,
                                 string_agg(format('tide_t.%I OPERATOR(%s) changed.%I::%s', c.current_name, t.equality, p.source, t.type), ' AND ' ORDER BY p.ordinal))
                     FROM unnest(d.table_columns, d.source_columns) WITH ORDINALITY AS p (name, source, ordinal)
                     JOIN tide.synced_columns(affected_source.table_id) AS c ON c.column_name = p.name
                    CROSS JOIN LATERAL tide.column_equality(v_table.relation, c.current_name) AS t)) AS affects
          FROM tide.bucket_dependency AS d WHERE d.table_id = affected_source.table_id ORDER BY d.source_id, d.source_columns
    LOOP
        v_branches := v_branches || format('SELECT %s, tide_i.last_change_id FROM (SELECT i.image::text::json AS image, max(g.last_change_id) AS last_change_id'
            || ' FROM given AS g CROSS JOIN LATERAL (VALUES (g.deps), (g.old_deps)) AS i (image) WHERE g.table_id = %s AND i.image IS NOT NULL GROUP BY i.image::text) AS tide_i'
            || ' CROSS JOIN LATERAL (SELECT %s) AS changed CROSS JOIN LATERAL (%s) AS tide_n',
            v_row, v_link.source_id, v_link.changed, v_link.affects);
    END LOOP;
    IF v_table.relation = ANY (v_table.parents) THEN
        RETURN format('WITH RECURSIVE tide_down AS (SELECT %1$s, max(tide_top.last_change_id) AS last_change_id FROM (%2$s) AS tide_top GROUP BY %1$s UNION SELECT tide_d.*, tide_down.last_change_id FROM tide_down CROSS JOIN LATERAL (SELECT %3$s FROM %4$s AS tide_n WHERE %5$s OFFSET 0) AS tide_d) SELECT * FROM tide_down',
            (SELECT string_agg('tide_k' || k.ordinal, ', ' ORDER BY k.ordinal) FROM tide.key_columns(table_id, '') AS k), array_to_string(v_branches, ' UNION ALL '), v_row, v_table.relation,
            (SELECT string_agg(format('tide_n.%I OPERATOR(%s) tide_down.tide_k%s::%s', c.fk_column, c.fk_equality, c.key_ordinal, c.fk_type), ' AND ')
               FROM tide.parent_columns(table_id) AS c WHERE c.parent_id = affected_source.table_id));
    END IF;
    RETURN array_to_string(v_branches, ' UNION ALL ');
END;
$$;
COMMENT ON FUNCTION tide.affected_source(integer) IS 'Query for the keys of a table whose buckets may have changed, given the changes of a seal. Internal.';
