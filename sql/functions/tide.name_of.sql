-- Planned as a part of the query that it stands in: the names are read once, and found in memory. So small a table as
-- tide.synced_table is never analyzed, and a join would look it up again for each row.
CREATE OR REPLACE FUNCTION tide.name_of(table_id integer)
    RETURNS TABLE (table_schema text, table_name text)
    LANGUAGE sql STABLE
BEGIN ATOMIC
    SELECT (SELECT t.table_names -> 'schema' FROM tide.setting AS t) ->> name_of.table_id::text,
           (SELECT t.table_names -> 'table' FROM tide.setting AS t) ->> name_of.table_id::text;
END;
COMMENT ON FUNCTION tide.name_of(integer) IS 'What a table is called that is or was registered; NULL for no table. Internal.';
