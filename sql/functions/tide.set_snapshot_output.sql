-- A plan that begins early may cost twice as much, and no more: to read a whole table in the order of its key for
-- the rows of one user begins at once.
CREATE OR REPLACE FUNCTION tide.set_snapshot_output()
    RETURNS void
    LANGUAGE sql
    SET search_path = pg_catalog, pg_temp
AS $$
    SELECT set_config(s.name, s.value, true)
      FROM (VALUES ('TimeZone', 'UTC'), ('extra_float_digits', '1'), ('DateStyle', 'ISO, YMD'), ('IntervalStyle', 'postgres'), ('bytea_output', 'hex'),
                   ('lc_monetary', 'C'), ('quote_all_identifiers', 'off'), ('jit', 'off'), ('max_parallel_workers_per_gather', '0'), ('cursor_tuple_fraction', '0.5')) AS s (name, value);
    SELECT;
$$;
COMMENT ON FUNCTION tide.set_snapshot_output() IS 'Settings under which values have the form that devices get, for the rest of the transaction. Internal.';
