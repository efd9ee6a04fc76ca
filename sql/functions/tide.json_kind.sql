CREATE OR REPLACE FUNCTION tide.json_kind(type_id regtype, in_array boolean DEFAULT false)
    RETURNS text
    LANGUAGE plpgsql STABLE PARALLEL SAFE
    SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    RETURN CASE
        WHEN type_id = ANY ('{int2,int4,int8}'::regtype[]) THEN 'integer'
        WHEN type_id = 'numeric'::regtype OR (type_id = 'money'::regtype AND NOT in_array) THEN 'decimal'
        WHEN type_id = ANY ('{float4,float8}'::regtype[]) THEN 'float'
        WHEN type_id = 'bool'::regtype THEN 'boolean'
        WHEN type_id = 'bytea'::regtype THEN 'bytes'
        WHEN type_id = ANY ('{uuid,date,timestamp,timestamptz}'::regtype[]) THEN (SELECT t.typname::text FROM pg_type AS t WHERE t.oid = type_id)
        WHEN type_id = ANY ('{json,jsonb}'::regtype[]) THEN 'json'
        WHEN (SELECT t.typtype FROM pg_type AS t WHERE t.oid = type_id) = 'c' THEN 'object'
        -- What to_json does with types that bring a cast, hstore for one.
        WHEN type_id::oid >= 16384 AND EXISTS (SELECT FROM pg_cast AS c WHERE c.castsource = type_id AND c.casttarget = 'json'::regtype AND c.castfunc <> 0) THEN 'json'
        ELSE 'text'
    END;
END;
$$;
COMMENT ON FUNCTION tide.json_kind(regtype, boolean) IS 'How a value of a type, or of the elements of an array, is spelled in a payload; docs/protocol.md says what each kind is. Internal.';
