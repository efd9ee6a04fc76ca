-- What a row has of its parents is a matter of its foreign keys alone: where the rule of one parent
-- raises, one of its children is asked, and not each of a hundred thousand. Windows, no joins: nobody
-- knows how long an array is when a plan is made.
CREATE OR REPLACE FUNCTION tide.judge_by_parents(table_id integer, changes tide.rule_change[])
    RETURNS tide.judged_row[]
    LANGUAGE plpgsql STABLE
    SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    v_firsts  bigint[];
    v_judged  tide.judged_row[];
    v_others  tide.rule_change[];
    v_raising tide.judged_row[];
BEGIN
    -- For each change, the place of the first that has the same parents.
    EXECUTE format('SELECT array_agg(p.first ORDER BY p.place) FROM (SELECT g.place, min(g.place) OVER (PARTITION BY r.parents) AS first FROM unnest($1) WITH ORDINALITY AS g (table_id, last_change_id, op, row_key, deps, old_deps, place)'
            || ' LEFT JOIN LATERAL (SELECT ROW(%s)::text AS parents FROM %s AS tide_n WHERE %s OFFSET 0) AS r ON true) AS p',
            (SELECT string_agg(format('tide_n.%I', c.fk_column), ', ') FROM tide.parent_columns(table_id) AS c),
            (SELECT s.relation FROM tide.synced_table AS s WHERE s.table_id = judge_by_parents.table_id),
            (SELECT string_agg(format('tide_n.%I OPERATOR(%s) %s', k.current_name, k.equality, k.value), ' AND ') FROM tide.key_columns(table_id, 'g.row_key') AS k))
       INTO v_firsts USING changes;
    v_judged := tide.judge_rows(table_id, (
        SELECT array_agg(ROW(c.table_id, c.last_change_id, c.op, c.row_key, c.deps, c.old_deps)::tide.rule_change)
          FROM unnest(changes, v_firsts) WITH ORDINALITY AS c (table_id, last_change_id, op, row_key, deps, old_deps, first, place)
         WHERE c.place = c.first), true);
    SELECT array_agg(o.change) FILTER (WHERE o.error IS NULL), array_agg(tide.failed_row(judge_by_parents.table_id, o.change, o.error)) FILTER (WHERE o.error IS NOT NULL)
      INTO v_others, v_raising
      FROM (SELECT m.change, m.first, m.place, max(m.error) OVER (PARTITION BY m.first) AS error
              FROM (SELECT k.change, k.first, k.place, max(k.error) OVER (PARTITION BY k.row_key) AS error
                      FROM (SELECT ROW(c.table_id, c.last_change_id, c.op, c.row_key, c.deps, c.old_deps)::tide.rule_change AS change, c.row_key, c.first, c.place, NULL AS error
                              FROM unnest(changes, v_firsts) WITH ORDINALITY AS c (table_id, last_change_id, op, row_key, deps, old_deps, first, place)
                             UNION ALL
                            SELECT NULL, j.row_key, NULL, NULL, j.error FROM unnest(v_judged) AS j) AS k) AS m) AS o
     WHERE o.place <> o.first;
    RETURN v_judged || tide.judge_rows(table_id, v_others, true) || v_raising;
END;
$$;
COMMENT ON FUNCTION tide.judge_by_parents(integer, tide.rule_change[]) IS 'tide.judge_rows where the rule of some row raises, for a table whose buckets come from its parents alone. Internal.';
