-- Within one statement, row triggers and cascading foreign keys can change a row again, and capture
-- then sees several images of it, the outer statement's last. BEFORE ROW triggers in PL/pgSQL whose
-- source holds no word that starts a statement on tables only edit NEW: they are the common
-- "updated_at" kind, and need nothing.
CREATE OR REPLACE FUNCTION tide.needs_read_back(relation regclass)
    RETURNS boolean
    LANGUAGE plpgsql STABLE PARALLEL SAFE
    SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    RETURN (
    SELECT EXISTS (
               SELECT FROM pg_trigger AS t
                 JOIN pg_proc AS p ON p.oid = t.tgfoid
                 JOIN pg_language AS l ON l.oid = p.prolang
                WHERE t.tgrelid = relation
                  AND NOT t.tgisinternal
                  AND t.tgenabled <> 'D'
                  AND p.pronamespace <> 'tide'::regnamespace
                  AND (t.tgtype & 1 = 1 OR t.tgname < '_tide')
                  AND NOT (t.tgtype & 3 = 3
                           AND (l.lanname IN ('c', 'internal')
                                OR l.lanname = 'plpgsql'
                                   AND p.prosrc !~* '\m(insert|update|delete|merge|truncate|copy|execute|perform|call|select)\M')))
           OR (SELECT bool_or(f.to_itself) OR sum(f.updates) > 1 OR (sum(f.updates) > 0 AND sum(f.deletes) > 0)
                 FROM (SELECT c.confrelid = c.conrelid AND (c.confupdtype <> 'a' OR c.confdeltype <> 'a') AS to_itself,
                              (c.confupdtype IN ('c', 'n', 'd') OR c.confdeltype IN ('n', 'd'))::integer AS updates,
                              (c.confdeltype = 'c')::integer AS deletes
                         FROM pg_constraint AS c
                        WHERE c.conrelid = relation AND c.contype = 'f') AS f));
END;
$$;
COMMENT ON FUNCTION tide.needs_read_back(regclass) IS 'Whether one statement can change a row of the table more than once, by row triggers or cascading foreign keys. Internal.';
