CREATE OR REPLACE FUNCTION tide.fk_action(action "char")
    RETURNS text
    LANGUAGE sql IMMUTABLE PARALLEL SAFE
    SET search_path = pg_catalog, pg_temp
AS $$
    SELECT CASE action WHEN 'a' THEN 'NO ACTION' WHEN 'r' THEN 'RESTRICT' WHEN 'c' THEN 'CASCADE' WHEN 'n' THEN 'SET NULL' WHEN 'd' THEN 'SET DEFAULT' END;
$$;
COMMENT ON FUNCTION tide.fk_action("char") IS 'What a foreign key does when its parent changes, as pg_constraint has it, in words. Internal.';
