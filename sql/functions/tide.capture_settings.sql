-- Only settings that matter for the types at hand: each costs a little at every call.
CREATE OR REPLACE FUNCTION tide.capture_settings(table_id integer)
    RETURNS text
    LANGUAGE plpgsql STABLE PARALLEL SAFE
    SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    RETURN (
    SELECT concat_ws(E'\n    ',
               'SET search_path = pg_catalog, pg_temp',
               -- A plan that a bulk load made would have every later row of the session compiled.
               'SET jit = off',
               CASE WHEN bool_or(k.kind IN ('zone', 'other')) THEN 'SET TimeZone = ''UTC''' END,
               CASE WHEN bool_or(k.kind IN ('float', 'other')) THEN 'SET extra_float_digits = 1' END,
               CASE WHEN bool_or(k.kind = 'other') THEN concat_ws(E'\n    ',
                   'SET DateStyle = ''ISO, YMD''', 'SET IntervalStyle = ''postgres''', 'SET bytea_output = ''hex''',
                   'SET lc_monetary = ''C''', 'SET quote_all_identifiers = off') END)
      FROM tide.synced_table AS s
     CROSS JOIN LATERAL tide.synced_columns(s.table_id) AS c
      JOIN pg_type AS t ON t.oid = c.base_type
     CROSS JOIN LATERAL (
               SELECT CASE
                          WHEN s.bucket_function IS NOT NULL THEN 'other'
                          WHEN c.base_type = ANY ('{int2,int4,int8,oid,numeric,text,varchar,bpchar,name,"\"char\"",uuid,bool,json,jsonb,bytea,inet,cidr,macaddr,macaddr8,bit,varbit,tsvector}'::regtype[])
                               OR t.typtype = 'e' THEN 'plain'
                          WHEN c.column_name = ANY (s.dep_columns) THEN 'other'
                          WHEN c.base_type = ANY ('{date,time,timestamp}'::regtype[])
                               AND c.column_name IS DISTINCT FROM s.owner_column THEN 'plain'
                          WHEN c.base_type = 'timestamptz'::regtype AND c.column_name IS DISTINCT FROM s.owner_column THEN 'zone'
                          WHEN c.base_type = ANY ('{float4,float8,point,box,path,polygon,lseg,line,circle}'::regtype[]) THEN 'float'
                          ELSE 'other'
                      END
           ) AS k (kind)
     WHERE s.table_id = capture_settings.table_id);
END;
$$;
COMMENT ON FUNCTION tide.capture_settings(integer) IS 'SET clauses of a table''s capture functions: captured text must not depend on the writer''s session. Internal.';
