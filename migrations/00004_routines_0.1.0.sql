-- Code generated from sql/ by internal/sqlbundle. DO NOT EDIT.

-- +goose Up
SET LOCAL search_path = pg_catalog, pg_temp;
SET LOCAL ROLE tide_owner;

-- +goose StatementBegin
CREATE OR REPLACE FUNCTION tide.version()
    RETURNS text
    LANGUAGE sql IMMUTABLE PARALLEL SAFE
    RETURN '0.1.0';
COMMENT ON FUNCTION tide.version() IS 'Version of pgtide whose routines are installed.';
-- +goose StatementEnd

-- +goose StatementBegin
-- Asked for every column of every table, over and over: in LANGUAGE sql it would be planned at every call.
CREATE OR REPLACE FUNCTION tide.base_type(type_id oid)
    RETURNS regtype
    LANGUAGE plpgsql STABLE PARALLEL SAFE
    SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    v_base oid;
BEGIN
    LOOP
        SELECT t.typbasetype INTO v_base FROM pg_type AS t WHERE t.oid = type_id;
        EXIT WHEN v_base = 0 OR v_base IS NULL;
        type_id := v_base;
    END LOOP;
    RETURN CASE WHEN v_base = 0 THEN type_id::regtype END;
END;
$$;
COMMENT ON FUNCTION tide.base_type(oid) IS 'The type below a domain, through any number of domains. Internal.';
-- +goose StatementEnd

-- +goose StatementBegin
-- A column is found by its name at registration, or, when no column has that name any more, by its
-- number: so a renamed column goes on under the name that devices know, and a dump that was
-- restored (which renumbers) is read right. A dropped column yields no row.
CREATE OR REPLACE FUNCTION tide.synced_columns(table_id integer)
    RETURNS SETOF tide.synced_column
    LANGUAGE plpgsql STABLE PARALLEL SAFE
    SET search_path = pg_catalog, pg_temp
AS $$
#variable_conflict use_column
BEGIN
    RETURN QUERY
    SELECT known.column_name,
           a.attname,
           CASE WHEN ty.is_array THEN tide.base_type(ty.typelem) ELSE ty.oid::regtype END,
           ty.is_array,
           known.column_name = ANY (s.key_columns),
           known.column_name = ANY (s.sync_columns)
      FROM tide.synced_table AS s
     CROSS JOIN LATERAL unnest(s.column_names, s.column_attnums) WITH ORDINALITY AS known (column_name, attnum, ordinal)
     CROSS JOIN LATERAL (
               -- Domains are rare.
               SELECT c.attname, CASE WHEN d.typtype = 'd' THEN tide.base_type(d.oid) ELSE d.oid END AS type_id
                 FROM pg_attribute AS c
                 JOIN pg_type AS d ON d.oid = c.atttypid
                WHERE c.attrelid = s.relation
                  AND c.attnum > 0
                  AND NOT c.attisdropped
                  AND (c.attname = known.column_name
                       OR (c.attnum = known.attnum AND c.attname <> ALL (s.column_names)))
                ORDER BY c.attname = known.column_name DESC
                LIMIT 1
           ) AS a
     CROSS JOIN LATERAL (
               SELECT t.oid, t.typelem, t.typsubscript = 'array_subscript_handler'::regproc AS is_array
                 FROM pg_type AS t
                WHERE t.oid = a.type_id
           ) AS ty
     WHERE s.table_id = synced_columns.table_id
     ORDER BY known.ordinal;
END;
$$;
COMMENT ON FUNCTION tide.synced_columns(integer) IS 'The columns capture uses: name for devices, name in the table now, and type without domains (of the element, for an array). Internal.';
-- +goose StatementEnd

-- +goose StatementBegin
CREATE OR REPLACE FUNCTION tide.current_names(table_id integer, names text[])
    RETURNS text[]
    LANGUAGE plpgsql STABLE PARALLEL SAFE
    SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    RETURN (
    SELECT ARRAY(
        SELECT c.current_name::text
          FROM unnest(names) WITH ORDINALITY AS n (name, ordinal)
          JOIN tide.synced_columns(table_id) AS c ON c.column_name = n.name
         ORDER BY n.ordinal));
END;
$$;
COMMENT ON FUNCTION tide.current_names(integer, text[]) IS 'What columns registered under these names are called now, without dropped ones. Internal.';
-- +goose StatementEnd

-- +goose StatementBegin
CREATE OR REPLACE FUNCTION tide.registered_table(relation regclass)
    RETURNS tide.synced_table
    LANGUAGE plpgsql STABLE
    SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    v_table tide.synced_table;
BEGIN
    SELECT * INTO v_table FROM tide.synced_table AS s WHERE s.relation = registered_table.relation AND s.unregistered_at IS NULL;
    IF NOT FOUND THEN
        RAISE EXCEPTION 'table % is not registered', relation
            USING ERRCODE = 'TD009', HINT = 'SELECT * FROM tide.tables lists those that are; tide.register_table adds one.';
    END IF;
    RETURN v_table;
END;
$$;
COMMENT ON FUNCTION tide.registered_table(regclass) IS 'Registration of a table. Raises TD009. Internal.';
-- +goose StatementEnd

-- +goose StatementBegin
-- By its name and the row it takes: the signature that was registered has the names of then. One in another schema
-- counts where that schema is no more, and only if whoever owns the table, or a superuser, made it: it runs as tide_owner.
CREATE OR REPLACE FUNCTION tide.bucket_function_of(table_id integer)
    RETURNS oid
    LANGUAGE plpgsql STABLE PARALLEL SAFE
    SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    RETURN (
    SELECT p.oid
      FROM tide.synced_table AS s
      JOIN pg_class AS c ON c.oid = s.relation
     CROSS JOIN LATERAL parse_ident(s.bucket_function, false) AS i (names)
      JOIN pg_proc AS p ON p.proname = i.names[2] AND p.pronargs = 1 AND p.proargtypes[0] = c.reltype
      JOIN pg_namespace AS n ON n.oid = p.pronamespace
     WHERE s.table_id = bucket_function_of.table_id
       AND (n.nspname = i.names[1]
            OR to_regnamespace(quote_ident(i.names[1])) IS NULL
               AND (p.proowner = c.relowner OR (SELECT r.rolsuper FROM pg_roles AS r WHERE r.oid = p.proowner)))
     ORDER BY p.oid
     LIMIT 1);
END;
$$;
COMMENT ON FUNCTION tide.bucket_function_of(integer) IS 'The bucket function of a table, also after the table, or the schema of the function, was renamed; NULL when it has none, or it is gone. Internal.';
-- +goose StatementEnd

-- +goose StatementBegin
CREATE OR REPLACE FUNCTION tide.describe_rule(synced_table tide.synced_table)
    RETURNS text
    LANGUAGE sql STABLE PARALLEL SAFE
    SET search_path = pg_catalog, pg_temp
AS $$
    SELECT concat_ws(', ',
               CASE
                   WHEN synced_table.bucket IS NOT NULL THEN format('bucket %s', synced_table.bucket)
                   WHEN synced_table.bucket_function IS NOT NULL THEN format('buckets by %s', synced_table.bucket_function)
                   WHEN synced_table.owner_column IS NOT NULL THEN format('bucket %s<%s>', synced_table.bucket_prefix, synced_table.owner_column)
                   WHEN NOT synced_table.synced THEN 'captured for the rules of other tables'
               END,
               (SELECT format('buckets of its %s', string_agg(format('%s (%s)', r.relation, r.fk), ', ' ORDER BY r.ordinal))
                  FROM unnest(synced_table.parents, synced_table.parent_fks) WITH ORDINALITY AS r (relation, fk, ordinal) HAVING count(*) > 0),
               synced_table.null_owner_bucket || ' where there is no owner',
               CASE WHEN synced_table.deleted_at_column IS NOT NULL THEN format('deleted when %s is set', synced_table.deleted_at_column) END);
$$;
COMMENT ON FUNCTION tide.describe_rule(tide.synced_table) IS 'The bucket rule of a table, for people. Internal.';
-- +goose StatementEnd

-- +goose StatementBegin
CREATE OR REPLACE FUNCTION tide.bucket_patterns(synced_table tide.synced_table)
    RETURNS text[]
    LANGUAGE sql IMMUTABLE PARALLEL SAFE
    SET search_path = pg_catalog, pg_temp
AS $$
    SELECT CASE
               -- What rows of a derived table lay in is known exactly: tide.membership.
               WHEN synced_table.derived OR NOT synced_table.synced THEN '{}'
               WHEN synced_table.bucket IS NOT NULL THEN ARRAY['=' || synced_table.bucket]
               WHEN synced_table.bucket_function IS NOT NULL THEN ARRAY['^']
               ELSE array_remove(ARRAY['^' || synced_table.bucket_prefix, '=' || synced_table.null_owner_bucket], NULL)
           END;
$$;
COMMENT ON FUNCTION tide.bucket_patterns(tide.synced_table) IS 'Buckets that rows of the table can lie in: =name, or ^prefix. Internal.';
-- +goose StatementEnd

-- +goose StatementBegin
-- Deferrable, partial and expression indexes are no keys: within a transaction they let two rows
-- have the same one.
CREATE OR REPLACE FUNCTION tide.key_index(relation regclass, columns name[])
    RETURNS oid
    LANGUAGE plpgsql STABLE PARALLEL SAFE
    SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    RETURN (
    SELECT i.indexrelid
      FROM pg_index AS i
      JOIN pg_class AS c ON c.oid = i.indexrelid
      JOIN pg_am AS m ON m.oid = c.relam AND m.amname = 'btree'
     WHERE i.indrelid = relation
       AND i.indisunique AND i.indimmediate AND i.indisvalid
       AND i.indpred IS NULL AND i.indexprs IS NULL
       AND (SELECT array_agg(a.attname ORDER BY a.attname)
              FROM pg_attribute AS a
             WHERE a.attrelid = relation AND a.attnotnull AND a.attnum = ANY ((i.indkey::smallint[])[0:i.indnkeyatts - 1]))
           = (SELECT array_agg(n ORDER BY n) FROM unnest(columns) AS n)
       AND i.indnkeyatts = cardinality(columns)
     ORDER BY i.indisprimary DESC, i.indexrelid
     LIMIT 1);
END;
$$;
COMMENT ON FUNCTION tide.key_index(regclass, name[]) IS 'The unique index that makes these columns a key of the table, NULL when there is none. Internal.';
-- +goose StatementEnd

-- +goose StatementBegin
CREATE OR REPLACE FUNCTION tide.key_equality(table_id integer, OUT column_name name, OUT equality text)
    RETURNS SETOF record
    LANGUAGE plpgsql STABLE PARALLEL SAFE
    SET search_path = pg_catalog, pg_temp
AS $$
#variable_conflict use_column
DECLARE
    v_relation regclass := (SELECT s.relation FROM tide.synced_table AS s WHERE s.table_id = key_equality.table_id);
    v_index    oid := tide.key_index(v_relation, ARRAY(SELECT c.current_name FROM tide.synced_columns(table_id) AS c WHERE c.in_key));
BEGIN
    -- The equality of the unique index itself: that of another search_path might not use the index.
    RETURN QUERY
    SELECT a.attname, format('%I.%s', n.nspname, op.oprname)
      FROM pg_index AS i
     CROSS JOIN LATERAL unnest((i.indkey::smallint[])[0:i.indnkeyatts - 1], i.indclass::oid[]) WITH ORDINALITY AS k (attnum, opclass, ordinal)
      JOIN pg_attribute AS a ON a.attrelid = v_relation AND a.attnum = k.attnum
      JOIN pg_opclass AS oc ON oc.oid = k.opclass
      JOIN pg_amop AS am ON am.amopfamily = oc.opcfamily AND am.amopstrategy = 3
                        AND am.amoplefttype = oc.opcintype AND am.amoprighttype = oc.opcintype
      JOIN pg_operator AS op ON op.oid = am.amopopr
      JOIN pg_namespace AS n ON n.oid = op.oprnamespace
     WHERE i.indexrelid = v_index
     ORDER BY k.ordinal;
END;
$$;
COMMENT ON FUNCTION tide.key_equality(integer) IS 'Key columns of a synced table in the order of the index on them, each with its equality operator. Internal.';
-- +goose StatementEnd

-- +goose StatementBegin
CREATE OR REPLACE FUNCTION tide.column_equality(relation regclass, column_name name, OUT type text, OUT equality text)
    LANGUAGE plpgsql STABLE PARALLEL SAFE
    SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    SELECT format_type(a.atttypid, a.atttypmod), CASE WHEN o.oid IS NOT NULL THEN format('%I.%s', n.nspname, o.oprname) END
      INTO type, equality
      FROM pg_attribute AS a
      LEFT JOIN pg_opclass AS oc
        ON oc.opcintype = (SELECT CASE WHEN t.typsubscript = 'array_subscript_handler'::regproc THEN 'anyarray'::regtype
                                       WHEN t.typtype = 'e' THEN 'anyenum'::regtype
                                       WHEN t.typtype = 'r' THEN 'anyrange'::regtype
                                       WHEN t.typtype = 'm' THEN 'anymultirange'::regtype
                                       WHEN t.oid = 'varchar'::regtype THEN 'text'::regtype ELSE t.oid::regtype END
                             FROM pg_type AS t WHERE t.oid = tide.base_type(a.atttypid))
       AND oc.opcdefault AND oc.opcmethod = (SELECT m.oid FROM pg_am AS m WHERE m.amname = 'btree')
      LEFT JOIN pg_amop AS am ON am.amopfamily = oc.opcfamily AND am.amopstrategy = 3 AND am.amoplefttype = oc.opcintype AND am.amoprighttype = oc.opcintype
      LEFT JOIN pg_operator AS o ON o.oid = am.amopopr
      LEFT JOIN pg_namespace AS n ON n.oid = o.oprnamespace
     WHERE a.attrelid = relation AND a.attname = column_name AND NOT a.attisdropped;
END;
$$;
COMMENT ON FUNCTION tide.column_equality(regclass, name) IS 'Type of a column, and the equality that an ordinary index on it serves; NULL when there is none. Internal.';
-- +goose StatementEnd

-- +goose StatementBegin
CREATE OR REPLACE FUNCTION tide.key_columns(
    table_id integer, row_key text,
    OUT ordinal bigint, OUT column_name text, OUT current_name name, OUT type text, OUT equality text, OUT value text
)
    RETURNS SETOF record
    LANGUAGE plpgsql STABLE
    SET search_path = pg_catalog, pg_temp
AS $$
#variable_conflict use_column
BEGIN
    RETURN QUERY
    SELECT k.ordinal, k.name, c.current_name, t.type, e.equality,
           format(CASE WHEN c.base_type = 'bytea'::regtype AND NOT c.is_array THEN 'decode(%s::json ->> %L, ''base64'')::%s' ELSE '(%s::json ->> %L)::%s' END, row_key, k.name, t.type)
      FROM tide.synced_table AS s
     CROSS JOIN LATERAL unnest(s.key_columns) WITH ORDINALITY AS k (name, ordinal)
      JOIN tide.synced_columns(s.table_id) AS c ON c.column_name = k.name
     CROSS JOIN LATERAL tide.column_equality(s.relation, c.current_name) AS t
      JOIN tide.key_equality(s.table_id) AS e ON e.column_name = c.current_name
     WHERE s.table_id = key_columns.table_id
     ORDER BY k.ordinal;
END;
$$;
COMMENT ON FUNCTION tide.key_columns(integer, text) IS 'Key columns of a table in the order of its registration, with the expression that reads each from a row_key. Internal.';
-- +goose StatementEnd

-- +goose StatementBegin
CREATE OR REPLACE FUNCTION tide.parent_columns(
    table_id integer,
    OUT parent_id integer, OUT parent regclass, OUT parent_ordinal bigint, OUT key_ordinal bigint, OUT fk_column name, OUT fk_type text, OUT fk_equality text,
    OUT key_column name, OUT key_name text, OUT key_type text, OUT key_equality text
)
    RETURNS SETOF record
    LANGUAGE plpgsql STABLE
    SET search_path = pg_catalog, pg_temp
AS $$
#variable_conflict use_column
BEGIN
    RETURN QUERY
    SELECT p.table_id, p.relation, r.ordinal, f.ordinal, c.current_name, ct.type, ct.equality, k.current_name, k.column_name, kt.type, e.equality
      FROM tide.synced_table AS s
     CROSS JOIN LATERAL unnest(s.parents, s.parent_fks) WITH ORDINALITY AS r (relation, fk, ordinal)
      JOIN tide.synced_table AS p ON p.relation = r.relation
     CROSS JOIN LATERAL unnest(string_to_array(r.fk, ',')) WITH ORDINALITY AS f (name, ordinal)
      JOIN tide.synced_columns(s.table_id) AS c ON c.column_name = f.name
     CROSS JOIN LATERAL tide.column_equality(s.relation, c.current_name) AS ct
      JOIN tide.synced_columns(p.table_id) AS k ON k.column_name = p.key_columns[f.ordinal]
     CROSS JOIN LATERAL tide.column_equality(p.relation, k.current_name) AS kt
      JOIN tide.key_equality(p.table_id) AS e ON e.column_name = k.current_name
     WHERE s.table_id = parent_columns.table_id
     ORDER BY r.ordinal, f.ordinal;
END;
$$;
COMMENT ON FUNCTION tide.parent_columns(integer) IS 'Columns by which a table refers to its parents, each with the key column it refers to. Internal.';
-- +goose StatementEnd

-- +goose StatementBegin
CREATE OR REPLACE FUNCTION tide.deleted_expression(table_id integer, row_alias text)
    RETURNS text
    LANGUAGE plpgsql STABLE
    SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    RETURN (
    SELECT format('%s.%I %s', row_alias, c.current_name, CASE WHEN c.base_type = 'bool'::regtype THEN 'IS TRUE' ELSE 'IS NOT NULL' END)
      FROM tide.synced_table AS s CROSS JOIN LATERAL tide.synced_columns(s.table_id) AS c
     WHERE s.table_id = deleted_expression.table_id AND s.deleted_at_column IS NOT NULL AND c.column_name = s.deleted_at_column);
END;
$$;
COMMENT ON FUNCTION tide.deleted_expression(integer, text) IS 'SQL expression that tells a softly deleted row, NULL when the table has none. Internal.';
-- +goose StatementEnd

-- +goose StatementBegin
CREATE OR REPLACE FUNCTION tide.bytea_array_json(items bytea[])
    RETURNS json
    LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE
    SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    v_dimensions integer[];
    v_width      integer;
    v_level      text[] := ARRAY(SELECT coalesce('"' || translate(encode(i.item, 'base64'), chr(10), '') || '"', 'null') FROM unnest(items) AS i (item));
BEGIN
    IF items IS NULL THEN
        RETURN NULL;
    END IF;
    v_dimensions := ARRAY(SELECT array_length(items, d) FROM generate_series(1, array_ndims(items)) AS d);
    -- unnest walks the last dimension fastest: fold it up, one dimension at a time.
    FOR v_dimension IN REVERSE cardinality(v_dimensions) .. 2 LOOP
        v_width := v_dimensions[v_dimension];
        v_level := ARRAY(
            SELECT '[' || string_agg(l.item, ',' ORDER BY l.ordinal) || ']'
              FROM unnest(v_level) WITH ORDINALITY AS l (item, ordinal)
             GROUP BY (l.ordinal - 1) / v_width
             ORDER BY (l.ordinal - 1) / v_width
        );
    END LOOP;
    RETURN ('[' || array_to_string(v_level, ',') || ']')::json;
END;
$$;
COMMENT ON FUNCTION tide.bytea_array_json(bytea[]) IS 'JSON array of any dimension with each bytea in base64, as single bytea columns are sent. Internal.';
-- +goose StatementEnd

-- +goose StatementBegin
CREATE OR REPLACE FUNCTION tide.owner_bucket(prefix text, owner text)
    RETURNS text[]
    LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE
    SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    IF octet_length(prefix || owner) > 512 THEN
        RAISE EXCEPTION 'bucket name is too long'
            USING ERRCODE = 'TD013',
                  DETAIL  = format('It would have %s bytes, at most 512 are allowed.', octet_length(prefix || owner)),
                  HINT    = 'Bucket names are keys of an index: use a short owner column.';
    END IF;
    RETURN ARRAY[prefix || owner];
END;
$$;
COMMENT ON FUNCTION tide.owner_bucket(text, text) IS 'Bucket of an owner whose type does not bound its length. Raises TD013. Internal.';
-- +goose StatementEnd

-- +goose StatementBegin
CREATE OR REPLACE FUNCTION tide.function_buckets(buckets text[])
    RETURNS text[]
    LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE
    SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    IF cardinality(buckets) = 1 AND octet_length(buckets[1]) BETWEEN 1 AND 512 THEN
        RETURN buckets;
    END IF;
    IF (SELECT max(octet_length(b)) > 512 OR min(octet_length(b)) = 0 FROM unnest(buckets) AS b) THEN
        RAISE EXCEPTION 'bucket function returned a name that is empty or too long'
            USING ERRCODE = 'TD013',
                  DETAIL  = 'A bucket name has 1 to 512 bytes.',
                  HINT    = 'Mend the function; return NULL or an empty array for a row that nobody gets.';
    END IF;
    buckets := ARRAY(SELECT DISTINCT b COLLATE "C" AS b FROM unnest(buckets) AS b WHERE b IS NOT NULL ORDER BY b);
    IF cardinality(buckets) > 1000 THEN
        RAISE EXCEPTION 'bucket function returned too many buckets for one row'
            USING ERRCODE = 'TD013',
                  DETAIL  = format('It returned %s, at most 1000 are allowed.', cardinality(buckets)),
                  HINT    = 'Give rows that many people share a bucket of their own, and let each of them read it.';
    END IF;
    RETURN buckets;
END;
$$;
COMMENT ON FUNCTION tide.function_buckets(text[]) IS 'What a bucket function returned, without NULL and repetition. Raises TD013. Internal.';
-- +goose StatementEnd

-- +goose StatementBegin
-- Stands in a rule for what cannot be judged any more: whoever judges a row by it gets the error, and
-- writing rows of other tables goes on.
CREATE OR REPLACE FUNCTION tide.lost_column(relation text)
    RETURNS text[]
    LANGUAGE plpgsql STABLE
    SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    RAISE EXCEPTION 'table % has lost a column that its bucket rule needs', relation
        USING ERRCODE = 'TD012', HINT = format('Register it anew: SELECT tide.register_table(%L, ...).', relation);
END;
$$;
COMMENT ON FUNCTION tide.lost_column(text) IS 'Raises TD012. Internal.';
-- +goose StatementEnd

-- +goose StatementBegin
CREATE OR REPLACE FUNCTION tide.own_buckets(table_id integer, row_alias text)
    RETURNS text
    LANGUAGE plpgsql STABLE
    SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    v_table   tide.synced_table := (SELECT s FROM tide.synced_table AS s WHERE s.table_id = own_buckets.table_id);
    v_owner   record;
    v_buckets text;
BEGIN
    IF v_table.bucket IS NOT NULL THEN
        RETURN format('%L::text[]', ARRAY[v_table.bucket]);
    ELSIF v_table.bucket_function IS NOT NULL THEN
        v_buckets := (
            SELECT format(CASE WHEN p.prorettype = 'text[]'::regtype THEN 'tide.function_buckets(%I.%I(%s))' ELSE 'tide.function_buckets(ARRAY[%I.%I(%s)])' END,
                          n.nspname, p.proname, row_alias)
              FROM pg_proc AS p JOIN pg_namespace AS n ON n.oid = p.pronamespace WHERE p.oid = tide.bucket_function_of(v_table.table_id));
        IF v_buckets IS NULL THEN
            RAISE EXCEPTION 'the bucket function of table % is gone', v_table.relation
                USING ERRCODE = 'TD005', DETAIL = format('It was %s.', v_table.bucket_function), HINT = 'Create it again, or register the table with another one.';
        END IF;
        RETURN v_buckets;
    ELSIF v_table.owner_column IS NOT NULL THEN
        SELECT * INTO v_owner FROM tide.synced_columns(v_table.table_id) AS c WHERE c.column_name = v_table.owner_column;
        IF v_owner IS NULL THEN
            RETURN format('tide.lost_column(%L)', v_table.relation);
        END IF;
        RETURN format(
            CASE WHEN v_owner.base_type = ANY ('{int2,int4,int8,oid,uuid}'::regtype[])
                 THEN 'CASE WHEN %1$s.%2$I IS NULL THEN %3$L::text[] ELSE ARRAY[%4$L || %1$s.%2$I::text] END'
                 -- A function call for each row would be felt.
                 ELSE 'CASE WHEN octet_length(%1$s.%2$I::text) <= %5$s THEN ARRAY[%4$L || %1$s.%2$I::text] WHEN %1$s.%2$I IS NULL THEN %3$L::text[] ELSE tide.owner_bucket(%4$L, %1$s.%2$I::text) END' END,
            row_alias, v_owner.current_name,
            array_remove(ARRAY[v_table.null_owner_bucket], NULL), v_table.bucket_prefix, 512 - octet_length(v_table.bucket_prefix));
    END IF;
    RETURN NULL;
END;
$$;
COMMENT ON FUNCTION tide.own_buckets(integer, text) IS 'SQL expression for the buckets that the row rule of a table gives one of its rows, NULL when it has none. Raises TD005. Internal.';
-- +goose StatementEnd

-- +goose StatementBegin
-- What a row has of each parent is a matter of its foreign key alone: whoever judges many rows may
-- judge those of one parent together.
CREATE OR REPLACE FUNCTION tide.parent_buckets(
    table_id integer, row_alias text, level integer, with_tree boolean,
    OUT fk_columns name[], OUT buckets text
)
    RETURNS SETOF record
    LANGUAGE plpgsql STABLE
    SET search_path = pg_catalog, pg_temp
AS $$
#variable_conflict use_column
DECLARE
    v_relation regclass;
    v_parents  regclass[];
    v_above    text := 'tide_above' || level;
    v_alive    text;
BEGIN
    SELECT s.relation, s.parents INTO v_relation, v_parents FROM tide.synced_table AS s WHERE s.table_id = parent_buckets.table_id;
    IF v_parents = '{}' THEN
        RETURN;
    END IF;
    RETURN QUERY
    SELECT p.fk_columns,
           format('(SELECT %s FROM %s AS tide_p%s WHERE %s)', tide.bucket_expression(p.parent_id, 'tide_p' || level, level + 1), p.parent, level, p.joined)
      FROM (SELECT c.parent_id, c.parent, array_agg(c.fk_column ORDER BY c.key_ordinal) AS fk_columns,
                   string_agg(format('tide_p%s.%I OPERATOR(%s) %s.%I::%s', level, c.key_column, c.key_equality, row_alias, c.fk_column, c.key_type), ' AND ' ORDER BY c.key_ordinal) AS joined
              FROM tide.parent_columns(table_id) AS c
             WHERE c.parent_id <> parent_buckets.table_id
             GROUP BY c.parent_ordinal, c.parent_id, c.parent
             ORDER BY c.parent_ordinal) AS p;
    IF NOT with_tree OR v_relation <> ALL (v_parents) THEN
        RETURN;
    END IF;
    v_alive := coalesce(' AND (' || tide.deleted_expression(table_id, v_above) || ') IS NOT TRUE', '');
    -- A table that is its own parent is a tree: UNION makes an end also where its rows go in a circle.
    RETURN QUERY
    SELECT k.fk_columns, format($sql$(
            WITH RECURSIVE tide_up (%1$s) AS (
                SELECT %2$s, %3$s FROM %4$s AS %5$s WHERE %6$s%7$s
                 UNION
                SELECT %2$s, %3$s FROM tide_up JOIN %4$s AS %5$s ON %8$s%7$s)
            SELECT array_agg(tide_b) FROM tide_up JOIN %4$s AS %5$s ON %9$s CROSS JOIN LATERAL unnest(%10$s) AS tide_b)$sql$,
            k.columns, k.keys, k.references, v_relation, v_above, k.of_row, v_alive, k.of_above, k.again,
            coalesce(tide.buckets_beside_tree(table_id, v_above, level + 1), 'NULL::text[]'))
      FROM (SELECT array_agg(c.fk_column ORDER BY c.key_ordinal) AS fk_columns,
                   string_agg(format('%s.%I', v_above, c.key_column), ', ') AS keys,
                   string_agg(format('%s.%I', v_above, c.fk_column), ', ') AS references,
                   string_agg(format('%s.%I OPERATOR(%s) %s.%I::%s', v_above, c.key_column, c.key_equality, row_alias, c.fk_column, c.key_type), ' AND ') AS of_row,
                   string_agg(format('%s.%I OPERATOR(%s) tide_up.tide_f%s::%s', v_above, c.key_column, c.key_equality, c.key_ordinal, c.key_type), ' AND ') AS of_above,
                   string_agg(format('%s.%I OPERATOR(%s) tide_up.tide_k%s', v_above, c.key_column, c.key_equality, c.key_ordinal), ' AND ') AS again,
                   string_agg(format('tide_k%s', c.key_ordinal), ', ') || ', ' || string_agg(format('tide_f%s', c.key_ordinal), ', ') AS columns
              FROM tide.parent_columns(table_id) AS c WHERE c.parent_id = parent_buckets.table_id
            HAVING count(*) > 0) AS k;
END;
$$;
COMMENT ON FUNCTION tide.parent_buckets(integer, text, integer, boolean) IS 'SQL expressions over a row for the buckets it has of each parent, with_tree also of one in its own table, and the columns that decide them. Internal.';
-- +goose StatementEnd

-- +goose StatementBegin
-- A row lies in the buckets of its own rule and in those of its parents, theirs, and so on. Written
-- as one expression over the row, which is right in whatever snapshot it runs.
CREATE OR REPLACE FUNCTION tide.bucket_expression(table_id integer, row_alias text, level integer DEFAULT 1)
    RETURNS text
    LANGUAGE plpgsql STABLE
    SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    v_table   tide.synced_table := (SELECT s FROM tide.synced_table AS s WHERE s.table_id = bucket_expression.table_id);
    v_deleted text := tide.deleted_expression(table_id, row_alias);
    v_buckets text;
BEGIN
    IF EXISTS (SELECT FROM unnest(v_table.key_columns || v_table.owner_column || v_table.deleted_at_column || string_to_array(array_to_string(v_table.parent_fks, ','), ',')) AS n
                WHERE n NOT IN (SELECT c.column_name FROM tide.synced_columns(v_table.table_id) AS c)) THEN
        RETURN format('tide.lost_column(%L)', v_table.relation);
    END IF;
    v_buckets := concat_ws(' || ', '(' || tide.own_buckets(table_id, row_alias) || ')',
                           (SELECT string_agg(p.buckets, ' || ') FROM tide.parent_buckets(table_id, row_alias, level, true) AS p));
    IF v_table.derived THEN
        v_buckets := format('tide.function_buckets(%s)', v_buckets);
    END IF;
    RETURN format(CASE WHEN v_deleted IS NULL THEN '%2$s' ELSE 'CASE WHEN %1$s THEN ''{}''::text[] ELSE %2$s END' END, v_deleted, coalesce(nullif(v_buckets, ''), 'NULL::text[]'));
END;
$$;
COMMENT ON FUNCTION tide.bucket_expression(integer, text, integer) IS 'SQL expression for all buckets of one row of a table, in the snapshot it runs in. Internal.';
-- +goose StatementEnd

-- +goose StatementBegin
CREATE OR REPLACE FUNCTION tide.buckets_beside_tree(table_id integer, row_alias text, level integer)
    RETURNS text
    LANGUAGE sql STABLE
    SET search_path = pg_catalog, pg_temp
AS $$
    SELECT concat_ws(' || ', '(' || tide.own_buckets(buckets_beside_tree.table_id, row_alias) || ')', string_agg(p.buckets, ' || '))
      FROM tide.parent_buckets(table_id, row_alias, level, false) AS p
    HAVING tide.own_buckets(buckets_beside_tree.table_id, row_alias) IS NOT NULL OR count(*) > 0;
$$;
COMMENT ON FUNCTION tide.buckets_beside_tree(integer, text, integer) IS 'SQL expression for the buckets of a row but for those it inherits from rows of its own table, NULL when there are none. Internal.';
-- +goose StatementEnd

-- +goose StatementBegin
-- Written once here, used by capture, adoption and every other reader of images, so that all of them
-- give the same text for the same row.
CREATE OR REPLACE FUNCTION tide.row_expressions(
    table_id integer, row_alias text,
    OUT row_key text, OUT payload text, OUT buckets text, OUT captured_buckets text, OUT deps text,
    OUT image text, OUT key_image text
)
    LANGUAGE plpgsql STABLE
    SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    v_table   tide.synced_table;
    v_columns tide.synced_column[] := ARRAY(SELECT c FROM tide.synced_columns(table_id) AS c);
    v_missing text;
    v_whole   boolean;
BEGIN
    SELECT * INTO STRICT v_table FROM tide.synced_table AS s WHERE s.table_id = row_expressions.table_id;

    SELECT string_agg(format('%I', n), ', ')
      INTO v_missing
      FROM unnest(v_table.key_columns || v_table.owner_column || v_table.deleted_at_column || v_table.dep_columns) AS n
     WHERE n NOT IN (SELECT c.column_name FROM unnest(v_columns) AS c);
    IF v_missing IS NOT NULL THEN
        RAISE EXCEPTION 'table %.% has lost a column that its registration needs', v_table.table_schema, v_table.table_name
            USING ERRCODE = 'TD012',
                  DETAIL  = format('Missing: %s.', v_missing),
                  HINT    = format('Register it anew with tide.register_table(%L, ...), or take it out with tide.unregister_table(%1$L).', v_table.relation);
    END IF;

    -- JSON gives dates and times a form that no session setting changes, and addresses the one of the payload.
    SELECT '''{' || string_agg(
               format('%s:', replace(to_json(c.column_name)::text, '''', ''''''))
               || CASE
                      WHEN c.base_type = 'bytea'::regtype AND NOT c.is_array
                          THEN format('"'' || translate(encode(%s.%I, ''base64''), chr(10), '''') || ''"', row_alias, c.current_name)
                      WHEN c.base_type = ANY ('{int2,int4,int8,oid,uuid,bool,numeric}'::regtype[]) AND NOT c.is_array
                          THEN format('"'' || %s.%I::text || ''"', row_alias, c.current_name)
                      WHEN c.base_type = ANY ('{date,timestamp,timestamptz,inet,cidr}'::regtype[]) AND NOT c.is_array
                          THEN format(''' || to_json(%s.%I)::text || ''', row_alias, c.current_name)
                      ELSE format(''' || to_json(%s.%I::text)::text || ''', row_alias, c.current_name)
                  END, ',' ORDER BY array_position(v_table.key_columns, c.column_name)) || '}'''
      INTO row_key
      FROM unnest(v_columns) AS c
     WHERE c.in_key;

    SELECT format('ROW(%s)::record', string_agg(format('%s.%I', row_alias, c.current_name), ', '))
      INTO key_image
      FROM unnest(v_columns) AS c
     WHERE c.in_key;

    -- The whole row, where that is the same: building it from single columns takes longer. A
    -- partition may have its columns in another order.
    SELECT NOT EXISTS (
               SELECT FROM pg_attribute AS a
                 LEFT JOIN unnest(v_columns) AS c
                   ON c.current_name = a.attname AND c.column_name = a.attname AND c.in_payload
                      AND c.base_type <> ALL ('{bytea,money}'::regtype[])
                WHERE a.attrelid = v_table.relation AND a.attnum > 0 AND NOT a.attisdropped AND c.column_name IS NULL)
           AND NOT EXISTS (
               SELECT FROM pg_partition_tree(v_table.relation) AS p
                WHERE p.isleaf
                  AND (SELECT array_agg(a.attname ORDER BY a.attnum) FROM pg_attribute AS a WHERE a.attrelid = p.relid AND a.attnum > 0 AND NOT a.attisdropped)
                   <> (SELECT array_agg(a.attname ORDER BY a.attnum) FROM pg_attribute AS a WHERE a.attrelid = v_table.relation AND a.attnum > 0 AND NOT a.attisdropped))
      INTO v_whole;
    IF NOT v_table.synced THEN
        payload := 'NULL::json';
    ELSIF v_whole THEN
        payload := format('row_to_json(%s)', row_alias);
    ELSE
        SELECT format('(SELECT row_to_json(tide_p) FROM (SELECT %s) AS tide_p)', string_agg(
                   CASE
                       WHEN c.base_type = 'bytea'::regtype AND c.is_array
                           THEN format('tide.bytea_array_json(%s.%I)', row_alias, c.current_name)
                       WHEN c.base_type = 'bytea'::regtype
                           THEN format('translate(encode(%s.%I, ''base64''), chr(10), '''')', row_alias, c.current_name)
                       WHEN c.base_type = 'money'::regtype AND NOT c.is_array
                           THEN format('%s.%I::numeric', row_alias, c.current_name)
                       ELSE format('%s.%I', row_alias, c.current_name)
                   END || format(' AS %I', c.column_name), ', '))
          INTO payload
          FROM unnest(v_columns) AS c
         WHERE c.in_payload;
    END IF;
    -- A value of type json keeps the line feeds of its text, and so may a type with a cast to json of its
    -- own; but a row is one line. Outside of strings they are white space, and within them never.
    IF v_table.synced AND EXISTS (
           SELECT FROM unnest(v_columns) AS c
             JOIN pg_type AS t ON t.oid = c.base_type
            WHERE c.in_payload
              AND (c.base_type = 'json'::regtype OR t.typtype = 'c' OR t.typtype <> 'e' AND t.typnamespace <> 'pg_catalog'::regnamespace))
    THEN
        payload := format('translate(%s::text, chr(10) || chr(13), ''  '')::json', payload);
    END IF;

    -- Rules that look at other tables are judged at sealing: capture notes what they hang on, and need
    -- not wait for their long expressions to be written.
    IF NOT v_table.derived THEN
        buckets := tide.bucket_expression(v_table.table_id, row_alias);
    END IF;
    captured_buckets := CASE WHEN v_table.derived OR NOT v_table.synced THEN 'NULL::text[]' ELSE buckets END;
    SELECT 'json_build_object(' || string_agg(format('%L, %s.%I::text', c.column_name, row_alias, c.current_name), ', ') || ')'
      INTO deps
      FROM unnest(v_columns) AS c
     WHERE c.column_name = ANY (v_table.dep_columns);

    -- A function that says buckets, or who reads them, may look at any column.
    SELECT CASE WHEN bool_and(a.used) THEN row_alias
                ELSE format('ROW(%s)::record', string_agg(format('%s.%I', row_alias, a.attname), ', ' ORDER BY a.attnum) FILTER (WHERE a.used)) END
      INTO image
      FROM (SELECT a.attname, a.attnum,
                   v_table.bucket_function IS NOT NULL
                   OR EXISTS (SELECT FROM tide.bucket_dependency AS d WHERE d.source_id = v_table.table_id)
                   OR EXISTS (SELECT FROM tide.access_dependency AS d WHERE d.source_id = v_table.table_id)
                   OR a.attname IN (SELECT c.current_name FROM unnest(v_columns) AS c) AS used
              FROM pg_attribute AS a
             WHERE a.attrelid = v_table.relation AND a.attnum > 0 AND NOT a.attisdropped) AS a;
END;
$$;
COMMENT ON FUNCTION tide.row_expressions(integer, text) IS 'SQL expressions over one row of a synced table: its key and payload as devices get them, its buckets as they are (NULL where rules look at other tables) and as capture notes them, what rules of other tables need of it (deps, NULL for nothing), what must differ for a change to count, and the key as a record. Raises TD012. Internal.';
-- +goose StatementEnd

-- +goose StatementBegin
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
-- +goose StatementEnd

-- +goose StatementBegin
CREATE OR REPLACE FUNCTION tide.capture_shape(table_id integer)
    RETURNS text
    LANGUAGE plpgsql STABLE PARALLEL SAFE
    SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    RETURN (
    SELECT md5(concat(
               string_agg(concat_ws(' ', a.attnum, quote_ident(a.attname), format_type(a.atttypid, NULL)), ',' ORDER BY a.attnum),
               CASE WHEN r.read_back THEN s.relation::text END,
               (SELECT concat_ws('.', p.pronamespace::regnamespace, p.proname) FROM pg_proc AS p WHERE s.bucket_function IS NOT NULL AND p.oid = tide.bucket_function_of(s.table_id))))
      FROM tide.synced_table AS s
     CROSS JOIN LATERAL tide.needs_read_back(s.relation) AS r (read_back)
      JOIN pg_attribute AS a ON a.attrelid = s.relation AND a.attnum > 0 AND NOT a.attisdropped
     WHERE s.table_id = capture_shape.table_id
     GROUP BY s.table_id, r.read_back);
END;
$$;
COMMENT ON FUNCTION tide.capture_shape(integer) IS 'Fingerprint of everything in the table''s definition that its capture functions were written for. Internal.';
-- +goose StatementEnd

-- +goose StatementBegin
-- IMMUTABLE is not true, and meant so: the planner folds the answer into the plan of the capture
-- function, and forgets that plan when the relation that is named in it is altered. Between two ALTERs it costs
-- nothing, not even a query.
CREATE OR REPLACE FUNCTION tide.has_shape(table_id integer, shape text, relation regclass)
    RETURNS boolean
    LANGUAGE sql IMMUTABLE PARALLEL SAFE
    SET search_path = pg_catalog, pg_temp
AS $$
    SELECT tide.capture_shape(table_id) IS NOT DISTINCT FROM shape;
$$;
COMMENT ON FUNCTION tide.has_shape(integer, text, regclass) IS 'Whether the table still is what its capture functions were written for; relation is that of the table, as a constant. Internal.';
-- +goose StatementEnd

-- +goose StatementBegin
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
-- +goose StatementEnd

-- +goose StatementBegin
-- Statements nest, so the drawn numbers of one table and event form a stack. It lives in a setting
-- of the transaction: when a savepoint is rolled back, so is the stack.
CREATE OR REPLACE FUNCTION tide.draw_order()
    RETURNS trigger
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    v_stack text := format('tide.order_%s_%s', TG_RELID, lower(TG_OP));
BEGIN
    PERFORM set_config(v_stack, concat_ws(',', nextval('tide.change_id'), nullif(current_setting(v_stack, true), '')), true);
    RETURN NULL;
END;
$$;
COMMENT ON FUNCTION tide.draw_order() IS 'Trigger function: draws the order of a statement before it, and before the statements that its row triggers run. Internal.';
-- +goose StatementEnd

-- +goose StatementBegin
CREATE OR REPLACE FUNCTION tide.take_order(relation oid, event text)
    RETURNS bigint
    LANGUAGE plpgsql
    SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    v_stack  text := format('tide.order_%s_%s', relation, lower(event));
    v_orders text := nullif(current_setting(v_stack, true), '');
BEGIN
    IF v_orders IS NULL OR v_orders !~ '^\d{1,18}(,\d{1,18})*$' THEN
        RETURN nextval('tide.change_id');
    END IF;
    PERFORM set_config(v_stack, coalesce(substr(v_orders, nullif(strpos(v_orders, ','), 0) + 1), ''), true);
    RETURN split_part(v_orders, ',', 1)::bigint;
END;
$$;
COMMENT ON FUNCTION tide.take_order(oid, text) IS 'The number that tide.draw_order drew for the statement that ends now. Internal.';
-- +goose StatementEnd

-- +goose StatementBegin
-- The row is read as it is now, in the transaction that just wrote it, so the last capture of a
-- transaction always has its last state. Where it came from is what its earliest image says: the
-- nth row of before became the nth row of updated.
-- Of a key that the statement took away and that is there again, another part of the same statement
-- has the insert: captured before this, where a WITH is run to its end after what it belongs to, or
-- to be captured after it. What is captured here comes before that insert, and after all else.
CREATE OR REPLACE FUNCTION tide.capture_read_back_statement(table_id integer, event text, order_id text, nested text)
    RETURNS text
    LANGUAGE plpgsql STABLE
    SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    v_relation regclass := (SELECT s.relation FROM tide.synced_table AS s WHERE s.table_id = capture_read_back_statement.table_id);
    n          record;
    o          record;
    v_keys     text;
    v_join     text;
    v_touched  text;
BEGIN
    SELECT * INTO n FROM tide.row_expressions(table_id, 'tide_n');
    SELECT * INTO o FROM tide.row_expressions(table_id, 'tide_o');
    SELECT string_agg(format('%%1$s.%I AS tide_k%s', k.column_name, k.ordinal), ', '),
           string_agg(format('tide_n.%I OPERATOR(%s) t.tide_k%s', k.column_name, k.equality, k.ordinal), ' AND ')
      INTO v_keys, v_join
      FROM tide.key_equality(table_id) WITH ORDINALITY AS k (column_name, equality, ordinal);

    v_touched := CASE event
        WHEN 'INSERT' THEN
            format('SELECT %s AS row_key, NULL::text[] AS old_buckets, NULL::json AS old_deps, NULL::record AS image, false AS old, row_number() OVER () AS ordinal, %s FROM inserted AS tide_n', n.row_key, format(v_keys, 'tide_n'))
        WHEN 'DELETE' THEN
            format('SELECT %s AS row_key, %s AS old_buckets, %s AS old_deps, NULL::record AS image, true AS old, row_number() OVER () AS ordinal, %s FROM deleted AS tide_o', o.row_key, o.captured_buckets, coalesce(o.deps, 'NULL::json'), format(v_keys, 'tide_o'))
        ELSE
            format('SELECT %s AS row_key, %s AS old_buckets, %s AS old_deps, %s AS image, true AS old, row_number() OVER () AS ordinal, %s FROM before AS tide_o', o.row_key, o.captured_buckets, coalesce(o.deps, 'NULL::json'), o.image, format(v_keys, 'tide_o'))
            || ' UNION ALL ' ||
            format('SELECT %s, NULL, NULL, NULL, false, row_number() OVER (), %s FROM updated AS tide_n', n.row_key, format(v_keys, 'tide_n'))
        END;
    RETURN format($sql$
        INSERT INTO tide.change_log (table_id, op, row_key, key_hash, buckets, old_buckets, payload, deps, old_deps, order_id)
          WITH touched AS MATERIALIZED (
                SELECT CASE WHEN tide_n.tableoid IS NULL THEN 'D' WHEN t.old THEN 'U' ELSE 'I' END AS op, t.row_key,
                       CASE WHEN tide_n.tableoid IS NOT NULL THEN %3$s END AS buckets, t.old_buckets,
                       CASE WHEN tide_n.tableoid IS NOT NULL THEN %4$s END AS payload,
                       CASE WHEN tide_n.tableoid IS NOT NULL THEN %11$s END AS deps, t.old_deps,
                       tide_n.tableoid IS NOT NULL AND NOT t.came AS again, t.ordinal
                  FROM (SELECT DISTINCT ON (i.row_key) i.*, bool_or(NOT i.old) OVER (PARTITION BY i.row_key) AS came
                          FROM (%5$s) AS i ORDER BY i.row_key, i.ordinal, i.old DESC) AS t
                  LEFT JOIN %6$s AS tide_n ON %7$s AND %2$s = t.row_key
                 WHERE t.image IS NULL OR tide_n.tableoid IS NULL OR NOT t.came OR %9$s OR t.image *<> %10$s
                       OR current_setting('tide.capture_equal', true) = 'on')
        SELECT %1$s, c.op, c.row_key, hashtextextended(c.row_key, %1$s), c.buckets, c.old_buckets, c.payload, c.deps, c.old_deps,
               least(%8$s, CASE WHEN c.again THEN coalesce(l.order_id - (l.image IS NOT DISTINCT FROM coalesce(c.payload, c.deps)::text)::integer, 0) END)
          FROM touched AS c
          LEFT JOIN (SELECT k.* FROM tide.captured_orders(%1$s) AS k WHERE (SELECT bool_or(a.again) FROM touched AS a)) AS l
            ON c.again AND l.row_key = c.row_key
         ORDER BY c.ordinal$sql$,
        table_id, n.row_key, n.captured_buckets, n.payload, v_touched, v_relation, v_join, order_id, nested, n.image, coalesce(n.deps, 'NULL::json'));
END;
$$;
COMMENT ON FUNCTION tide.capture_read_back_statement(integer, text, text, text) IS 'The same as tide.capture_statement for tables whose triggers may change a row again within one statement. Internal.';
-- +goose StatementEnd

-- +goose StatementBegin
CREATE OR REPLACE FUNCTION tide.captured_orders(table_id integer)
    RETURNS TABLE (row_key text, order_id bigint, image text)
    LANGUAGE plpgsql STABLE
    SET search_path = pg_catalog, pg_temp
AS $$
#variable_conflict use_column
BEGIN
    RETURN QUERY
    SELECT DISTINCT ON (c.row_key) c.row_key, coalesce(c.order_id, c.change_id), coalesce(c.payload, c.deps)::text
      FROM tide.change_log AS c
     WHERE c.xid = pg_current_xact_id() AND c.table_id = captured_orders.table_id AND c.row_key IS NOT NULL
     ORDER BY c.row_key, c.change_id DESC;
END;
$$;
COMMENT ON FUNCTION tide.captured_orders(integer) IS 'What this transaction captured last of each row of a table: its order and the image, NULL for a deletion. Internal.';
-- +goose StatementEnd

-- +goose StatementBegin
-- The transition tables are named inserted, updated / before, deleted. Aliases begin with tide_:
-- a column of the same name would be taken for the row. Statements that read rows
-- back take order_id (drawn before the statement) and nested (something was captured meanwhile).
CREATE OR REPLACE FUNCTION tide.capture_statement(
    table_id integer, event text, order_id text DEFAULT '$1', nested text DEFAULT '$2'
)
    RETURNS text
    LANGUAGE plpgsql STABLE
    SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    v_relation regclass := (SELECT s.relation FROM tide.synced_table AS s WHERE s.table_id = capture_statement.table_id);
    n          record;
    o          record;
    v_deps     text;
    v_c_deps   text;
    v_always   text := 'current_setting(''tide.capture_equal'', true) = ''on''';
BEGIN
    SELECT * INTO n FROM tide.row_expressions(table_id, 'tide_n');
    SELECT * INTO o FROM tide.row_expressions(table_id, 'tide_o');
    IF tide.needs_read_back(v_relation) THEN
        RETURN tide.capture_read_back_statement(table_id, event, order_id, nested);
    END IF;
    IF n.deps IS NOT NULL THEN
        v_deps := ', deps, old_deps';
        v_c_deps := ', c.deps, c.old_deps';
    END IF;

    CASE event
        WHEN 'INSERT' THEN
            RETURN format($sql$
        INSERT INTO tide.change_log (table_id, op, row_key, key_hash, buckets, payload%5$s)
        SELECT %1$s, 'I', c.row_key, hashtextextended(c.row_key, %1$s), c.buckets, c.payload%6$s
          FROM (SELECT %2$s AS row_key, %3$s AS buckets, %4$s AS payload%7$s FROM inserted AS tide_n) AS c$sql$,
                table_id, n.row_key, n.captured_buckets, n.payload,
                CASE WHEN n.deps IS NOT NULL THEN ', deps' END, CASE WHEN n.deps IS NOT NULL THEN ', c.deps' END, ', ' || n.deps || ' AS deps');
        WHEN 'DELETE' THEN
            RETURN format($sql$
        INSERT INTO tide.change_log (table_id, op, row_key, key_hash, old_buckets%4$s)
        SELECT %1$s, 'D', c.row_key, hashtextextended(c.row_key, %1$s), c.old_buckets%5$s
          FROM (SELECT %2$s AS row_key, %3$s AS old_buckets%6$s FROM deleted AS tide_o) AS c$sql$,
                table_id, o.row_key, o.captured_buckets,
                CASE WHEN o.deps IS NOT NULL THEN ', old_deps' END, CASE WHEN o.deps IS NOT NULL THEN ', c.old_deps' END, ', ' || o.deps || ' AS old_deps');
        WHEN 'UPDATE ONE' THEN
            RETURN format($sql$
        INSERT INTO tide.change_log (table_id, op, row_key, key_hash, buckets, old_buckets, payload%7$s)
        SELECT %1$s, 'U', c.row_key, hashtextextended(c.row_key, %1$s), c.buckets, c.old_buckets, c.payload%8$s
          FROM (SELECT %2$s AS row_key, %3$s AS buckets, %4$s AS old_buckets, %5$s AS payload%9$s
                  FROM before AS tide_o, updated AS tide_n
                 WHERE %6$s) AS c$sql$,
                table_id, n.row_key, n.captured_buckets, o.captured_buckets, n.payload,
                format('%s *= %s AND (%s *<> %s OR %s)', o.key_image, n.key_image, o.image, n.image, v_always),
                v_deps, v_c_deps, ', ' || n.deps || ' AS deps, ' || o.deps || ' AS old_deps');
        WHEN 'UPDATE' THEN
            -- Images are paired by key: a key that changed is a row that left and one that came.
            -- A FULL JOIN is never planned as a nested loop, whatever the size of the first update.
            RETURN format($sql$
        INSERT INTO tide.change_log (table_id, op, row_key, key_hash, buckets, old_buckets, payload%10$s)
        SELECT %1$s, c.op, c.row_key, hashtextextended(c.row_key, %1$s), c.buckets, c.old_buckets, c.payload%11$s
          FROM (SELECT CASE WHEN o.row_key IS NULL THEN 'I' WHEN n.row_key IS NULL THEN 'D' ELSE 'U' END AS op,
                       coalesce(n.row_key, o.row_key) AS row_key, n.buckets, o.old_buckets, n.payload%12$s
                  FROM (SELECT %2$s COLLATE "C" AS row_key, %3$s AS buckets, %5$s AS payload, %8$s AS image%13$s FROM updated AS tide_n) AS n
                  FULL JOIN (SELECT %6$s COLLATE "C" AS row_key, %4$s AS old_buckets, %9$s AS image%14$s FROM before AS tide_o) AS o
                    ON o.row_key = n.row_key
                 WHERE n.row_key IS NULL OR o.row_key IS NULL OR %7$s) AS c$sql$,
                table_id, n.row_key, n.captured_buckets, o.captured_buckets, n.payload, o.row_key,
                '(o.image *<> n.image OR ' || v_always || ')', n.image, o.image,
                v_deps, v_c_deps, CASE WHEN n.deps IS NOT NULL THEN ', n.deps, o.old_deps' END, ', ' || n.deps || ' AS deps', ', ' || o.deps || ' AS old_deps');
        ELSE
            RAISE EXCEPTION 'event % has no capture statement', event USING ERRCODE = 'invalid_parameter_value';
    END CASE;
END;
$$;
COMMENT ON FUNCTION tide.capture_statement(integer, text, text, text) IS 'The INSERT that captures one event of a synced table from its transition tables. Raises TD012. Internal.';
-- +goose StatementEnd

-- +goose StatementBegin
CREATE OR REPLACE FUNCTION tide.capture_again_condition(table_id integer, event text)
    RETURNS text
    LANGUAGE sql STABLE
    SET search_path = pg_catalog, pg_temp
AS $$
    -- The inner subquery stays one: a join might be planned for a table that was small. EXCEPT is
    -- never planned as a nested loop.
    SELECT format('EXISTS (SELECT FROM %s AS tide_o WHERE (SELECT true FROM %s AS tide_n WHERE %s))',
               CASE event WHEN 'DELETE' THEN 'deleted' ELSE format('(SELECT %1$s FROM before EXCEPT SELECT %1$s FROM updated)', k.names) END,
               s.relation, k.same)
      FROM tide.synced_table AS s
     CROSS JOIN LATERAL (
               SELECT string_agg(quote_ident(e.column_name), ', ') AS names,
                      string_agg(format('tide_n.%1$I OPERATOR(%2$s) tide_o.%1$I', e.column_name, e.equality), ' AND ') AS same
                 FROM tide.key_equality(s.table_id) AS e) AS k
     WHERE s.table_id = capture_again_condition.table_id;
$$;
COMMENT ON FUNCTION tide.capture_again_condition(integer, text) IS 'SQL expression over the transition tables of a statement: a key that it took away is there. Internal.';
-- +goose StatementEnd

-- +goose StatementBegin
CREATE OR REPLACE FUNCTION tide.read_problem(relation regclass)
    RETURNS text
    LANGUAGE sql STABLE
    SET search_path = pg_catalog, pg_temp
AS $$
    SELECT CASE
               WHEN NOT has_schema_privilege('tide_owner', c.relnamespace, 'USAGE') THEN format('tide_owner has no USAGE on schema %s.', c.relnamespace::regnamespace)
               WHEN NOT has_table_privilege('tide_owner', c.oid, 'SELECT') THEN 'tide_owner has no SELECT on the table.'
               WHEN NOT c.relrowsecurity OR r.rolbypassrls OR r.rolsuper OR (pg_has_role('tide_owner', c.relowner, 'USAGE') AND NOT c.relforcerowsecurity) THEN NULL
               WHEN p.restrictive IS NOT NULL THEN format('RESTRICTIVE policy %s applies to tide_owner.', p.restrictive)
               WHEN NOT coalesce(p.all_rows, false) THEN 'Row-level security is on, and tide_owner has no policy that shows it every row.'
           END
      FROM pg_class AS c
      JOIN pg_roles AS r ON r.rolname = 'tide_owner'
     CROSS JOIN LATERAL (
               SELECT string_agg(quote_ident(l.polname), ', ') FILTER (WHERE NOT l.polpermissive AND pg_get_expr(l.polqual, l.polrelid) IS DISTINCT FROM 'true') AS restrictive,
                      bool_or(l.polpermissive AND pg_get_expr(l.polqual, l.polrelid) = 'true') AS all_rows
                 FROM pg_policy AS l
                WHERE l.polrelid = c.oid
                  AND l.polcmd IN ('r', '*')
                  AND EXISTS (SELECT FROM unnest(l.polroles) AS g (oid) WHERE g.oid = 0 OR pg_has_role('tide_owner', g.oid, 'USAGE'))
           ) AS p
     WHERE c.oid = relation;
$$;
COMMENT ON FUNCTION tide.read_problem(regclass) IS 'Why tide_owner cannot read every row of the table, NULL when it can. Internal.';
-- +goose StatementEnd

-- +goose StatementBegin
-- Row-level security would not raise an error, it would hide rows, and hidden rows look deleted.
CREATE OR REPLACE FUNCTION tide.assert_readable(relation regclass)
    RETURNS void
    LANGUAGE plpgsql STABLE
    SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    v_problem text := tide.read_problem(relation);
BEGIN
    IF v_problem IS NOT NULL THEN
        RAISE EXCEPTION 'pgtide cannot read all rows of %', relation
            USING ERRCODE = 'TD011',
                  DETAIL  = v_problem,
                  HINT    = format('As the owner of the table: SELECT tide.refresh(%L); where a RESTRICTIVE policy applies to everybody, limit it with ALTER POLICY ... TO, or let a superuser ALTER ROLE tide_owner BYPASSRLS.', relation);
    END IF;
END;
$$;
COMMENT ON FUNCTION tide.assert_readable(regclass) IS 'Raises TD011 unless tide_owner can read every row of the table. Internal.';
-- +goose StatementEnd

-- +goose StatementBegin
CREATE OR REPLACE FUNCTION tide.write_marks(marks tide.table_mark[])
    RETURNS void
    LANGUAGE sql
    SET search_path = pg_catalog, pg_temp
AS $$
    INSERT INTO tide.change_log (table_id, op, payload) SELECT m.table_id, m.op, m.note FROM unnest(marks) AS m;
    INSERT INTO tide.missed_log (xid, table_id) SELECT pg_current_xact_id(), m.table_id FROM unnest(marks) AS m WHERE m.op = '!' ON CONFLICT DO NOTHING;
$$;
COMMENT ON FUNCTION tide.write_marks(tide.table_mark[]) IS 'Has the seal of this transaction read tables; pushes wait for those of which changes were missed. Internal.';
-- +goose StatementEnd

-- +goose StatementBegin
CREATE OR REPLACE FUNCTION tide.mark_table(table_id integer, op "char", reason text, old_patterns text[] DEFAULT '{}')
    RETURNS void
    LANGUAGE sql
    SET search_path = pg_catalog, pg_temp
AS $$
    SELECT tide.write_marks(ARRAY(
        SELECT ROW(s.table_id, mark_table.op, NULL, json_build_object('reason', reason, 'patterns', to_json(old_patterns || tide.bucket_patterns(s))))::tide.table_mark
          FROM tide.synced_table AS s
         WHERE s.table_id = mark_table.table_id
                -- Where rows went whose change nobody saw, their children and dependants went as well.
            OR mark_table.op = '!' AND s.table_id IN (SELECT b.table_id FROM tide.bucket_source AS b WHERE b.source_id = mark_table.table_id)));
$$;
COMMENT ON FUNCTION tide.mark_table(integer, "char", text, text[]) IS 'Asks the seal of this transaction to read the table: A when every change was captured, ! when some may be missing. Internal.';
-- +goose StatementEnd

-- +goose StatementBegin
CREATE OR REPLACE FUNCTION tide.capture_truncate(table_id integer, relation regclass)
    RETURNS void
    LANGUAGE plpgsql
    SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    o record;
BEGIN
    -- TRUNCATE also takes rows that an older snapshot does not show.
    IF current_setting('transaction_isolation') <> 'read committed' THEN
        PERFORM tide.mark_table(table_id, '!', 'TRUNCATE under ' || current_setting('transaction_isolation'));
        RETURN;
    END IF;
    PERFORM tide.assert_readable(relation);
    SELECT * INTO o FROM tide.row_expressions(table_id, 'tide_o');
    -- A partition with a trigger of its own captures its rows itself.
    EXECUTE format($sql$
        INSERT INTO tide.change_log (table_id, op, row_key, key_hash, old_buckets, old_deps)
        SELECT %1$s, 'D', c.row_key, hashtextextended(c.row_key, %1$s), c.old_buckets, c.old_deps
          FROM (SELECT %2$s AS row_key, %3$s AS old_buckets, %5$s AS old_deps
                  FROM %4$s AS tide_o
                 WHERE tide_o.tableoid = $1
                    OR NOT EXISTS (SELECT FROM pg_trigger AS t WHERE t.tgrelid = tide_o.tableoid AND t.tgname = '_tide_truncate')) AS c$sql$,
        table_id, o.row_key, o.captured_buckets, relation, coalesce(o.deps, 'NULL::json')) USING relation;
END;
$$;
COMMENT ON FUNCTION tide.capture_truncate(integer, regclass) IS 'Captures every row of a table that is about to be truncated as deleted. Internal.';
-- +goose StatementEnd

-- +goose StatementBegin
-- Variables of the written function begin with tide_, as a column of the table could have any other name.
CREATE OR REPLACE FUNCTION tide.capture_source(table_id integer, event text)
    RETURNS text
    LANGUAGE plpgsql STABLE
    SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    v_table     tide.synced_table;
    v_body      text;
    v_statement text;
    v_again     text := CASE WHEN event IN ('UPDATE', 'DELETE') THEN format('tide.capture_read_back_statement(%s, %L, ''$1'', ''$2'')', table_id, event) END;
    v_altered   text := format(CASE WHEN v_again IS NULL THEN '%2$s' ELSE 'CASE WHEN tide_earlier = ''on'' THEN %1$s ELSE %2$s END' END,
                               v_again, format('tide.capture_statement(%s, %L)', table_id, event));
    v_order     text := '';
    v_shape     text;
    v_paused    boolean := (SELECT s.paused_at IS NOT NULL FROM tide.setting AS s);
BEGIN
    SELECT * INTO STRICT v_table FROM tide.synced_table AS s WHERE s.table_id = capture_source.table_id;

    -- By its number: names change.
    v_shape := format('tide.has_shape(%s, %L, %L)', table_id, tide.capture_shape(table_id), v_table.relation::oid);

    IF tide.needs_read_back(v_table.relation) THEN
        v_altered := format('tide.capture_statement(%s, %L)', table_id, event);
        v_order := $body$    tide_order := tide.take_order(TG_RELID, TG_OP);
    tide_nested := currval('tide.change_id') <> tide_order;
$body$;
    END IF;
    IF event = 'TRUNCATE' THEN
        v_body := format($body$    PERFORM tide.capture_truncate(%s, TG_RELID);
$body$, table_id);
    ELSIF v_paused THEN
        -- Made at every write: nothing that is wrong with the table now may keep anybody from pausing.
        v_body := format($body$    tide_earlier := current_setting('tide.captured', true);
    PERFORM set_config('tide.captured', 'on', true);
%s    EXECUTE %s USING tide_order, tide_nested;
$body$, v_order, v_altered);
    ELSIF v_order <> '' THEN
        v_body := format($body$%s    IF %s THEN%s;
    ELSE
        EXECUTE %s USING tide_order, tide_nested;
    END IF;
$body$, v_order, v_shape, tide.capture_statement(table_id, event, 'tide_order', 'tide_nested'), v_altered);
    ELSE
        v_statement := tide.capture_statement(table_id, event) || ';';
        IF v_again IS NOT NULL THEN
            v_statement := format($body$
        -- In two steps: the second costs as much as a query.
        IF tide_earlier = 'on' THEN
            tide_again := %s;
        END IF;
        IF tide_again THEN
            EXECUTE %s USING tide_order, tide_nested;
        ELSE%s
        END IF;$body$, tide.capture_again_condition(table_id, event), v_again, v_statement);
        END IF;
        -- Only if the transaction captured something earlier can a key that went have come in the same statement.
        IF event = 'UPDATE' THEN
            -- One look at the transition table tells whether there is anything.
            v_statement := format($body$
        SELECT count(*) INTO tide_rows FROM (SELECT FROM updated LIMIT 2) AS few;
        IF tide_rows = 1 THEN%s;
        END IF;
        -- Several rows; or one, equal or under another key.
        IF tide_rows > 1 OR tide_rows = 1 AND NOT FOUND THEN%s
        END IF;$body$, tide.capture_statement(table_id, 'UPDATE ONE'), v_statement);
        END IF;
        v_body := format($body$%s    IF %s THEN%s
    ELSE
        EXECUTE %s USING tide_order, tide_nested;
    END IF;
$body$,
            concat(CASE WHEN event <> 'INSERT' THEN E'    tide_earlier := current_setting(''tide.captured'', true);\n' END,
                   CASE WHEN event <> 'DELETE' THEN E'    tide_noted := set_config(''tide.captured'', ''on'', true);\n' END), v_shape, v_statement, v_altered);
    END IF;
    IF v_paused THEN
        v_body := format($body$    -- Paused by tide.pause(). But a part of a transaction is no state of the database: one of which
    -- something was captured before is captured to its end.
    IF NOT EXISTS (SELECT FROM tide.change_log AS c WHERE c.xid = pg_current_xact_id_if_assigned()) THEN
        RETURN NULL;
    END IF;
%s$body$, v_body);
    END IF;
    IF v_table.on_capture_error = 'mark_dirty' THEN
        v_body := format($body$    BEGIN
%s    EXCEPTION
        WHEN OTHERS THEN
            -- Not a failure of capture: the transaction is to be tried again as a whole.
            IF sqlstate LIKE '40%%' THEN
                RAISE;
            END IF;
            PERFORM tide.mark_table(%s, '!', 'capture failed: ' || sqlstate);
    END;
$body$, v_body, table_id);
    END IF;
    RETURN format(E'\nDECLARE\n    tide_rows    bigint;\n    tide_earlier text;\n    tide_noted   text;\n    tide_again   boolean;\n    tide_order   bigint;\n    tide_nested  boolean := false;\nBEGIN\n%s    RETURN NULL;\nEND;\n', v_body);
END;
$$;
COMMENT ON FUNCTION tide.capture_source(integer, text) IS 'Body of a capture function, as it would be written now. Raises TD012. Internal.';
-- +goose StatementEnd

-- +goose StatementBegin
CREATE OR REPLACE FUNCTION tide.capture_function(table_id integer, event text)
    RETURNS text
    LANGUAGE sql IMMUTABLE PARALLEL SAFE
    RETURN format('capture_%s_%s', table_id, lower(event));
COMMENT ON FUNCTION tide.capture_function(integer, text) IS 'Name, in schema tide, of the capture function of one event of a table. Internal.';
-- +goose StatementEnd

-- +goose StatementBegin
-- All that tide.make_reading looks at. What is the same by this is read by the same text.
CREATE OR REPLACE FUNCTION tide.reading_shape(table_id integer)
    RETURNS text
    LANGUAGE plpgsql STABLE PARALLEL SAFE
    SET search_path = pg_catalog, pg_temp
    SET plan_cache_mode = force_generic_plan SET enable_seqscan = off SET enable_hashjoin = off SET enable_mergejoin = off SET max_parallel_workers_per_gather = 0 SET jit = off
AS $$
BEGIN
    RETURN (
    SELECT md5(concat_ws('; ', s.relation,
               ROW(s.key_columns, s.sync_columns, s.column_names, s.column_attnums, s.owner_column, s.bucket_prefix, s.null_owner_bucket, s.bucket,
                   s.bucket_function, s.deleted_at_column, s.dep_columns, s.derived, s.synced),
               (SELECT string_agg(concat_ws(' ', a.attnum, quote_ident(a.attname), a.atttypid, format_type(a.atttypid, a.atttypmod), a.attcollation, a.attnotnull), ',' ORDER BY a.attnum)
                  FROM pg_attribute AS a WHERE a.attrelid = s.relation AND a.attnum > 0 AND NOT a.attisdropped),
               (SELECT string_agg(concat_ws(' ', i.indkey, i.indnkeyatts, i.indclass, i.indimmediate, i.indisvalid, i.indpred IS NULL, i.indexprs IS NULL), ',' ORDER BY i.indisprimary DESC, i.indexrelid)
                  FROM pg_index AS i WHERE i.indrelid = s.relation AND i.indisunique),
               (SELECT concat_ws(' ', p.pronamespace::regnamespace, p.proname, p.prorettype) FROM pg_proc AS p WHERE s.bucket_function IS NOT NULL AND p.oid = tide.bucket_function_of(s.table_id)),
               CASE WHEN cardinality(s.partitions) > 0 THEN (
                   SELECT string_agg(concat_ws(' ', p.relid::oid, a.attnum, quote_ident(a.attname)), ',' ORDER BY p.relid, a.attnum)
                     FROM pg_partition_tree(s.relation) AS p JOIN pg_attribute AS a ON a.attrelid = p.relid AND a.attnum > 0 AND NOT a.attisdropped
                    WHERE p.isleaf) END))
      FROM tide.synced_table AS s
     WHERE s.table_id = reading_shape.table_id);
END;
$$;
COMMENT ON FUNCTION tide.reading_shape(integer) IS 'Fingerprint of everything in the definition and the registration of a table that the text to read it is made from. Internal.';
-- +goose StatementEnd

-- +goose StatementBegin
CREATE OR REPLACE FUNCTION tide.make_reading(table_id integer)
    RETURNS tide.reading
    LANGUAGE plpgsql STABLE
    SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    v_relation regclass;
    v_owner    text;
    v_reading  tide.reading;
BEGIN
    SELECT s.relation, s.owner_column INTO v_relation, v_owner FROM tide.synced_table AS s WHERE s.table_id = make_reading.table_id;
    v_reading.table_id := table_id;
    v_reading.shape := tide.reading_shape(table_id);
    SELECT n.row_key, n.payload, n.buckets INTO v_reading.row_key, v_reading.payload, v_reading.buckets FROM tide.row_expressions(table_id, 'tide_n') AS n;
    v_reading.deleted := tide.deleted_expression(table_id, 'tide_n');
    SELECT string_agg(format('tide_n.%I OPERATOR(%s) %s', k.current_name, k.equality, k.value), ' AND ') INTO v_reading.key_match FROM tide.key_columns(table_id, 'g.row_key') AS k;
    SELECT string_agg(format('tide_n.%I', k.column_name), ', ') INTO v_reading.key_order FROM tide.key_equality(table_id) AS k;
    SELECT format('tide_n.%I', c.current_name), format_type(a.atttypid, a.atttypmod), format('%I.%s', opn.nspname, o.oprname),
           -- Of these types equal values have one text, and the bucket is named by the text.
           c.base_type = ANY ('{int2,int4,int8,uuid}'::regtype[])
           OR c.base_type = ANY ('{text,varchar}'::regtype[]) AND EXISTS (SELECT FROM pg_collation AS l WHERE l.oid = a.attcollation AND l.collisdeterministic)
      INTO v_reading.owner, v_reading.owner_type, v_reading.owner_equality, v_reading.owner_exact
      FROM tide.synced_columns(table_id) AS c
      JOIN pg_attribute AS a ON a.attrelid = v_relation AND a.attname = c.current_name
      JOIN pg_opclass AS oc ON oc.opcintype = c.base_type AND oc.opcdefault AND oc.opcmethod = (SELECT m.oid FROM pg_am AS m WHERE m.amname = 'btree')
      JOIN pg_amop AS am ON am.amopfamily = oc.opcfamily AND am.amopstrategy = 3 AND am.amoplefttype = oc.opcintype AND am.amoprighttype = oc.opcintype
      JOIN pg_operator AS o ON o.oid = am.amopopr
      JOIN pg_namespace AS opn ON opn.oid = o.oprnamespace
     WHERE c.column_name = v_owner;
    RETURN v_reading;
END;
$$;
COMMENT ON FUNCTION tide.make_reading(integer) IS 'Works out how the rows of a table are read, for the table as it is. Raises TD012. Internal.';
-- +goose StatementEnd

-- +goose StatementBegin
CREATE OR REPLACE FUNCTION tide.reading_of(table_id integer)
    RETURNS tide.reading
    LANGUAGE plpgsql STABLE
    SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    v_reading tide.reading := (SELECT r FROM tide.reading AS r WHERE r.table_id = reading_of.table_id);
BEGIN
    IF v_reading.shape = tide.reading_shape(table_id) THEN
        RETURN v_reading;
    END IF;
    -- Altered since: slower, until it is kept anew.
    RETURN tide.make_reading(table_id);
END;
$$;
COMMENT ON FUNCTION tide.reading_of(integer) IS 'How the rows of a table are read, for the table as it is. Raises TD012. Internal.';
-- +goose StatementEnd

-- +goose StatementBegin
CREATE OR REPLACE FUNCTION tide.assert_key_order(how tide.reading)
    RETURNS void
    LANGUAGE plpgsql STABLE
    SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    IF how.key_order IS NULL THEN
        RAISE EXCEPTION 'table % has no usable unique index on its key', (SELECT s.relation FROM tide.synced_table AS s WHERE s.table_id = how.table_id)
            USING ERRCODE = 'TD012', DETAIL = 'Snapshots read its rows in the order of that index.', HINT = 'Create it again, or register the table with other key_columns; SELECT * FROM tide.check() says which.';
    END IF;
END;
$$;
COMMENT ON FUNCTION tide.assert_key_order(tide.reading) IS 'Raises TD012 unless the rows of a table can be read in the order of its key. Internal.';
-- +goose StatementEnd

-- +goose StatementBegin
CREATE OR REPLACE FUNCTION tide.keep_reading(table_id integer)
    RETURNS boolean
    LANGUAGE plpgsql
    SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    v_reading tide.reading := tide.make_reading(table_id);
BEGIN
    IF (SELECT r FROM tide.reading AS r WHERE r.table_id = keep_reading.table_id) IS NOT DISTINCT FROM v_reading THEN
        RETURN false;
    END IF;
    INSERT INTO tide.reading AS r SELECT v_reading.*
        ON CONFLICT ON CONSTRAINT reading_pkey DO UPDATE
       SET (shape, row_key, payload, buckets, deleted, key_match, key_order, owner, owner_type, owner_equality, owner_exact)
         = (excluded.shape, excluded.row_key, excluded.payload, excluded.buckets, excluded.deleted, excluded.key_match, excluded.key_order,
            excluded.owner, excluded.owner_type, excluded.owner_equality, excluded.owner_exact);
    RETURN true;
END;
$$;
COMMENT ON FUNCTION tide.keep_reading(integer) IS 'Keeps how the rows of a table are read, where that is not what is kept, and says whether it did. Raises TD012. Internal.';
-- +goose StatementEnd

-- +goose StatementBegin
CREATE OR REPLACE FUNCTION tide.write_capture_functions(table_id integer)
    RETURNS boolean
    LANGUAGE plpgsql
    SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    v_table   tide.synced_table;
    v_event   text;
    v_name    text;
    v_source  text;
    v_written boolean := false;
BEGIN
    -- Nothing that is wrong with a table may keep anybody from pausing; tide.resume() comes here again.
    IF (SELECT s.paused_at IS NULL FROM tide.setting AS s) THEN
        v_written := tide.keep_reading(table_id);
    END IF;
    SELECT * INTO STRICT v_table FROM tide.synced_table AS s WHERE s.table_id = write_capture_functions.table_id;
    FOREACH v_event IN ARRAY ARRAY['INSERT', 'UPDATE', 'DELETE', 'TRUNCATE'] LOOP
        v_name := tide.capture_function(table_id, v_event);
        v_source := tide.capture_source(table_id, v_event);
        CONTINUE WHEN EXISTS (
            SELECT FROM pg_proc AS p
             WHERE p.pronamespace = 'tide'::regnamespace AND p.proname = v_name AND p.prosrc = v_source);
        EXECUTE format(E'CREATE OR REPLACE FUNCTION tide.%I()\n    RETURNS trigger\n    LANGUAGE plpgsql SECURITY DEFINER\n    %s\nAS %L',
            v_name,
            -- A plan made while the table was small must not scan it whole when it is not.
            tide.capture_settings(table_id) || CASE WHEN v_event IN ('UPDATE', 'DELETE') THEN E'\n    SET enable_seqscan = off' ELSE '' END, v_source);
        EXECUTE format('COMMENT ON FUNCTION tide.%I() IS %L', v_name,
            format('Captures %s on %s.%s. Written by pgtide; tide.refresh writes it anew.', v_event, v_table.table_schema, v_table.table_name));
        EXECUTE format('ALTER FUNCTION tide.%I() OWNER TO tide_owner', v_name);
        EXECUTE format('REVOKE ALL ON FUNCTION tide.%I() FROM PUBLIC', v_name);
        v_written := true;
    END LOOP;
    RETURN v_written;
END;
$$;
COMMENT ON FUNCTION tide.write_capture_functions(integer) IS 'Writes the capture functions of a table where they are missing or not as they should be, and says whether it did. Takes no lock on the table. Internal.';
-- +goose StatementEnd

-- +goose StatementBegin
CREATE OR REPLACE FUNCTION tide.changed_columns(source_id integer, columns text[])
    RETURNS text
    LANGUAGE sql STABLE
    SET search_path = pg_catalog, pg_temp
AS $$
    SELECT string_agg(format('(tide_i.image ->> %L)::%s AS %I', c.column_name, t.type, c.column_name), ', ')
      FROM tide.synced_columns(source_id) AS c
      JOIN tide.synced_table AS s ON s.table_id = source_id
     CROSS JOIN LATERAL tide.column_equality(s.relation, c.current_name) AS t
     WHERE c.column_name = ANY (columns);
$$;
COMMENT ON FUNCTION tide.changed_columns(integer, text[]) IS 'Select list that makes columns of what capture noted beside a row (tide_i.image). Internal.';
-- +goose StatementEnd

-- +goose StatementBegin
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
-- +goose StatementEnd

-- +goose StatementBegin
-- IMMUTABLE is not true, and meant so: like tide.has_shape, folded into a plan that a new policy ends.
CREATE OR REPLACE FUNCTION tide.is_readable(relation oid)
    RETURNS boolean
    LANGUAGE sql IMMUTABLE PARALLEL SAFE
    SET search_path = pg_catalog, pg_temp
AS $$
    SELECT tide.read_problem(relation) IS NULL;
$$;
COMMENT ON FUNCTION tide.is_readable(oid) IS 'Whether tide_owner can read every row of the table. Internal.';
-- +goose StatementEnd

-- +goose StatementBegin
CREATE OR REPLACE FUNCTION tide.assert_sources(table_id integer)
    RETURNS void
    LANGUAGE plpgsql STABLE
    SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    PERFORM tide.assert_readable(c.oid)
       FROM tide.bucket_source AS b JOIN tide.synced_table AS s ON s.table_id = b.source_id JOIN pg_class AS c ON c.oid = s.relation
      WHERE b.table_id = assert_sources.table_id;
END;
$$;
COMMENT ON FUNCTION tide.assert_sources(integer) IS 'Raises TD011 unless tide_owner can read every row of all tables that buckets of a table hang on. Internal.';
-- +goose StatementEnd

-- +goose StatementBegin
-- Both are given changes of a seal as $1. The text of a key needs its columns alone. What rows have of
-- a parent is worked out once for all that have the same one: max() finds the one value of them all.
CREATE OR REPLACE FUNCTION tide.bucket_queries(table_id integer, OUT affected text, OUT judged text)
    LANGUAGE plpgsql STABLE
    SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    v_relation regclass := (SELECT s.relation FROM tide.synced_table AS s WHERE s.table_id = bucket_queries.table_id);
    v_deleted  text := tide.deleted_expression(table_id, 'tide_n');
    v_own      text := tide.own_buckets(table_id, 'tide_n');
    v_rows     text;
    v_all      text[] := CASE WHEN v_own IS NOT NULL THEN '{j.tide_own}' ELSE '{}' END::text[];
    v_columns  text[];
    n          record;
    k          record;
    p          record;
BEGIN
    SELECT * INTO n FROM tide.row_expressions(table_id, 'tide_n');
    SELECT string_agg(format('tide_a.tide_k%s AS %I', c.ordinal, c.current_name), ', ' ORDER BY c.ordinal) AS names,
           string_agg(format('tide_n.%I OPERATOR(%s) %s', c.current_name, c.equality, c.value), ' AND ') AS found
      INTO k
      FROM tide.key_columns(table_id, 'g.row_key') AS c;
    affected := format($sql$
    WITH given AS MATERIALIZED (SELECT * FROM unnest($1))
    SELECT k.row_key, max(k.last_change_id)
      FROM (SELECT %1$s AS row_key, tide_n.last_change_id FROM (SELECT %2$s, tide_a.last_change_id FROM (%3$s) AS tide_a) AS tide_n) AS k
     GROUP BY k.row_key$sql$, n.row_key, k.names, tide.affected_source(table_id));

    WITH parent AS MATERIALIZED (
        SELECT b.buckets, b.fk_columns, b.ordinal FROM tide.parent_buckets(table_id, 'tide_n', 1, true) WITH ORDINALITY AS b (fk_columns, buckets, ordinal))
    SELECT array_agg(r.buckets ORDER BY r.ordinal) AS buckets,
           array_agg((SELECT string_agg(format('tide_n.%I', f), ', ') FROM unnest(r.fk_columns) AS f) ORDER BY r.ordinal) AS columns,
           (SELECT array_agg(DISTINCT f) FROM parent AS a CROSS JOIN LATERAL unnest(a.fk_columns) AS f) AS all_columns
      INTO p
      FROM parent AS r;
    v_columns := array_remove(ARRAY[CASE WHEN v_deleted IS NULL OR v_own IS NULL THEN v_own ELSE format('CASE WHEN (%s) IS NOT TRUE THEN %s END', v_deleted, v_own) END || ' AS tide_own'], NULL)
        || ARRAY(SELECT format(CASE WHEN v_deleted IS NULL THEN 'tide_n.%1$I' ELSE 'CASE WHEN (%2$s) IS NOT TRUE THEN tide_n.%1$I END AS %1$I' END, f, v_deleted) FROM unnest(p.all_columns) AS f);
    v_rows := format('SELECT g.row_key AS tide_key, g.last_change_id AS tide_last, g.op AS tide_op, tide_r.* FROM unnest($1) AS g LEFT JOIN LATERAL (SELECT %s FROM %s AS tide_n WHERE %s OFFSET 0) AS tide_r ON true',
        array_to_string(v_columns, ', '), v_relation, k.found);
    FOR i IN 1 .. coalesce(cardinality(p.buckets), 0) LOOP
        v_all := v_all || format('j.tide_of%s', i);
        v_rows := format('SELECT tide_n.*, max(tide_n.tide_one%1$s) OVER (PARTITION BY %2$s) AS tide_of%1$s FROM (SELECT tide_n.*, CASE WHEN row_number() OVER (PARTITION BY %2$s) = 1 THEN %3$s END AS tide_one%1$s FROM (%4$s) AS tide_n) AS tide_n',
            i, p.columns[i], p.buckets[i], v_rows);
    END LOOP;
    judged := format($sql$
    SELECT j.tide_key, h.key_hash, j.tide_last, j.tide_op, b.before, a.after,
           CASE WHEN a.after <> '{}' AND (j.tide_op = 'A' OR a.after <> b.before) THEN (SELECT %3$s FROM %4$s AS tide_n WHERE %5$s) END, NULL::text
      FROM (%2$s) AS j
     CROSS JOIN LATERAL (SELECT hashtextextended(j.tide_key, %1$s) AS key_hash OFFSET 0) AS h
     CROSS JOIN LATERAL (
               SELECT ARRAY(SELECT m.bucket_id::text FROM tide.membership AS m
                             WHERE m.table_id = %1$s AND m.key_hash = h.key_hash AND m.row_key = j.tide_key COLLATE "C" ORDER BY m.bucket_id) AS before OFFSET 0) AS b
     CROSS JOIN LATERAL (SELECT %6$s AS buckets OFFSET 0) AS u
     -- One bucket is the rule, and a call for each row would be felt.
     CROSS JOIN LATERAL (SELECT CASE WHEN cardinality(u.buckets) = 1 AND octet_length(u.buckets[1]) BETWEEN 1 AND 512 THEN u.buckets
                                     ELSE coalesce(tide.function_buckets(u.buckets), '{}') END AS after OFFSET 0) AS a$sql$,
        table_id, v_rows, n.payload, v_relation, replace(k.found, 'g.row_key', 'j.tide_key'), coalesce(nullif(array_to_string(v_all, ' || '), ''), 'NULL::text[]'));
END;
$$;
COMMENT ON FUNCTION tide.bucket_queries(integer) IS 'Queries for the rows of a table whose buckets may have changed, and for the buckets of rows as stored and as they are now, for the tables as they are. Raises TD012. Internal.';
-- +goose StatementEnd

-- +goose StatementBegin
-- affected_N finds the rows to be judged, buckets_N judges them. Apart, so that a rule that raises can
-- be tried again row by row. Static SQL with plans that are kept: every seal that touches the table runs
-- it. Whether a table was altered since is folded into a plan, which an ALTER TABLE makes anew.
CREATE OR REPLACE FUNCTION tide.write_bucket_functions(table_id integer)
    RETURNS boolean
    LANGUAGE plpgsql
    SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    v_table    tide.synced_table := (SELECT s FROM tide.synced_table AS s WHERE s.table_id = write_bucket_functions.table_id);
    v_settings text := tide.capture_settings(table_id) || ' SET plan_cache_mode = force_generic_plan SET enable_seqscan = off SET enable_hashjoin = off SET enable_mergejoin = off SET enable_hashagg = on SET jit = off';
    v_function record;
    v_written  boolean := false;
BEGIN
    IF NOT v_table.derived THEN
        IF to_regprocedure(format('tide.buckets_%s(tide.rule_change[])', table_id)) IS NOT NULL THEN
            EXECUTE format('DROP FUNCTION tide.affected_%s(tide.rule_change[]), tide.buckets_%1$s(tide.rule_change[])', table_id);
        END IF;
        RETURN false;
    END IF;
    FOR v_function IN
        SELECT f.name, f.returns, f.about, format($body$
#variable_conflict use_column
DECLARE
    tide_as_written boolean;
BEGIN
    BEGIN
        tide_as_written := (SELECT %1$s WHERE NOT EXISTS (SELECT FROM %2$s WHERE false));
    EXCEPTION
        WHEN undefined_table THEN
            -- It has another name now.
            tide_as_written := false;
    END;
    IF tide_as_written THEN
        RETURN QUERY %3$s;
    ELSE
        PERFORM tide.assert_sources(%4$s);
        RETURN QUERY EXECUTE (tide.bucket_queries(%4$s)).%5$I USING changes;
    END IF;
END;
$body$, u.shapes, u.tables, f.query, table_id, f.kind) AS source
          FROM tide.bucket_queries(table_id) AS q
         CROSS JOIN (SELECT string_agg(format('tide.has_shape(%s, %L, %3$L) AND tide.is_readable(%3$L)', s.table_id, tide.capture_shape(s.table_id), s.relation::oid), ' AND ' ORDER BY s.table_id) AS shapes,
                            string_agg(s.relation::text, ', ' ORDER BY s.table_id) AS tables
                       FROM tide.bucket_source AS b JOIN tide.synced_table AS s ON s.table_id = b.source_id JOIN pg_class AS c ON c.oid = s.relation
                      WHERE b.table_id = write_bucket_functions.table_id) AS u
         CROSS JOIN LATERAL (VALUES
                   ('affected', format('affected_%s', table_id), ', OUT row_key text, OUT last_change_id bigint) RETURNS SETOF record', 'Rows of %s.%s whose buckets may have changed.', q.affected),
                   ('judged', format('buckets_%s', table_id), ') RETURNS SETOF tide.judged_row', 'Buckets of rows of %s.%s as stored and as they are now.', q.judged)) AS f (kind, name, returns, about, query)
    LOOP
        CONTINUE WHEN EXISTS (SELECT FROM pg_proc AS p WHERE p.pronamespace = 'tide'::regnamespace AND p.proname = v_function.name AND p.prosrc = v_function.source);
        EXECUTE format('CREATE OR REPLACE FUNCTION tide.%I(changes tide.rule_change[]%s LANGUAGE plpgsql STABLE ROWS 100 %s AS %L', v_function.name, v_function.returns, v_settings, v_function.source);
        EXECUTE format('ALTER FUNCTION tide.%1$I(tide.rule_change[]) OWNER TO tide_owner; REVOKE ALL ON FUNCTION tide.%1$I(tide.rule_change[]) FROM PUBLIC; COMMENT ON FUNCTION tide.%1$I(tide.rule_change[]) IS %2$L',
            v_function.name, format(v_function.about || ' Written by pgtide; tide.refresh writes it anew.', v_table.table_schema, v_table.table_name));
        v_written := true;
    END LOOP;
    RETURN v_written;
END;
$$;
COMMENT ON FUNCTION tide.write_bucket_functions(integer) IS 'Writes the functions that judge a derived rule where they are missing or not as they should be, and says whether it did. Internal.';
-- +goose StatementEnd

-- +goose StatementBegin
CREATE OR REPLACE FUNCTION tide.set_bucket_sources()
    RETURNS void
    LANGUAGE plpgsql
    SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    v_circle text;
BEGIN
    DELETE FROM tide.bucket_source;
    WITH RECURSIVE link AS (
        SELECT s.table_id, p.table_id AS parent_id FROM tide.synced_table AS s CROSS JOIN LATERAL unnest(s.parents) AS r JOIN tide.synced_table AS p ON p.relation = r
         WHERE s.unregistered_at IS NULL
    ), reach AS (
        SELECT s.table_id, s.table_id AS source_id FROM tide.synced_table AS s WHERE s.derived AND s.unregistered_at IS NULL
         UNION
        SELECT r.table_id, l.parent_id FROM reach AS r JOIN link AS l ON l.table_id = r.source_id
    ), stored AS (
        INSERT INTO tide.bucket_source (table_id, source_id)
        SELECT r.table_id, r.source_id FROM reach AS r
         UNION
        -- A function looks at rows, not at their buckets: what these hang on is no matter of its own.
        SELECT r.table_id, d.source_id FROM reach AS r JOIN tide.bucket_dependency AS d ON d.table_id = r.source_id
    )
    SELECT string_agg(DISTINCT s.relation::text, ', ')
      INTO v_circle
      FROM reach AS a
      JOIN reach AS b ON b.table_id = a.source_id AND b.source_id = a.table_id
      JOIN tide.synced_table AS s ON s.table_id = a.table_id
     WHERE a.table_id <> a.source_id;
    IF v_circle IS NOT NULL THEN
        RAISE EXCEPTION 'buckets of these tables would hang on each other'
            USING ERRCODE = 'TD020',
                  DETAIL  = format('In the circle: %s.', v_circle),
                  HINT    = 'Let one of them take its buckets from elsewhere. A table may be its own parent: that is a tree.';
    END IF;
END;
$$;
COMMENT ON FUNCTION tide.set_bucket_sources() IS 'Works out which tables the buckets of which hang on. Raises TD020. Internal.';
-- +goose StatementEnd

-- +goose StatementBegin
CREATE OR REPLACE FUNCTION tide.resolve_parents(relation regclass, key_columns name[], parent regclass, parent_fk text, several jsonb, OUT parents regclass[], OUT fks text[])
    LANGUAGE plpgsql STABLE
    SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    v_given  record;
    v_parent tide.synced_table;
    v_key    text[];
BEGIN
    parents := '{}';
    fks := '{}';
    IF (parent IS NULL) <> (parent_fk IS NULL) OR jsonb_typeof(several) <> 'object' OR parent IS NOT NULL AND several IS NOT NULL THEN
        RAISE EXCEPTION 'parents are not given as they should be'
            USING ERRCODE = 'TD004', HINT = 'Give parent => ''app.task'', parent_fk => ''task_id'', or several: parents => ''{"app.task": "task_id", "app.team": "org_id, team_id", "app.person": ["from_id", "to_id"]}''.';
    END IF;
    FOR v_given IN
        SELECT parent AS relation, parent_fk AS fk WHERE parent IS NOT NULL
         UNION ALL
        SELECT to_regclass(p.key), f.fk
          FROM jsonb_each(several) AS p
          LEFT JOIN LATERAL (
               SELECT p.value #>> '{}' WHERE jsonb_typeof(p.value) = 'string'
                UNION ALL
               SELECT e FROM jsonb_array_elements_text(CASE WHEN jsonb_typeof(p.value) = 'array' THEN p.value END) AS e) AS f (fk) ON true
    LOOP
        IF v_given.relation IS NULL OR v_given.fk IS NULL THEN
            RAISE EXCEPTION 'a parent is not there'
                USING ERRCODE = 'TD004', DETAIL = format('Given: %s.', several), HINT = 'Name each table with its schema, and the columns that refer to its key: {"app.task": "task_id"}.';
        END IF;
        IF v_given.relation = resolve_parents.relation THEN
            -- A tree: the table is its own parent.
            IF relation = ANY (parents) THEN
                RAISE EXCEPTION 'a tree has one way up'
                    USING ERRCODE = 'TD004', HINT = 'Name one column that refers to the table itself, and give the rest as a bucket_function with its dependencies.';
            END IF;
            v_key := coalesce(resolve_parents.key_columns::text[], ARRAY(
                SELECT a.attname FROM pg_index AS i JOIN pg_attribute AS a ON a.attrelid = i.indrelid AND a.attnum = ANY (i.indkey) WHERE i.indrelid = relation AND i.indisprimary));
        ELSE
            v_parent := tide.registered_table(v_given.relation);
            v_key := v_parent.key_columns;
        END IF;
        IF v_given.relation <> resolve_parents.relation AND NOT v_parent.synced THEN
            RAISE EXCEPTION 'table % has no buckets of its own', v_given.relation
                USING ERRCODE = 'TD004', HINT = 'Register it with a bucket rule first; its rows hand their buckets on.';
        END IF;
        parents := parents || v_given.relation;
        fks := fks || (SELECT string_agg(trim(BOTH FROM f), ',' ORDER BY n) FROM string_to_table(v_given.fk, ',') WITH ORDINALITY AS t (f, n));
        IF (SELECT count(*) FROM string_to_table(v_given.fk, ',')) <> cardinality(v_key) THEN
            RAISE EXCEPTION 'columns % do not refer to the key of table %', quote_literal(v_given.fk), v_given.relation
                USING ERRCODE = 'TD004',
                      DETAIL  = format('Its key is (%s).', array_to_string(v_key, ', ')),
                      HINT    = 'Name one column for each of these, in this order, separated by commas.';
        END IF;
    END LOOP;
END;
$$;
COMMENT ON FUNCTION tide.resolve_parents(regclass, name[], regclass, text, jsonb) IS 'Parents given to tide.register_table, with the columns that refer to them. Raises TD004, TD009. Internal.';
-- +goose StatementEnd

-- +goose StatementBegin
CREATE OR REPLACE FUNCTION tide.watch_columns(relation regclass, columns text[])
    RETURNS void
    LANGUAGE plpgsql
    SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    v_problem text := tide.registration_problem(relation);
    v_unknown text := (SELECT string_agg(quote_ident(c), ', ') FROM unnest(columns) AS c
                        WHERE NOT EXISTS (SELECT FROM pg_attribute AS a WHERE a.attrelid = relation AND a.attname = c AND a.attnum > 0 AND NOT a.attisdropped));
    v_wanted  tide.synced_table;
BEGIN
    IF v_problem IS NOT NULL THEN
        RAISE EXCEPTION 'table % cannot be captured', relation USING ERRCODE = 'TD001', DETAIL = v_problem, HINT = 'Buckets can only hang on tables whose changes are seen.';
    END IF;
    IF v_unknown IS NOT NULL OR cardinality(columns) = 0 THEN
        RAISE EXCEPTION 'table % has no such column', relation USING ERRCODE = 'TD003', DETAIL = format('Unknown: %s.', v_unknown), HINT = 'Name the columns that the rule looks at.';
    END IF;
    IF EXISTS (SELECT FROM tide.synced_table AS s WHERE s.relation = watch_columns.relation AND s.unregistered_at IS NULL) THEN
        RETURN;
    END IF;
    SELECT n.nspname, c.relname INTO v_wanted.table_schema, v_wanted.table_name FROM pg_class AS c JOIN pg_namespace AS n ON n.oid = c.relnamespace WHERE c.oid = relation;
    v_wanted.relation := relation;
    v_wanted.on_capture_error := 'fail';
    v_wanted.push_policy := 'disabled';
    v_wanted.push_search_path := '';
    v_wanted.exclude_columns := '{}';
    v_wanted.server_columns := '{}';
    v_wanted.protected_columns := '{}';
    v_wanted.parents := '{}';
    v_wanted.parent_fks := '{}';
    v_wanted.all_columns := false;
    v_wanted.derived := false;
    v_wanted.synced := false;
    PERFORM tide.apply_registration(v_wanted, NULL, false);
END;
$$;
COMMENT ON FUNCTION tide.watch_columns(regclass, text[]) IS 'Captures a table that rules of others look at, when it is not captured yet. Raises TD001, TD003 and what registering does. Internal.';
-- +goose StatementEnd

-- +goose StatementBegin
CREATE OR REPLACE FUNCTION tide.add_bucket_dependency(
    table_name    regclass,
    on_table      regclass,
    columns       text,
    table_columns text DEFAULT NULL,
    affects       text DEFAULT NULL
)
    RETURNS void
    LANGUAGE plpgsql
    SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    v_table   tide.synced_table := tide.registered_table(table_name);
    v_columns text[] := ARRAY(SELECT trim(BOTH FROM c) FROM string_to_table(columns, ',') AS c);
    v_matched text[] := ARRAY(SELECT trim(BOTH FROM c) FROM string_to_table(table_columns, ',') AS c);
    v_source  integer;
BEGIN
    IF NOT v_table.derived THEN
        RAISE EXCEPTION 'buckets of table % hang on nothing but the row', table_name
            USING ERRCODE = 'TD022', HINT = 'Register it with a STABLE bucket_function, or with a parent.';
    END IF;
    IF table_columns IS NULL AND affects IS NULL THEN
        v_matched := v_table.key_columns;
    END IF;
    IF table_columns IS NOT NULL AND affects IS NOT NULL OR affects IS NULL AND cardinality(v_matched) <> cardinality(v_columns) THEN
        RAISE EXCEPTION 'it is not said which rows of % a change of % reaches', table_name, on_table
            USING ERRCODE = 'TD022',
                  DETAIL  = format('Columns of %s: %s. Columns of %s: %s.', on_table, array_to_string(v_columns, ', '), table_name, array_to_string(v_matched, ', ')),
                  HINT    = 'Name as many table_columns as columns (left out, they are the key), or give a query in affects that selects the rows: SELECT t.* FROM app.task AS t WHERE t.team_id = changed.team_id.';
    END IF;
    PERFORM tide.watch_columns(on_table, v_columns);
    SELECT s.table_id INTO v_source FROM tide.synced_table AS s WHERE s.relation = on_table;
    INSERT INTO tide.bucket_dependency AS d (table_id, source_id, source_columns, table_columns, affects)
    VALUES (v_table.table_id, v_source, v_columns, CASE WHEN affects IS NULL THEN v_matched END, affects)
        ON CONFLICT ON CONSTRAINT bucket_dependency_pkey DO UPDATE SET table_columns = excluded.table_columns, affects = excluded.affects;
    -- Registering again writes what the new declaration needs, of both. Who writes under the old capture functions must be done before.
    PERFORM tide.lock_briefly(on_table, 'SHARE ROW EXCLUSIVE');
    PERFORM tide.apply_registration(s, false, false) FROM tide.synced_table AS s WHERE s.relation = on_table;
    PERFORM tide.apply_registration(s, false, false) FROM tide.synced_table AS s WHERE s.table_id = v_table.table_id;
    IF affects IS NOT NULL THEN
        BEGIN
            EXECUTE format('SELECT FROM tide.affected_%s(NULL)', v_table.table_id);
        EXCEPTION
            WHEN syntax_error_or_access_rule_violation THEN
                RAISE EXCEPTION 'the query in affects cannot be run'
                    USING ERRCODE = 'TD022', DETAIL = sqlerrm, HINT = format('It selects whole rows of %s, names every table with its schema, and sees these columns of changed: %s.', table_name, columns);
        END;
    END IF;
    PERFORM tide.mark_table(v_table.table_id, 'A', format('hangs on %s', on_table), '{}');
END;
$$;
COMMENT ON FUNCTION tide.add_bucket_dependency(regclass, regclass, text, text, text) IS
'Declares that the bucket function of a table looks at another one: when a row there changes, rows of this table are judged again, those whose table_columns (left out: the key) equal columns of the changed row, before or after, or those that the query in affects selects, where the changed row is called changed. The other table is captured from now on, also when no device gets it. Raises TD001 to TD009, TD020, TD022.';
-- +goose StatementEnd

-- +goose StatementBegin
CREATE OR REPLACE FUNCTION tide.add_access_dependency(on_table regclass, columns text, affects text DEFAULT NULL)
    RETURNS void
    LANGUAGE plpgsql
    SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    v_columns text[] := ARRAY(SELECT trim(BOTH FROM c) FROM string_to_table(columns, ',') AS c);
    v_table   tide.synced_table;
    v_problem text;
BEGIN
    IF affects IS NULL AND cardinality(v_columns) <> 1 THEN
        RAISE EXCEPTION 'it is not said whose access a change of % is about', on_table
            USING ERRCODE = 'TD022',
                  DETAIL  = format('Columns: %s.', array_to_string(v_columns, ', ')),
                  HINT    = 'Name the one column that holds the user, or give a query in affects that selects the users: SELECT m.user_id FROM app.team_member AS m WHERE m.team_id = changed.team_id.';
    END IF;
    PERFORM tide.watch_columns(on_table, v_columns);
    SELECT * INTO v_table FROM tide.synced_table AS s WHERE s.relation = on_table;
    INSERT INTO tide.access_dependency AS a (source_id, source_columns, affects)
    VALUES (v_table.table_id, v_columns, affects)
        ON CONFLICT ON CONSTRAINT access_dependency_pkey DO UPDATE SET affects = excluded.affects;
    -- Who writes under the old capture functions must be done before.
    PERFORM tide.lock_briefly(on_table, 'SHARE ROW EXCLUSIVE');
    PERFORM tide.apply_registration(v_table, false, false);
    BEGIN
        EXECUTE format('SELECT tide_q.user_id::text FROM (SELECT NULL::json AS image) AS tide_i CROSS JOIN LATERAL (SELECT %s) AS changed CROSS JOIN LATERAL (%s) AS tide_q (user_id)',
            tide.changed_columns(v_table.table_id, v_columns), coalesce(affects, format('SELECT changed.%I', v_columns[1])));
    EXCEPTION
        WHEN syntax_error_or_access_rule_violation THEN
            v_problem := sqlerrm;
    END;
    IF v_problem IS NOT NULL THEN
        RAISE EXCEPTION 'the query in affects cannot be run'
            USING ERRCODE = 'TD022', DETAIL = v_problem, HINT = format('It selects users, one column, names every table with its schema, and sees these columns of changed: %s.', columns);
    END IF;
END;
$$;
COMMENT ON FUNCTION tide.add_access_dependency(regclass, text, text) IS
'Declares that a table decides which buckets users may read: when a row changes there, before and after, the devices of the user in the one column named, or of those that the query in affects selects (the changed row is called changed, the columns named are what it has), hear of it in their home bucket. Raises TD001, TD003, TD007, TD008, TD022.';
-- +goose StatementEnd

-- +goose StatementBegin
CREATE OR REPLACE FUNCTION tide.failed_row(table_id integer, change tide.rule_change, error text)
    RETURNS tide.judged_row
    LANGUAGE plpgsql STABLE
    SET search_path = pg_catalog, pg_temp
    SET enable_seqscan = off
AS $$
DECLARE
    v_hash bigint := hashtextextended(change.row_key, table_id);
BEGIN
    RETURN ROW(change.row_key, v_hash, change.last_change_id, change.op,
               ARRAY(SELECT m.bucket_id::text FROM tide.membership AS m
                      WHERE m.table_id = failed_row.table_id AND m.key_hash = v_hash AND m.row_key = change.row_key COLLATE "C" ORDER BY m.bucket_id),
               '{}'::text[], NULL, error)::tide.judged_row;
END;
$$;
COMMENT ON FUNCTION tide.failed_row(integer, tide.rule_change, text) IS 'A row whose rule raised: in no bucket from now on. Internal.';
-- +goose StatementEnd

-- +goose StatementBegin
-- All at once; when that raises, in parts, and so on, so that a row whose rule raises hurts no other. In
-- eight parts, not two: where all raise, most of the work is single rows. A lock that somebody holds on a table, and rows that a policy hides, are no failure of the rule.
CREATE OR REPLACE FUNCTION tide.judge_rows(table_id integer, changes tide.rule_change[], apart boolean DEFAULT false)
    RETURNS tide.judged_row[]
    LANGUAGE plpgsql STABLE
    SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    v_part   integer := (cardinality(changes) + 7) / 8;
    v_judged tide.judged_row[];
    v_error  text;
BEGIN
    BEGIN
        EXECUTE format('SELECT array_agg(b) FROM tide.buckets_%s($1) AS b', table_id) INTO v_judged USING changes;
        RETURN v_judged;
    EXCEPTION
        WHEN OTHERS THEN
            IF sqlstate ~ '^(40|53|55|57|TD011)' THEN
                RAISE;
            END IF;
            v_error := format('%s (%s)', sqlerrm, sqlstate);
    END;
    IF cardinality(changes) = 1 THEN
        RETURN ARRAY[tide.failed_row(table_id, changes[1], v_error)];
    END IF;
    IF NOT apart AND EXISTS (SELECT FROM tide.synced_table AS s
                              WHERE s.table_id = judge_rows.table_id AND s.parents <> '{}' AND num_nonnulls(s.bucket, s.owner_column, s.bucket_function, s.deleted_at_column) = 0) THEN
        RETURN tide.judge_by_parents(table_id, changes);
    END IF;
    FOR v_from IN 1 .. cardinality(changes) BY v_part LOOP
        v_judged := v_judged || tide.judge_rows(table_id, changes[v_from : v_from + v_part - 1], apart);
    END LOOP;
    RETURN v_judged;
END;
$$;
COMMENT ON FUNCTION tide.judge_rows(integer, tide.rule_change[], boolean) IS 'Buckets of rows of one table, as stored and as they are now; a row whose rule raises is in none, with its error. apart: parents were looked at. Internal.';
-- +goose StatementEnd

-- +goose StatementBegin
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
-- +goose StatementEnd

-- +goose StatementBegin
-- Runs on the snapshot of the statement that calls it, which is the seal's: that is why it is STABLE
-- and writes nothing.
CREATE OR REPLACE FUNCTION tide.judge_rules(
    changes tide.rule_change[], whole integer[], whole_ops text[], only_table integer DEFAULT NULL,
    OUT table_id integer, OUT row_key text, OUT key_hash bigint, OUT last_change_id bigint, OUT op "char", OUT before text[], OUT after text[], OUT payload json,
    OUT row_error text, OUT error text
)
    RETURNS SETOF record
    LANGUAGE plpgsql STABLE
    SET search_path = pg_catalog, pg_temp
    SET enable_seqscan = on SET enable_nestloop = on SET plan_cache_mode = auto SET jit = off
    -- Groups one after the other, not all at once.
    SET enable_hashagg = off
    -- Behind an ALTER TABLE all sealing would wait; the next seal tries again instead.
    SET lock_timeout = '200ms'
AS $$
#variable_conflict use_column
DECLARE
    v_max     bigint := (SELECT s.adoption_max_rows FROM tide.setting AS s);
    v_known   boolean := EXISTS (SELECT FROM tide.bucket_floor);
    v_judged  record;
    v_changes tide.rule_change[];
    v_rows    tide.judged_row[];
    v_whole   boolean;
    v_keys    text;
BEGIN
    FOR v_judged IN
        SELECT s.table_id AS id, s.relation, whole_ops[array_position(whole, s.table_id)]::"char" AS mark
          FROM tide.synced_table AS s JOIN pg_class AS c ON c.oid = s.relation
         WHERE s.derived AND s.unregistered_at IS NULL AND (only_table IS NULL OR s.table_id = only_table)
           AND (s.table_id = ANY (whole)
                OR s.table_id IN (SELECT b.table_id FROM tide.bucket_source AS b WHERE b.source_id IN (SELECT g.table_id FROM unnest(changes) AS g)))
         ORDER BY s.table_id
    LOOP
        table_id := v_judged.id;
        BEGIN
            v_whole := v_judged.mark IS NOT NULL;
            IF v_whole THEN
                PERFORM tide.assert_sources(v_judged.id);
            END IF;
            IF v_judged.mark = 'A' THEN
                -- Devices get the rows where they are few and none was missed.
                EXECUTE format('SELECT CASE WHEN $1 AND count(*) <= $2 THEN ''A'' ELSE ''!'' END FROM (SELECT FROM %s LIMIT $2 + 1) AS few', v_judged.relation)
                   INTO v_judged.mark USING v_known, v_max;
            END IF;
            LOOP
                BEGIN
                    v_keys := format('SELECT * FROM tide.affected_%s($1)', v_judged.id);
                    IF v_whole THEN
                        v_keys := format('SELECT a.row_key, CASE WHEN $2 IS NULL THEN $3 END AS last_change_id FROM (SELECT %s COLLATE "C" AS row_key FROM %s AS tide_n UNION SELECT m.row_key FROM tide.membership AS m WHERE m.table_id = %s) AS a',
                                         (tide.row_expressions(v_judged.id, 'tide_n')).row_key, v_judged.relation, v_judged.id);
                    END IF;
                    -- In pieces, because no value may be larger than a gigabyte.
                    FOR v_changes IN EXECUTE format($sql$
                        SELECT array_agg(ROW(%1$s, k.last_change_id, k.op, k.row_key, NULL, NULL)::tide.rule_change)
                          FROM (SELECT u.row_key, u.last_change_id, coalesce($2, c.op) AS op, (row_number() OVER () - 1) / 10000 AS piece
                                  FROM (%2$s) AS u
                                  LEFT JOIN (SELECT DISTINCT c.row_key, c.op FROM unnest($1) AS c WHERE c.table_id = %1$s AND c.op = 'A') AS c ON c.row_key = u.row_key) AS k
                         GROUP BY k.piece$sql$, v_judged.id, v_keys)
                        USING changes, v_judged.mark, (SELECT max(c.last_change_id) FROM unnest(changes) AS c JOIN tide.bucket_source AS b ON b.source_id = c.table_id WHERE b.table_id = v_judged.id)
                    LOOP
                        -- Not in the query: the planner would call it too, to estimate rows.
                        v_rows := tide.judge_rows(v_judged.id, v_changes);
                        RETURN QUERY SELECT v_judged.id, j.*, NULL::text FROM unnest(v_rows) AS j;
                    END LOOP;
                    EXIT;
                EXCEPTION
                    WHEN OTHERS THEN
                        IF v_whole OR sqlstate ~ '^(40|53|55|57|TD011)' THEN
                            RAISE;
                        END IF;
                        -- Which rows a change reaches cannot be told, so it may be any.
                        v_whole := true;
                        RETURN QUERY SELECT v_judged.id, '*', 0::bigint, NULL::bigint, NULL::"char", '{}'::text[], '{}'::text[], NULL::json, format('%s (%s)', sqlerrm, sqlstate), NULL::text;
                END;
            END LOOP;
        EXCEPTION
            WHEN SQLSTATE 'TD012' THEN
                -- Nobody knows any more whose its rows are.
                RETURN QUERY SELECT v_judged.id, m.row_key, m.key_hash, (SELECT max(c.last_change_id) FROM unnest(changes) AS c), NULL::"char", array_agg(m.bucket_id::text ORDER BY m.bucket_id), '{}'::text[], NULL::json, sqlerrm, NULL::text
                               FROM tide.membership AS m WHERE m.table_id = v_judged.id GROUP BY m.row_key, m.key_hash;
            WHEN OTHERS THEN
                IF sqlstate ~ '^(40|53|57)' THEN
                    RAISE;
                END IF;
                error := format('%s (%s)', sqlerrm, sqlstate);
                RETURN NEXT;
                error := NULL;
        END;
    END LOOP;
END;
$$;
COMMENT ON FUNCTION tide.judge_rules(tide.rule_change[], integer[], text[], integer) IS 'Rows of tables with derived rules that changes of a seal touch, directly or through other tables, and all rows of whole ones: buckets as stored and as they are now. A row with error where a table could not be judged. Internal.';
-- +goose StatementEnd

-- +goose StatementBegin
-- What the seal of this very snapshot does to tide.membership, worked out again: a snapshot that was
-- exported for that seal does not show what it wrote. A cursor calls it while it is fetched, when the
-- function that opened it, and its rights, are long gone.
CREATE OR REPLACE FUNCTION tide.pending_moves(table_id integer)
    RETURNS SETOF tide.judged_row
    LANGUAGE plpgsql STABLE SECURITY DEFINER
    SET search_path = pg_catalog, pg_temp
    SET enable_seqscan = off SET enable_nestloop = on SET jit = off
AS $$
#variable_conflict use_variable
DECLARE
    v_snap    pg_snapshot := (SELECT s.snap FROM tide.seal_log AS s WHERE s.cut_change_id IS NULL ORDER BY s.seal_id DESC LIMIT 1);
    v_changes tide.rule_change[];
    v_mark    "char";
    v_marks   tide.table_mark[];
    v_whole   boolean;
    v_judged  record;
BEGIN
    v_marks := tide.tables_to_judge(v_snap);
    v_whole := EXISTS (SELECT FROM unnest(v_marks) AS m WHERE m.table_id = pending_moves.table_id);
    SELECT array_agg(ROW(c.table_id, NULL, c.op, c.row_key, c.deps, c.old_deps)::tide.rule_change) FILTER (WHERE c.op IN ('I', 'U', 'D', 'R') AND NOT v_whole),
           max(c.op::text) FILTER (WHERE c.table_id = pending_moves.table_id AND c.op IN ('A', '!'))
      INTO v_changes, v_mark
      FROM tide.sealable_ranges(v_snap) AS r JOIN tide.change_log AS c ON c.xid > r.above AND c.xid < r.below
     WHERE c.table_id IN (SELECT b.source_id FROM tide.bucket_source AS b WHERE b.table_id = pending_moves.table_id);
    -- While capture is paused nobody knows what changed, and other tables are read as they are.
    IF v_whole OR EXISTS (SELECT FROM tide.setting AS s WHERE s.paused_at IS NOT NULL) THEN
        v_mark := '!';
    END IF;
    IF v_changes IS NULL AND v_mark IS NULL THEN
        RETURN;
    END IF;
    FOR v_judged IN SELECT * FROM tide.judge_rules(v_changes, CASE WHEN v_mark IS NOT NULL THEN ARRAY[table_id] END, ARRAY['!'], table_id) LOOP
        IF v_judged.error IS NOT NULL THEN
            RAISE EXCEPTION 'buckets of a table cannot be judged now'
                USING ERRCODE = 'TD126', DETAIL = v_judged.error, HINT = 'Try again; SELECT * FROM tide.check() says more.';
        END IF;
        RETURN NEXT ROW(v_judged.row_key, v_judged.key_hash, v_judged.last_change_id, v_judged.op, v_judged.before, v_judged.after, v_judged.payload, v_judged.row_error)::tide.judged_row;
    END LOOP;
END;
$$;
COMMENT ON FUNCTION tide.pending_moves(integer) IS 'Rows of a table with derived rules that changed, or hang on what changed, since the last seal that this snapshot shows, and all of them while capture is paused: buckets as stored and as they are. Raises TD126. Internal.';
-- +goose StatementEnd

-- +goose StatementBegin
-- Who must hear that what he may read is another set now. Runs on the snapshot of the seal. A query
-- that raises keeps nobody from reading what he should: his access is asked at every request anyway.
CREATE OR REPLACE FUNCTION tide.access_events(changes tide.fresh_change[], OUT xid xid8, OUT user_id text, OUT source_id integer, OUT error text)
    RETURNS SETOF record
    LANGUAGE plpgsql STABLE ROWS 10
    SET search_path = pg_catalog, pg_temp
    SET enable_seqscan = on SET enable_nestloop = on SET plan_cache_mode = auto SET jit = off
    SET lock_timeout = '200ms'
AS $$
#variable_conflict use_column
DECLARE
    v_dependency tide.access_dependency;
BEGIN
    FOR v_dependency IN SELECT * FROM tide.access_dependency AS a WHERE a.source_id IN (SELECT f.table_id FROM unnest(changes) AS f) LOOP
        source_id := v_dependency.source_id;
        BEGIN
            RETURN QUERY EXECUTE format($sql$
                SELECT DISTINCT g.xid, tide_u.user_id, g.table_id, NULL::text
                  FROM unnest($1) AS g
                 CROSS JOIN LATERAL (VALUES (g.deps), (g.old_deps)) AS tide_i (image)
                 CROSS JOIN LATERAL (SELECT %s) AS changed
                 CROSS JOIN LATERAL (SELECT tide_q.user_id::text FROM (%s) AS tide_q (user_id)) AS tide_u
                 WHERE g.table_id = %s AND tide_i.image IS NOT NULL AND tide_u.user_id <> ''$sql$,
                tide.changed_columns(source_id, v_dependency.source_columns),
                coalesce(v_dependency.affects, format('SELECT changed.%I', v_dependency.source_columns[1])), source_id) USING changes;
        EXCEPTION
            WHEN OTHERS THEN
                IF sqlstate ~ '^(40|53|57)' THEN
                    RAISE;
                END IF;
                error := format('whose access changed cannot be told: %s (%s)', sqlerrm, sqlstate);
                RETURN NEXT;
                error := NULL;
        END;
    END LOOP;
END;
$$;
COMMENT ON FUNCTION tide.access_events(tide.fresh_change[]) IS 'Users whose access may be another one because of changes of a seal, as declared with tide.add_access_dependency. Internal.';
-- +goose StatementEnd

-- +goose StatementBegin
-- What rules that look at other tables make of a seal, in its snapshot (that is why it is STABLE). The
-- stages, in order:
--   net      per transaction and key of a derived table, what happened to the row itself
--   judged   rows that changed, or hang on what changed: where they were, where they are
--   moved    those that are elsewhere now, told in the last bundle that touched what they hang on
--   stayed   changes of rows, told where these were and stay
-- By the steps of a long seal nothing is told, by its last step all of it in one bundle after all others.
CREATE OR REPLACE FUNCTION tide.derive(changes tide.fresh_change[], marked integer[], marks text[], in_steps boolean, since pg_snapshot)
    RETURNS SETOF tide.seal_effect
    LANGUAGE plpgsql STABLE ROWS 100
    SET search_path = pg_catalog, pg_temp
    SET plan_cache_mode = force_generic_plan
    SET enable_nestloop = off
    SET enable_seqscan = off
    SET max_parallel_workers_per_gather = 0 SET jit = off
    SET work_mem = '64MB'
AS $$
#variable_conflict use_column
DECLARE
    v_sources  integer[] := ARRAY(SELECT DISTINCT b.source_id FROM tide.bucket_source AS b);
    v_derived  integer[];
    v_function integer[];
BEGIN
    SELECT array_agg(s.table_id), coalesce(array_agg(s.table_id) FILTER (WHERE s.bucket_function IS NOT NULL), '{}') || ARRAY(SELECT d.source_id FROM tide.bucket_dependency AS d)
      INTO v_derived, v_function
      FROM tide.synced_table AS s WHERE s.derived AND s.unregistered_at IS NULL;
    RETURN QUERY
    WITH fresh AS MATERIALIZED (
        SELECT f.* FROM unnest(changes) AS f WHERE NOT in_steps AND since IS NULL
    ), several AS MATERIALIZED (
        SELECT f.*, row_number() OVER (k ORDER BY coalesce(f.order_id, f.change_id), f.change_id) AS nth, row_number() OVER (k ORDER BY f.change_id DESC) AS nth_from_last,
               min(f.change_id) OVER k AS first_id
          FROM fresh AS f WHERE f.op <> 'R' AND f.table_id = ANY (v_derived) AND f.table_id = ANY (marked) IS NOT TRUE
        WINDOW k AS (PARTITION BY f.xid, f.table_id, f.key_hash, f.row_key)
    ), net AS MATERIALIZED (
        SELECT l.xid, l.last_change_id, l.pushed_by, l.change_id, l.first_id, l.table_id, l.key_hash, l.row_key, l.bytes, b.op AS first_op, l.op AS last_op,
               ARRAY(SELECT m.bucket_id::text FROM tide.membership AS m
                      WHERE m.table_id = l.table_id AND m.key_hash = l.key_hash AND m.row_key = l.row_key COLLATE "C") AS stored
          FROM several AS l JOIN several AS b ON b.xid = l.xid AND b.table_id = l.table_id AND b.row_key = l.row_key
         WHERE l.nth_from_last = 1 AND b.nth = 1
    ), asked AS MATERIALIZED (
        -- What a function looks at may be in any column.
        SELECT f.table_id, f.last_change_id, f.op, f.row_key, f.deps, f.old_deps
          FROM fresh AS f
         WHERE f.table_id = ANY (v_sources) AND (f.op <> 'U' OR f.moved OR f.deps::text IS DISTINCT FROM f.old_deps::text OR f.table_id = ANY (v_function))
         UNION ALL
        SELECT l.table_id, NULL, 'A'::"char", l.row_key, l.deps, l.old_deps
          FROM tide.sealable_ranges(since) AS r JOIN tide.change_log AS l ON l.xid > r.above AND l.xid < r.below
         WHERE since IS NOT NULL AND l.table_id = ANY (v_sources) AND l.op IN ('I', 'U', 'D', 'R')
    ), judging AS MATERIALIZED (
        SELECT j.*
          FROM (SELECT array_agg(ROW(a.table_id, a.last_change_id, a.op, a.row_key, a.deps, a.old_deps)::tide.rule_change) AS changes FROM asked AS a) AS q
         CROSS JOIN LATERAL tide.judge_rules(q.changes, marked, marks) AS j
         WHERE q.changes IS NOT NULL OR marked IS NOT NULL
    ), placed AS (
        SELECT j.*, t.xid, o.change_id AS own_id, o.first_id, o.bytes,
               (j.before <> j.after OR j.op = 'A' AND j.after <> '{}') AND j.op IS DISTINCT FROM '!' AS moved,
               o.change_id IS NOT NULL AND (o.last_op = 'D' OR j.before <@ j.after) AS by_own
          FROM judging AS j
          LEFT JOIN (SELECT DISTINCT f.xid, f.last_change_id FROM fresh AS f) AS t ON t.last_change_id = j.last_change_id
          LEFT JOIN net AS o ON o.xid = t.xid AND o.table_id = j.table_id AND o.key_hash = j.key_hash AND o.row_key = j.row_key
         WHERE j.table_id NOT IN (SELECT f.table_id FROM judging AS f WHERE f.error IS NOT NULL)
    ), judged AS MATERIALIZED (
        SELECT p.*, CASE WHEN p.moved AND NOT p.by_own THEN nextval('tide.change_id') END AS effect_id FROM placed AS p
    ), stayed AS MATERIALIZED (
        -- Before it moved, a row is told where it was and stays; after that, where it is.
        SELECT o.*, CASE WHEN o.last_change_id > j.last_change_id THEN j.after ELSE o.stored END AS held, coalesce(j.after, o.stored) AS kept, CASE WHEN j.xid = o.xid THEN j.effect_id END AS effect_id
          FROM net AS o
          LEFT JOIN judged AS j ON j.table_id = o.table_id AND j.key_hash = o.key_hash AND j.row_key = o.row_key
         WHERE NOT (o.first_op = 'I' AND o.last_op = 'D')
    ), access AS MATERIALIZED (
        SELECT e.* FROM tide.access_events(changes) AS e
    ), told AS (
        SELECT s.xid, b.bucket_id, coalesce(s.effect_id, s.change_id) AS change_id, s.first_id,
               CASE WHEN s.last_op = 'D' THEN 'D' WHEN s.first_op = 'I' THEN 'I' ELSE 'U' END::"char" AS op, s.bytes
          FROM stayed AS s CROSS JOIN LATERAL unnest(s.held) AS b (bucket_id)
         WHERE b.bucket_id = ANY (s.kept)
         UNION ALL
        -- Whoever pushed a row that is in no bucket of his must drop it.
        SELECT s.xid, 'user:' || s.pushed_by, coalesce(s.effect_id, s.change_id), s.first_id, 'D'::"char", 0
          FROM stayed AS s
         WHERE s.pushed_by IS NOT NULL AND 'user:' || s.pushed_by <> ALL (s.stored || s.kept)
         UNION ALL
        SELECT j.xid, b.bucket_id, coalesce(j.effect_id, j.own_id), coalesce(j.first_id, j.effect_id),
               CASE WHEN b.bucket_id = ANY (j.before) THEN 'U' ELSE 'I' END::"char", coalesce(j.bytes, octet_length(j.payload::text))
          FROM judged AS j CROSS JOIN LATERAL unnest(j.after) AS b (bucket_id)
         WHERE j.moved AND (j.op IS NOT DISTINCT FROM 'A' OR b.bucket_id <> ALL (j.before))
         UNION ALL
        SELECT j.xid, b.bucket_id, coalesce(j.effect_id, j.own_id), coalesce(j.first_id, j.effect_id), 'D', 0
          FROM judged AS j CROSS JOIN LATERAL unnest(j.before) AS b (bucket_id)
         WHERE j.moved AND b.bucket_id <> ALL (j.after)
         UNION ALL
        -- His devices ask which buckets they may read when they hear of this.
        SELECT DISTINCT a.xid, 'user:' || a.user_id, NULL::bigint, NULL::bigint, NULL::"char", 0 FROM access AS a WHERE a.user_id IS NOT NULL
    )
    SELECT 't'::"char", t.xid, t.bucket_id, t.change_id, t.first_id, t.op, t.bytes, NULL::integer, NULL::tide.judged_row, NULL::text, NULL::json FROM told AS t
     UNION ALL
    SELECT 'j', CASE WHEN j.moved THEN j.xid END, NULL, j.effect_id, NULL, NULL, NULL, j.table_id, ROW(j.row_key, j.key_hash, j.last_change_id, j.op, j.before, j.after, j.payload, j.row_error)::tide.judged_row, NULL, NULL
      FROM judged AS j
     UNION ALL
    SELECT 'e', NULL, NULL, NULL, NULL, NULL, NULL, j.table_id, NULL, j.error, NULL FROM judging AS j WHERE j.error IS NOT NULL
     UNION ALL
    SELECT 'e', NULL, NULL, NULL, NULL, NULL, NULL, a.source_id, NULL, a.error, NULL FROM access AS a WHERE a.error IS NOT NULL
     UNION ALL
    SELECT 'w', NULL, NULL, NULL, NULL, NULL, NULL, m.table_id, NULL, NULL, NULL
      FROM unnest(marked) AS m (table_id) WHERE m.table_id NOT IN (SELECT j.table_id FROM judging AS j WHERE j.error IS NOT NULL)
     UNION ALL
    SELECT 'w', NULL, NULL, NULL, NULL, NULL, NULL, f.table_id, NULL, NULL, NULL
      FROM tide.bucket_failure AS f
     WHERE f.row_key = '*' AND f.table_id <> ALL (v_derived) AND f.table_id IN (SELECT a.source_id FROM access AS a WHERE a.user_id IS NOT NULL)
       AND f.table_id NOT IN (SELECT a.source_id FROM access AS a WHERE a.error IS NOT NULL)
     UNION ALL
    -- Where a table was locked, changes of rows are told where these were; where they are, the next seal says.
    SELECT 'r', NULL, NULL, NULL, NULL, NULL, NULL, a.table_id, ROW(a.row_key, NULL, NULL, NULL, NULL, NULL, a.deps, a.old_deps::text)::tide.judged_row, NULL, NULL
      FROM asked AS a
     WHERE EXISTS (SELECT FROM judging AS j WHERE j.error ~ '55P03' AND j.table_id = ANY (marked) IS NOT TRUE);
END;
$$;
COMMENT ON FUNCTION tide.derive(tide.fresh_change[], integer[], text[], boolean, pg_snapshot) IS
'What derived rules make of the changes of a seal, and of whole tables that are marked. in_steps: a step of a long seal; since: the last step, which takes all that changed since that snapshot. Internal.';
-- +goose StatementEnd

-- +goose StatementBegin
-- Runs on the snapshot of the seal (that is why it is STABLE), when there is a mark or a derived rule. The stages:
--   reading   rows of marked tables, as they are
--   derived   what rules that look at other tables make of the changes
--   reset     buckets whose devices must fetch a snapshot: a known one that holds rows nobody lists, or may have held rows that were lost
--   adopted   buckets that nobody knew: they begin with what is there
CREATE OR REPLACE FUNCTION tide.seal_effects(marks tide.table_mark[], changes tide.fresh_change[], in_steps boolean, since pg_snapshot, last_xid xid8)
    RETURNS SETOF tide.seal_effect
    LANGUAGE plpgsql STABLE ROWS 100
    SET search_path = pg_catalog, pg_temp
    SET plan_cache_mode = force_generic_plan
    SET enable_nestloop = off
    SET enable_seqscan = off
    SET max_parallel_workers_per_gather = 0 SET jit = off
    SET work_mem = '64MB'
AS $$
DECLARE
    v_derived integer[] := ARRAY(SELECT DISTINCT b.table_id FROM tide.bucket_source AS b);
    v_rules   boolean := EXISTS (SELECT FROM tide.bucket_source UNION ALL SELECT FROM tide.access_dependency);
BEGIN
    RETURN QUERY
    WITH mark AS MATERIALIZED (
        SELECT m.table_id, CASE WHEN bool_or(m.op = '!') THEN '!' ELSE 'A' END AS op, max(m.xid) AS xid,
               array_agg(m.note) FILTER (WHERE m.op = '!') AS notes, string_agg(DISTINCT m.note ->> 'reason', ', ') AS reason
          FROM unnest(marks) AS m GROUP BY m.table_id
    ), derived AS MATERIALIZED (
        SELECT e.*
          FROM (SELECT array_agg(m.table_id ORDER BY m.table_id) AS marked, array_agg(m.op ORDER BY m.table_id) AS ops FROM mark AS m WHERE m.table_id = ANY (v_derived)) AS q
         CROSS JOIN LATERAL tide.derive(changes, q.marked, q.ops, in_steps, since) AS e
         WHERE v_rules AND (changes IS NOT NULL OR q.marked IS NOT NULL OR since IS NOT NULL)
    ), reading AS MATERIALIZED (
        SELECT a.table_id, a.bucket_id COLLATE "C" AS bucket_id, a.row_key, a.payload, a.error
          FROM (SELECT array_agg(m.table_id ORDER BY m.table_id) AS ids, array_agg(m.op ORDER BY m.table_id) AS ops FROM mark AS m WHERE m.table_id <> ALL (v_derived)) AS m
         CROSS JOIN LATERAL tide.adoption(m.ids, m.ops) AS a
         WHERE m.ids IS NOT NULL
    ), image AS MATERIALIZED (
        SELECT r.* FROM reading AS r WHERE r.table_id NOT IN (SELECT f.table_id FROM reading AS f WHERE f.error IS NOT NULL)
         UNION ALL
        SELECT j.table_id, b.bucket_id COLLATE "C", NULL::text, NULL::json, NULL::text
          FROM derived AS j CROSS JOIN LATERAL unnest((j.judged).before || (j.judged).after) AS b (bucket_id) WHERE j.kind = 'j' AND (j.judged).op = '!'
         GROUP BY j.table_id, b.bucket_id
    ), locked AS MATERIALIZED (
        SELECT r.table_id FROM reading AS r WHERE r.error ~ '55P03'
         UNION
        SELECT e.table_id FROM derived AS e WHERE e.kind = 'e' AND e.error ~ '55P03'
    ), reset AS MATERIALIZED (
        SELECT i.bucket_id FROM image AS i WHERE i.row_key IS NULL AND EXISTS (SELECT FROM tide.bucket_floor AS b WHERE b.bucket_id = i.bucket_id)
         UNION
        SELECT b.bucket_id COLLATE "C"
          FROM mark AS m
         CROSS JOIN LATERAL tide.noted_buckets(m.notes) AS b (bucket_id)
         WHERE m.table_id NOT IN (SELECT l.table_id FROM locked AS l)
    ), adopted AS MATERIALIZED (
        SELECT DISTINCT i.bucket_id FROM image AS i WHERE NOT EXISTS (SELECT FROM tide.bucket_floor AS b WHERE b.bucket_id = i.bucket_id)
    ), image_row AS MATERIALIZED (
        SELECT i.table_id, i.row_key, (array_agg(i.payload))[1] AS payload, array_agg(i.bucket_id::text) AS buckets, nextval('tide.change_id') AS change_id,
               CASE WHEN EXISTS (SELECT FROM tide.adoption_log AS l WHERE l.table_id = i.table_id AND l.error IS NULL) THEN 'U' ELSE 'I' END::"char" AS op
          FROM image AS i
         WHERE i.row_key IS NOT NULL
           AND i.bucket_id NOT IN (SELECT a.bucket_id FROM adopted AS a)
           AND i.bucket_id NOT IN (SELECT r.bucket_id FROM reset AS r)
         GROUP BY i.table_id, i.row_key
         ORDER BY i.table_id, i.row_key
    ), last AS (
        SELECT coalesce(max(m.xid), last_xid) AS xid FROM mark AS m
    )
    SELECT 'T'::"char", l.xid, b.bucket_id, i.change_id, i.change_id, i.op, octet_length(i.payload::text)::bigint, i.table_id, NULL::tide.judged_row, NULL::text, NULL::json
      FROM image_row AS i CROSS JOIN LATERAL unnest(i.buckets) AS b (bucket_id) CROSS JOIN last AS l
     UNION ALL
    SELECT 'T', l.xid, r.bucket_id, NULL, NULL, NULL, 0, NULL, NULL, NULL, NULL FROM reset AS r CROSS JOIN last AS l
     UNION ALL
    SELECT 'T', l.xid, d.bucket_id, d.change_id, d.first_id, d.op, d.bytes, NULL, NULL, NULL, NULL
      FROM derived AS d CROSS JOIN last AS l
     WHERE d.kind = 't' AND d.xid IS NULL AND d.bucket_id NOT IN (SELECT n.bucket_id FROM adopted AS n) AND d.bucket_id NOT IN (SELECT r.bucket_id FROM reset AS r)
     UNION ALL
    SELECT d.kind, CASE WHEN d.kind = 'j' THEN coalesce(d.xid, l.xid) ELSE d.xid END, d.bucket_id, d.change_id, d.first_id, d.op, d.bytes, d.table_id, d.judged, d.error, d.note
      FROM derived AS d CROSS JOIN last AS l WHERE d.kind <> 't' OR d.xid IS NOT NULL
     UNION ALL
    SELECT 'b', NULL, a.bucket_id, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL FROM adopted AS a
     UNION ALL
    SELECT 'i', l.xid, NULL, i.change_id, NULL, NULL, NULL, i.table_id, ROW(i.row_key, hashtextextended(i.row_key, i.table_id), NULL, NULL, NULL, i.buckets, i.payload, NULL)::tide.judged_row, NULL, NULL
      FROM image_row AS i CROSS JOIN last AS l
     UNION ALL
    SELECT 'l', NULL, NULL, NULL, NULL, NULL, NULL, m.table_id, NULL,
           coalesce((SELECT r.error FROM reading AS r WHERE r.table_id = m.table_id AND r.error IS NOT NULL), (SELECT max(e.error) FROM derived AS e WHERE e.kind = 'e' AND e.table_id = m.table_id)),
           to_json(m.reason)
      FROM mark AS m
     UNION ALL
    SELECT 'g', NULL, NULL, NULL, NULL, m.op, NULL, m.table_id, NULL, NULL, m.note FROM unnest(marks) AS m WHERE m.table_id IN (SELECT l.table_id FROM locked AS l);
END;
$$;
COMMENT ON FUNCTION tide.seal_effects(tide.table_mark[], tide.fresh_change[], boolean, pg_snapshot, xid8) IS
'What marked tables and derived rules make of the changes of a seal. in_steps: a step of a long seal; since: its last step, which takes all that changed since that snapshot; last_xid: of the changes. Internal.';
-- +goose StatementEnd

-- +goose StatementBegin
CREATE OR REPLACE FUNCTION tide.store_effects(effects tide.seal_effect[], seal_id bigint, sealed_at timestamptz)
    RETURNS void
    LANGUAGE plpgsql
    SET search_path = pg_catalog, pg_temp
    SET plan_cache_mode = force_generic_plan
    SET enable_seqscan = off SET enable_hashjoin = off SET enable_mergejoin = off SET max_parallel_workers_per_gather = 0 SET jit = off
AS $$
DECLARE
    v_again tide.table_mark[] := ARRAY(SELECT ROW(e.table_id, e.op, NULL, e.note)::tide.table_mark FROM unnest(effects) AS e WHERE e.kind = 'g');
BEGIN
    INSERT INTO tide.change_log (change_id, xid, table_id, op, row_key, key_hash, buckets, old_buckets, payload)
    SELECT e.change_id, e.xid, e.table_id, CASE e.kind WHEN 'j' THEN 'M' ELSE 'A' END, (e.judged).row_key, (e.judged).key_hash, (e.judged).after, (e.judged).before, (e.judged).payload
      FROM unnest(effects) AS e WHERE e.kind IN ('i', 'j') AND e.change_id IS NOT NULL;
    INSERT INTO tide.key_log (key_hash, change_id, xid)
    SELECT (e.judged).key_hash, e.change_id, e.xid FROM unnest(effects) AS e WHERE e.kind IN ('i', 'j') AND e.change_id IS NOT NULL ORDER BY 1;
    INSERT INTO tide.adoption_log (table_id, seal_id, reason, error, adopted_at)
    SELECT e.table_id, store_effects.seal_id, e.note #>> '{}', e.error, sealed_at FROM unnest(effects) AS e WHERE e.kind = 'l';
    IF EXISTS (SELECT FROM tide.missed_log) THEN
        DELETE FROM tide.missed_log AS m WHERE pg_visible_in_snapshot(m.xid, (SELECT s.snap FROM tide.seal_log AS s ORDER BY s.seal_id DESC LIMIT 1));
    END IF;
    -- With the id of this transaction: fresh to the next seal.
    IF cardinality(v_again) > 0 THEN
        PERFORM tide.write_marks(v_again);
    END IF;
    DELETE FROM tide.membership AS m
     USING unnest(effects) AS e
     WHERE e.kind = 'j' AND NOT (e.judged).before <@ (e.judged).after
       AND m.table_id = e.table_id AND m.key_hash = (e.judged).key_hash AND m.row_key = (e.judged).row_key COLLATE "C" AND m.bucket_id <> ALL ((e.judged).after);
    INSERT INTO tide.membership (table_id, key_hash, row_key, bucket_id)
    SELECT e.table_id, (e.judged).key_hash, (e.judged).row_key, b FROM unnest(effects) AS e CROSS JOIN LATERAL unnest((e.judged).after) AS b
     WHERE e.kind = 'j' AND b <> ALL ((e.judged).before)
     ORDER BY 2;
    IF EXISTS (SELECT FROM tide.bucket_failure) THEN
        -- Two statements: with an OR all effects would be compared with all failures.
        DELETE FROM tide.bucket_failure AS f
         USING unnest(effects) AS e
         WHERE e.kind = 'j' AND (e.judged).error IS NULL AND f.table_id = e.table_id AND f.key_hash = (e.judged).key_hash AND f.row_key = (e.judged).row_key COLLATE "C";
        DELETE FROM tide.bucket_failure AS f
         WHERE f.row_key = '*' AND f.table_id IN (SELECT e.table_id FROM unnest(effects) AS e WHERE e.kind = 'w');
    END IF;
    INSERT INTO tide.bucket_failure AS f (table_id, key_hash, row_key, error, seal_id, failed_at)
    SELECT e.table_id, (e.judged).key_hash, (e.judged).row_key, (e.judged).error, store_effects.seal_id, sealed_at FROM unnest(effects) AS e WHERE e.kind = 'j' AND (e.judged).error IS NOT NULL
     UNION ALL
    SELECT e.table_id, 0, '*', e.error, store_effects.seal_id, sealed_at FROM unnest(effects) AS e WHERE e.kind = 'e' AND e.error !~ '55P03'
        ON CONFLICT (table_id, key_hash, row_key) DO UPDATE SET error = excluded.error, seal_id = excluded.seal_id, failed_at = excluded.failed_at;
    INSERT INTO tide.change_log (table_id, op, row_key, key_hash, deps, old_deps)
    SELECT e.table_id, 'R', (e.judged).row_key, hashtextextended((e.judged).row_key, e.table_id), (e.judged).payload, (e.judged).error::json FROM unnest(effects) AS e WHERE e.kind = 'r';
END;
$$;
COMMENT ON FUNCTION tide.store_effects(tide.seal_effect[], bigint, timestamptz) IS 'Writes what marked tables and derived rules made of a seal: images of rows that were read or moved, stored buckets, tables read, failures. Internal.';
-- +goose StatementEnd

-- +goose StatementBegin
-- A payload is read as the types of the columns, but for those JSON has no value of: bytea comes as
-- base64, money as a number.
CREATE OR REPLACE FUNCTION tide.push_columns(
    table_id integer,
    OUT column_name text, OUT current_name name, OUT json_type text, OUT value text, OUT key_value text, OUT default_value text,
    OUT in_key boolean, OUT written boolean, OUT protected boolean, OUT always_identity boolean
)
    RETURNS SETOF record
    LANGUAGE plpgsql STABLE PARALLEL SAFE
    SET search_path = pg_catalog, pg_temp
AS $$
#variable_conflict use_column
BEGIN
    RETURN QUERY
    SELECT c.column_name, c.current_name,
           CASE
               WHEN c.base_type = 'bytea'::regtype THEN CASE WHEN c.is_array THEN 'text[]' ELSE 'text' END
               WHEN c.base_type = 'money'::regtype AND NOT c.is_array THEN 'numeric'
               ELSE t.name
           END,
           CASE
               WHEN c.base_type = 'bytea'::regtype AND c.is_array
                   THEN format('CASE WHEN tide_n.%1$I IS NOT NULL THEN ARRAY(SELECT decode(e, ''base64'') FROM unnest(tide_n.%1$I) AS e) END::%2$s', c.column_name, t.name)
               WHEN c.base_type = 'bytea'::regtype THEN format('decode(tide_n.%I, ''base64'')::%s', c.column_name, t.name)
               WHEN c.base_type = 'money'::regtype AND NOT c.is_array THEN format('tide_n.%I::%s', c.column_name, t.name)
               ELSE format('tide_n.%I', c.column_name)
           END,
           CASE
               WHEN c.base_type = 'bytea'::regtype THEN format('decode(tide_r.key ->> %L, ''base64'')::%s', c.column_name, t.name)
               ELSE format('(tide_r.key ->> %L)::%s', c.column_name, t.name)
           END,
           coalesce('(' || coalesce(pg_get_expr(d.adbin, d.adrelid), pg_get_expr(y.typdefaultbin, 0)) || ')', 'NULL') || '::' || t.name,
           c.in_key,
           a.attgenerated = '' AND (c.in_key OR c.column_name <> ALL (s.server_columns) AND a.attidentity = ''),
           c.column_name = ANY (s.protected_columns),
           a.attidentity = 'a'
      FROM tide.synced_table AS s
     CROSS JOIN LATERAL tide.synced_columns(s.table_id) AS c
      JOIN pg_attribute AS a ON a.attrelid = s.relation AND a.attname = c.current_name
      JOIN pg_type AS y ON y.oid = a.atttypid
      LEFT JOIN pg_attrdef AS d ON d.adrelid = a.attrelid AND d.adnum = a.attnum AND a.attgenerated = ''
     CROSS JOIN LATERAL format_type(a.atttypid, a.atttypmod) AS t (name)
     WHERE s.table_id = push_columns.table_id
       AND (c.in_payload OR c.in_key OR c.column_name = s.owner_column)
     ORDER BY a.attnum;
END;
$$;
COMMENT ON FUNCTION tide.push_columns(integer) IS 'How each column of a push is read and written: its type in the payload (tide_n), its value as the column''s type, the key''s value (tide_r.key), and what an absent one becomes. Internal.';
-- +goose StatementEnd

-- +goose StatementBegin
CREATE OR REPLACE FUNCTION tide.push_target(
    table_id integer,
    OUT name text, OUT key text, OUT key_order text, OUT mine text, OUT dead text,
    OUT deleted_at name, OUT deleted_is_bool boolean, OUT owner name, OUT owner_type text, OUT policy text
)
    LANGUAGE plpgsql STABLE
    SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    v_table tide.synced_table := (SELECT s FROM tide.synced_table AS s WHERE s.table_id = push_target.table_id);
BEGIN
    -- IS TRUE keeps an index on the owner out of it: rows are found by their key.
    name := v_table.relation::text;
    policy := v_table.push_policy;
    -- ANY of one value: with a mere equality, the planner also thinks of reading the whole table in the order of
    -- its key and looking into all pushed rows for each of its rows. It expects ten of those; there may be thousands.
    SELECT string_agg(format('tide_t.%I OPERATOR(%s) ANY (ARRAY[%s])', e.column_name, e.equality, c.key_value), ' AND ' ORDER BY e.ordinal),
           string_agg(c.key_value, ', ' ORDER BY e.ordinal)
      INTO key, key_order
      FROM tide.key_equality(v_table.table_id) WITH ORDINALITY AS e (column_name, equality, ordinal) JOIN tide.push_columns(v_table.table_id) AS c ON c.current_name = e.column_name;
    SELECT a.attname, format_type(a.atttypid, a.atttypmod)
      INTO owner, owner_type
      FROM pg_attribute AS a
     WHERE a.attrelid = v_table.relation AND a.attname = (tide.current_names(v_table.table_id, ARRAY[v_table.owner_column]))[1];
    mine := CASE WHEN policy = 'owner_only' THEN format('(tide_t.%I::text = $2) IS TRUE', owner) ELSE 'true' END;
    SELECT c.current_name, c.base_type = 'bool'::regtype
      INTO deleted_at, deleted_is_bool
      FROM tide.synced_columns(v_table.table_id) AS c
     WHERE c.column_name = v_table.deleted_at_column;
    dead := CASE WHEN deleted_at IS NULL THEN 'false' ELSE format('tide_t.%I %s', deleted_at, CASE WHEN deleted_is_bool THEN 'IS TRUE' ELSE 'IS NOT NULL' END) END;
END;
$$;
COMMENT ON FUNCTION tide.push_target(integer) IS 'What all steps of a push to a table need: how its rows (tide_t) are found for those of the push (tide_r), which are the caller''s, and which are deleted softly. Internal.';
-- +goose StatementEnd

-- +goose StatementBegin
-- A foreign key is checked by PostgreSQL against every row. That would tell a device which keys other
-- users have, so a key of theirs is refused in the very words in which one that does not exist is.
CREATE OR REPLACE FUNCTION tide.push_reference_check(table_id integer, event text)
    RETURNS text
    LANGUAGE plpgsql STABLE
    SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    RETURN (
    SELECT string_agg(format($check$    IF EXISTS (
           SELECT FROM unnest($1) AS tide_r CROSS JOIN LATERAL json_to_record(tide_r.payload) AS tide_n (%s)%s
            WHERE %s AND %s%s)
    THEN
        RAISE EXCEPTION USING ERRCODE = 'foreign_key_violation', CONSTRAINT = %L,
            MESSAGE = %L;
    END IF;
$check$,
               (SELECT string_agg(format('%I %s', c.column_name, c.json_type), ', ') FROM tide.push_columns(s.table_id) AS c),
               CASE WHEN event = 'UPDATE' THEN format(' JOIN %s AS tide_t ON %s', t.name, t.key) END,
               f.given,
               CASE WHEN t.policy = 'owner_only' THEN
                   format('EXISTS (SELECT FROM %s AS tide_p WHERE %s AND coalesce(tide_p.%I::text, %s) IS DISTINCT FROM $2)', parent.relation, f.matches,
                          (tide.current_names(parent.table_id, ARRAY[parent.owner_column]))[1], CASE WHEN parent.null_owner_bucket IS NULL THEN 'NULL' ELSE '$2' END)
               ELSE
                   format('NOT EXISTS (SELECT FROM %s AS tide_p WHERE %s)', parent.relation, f.matches)
               END,
               CASE WHEN event = 'UPDATE' THEN ' AND (' || f.changed || ')' END,
               k.conname,
               format('insert or update on table "%s" violates foreign key constraint "%s"', c.relname, k.conname)),
           '' ORDER BY k.conname)
      FROM tide.synced_table AS s
     CROSS JOIN LATERAL tide.push_target(s.table_id) AS t
      JOIN pg_class AS c ON c.oid = s.relation
      JOIN pg_constraint AS k ON k.conrelid = s.relation AND k.contype = 'f' AND k.conparentid = 0
      JOIN tide.synced_table AS parent ON parent.relation = k.confrelid AND parent.unregistered_at IS NULL
      JOIN pg_class AS pc ON pc.oid = k.confrelid
     CROSS JOIN LATERAL (
               SELECT string_agg(CASE WHEN p.in_key THEN 'true' ELSE format('%L = ANY (tide_r.columns) AND %s IS NOT NULL', p.column_name, p.value) END, ' AND ' ORDER BY r.ordinal) AS given,
                      string_agg(format('tide_p.%I OPERATOR(%I.%s) ANY (ARRAY[%s])', pa.attname, opn.nspname, op.oprname, CASE WHEN p.in_key THEN p.key_value ELSE p.value END), ' AND ' ORDER BY r.ordinal) AS matches,
                      string_agg(CASE WHEN p.in_key THEN 'false' ELSE format('ROW(%s)::record *<> ROW(tide_t.%I)::record', p.value, p.current_name) END, ' OR ' ORDER BY r.ordinal) AS changed,
                      count(*) AS columns
                 FROM unnest(k.conkey, k.confkey, k.conpfeqop) WITH ORDINALITY AS r (attnum, parent_attnum, equality, ordinal)
                 JOIN pg_attribute AS ca ON ca.attrelid = k.conrelid AND ca.attnum = r.attnum
                 JOIN pg_attribute AS pa ON pa.attrelid = k.confrelid AND pa.attnum = r.parent_attnum
                 JOIN pg_operator AS op ON op.oid = r.equality
                 JOIN pg_namespace AS opn ON opn.oid = op.oprnamespace
                 JOIN tide.push_columns(s.table_id) AS p ON p.current_name = ca.attname
           ) AS f
     WHERE s.table_id = push_reference_check.table_id
       AND f.columns = cardinality(k.conkey)
       AND CASE WHEN t.policy = 'owner_only' THEN parent.owner_column IS NOT NULL
                ELSE pc.relrowsecurity AND has_table_privilege((SELECT o.client_role FROM tide.setting AS o), pc.oid, 'SELECT')
                     AND (parent.fk_depth < s.fk_depth OR event = 'INSERT' AND parent.table_id = s.table_id) END);
END;
$$;
COMMENT ON FUNCTION tide.push_reference_check(integer, text) IS 'Statements that refuse pushed rows whose foreign key leads to a row the caller may not see. Internal.';
-- +goose StatementEnd

-- +goose StatementBegin
CREATE OR REPLACE FUNCTION tide.push_insert_source(table_id integer)
    RETURNS text
    LANGUAGE plpgsql STABLE
    SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    v_target record;
    v_source text;
BEGIN
    SELECT * INTO v_target FROM tide.push_target(table_id);
    SELECT format($body$
DECLARE
    tide_written bigint;
BEGIN
%8$s    INSERT INTO %1$s AS tide_t (%2$s)%3$s
    SELECT %4$s
      FROM unnest($1) AS tide_r CROSS JOIN LATERAL json_to_record(tide_r.payload) AS tide_n (%5$s)
     WHERE %6$s
     ORDER BY tide_r.ordinal;
    GET DIAGNOSTICS tide_written = ROW_COUNT;
%7$s    RETURN tide_written;
END;
$body$,
               v_target.name,
               string_agg(quote_ident(c.current_name), ', ') FILTER (WHERE c.inserted),
               CASE WHEN bool_or(c.always_identity AND c.inserted) THEN E'\n    OVERRIDING SYSTEM VALUE' END,
               string_agg(
                   CASE
                       WHEN c.in_key THEN c.key_value
                       -- Whose row it is, is not for the device to say.
                       WHEN c.current_name = v_target.owner AND v_target.policy = 'owner_only' THEN format('$2::%s', v_target.owner_type)
                       WHEN c.current_name = v_target.owner THEN format('CASE WHEN %L = ANY (tide_r.columns) THEN %s ELSE $2::%s END', c.column_name, c.value, v_target.owner_type)
                       WHEN c.default_value ~ '^NULL::' THEN c.value
                       ELSE format('CASE WHEN %L = ANY (tide_r.columns) THEN %s ELSE %s END', c.column_name, c.value, c.default_value)
                   END, ', ') FILTER (WHERE c.inserted),
               string_agg(format('%I %s', c.column_name, c.json_type), ', '),
               concat_ws(' AND ',
                   string_agg(format('(NOT %L = ANY (tide_r.columns) OR ROW(%s)::record *= ROW(%s)::record)', c.column_name, c.value, c.key_value), ' AND ') FILTER (WHERE c.in_key),
                   string_agg(format('(NOT %L = ANY (tide_r.columns) OR %s IS NULL OR ROW(%2$s)::record *= ROW(%s)::record)', c.column_name, c.value, c.default_value), ' AND ')
                       FILTER (WHERE c.protected AND NOT c.in_key),
                   CASE WHEN v_target.policy = 'owner_only' THEN
                       string_agg(format('coalesce(%s::text, $2) = $2', CASE WHEN c.in_key THEN c.key_value ELSE c.value END), '') FILTER (WHERE c.current_name = v_target.owner)
                   END),
               CASE WHEN v_target.policy = 'rls' THEN tide.push_reference_check(table_id, 'INSERT') END,
               CASE WHEN v_target.policy = 'owner_only' THEN tide.push_reference_check(table_id, 'INSERT') END)
      INTO v_source
      FROM (SELECT p.*, p.written AND (p.in_key OR NOT p.protected) AS inserted FROM tide.push_columns(table_id) AS p) AS c;
    RETURN v_source;
END;
$$;
COMMENT ON FUNCTION tide.push_insert_source(integer) IS 'Body of the function that inserts pushed rows. A protected column must be absent, null or its default. Internal.';
-- +goose StatementEnd

-- +goose StatementBegin
CREATE OR REPLACE FUNCTION tide.push_update_source(table_id integer)
    RETURNS text
    LANGUAGE plpgsql STABLE
    SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    v_target record;
    v_source text;
BEGIN
    SELECT * INTO v_target FROM tide.push_target(table_id);
    SELECT format($body$
DECLARE
    tide_written bigint;
BEGIN
%7$s    UPDATE %1$s AS tide_t
       SET %2$s
      FROM unnest($1) AS tide_r CROSS JOIN LATERAL json_to_record(tide_r.payload) AS tide_n (%3$s)
     WHERE %4$s AND %5$s AND %6$s;
    GET DIAGNOSTICS tide_written = ROW_COUNT;
    RETURN tide_written;
END;
$body$,
               v_target.name,
               concat_ws(E',\n           ',
                   -- Also where nothing but the key is synced, the push is a change.
                   coalesce(string_agg(format('%I = CASE WHEN %L = ANY (tide_r.columns) THEN %s ELSE %s END', c.current_name, c.column_name, c.value,
                                              CASE WHEN c.current_name = v_target.deleted_at THEN 'NULL' ELSE format('tide_t.%I', c.current_name) END),
                                       E',\n           ') FILTER (WHERE c.updated),
                            min(format('%1$I = tide_t.%1$I', c.current_name)) FILTER (WHERE c.in_key)),
                   -- Pushing a row that was deleted softly brings it back.
                   CASE WHEN v_target.deleted_at IS NOT NULL AND NOT coalesce(bool_or(c.updated AND c.current_name = v_target.deleted_at), false) THEN
                       format('%I = %s', v_target.deleted_at, CASE WHEN v_target.deleted_is_bool THEN 'false' ELSE 'NULL' END) END),
               string_agg(format('%I %s', c.column_name, c.json_type), ', '),
               v_target.key, v_target.mine,
               concat_ws(' AND ',
                   string_agg(format('(NOT %L = ANY (tide_r.columns) OR ROW(%s)::record *= ROW(%s)::record)', c.column_name, c.value, c.key_value), ' AND ') FILTER (WHERE c.in_key),
                   string_agg(format('(NOT %L = ANY (tide_r.columns) OR ROW(%s)::record *= ROW(tide_t.%I)::record)', c.column_name, c.value, c.current_name), ' AND ')
                       FILTER (WHERE NOT c.in_key AND c.protected),
                   CASE WHEN v_target.policy = 'owner_only' THEN
                       string_agg(format('coalesce(%s::text, $2) = $2', c.value), '') FILTER (WHERE c.current_name = v_target.owner)
                   END),
               tide.push_reference_check(table_id, 'UPDATE'))
      INTO v_source
      FROM (SELECT p.*, p.written AND NOT p.in_key AND NOT p.protected AND (v_target.policy <> 'owner_only' OR p.current_name <> v_target.owner) AS updated
              FROM tide.push_columns(table_id) AS p) AS c;
    RETURN v_source;
END;
$$;
COMMENT ON FUNCTION tide.push_update_source(integer) IS 'Body of the function that updates pushed rows: columns that are absent, protected or the server''s keep their value. Internal.';
-- +goose StatementEnd

-- +goose StatementBegin
-- What is written here: for one table, each step of a push as static, set-based SQL over its rows
-- ($1; $2 is the user). Under owner_only a function runs as tide_owner and holds to the rows of the
-- caller; under rls it runs as who calls it, and the policies do that.
--   keys      the rows of this table, among those of others, with their key in canonical text, NULL where it was given otherwise
--   lock      locks the rows that are there, in the order of their key, and says which are deleted softly
--   image     rows as the caller may see them
--   insert, update, delete    return how many rows they wrote; what may not be written is left out
CREATE OR REPLACE FUNCTION tide.push_source(table_id integer, part text)
    RETURNS text
    LANGUAGE plpgsql STABLE
    SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    v_target record;
    v_key    record;
    v_image  record;
    v_known  text[];
BEGIN
    SELECT * INTO v_target FROM tide.push_target(table_id);
    CASE part
        WHEN 'keys' THEN
            SELECT string_agg(format('%s AS %I', k.key_value, k.current_name), ', ' ORDER BY array_position(s.key_columns, k.column_name)) AS columns,
                   '''{' || string_agg(format('%s:', replace(to_json(k.column_name)::text, '''', ''''''))
                       -- Nothing that can be read as one of these needs escaping.
                       || format(CASE WHEN c.base_type = ANY ('{int2,int4,int8,oid,uuid,bool,numeric}'::regtype[]) AND NOT c.is_array
                                      THEN '"'' || (tide_r.key ->> %L) || ''"' ELSE ''' || to_json(tide_r.key ->> %L)::text || ''' END, k.column_name),
                       ',' ORDER BY array_position(s.key_columns, k.column_name)) || '}''' AS given
              INTO v_key
              FROM tide.synced_table AS s
             CROSS JOIN LATERAL tide.push_columns(s.table_id) AS k
              JOIN LATERAL tide.synced_columns(s.table_id) AS c ON c.column_name = k.column_name
             WHERE s.table_id = push_source.table_id AND k.in_key;
            SELECT * INTO v_image FROM tide.row_expressions(table_id, 'tide_k');
            v_known := ARRAY(SELECT c.column_name FROM tide.synced_columns(table_id) AS c WHERE c.in_payload);
            RETURN format($body$
BEGIN
    RETURN ARRAY(
        SELECT ROW(tide_r.ordinal, tide_r.table_id, tide_r.op, tide_r.base, hashtextextended(tide_r.tide_key, tide_r.table_id),
                   CASE WHEN tide_r.tide_key = %s THEN tide_r.tide_key END, tide_r.key, tide_r.payload, tide_r.columns,
                   -- As a rule all of them, in their order: to look for each in the other list takes longer.
                   tide_r.columns = %L::text[] OR tide_r.columns <@ %2$L::text[], %L::boolean)::tide.pushed_row
          FROM (SELECT tide_r.*, %s AS tide_key FROM unnest($1) AS tide_r CROSS JOIN LATERAL (SELECT %s) AS tide_k
                 WHERE tide_r.table_id = %s OFFSET 0) AS tide_r); -- once, not wherever it is named
END;
$body$, v_key.given, v_known, v_target.policy = 'rls', v_image.row_key, v_key.columns, table_id);
        WHEN 'lock' THEN
            RETURN format($body$
BEGIN
    -- A row that goes must not be referred to meanwhile.
    IF $3 THEN
        RETURN QUERY SELECT tide_r.ordinal, %1$s FROM unnest($1) AS tide_r JOIN %2$s AS tide_t ON %3$s WHERE %4$s ORDER BY %5$s FOR UPDATE OF tide_t;
    ELSE
        RETURN QUERY SELECT tide_r.ordinal, %1$s FROM unnest($1) AS tide_r JOIN %2$s AS tide_t ON %3$s WHERE %4$s ORDER BY %5$s FOR NO KEY UPDATE OF tide_t;
    END IF;
END;
$body$, v_target.dead, v_target.name, v_target.key, v_target.mine, v_target.key_order);
        WHEN 'image' THEN
            SELECT * INTO v_image FROM tide.row_expressions(table_id, 'tide_t');
            RETURN format($body$
BEGIN
    RETURN QUERY SELECT tide_r.ordinal, %s, %s FROM unnest($1) AS tide_r JOIN %s AS tide_t ON %s WHERE %s;
END;
$body$, v_target.dead, v_image.payload, v_target.name, v_target.key, v_target.mine);
        WHEN 'delete' THEN
            RETURN format($body$
DECLARE
    tide_written bigint;
BEGIN
    %s unnest($1) AS tide_r WHERE %s AND %s;
    GET DIAGNOSTICS tide_written = ROW_COUNT;
    RETURN tide_written;
END;
$body$,
                CASE WHEN v_target.deleted_at IS NULL THEN format('DELETE FROM %s AS tide_t USING', v_target.name)
                     ELSE format('UPDATE %s AS tide_t SET %I = %s FROM', v_target.name, v_target.deleted_at, CASE WHEN v_target.deleted_is_bool THEN 'true' ELSE 'now()' END) END,
                v_target.key, v_target.mine);
        WHEN 'insert' THEN
            RETURN tide.push_insert_source(table_id);
        WHEN 'update' THEN
            RETURN tide.push_update_source(table_id);
        ELSE
            RAISE EXCEPTION 'a push has no part %', part USING ERRCODE = 'invalid_parameter_value';
    END CASE;
END;
$$;
COMMENT ON FUNCTION tide.push_source(integer, text) IS 'Body of a function that does one step of a push for one table. Internal.';
-- +goose StatementEnd

-- +goose StatementBegin
CREATE OR REPLACE FUNCTION tide.push_schemas(path text)
    RETURNS text[]
    LANGUAGE sql IMMUTABLE PARALLEL SAFE
    SET search_path = pg_catalog, pg_temp
AS $$
    SELECT coalesce(array_agg(replace(trim(both '"' from s.name), '""', '"') ORDER BY s.nth) FILTER (WHERE s.name NOT IN ('', '""', '"$user"', '$user', 'pg_temp')), '{}')
      FROM (SELECT trim(both FROM p) AS name, nth FROM unnest(string_to_array(path, ',')) WITH ORDINALITY AS p (p, nth)) AS s;
$$;
COMMENT ON FUNCTION tide.push_schemas(text) IS 'Schemas of a search_path as it is written, without $user and pg_temp. Internal.';
-- +goose StatementEnd

-- +goose StatementBegin
CREATE OR REPLACE FUNCTION tide.drop_push_functions(table_id integer)
    RETURNS void
    LANGUAGE plpgsql
    SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    v_function regprocedure;
BEGIN
    FOR v_function IN
        SELECT p.oid FROM pg_proc AS p WHERE p.pronamespace = 'tide'::regnamespace AND p.proname ~ format('^push_%s_', drop_push_functions.table_id)
    LOOP
        EXECUTE format('DROP FUNCTION %s', v_function);
    END LOOP;
END;
$$;
COMMENT ON FUNCTION tide.drop_push_functions(integer) IS 'Drops the functions that write pushes to a table. Internal.';
-- +goose StatementEnd

-- +goose StatementBegin
CREATE OR REPLACE FUNCTION tide.write_push_functions(table_id integer)
    RETURNS boolean
    LANGUAGE plpgsql
    SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    v_table   tide.synced_table := (SELECT s FROM tide.synced_table AS s WHERE s.table_id = write_push_functions.table_id);
    v_client  name := (SELECT s.client_role FROM tide.setting AS s);
    v_path    text;
    v_name    text;
    v_current record;
    v_settings text;
    v_source  text;
    v_written boolean := false;
    v_part    record;
BEGIN
    IF v_table.push_policy = 'disabled' THEN
        PERFORM tide.drop_push_functions(table_id);
        RETURN false;
    END IF;
    SELECT coalesce(string_agg(quote_ident(p) || ', ', ''), '') || 'pg_temp' INTO v_path FROM unnest(tide.push_schemas(v_table.push_search_path)) AS p;
    FOR v_part IN
        SELECT *
          FROM (VALUES ('keys',   '',                          'tide.pushed_row[]'),
                       ('lock',   ', text, boolean',           'TABLE (ordinal bigint, dead boolean)'),
                       ('image',  ', text',                    'TABLE (ordinal bigint, dead boolean, payload json)'),
                       ('insert', ', text',                    'bigint'),
                       ('update', ', text',                    'bigint'),
                       ('delete', ', text',                    'bigint')) AS p (part, arguments, result)
    LOOP
        v_name := format('push_%s_%s', table_id, v_part.part);
        v_source := tide.push_source(table_id, v_part.part);
        -- Triggers and policies run in the path of their application; reading and locking are by key, whatever the statistics say.
        v_settings := concat_ws(E'\n    ',
            CASE WHEN v_part.part IN ('keys', 'image') THEN tide.capture_settings(table_id)
                 ELSE format(E'SET search_path = %s\n    SET TimeZone = ''UTC''\n    SET DateStyle = ''ISO, YMD''\n    SET IntervalStyle = ''postgres''', v_path) END,
            'SET plan_cache_mode = force_generic_plan SET jit = off',
            CASE WHEN v_part.part NOT IN ('keys', 'insert') THEN 'SET enable_seqscan = off SET enable_hashjoin = off SET enable_mergejoin = off' END);
        SELECT p.oid, p.prosrc, p.prosecdef, obj_description(p.oid, 'pg_proc') AS remark INTO v_current
          FROM pg_proc AS p WHERE p.pronamespace = 'tide'::regnamespace AND p.proname = v_name;
        CONTINUE WHEN v_current.prosrc = v_source AND v_current.prosecdef = (v_table.push_policy = 'owner_only') AND v_current.remark LIKE '%' || md5(v_settings)
                  AND (v_table.push_policy <> 'rls' OR has_function_privilege(v_client, v_current.oid, 'EXECUTE'));
        EXECUTE format(E'CREATE OR REPLACE FUNCTION tide.%I(tide.pushed_row[]%s)\n    RETURNS %s\n    LANGUAGE plpgsql %s\n    %s\nAS %L',
            v_name, v_part.arguments, v_part.result, CASE WHEN v_table.push_policy = 'owner_only' THEN 'SECURITY DEFINER' ELSE 'SECURITY INVOKER' END, v_settings, v_source);
        EXECUTE format('COMMENT ON FUNCTION tide.%I IS %L', v_name,
            format('The step %s of pushing to %s.%s. Written by pgtide; tide.refresh writes it anew. %s', v_part.part, v_table.table_schema, v_table.table_name, md5(v_settings)));
        EXECUTE format('ALTER FUNCTION tide.%I OWNER TO tide_owner', v_name);
        EXECUTE format('REVOKE ALL ON FUNCTION tide.%I FROM PUBLIC', v_name);
        EXECUTE format('GRANT EXECUTE ON FUNCTION tide.%I TO tide_runtime', v_name);
        IF v_table.push_policy = 'rls' THEN
            EXECUTE format('GRANT EXECUTE ON FUNCTION tide.%I TO %I', v_name, v_client);
        END IF;
        v_written := true;
    END LOOP;
    UPDATE tide.synced_table AS s
       SET push_columns = c.names
      FROM (SELECT ARRAY(SELECT k.column_name FROM tide.synced_columns(write_push_functions.table_id) AS k WHERE k.in_payload) AS names) AS c
     WHERE s.table_id = write_push_functions.table_id AND s.push_columns IS DISTINCT FROM c.names;
    RETURN v_written;
END;
$$;
COMMENT ON FUNCTION tide.write_push_functions(integer) IS 'Writes the push functions of a table where they are missing or not as they should be, and says whether it did. Internal.';
-- +goose StatementEnd

-- +goose StatementBegin
CREATE OR REPLACE FUNCTION tide.assert_push_policy(wanted tide.synced_table)
    RETURNS void
    LANGUAGE plpgsql STABLE
    SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    v_open text;
    v_rls  boolean := (SELECT c.relrowsecurity FROM pg_class AS c WHERE c.oid = wanted.relation);
BEGIN
    IF wanted.push_policy IS NULL OR wanted.push_policy NOT IN ('disabled', 'owner_only', 'rls') THEN
        RAISE EXCEPTION 'push_policy cannot be %', coalesce(quote_literal(wanted.push_policy), 'NULL')
            USING ERRCODE = 'TD006', HINT = 'Use ''disabled'', ''owner_only'' or ''rls''.';
    END IF;
    IF wanted.push_policy = 'disabled' THEN
        RETURN;
    END IF;
    IF wanted.push_policy = 'owner_only' AND (wanted.owner_column IS NULL OR wanted.bucket_prefix <> 'user:') THEN
        RAISE EXCEPTION 'push_policy owner_only needs the column that holds the user'
            USING ERRCODE = 'TD006',
                  DETAIL  = 'Its rows belong to the user named in owner_column, with the bucket prefix user:.',
                  HINT    = 'Register with owner_column, or let row-level security decide: push_policy => ''rls''.';
    END IF;
    IF wanted.push_policy = 'owner_only' AND v_rls THEN
        RAISE EXCEPTION 'push_policy owner_only is not for tables with row-level security'
            USING ERRCODE = 'TD006',
                  DETAIL  = 'Its policies would judge tide_owner, not the user who pushes.',
                  HINT    = 'Use push_policy => ''rls'': the policies decide.';
    END IF;
    IF wanted.push_policy = 'rls' AND NOT v_rls THEN
        RAISE EXCEPTION 'push_policy rls needs row-level security on table %', wanted.relation
            USING ERRCODE = 'TD006',
                  DETAIL  = 'Without it every user could change every row.',
                  HINT    = 'ALTER TABLE ... ENABLE ROW LEVEL SECURITY and create policies, or use push_policy => ''owner_only''.';
    END IF;
    -- Triggers run with the rights of tide_owner there: nobody else may put functions in their way.
    SELECT string_agg(quote_ident(n.nspname), ', ')
      INTO v_open
      FROM unnest(tide.push_schemas(wanted.push_search_path)) AS s (name)
      JOIN pg_namespace AS n ON n.nspname = s.name
     WHERE has_schema_privilege('public', n.oid, 'CREATE') OR has_schema_privilege('tide_client', n.oid, 'CREATE');
    IF v_open IS NOT NULL THEN
        RAISE EXCEPTION 'push_search_path names schemas in which anybody may create functions'
            USING ERRCODE = 'TD006',
                  DETAIL  = format('These: %s.', v_open),
                  HINT    = format('REVOKE CREATE ON SCHEMA %s FROM PUBLIC, or give another push_search_path.', v_open);
    END IF;
END;
$$;
COMMENT ON FUNCTION tide.assert_push_policy(tide.synced_table) IS 'Raises TD006 unless a table may be pushed to as its registration says. Internal.';
-- +goose StatementEnd

-- +goose StatementBegin
CREATE OR REPLACE FUNCTION tide.missing_push_grants(wanted tide.synced_table)
    RETURNS text[]
    LANGUAGE sql STABLE
    SET search_path = pg_catalog, pg_temp
AS $$
    WITH writer AS (
        SELECT CASE wanted.push_policy WHEN 'owner_only' THEN 'tide_owner' ELSE s.client_role END AS name
          FROM tide.setting AS s
         WHERE wanted.push_policy <> 'disabled'
    ), needed AS (
        SELECT 1 AS step, format('USAGE ON SCHEMA %s', n.oid::regnamespace) AS privilege, has_schema_privilege(w.name, n.oid, 'USAGE') AS held, w.name
          FROM writer AS w, pg_class AS c JOIN pg_namespace AS n ON n.oid = c.relnamespace
         WHERE c.oid = wanted.relation AND w.name <> 'tide_owner'
         UNION ALL
        SELECT 1, 'USAGE ON SCHEMA tide', has_schema_privilege(w.name, 'tide', 'USAGE'), w.name FROM writer AS w
         UNION ALL
        SELECT 2, format('%s ON TABLE %s', p.privilege, wanted.relation), has_table_privilege(w.name, wanted.relation, p.privilege), w.name
          FROM writer AS w, unnest(ARRAY['SELECT', 'INSERT', 'UPDATE', 'DELETE']) AS p (privilege)
         WHERE w.name <> 'tide_owner' OR p.privilege <> 'SELECT'
         UNION ALL
        -- A default that draws from a sequence does so as who inserts.
        SELECT 3, format('USAGE ON SEQUENCE %s', q.oid::regclass), has_sequence_privilege(w.name, q.oid, 'USAGE'), w.name
          FROM writer AS w, pg_attrdef AS d
          JOIN pg_depend AS e ON e.classid = 'pg_attrdef'::regclass AND e.objid = d.oid AND e.refclassid = 'pg_class'::regclass
          JOIN pg_class AS q ON q.oid = e.refobjid AND q.relkind = 'S'
         WHERE d.adrelid = wanted.relation
    )
    SELECT coalesce(array_agg(format('GRANT %s TO %I', n.privilege, n.name) ORDER BY n.step, n.privilege), '{}') FROM needed AS n WHERE NOT n.held;
$$;
COMMENT ON FUNCTION tide.missing_push_grants(tide.synced_table) IS 'Statements that let the role that writes pushes write a table. Internal.';
-- +goose StatementEnd

-- +goose StatementBegin
CREATE OR REPLACE FUNCTION tide.set_fk_depths()
    RETURNS void
    LANGUAGE plpgsql
    SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    UPDATE tide.synced_table AS s SET fk_depth = 0 WHERE s.fk_depth <> 0;
    -- A cycle is left after as many rounds as anybody nests tables: it needs deferrable keys, whatever the order.
    FOR v_round IN 1 .. 50 LOOP
        UPDATE tide.synced_table AS child
           SET fk_depth = above.depth + 1
          FROM (SELECT c.conrelid, max(parent.fk_depth) AS depth
                  FROM pg_constraint AS c
                  JOIN tide.synced_table AS parent ON parent.relation = c.confrelid
                 WHERE c.contype = 'f' AND c.conrelid <> c.confrelid AND c.conparentid = 0
                 GROUP BY c.conrelid) AS above
         WHERE child.relation = above.conrelid AND child.fk_depth <= above.depth;
        EXIT WHEN NOT FOUND;
    END LOOP;
END;
$$;
COMMENT ON FUNCTION tide.set_fk_depths() IS 'Orders synced tables by their foreign keys: parents before children. Internal.';
-- +goose StatementEnd

-- +goose StatementBegin
CREATE OR REPLACE FUNCTION tide.shape_of(tables jsonb)
    RETURNS integer
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    INSERT INTO tide.shape AS s (tables) VALUES (shape_of.tables) ON CONFLICT DO NOTHING;
    RETURN (SELECT s.shape_id FROM tide.shape AS s WHERE md5(s.tables::text) = md5(shape_of.tables::text));
END;
$$;
COMMENT ON FUNCTION tide.shape_of(jsonb) IS 'The number of a set of tables and columns. Internal.';
-- +goose StatementEnd

-- +goose StatementBegin
CREATE OR REPLACE FUNCTION tide.set_shape()
    RETURNS void
    LANGUAGE plpgsql
    SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    v_names    jsonb   := (SELECT jsonb_build_object('schema', jsonb_object_agg(s.table_id, s.table_schema), 'table', jsonb_object_agg(s.table_id, s.table_name)) FROM tide.synced_table AS s);
    v_shape_id integer := tide.shape_of((
        SELECT coalesce(jsonb_object_agg(s.table_schema || '.' || s.table_name, to_jsonb(ARRAY(SELECT c FROM unnest(s.sync_columns) AS c ORDER BY c))), '{}')
          FROM tide.synced_table AS s WHERE s.unregistered_at IS NULL AND s.synced));
BEGIN
    UPDATE tide.setting AS s SET shape_id = v_shape_id, table_names = v_names WHERE (s.shape_id, s.table_names) IS DISTINCT FROM (v_shape_id, v_names);
END;
$$;
COMMENT ON FUNCTION tide.set_shape() IS 'Writes down which tables and columns are registered now, and what tables are and were called. Internal.';
-- +goose StatementEnd

-- +goose StatementBegin
-- Whoever waits for a lock makes everybody behind it wait as well: so give up soon, and try again. An
-- autovacuum, however, makes way only for who waits as long as deadlock_timeout: now and then that is waited for.
CREATE OR REPLACE FUNCTION tide.lock_briefly(relation regclass, lock_mode text)
    RETURNS void
    LANGUAGE plpgsql
    SET search_path = pg_catalog, pg_temp
    SET lock_timeout = '150ms'
AS $$
DECLARE
    v_longer interval := least(current_setting('deadlock_timeout')::interval + interval '200 ms', interval '2 s');
BEGIN
    FOR v_try IN 1 .. 40 LOOP
        BEGIN
            PERFORM set_config('lock_timeout', CASE v_try % 10 WHEN 5 THEN extract(milliseconds FROM v_longer)::integer::text ELSE '150' END, true);
            EXECUTE format('LOCK TABLE %s IN %s MODE', relation, lock_mode);
            RETURN;
        EXCEPTION
            WHEN lock_not_available THEN
                PERFORM pg_sleep(0.05 + random() * 0.3);
        END;
    END LOOP;
    RAISE EXCEPTION 'table % is busy', relation
        USING ERRCODE = 'TD008',
              DETAIL  = format('No %s lock in 40 tries, four of them of %s ms and the others of 150 ms; a transaction of backend %s holds the table.', lock_mode, extract(milliseconds FROM v_longer)::integer,
                  (SELECT coalesce(string_agg(DISTINCT l.pid::text, ', '), '(gone by now)')
                     FROM pg_locks AS l
                    WHERE l.relation = lock_briefly.relation AND l.granted AND l.pid <> pg_backend_pid()
                      AND l.database = (SELECT d.oid FROM pg_database AS d WHERE d.datname = current_database()))),
              HINT    = 'Nothing was changed. Let that transaction end (pg_stat_activity shows it), then try again.';
END;
$$;
COMMENT ON FUNCTION tide.lock_briefly(regclass, text) IS 'Locks a table with all its partitions without ever making others wait long for it. Raises TD008. Internal.';
-- +goose StatementEnd

-- +goose StatementBegin
CREATE OR REPLACE FUNCTION tide.trigger_findings(
    table_id integer,
    OUT relation regclass, OUT trigger_name name, OUT problem text, OUT remedy text
)
    RETURNS SETOF record
    LANGUAGE sql STABLE
    SET search_path = pg_catalog, pg_temp
AS $$
    WITH tree AS (
        SELECT s.table_id, t.oid, tide.needs_read_back(s.relation) AS read_back
          FROM tide.synced_table AS s
         CROSS JOIN LATERAL (SELECT s.relation::oid UNION SELECT p.relid FROM pg_partition_tree(s.relation) AS p) AS t (oid)
         WHERE s.table_id = trigger_findings.table_id
    ), wanted AS (
        SELECT t.oid, e.name, e.clause, e.function, t.read_back OR e.name !~ '^_tide_order' AS needed
          FROM tree AS t
         CROSS JOIN LATERAL (VALUES
                   ('_tide_insert', 'AFTER INSERT ON %s REFERENCING NEW TABLE AS inserted', tide.capture_function(t.table_id, 'INSERT')),
                   ('_tide_update', 'AFTER UPDATE ON %s REFERENCING OLD TABLE AS before NEW TABLE AS updated', tide.capture_function(t.table_id, 'UPDATE')),
                   ('_tide_delete', 'AFTER DELETE ON %s REFERENCING OLD TABLE AS deleted', tide.capture_function(t.table_id, 'DELETE')),
                   ('_tide_truncate', 'BEFORE TRUNCATE ON %s', tide.capture_function(t.table_id, 'TRUNCATE')),
                   ('_tide_order_insert', 'BEFORE INSERT ON %s', 'draw_order'),
                   ('_tide_order_update', 'BEFORE UPDATE ON %s', 'draw_order'),
                   ('_tide_order_delete', 'BEFORE DELETE ON %s', 'draw_order')
               ) AS e (name, clause, function)
    )
    SELECT w.oid::regclass, w.name::name,
           CASE WHEN NOT w.needed THEN 'superfluous' WHEN g.oid IS NULL THEN 'missing' ELSE 'disabled' END,
           concat_ws('; ',
               CASE WHEN NOT w.needed THEN format('DROP TRIGGER %I ON %s', w.name, w.oid::regclass) END,
               CASE WHEN w.needed AND g.oid IS NULL THEN
                   format('CREATE TRIGGER %I %s FOR EACH STATEMENT EXECUTE FUNCTION tide.%I()', w.name, format(w.clause, w.oid::regclass), w.function) END,
               CASE WHEN w.needed THEN format('ALTER TABLE %s ENABLE ALWAYS TRIGGER %I', w.oid::regclass, w.name) END)
      FROM wanted AS w
      LEFT JOIN pg_trigger AS g ON g.tgrelid = w.oid AND g.tgname = w.name
     WHERE w.needed AND (g.oid IS NULL OR g.tgenabled <> 'A') OR NOT w.needed AND g.oid IS NOT NULL;
$$;
COMMENT ON FUNCTION tide.trigger_findings(integer) IS 'Capture triggers of a table and its partitions that are missing, not enabled for ALWAYS, or no longer needed, with the statements that mend it. Internal.';
-- +goose StatementEnd

-- +goose StatementBegin
CREATE OR REPLACE FUNCTION tide.registration_problem(relation regclass)
    RETURNS text
    LANGUAGE sql STABLE
    SET search_path = pg_catalog, pg_temp
AS $$
    SELECT CASE
               WHEN c.relnamespace IN ('tide'::regnamespace, 'pg_catalog'::regnamespace, 'information_schema'::regnamespace) THEN 'It belongs to the system.'
               WHEN c.relkind NOT IN ('r', 'p') THEN 'Only ordinary and partitioned tables can be captured.'
               WHEN c.relpersistence = 't' THEN 'It is temporary.'
               WHEN EXISTS (SELECT FROM pg_partition_tree(c.oid) AS p JOIN pg_class AS l ON l.oid = p.relid WHERE l.relpersistence = 'u') OR c.relpersistence = 'u'
                   THEN 'It is unlogged: a crash empties it, and no trigger says so.'
               WHEN EXISTS (SELECT FROM pg_partition_tree(c.oid) AS p JOIN pg_class AS l ON l.oid = p.relid WHERE l.relkind = 'f')
                   THEN 'One of its partitions is a foreign table, which others can write to.'
               WHEN c.relispartition THEN format('It is a partition; register %s instead.', (SELECT p.relid FROM pg_partition_ancestors(c.oid) AS p ORDER BY p.relid = c.oid, p.relid LIMIT 1))
               WHEN EXISTS (SELECT FROM pg_inherits AS i WHERE i.inhrelid = c.oid AND NOT c.relispartition
                             UNION ALL SELECT FROM pg_inherits AS i WHERE i.inhparent = c.oid AND c.relkind = 'r')
                   THEN 'It takes part in inheritance: writes to children are not seen by the parent''s triggers.'
               WHEN EXISTS (SELECT FROM pg_subscription_rel AS s WHERE s.srrelid = c.oid OR s.srrelid IN (SELECT p.relid FROM pg_partition_tree(c.oid) AS p))
                   THEN 'A subscription writes to it, and logical replication fires no statement triggers.'
           END
      FROM pg_class AS c
     WHERE c.oid = relation;
$$;
COMMENT ON FUNCTION tide.registration_problem(regclass) IS 'Why the changes of a table cannot be captured, NULL when they can. Internal.';
-- +goose StatementEnd

-- +goose StatementBegin
CREATE OR REPLACE FUNCTION tide.resolve_bucket_function(relation regclass, bucket_function text)
    RETURNS text
    LANGUAGE plpgsql STABLE
    SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    v_row_type regtype := (SELECT c.reltype FROM pg_class AS c WHERE c.oid = relation);
    v_function regprocedure;
    v_problem  text;
BEGIN
    -- Either a name, or a signature as regprocedure prints it.
    v_function := to_regprocedure(CASE WHEN strpos(bucket_function, '(') > 0 THEN bucket_function ELSE format('%s(%s)', bucket_function, v_row_type) END);
    SELECT CASE
               WHEN v_function IS NULL THEN 'There is no such function.'
               WHEN p.pronargs <> 1 OR p.proargtypes[0] <> v_row_type THEN format('Its one argument must be the row, %s.', v_row_type)
               WHEN p.prorettype NOT IN ('text'::regtype, 'text[]'::regtype) OR p.proretset THEN 'It must return text or text[].'
               WHEN p.provolatile = 'v' THEN 'It must be IMMUTABLE when it looks at the row alone, or STABLE when it looks at other tables.'
               WHEN NOT has_function_privilege('tide_owner', p.oid, 'EXECUTE') THEN 'tide_owner may not execute it.'
           END
      INTO v_problem
      FROM (SELECT v_function AS oid) AS f LEFT JOIN pg_proc AS p ON p.oid = f.oid;
    IF v_problem IS NOT NULL THEN
        RAISE EXCEPTION 'bucket function % cannot be used', bucket_function
            USING ERRCODE = 'TD005',
                  DETAIL  = v_problem,
                  HINT    = CASE WHEN v_problem ~ 'may not execute' THEN format('GRANT EXECUTE ON FUNCTION %s TO tide_owner;', v_function) ELSE format('Write it as: CREATE FUNCTION my_schema.buckets(r %s) RETURNS text[] LANGUAGE sql IMMUTABLE AS ..., and name it with its schema.', v_row_type) END;
    END IF;
    RETURN v_function::text;
END;
$$;
COMMENT ON FUNCTION tide.resolve_bucket_function(regclass, text) IS 'Signature of the bucket function of a table. Raises TD005. Internal.';
-- +goose StatementEnd

-- +goose StatementBegin
CREATE OR REPLACE FUNCTION tide.resolve_columns(wanted tide.synced_table)
    RETURNS tide.synced_table
    LANGUAGE plpgsql STABLE
    SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    v_all     text[];
    v_virtual text[];
    v_unknown text;
BEGIN
    SELECT array_agg(a.attname::text ORDER BY a.attnum), array_agg(a.attname::text) FILTER (WHERE a.attgenerated = 'v')
      INTO v_all, v_virtual
      FROM pg_attribute AS a
     WHERE a.attrelid = wanted.relation AND a.attnum > 0 AND NOT a.attisdropped;

    SELECT string_agg(format('%I', n), ', ')
      INTO v_unknown
      FROM unnest(wanted.key_columns || wanted.sync_columns || wanted.exclude_columns || wanted.server_columns || wanted.protected_columns || wanted.owner_column || wanted.deleted_at_column
                  || string_to_array(array_to_string(wanted.parent_fks, ','), ',')) AS n
     WHERE n <> ALL (v_all);
    IF v_unknown IS NOT NULL THEN
        RAISE EXCEPTION 'table % has no such column', wanted.relation
            USING ERRCODE = 'TD003', DETAIL = format('Unknown: %s.', v_unknown), HINT = format('Its columns are: %s.', array_to_string(v_all, ', '));
    END IF;

    IF wanted.key_columns IS NULL THEN
        wanted.key_columns := ARRAY(
            SELECT a.attname
              FROM pg_index AS i
             CROSS JOIN LATERAL unnest((i.indkey::smallint[])[0:i.indnkeyatts - 1]) WITH ORDINALITY AS k (attnum, ordinal)
              JOIN pg_attribute AS a ON a.attrelid = i.indrelid AND a.attnum = k.attnum
             WHERE i.indrelid = wanted.relation AND i.indisprimary
             ORDER BY k.ordinal);
    END IF;
    IF cardinality(wanted.key_columns) = 0 OR tide.key_index(wanted.relation, wanted.key_columns) IS NULL THEN
        RAISE EXCEPTION 'table % has no key that devices could know its rows by', wanted.relation
            USING ERRCODE = 'TD002',
                  DETAIL  = CASE WHEN cardinality(wanted.key_columns) = 0 THEN 'It has no primary key.'
                                 ELSE format('No unique index that is neither deferrable nor partial covers exactly (%s), all NOT NULL.', array_to_string(wanted.key_columns, ', ')) END,
                  HINT    = 'Add a primary key, or name columns with such an index in key_columns.';
    END IF;

    IF NOT wanted.synced THEN
        wanted.sync_columns := wanted.key_columns;
    END IF;
    IF wanted.all_columns THEN
        wanted.sync_columns := ARRAY(SELECT n FROM unnest(v_all) WITH ORDINALITY AS c (n, i) WHERE n <> ALL (wanted.exclude_columns) ORDER BY i);
    END IF;
    IF NOT wanted.sync_columns @> wanted.key_columns OR wanted.sync_columns && wanted.exclude_columns THEN
        RAISE EXCEPTION 'columns of table % cannot be chosen so', wanted.relation
            USING ERRCODE = 'TD003',
                  DETAIL  = 'Key columns must be among the synced ones, and excluded ones must not.',
                  HINT    = format('The key is (%s).', array_to_string(wanted.key_columns, ', '));
    END IF;
    IF wanted.sync_columns && v_virtual THEN
        RAISE EXCEPTION 'table % has virtual generated columns, which triggers do not see', wanted.relation
            USING ERRCODE = 'TD003',
                  DETAIL  = format('Virtual: %s.', array_to_string(v_virtual, ', ')),
                  HINT    = 'Name them in exclude_columns, or make them STORED.';
    END IF;

    -- What rules of this table and of others hang on.
    wanted.dep_columns := ARRAY(
        SELECT f FROM string_to_table(array_to_string(wanted.parent_fks, ','), ',') AS f
         UNION
        SELECT o FROM unnest(ARRAY[wanted.owner_column, wanted.deleted_at_column]) AS o WHERE wanted.derived AND o IS NOT NULL
         UNION
        SELECT d.name
          FROM tide.synced_table AS s
         CROSS JOIN LATERAL (SELECT unnest(b.source_columns) FROM tide.bucket_dependency AS b WHERE b.source_id = s.table_id
                              UNION SELECT unnest(a.source_columns) FROM tide.access_dependency AS a WHERE a.source_id = s.table_id) AS d (name)
         WHERE s.relation = wanted.relation
         ORDER BY 1);
    SELECT array_agg(a.attname ORDER BY a.attnum), array_agg(a.attnum ORDER BY a.attnum)
      INTO wanted.column_names, wanted.column_attnums
      FROM pg_attribute AS a
     WHERE a.attrelid = wanted.relation AND a.attnum > 0 AND NOT a.attisdropped
       AND a.attname = ANY (wanted.sync_columns || wanted.owner_column || wanted.deleted_at_column || wanted.dep_columns);
    RETURN wanted;
END;
$$;
COMMENT ON FUNCTION tide.resolve_columns(tide.synced_table) IS 'Fills in the key and the columns of a registration from the table as it is. Raises TD002, TD003. Internal.';
-- +goose StatementEnd

-- +goose StatementBegin
CREATE OR REPLACE FUNCTION tide.missing_grants(relations regclass[])
    RETURNS text[]
    LANGUAGE sql STABLE
    SET search_path = pg_catalog, pg_temp
AS $$
    SELECT ARRAY(
        SELECT format('GRANT USAGE ON SCHEMA %s TO tide_owner', n.oid::regnamespace)
          FROM pg_namespace AS n
         WHERE n.oid IN (SELECT c.relnamespace FROM pg_class AS c WHERE c.oid = ANY (relations))
           AND NOT has_schema_privilege('tide_owner', n.oid, 'USAGE')
    ) || ARRAY(
        SELECT format('GRANT SELECT ON TABLE %s TO tide_owner', c.oid::regclass)
          FROM pg_class AS c
         WHERE c.oid = ANY (relations)
           AND NOT has_table_privilege('tide_owner', c.oid, 'SELECT')
    ) || ARRAY(
        -- The table hides rows from everybody but its owner: pgtide gets a policy of its own.
        SELECT format('CREATE POLICY tide_owner_reads ON %s FOR SELECT TO tide_owner USING (true)', c.oid::regclass)
          FROM pg_class AS c
         WHERE c.oid = ANY (relations)
           AND c.relrowsecurity
           AND tide.read_problem(c.oid) IS NOT NULL
           AND NOT EXISTS (SELECT FROM pg_policy AS p WHERE p.polrelid = c.oid AND p.polname = 'tide_owner_reads')
    );
$$;
COMMENT ON FUNCTION tide.missing_grants(regclass[]) IS 'Statements that let tide_owner read tables. Internal.';
-- +goose StatementEnd

-- +goose StatementBegin
CREATE OR REPLACE FUNCTION tide.store_registration(wanted tide.synced_table, new_grants text[])
    RETURNS tide.synced_table
    LANGUAGE plpgsql
    SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    INSERT INTO tide.synced_table AS s (
               relation, table_schema, table_name, key_columns, sync_columns, exclude_columns, all_columns,
               owner_column, bucket_prefix, null_owner_bucket, bucket, bucket_function, deleted_at_column, parents, parent_fks, derived, synced, dep_columns,
               on_capture_error, push_policy, server_columns, protected_columns, push_search_path, column_names, column_attnums, partitions, granted)
    VALUES (wanted.relation, wanted.table_schema, wanted.table_name, wanted.key_columns, wanted.sync_columns, wanted.exclude_columns, wanted.all_columns,
            wanted.owner_column, wanted.bucket_prefix, wanted.null_owner_bucket, wanted.bucket, wanted.bucket_function, wanted.deleted_at_column, wanted.parents, wanted.parent_fks, wanted.derived, wanted.synced, wanted.dep_columns,
            wanted.on_capture_error, wanted.push_policy, wanted.server_columns, wanted.protected_columns, wanted.push_search_path, wanted.column_names, wanted.column_attnums, wanted.partitions, new_grants)
        ON CONFLICT (relation) DO UPDATE
       SET (table_schema, table_name, key_columns, sync_columns, exclude_columns, all_columns,
            owner_column, bucket_prefix, null_owner_bucket, bucket, bucket_function, deleted_at_column, parents, parent_fks, derived, synced, dep_columns,
            on_capture_error, push_policy, server_columns, protected_columns, push_search_path, column_names, column_attnums, partitions, granted, unregistered_at)
         = (excluded.table_schema, excluded.table_name, excluded.key_columns, excluded.sync_columns, excluded.exclude_columns, excluded.all_columns,
            excluded.owner_column, excluded.bucket_prefix, excluded.null_owner_bucket, excluded.bucket, excluded.bucket_function, excluded.deleted_at_column, excluded.parents, excluded.parent_fks, excluded.derived, excluded.synced, excluded.dep_columns,
            excluded.on_capture_error, excluded.push_policy, excluded.server_columns, excluded.protected_columns, excluded.push_search_path, excluded.column_names, excluded.column_attnums, excluded.partitions, s.granted || excluded.granted, NULL)
    RETURNING s.* INTO wanted;
    RETURN wanted;
END;
$$;
COMMENT ON FUNCTION tide.store_registration(tide.synced_table, text[]) IS 'Writes a registration. Internal.';
-- +goose StatementEnd

-- +goose StatementBegin
-- register_table and refresh both end here: compare what is wanted with what is, say the steps, do them.
-- Validation and writing of functions come first; the lock on the table comes last and is held for
-- as long as a few catalog rows take.
CREATE OR REPLACE FUNCTION tide.apply_registration(wanted tide.synced_table, missed_changes boolean, dry_run boolean)
    RETURNS SETOF text
    LANGUAGE plpgsql
    SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    v_relation regclass := wanted.relation;
    v_current  tide.synced_table;
    v_trees    regclass[] := ARRAY(SELECT v_relation UNION SELECT p.relid FROM pg_partition_tree(v_relation) AS p ORDER BY 1);
    v_grants   text[];
    v_findings record;
    v_mark     "char";
    v_reason   text;
    v_lock     text;
    v_sql      text;
    v_deps     boolean;
    v_lay_in   text[];
BEGIN
    IF NOT (SELECT pg_has_role(current_user, c.relowner, 'USAGE') AND pg_has_role(current_user, 'tide_owner', 'USAGE')
              FROM pg_class AS c WHERE c.oid = v_relation) THEN
        RAISE EXCEPTION 'role % may not register table %', current_user, v_relation
            USING ERRCODE = 'TD007',
                  DETAIL  = 'It takes the owner of the table, who is also a member of tide_owner.',
                  HINT    = format('Run as the owner %s, after: GRANT tide_owner TO %1$s.', (SELECT c.relowner::regrole FROM pg_class AS c WHERE c.oid = v_relation));
    END IF;
    wanted := tide.resolve_columns(wanted);
    PERFORM tide.assert_push_policy(wanted);
    wanted.partitions := array_remove(v_trees, v_relation);

    LOCK TABLE tide.synced_table IN SHARE ROW EXCLUSIVE MODE;
    SELECT * INTO v_current FROM tide.synced_table AS s WHERE s.relation = v_relation;

    -- Why the next seal must read the table, if it must.
    IF v_current.table_id IS NULL THEN
        v_mark := 'A';
        v_reason := 'registered';
    ELSIF missed_changes OR v_current.unregistered_at IS NOT NULL
          OR tide.bucket_patterns(v_current) IS DISTINCT FROM tide.bucket_patterns(wanted)
          OR ROW(v_current.owner_column, v_current.bucket_function, v_current.deleted_at_column, v_current.key_columns, v_current.table_schema, v_current.table_name,
                 v_current.parents, v_current.parent_fks, v_current.derived, v_current.synced)
             IS DISTINCT FROM ROW(wanted.owner_column, wanted.bucket_function, wanted.deleted_at_column, wanted.key_columns, wanted.table_schema, wanted.table_name,
                 wanted.parents, wanted.parent_fks, wanted.derived, wanted.synced)
          OR NOT wanted.partitions @> v_current.partitions THEN
        v_mark := '!';
        v_reason := 'registered again';
    ELSIF v_current.sync_columns IS DISTINCT FROM wanted.sync_columns OR wanted.partitions <> v_current.partitions THEN
        v_mark := 'A';
        v_reason := 'columns or partitions changed';
    END IF;

    v_grants := tide.missing_grants(v_trees) || tide.missing_push_grants(wanted);
    RETURN QUERY SELECT g.statement FROM unnest(v_grants) AS g (statement);
    RETURN NEXT format('%s %s as %s.%s: key %s, columns %s, %s', CASE WHEN v_current.table_id IS NULL THEN 'register' ELSE 'update registration of' END,
        v_relation, quote_ident(wanted.table_schema), quote_ident(wanted.table_name), array_to_string(wanted.key_columns, ', '), array_to_string(wanted.sync_columns, ', '),
        tide.describe_rule(wanted) || ', push ' || wanted.push_policy);
    IF tide.needs_read_back(v_relation) THEN
        RETURN NEXT 'capture reads rows back, because row triggers or cascading foreign keys may change them again';
    END IF;

    IF NOT dry_run THEN
        FOREACH v_sql IN ARRAY v_grants LOOP
            EXECUTE v_sql;
        END LOOP;
        PERFORM tide.assert_readable(r.oid) FROM unnest(v_trees) AS r (oid);
        v_deps := v_current.dep_columns IS DISTINCT FROM wanted.dep_columns;
        wanted := tide.store_registration(wanted, v_grants);
        PERFORM tide.set_bucket_sources();
        IF v_current.table_id IS NOT NULL AND (v_mark = '!' OR v_deps) THEN
            -- Writers under the old rule must be done before the new one holds.
            PERFORM tide.lock_briefly(v_relation, 'SHARE ROW EXCLUSIVE');
        END IF;
        PERFORM tide.write_capture_functions(wanted.table_id);
        -- Expressions of children hold those of their parents.
        PERFORM tide.write_bucket_functions(b.table_id) FROM tide.bucket_source AS b WHERE b.source_id = wanted.table_id;
        IF NOT wanted.derived THEN
            PERFORM tide.write_bucket_functions(wanted.table_id);
            WITH gone AS (DELETE FROM tide.membership AS m WHERE m.table_id = wanted.table_id RETURNING m.bucket_id)
            SELECT array_agg(DISTINCT '=' || g.bucket_id) INTO v_lay_in FROM gone AS g;
        END IF;
        PERFORM tide.write_push_functions(wanted.table_id);
        PERFORM tide.write_reads_function(s.table_id) FROM tide.synced_table AS s
          WHERE s.rls_write IS NOT NULL AND (s.table_id = wanted.table_id OR s.table_id IN (SELECT b.table_id FROM tide.bucket_source AS b WHERE b.source_id = wanted.table_id));
        PERFORM tide.set_fk_depths();
        PERFORM tide.set_shape();
    END IF;

    SELECT count(*) FILTER (WHERE f.problem <> 'superfluous') AS amiss, count(*) FILTER (WHERE f.problem = 'superfluous') AS superfluous,
           bool_or(f.problem <> 'superfluous' AND f.relation <> ALL (v_current.partitions || v_relation) IS NOT TRUE AND f.trigger_name !~ '^_tide_order') AS lost,
           array_agg(f.remedy) AS remedies
      INTO v_findings
      FROM tide.trigger_findings(CASE WHEN dry_run THEN v_current.table_id ELSE wanted.table_id END) AS f;
    IF v_findings.lost AND v_current.table_id IS NOT NULL THEN
        v_mark := '!';
        v_reason := 'capture triggers were missing or disabled';
    END IF;
    IF v_findings.amiss + v_findings.superfluous > 0 OR v_current.table_id IS NULL THEN
        v_lock := CASE WHEN v_findings.superfluous > 0 THEN 'ACCESS EXCLUSIVE' ELSE 'SHARE ROW EXCLUSIVE' END;
        RETURN NEXT format('lock %s in %s mode, tried for 150 ms at a time and now and then for as long as an autovacuum needs to make way, and create its capture triggers', v_relation, v_lock);
    END IF;
    IF v_mark IS NOT NULL THEN
        RETURN NEXT format('the next seal reads the table (%s)', v_reason);
    END IF;
    IF dry_run THEN
        RETURN;
    END IF;

    IF v_lock IS NOT NULL THEN
        PERFORM tide.lock_briefly(v_relation, v_lock);
        FOREACH v_sql IN ARRAY v_findings.remedies LOOP
            EXECUTE v_sql;
        END LOOP;
    END IF;
    IF v_mark IS NOT NULL THEN
        PERFORM tide.mark_table(wanted.table_id, v_mark, v_reason, coalesce(tide.bucket_patterns(v_current), '{}') || v_lay_in);
    END IF;
END;
$$;
COMMENT ON FUNCTION tide.apply_registration(tide.synced_table, boolean, boolean) IS 'Makes a registration as wanted, and says the steps. Internal.';
-- +goose StatementEnd

-- +goose StatementBegin
CREATE OR REPLACE FUNCTION tide.register_table(
    table_name        regclass,
    owner_column      name    DEFAULT NULL,
    bucket_prefix     text    DEFAULT 'user:',
    bucket            text    DEFAULT NULL,
    bucket_function   text    DEFAULT NULL,
    null_owner_bucket text    DEFAULT NULL,
    key_columns       name[]  DEFAULT NULL,
    sync_columns      name[]  DEFAULT NULL,
    exclude_columns   name[]  DEFAULT '{}',
    deleted_at_column name    DEFAULT NULL,
    on_capture_error  text    DEFAULT 'fail',
    push_policy       text    DEFAULT 'disabled',
    server_columns    name[]  DEFAULT '{}',
    protected_columns name[]  DEFAULT '{}',
    push_search_path  text    DEFAULT NULL,
    parent            regclass DEFAULT NULL,
    parent_fk         text    DEFAULT NULL,
    parents           jsonb   DEFAULT NULL,
    dry_run           boolean DEFAULT false
)
    RETURNS SETOF text
    LANGUAGE plpgsql
    SET search_path = pg_catalog, pg_temp SET jit = off
AS $$
DECLARE
    v_problem text := tide.registration_problem(table_name);
    v_wanted  tide.synced_table;
BEGIN
    IF v_problem IS NOT NULL THEN
        RAISE EXCEPTION 'table % cannot be registered', table_name
            USING ERRCODE = 'TD001', DETAIL = v_problem, HINT = 'Register an ordinary, logged table that is not reached by inheritance or replication.';
    END IF;
    SELECT p.parents, p.fks INTO v_wanted.parents, v_wanted.parent_fks FROM tide.resolve_parents(table_name, key_columns, parent, parent_fk, parents) AS p (parents, fks);
    IF num_nonnulls(owner_column, bucket, bucket_function) <> 1 AND (cardinality(v_wanted.parents) = 0 OR num_nonnulls(owner_column, bucket, bucket_function) > 1) THEN
        RAISE EXCEPTION 'table % needs exactly one bucket rule', table_name
            USING ERRCODE = 'TD004',
                  DETAIL  = format('Given: %s.', coalesce(nullif(concat_ws(', ',
                                CASE WHEN owner_column IS NOT NULL THEN 'owner_column' END,
                                CASE WHEN bucket IS NOT NULL THEN 'bucket' END,
                                CASE WHEN bucket_function IS NOT NULL THEN 'bucket_function' END), ''), 'none')),
                  HINT    = 'Give owner_column (rows of one user), bucket (one bucket for all rows), bucket_function (a function of the row) or parent (the buckets of another row); a parent may go with one of the others.';
    END IF;
    IF null_owner_bucket IS NOT NULL AND owner_column IS NULL THEN
        RAISE EXCEPTION 'null_owner_bucket goes with owner_column'
            USING ERRCODE = 'TD004', HINT = 'Leave it out, or name the owner column.';
    END IF;
    IF on_capture_error NOT IN ('fail', 'mark_dirty') THEN
        RAISE EXCEPTION 'on_capture_error cannot be %', quote_literal(on_capture_error)
            USING ERRCODE = 'TD006',
                  HINT    = 'Use ''fail'' (the write fails) or ''mark_dirty'' (it passes, and devices fetch the table anew).';
    END IF;
    IF 0 IN (length(bucket), length(bucket_prefix), length(null_owner_bucket))
       OR greatest(octet_length(bucket), octet_length(bucket_prefix), octet_length(null_owner_bucket)) > 512 THEN
        RAISE EXCEPTION 'a bucket name or prefix has 1 to 512 bytes' USING ERRCODE = 'TD006', HINT = 'Give another name.';
    END IF;

    SELECT n.nspname, c.relname
      INTO v_wanted.table_schema, v_wanted.table_name
      FROM pg_class AS c JOIN pg_namespace AS n ON n.oid = c.relnamespace
     WHERE c.oid = table_name::oid;
    v_wanted.relation := table_name;
    v_wanted.owner_column := owner_column;
    v_wanted.bucket := bucket;
    v_wanted.null_owner_bucket := null_owner_bucket;
    v_wanted.deleted_at_column := deleted_at_column;
    v_wanted.on_capture_error := on_capture_error;
    v_wanted.exclude_columns := coalesce(exclude_columns, '{}');
    v_wanted.all_columns := sync_columns IS NULL;
    v_wanted.push_policy := push_policy;
    v_wanted.server_columns := coalesce(server_columns, '{}');
    v_wanted.protected_columns := coalesce(protected_columns, '{}');
    -- The application's own path, for what its triggers and policies leave unqualified.
    v_wanted.push_search_path := coalesce(push_search_path, (SELECT s.reset_val FROM pg_settings AS s WHERE s.name = 'search_path'));
    v_wanted.key_columns := key_columns;
    v_wanted.sync_columns := sync_columns;
    IF owner_column IS NOT NULL THEN
        v_wanted.bucket_prefix := bucket_prefix;
    END IF;
    IF bucket_function IS NOT NULL THEN
        v_wanted.bucket_function := tide.resolve_bucket_function(table_name, bucket_function);
    END IF;
    v_wanted.synced := true;
    v_wanted.derived := cardinality(v_wanted.parents) > 0
        OR EXISTS (SELECT FROM pg_proc AS p WHERE p.oid = v_wanted.bucket_function::regprocedure AND p.provolatile <> 'i');
    RETURN QUERY SELECT tide.apply_registration(v_wanted, NULL, dry_run);
END;
$$;
COMMENT ON FUNCTION tide.register_table(regclass, name, text, text, text, text, name[], name[], name[], name, text, text, name[], name[], text, regclass, text, jsonb, boolean) IS
'Captures every change of a table from now on, and puts its rows into buckets by one rule: owner_column (user:<owner>), bucket (a constant), or bucket_function (a function of the row, which may look at other tables when these are declared with tide.add_bucket_dependency). With parent and parent_fk (columns, comma-separated), or several in parents ({"table": "columns"}, or a list where several refer to one), a row also lies in the buckets of its parents. push_policy says who may change rows by pushing: nobody (disabled), the owner named in owner_column (owner_only), or whom the row-level security policies of the table let (rls). Declarative: call it again to change settings; with dry_run it only says what it would do. Must be called by the owner of the table, who is also a member of tide_owner. Raises TD001 to TD008, TD011, TD020.';
-- +goose StatementEnd

-- +goose StatementBegin
CREATE OR REPLACE FUNCTION tide.refresh(table_name regclass, missed_changes boolean DEFAULT false)
    RETURNS SETOF text
    LANGUAGE plpgsql
    SET search_path = pg_catalog, pg_temp SET jit = off
AS $$
DECLARE
    v_table  tide.synced_table := tide.registered_table(table_name);
    v_wanted tide.synced_table := v_table;
BEGIN
    -- Devices know the table and its columns by the names of now.
    SELECT n.nspname, c.relname
      INTO v_wanted.table_schema, v_wanted.table_name
      FROM pg_class AS c JOIN pg_namespace AS n ON n.oid = c.relnamespace
     WHERE c.oid = table_name::oid;
    v_wanted.key_columns := tide.current_names(v_table.table_id, v_table.key_columns);
    v_wanted.sync_columns := tide.current_names(v_table.table_id, v_table.sync_columns);
    v_wanted.exclude_columns := ARRAY(
        SELECT e FROM unnest(v_table.exclude_columns) AS e
         WHERE e IN (SELECT a.attname FROM pg_attribute AS a WHERE a.attrelid = table_name AND NOT a.attisdropped));
    v_wanted.server_columns := tide.current_names(v_table.table_id, v_table.server_columns);
    v_wanted.protected_columns := tide.current_names(v_table.table_id, v_table.protected_columns);
    v_wanted.owner_column := (tide.current_names(v_table.table_id, ARRAY[v_table.owner_column]))[1];
    v_wanted.deleted_at_column := (tide.current_names(v_table.table_id, ARRAY[v_table.deleted_at_column]))[1];
    IF v_table.bucket_function IS NOT NULL THEN
        -- Where it is gone, looking for it as it was registered says so.
        v_wanted.bucket_function := coalesce(tide.bucket_function_of(v_table.table_id)::regprocedure::text, tide.resolve_bucket_function(table_name, v_table.bucket_function));
    END IF;
    v_wanted.parent_fks := ARRAY(SELECT array_to_string(tide.current_names(v_table.table_id, string_to_array(f, ',')), ',') FROM unnest(v_table.parent_fks) WITH ORDINALITY AS t (f, n) ORDER BY n);
    IF num_nonnulls(v_wanted.owner_column, v_wanted.deleted_at_column) < num_nonnulls(v_table.owner_column, v_table.deleted_at_column)
       OR cardinality(v_wanted.key_columns) < cardinality(v_table.key_columns)
       OR cardinality(tide.current_names(v_table.table_id, v_table.dep_columns)) < cardinality(v_table.dep_columns) THEN
        PERFORM tide.row_expressions(v_table.table_id, 'tide_n');
    END IF;
    UPDATE tide.bucket_dependency AS d SET source_columns = tide.current_names(d.source_id, d.source_columns) WHERE d.source_id = v_table.table_id;
    UPDATE tide.bucket_dependency AS d SET table_columns = tide.current_names(d.table_id, d.table_columns) WHERE d.table_id = v_table.table_id AND d.table_columns IS NOT NULL;
    UPDATE tide.access_dependency AS a SET source_columns = tide.current_names(a.source_id, a.source_columns) WHERE a.source_id = v_table.table_id;
    RETURN QUERY SELECT tide.apply_registration(v_wanted, missed_changes, false);
    IF NOT EXISTS (SELECT FROM tide.change_log AS c WHERE c.xid = pg_current_xact_id() AND c.table_id = v_table.table_id AND c.op IN ('A', '!')) THEN
        PERFORM tide.mark_table(v_table.table_id, 'A', 'refreshed');
        RETURN NEXT 'the next seal reads the table (refreshed)';
    END IF;
    -- What could not be judged because of this table.
    PERFORM tide.mark_table(f.table_id, 'A', format('%s was refreshed', table_name))
       FROM tide.bucket_failure AS f JOIN tide.bucket_source AS b ON b.table_id = f.table_id AND b.source_id = v_table.table_id
      WHERE f.table_id <> v_table.table_id GROUP BY f.table_id;
END;
$$;
COMMENT ON FUNCTION tide.refresh(regclass, boolean) IS
'Brings capture in step with a table that was altered, takes in its new columns and partitions, mends its triggers, and has the next seal send the table anew. missed_changes => true also makes devices drop rows whose deletion capture did not see. Raises TD001 to TD009, TD011, TD012.';
-- +goose StatementEnd

-- +goose StatementBegin
CREATE OR REPLACE FUNCTION tide.take_back(statement text, table_id integer)
    RETURNS void
    LANGUAGE plpgsql
    SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    -- Another table of the same schema still needs it, and takes over the duty.
    IF statement ~ '^GRANT USAGE' THEN
        UPDATE tide.synced_table AS s
           SET granted = array_append(s.granted, statement)
         WHERE s.table_id = (SELECT o.table_id
                               FROM tide.synced_table AS o JOIN pg_class AS c ON c.oid = o.relation
                              WHERE o.unregistered_at IS NULL AND o.table_id <> take_back.table_id
                                AND (statement = format('GRANT USAGE ON SCHEMA %s TO tide_owner', c.relnamespace::regnamespace)
                                     OR o.push_policy = 'rls' AND statement = format('GRANT USAGE ON SCHEMA %s TO %I', c.relnamespace::regnamespace, (SELECT t.client_role FROM tide.setting AS t)))
                              LIMIT 1);
        IF FOUND THEN
            RETURN;
        END IF;
    END IF;
    EXECUTE CASE
                WHEN statement ~ '^GRANT' THEN regexp_replace(statement, '^GRANT (.*) TO (.*)$', 'REVOKE \1 FROM \2')
                ELSE regexp_replace(statement, '^CREATE (POLICY tide_owner_reads ON .*) FOR SELECT TO tide_owner USING \(true\)$', 'DROP \1')
            END;
EXCEPTION
    -- The table, schema or partition is gone, or was renamed and its grant taken back by hand.
    WHEN undefined_table OR invalid_schema_name OR undefined_object THEN
        RAISE NOTICE 'could not take back: %', statement USING DETAIL = sqlerrm;
END;
$$;
COMMENT ON FUNCTION tide.take_back(text, integer) IS 'Undoes one statement of tide.missing_grants. Internal.';
-- +goose StatementEnd

-- +goose StatementBegin
CREATE OR REPLACE FUNCTION tide.unregister_table(table_name regclass)
    RETURNS void
    LANGUAGE plpgsql
    SET search_path = pg_catalog, pg_temp SET jit = off
AS $$
DECLARE
    v_table   tide.synced_table := tide.registered_table(table_name);
    v_trigger record;
    v_grant   text;
    v_dependants text;
BEGIN
    LOCK TABLE tide.synced_table IN SHARE ROW EXCLUSIVE MODE;
    SELECT string_agg(s.relation::text, ', ') INTO v_dependants
      FROM tide.bucket_source AS b JOIN tide.synced_table AS s ON s.table_id = b.table_id
     WHERE b.source_id = v_table.table_id AND b.table_id <> v_table.table_id;
    IF v_dependants IS NOT NULL THEN
        RAISE EXCEPTION 'buckets of other tables hang on %', table_name
            USING ERRCODE = 'TD021', DETAIL = format('These: %s.', v_dependants), HINT = 'Give them another rule, or unregister them first.';
    END IF;
    PERFORM tide.lock_briefly(table_name, 'ACCESS EXCLUSIVE');
    PERFORM tide.disable_rls(table_name);
    -- Also on partitions that were detached meanwhile.
    FOR v_trigger IN
        SELECT t.tgrelid::regclass AS relation, t.tgname AS name
          FROM pg_trigger AS t JOIN pg_proc AS p ON p.oid = t.tgfoid
         WHERE p.pronamespace = 'tide'::regnamespace
           AND NOT t.tgisinternal
           AND (p.proname ~ format('^capture_%s_', v_table.table_id)
                OR p.proname = 'draw_order' AND t.tgrelid = ANY (v_table.partitions || v_table.relation))
    LOOP
        EXECUTE format('DROP TRIGGER %I ON %s', v_trigger.name, v_trigger.relation);
    END LOOP;
    EXECUTE (SELECT string_agg(format('DROP FUNCTION IF EXISTS tide.%I();', tide.capture_function(v_table.table_id, e)), ' ')
               FROM unnest(ARRAY['INSERT', 'UPDATE', 'DELETE', 'TRUNCATE']) AS e);
    PERFORM tide.drop_push_functions(v_table.table_id);
    DELETE FROM tide.reading AS r WHERE r.table_id = v_table.table_id;
    DELETE FROM tide.bucket_dependency AS d WHERE d.table_id = v_table.table_id;
    DELETE FROM tide.access_dependency AS a WHERE a.source_id = v_table.table_id;
    -- Where its rows lay stays known: devices still have them, should it be registered again.
    DELETE FROM tide.bucket_failure AS f WHERE f.table_id = v_table.table_id;
    UPDATE tide.synced_table AS s SET unregistered_at = now(), granted = '{}', derived = false WHERE s.table_id = v_table.table_id;
    PERFORM tide.set_bucket_sources();
    PERFORM tide.write_bucket_functions(v_table.table_id);
    PERFORM tide.set_shape();

    FOREACH v_grant IN ARRAY v_table.granted LOOP
        PERFORM tide.take_back(v_grant, v_table.table_id);
    END LOOP;
END;
$$;
COMMENT ON FUNCTION tide.unregister_table(regclass) IS 'Stops capturing a table and takes back every trigger, grant and policy that registering it made. The log keeps what it has. Raises TD007, TD008, TD009, TD021.';
-- +goose StatementEnd

-- +goose StatementBegin
CREATE OR REPLACE FUNCTION tide.pause()
    RETURNS void
    LANGUAGE sql
    SET search_path = pg_catalog, pg_temp
AS $$
    UPDATE tide.setting SET paused_at = now() WHERE paused_at IS NULL;
    SELECT tide.write_capture_functions(s.table_id) FROM tide.synced_table AS s WHERE s.unregistered_at IS NULL;
    SELECT;
$$;
COMMENT ON FUNCTION tide.pause() IS 'Stops capture, without a lock on any table: at once for transactions that have captured nothing yet, at their end for others. Writes go on unseen until tide.resume(); devices then take a snapshot.';
-- +goose StatementEnd

-- +goose StatementBegin
CREATE OR REPLACE FUNCTION tide.resume()
    RETURNS void
    LANGUAGE plpgsql
    SET search_path = pg_catalog, pg_temp SET jit = off
AS $$
BEGIN
    UPDATE tide.setting SET paused_at = NULL WHERE paused_at IS NOT NULL;
    IF NOT FOUND THEN
        RETURN;
    END IF;
    -- The lock lets writers that still do not capture finish: the seal must see all they did.
    PERFORM tide.lock_briefly(s.relation, 'SHARE ROW EXCLUSIVE'),
            tide.write_capture_functions(s.table_id),
            tide.mark_table(s.table_id, '!', 'resumed')
       FROM (SELECT t.* FROM tide.synced_table AS t JOIN pg_class AS c ON c.oid = t.relation
              WHERE t.unregistered_at IS NULL ORDER BY t.table_id) AS s;
END;
$$;
COMMENT ON FUNCTION tide.resume() IS 'Starts capture again after tide.pause(), and has the next seal send devices to a snapshot of what changed meanwhile. Raises TD007, TD008.';
-- +goose StatementEnd

-- +goose StatementBegin
-- Ranges between transactions that still run, and not one range over all: a bulk load that is open
-- for an hour must not have its rows looked at by every seal of that hour.
CREATE OR REPLACE FUNCTION tide.sealable_ranges(previous pg_snapshot, OUT above xid8, OUT below xid8)
    RETURNS SETOF record
    LANGUAGE plpgsql STABLE PARALLEL SAFE ROWS 1
    SET search_path = pg_catalog, pg_temp
AS $$
#variable_conflict use_column
BEGIN
    -- Most of the time nothing ran, then and now: that is seen without a query.
    IF pg_snapshot_xmin(previous) = pg_snapshot_xmax(previous) AND right(pg_current_snapshot()::text, 1) = ':' THEN
        above := (pg_snapshot_xmax(previous)::text::bigint - 1)::text::xid8;
        below := pg_snapshot_xmax(pg_current_snapshot());
        RETURN NEXT;
        RETURN;
    END IF;
    RETURN QUERY
    SELECT e.xid, lead(e.xid) OVER (ORDER BY e.xid)
      FROM (SELECT (pg_snapshot_xmax(previous)::text::bigint - 1)::text::xid8
             UNION ALL
            SELECT x FROM pg_snapshot_xip(pg_current_snapshot()) AS x WHERE x >= pg_snapshot_xmax(previous)
             UNION ALL
            SELECT pg_snapshot_xmax(pg_current_snapshot()) WHERE pg_snapshot_xmax(pg_current_snapshot()) >= pg_snapshot_xmax(previous)) AS e (xid)
     UNION ALL
    SELECT (x::text::bigint - 1)::text::xid8, (x::text::bigint + 1)::text::xid8
      FROM pg_snapshot_xip(previous) AS x
     WHERE pg_visible_in_snapshot(x, pg_current_snapshot());
END;
$$;
COMMENT ON FUNCTION tide.sealable_ranges(pg_snapshot) IS 'Open ranges of transaction ids that ended since a snapshot, by the snapshot of the calling statement. Internal.';
-- +goose StatementEnd

-- +goose StatementBegin
CREATE OR REPLACE FUNCTION tide.ranges_to_seal(complete pg_snapshot, previous tide.seal_log, step xid8[], OUT above xid8, OUT below xid8)
    RETURNS SETOF record
    LANGUAGE plpgsql STABLE ROWS 1
    SET search_path = pg_catalog, pg_temp
AS $$
#variable_conflict use_column
BEGIN
    IF previous.cut_change_id IS NULL AND step IS NULL THEN
        RETURN QUERY SELECT r.above, r.below FROM tide.sealable_ranges(complete) AS r;
        RETURN;
    END IF;
    -- The last step takes what ends beyond the last cut, and what the first step did not see yet.
    RETURN QUERY
    SELECT (x.xid::text::bigint - 1)::text::xid8, (x.xid::text::bigint + 1)::text::xid8
      FROM (SELECT unnest(step) AS xid
             UNION
            SELECT k.xid FROM tide.sealable_ranges(complete) AS r JOIN tide.change_log AS k ON k.xid > r.above AND k.xid < r.below
             -- Not what an earlier step wrote about transactions that it sealed: images of rows.
             WHERE step IS NULL AND k.change_id > previous.cut_change_id AND (k.key_hash IS NULL OR k.op NOT IN ('A', 'M'))
             UNION
            SELECT k.xid FROM tide.sealable_ranges(previous.snap) AS r JOIN tide.change_log AS k ON k.xid > r.above AND k.xid < r.below
             WHERE step IS NULL) AS x;
END;
$$;
COMMENT ON FUNCTION tide.ranges_to_seal(pg_snapshot, tide.seal_log, xid8[]) IS
'Open ranges of transaction ids that a seal takes: all that ended since the last complete one, or a step of a long seal, or (step NULL) its last step. Internal.';
-- +goose StatementEnd

-- +goose StatementBegin
-- Planned as a part of the query that it stands in, which keeps to indexes. Few, as a rule. What a seal takes
-- meanwhile is in tide.key_log for whoever asks there afterwards, or in the same query.
CREATE OR REPLACE FUNCTION tide.unsealed_changes()
    RETURNS SETOF tide.change_log
    LANGUAGE sql STABLE
BEGIN ATOMIC
    SELECT c.*
      FROM (SELECT s.snap FROM tide.seal_log AS s WHERE s.cut_change_id IS NULL ORDER BY s.seal_id DESC LIMIT 1) AS s
     CROSS JOIN LATERAL tide.sealable_ranges(s.snap) AS r
      JOIN tide.change_log AS c ON c.xid > r.above AND c.xid < r.below
     WHERE c.xid IS DISTINCT FROM pg_current_xact_id_if_assigned();
END;
COMMENT ON FUNCTION tide.unsealed_changes() IS 'Changes of other transactions that are committed, and that no complete seal has taken. Internal.';
-- +goose StatementEnd

-- +goose StatementBegin
CREATE OR REPLACE FUNCTION tide.came_and_went(xid xid8, key_hash bigint, table_id integer, row_key text)
    RETURNS boolean
    LANGUAGE plpgsql STABLE
    SET search_path = pg_catalog, pg_temp
    SET plan_cache_mode = force_generic_plan
    SET enable_seqscan = off SET enable_bitmapscan = off SET enable_hashjoin = off SET enable_mergejoin = off SET max_parallel_workers_per_gather = 0 SET jit = off
AS $$
#variable_conflict use_variable
DECLARE
    v_ops "char"[] := (
        SELECT array_agg(c.op ORDER BY coalesce(c.order_id, c.change_id), c.change_id)
          FROM (SELECT k.change_id FROM tide.key_log AS k WHERE k.key_hash = key_hash AND k.xid = xid
                 UNION
                SELECT u.change_id FROM tide.unsealed_changes() AS u WHERE u.xid = xid AND u.key_hash = key_hash) AS k
         CROSS JOIN LATERAL (SELECT l.* FROM tide.change_log AS l WHERE l.xid = xid AND l.change_id = k.change_id OFFSET 0) AS c
         WHERE c.table_id = table_id AND c.row_key = row_key COLLATE "C" AND c.op IN ('I', 'U', 'D'));
BEGIN
    RETURN v_ops[1] = 'I' AND v_ops[cardinality(v_ops)] = 'D';
END;
$$;
COMMENT ON FUNCTION tide.came_and_went(xid8, bigint, integer, text) IS 'Whether a transaction inserted and deleted a row that was not there before. Internal.';
-- +goose StatementEnd

-- +goose StatementBegin
CREATE OR REPLACE FUNCTION tide.snapshot_listing(snap pg_snapshot, xid xid8)
    RETURNS pg_snapshot
    LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE
    SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    IF xid >= pg_snapshot_xmax(snap) OR NOT pg_visible_in_snapshot(xid, snap) THEN
        RETURN snap;
    END IF;
    RETURN (SELECT format('%s:%s:%s', least(snapshot_listing.xid, pg_snapshot_xmin(snap)), pg_snapshot_xmax(snap), string_agg(x.xid::text, ',' ORDER BY x.xid))::pg_snapshot
              FROM (SELECT pg_snapshot_xip(snap) UNION SELECT snapshot_listing.xid) AS x (xid));
END;
$$;
COMMENT ON FUNCTION tide.snapshot_listing(pg_snapshot, xid8) IS 'The snapshot with one more transaction listed as in progress: a snapshot never lists its own. Internal.';
-- +goose StatementEnd

-- +goose StatementBegin
-- What a seal must do for tables that are to be read: runs on the snapshot of the statement that
-- calls it, which is the seal's (that is why it is STABLE and a function).
CREATE OR REPLACE FUNCTION tide.adoption(
    table_ids integer[], ops text[],
    OUT table_id integer, OUT bucket_id text, OUT row_key text, OUT payload json, OUT error text
)
    RETURNS SETOF record
    LANGUAGE plpgsql STABLE
    SET search_path = pg_catalog, pg_temp
    SET TimeZone = 'UTC' SET extra_float_digits = 1 SET DateStyle = 'ISO, YMD' SET IntervalStyle = 'postgres'
    SET bytea_output = 'hex' SET lc_monetary = 'C' SET quote_all_identifiers = off
    -- The plans of sealing are not for whole tables.
    SET enable_seqscan = on SET enable_nestloop = on SET plan_cache_mode = auto SET jit = off
    -- Behind an ALTER TABLE all sealing would wait; the next seal tries again instead.
    SET lock_timeout = '200ms'
AS $$
DECLARE
    v_max      bigint := (SELECT s.adoption_max_rows FROM tide.setting AS s);
    v_known    boolean := EXISTS (SELECT FROM tide.bucket_floor);
    v_relation regclass;
    v_rows     bigint;
    n          tide.reading;
BEGIN
    FOR v_index IN 1 .. coalesce(cardinality(table_ids), 0) LOOP
        table_id := table_ids[v_index];
        v_relation := (SELECT s.relation FROM tide.synced_table AS s JOIN pg_class AS c ON c.oid = s.relation
                        WHERE s.table_id = table_ids[v_index] AND s.unregistered_at IS NULL);
        -- Dropped or unregistered since: there is nothing to read.
        CONTINUE WHEN v_relation IS NULL;
        -- A table that cannot be read, or a rule that raises, must not stop the log of all others.
        BEGIN
            PERFORM tide.assert_readable(v_relation);
            n := tide.reading_of(table_ids[v_index]);
            -- No device has anything yet, or it must drop rows that nobody can list: only the buckets count.
            v_rows := v_max + 1;
            IF v_known AND ops[v_index] = 'A' THEN
                EXECUTE format('SELECT count(*) FROM (SELECT FROM %s LIMIT %s) AS few', v_relation, v_max + 1) INTO v_rows;
            END IF;
            RETURN QUERY EXECUTE CASE
                WHEN v_rows <= v_max THEN
                    format('SELECT %s, u.bucket_id, %s, %s, NULL FROM %s AS tide_n CROSS JOIN LATERAL unnest(%s) AS u (bucket_id)',
                           table_id, n.row_key, n.payload, v_relation, n.buckets)
                ELSE
                    format('SELECT %s, d.bucket_id, NULL, NULL::json, NULL FROM (SELECT DISTINCT u.bucket_id FROM %s AS tide_n CROSS JOIN LATERAL unnest(%s) AS u (bucket_id)) AS d',
                           table_id, v_relation, n.buckets)
                END;
        EXCEPTION
            WHEN OTHERS THEN
                IF sqlstate LIKE '40%' OR sqlstate LIKE '57%' THEN
                    RAISE;
                END IF;
                error := format('%s (%s)', sqlerrm, sqlstate);
                RETURN NEXT;
                error := NULL;
        END;
    END LOOP;
END;
$$;
COMMENT ON FUNCTION tide.adoption(integer[], text[]) IS 'Buckets that hold rows of these tables and, where the table is small enough, the rows; a row with error where a table could not be read. Internal.';
-- +goose StatementEnd

-- +goose StatementBegin
-- Steps are prefixes by the transactions' largest change_id, so a step never comes before one it
-- depends on. All steps but the last seal what the first one saw, under its snapshot; the last one
-- (step IS NULL) catches up with the present and is an ordinary seal again.
CREATE OR REPLACE FUNCTION tide.seal_step(
    complete tide.seal_log, previous tide.seal_log, drawn bigint,
    OUT step xid8[], OUT cut bigint, OUT snap pg_snapshot
)
    LANGUAGE plpgsql STABLE
    SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    v_max  bigint := (SELECT s.seal_max_changes FROM tide.setting AS s);
    v_from bigint := previous.cut_change_id;
BEGIN
    cut := coalesce(v_from, complete.last_change_id);
    WHILE step IS NULL AND cut IS NOT NULL LOOP
        cut := cut + v_max;
        IF cut >= drawn THEN
            cut := NULL;
        ELSE
            SELECT array_agg(x.xid), coalesce(CASE WHEN v_from IS NOT NULL THEN previous.snap END, pg_current_snapshot())
              INTO step, snap
              FROM (SELECT DISTINCT c.xid
                      FROM tide.sealable_ranges(complete.snap) AS r
                      JOIN tide.change_log AS c ON c.xid > r.above AND c.xid < r.below
                     -- Not what an earlier step wrote about transactions that it sealed: images of rows.
                     WHERE c.change_id > coalesce(v_from, 0) AND c.change_id <= cut AND (c.key_hash IS NULL OR c.op NOT IN ('A', 'M'))) AS x
             WHERE (v_from IS NULL OR pg_visible_in_snapshot(x.xid, previous.snap))
               AND (SELECT max(l.change_id) FROM tide.change_log AS l WHERE l.xid = x.xid) <= cut;
        END IF;
    END LOOP;
END;
$$;
COMMENT ON FUNCTION tide.seal_step(tide.seal_log, tide.seal_log, bigint) IS 'Transactions of the next step of a long seal, NULL for the last one. Internal.';
-- +goose StatementEnd

-- +goose StatementBegin
-- Nearly always none: the planner must not prepare for millions, and a seal without marks must not
-- look at every bucket there is. Hence a function, whose SET keeps it from being inlined.
CREATE OR REPLACE FUNCTION tide.noted_buckets(notes json[])
    RETURNS SETOF text
    LANGUAGE sql STABLE ROWS 1
    SET search_path = pg_catalog, pg_temp
AS $$
    SELECT b.bucket_id
      FROM unnest(notes) AS n (note)
     CROSS JOIN LATERAL json_array_elements_text(n.note -> 'patterns') AS p (pattern)
      JOIN tide.bucket_floor AS b
        ON CASE WHEN starts_with(p.pattern, '=') THEN b.bucket_id = substr(p.pattern, 2) ELSE starts_with(b.bucket_id, substr(p.pattern, 2)) END;
$$;
COMMENT ON FUNCTION tide.noted_buckets(json[]) IS 'Known buckets that the patterns of marks (=name, or ^prefix) stand for: their devices must fetch a snapshot. Internal.';
-- +goose StatementEnd

-- +goose StatementBegin
-- More changes than one value can hold, or anybody wants to follow one by one.
CREATE OR REPLACE FUNCTION tide.tables_to_judge(previous pg_snapshot)
    RETURNS tide.table_mark[]
    LANGUAGE plpgsql STABLE
    SET search_path = pg_catalog, pg_temp
    SET enable_seqscan = off SET jit = off
AS $$
DECLARE
    v_changed integer[];
    v_count   bigint;
BEGIN
    SELECT array_agg(DISTINCT c.table_id), count(*) INTO v_changed, v_count
      FROM tide.sealable_ranges(previous) AS r JOIN tide.change_log AS c ON c.xid > r.above AND c.xid < r.below
     WHERE c.table_id IN (SELECT b.source_id FROM tide.bucket_source AS b);
    IF v_count > (SELECT s.seal_max_judged FROM tide.setting AS s) THEN
        RETURN (SELECT array_agg(ROW(s.table_id, '!', NULL, json_build_object('reason', 'many changes'))::tide.table_mark)
                  FROM tide.synced_table AS s
                 WHERE s.derived AND s.unregistered_at IS NULL
                   AND s.table_id IN (SELECT b.table_id FROM tide.bucket_source AS b WHERE b.source_id = ANY (v_changed)));
    END IF;
    RETURN NULL;
END;
$$;
COMMENT ON FUNCTION tide.tables_to_judge(pg_snapshot) IS 'Marks for tables with derived rules that a seal judges as a whole, because more than seal_max_judged changes since a snapshot may have moved their rows; NULL when these are few. Internal.';
-- +goose StatementEnd

-- +goose StatementBegin
-- One statement does the sealing, so that what it takes, reads and records is one snapshot, also
-- under READ COMMITTED. The stages of it, in order:
--   fresh      changes whose transaction the previous seal did not see, and this statement does
--   net        per transaction and key: where the row was before, where it is after, the last image
--   effect     what marked tables and derived rules make of it; nothing, most of the time
--   entry      per bucket: what that is for the bucket (came, stayed, left)
--   part       per transaction and bucket, the list of changes
--   numbered   bundle_id by the transaction's largest change_id (causal), bundle_seq on the bucket's head
-- What is of no transaction comes last, in one bundle after all others. A plan is begun anew by every
-- seal, whatever of it runs: what is rare is in tide.seal_effects.
CREATE OR REPLACE FUNCTION tide.seal()
    RETURNS bigint
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path = pg_catalog, pg_temp
    -- The plan must suit one change and a million: no nested loop over either, nothing planned anew.
    SET plan_cache_mode = force_generic_plan
    SET enable_nestloop = off
    SET enable_seqscan = off
    SET enable_bitmapscan = off
    SET max_parallel_workers_per_gather = 0 SET jit = off
    SET work_mem = '64MB'
AS $$
DECLARE
    v_previous tide.seal_log;
    v_complete tide.seal_log;
    v_drawn    bigint;
    v_own      xid8;
    v_step     xid8[];
    v_cut      bigint;
    v_snap     pg_snapshot;
    v_now      timestamptz;
    v_last     bigint;
    v_sources  integer[];
    v_late     boolean;
    v_newest   xid8;
    v_marks    tide.table_mark[];
    v_effects  tide.seal_effect[];
BEGIN
    -- No snapshot is taken here, so it may also be the first statement of a REPEATABLE READ transaction.
    LOCK TABLE tide.seal_lock IN SHARE UPDATE EXCLUSIVE MODE;
    SELECT * INTO v_previous FROM tide.seal_log AS s ORDER BY s.seal_id DESC LIMIT 1;
    v_own := pg_current_xact_id_if_assigned();
    IF v_own IS NOT NULL THEN
        IF EXISTS (SELECT FROM tide.change_log AS c WHERE c.xid = v_own) THEN
            RAISE EXCEPTION 'this transaction has captured changes and cannot seal'
                USING ERRCODE = 'TD010', HINT = 'Commit first: only committed changes are sealed.';
        END IF;
    END IF;
    IF pg_snapshot_xmax(v_previous.snap) > pg_snapshot_xmax(pg_current_snapshot()) THEN
        RAISE EXCEPTION 'the log comes from a server with other transaction ids'
            USING ERRCODE = 'TD016',
                  DETAIL  = format('The last seal saw transaction %s, this server has only reached %s.', pg_snapshot_xmax(v_previous.snap), pg_snapshot_xmax(pg_current_snapshot())),
                  HINT    = 'A dump was restored. Begin a new history: uninstall pgtide, install it again and register the tables.';
    END IF;

    v_complete := v_previous;
    IF v_previous.cut_change_id IS NOT NULL THEN
        SELECT * INTO v_complete FROM tide.seal_log AS s WHERE s.cut_change_id IS NULL ORDER BY s.seal_id DESC LIMIT 1;
    END IF;
    IF NOT EXISTS (SELECT FROM tide.sealable_ranges(v_complete.snap) AS r JOIN tide.change_log AS c ON c.xid > r.above AND c.xid < r.below) THEN
        RETURN v_previous.last_bundle_id;
    END IF;
    SELECT s.last_value INTO v_drawn FROM tide.change_id AS s;
    v_now := clock_timestamp();
    IF v_previous.cut_change_id IS NOT NULL
       OR v_drawn - v_previous.last_change_id > (SELECT s.seal_max_changes FROM tide.setting AS s) THEN
        SELECT t.step, t.cut, t.snap INTO v_step, v_cut, v_snap FROM tide.seal_step(v_complete, v_previous, v_drawn) AS t;
    END IF;

    -- Steps judge nothing. They tell whose access changed.
    v_sources := nullif(CASE WHEN v_cut IS NULL THEN ARRAY(SELECT b.source_id FROM tide.bucket_source AS b) END || ARRAY(SELECT a.source_id FROM tide.access_dependency AS a), '{}');
    -- In a long seal they are judged once, by the last step.
    v_late := v_previous.cut_change_id IS NOT NULL AND v_step IS NULL;
    IF v_late THEN
        -- The last step may have nothing of its own left to seal.
        SELECT max(c.xid) INTO v_newest FROM tide.sealable_ranges(v_complete.snap) AS r JOIN tide.change_log AS c ON c.xid > r.above AND c.xid < r.below;
    END IF;
    IF v_cut IS NULL AND v_sources IS NOT NULL AND v_drawn - v_complete.last_change_id > (SELECT s.seal_max_judged FROM tide.setting AS s) THEN
        v_marks := tide.tables_to_judge(v_complete.snap);
        IF v_marks IS NOT NULL THEN
            v_sources := (SELECT array_agg(DISTINCT a.source_id) FROM tide.access_dependency AS a);
        END IF;
    END IF;

    FOR v_last, v_effects IN
    WITH fresh AS MATERIALIZED (
        SELECT c.xid, c.change_id, c.order_id, c.table_id, c.op, c.key_hash, c.row_key, c.buckets, c.old_buckets,
               coalesce(octet_length(c.payload::text), 0) AS bytes, CASE WHEN c.op IN ('O', 'A', '!') THEN c.payload END AS note,
               CASE WHEN c.table_id = ANY (v_sources) THEN c.deps END AS deps, CASE WHEN c.table_id = ANY (v_sources) THEN c.old_deps END AS old_deps
          FROM tide.ranges_to_seal(v_complete.snap, v_previous, v_step) AS r JOIN tide.change_log AS c ON c.xid > r.above AND c.xid < r.below
            -- Always true, and the planner takes it for rare. It would expect one row of 200 of the whole log, and every
            -- seal would begin with hash tables of that size: of a long log, megabytes. They grow by themselves.
           AND c.change_id + 0 = 0 + c.change_id AND c.change_id - 0 = 0 + c.change_id
    ), repeated AS MATERIALIZED (
        -- By hash first: a key that changed twice in one transaction is rare.
        SELECT f.xid, f.key_hash FROM fresh AS f WHERE f.key_hash IS NOT NULL AND f.op <> 'R' GROUP BY f.xid, f.key_hash HAVING count(*) > 1
    ), net AS (
        SELECT f.xid, f.change_id, f.change_id AS first_id, f.old_buckets AS before, f.buckets AS after, f.bytes
          FROM fresh AS f
         WHERE f.key_hash IS NOT NULL AND f.op <> 'R'
           AND NOT EXISTS (SELECT FROM repeated AS r WHERE r.xid = f.xid AND r.key_hash = f.key_hash)
         UNION ALL
        SELECT l.xid, l.change_id, l.first_id,
               -- Nobody saw it come and go, but the device that pushed it holds it.
               CASE WHEN l.first_op = 'I' AND l.op = 'D' AND l.xid IN (SELECT f.xid FROM fresh AS f WHERE f.op = 'O' AND f.note ->> 'user' IS NOT NULL)
                    THEN l.old_buckets ELSE l.before END,
               l.buckets, l.bytes
          FROM (SELECT f.xid, f.change_id, f.op, f.buckets, f.old_buckets, f.bytes,
                       first_value(f.op) OVER in_order AS first_op, first_value(f.old_buckets) OVER in_order AS before,
                       row_number() OVER (of_key ORDER BY f.change_id DESC) AS nth_from_last, min(f.change_id) OVER of_key AS first_id
                  FROM fresh AS f JOIN repeated AS r ON r.xid = f.xid AND r.key_hash = f.key_hash
                 WHERE f.op <> 'R'
                WINDOW of_key AS (PARTITION BY f.xid, f.table_id, f.row_key), in_order AS (of_key ORDER BY coalesce(f.order_id, f.change_id), f.change_id)) AS l
         WHERE l.nth_from_last = 1
    ), tx AS MATERIALIZED (
        SELECT f.xid, max(f.change_id) AS last_change_id, (array_agg(f.note ORDER BY f.change_id DESC) FILTER (WHERE f.op = 'O'))[1] AS origin
          FROM fresh AS f GROUP BY f.xid
    ), effect AS MATERIALIZED (
        SELECT e.*
          FROM (SELECT array_agg(ROW(f.table_id, f.op, f.xid, f.note)::tide.table_mark) FILTER (WHERE f.op IN ('A', '!')) AS marks,
                       coalesce(max(f.xid), v_newest) AS last_xid,
                       (SELECT array_agg(ROW(g.xid, t.last_change_id, CASE WHEN t.origin ->> 'source' IS NOT NULL THEN t.origin ->> 'user' END, g.change_id, g.order_id, g.table_id, g.op, g.key_hash, g.row_key,
                                             g.buckets IS DISTINCT FROM g.old_buckets, g.bytes, g.deps, g.old_deps)::tide.fresh_change)
                          FROM fresh AS g JOIN tx AS t ON t.xid = g.xid WHERE g.table_id = ANY (v_sources) AND g.key_hash IS NOT NULL) AS changes
                  FROM fresh AS f OFFSET 0) AS q -- made once, not wherever it is named
         CROSS JOIN LATERAL tide.seal_effects(q.marks || v_marks, q.changes, v_cut IS NOT NULL, CASE WHEN v_late AND v_marks IS NULL THEN v_complete.snap END, q.last_xid) AS e
         WHERE q.marks IS NOT NULL OR v_marks IS NOT NULL OR v_sources IS NOT NULL AND (q.changes IS NOT NULL OR v_late)
    ), entry AS (
        SELECT a.xid, false AS of_none, a.bucket_id COLLATE "C", a.change_id, a.first_id, CASE WHEN a.bucket_id = ANY (a.before) THEN 'U' ELSE 'I' END::"char" AS op, a.bytes::bigint
          FROM (SELECT n.xid, n.change_id, n.first_id, n.before, n.bytes, unnest(n.after) AS bucket_id FROM net AS n) AS a
         UNION ALL
        SELECT b.xid, false, b.bucket_id COLLATE "C", b.change_id, b.first_id, 'D'::"char", 0::bigint
          FROM (SELECT n.xid, n.change_id, n.first_id, n.after, unnest(n.before) AS bucket_id FROM net AS n) AS b
         WHERE b.bucket_id = ANY (b.after) IS NOT TRUE
         UNION ALL
        SELECT t.xid, t.kind = 'T', t.bucket_id COLLATE "C", t.change_id, t.first_id, t.op, t.bytes FROM effect AS t WHERE t.kind IN ('t', 'T')
    ), part AS MATERIALIZED (
        SELECT e.xid, e.of_none, e.bucket_id, coalesce(array_agg(e.change_id) FILTER (WHERE e.op IS NOT NULL), '{}') AS changes,
               coalesce(array_agg(e.op) FILTER (WHERE e.op IS NOT NULL), '{}') AS ops, sum(e.bytes)::bigint AS bytes,
               min(e.change_id) AS min_change_id, max(e.change_id) AS max_change_id
          FROM (SELECT * FROM entry ORDER BY xid, of_none, bucket_id, first_id) AS e
         GROUP BY e.xid, e.of_none, e.bucket_id
    ), bundle AS MATERIALIZED (
        SELECT t.xid, v_previous.last_bundle_id + row_number() OVER (ORDER BY t.last_change_id) AS bundle_id, t.origin
          FROM tx AS t
         WHERE t.xid IN (SELECT p.xid FROM part AS p WHERE NOT p.of_none)
    ), last AS MATERIALIZED (
        SELECT v_previous.last_bundle_id + count(*) AS bundle_id FROM bundle
    ), head AS MATERIALIZED (
        SELECT d.bucket_id, d.adopted, f.floor_seq, coalesce(l.bundle_seq, f.floor_seq, d.adopted::integer) AS head_seq
          FROM (SELECT k.bucket_id, bool_or(k.adopted) AS adopted
                  FROM (SELECT p.bucket_id, false AS adopted FROM part AS p UNION ALL SELECT e.bucket_id COLLATE "C", true FROM effect AS e WHERE e.kind = 'b') AS k
                 GROUP BY k.bucket_id) AS d
          LEFT JOIN LATERAL (SELECT b.bundle_seq FROM tide.bundle_log AS b WHERE b.bucket_id = d.bucket_id ORDER BY b.bundle_seq DESC LIMIT 1) AS l ON true
          LEFT JOIN LATERAL (SELECT b.floor_seq FROM tide.bucket_floor AS b WHERE b.bucket_id = d.bucket_id ORDER BY b.floor_seq DESC LIMIT 1) AS f ON true
    ), numbered AS MATERIALIZED (
        SELECT p.*, n.bundle_id, b.origin,
               h.head_seq + row_number() OVER (PARTITION BY p.bucket_id ORDER BY n.bundle_id) AS bundle_seq
          FROM part AS p
          LEFT JOIN bundle AS b ON b.xid = p.xid AND NOT p.of_none
         CROSS JOIN LATERAL (SELECT coalesce(b.bundle_id, (SELECT l.bundle_id FROM last AS l) + 1) AS bundle_id) AS n
          JOIN head AS h ON h.bucket_id = p.bucket_id
    ), keyed AS (
        INSERT INTO tide.key_log (key_hash, change_id, xid)
        SELECT f.key_hash, f.change_id, f.xid FROM fresh AS f WHERE f.key_hash IS NOT NULL ORDER BY f.key_hash
    ), logged AS (
        INSERT INTO tide.bundle_log (bundle_id, bundle_seq, xid, seal_id, min_change_id, max_change_id, byte_count, source_bundle_id, sealed_at, consecutive,
                                     bucket_id, changes, ops, source_id, user_id, label, traceparent)
        SELECT n.bundle_id, n.bundle_seq, n.xid, v_previous.seal_id + 1, n.min_change_id, n.max_change_id, n.bytes, (n.origin ->> 'source_bundle_id')::bigint, v_now,
               CASE WHEN n.max_change_id - n.min_change_id + 1 = cardinality(n.changes)
                    THEN cardinality(n.changes) = 1 OR n.changes = ARRAY(SELECT generate_series(n.min_change_id, n.max_change_id)) ELSE false END,
               n.bucket_id, n.changes, n.ops, n.origin ->> 'source', n.origin ->> 'user',
               CASE WHEN NOT n.of_none THEN n.origin ->> 'label' WHEN n.changes = '{}' THEN 'reset' ELSE 'adoption' END, n.origin ->> 'traceparent'
          FROM numbered AS n
         ORDER BY n.bundle_id, n.bucket_id
    ), floors AS (
        INSERT INTO tide.bucket_floor (bucket_id, floor_seq, floor_bundle_id, seal_id, reason, created_at)
        SELECT h.bucket_id, h.head_seq, CASE WHEN h.adopted THEN (SELECT l.bundle_id FROM last AS l) + 1 ELSE v_previous.last_bundle_id END,
               v_previous.seal_id + 1, CASE WHEN h.adopted THEN 'adopted' ELSE 'born' END, v_now
          FROM head AS h WHERE h.floor_seq IS NULL
         UNION ALL
        SELECT n.bucket_id, n.bundle_seq, n.bundle_id, v_previous.seal_id + 1, 'reset', v_now FROM numbered AS n WHERE n.of_none AND n.changes = '{}'
    ), sealed AS (
        INSERT INTO tide.seal_log (seal_id, last_bundle_id, last_change_id, snap, cut_change_id, has_derived, sealed_at)
        SELECT v_previous.seal_id + 1,
               -- Adoption takes a number also when nothing of it is listed: positions before it lack those rows.
               (SELECT l.bundle_id FROM last AS l) + EXISTS (SELECT FROM effect AS e WHERE e.kind IN ('T', 'l'))::integer,
               coalesce(v_cut, v_drawn),
               CASE WHEN v_cut IS NULL THEN tide.snapshot_listing(pg_current_snapshot(), pg_current_xact_id()) ELSE v_snap END,
               v_cut, EXISTS (SELECT FROM effect AS e WHERE e.kind = 'j' AND (e.change_id IS NOT NULL OR (e.judged).before <> (e.judged).after)), v_now
            -- In a REPEATABLE READ transaction that began before another seal, this is a serialization failure.
            ON CONFLICT DO NOTHING
        RETURNING last_bundle_id
    )
    -- In pieces, because no value may be larger than a gigabyte.
    SELECT s.last_bundle_id, p.effects
      FROM sealed AS s
      LEFT JOIN (SELECT array_agg(e.effect ORDER BY e.ordinal) AS effects
                   FROM (SELECT f::tide.seal_effect AS effect, row_number() OVER () AS ordinal FROM effect AS f WHERE f.kind NOT IN ('t', 'T', 'b')) AS e
                  GROUP BY (e.ordinal - 1) / 10000) AS p ON true
    LOOP
        IF v_effects IS NOT NULL THEN
            PERFORM tide.store_effects(v_effects, v_previous.seal_id + 1, v_now);
        END IF;
    END LOOP;
    -- Runtimes listen, and tell the devices that watch. Delivered with the commit; nobody need listen.
    IF v_cut IS NULL AND v_last > v_complete.last_bundle_id THEN
        PERFORM pg_notify('tide_sealed', v_last::text);
        PERFORM tide.queue_event('on_seal', jsonb_build_object('seal_id', v_previous.seal_id + 1, 'first_bundle_id', v_complete.last_bundle_id + 1, 'last_bundle_id', v_last))
           FROM tide.hook AS h WHERE h.hook = 'on_seal';
    END IF;
    RETURN v_last;
END;
$$;
COMMENT ON FUNCTION tide.seal() IS
'Gives every transaction that committed since the last seal its place in the log, and returns the last bundle_id. Writes nothing when there is nothing. Many may call it, one runs. Raises TD010, TD016, TD011; 40001 when another seal came first in a REPEATABLE READ transaction.';
-- +goose StatementEnd

-- +goose StatementBegin
CREATE OR REPLACE FUNCTION tide.set_origin(source text, source_bundle_id bigint, label text DEFAULT NULL)
    RETURNS void
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    IF source IS NULL OR source = '' OR octet_length(source) > 512 OR source_bundle_id IS NULL OR source_bundle_id <= 0 OR octet_length(label) > 512 THEN
        RAISE EXCEPTION 'origin is not valid'
            USING ERRCODE = 'TD017',
                  DETAIL  = 'A source has 1 to 512 bytes, its number is positive, a label has at most 512 bytes.',
                  HINT    = 'Number the transactions of a source 1, 2, 3 ...';
    END IF;
    INSERT INTO tide.change_log (table_id, op, payload)
    VALUES (0, 'O', json_build_object('source', source, 'source_bundle_id', source_bundle_id, 'label', label,
                                      'user', nullif(current_setting('app.user_id', true), ''),
                                      'traceparent', substring(current_setting('tide.traceparent', true) FROM '^[0-9a-f]{2}-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}$')));
END;
$$;
COMMENT ON FUNCTION tide.set_origin(text, bigint, text) IS 'Names the source of the current transaction, its number there, and a label; they appear on its bundle together with app.user_id, and with tide.traceparent where that is set to the W3C trace context. The last call counts. Raises TD017.';
-- +goose StatementEnd

-- +goose StatementBegin
-- Asked after every seal: a function keeps its plan, where the view tide.lag is planned at each call.
CREATE OR REPLACE FUNCTION tide.seal_in_progress()
    RETURNS boolean
    LANGUAGE plpgsql STABLE SECURITY DEFINER
    SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    RETURN (SELECT s.cut_change_id IS NOT NULL FROM tide.seal_log AS s ORDER BY s.seal_id DESC LIMIT 1);
END;
$$;
COMMENT ON FUNCTION tide.seal_in_progress() IS 'The newest seal is a step of a long one: tide.seal() is to be called again.';
-- +goose StatementEnd

-- +goose StatementBegin
CREATE OR REPLACE FUNCTION tide.head()
    RETURNS bigint
    LANGUAGE plpgsql STABLE SECURITY DEFINER
    SET search_path = pg_catalog, pg_temp
    SET plan_cache_mode = force_generic_plan SET max_parallel_workers_per_gather = 0
AS $$
BEGIN
    RETURN (
        SELECT s.last_bundle_id FROM tide.seal_log AS s WHERE s.cut_change_id IS NULL ORDER BY s.seal_id DESC LIMIT 1);
END;
$$;
COMMENT ON FUNCTION tide.head() IS 'Last bundle_id that may be read: that of the newest seal that is complete.';
-- +goose StatementEnd

-- +goose StatementBegin
CREATE OR REPLACE FUNCTION tide.position_of(xid xid8)
    RETURNS bigint
    LANGUAGE plpgsql STABLE SECURITY DEFINER
    SET search_path = pg_catalog, pg_temp
    SET enable_seqscan = off SET enable_bitmapscan = off SET max_parallel_workers_per_gather = 0 SET jit = off
AS $$
DECLARE
    v_low    bigint;
    v_high   bigint;
    v_seal   tide.seal_log;
    v_before tide.seal_log;
    v_found  bigint;
BEGIN
    -- A snapshot only tells that it ended.
    IF pg_xact_status(xid) = 'aborted' THEN
        RAISE EXCEPTION 'transaction % was rolled back', xid
            USING ERRCODE = 'TD019', HINT = 'It has no position and never will.';
    END IF;
    SELECT min(s.seal_id), max(s.seal_id) INTO v_low, v_high FROM tide.seal_log AS s WHERE s.cut_change_id IS NULL;
    -- The first seal whose snapshot shows the transaction: once shown, always shown.
    WHILE v_low < v_high LOOP
        SELECT * INTO v_seal FROM tide.seal_log AS s
         WHERE s.seal_id >= (v_low + v_high) / 2 AND s.cut_change_id IS NULL ORDER BY s.seal_id LIMIT 1;
        IF pg_visible_in_snapshot(xid, v_seal.snap) THEN
            v_high := CASE WHEN v_seal.seal_id < v_high THEN v_seal.seal_id ELSE (v_low + v_high) / 2 END;
        ELSE
            v_low := v_seal.seal_id + 1;
        END IF;
    END LOOP;
    SELECT * INTO v_seal FROM tide.seal_log AS s WHERE s.seal_id >= v_high AND s.cut_change_id IS NULL ORDER BY s.seal_id LIMIT 1;
    IF NOT pg_visible_in_snapshot(xid, v_seal.snap) THEN
        RETURN NULL;
    END IF;
    SELECT * INTO v_before FROM tide.seal_log AS s WHERE s.seal_id < v_seal.seal_id AND s.cut_change_id IS NULL ORDER BY s.seal_id DESC LIMIT 1;
    -- A table that was read for this transaction has the seal's last bundle. Else its changes name
    -- their buckets, and in a bucket one seal has few bundles.
    SELECT b.bundle_id INTO v_found
      FROM tide.change_log AS c
     CROSS JOIN LATERAL unnest(c.buckets || c.old_buckets) AS u (bucket_id)
     CROSS JOIN LATERAL (
               SELECT l.bundle_id FROM tide.bundle_log AS l
                WHERE l.bucket_id = u.bucket_id COLLATE "C" AND l.bundle_id > coalesce(v_before.last_bundle_id, 0) AND l.bundle_id <= v_seal.last_bundle_id
                  AND l.xid = position_of.xid
                ORDER BY l.bundle_id LIMIT 1) AS b -- its own, before what the seal moved under its name
     WHERE c.xid = position_of.xid
       -- Its changes are not looked through for a mark where the seal read no table.
       AND NOT (EXISTS (SELECT FROM tide.adoption_log AS a WHERE a.seal_id > coalesce(v_before.seal_id, 0) AND a.seal_id <= v_seal.seal_id)
                AND EXISTS (SELECT FROM tide.change_log AS m WHERE m.xid = position_of.xid AND m.op IN ('A', '!') AND m.row_key IS NULL))
     LIMIT 1;
    RETURN coalesce(v_found, v_seal.last_bundle_id);
END;
$$;
COMMENT ON FUNCTION tide.position_of(xid8) IS
'bundle_id of a transaction: who has applied that has its changes. NULL until it is sealed; for a transaction that left nothing in any bucket, the last bundle_id of the seal that saw it. Raises TD019 for one that was rolled back.';
-- +goose StatementEnd

-- +goose StatementBegin
CREATE OR REPLACE FUNCTION tide.bucket_position(bucket_id text, OUT floor_seq bigint, OUT head_seq bigint)
    RETURNS record
    LANGUAGE plpgsql STABLE SECURITY DEFINER
    SET search_path = pg_catalog, pg_temp
    SET plan_cache_mode = force_generic_plan SET max_parallel_workers_per_gather = 0
AS $$
#variable_conflict use_column
DECLARE
    v_bucket text COLLATE "C" := bucket_id;
    v_head bigint := tide.head();
BEGIN
    floor_seq := coalesce((SELECT f.floor_seq FROM tide.bucket_floor AS f WHERE f.bucket_id = v_bucket ORDER BY f.floor_seq DESC LIMIT 1), 0);
    -- + 0: the index of the bucket is the one that is meant.
    head_seq := greatest((SELECT b.bundle_seq FROM tide.bundle_log AS b WHERE b.bucket_id = v_bucket AND b.bundle_id + 0 <= v_head ORDER BY b.bundle_seq DESC LIMIT 1), floor_seq);
END;
$$;
COMMENT ON FUNCTION tide.bucket_position(text) IS 'Floor and head of a bucket: a reader at any position between them misses nothing by reading on.';
-- +goose StatementEnd

-- +goose StatementBegin
-- Where many buckets stand, in the order of the log too. Adoption gives a bucket a position without a bundle.
CREATE OR REPLACE FUNCTION tide.bucket_heads(buckets text[])
    RETURNS TABLE (bucket_id text, head_seq bigint, bundle_id bigint)
    LANGUAGE plpgsql STABLE SECURITY DEFINER
    SET search_path = pg_catalog, pg_temp
    SET plan_cache_mode = force_generic_plan
    SET enable_hashjoin = off SET enable_mergejoin = off SET enable_seqscan = off SET max_parallel_workers_per_gather = 0 SET jit = off
AS $$
#variable_conflict use_column
DECLARE
    v_head bigint := tide.head();
BEGIN
    RETURN QUERY
    SELECT u.bucket_id, greatest(b.bundle_seq, f.floor_seq, 0), greatest(b.bundle_id, f.floor_bundle_id, 0)
      FROM unnest(buckets) AS u (bucket_id)
      -- + 0: the index of the bucket is the one that is meant.
      LEFT JOIN LATERAL (
               SELECT l.bundle_seq, l.bundle_id FROM tide.bundle_log AS l
                WHERE l.bucket_id = u.bucket_id COLLATE "C" AND l.bundle_id + 0 <= v_head
                ORDER BY l.bundle_seq DESC LIMIT 1) AS b ON true
      LEFT JOIN LATERAL (
               SELECT o.floor_seq, o.floor_bundle_id FROM tide.bucket_floor AS o
                WHERE o.bucket_id = u.bucket_id COLLATE "C"
                ORDER BY o.floor_seq DESC LIMIT 1) AS f ON true;
END;
$$;
COMMENT ON FUNCTION tide.bucket_heads(text[]) IS 'The newest bundle of each of these buckets: its number there, and its place in the log; 0 for none.';
-- +goose StatementEnd

-- +goose StatementBegin
CREATE OR REPLACE FUNCTION tide.check_page(max_bundles integer, max_bytes bigint)
    RETURNS void
    LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE
    SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    IF max_bundles IS NULL OR max_bundles NOT BETWEEN 1 AND 100000 OR max_bytes IS NULL OR max_bytes < 1 THEN
        RAISE EXCEPTION 'page size is not valid'
            USING ERRCODE = 'TD018',
                  DETAIL  = format('max_bundles is %s, max_bytes %s.', coalesce(max_bundles::text, 'NULL'), coalesce(max_bytes::text, 'NULL')),
                  HINT    = 'max_bundles is 1 to 100000, max_bytes at least 1.';
    END IF;
END;
$$;
COMMENT ON FUNCTION tide.check_page(integer, bigint) IS 'Raises TD018 unless the bounds of a page make sense. Internal.';
-- +goose StatementEnd

-- +goose StatementBegin
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
-- +goose StatementEnd

-- +goose StatementBegin
-- Planned as a part of the query that it stands in, and its rows come in order without being sorted: where they must,
-- that query has hash and merge joins off, and nothing in parallel.
CREATE OR REPLACE FUNCTION tide.bundle_changes(xid xid8, consecutive boolean, first bigint, last bigint, changes bigint[], ops "char"[])
    RETURNS TABLE (nth bigint, op "char", table_id integer, row_key text, payload json, buckets text[], old_buckets text[])
    LANGUAGE sql STABLE
BEGIN ATOMIC
    SELECT e.nth, e.op, e.table_id, e.row_key, e.payload, e.buckets, e.old_buckets
      -- A long list is stored elsewhere, and fetched once here, not for each of its elements.
      FROM (SELECT bundle_changes.ops || '{}'::"char"[] AS ops OFFSET 0) AS o
     CROSS JOIN LATERAL (
           (SELECT l.change_id - bundle_changes.first + 1 AS nth, o.ops[l.change_id - bundle_changes.first + 1] AS op, l.table_id, l.row_key, l.payload, l.buckets, l.old_buckets
              FROM tide.change_log AS l
             WHERE bundle_changes.consecutive AND l.xid = bundle_changes.xid AND l.change_id >= bundle_changes.first AND l.change_id <= bundle_changes.last
             ORDER BY l.xid, l.change_id)
             UNION ALL
            -- One by one, by the key (OFFSET 0 keeps it so): statistics of many small transactions suggest worse.
            SELECT u.nth, u.op, c.table_id, c.row_key, c.payload, c.buckets, c.old_buckets
              FROM unnest(bundle_changes.changes, o.ops) WITH ORDINALITY AS u (change_id, op, nth)
             CROSS JOIN LATERAL (SELECT l.* FROM tide.change_log AS l WHERE l.xid = bundle_changes.xid AND l.change_id = u.change_id OFFSET 0) AS c
             WHERE NOT bundle_changes.consecutive) AS e;
END;
COMMENT ON FUNCTION tide.bundle_changes(xid8, boolean, bigint, bigint, bigint[], "char"[]) IS
'The changes of a bundle, or of a part of it, in its order, counted from 1: those of the range where they are consecutive, else those that are listed. Internal.';
-- +goose StatementEnd

-- +goose StatementBegin
-- Planned as a part of the query that it stands in, like tide.bundle_changes.
CREATE OR REPLACE FUNCTION tide.bundle_page(bundle tide.bundle_log, first bigint, last bigint)
    RETURNS TABLE (nth bigint, table_schema text, table_name text, key json, op text, payload json, source_id text, source_bundle_id bigint)
    LANGUAGE sql STABLE
BEGIN ATOMIC
    SELECT c.nth, s.table_schema, s.table_name, c.row_key::json, CASE c.op WHEN 'I' THEN 'INSERT' WHEN 'U' THEN 'UPDATE' ELSE 'DELETE' END,
           CASE WHEN c.op <> 'D' THEN c.payload END, coalesce((bundle).source_id, 'server'), coalesce((bundle).source_bundle_id, (bundle).bundle_id)
      FROM tide.bundle_changes((bundle).xid, (bundle).consecutive, (bundle).min_change_id + first - 1, (bundle).min_change_id + last - 1,
                               (bundle).changes[first : last], (bundle).ops[first : last]) AS c
      CROSS JOIN LATERAL tide.name_of(c.table_id) AS s;
END;
COMMENT ON FUNCTION tide.bundle_page(tide.bundle_log, bigint, bigint) IS 'The changes of a bundle from the first to the last, both counted from 1, in its order; nth counts from the first. Internal.';
-- +goose StatementEnd

-- +goose StatementBegin
-- Planned as a part of the query that it stands in, like tide.bundle_changes: that query has nested loops alone.
-- How far the page reaches is known from bundle_log, so no change is read that is not returned. A running
-- sum as float8, not numeric, is exact up to 2^53 bytes.
CREATE OR REPLACE FUNCTION tide.bucket_bundles(bucket text, after_seq bigint, last_seq bigint, max_bundles integer, max_bytes bigint)
    RETURNS TABLE (
        bundle_id bigint, bundle_seq bigint, nth bigint, table_schema text, table_name text, row_key text, op text, payload json,
        source_id text, source_bundle_id bigint, sealed_at timestamptz
    )
    LANGUAGE sql STABLE
BEGIN ATOMIC
    SELECT b.bundle_id, b.bundle_seq, c.nth, s.table_schema, s.table_name, c.row_key,
           CASE c.op WHEN 'I' THEN 'INSERT' WHEN 'U' THEN 'UPDATE' WHEN 'D' THEN 'DELETE' END,
           CASE WHEN c.op <> 'D' THEN c.payload END,
           coalesce(b.source_id, 'server'), coalesce(b.source_bundle_id, b.bundle_id), b.sealed_at
      FROM (SELECT l.*, sum(l.byte_count::float8) OVER (ORDER BY l.bundle_seq ROWS UNBOUNDED PRECEDING) - l.byte_count AS bytes_before
              FROM tide.bundle_log AS l
             WHERE l.bucket_id = bucket_bundles.bucket COLLATE "C" AND l.bundle_seq > bucket_bundles.after_seq AND l.bundle_seq <= bucket_bundles.last_seq
             ORDER BY l.bundle_seq
             LIMIT bucket_bundles.max_bundles) AS b
      -- A bundle without changes says that the user's access changed.
      LEFT JOIN LATERAL tide.bundle_changes(b.xid, b.consecutive, b.min_change_id, b.max_change_id, b.changes, b.ops) AS c ON true
      CROSS JOIN LATERAL tide.name_of(c.table_id) AS s
     WHERE bucket_bundles.max_bundles IS NULL OR b.bytes_before = 0 OR b.bytes_before + b.byte_count <= bucket_bundles.max_bytes;
END;
COMMENT ON FUNCTION tide.bucket_bundles(text, bigint, bigint, integer, bigint) IS
'Bundles of a bucket with their changes, in order: those that fit, or all of them without max_bundles. Internal.';
-- +goose StatementEnd

-- +goose StatementBegin
-- Where rows moved because of other tables, only all bundles of the seal are what the rules say. In a long seal
-- they are moved by its last step.
CREATE OR REPLACE FUNCTION tide.pull_end(
    bucket text, after_seq bigint, target_seq bigint, max_bundles integer, max_bytes bigint,
    OUT floor_seq bigint, OUT head_seq bigint, OUT last_seq bigint, OUT whole boolean
)
    LANGUAGE plpgsql STABLE SECURITY DEFINER
    SET search_path = pg_catalog, pg_temp
    SET plan_cache_mode = force_generic_plan
    SET enable_seqscan = off SET enable_bitmapscan = off SET max_parallel_workers_per_gather = 0 SET jit = off
AS $$
#variable_conflict use_variable
DECLARE
    v_last record;
BEGIN
    PERFORM tide.check_page(max_bundles, max_bytes);
    SELECT p.floor_seq, p.head_seq INTO floor_seq, head_seq FROM tide.bucket_position(bucket) AS p;
    IF after_seq IS NULL OR after_seq < floor_seq OR after_seq > head_seq THEN
        RAISE EXCEPTION 'bundles after position % of bucket % are not in the log', coalesce(after_seq::text, 'NULL'), bucket
            USING ERRCODE = 'TD014',
                  DETAIL  = format('Its log goes from %s to %s.', floor_seq, head_seq),
                  HINT    = 'Take a snapshot of the bucket, and go on from its position.';
    END IF;
    last_seq := least(coalesce(nullif(target_seq, 0), head_seq), head_seq);
    whole := false;
    IF NOT EXISTS (SELECT FROM tide.bucket_source) THEN
        RETURN;
    END IF;
    SELECT p.bundle_seq, s.last_bundle_id, s.has_derived
      INTO v_last
      FROM (SELECT b.bundle_seq, b.seal_id
              FROM (SELECT l.bundle_seq, l.seal_id, l.byte_count, sum(l.byte_count::float8) OVER (ORDER BY l.bundle_seq ROWS UNBOUNDED PRECEDING) - l.byte_count AS bytes_before
                      FROM tide.bundle_log AS l
                     WHERE l.bucket_id = bucket COLLATE "C" AND l.bundle_seq > after_seq AND l.bundle_seq <= last_seq
                     ORDER BY l.bundle_seq LIMIT max_bundles) AS b
             WHERE b.bytes_before = 0 OR b.bytes_before + b.byte_count <= max_bytes
             ORDER BY b.bundle_seq DESC LIMIT 1) AS p
     CROSS JOIN LATERAL (SELECT w.last_bundle_id, w.has_derived FROM tide.seal_log AS w WHERE w.seal_id >= p.seal_id AND w.cut_change_id IS NULL ORDER BY w.seal_id LIMIT 1) AS s;
    IF v_last.has_derived THEN
        whole := true;
        last_seq := coalesce((SELECT l.bundle_seq - 1 FROM tide.bundle_log AS l
                               WHERE l.bucket_id = bucket COLLATE "C" AND l.bundle_seq > v_last.bundle_seq AND l.bundle_seq <= last_seq AND l.bundle_id + 0 > v_last.last_bundle_id
                               ORDER BY l.bundle_seq LIMIT 1), last_seq);
    END IF;
END;
$$;
COMMENT ON FUNCTION tide.pull_end(text, bigint, bigint, integer, bigint) IS
'Where a page of a bucket may end at the latest, and whether all up to there belongs to it, whatever its size. Raises TD014, TD018. Internal.';
-- +goose StatementEnd

-- +goose StatementBegin
-- A page is as many whole bundles as fit, at least one. Rows come in the order of the log because nested
-- loops alone are allowed: to sort them, with their payloads, would cost more than to find them.
CREATE OR REPLACE FUNCTION tide.pull(
    bucket_id         text,
    after_bundle_seq  bigint  DEFAULT 0,
    max_bundles       integer DEFAULT 1000,
    max_bytes         bigint  DEFAULT 8388608,
    target_bundle_seq bigint  DEFAULT NULL
)
    RETURNS TABLE (
        bundle_id bigint, bundle_seq bigint, bucket_ids text[], row_ordinal bigint, table_schema text, table_name text,
        key json, op text, payload json, source_id text, source_bundle_id bigint, sealed_at timestamptz
    )
    LANGUAGE plpgsql STABLE SECURITY DEFINER
    SET search_path = pg_catalog, pg_temp
    SET plan_cache_mode = force_generic_plan
    SET enable_hashjoin = off SET enable_mergejoin = off SET enable_seqscan = off SET enable_bitmapscan = off SET max_parallel_workers_per_gather = 0 SET jit = off
    SET work_mem = '16MB' -- a page
AS $$
#variable_conflict use_column
DECLARE
    v_end record;
BEGIN
    SELECT * INTO v_end FROM tide.pull_end(pull.bucket_id, after_bundle_seq, target_bundle_seq, max_bundles, max_bytes);
    RETURN QUERY
    SELECT b.bundle_id, b.bundle_seq, ARRAY[pull.bucket_id], coalesce(b.nth - 1, 0), b.table_schema, b.table_name, b.row_key::json, b.op, b.payload,
           b.source_id, b.source_bundle_id, b.sealed_at
      FROM tide.bucket_bundles(pull.bucket_id, after_bundle_seq, v_end.last_seq, CASE WHEN NOT v_end.whole THEN max_bundles END, max_bytes) AS b;
END;
$$;
COMMENT ON FUNCTION tide.pull(text, bigint, integer, bigint, bigint) IS
'Whole bundles of one bucket after a position, in order, one row per change; at most max_bundles, and no more than max_bytes of payload unless the first alone is larger, or rows moved between buckets within it. A bundle without changes, one row with key NULL, says that the access of the user changed. Never writes. Raises TD014 when the log does not reach back to the position, TD018.';
-- +goose StatementEnd

-- +goose StatementBegin
-- First which bundles: from bundle_log alone, at most a page of each bucket. Then what they hold for
-- all the buckets together: a row that leaves one of them and stays in another is an update.
CREATE OR REPLACE FUNCTION tide.pull(
    buckets          text[],
    after_bundle_id  bigint  DEFAULT 0,
    max_bundles      integer DEFAULT 1000,
    max_bytes        bigint  DEFAULT 8388608,
    target_bundle_id bigint  DEFAULT NULL
)
    RETURNS TABLE (
        bundle_id bigint, bundle_seq bigint, bucket_ids text[], row_ordinal bigint, table_schema text, table_name text,
        key json, op text, payload json, source_id text, source_bundle_id bigint, sealed_at timestamptz
    )
    LANGUAGE plpgsql STABLE SECURITY DEFINER
    SET search_path = pg_catalog, pg_temp
    SET plan_cache_mode = force_generic_plan
    SET enable_hashjoin = off SET enable_mergejoin = off SET enable_seqscan = off SET max_parallel_workers_per_gather = 0 SET jit = off
AS $$
#variable_conflict use_column
DECLARE
    v_buckets text[] COLLATE "C" := ARRAY(SELECT DISTINCT b FROM unnest(buckets) AS b);
    v_head    bigint := tide.head();
    v_target  bigint := least(coalesce(nullif(target_bundle_id, 0), v_head), v_head);
    v_lost    text;
BEGIN
    PERFORM tide.check_page(max_bundles, max_bytes);
    SELECT string_agg(format('%s (from %s)', f.bucket_id, f.floor_bundle_id), ', ')
      INTO v_lost
      FROM (SELECT u.bucket_id, n.floor_bundle_id
              FROM unnest(v_buckets) AS u (bucket_id)
             CROSS JOIN LATERAL (
                       SELECT b.floor_bundle_id, b.reason FROM tide.bucket_floor AS b
                        WHERE b.bucket_id = u.bucket_id ORDER BY b.floor_seq DESC LIMIT 1) AS n
             WHERE n.reason <> 'born' AND n.floor_bundle_id > after_bundle_id
             ORDER BY u.bucket_id LIMIT 10) AS f;
    IF v_lost IS NOT NULL OR after_bundle_id IS NULL OR after_bundle_id > v_head THEN
        RAISE EXCEPTION 'bundles after position % are not in the log for every bucket', coalesce(after_bundle_id::text, 'NULL')
            USING ERRCODE = 'TD014',
                  DETAIL  = coalesce('Missing: ' || v_lost || '.', format('The log ends at %s.', v_head)),
                  HINT    = 'Take a snapshot of these buckets, and go on from its position.';
    END IF;
    RETURN QUERY
    WITH candidate AS MATERIALIZED (
        SELECT k.bundle_id, sum(k.byte_count)::bigint AS byte_count
          FROM unnest(v_buckets) AS u (bucket_id)
         CROSS JOIN LATERAL (
                   SELECT l.bundle_id, l.byte_count
                     FROM tide.bundle_log AS l
                    WHERE l.bucket_id = u.bucket_id AND l.bundle_id > after_bundle_id AND l.bundle_id <= v_target
                    ORDER BY l.bundle_id LIMIT max_bundles) AS k
         GROUP BY k.bundle_id
         ORDER BY k.bundle_id LIMIT max_bundles
    ), page AS MATERIALIZED (
        SELECT p.bundle_id
          FROM (SELECT c.bundle_id, c.byte_count, sum(c.byte_count) OVER (ORDER BY c.bundle_id) - c.byte_count AS bytes_before FROM candidate AS c) AS p
         WHERE p.bytes_before = 0 OR p.bytes_before + p.byte_count <= max_bytes
    ), part AS MATERIALIZED (
        SELECT l.*
          FROM page AS p
          JOIN tide.bundle_log AS l ON l.bundle_id = p.bundle_id AND l.bucket_id = ANY (v_buckets)
    ), entry AS (
        SELECT p.bundle_id, p.xid, e.change_id, bool_or(e.op <> 'I') AS before, bool_or(e.op <> 'D') AS after,
               array_agg(p.bucket_id::text ORDER BY p.bucket_id) FILTER (WHERE e.op <> 'D') AS holding,
               array_agg(p.bucket_id::text ORDER BY p.bucket_id) AS touched,
               min(p.source_id) AS source_id, min(p.source_bundle_id) AS source_bundle_id, min(p.sealed_at) AS sealed_at
          FROM part AS p
         CROSS JOIN LATERAL unnest(p.changes, p.ops) AS e (change_id, op)
         GROUP BY p.bundle_id, p.xid, e.change_id
    )
    SELECT e.bundle_id, NULL::bigint, coalesce(e.holding, o.others, e.touched),
           row_number() OVER (PARTITION BY e.bundle_id ORDER BY e.change_id) - 1,
           s.table_schema, s.table_name, c.row_key::json,
           CASE WHEN (e.after OR o.others <> '{}') AND (e.before OR c.old_buckets && v_buckets) THEN 'UPDATE' WHEN e.after THEN 'INSERT' ELSE 'DELETE' END,
           CASE WHEN e.after OR o.others <> '{}' THEN c.payload END,
           coalesce(e.source_id, 'server'), coalesce(e.source_bundle_id, e.bundle_id), e.sealed_at
      FROM entry AS e
     -- One by one, by the key: statistics of many small transactions suggest worse.
     CROSS JOIN LATERAL (SELECT l.* FROM tide.change_log AS l WHERE l.xid = e.xid AND l.change_id = e.change_id OFFSET 0) AS c
     -- Buckets it stays in are not told again.
     CROSS JOIN LATERAL (SELECT nullif(ARRAY(SELECT b FROM unnest(c.buckets) AS b WHERE b = ANY (v_buckets) ORDER BY b COLLATE "C"), '{}') AS others) AS o
      JOIN tide.synced_table AS s ON s.table_id = c.table_id
     ORDER BY e.bundle_id, e.change_id;
END;
$$;
COMMENT ON FUNCTION tide.pull(text[], bigint, integer, bigint, bigint) IS
'Whole bundles over a set of buckets after a bundle_id, each once, in causal order, one row per change; bounded like the other form. Never writes. Raises TD014 when the log does not reach back to the position for every bucket, TD018.';
-- +goose StatementEnd

-- +goose StatementBegin
-- The floor keeps readers from going on past something that the log does not tell. A device that pushed
-- asks for the answer that got lost, and must get it however late: else it would push again.
CREATE OR REPLACE FUNCTION tide.bundle_rows(
    bucket            text,
    seq               bigint,
    after_row_ordinal bigint  DEFAULT -1,
    max_rows          integer DEFAULT 1000,
    pushed_by_user    text    DEFAULT NULL,
    pushed_by_source  text    DEFAULT NULL
)
    RETURNS TABLE (
        bundle_id bigint, bundle_seq bigint, bucket_ids text[], row_ordinal bigint, table_schema text, table_name text,
        key json, op text, payload json, source_id text, source_bundle_id bigint, sealed_at timestamptz
    )
    LANGUAGE plpgsql STABLE SECURITY DEFINER
    SET search_path = pg_catalog, pg_temp
    SET plan_cache_mode = force_generic_plan
    SET enable_hashjoin = off SET enable_mergejoin = off SET enable_seqscan = off SET enable_bitmapscan = off SET max_parallel_workers_per_gather = 0 SET jit = off
AS $$
#variable_conflict use_column
DECLARE
    v_bundle tide.bundle_log;
    v_first  bigint := after_row_ordinal + 2;
    v_last   bigint;
    v_there  boolean;
BEGIN
    IF max_rows IS NULL OR max_rows < 1 OR after_row_ordinal IS NULL OR after_row_ordinal < -1 THEN
        RAISE EXCEPTION 'page of a bundle is not valid'
            USING ERRCODE = 'TD018', HINT = 'max_rows is at least 1, after_row_ordinal at least -1.';
    END IF;
    SELECT l.* INTO v_bundle
      FROM tide.bundle_log AS l
     WHERE l.bucket_id = bundle_rows.bucket COLLATE "C" AND l.bundle_seq = bundle_rows.seq AND l.bundle_id + 0 <= (SELECT tide.head());
    -- A query only where it is asked for.
    v_there := v_bundle.bundle_id IS NOT NULL;
    IF v_there AND (v_bundle.user_id = pushed_by_user AND v_bundle.source_id = pushed_by_source) IS NOT TRUE THEN
        v_there := NOT EXISTS (SELECT FROM tide.bucket_floor AS f WHERE f.bucket_id = bundle_rows.bucket AND f.floor_seq >= seq);
    END IF;
    IF NOT v_there THEN
        RAISE EXCEPTION 'bucket % has no bundle % in the log', bucket, seq
            USING ERRCODE = 'TD014',
                  DETAIL  = (SELECT format('Its log goes from %s to %s.', p.floor_seq, p.head_seq) FROM tide.bucket_position(bucket) AS p),
                  HINT    = 'Take a snapshot of the bucket, and go on from its position.';
    END IF;
    v_last := least(after_row_ordinal + 1 + max_rows, cardinality(v_bundle.changes));
    RETURN QUERY
    SELECT v_bundle.bundle_id, v_bundle.bundle_seq, ARRAY[v_bundle.bucket_id::text], after_row_ordinal + p.nth, p.table_schema, p.table_name, p.key, p.op, p.payload,
           p.source_id, p.source_bundle_id, v_bundle.sealed_at
      FROM tide.bundle_page(v_bundle, v_first, v_last) AS p;
END;
$$;
COMMENT ON FUNCTION tide.bundle_rows(text, bigint, bigint, integer, text, text) IS
'A page of the changes of one bundle, for bundles too large to be taken at once; row_ordinal counts from 0. Bundles that this user and source pushed are given also below the floor. Never writes. Raises TD014, TD018.';
-- +goose StatementEnd

-- +goose StatementBegin
-- What a runtime tells those who wait for news. A bundle's rows are read all or not at all (WITH TIES), so
-- that the next page can go on after a bundle_id. Adoption gives a bucket that was never sealed a
-- position without a bundle: the floor stands for it.
CREATE OR REPLACE FUNCTION tide.sealed_after(after_bundle_id bigint, max_rows integer DEFAULT 1000)
    RETURNS TABLE (bundle_id bigint, bucket_id text, bundle_seq bigint, source_id text, source_bundle_id bigint)
    LANGUAGE plpgsql STABLE SECURITY DEFINER
    SET search_path = pg_catalog, pg_temp
    SET plan_cache_mode = force_generic_plan
    SET enable_seqscan = off SET enable_bitmapscan = off SET max_parallel_workers_per_gather = 0 SET jit = off
AS $$
#variable_conflict use_column
DECLARE
    v_head bigint := tide.head();
BEGIN
    PERFORM tide.check_page(max_rows, 1);
    IF after_bundle_id IS NULL OR after_bundle_id > v_head THEN
        RAISE EXCEPTION 'the log does not go up to bundle %', coalesce(after_bundle_id::text, 'NULL')
            USING ERRCODE = 'TD014',
                  DETAIL  = format('Its last bundle is %s.', v_head),
                  HINT    = 'An earlier state was restored. Begin anew at tide.head().';
    END IF;
    RETURN QUERY
    SELECT n.bundle_id, n.bucket_id::text, n.bundle_seq, coalesce(n.source_id, 'server'), coalesce(n.source_bundle_id, n.bundle_id)
      FROM ((SELECT b.bundle_id, b.bucket_id, b.bundle_seq, b.source_id, b.source_bundle_id
               FROM tide.bundle_log AS b
              WHERE b.bundle_id > after_bundle_id AND b.bundle_id <= v_head
              ORDER BY b.bundle_id
              FETCH FIRST max_rows ROWS WITH TIES)
              UNION ALL
            (SELECT f.floor_bundle_id, f.bucket_id, f.floor_seq, NULL, NULL
               FROM tide.bucket_floor AS f
              WHERE f.reason = 'adopted' AND f.floor_bundle_id > after_bundle_id AND f.floor_bundle_id <= v_head
              ORDER BY f.floor_bundle_id
              FETCH FIRST max_rows ROWS WITH TIES)) AS n
     ORDER BY n.bundle_id
     FETCH FIRST max_rows ROWS WITH TIES;
END;
$$;
COMMENT ON FUNCTION tide.sealed_after(bigint, integer) IS
'Where each bucket got to by the bundles after a bundle_id, in their order; about max_rows rows, the last bundle whole. Raises TD014 when the log does not go up to that bundle, TD018.';
-- +goose StatementEnd

-- +goose StatementBegin
CREATE OR REPLACE FUNCTION tide.key_text(table_name regclass, key jsonb)
    RETURNS text
    LANGUAGE plpgsql STABLE
    SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    v_table tide.synced_table := (SELECT s FROM tide.synced_table AS s WHERE s.relation = key_text.table_name);
    v_key   text;
BEGIN
    IF v_table.table_id IS NULL THEN
        v_table := tide.registered_table(key_text.table_name);
    END IF;
    -- Values may be given as JSON numbers or as text: the log has text.
    SELECT '{' || string_agg(to_json(k.name)::text || ':' || to_json(key ->> k.name)::text, ',' ORDER BY k.ordinal) || '}'
      INTO v_key
      FROM unnest(v_table.key_columns) WITH ORDINALITY AS k (name, ordinal);
    IF v_key IS NULL THEN
        RAISE EXCEPTION 'key does not fit table %', table_name
            USING ERRCODE = 'TD003',
                  DETAIL  = format('Given: %s.', key),
                  HINT    = format('Its key columns are: %s.', array_to_string(v_table.key_columns, ', '));
    END IF;
    RETURN v_key;
END;
$$;
COMMENT ON FUNCTION tide.key_text(regclass, jsonb) IS 'Key of a row as the log has it. Raises TD003, TD009. Internal.';
-- +goose StatementEnd

-- +goose StatementBegin
CREATE OR REPLACE FUNCTION tide.row_history(table_name regclass, key jsonb)
    RETURNS TABLE (change_id bigint, xid xid8, bundle_id bigint, op text, buckets text[], old_buckets text[], payload json, source_id text, source_bundle_id bigint, sealed_at timestamptz)
    LANGUAGE plpgsql STABLE SECURITY DEFINER
    SET search_path = pg_catalog, pg_temp
    SET enable_seqscan = off SET enable_bitmapscan = off SET jit = off
AS $$
#variable_conflict use_column
DECLARE
    v_key      text COLLATE "C" := tide.key_text(table_name, key);
    v_table_id integer := (SELECT s.table_id FROM tide.synced_table AS s WHERE s.relation = row_history.table_name);
BEGIN
    RETURN QUERY
    SELECT c.change_id, c.xid, b.bundle_id,
           CASE c.op WHEN 'I' THEN 'INSERT' WHEN 'U' THEN 'UPDATE' WHEN 'D' THEN 'DELETE' WHEN 'M' THEN 'MOVE' WHEN 'R' THEN 'JUDGE' ELSE 'READ' END,
           c.buckets, c.old_buckets, c.payload,
           CASE WHEN b.bundle_id IS NOT NULL THEN coalesce(b.source_id, 'server') END, coalesce(b.source_bundle_id, b.bundle_id), b.sealed_at
      FROM (SELECT k.xid, k.change_id FROM tide.key_log AS k WHERE k.key_hash = hashtextextended(v_key, v_table_id)
             UNION
            SELECT u.xid, u.change_id FROM tide.unsealed_changes() AS u WHERE u.key_hash = hashtextextended(v_key, v_table_id)) AS k
     CROSS JOIN LATERAL (SELECT l.* FROM tide.change_log AS l WHERE l.xid = k.xid AND l.change_id = k.change_id OFFSET 0) AS c
      LEFT JOIN LATERAL (
               SELECT l.* FROM tide.bundle_log AS l
                WHERE l.bundle_id = (SELECT tide.position_of(c.xid)) AND l.xid = c.xid
                LIMIT 1) AS b ON true
     WHERE c.table_id = v_table_id AND c.row_key = v_key
     ORDER BY c.change_id;
END;
$$;
COMMENT ON FUNCTION tide.row_history(regclass, jsonb) IS 'Everything the log holds about one row, oldest first: SELECT * FROM tide.row_history(''app.task'', ''{"id": 42}''). bundle_id is NULL while a change is not sealed. op is INSERT, UPDATE, DELETE; READ where a seal read the row again, MOVE where its buckets changed because of other tables, JUDGE where that was asked for. Raises TD003, TD009.';
-- +goose StatementEnd

-- +goose StatementBegin
CREATE OR REPLACE VIEW tide.bundles AS
SELECT b.bundle_id, b.bucket_id, b.bundle_seq, b.xid, b.seal_id, cardinality(b.changes) AS change_count, b.byte_count,
       coalesce(b.source_id, 'server') AS source_id, coalesce(b.source_bundle_id, b.bundle_id) AS source_bundle_id, b.user_id, b.label, b.sealed_at, b.traceparent
  FROM tide.bundle_log AS b
 WHERE b.bundle_id <= (SELECT tide.head());
COMMENT ON VIEW tide.bundles IS 'Every sealed transaction, one row for each bucket it touched. A bundle of label reset has no changes: it stands for a snapshot that devices must take.';
-- +goose StatementEnd

-- +goose StatementBegin
CREATE OR REPLACE VIEW tide.changes AS
SELECT b.bundle_id, b.bundle_seq, b.bucket_id, e.nth - 1 AS row_ordinal, s.table_schema, s.table_name, c.row_key::json AS key,
       CASE e.op WHEN 'I' THEN 'INSERT' WHEN 'U' THEN 'UPDATE' ELSE 'DELETE' END AS op,
       CASE WHEN e.op <> 'D' THEN c.payload END AS payload,
       coalesce(b.source_id, 'server') AS source_id, coalesce(b.source_bundle_id, b.bundle_id) AS source_bundle_id, b.sealed_at,
       c.change_id, b.xid
  FROM tide.bundle_log AS b
 CROSS JOIN LATERAL unnest(b.changes, b.ops) WITH ORDINALITY AS e (change_id, op, nth)
 CROSS JOIN LATERAL (
           SELECT l.* FROM tide.change_log AS l
            WHERE l.xid = b.xid AND l.change_id = e.change_id AND l.change_id BETWEEN b.min_change_id AND b.max_change_id
           OFFSET 0) AS c
  JOIN tide.synced_table AS s ON s.table_id = c.table_id
 WHERE b.bundle_id <= (SELECT tide.head());
COMMENT ON VIEW tide.changes IS 'What devices get: one row per bundle, bucket and surviving change.';
-- +goose StatementEnd

-- +goose StatementBegin
CREATE OR REPLACE VIEW tide.tables AS
SELECT s.table_id, s.relation, s.table_schema, s.table_name, s.key_columns, s.sync_columns, tide.describe_rule(s) AS rule, s.on_capture_error, s.registered_at
  FROM tide.synced_table AS s
 WHERE s.unregistered_at IS NULL;
COMMENT ON VIEW tide.tables IS 'Registered tables, and the names by which devices know them.';
-- +goose StatementEnd

-- +goose StatementBegin
CREATE OR REPLACE VIEW tide.buckets AS
SELECT k.bucket_id, p.floor_seq, p.head_seq, l.bundle_id AS last_bundle_id, l.sealed_at AS last_sealed_at, k.born_at
  FROM (SELECT f.bucket_id, min(f.created_at) AS born_at FROM tide.bucket_floor AS f GROUP BY f.bucket_id) AS k
 CROSS JOIN LATERAL tide.bucket_position(k.bucket_id) AS p
  LEFT JOIN LATERAL (
           SELECT b.bundle_id, b.sealed_at FROM tide.bundle_log AS b
            WHERE b.bucket_id = k.bucket_id AND b.bundle_id <= (SELECT tide.head())
            ORDER BY b.bundle_id DESC LIMIT 1) AS l ON true;
COMMENT ON VIEW tide.buckets IS 'Every bucket, from where and up to where its log can be read.';
-- +goose StatementEnd

-- +goose StatementBegin
-- Counted range by range: joined with all ranges at once, the whole log is read when nothing was analysed yet.
CREATE OR REPLACE VIEW tide.lag AS
SELECT (SELECT coalesce(sum(n.changes), 0)::bigint
          FROM tide.sealable_ranges(c.snap) AS r
         CROSS JOIN LATERAL (SELECT count(*) AS changes FROM tide.change_log AS l WHERE l.xid > r.above AND l.xid < r.below) AS n) AS unsealed_changes,
       clock_timestamp() - s.sealed_at AS since_last_seal,
       s.cut_change_id IS NOT NULL AS seal_in_progress,
       (SELECT min(x) FROM pg_snapshot_xip(pg_current_snapshot()) AS x) AS oldest_open_xid,
       (SELECT min(a.xact_start) FROM pg_catalog.pg_stat_activity AS a WHERE a.backend_xid IS NOT NULL AND a.pid <> pg_backend_pid()) AS oldest_open_since
  FROM (SELECT * FROM tide.seal_log AS l ORDER BY l.seal_id DESC LIMIT 1) AS s
 CROSS JOIN LATERAL (SELECT * FROM tide.seal_log AS l WHERE l.cut_change_id IS NULL ORDER BY l.seal_id DESC LIMIT 1) AS c;
COMMENT ON VIEW tide.lag IS 'What is committed but not sealed yet. A transaction that is still open delays only its own changes.';
-- +goose StatementEnd

-- +goose StatementBegin
CREATE OR REPLACE FUNCTION tide.home_bucket(user_id text)
    RETURNS text
    LANGUAGE sql IMMUTABLE PARALLEL SAFE
    RETURN 'user:' || user_id;
COMMENT ON FUNCTION tide.home_bucket(text) IS 'The bucket of a user''s own rows.';
-- +goose StatementEnd

-- +goose StatementBegin
CREATE OR REPLACE FUNCTION tide.set_bucket_access(access_function text)
    RETURNS void
    LANGUAGE plpgsql
    SET search_path = pg_catalog, pg_temp SET jit = off
AS $$
DECLARE
    v_function regprocedure;
    v_problem  text;
BEGIN
    IF access_function IS NOT NULL THEN
        -- Either a name, or a signature as regprocedure prints it.
        v_function := to_regprocedure(CASE WHEN strpos(access_function, '(') > 0 THEN access_function ELSE access_function || '(text)' END);
        SELECT CASE
                   WHEN v_function IS NULL THEN 'There is no such function.'
                   WHEN p.pronargs <> 1 OR p.proargtypes[0] <> 'text'::regtype THEN 'Its one argument must be the user, text.'
                   WHEN p.prokind <> 'f' OR p.prorettype <> CASE WHEN p.proretset THEN 'text'::regtype ELSE 'text[]'::regtype END THEN 'It must return SETOF text or text[].'
                   WHEN p.provolatile = 'v' THEN 'It must be STABLE: it is asked at every request, also on a standby.'
                   WHEN NOT has_function_privilege('tide_owner', p.oid, 'EXECUTE') THEN 'tide_owner may not execute it.'
               END
          INTO v_problem
          FROM (SELECT v_function AS oid) AS f LEFT JOIN pg_proc AS p ON p.oid = f.oid;
        IF v_problem IS NOT NULL THEN
            RAISE EXCEPTION 'access function % cannot be used', access_function
                USING ERRCODE = 'TD031',
                      DETAIL  = v_problem,
                      HINT    = CASE WHEN v_problem ~ 'may not execute' THEN format('GRANT EXECUTE ON FUNCTION %s TO tide_owner;', v_function)
                                     ELSE 'Write it as: CREATE FUNCTION my_schema.buckets(user_id text) RETURNS SETOF text LANGUAGE sql STABLE AS ..., and name it, and what it reads, with the schema.' END;
        END IF;
    END IF;
    UPDATE tide.setting AS s SET bucket_access = v_function::text;
END;
$$;
COMMENT ON FUNCTION tide.set_bucket_access(text) IS
'Names the function that says which buckets a user may read, beside his home bucket: my_schema.buckets(user_id text), STABLE, returning SETOF text or text[]. It is asked at every request and runs as tide_owner. NULL is the standard: the home bucket and global. Raises TD031.';
-- +goose StatementEnd

-- +goose StatementBegin
-- The one place that says what a user may read. It fails closed: a function that raises hides everything.
CREATE OR REPLACE FUNCTION tide.buckets_of(user_id text)
    RETURNS text[]
    LANGUAGE plpgsql STABLE SECURITY DEFINER
    SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    v_setting tide.setting := (SELECT s FROM tide.setting AS s);
    v_set     boolean;
    v_found   text[];
    v_buckets text[];
    v_problem text;
BEGIN
    IF v_setting.bucket_access IS NULL THEN
        RETURN ARRAY['global', tide.home_bucket(user_id)];
    END IF;
    BEGIN
        SELECT p.proretset INTO STRICT v_set FROM pg_proc AS p WHERE p.oid = v_setting.bucket_access::regprocedure;
        EXECUTE format(CASE WHEN v_set THEN 'SELECT array_agg(b) FROM %s($1) AS b' ELSE 'SELECT %s($1)' END, v_setting.bucket_access::regprocedure::regproc) INTO v_found USING user_id;
    EXCEPTION
        WHEN OTHERS THEN
            IF tide.is_retryable(sqlstate) THEN
                RAISE;
            END IF;
            -- Its text may hold what nobody else should read.
            v_problem := format('It raised %s.', sqlstate);
    END;
    IF v_problem IS NULL THEN
        v_buckets := ARRAY(SELECT b FROM unnest(v_found || tide.home_bucket(user_id)) AS b WHERE b IS NOT NULL GROUP BY b ORDER BY b COLLATE "C");
        SELECT CASE
                   WHEN count(*) > v_setting.max_buckets_per_user THEN format('It returned %s buckets, at most %s are allowed.', count(*), v_setting.max_buckets_per_user)
                   WHEN min(octet_length(b)) = 0 OR max(octet_length(b)) > 512 THEN 'A bucket name has 1 to 512 bytes.'
               END
          INTO v_problem
          FROM unnest(v_buckets) AS b;
    END IF;
    IF v_problem IS NOT NULL THEN
        RAISE EXCEPTION 'the access function % failed', v_setting.bucket_access
            USING ERRCODE = 'TD032', DETAIL = v_problem, HINT = 'Mend it, or name another one with tide.set_bucket_access. Until then nobody reads.';
    END IF;
    RETURN v_buckets;
END;
$$;
COMMENT ON FUNCTION tide.buckets_of(text) IS
'Buckets that a user may read now, sorted by bytes: his home bucket, and what the function named with tide.set_bucket_access says, or global without one. Raises TD032.';
-- +goose StatementEnd

-- +goose StatementBegin
CREATE OR REPLACE FUNCTION tide.assert_buckets(user_id text, buckets text[])
    RETURNS void
    LANGUAGE plpgsql STABLE SECURITY DEFINER
    SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    -- Not in the query: the planner would call it too, to estimate rows.
    v_may text[] := tide.buckets_of(user_id);
BEGIN
    IF EXISTS (SELECT unnest(buckets) EXCEPT SELECT unnest(v_may)) THEN
        RAISE EXCEPTION 'not all of these buckets are this user''s'
            USING ERRCODE = 'TD134', HINT = 'Connect again: its answer says which are.';
    END IF;
END;
$$;
COMMENT ON FUNCTION tide.assert_buckets(text, text[]) IS 'Raises TD134 unless a user may read all of these buckets now, TD032.';
-- +goose StatementEnd

-- +goose StatementBegin
CREATE OR REPLACE FUNCTION tide.scope_state(user_id text)
    RETURNS text
    LANGUAGE plpgsql STABLE SECURITY DEFINER
    SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    RETURN (
        SELECT CASE
                       WHEN EXISTS (SELECT FROM tide.scope AS s WHERE s.user_id = scope_state.user_id)
                            -- Rows of an existing application count as well.
                            OR EXISTS (SELECT FROM tide.bucket_floor AS b WHERE b.bucket_id = tide.home_bucket(scope_state.user_id)) THEN 'initialized'
                       WHEN EXISTS (SELECT FROM tide.scope_lease AS l WHERE l.user_id = scope_state.user_id AND l.expires_at > clock_timestamp()) THEN 'initializing'
                       ELSE 'uninitialized'
                   END);
END;
$$;
COMMENT ON FUNCTION tide.scope_state(text) IS 'How far a user''s home bucket is: uninitialized, initializing (a device holds the lease to fill it), or initialized.';
-- +goose StatementEnd

-- +goose StatementBegin
CREATE OR REPLACE FUNCTION tide.assert_scope(user_id text)
    RETURNS void
    LANGUAGE plpgsql STABLE SECURITY DEFINER
    SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    CASE tide.scope_state(user_id)
        WHEN 'initialized' THEN
            RETURN;
        WHEN 'initializing' THEN
            RAISE EXCEPTION 'another device is filling this home bucket'
                USING ERRCODE = 'TD109', HINT = 'Connect again when its lease has ended.';
        ELSE
            RAISE EXCEPTION 'this home bucket has not begun yet'
                USING ERRCODE = 'TD108', HINT = 'Connect first.';
    END CASE;
END;
$$;
COMMENT ON FUNCTION tide.assert_scope(text) IS 'Raises TD108 or TD109 unless the home bucket of a user has begun.';
-- +goose StatementEnd

-- +goose StatementBegin
CREATE OR REPLACE FUNCTION tide.replacement_of(user_id text, source_id text)
    RETURNS text
    LANGUAGE plpgsql STABLE SECURITY DEFINER
    SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    RETURN (
        SELECT r.new_source_id FROM tide.source_replacement AS r WHERE r.user_id = replacement_of.user_id AND r.source_id = replacement_of.source_id);
END;
$$;
COMMENT ON FUNCTION tide.replacement_of(text, text) IS 'The source under which a replaced one goes on, NULL for one that was not replaced.';
-- +goose StatementEnd

-- +goose StatementBegin
CREATE OR REPLACE FUNCTION tide.assert_source(user_id text, source_id text)
    RETURNS void
    LANGUAGE plpgsql STABLE SECURITY DEFINER
    SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    v_new text;
BEGIN
    IF coalesce(user_id, '') = '' OR octet_length(user_id) > 500 OR coalesce(btrim(source_id), '') = '' OR octet_length(source_id) > 512 THEN
        RAISE EXCEPTION 'user or source is not valid'
            USING ERRCODE = 'TD017', DETAIL = 'A user has 1 to 500 bytes, a source 1 to 512.', HINT = 'Give both.';
    END IF;
    v_new := tide.replacement_of(user_id, source_id);
    IF v_new IS NOT NULL THEN
        RAISE EXCEPTION 'this source was replaced'
            USING ERRCODE = 'TD114', DETAIL = format('It goes on as %s.', v_new), HINT = 'Push as the new source.';
    END IF;
END;
$$;
COMMENT ON FUNCTION tide.assert_source(text, text) IS 'Raises TD017 for names that cannot be, TD114 for a source that was replaced. Internal.';
-- +goose StatementEnd

-- +goose StatementBegin
CREATE OR REPLACE FUNCTION tide.source_kind(user_id text, source_id text)
    RETURNS text
    LANGUAGE plpgsql STABLE SECURITY DEFINER
    SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    RETURN coalesce((SELECT s.kind FROM tide.source AS s WHERE s.user_id = source_kind.user_id AND s.source_id = source_kind.source_id), 'v1');
END;
$$;
COMMENT ON FUNCTION tide.source_kind(text, text) IS 'v1 for a device that reads its home bucket, cursor for one that reads many.';
-- +goose StatementEnd

-- +goose StatementBegin
CREATE OR REPLACE FUNCTION tide.replace_source(user_id text, previous_source_id text, new_source_id text, reason text)
    RETURNS void
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    IF coalesce(new_source_id, '') = '' OR octet_length(new_source_id) > 512 OR new_source_id = previous_source_id
       OR reason IS NULL OR reason NOT IN ('history_pruned', 'source_sequence_out_of_order', 'source_sequence_changed', 'source_retired') THEN
        RAISE EXCEPTION 'replacement of a source is not valid'
            USING ERRCODE = 'TD123',
                  DETAIL  = 'The new source has another name of 1 to 512 bytes, the reason is history_pruned, source_sequence_out_of_order, source_sequence_changed or source_retired.',
                  HINT    = 'Send previous_source_id, new_source_id and reason.';
    END IF;
    IF tide.replacement_of(user_id, previous_source_id) = new_source_id THEN
        RETURN;
    END IF;
    PERFORM tide.assert_source(user_id, previous_source_id);
    IF EXISTS (SELECT FROM tide.source AS s WHERE s.user_id = replace_source.user_id AND s.source_id = replace_source.new_source_id)
       OR EXISTS (SELECT FROM tide.source_replacement AS r
                   WHERE r.user_id = replace_source.user_id AND replace_source.new_source_id IN (r.source_id, r.new_source_id)) THEN
        -- By the same request, sent twice, which was done in the meantime.
        IF tide.replacement_of(user_id, previous_source_id) = new_source_id THEN
            RETURN;
        END IF;
        RAISE EXCEPTION 'the new source is known already'
            USING ERRCODE = 'TD115', HINT = 'Name a source that was never used.';
    END IF;
    INSERT INTO tide.source_replacement (user_id, source_id, new_source_id, reason) VALUES (user_id, previous_source_id, new_source_id, reason)
        ON CONFLICT DO NOTHING;
    IF tide.replacement_of(user_id, previous_source_id) IS DISTINCT FROM new_source_id THEN
        PERFORM tide.assert_source(user_id, previous_source_id);
        RAISE EXCEPTION 'the new source is known already'
            USING ERRCODE = 'TD115', HINT = 'Name a source that was never used.';
    END IF;
    -- What it holds, it holds under the new name.
    INSERT INTO tide.source_buckets (user_id, source_id, fingerprint, held, written_at)
    SELECT b.user_id, replace_source.new_source_id, b.fingerprint, b.held, b.written_at
      FROM tide.source_buckets AS b WHERE b.user_id = replace_source.user_id AND b.source_id = replace_source.previous_source_id
        ON CONFLICT DO NOTHING;
    DELETE FROM tide.push_session AS p WHERE p.user_id = replace_source.user_id AND p.source_id = replace_source.previous_source_id;
END;
$$;
COMMENT ON FUNCTION tide.replace_source(text, text, text, text) IS 'Ends a source and reserves the name under which its device goes on; the same again changes nothing. Raises TD114, TD115, TD123.';
-- +goose StatementEnd

-- +goose StatementBegin
-- A device keeps what was registered when it came, also when it goes on under another name.
CREATE OR REPLACE FUNCTION tide.meet_source(user_id text, source_id text)
    RETURNS void
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    INSERT INTO tide.source (user_id, source_id, shape_id, kind)
    SELECT meet_source.user_id, meet_source.source_id,
           coalesce((SELECT o.shape_id
                       FROM tide.source_replacement AS r JOIN tide.source AS o ON o.user_id = r.user_id AND o.source_id = r.source_id
                      WHERE r.user_id = meet_source.user_id AND r.new_source_id = meet_source.source_id),
                    t.shape_id, tide.shape_of('{}')),
           coalesce((SELECT o.kind
                       FROM tide.source_replacement AS r JOIN tide.source AS o ON o.user_id = r.user_id AND o.source_id = r.source_id
                      WHERE r.user_id = meet_source.user_id AND r.new_source_id = meet_source.source_id), 'v1')
      FROM tide.setting AS t
        ON CONFLICT DO NOTHING;
END;
$$;
COMMENT ON FUNCTION tide.meet_source(text, text) IS 'Notes a device that is seen for the first time. Internal.';
-- +goose StatementEnd

-- +goose StatementBegin
CREATE OR REPLACE FUNCTION tide.set_source_kind(user_id text, source_id text, kind text)
    RETURNS void
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    UPDATE tide.source AS s SET kind = set_source_kind.kind
     WHERE s.user_id = set_source_kind.user_id AND s.source_id = set_source_kind.source_id AND s.kind <> set_source_kind.kind;
END;
$$;
COMMENT ON FUNCTION tide.set_source_kind(text, text, text) IS 'Notes whether a device reads its home bucket or many. Internal.';
-- +goose StatementEnd

-- +goose StatementBegin
CREATE OR REPLACE FUNCTION tide.source_shape(user_id text, source_id text)
    RETURNS jsonb
    LANGUAGE plpgsql STABLE SECURITY DEFINER
    SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    v_known jsonb;
    v_now   jsonb;
    v_gone  text;
BEGIN
    IF (SELECT t.shape_id = s.shape_id FROM tide.source AS s CROSS JOIN tide.setting AS t WHERE s.user_id = source_shape.user_id AND s.source_id = source_shape.source_id) IS NOT FALSE THEN
        RETURN NULL;
    END IF;
    SELECT k.tables, n.tables
      INTO v_known, v_now
      FROM tide.source AS s
      CROSS JOIN tide.setting AS t
      JOIN tide.shape AS k ON k.shape_id = s.shape_id
      JOIN tide.shape AS n ON n.shape_id = t.shape_id
     WHERE s.user_id = source_shape.user_id AND s.source_id = source_shape.source_id;
    SELECT string_agg(CASE WHEN v_now -> k.name IS NULL THEN k.name ELSE k.name || '.' || c.name END, ', ')
      INTO v_gone
      FROM jsonb_each(v_known) AS k (name, columns)
     CROSS JOIN LATERAL jsonb_array_elements_text(k.columns) AS c (name)
     WHERE v_now -> k.name IS NULL OR NOT jsonb_exists(v_now -> k.name, c.name);
    IF v_gone IS NOT NULL THEN
        RAISE EXCEPTION 'tables or columns that this device knows are gone'
            USING ERRCODE = 'TD014', DETAIL = format('Gone: %s.', left(v_gone, 500)), HINT = 'Take a snapshot: it is of what is left.';
    END IF;
    RETURN v_known;
END;
$$;
COMMENT ON FUNCTION tide.source_shape(text, text) IS
'Tables and columns that a device knows, when there are more by now; NULL when it knows all of them. Raises TD014 when some are gone.';
-- +goose StatementEnd

-- +goose StatementBegin
CREATE OR REPLACE FUNCTION tide.renew_shape(user_id text, source_id text)
    RETURNS jsonb
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    v_left jsonb;
BEGIN
    PERFORM tide.meet_source(user_id, source_id);
    SELECT coalesce(jsonb_object_agg(k.name, (SELECT coalesce(jsonb_agg(c.name ORDER BY c.name), '[]') FROM jsonb_array_elements_text(k.columns) AS c (name) WHERE jsonb_exists(n.tables -> k.name, c.name))), '{}')
      INTO v_left
      FROM tide.source AS s
      JOIN tide.setting AS t ON t.shape_id <> s.shape_id
      JOIN tide.shape AS n ON n.shape_id = t.shape_id
      JOIN tide.shape AS o ON o.shape_id = s.shape_id
     CROSS JOIN LATERAL jsonb_each(o.tables) AS k (name, columns)
     WHERE s.user_id = renew_shape.user_id AND s.source_id = renew_shape.source_id AND n.tables -> k.name IS NOT NULL;
    IF v_left = '{}' AND NOT EXISTS (SELECT FROM tide.source AS s JOIN tide.setting AS t ON t.shape_id <> s.shape_id
                                      WHERE s.user_id = renew_shape.user_id AND s.source_id = renew_shape.source_id) THEN
        RETURN NULL;
    END IF;
    UPDATE tide.source AS s SET shape_id = tide.shape_of(v_left)
     WHERE s.user_id = renew_shape.user_id AND s.source_id = renew_shape.source_id AND s.shape_id <> tide.shape_of(v_left);
    RETURN v_left;
END;
$$;
COMMENT ON FUNCTION tide.renew_shape(text, text) IS 'Takes what is gone out of what a device knows, as it fetches everything anew; NULL when it knows all there is. Internal.';
-- +goose StatementEnd

-- +goose StatementBegin
CREATE OR REPLACE FUNCTION tide.project_payload(payload json, columns jsonb)
    RETURNS json
    LANGUAGE sql IMMUTABLE PARALLEL SAFE
    SET search_path = pg_catalog, pg_temp
AS $$
    SELECT ('{' || string_agg(to_json(e.key)::text || ':' || e.value::text, ',' ORDER BY e.nth) || '}')::json
      FROM json_each(payload) WITH ORDINALITY AS e (key, value, nth)
     WHERE jsonb_exists(columns, e.key);
$$;
COMMENT ON FUNCTION tide.project_payload(json, jsonb) IS 'A payload with these columns alone; values keep their text.';
-- +goose StatementEnd

-- +goose StatementBegin
-- Ordinals count the rows that the device gets: for one that does not know every table, after the others
-- were left out.
CREATE OR REPLACE FUNCTION tide.device_bundle_rows(
    user_id           text,
    device            text,
    seq               bigint,
    after_row_ordinal bigint  DEFAULT -1,
    max_rows          integer DEFAULT 1000
)
    RETURNS TABLE (
        bundle_id bigint, row_ordinal bigint, table_schema text, table_name text,
        key json, op text, payload json, source_id text, source_bundle_id bigint, sealed_at timestamptz
    )
    LANGUAGE plpgsql STABLE STRICT SECURITY DEFINER
    SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    v_home  text := tide.home_bucket(user_id);
    v_shape jsonb := tide.source_shape(user_id, device);
BEGIN
    IF v_shape IS NULL THEN
        RETURN QUERY
        SELECT b.bundle_id, b.row_ordinal, b.table_schema, b.table_name, b.key, b.op, b.payload, b.source_id, b.source_bundle_id, b.sealed_at
          FROM tide.bundle_rows(v_home, seq, after_row_ordinal, max_rows, user_id, device) AS b;
        RETURN;
    END IF;
    RETURN QUERY
    SELECT r.bundle_id, r.nth, r.table_schema, r.table_name, r.key, r.op,
           tide.project_payload(r.payload, v_shape -> (r.table_schema || '.' || r.table_name)), r.source_id, r.source_bundle_id, r.sealed_at
      FROM (SELECT b.*, row_number() OVER (ORDER BY b.row_ordinal) - 1 AS nth
              FROM tide.bundle_rows(v_home, seq, -1, 2147483647, user_id, device) AS b
             WHERE jsonb_exists(v_shape, b.table_schema || '.' || b.table_name)) AS r
     WHERE r.nth > after_row_ordinal AND r.nth <= after_row_ordinal + max_rows
     ORDER BY r.nth;
END;
$$;
COMMENT ON FUNCTION tide.device_bundle_rows(text, text, bigint, bigint, integer) IS
'A page of the changes of one bundle of a user''s home bucket, as a device gets them: tables and columns that it does not know are left out. No bundle (NULL) has no rows. Raises TD014, TD018.';
-- +goose StatementEnd

-- +goose StatementBegin
CREATE OR REPLACE FUNCTION tide.assert_initialization(user_id text, source_id text, initialization_id uuid)
    RETURNS void
    LANGUAGE plpgsql STABLE SECURITY DEFINER
    SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    v_lease tide.scope_lease := (SELECT l FROM tide.scope_lease AS l WHERE l.user_id = assert_initialization.user_id);
BEGIN
    CASE tide.scope_state(user_id)
        WHEN 'initialized' THEN
            -- Also of a lease that others took over since: a device that is not told so would send it for ever.
            IF initialization_id IS NOT NULL THEN
                RAISE EXCEPTION 'somebody else has begun this home bucket meanwhile'
                    USING ERRCODE = 'TD110', HINT = 'Connect again.';
            END IF;
        WHEN 'initializing' THEN
            IF initialization_id IS NULL THEN
                RAISE EXCEPTION 'initialization_id is missing'
                    USING ERRCODE = 'TD101', HINT = 'Connect, and send the one it gives.';
            ELSIF v_lease.source_id <> source_id OR v_lease.initialization_id <> initialization_id THEN
                RAISE EXCEPTION 'this initialization_id is not that of the lease'
                    USING ERRCODE = 'TD110', HINT = 'Connect again.';
            END IF;
        ELSE
            IF initialization_id IS NOT NULL THEN
                RAISE EXCEPTION 'the lease to fill this home bucket has ended'
                    USING ERRCODE = 'TD111', HINT = 'Connect again.';
            END IF;
            PERFORM tide.assert_scope(user_id);
    END CASE;
END;
$$;
COMMENT ON FUNCTION tide.assert_initialization(text, text, uuid) IS 'Raises TD101, TD108 to TD111 unless a source may push now, with this initialization_id or without one. Internal.';
-- +goose StatementEnd

-- +goose StatementBegin
CREATE OR REPLACE FUNCTION tide.assert_open()
    RETURNS void
    LANGUAGE plpgsql STABLE SECURITY DEFINER
    SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    v_message text := (SELECT s.maintenance_message FROM tide.setting AS s);
BEGIN
    IF v_message IS NOT NULL THEN
        RAISE EXCEPTION 'devices have to wait' USING ERRCODE = 'TD129', DETAIL = v_message, HINT = 'Try again later.';
    END IF;
END;
$$;
COMMENT ON FUNCTION tide.assert_open() IS 'Raises TD129 during maintenance. Internal.';
-- +goose StatementEnd

-- +goose StatementBegin
CREATE OR REPLACE FUNCTION tide.connect(
    user_id text, source_id text, has_local_pending_rows boolean, many_buckets boolean DEFAULT false,
    OUT resolution text, OUT initialization_id uuid, OUT lease_expires_at timestamptz, OUT retry_after_seconds integer
)
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path = pg_catalog, pg_temp
AS $$
#variable_conflict use_column
DECLARE
    v_user   text COLLATE "C" := user_id;
    v_source text := source_id;
    v_lease  tide.scope_lease;
    v_now    timestamptz := clock_timestamp();
BEGIN
    PERFORM tide.assert_open();
    PERFORM tide.assert_source(v_user, v_source);
    PERFORM tide.meet_source(v_user, v_source);
    PERFORM tide.set_source_kind(v_user, v_source, CASE WHEN many_buckets THEN 'cursor' ELSE 'v1' END);
    IF tide.scope_state(v_user) <> 'initialized' THEN
        -- Rows that are not sealed yet begin a home bucket as well.
        PERFORM tide.seal();
    END IF;
    IF tide.scope_state(v_user) = 'initialized' THEN
        resolution := 'remote_authoritative';
        RETURN;
    END IF;
    -- The lease is taken, kept or refused in one statement: of two devices one gets it.
    INSERT INTO tide.scope_lease AS l (user_id, source_id, initialization_id, expires_at)
    SELECT v_user, v_source, gen_random_uuid(), v_now + s.initialization_lease_ttl
      FROM tide.setting AS s
        ON CONFLICT (user_id) DO UPDATE
       SET source_id = excluded.source_id,
           initialization_id = CASE WHEN l.source_id = excluded.source_id AND l.expires_at > v_now THEN l.initialization_id ELSE excluded.initialization_id END,
           expires_at = excluded.expires_at
     WHERE l.source_id = excluded.source_id OR l.expires_at <= v_now
    RETURNING l.* INTO v_lease;
    IF tide.scope_state(v_user) = 'initialized' THEN
        resolution := 'remote_authoritative';
    ELSIF v_lease.user_id IS NULL THEN
        SELECT l.* INTO v_lease FROM tide.scope_lease AS l WHERE l.user_id = v_user;
        resolution := 'retry_later';
        lease_expires_at := v_lease.expires_at;
        retry_after_seconds := greatest(1, least(30, ceil(extract(epoch FROM v_lease.expires_at - v_now))));
    ELSIF has_local_pending_rows THEN
        resolution := 'initialize_local';
        initialization_id := v_lease.initialization_id;
        lease_expires_at := v_lease.expires_at;
    ELSE
        INSERT INTO tide.scope (user_id) VALUES (v_user) ON CONFLICT DO NOTHING;
        resolution := 'initialize_empty';
    END IF;
END;
$$;
COMMENT ON FUNCTION tide.connect(text, text, boolean, boolean) IS
'What a device must do first: remote_authoritative (take a snapshot), initialize_local (push what it holds, with the initialization_id), initialize_empty, or retry_later while another device fills the home bucket. Seals first, when it would be the beginning of that. With many_buckets the versions of its pushes are bundle_ids; tide.connect_buckets says the rest. Raises TD017, TD114, TD129 and what tide.seal does.';
-- +goose StatementEnd

-- +goose StatementBegin
CREATE OR REPLACE FUNCTION tide.exchange_limits()
    RETURNS TABLE (max_rows_per_push bigint, max_bytes_per_push bigint, max_rows_per_chunk integer, push_session_ttl interval, max_push_sessions integer,
                   snapshot_session_ttl interval, max_snapshot_sessions integer, max_rows_per_snapshot bigint, max_bytes_per_snapshot bigint, initialization_lease_ttl interval)
    LANGUAGE sql STABLE SECURITY DEFINER
    SET search_path = pg_catalog, pg_temp
AS $$
    SELECT s.max_rows_per_push, s.max_bytes_per_push, s.max_rows_per_chunk, s.push_session_ttl, s.max_push_sessions,
           s.snapshot_session_ttl, s.max_snapshot_sessions, s.max_rows_per_snapshot, s.max_bytes_per_snapshot, s.initialization_lease_ttl
      FROM tide.setting AS s;
$$;
COMMENT ON FUNCTION tide.exchange_limits() IS 'The bounds of pushes and snapshots that tide.setting has.';
-- +goose StatementEnd

-- +goose StatementBegin
CREATE OR REPLACE FUNCTION tide.front_settings()
    RETURNS TABLE (maintenance_message text, maintenance_retry_after interval, min_app_version text, app_version_required boolean)
    LANGUAGE sql STABLE SECURITY DEFINER
    SET search_path = pg_catalog, pg_temp
AS $$
    SELECT s.maintenance_message, s.maintenance_retry_after, s.min_app_version, s.app_version_required FROM tide.setting AS s;
$$;
COMMENT ON FUNCTION tide.front_settings() IS 'What tide.setting says to those who serve devices; they ask once a second.';
-- +goose StatementEnd

-- +goose StatementBegin
-- Set-based, in the order of the key so that several runtimes do not wait for each other in a circle,
-- and without a write where nothing is new.
CREATE OR REPLACE FUNCTION tide.note_clients(clients json)
    RETURNS void
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    INSERT INTO tide.client AS c (user_id, source_id, app_version, platform, device_name, last_seen_at)
    SELECT DISTINCT ON (s.user_id, s.source_id)
           s.user_id, s.source_id, left(n.app_version, 200), left(n.platform, 200), left(n.device_name, 200), clock_timestamp()
      FROM json_to_recordset(clients) AS n (user_id text, source_id text, app_version text, platform text, device_name text)
      JOIN tide.source AS s ON s.user_id = n.user_id COLLATE "C" AND s.source_id = n.source_id COLLATE "C"
     WHERE num_nulls(n.app_version, n.platform, n.device_name) = 0
     ORDER BY s.user_id, s.source_id
        ON CONFLICT (user_id, source_id) DO UPDATE
       SET app_version = coalesce(nullif(excluded.app_version, ''), c.app_version), platform = coalesce(nullif(excluded.platform, ''), c.platform),
           device_name = coalesce(nullif(excluded.device_name, ''), c.device_name), last_seen_at = excluded.last_seen_at
     WHERE excluded.app_version NOT IN ('', c.app_version) OR excluded.platform NOT IN ('', c.platform) OR excluded.device_name NOT IN ('', c.device_name)
        OR c.last_seen_at <= excluded.last_seen_at - interval '1 hour';
END;
$$;
COMMENT ON FUNCTION tide.note_clients(json) IS 'Notes what devices said of themselves: [{"user_id", "source_id", "app_version", "platform", "device_name"}, ...], of which those that never connected are left out. Empty is what they did not say now.';
-- +goose StatementEnd

-- +goose StatementBegin
CREATE OR REPLACE VIEW tide.clients AS
SELECT s.user_id, s.source_id, c.app_version, c.platform, c.device_name, s.first_seen_at, c.last_seen_at,
       p.source_bundle_id AS last_push, p.pushed_at AS last_pushed_at, r.new_source_id AS replaced_by, s.shape_id
  FROM tide.source AS s
  LEFT JOIN tide.client AS c ON c.user_id = s.user_id AND c.source_id = s.source_id
  LEFT JOIN tide.source_replacement AS r ON r.user_id = s.user_id AND r.source_id = s.source_id
  LEFT JOIN LATERAL (SELECT l.source_bundle_id, l.pushed_at
                       FROM tide.push_log AS l
                      WHERE l.user_id = s.user_id AND l.source_id = s.source_id
                      ORDER BY l.source_bundle_id DESC
                      LIMIT 1) AS p ON true;
COMMENT ON VIEW tide.clients IS 'Devices: what they say of themselves, when they were first and last seen (to the hour), their newest push, and the source under which they went on. shape_id is the row of tide.shape with the tables and columns they know.';
-- +goose StatementEnd

-- +goose StatementBegin
-- 54 bytes: version, bundle_id, seal and its identity, fingerprint of the held buckets, and a check that
-- tells a cut or mistyped cursor. It carries no right: what it may read is asked anew each time. The
-- identity of a seal is random, so it also tells histories apart.
CREATE OR REPLACE FUNCTION tide.write_cursor(bundle_id bigint, seal_id bigint, identity uuid, fingerprint bytea)
    RETURNS text
    LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE
    SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    v_bytes bytea := '\x01' || int8send(bundle_id) || int8send(seal_id) || uuid_send(identity) || fingerprint;
BEGIN
    RETURN translate(encode(v_bytes || substr(sha256(v_bytes), 1, 5), 'base64'), E'+/\n', '-_');
END;
$$;
COMMENT ON FUNCTION tide.write_cursor(bigint, bigint, uuid, bytea) IS 'A cursor, base64url. Internal.';
-- +goose StatementEnd

-- +goose StatementBegin
CREATE OR REPLACE FUNCTION tide.read_cursor(
    read_cursor text,
    OUT bundle_id bigint, OUT seal_id bigint, OUT identity uuid, OUT fingerprint bytea
)
    LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE
    SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    v_bytes bytea;
BEGIN
    IF read_cursor ~ '^[A-Za-z0-9_-]{72}$' THEN
        v_bytes := decode(translate(read_cursor, '-_', '+/'), 'base64');
    END IF;
    IF v_bytes IS NULL OR get_byte(v_bytes, 0) <> 1 OR substr(v_bytes, 50) <> substr(sha256(substr(v_bytes, 1, 49)), 1, 5) THEN
        RAISE EXCEPTION 'the cursor cannot be read'
            USING ERRCODE = 'TD133', HINT = 'Send the newest one as it came, or connect without one and begin anew.';
    END IF;
    bundle_id := ('x' || encode(substr(v_bytes, 2, 8), 'hex'))::bit(64)::bigint;
    seal_id := ('x' || encode(substr(v_bytes, 10, 8), 'hex'))::bit(64)::bigint;
    identity := encode(substr(v_bytes, 18, 16), 'hex')::uuid;
    fingerprint := substr(v_bytes, 34, 16);
END;
$$;
COMMENT ON FUNCTION tide.read_cursor(text) IS 'What a cursor says. Raises TD133.';
-- +goose StatementEnd

-- +goose StatementBegin
-- A device may come back with the cursor it used last, because an answer was lost: the list of that one
-- is kept, beside the newest ones.
CREATE OR REPLACE FUNCTION tide.hold_buckets(user_id text, source_id text, used bytea, held jsonb)
    RETURNS bytea
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path = pg_catalog, pg_temp
AS $$
#variable_conflict use_column
DECLARE
    v_fingerprint bytea := substr(sha256(convert_to(held::text, 'UTF8')), 1, 16);
BEGIN
    INSERT INTO tide.source_buckets AS b (user_id, source_id, fingerprint, held)
    VALUES (hold_buckets.user_id, hold_buckets.source_id, v_fingerprint, hold_buckets.held)
        ON CONFLICT (user_id, source_id, fingerprint) DO NOTHING;
    DELETE FROM tide.source_buckets AS b
     WHERE b.user_id = hold_buckets.user_id AND b.source_id = hold_buckets.source_id
       AND b.fingerprint <> v_fingerprint AND b.fingerprint IS DISTINCT FROM used
       AND b.fingerprint NOT IN (SELECT n.fingerprint FROM tide.source_buckets AS n
                                  WHERE n.user_id = hold_buckets.user_id AND n.source_id = hold_buckets.source_id
                                  ORDER BY n.written_at DESC LIMIT 3);
    RETURN v_fingerprint;
END;
$$;
COMMENT ON FUNCTION tide.hold_buckets(text, text, bytea, jsonb) IS 'Remembers which buckets a device holds, and returns the fingerprint of the list. Internal.';
-- +goose StatementEnd

-- +goose StatementBegin
-- Few floors are newer than a position, so they are looked up by position, whatever the number of buckets.
CREATE OR REPLACE FUNCTION tide.lost_buckets(held jsonb, after_bundle_id bigint)
    RETURNS text[]
    LANGUAGE plpgsql STABLE SECURITY DEFINER
    SET search_path = pg_catalog, pg_temp
    SET enable_seqscan = off SET jit = off
AS $$
BEGIN
    RETURN ARRAY(
        SELECT DISTINCT f.bucket_id
          FROM tide.bucket_floor AS f
         WHERE f.reason <> 'born' AND f.floor_bundle_id > after_bundle_id AND f.floor_bundle_id > (held ->> f.bucket_id)::bigint
         ORDER BY f.bucket_id);
END;
$$;
COMMENT ON FUNCTION tide.lost_buckets(jsonb, bigint) IS 'Which of the held buckets have a floor above the position of the device: their bundles alone do not give their rows. Internal.';
-- +goose StatementEnd

-- +goose StatementBegin
-- What every request of a cursor client begins with: is the position of this history, which buckets does
-- the device hold, and which may its user read now.
CREATE OR REPLACE FUNCTION tide.open_cursor(
    user_id text, source_id text, read_cursor text,
    OUT bundle_id bigint, OUT seal_id bigint, OUT identity uuid, OUT fingerprint bytea, OUT held jsonb,
    OUT head tide.seal_log, OUT access text[], OUT add text[], OUT remove text[], OUT repair text[], OUT ready boolean
)
    LANGUAGE plpgsql STABLE SECURITY DEFINER
    SET search_path = pg_catalog, pg_temp
AS $$
#variable_conflict use_column
DECLARE
    v_seal tide.seal_log;
    v_lost text[] := '{}';
BEGIN
    access := tide.buckets_of(open_cursor.user_id);
    SELECT s.* INTO head FROM tide.seal_log AS s WHERE s.cut_change_id IS NULL ORDER BY s.seal_id DESC LIMIT 1;
    held := '{}';
    IF coalesce(read_cursor, '') <> '' THEN
        SELECT r.bundle_id, r.seal_id, r.identity, r.fingerprint INTO bundle_id, seal_id, identity, fingerprint FROM tide.read_cursor(open_cursor.read_cursor) AS r;
        SELECT s.* INTO v_seal FROM tide.seal_log AS s WHERE s.seal_id = open_cursor.seal_id;
        IF v_seal.identity IS DISTINCT FROM identity OR bundle_id NOT BETWEEN 0 AND head.last_bundle_id THEN
            IF pg_is_in_recovery() AND seal_id > head.seal_id THEN
                RAISE EXCEPTION 'this server has not received so much yet'
                    USING ERRCODE = 'TD126', HINT = 'Try again.';
            END IF;
            RAISE EXCEPTION 'the position is not of this history'
                USING ERRCODE = 'TD131',
                      DETAIL  = 'The database went back to an earlier state, or is another one.',
                      HINT    = 'Connect with the positions of the buckets, and fetch those that are named.';
        END IF;
        SELECT b.held INTO held FROM tide.source_buckets AS b
         WHERE b.user_id = open_cursor.user_id AND b.source_id = open_cursor.source_id AND b.fingerprint = open_cursor.fingerprint;
        IF held IS NULL THEN
            RAISE EXCEPTION 'it is not known which buckets this device holds'
                USING ERRCODE = 'TD132', HINT = 'Connect with the positions of the buckets.';
        END IF;
        v_lost := tide.lost_buckets(held, bundle_id);
    END IF;
    add := ARRAY(SELECT a FROM unnest(access) AS a WHERE NOT jsonb_exists(held, a));
    remove := '{}';
    -- As many as there are, all of them his: none is to be removed.
    IF cardinality(access) - cardinality(add) < (SELECT count(*) FROM jsonb_object_keys(held)) THEN
        remove := ARRAY(SELECT k FROM jsonb_object_keys(held) AS k EXCEPT SELECT a FROM unnest(access) AS a ORDER BY 1);
    END IF;
    repair := ARRAY(SELECT h.key FROM jsonb_each(held) AS h WHERE h.value = 'null' OR h.key IN (SELECT unnest(v_lost)) EXCEPT SELECT r FROM unnest(remove) AS r ORDER BY 1);
    -- The position goes on only with all that the list says: what was passed over would never come.
    ready := remove = '{}' AND v_lost = '{}';
END;
$$;
COMMENT ON FUNCTION tide.open_cursor(text, text, text) IS
'Reads a cursor, NULL for none: the position, the held buckets, and what is to be fetched (add, repair) or dropped (remove). ready: bundles may be sent. Raises TD032, TD126, TD131 to TD133. Internal.';
-- +goose StatementEnd

-- +goose StatementBegin
-- Seals are a line: what has one of them has all before it.
CREATE OR REPLACE FUNCTION tide.reached_by(seal text)
    RETURNS bigint
    LANGUAGE plpgsql STABLE STRICT SECURITY DEFINER
    SET search_path = pg_catalog, pg_temp
    SET enable_seqscan = off SET jit = off
AS $$
BEGIN
    IF seal !~ '^\d{1,18}-[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$' THEN
        RAISE EXCEPTION 'the seal of a push cannot be read'
            USING ERRCODE = 'TD133', HINT = 'Send it as it came with the answer to the push.';
    END IF;
    RETURN (
        SELECT s.last_bundle_id FROM tide.seal_log AS s
         WHERE s.seal_id = split_part(seal, '-', 1)::bigint AND s.identity = substr(seal, 1 + strpos(seal, '-'))::uuid);
END;
$$;
COMMENT ON FUNCTION tide.reached_by(text) IS 'Last bundle_id of a seal that a device was told, NULL where it is none of this database. Raises TD133. Internal.';
-- +goose StatementEnd

-- +goose StatementBegin
CREATE OR REPLACE FUNCTION tide.assert_history(seal text)
    RETURNS void
    LANGUAGE plpgsql STABLE SECURITY DEFINER
    SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    IF tide.reached_by(seal) IS NOT NULL THEN
        RETURN;
    END IF;
    IF pg_is_in_recovery() AND split_part(seal, '-', 1)::bigint > (SELECT h.seal_id FROM tide.head_seal() AS h) THEN
        RAISE EXCEPTION 'this server has not received so much yet'
            USING ERRCODE = 'TD126', HINT = 'Try again.';
    END IF;
    RAISE EXCEPTION 'a push of this device is not of this history'
        USING ERRCODE = 'TD131',
              DETAIL  = 'The database went back to an earlier state, or is another one.',
              HINT    = 'Connect with the positions of the buckets and the seal of the push, and fetch those that are named.';
END;
$$;
COMMENT ON FUNCTION tide.assert_history(text) IS 'Refuses a device that has the answer to a push which this database knows nothing of, by its seal. Raises TD126, TD131, TD133.';
-- +goose StatementEnd

-- +goose StatementBegin
-- A bucket needs no repair when the last bundle that the device applied of it is one of this history: what
-- came after it in the bucket is sent from there on. A push that was answered and is not of this history may
-- have left rows in any of them.
CREATE OR REPLACE FUNCTION tide.read_positions(positions json, pushed text)
    RETURNS TABLE (bucket_id text, bundle_id bigint, seal_id bigint, identity uuid)
    LANGUAGE plpgsql STABLE SECURITY DEFINER
    SET search_path = pg_catalog, pg_temp
    SET enable_seqscan = off SET jit = off
AS $$
#variable_conflict use_column
DECLARE
    v_whole boolean := pushed IS NULL OR tide.reached_by(pushed) IS NOT NULL;
BEGIN
    IF json_typeof(positions) <> 'object' OR EXISTS (
           SELECT FROM json_each(positions) AS p (key, value)
            WHERE CASE WHEN json_typeof(p.value) = 'object'
                       THEN coalesce(p.value ->> 'bundle_id', '') !~ '^\d{1,18}$'
                            OR coalesce(p.value ->> 'seal', '') !~ '^\d{1,18}-[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$'
                       ELSE true END) THEN
        RAISE EXCEPTION 'the positions cannot be read'
            USING ERRCODE = 'TD133', HINT = 'Send {"<bucket>": {"bundle_id": n, "seal": "..."}}, as they came with the last bundle or snapshot of each bucket.';
    END IF;
    RETURN QUERY
    SELECT p.key, CASE WHEN v_whole AND s.seal_id IS NOT NULL AND p.bundle_id <= s.last_bundle_id THEN p.bundle_id END, s.seal_id, s.identity
      FROM (SELECT e.key, (e.value ->> 'bundle_id')::bigint AS bundle_id, split_part(e.value ->> 'seal', '-', 1)::bigint AS seal_id,
                   substr(e.value ->> 'seal', 1 + strpos(e.value ->> 'seal', '-'))::uuid AS identity
              FROM (SELECT DISTINCT ON (d.key) d.key, d.value FROM json_each(positions) AS d (key, value) ORDER BY d.key) AS e) AS p
      LEFT JOIN tide.seal_log AS s ON s.seal_id = p.seal_id AND s.identity = p.identity;
END;
$$;
COMMENT ON FUNCTION tide.read_positions(json, text) IS 'Where a device stands in each bucket, bundle_id NULL where that is not of this history, and everywhere if the push sealed so is not. Raises TD133. Internal.';
-- +goose StatementEnd

-- +goose StatementBegin
CREATE OR REPLACE FUNCTION tide.connect_buckets(
    user_id text, source_id text, read_cursor text DEFAULT NULL, positions json DEFAULT NULL, pushed text DEFAULT NULL,
    OUT next_cursor text, OUT bundle_id bigint, OUT add text[], OUT remove text[], OUT repair text[]
)
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path = pg_catalog, pg_temp
AS $$
#variable_conflict use_column
DECLARE
    v_open record;
    v_base bigint;
    v_held jsonb;
    v_lost text[];
    v_nothing boolean;
BEGIN
    SELECT * INTO v_open FROM tide.open_cursor(connect_buckets.user_id, connect_buckets.source_id, CASE WHEN positions IS NULL THEN read_cursor END);
    v_held := v_open.held;
    v_base := v_open.bundle_id;
    add := v_open.add;
    remove := v_open.remove;
    repair := v_open.repair;
    IF positions IS NOT NULL THEN
        -- The push has left rows of its bundle_id, of which no position tells yet.
        SELECT coalesce(jsonb_object_agg(p.bucket_id, p.bundle_id), '{}'), min(p.bundle_id), coalesce(greatest(max(p.bundle_id), tide.reached_by(pushed)), 0),
               max(p.seal_id), (array_agg(p.identity ORDER BY p.seal_id DESC NULLS LAST))[1]
          INTO v_held, v_base, bundle_id, v_open.seal_id, v_open.identity
          FROM tide.read_positions(positions, pushed) AS p;
        v_lost := tide.lost_buckets(v_held, v_base);
        add := ARRAY(SELECT a FROM unnest(v_open.access) AS a WHERE NOT jsonb_exists(v_held, a));
        remove := ARRAY(SELECT k FROM jsonb_object_keys(v_held) AS k EXCEPT SELECT a FROM unnest(v_open.access) AS a ORDER BY 1);
        repair := ARRAY(SELECT h.key FROM jsonb_each(v_held) AS h WHERE h.value = 'null' OR h.key IN (SELECT unnest(v_lost)) EXCEPT SELECT r FROM unnest(remove) AS r ORDER BY 1);
    END IF;
    IF repair <> '{}' THEN
        PERFORM tide.note_stale(connect_buckets.user_id, connect_buckets.source_id, 'repair', repair);
    END IF;
    SELECT coalesce(jsonb_object_agg(h.key, CASE WHEN h.key IN (SELECT unnest(repair)) THEN 'null' WHEN h.value::bigint <= v_base THEN '0' ELSE h.value END), '{}'),
           coalesce(bool_and(h.key IN (SELECT unnest(repair))), true)
      INTO v_held, v_nothing
      FROM jsonb_each(v_held) AS h
     WHERE h.key NOT IN (SELECT unnest(remove));
    IF v_nothing THEN
        -- Nothing that bundles could go on from.
        v_base := (v_open.head).last_bundle_id;
        v_open.seal_id := (v_open.head).seal_id;
        v_open.identity := (v_open.head).identity;
    END IF;
    next_cursor := tide.write_cursor(v_base, v_open.seal_id, v_open.identity,
        tide.hold_buckets(connect_buckets.user_id, connect_buckets.source_id, v_open.fingerprint, v_held));
END;
$$;
COMMENT ON FUNCTION tide.connect_buckets(text, text, text, json, text) IS
'For a device that reads many buckets, after tide.connect: its next cursor, which buckets to fetch with a snapshot (add; repair, where it holds something older), and which to drop. Without a cursor it holds nothing. With positions ({"bucket": {"bundle_id", "seal"}}) it holds what of them is of this history, and no version of its rows is later than bundle_id; pushed is the seal of its last push of which no pull has told yet. Raises TD032, TD126, TD131 to TD133.';
-- +goose StatementEnd

-- +goose StatementBegin
CREATE OR REPLACE FUNCTION tide.head_seal(OUT bundle_id bigint, OUT seal_id bigint, OUT identity uuid)
    LANGUAGE plpgsql STABLE SECURITY DEFINER
    SET search_path = pg_catalog, pg_temp
AS $$
#variable_conflict use_column
BEGIN
    SELECT s.last_bundle_id, s.seal_id, s.identity INTO bundle_id, seal_id, identity
      FROM tide.seal_log AS s WHERE s.cut_change_id IS NULL ORDER BY s.seal_id DESC LIMIT 1;
END;
$$;
COMMENT ON FUNCTION tide.head_seal() IS 'The newest seal that is complete, and the last bundle_id that may be read.';
-- +goose StatementEnd

-- +goose StatementBegin
-- last_bundle_id never falls from one seal to the next.
CREATE OR REPLACE FUNCTION tide.seal_of(bundle_id bigint)
    RETURNS tide.seal_log
    LANGUAGE plpgsql STABLE SECURITY DEFINER
    SET search_path = pg_catalog, pg_temp
    SET enable_seqscan = off SET jit = off
AS $$
#variable_conflict use_column
DECLARE
    v_seal   tide.seal_log;
    v_low    bigint;
    v_high   bigint;
BEGIN
    SELECT s.* INTO v_seal
      FROM tide.bundle_log AS l JOIN tide.seal_log AS s ON s.seal_id = l.seal_id
     WHERE l.bundle_id = seal_of.bundle_id LIMIT 1;
    IF v_seal.seal_id IS NOT NULL THEN
        RETURN v_seal;
    END IF;
    -- A number that nothing is listed under.
    SELECT min(s.seal_id), max(s.seal_id) INTO v_low, v_high FROM tide.seal_log AS s;
    WHILE v_low < v_high LOOP
        SELECT s.* INTO v_seal FROM tide.seal_log AS s WHERE s.seal_id >= (v_low + v_high) / 2 ORDER BY s.seal_id LIMIT 1;
        IF v_seal.last_bundle_id >= seal_of.bundle_id THEN
            v_high := (v_low + v_high) / 2;
        ELSE
            v_low := v_seal.seal_id + 1;
        END IF;
    END LOOP;
    SELECT s.* INTO v_seal FROM tide.seal_log AS s WHERE s.seal_id >= v_high AND s.last_bundle_id >= seal_of.bundle_id ORDER BY s.seal_id LIMIT 1;
    RETURN v_seal;
END;
$$;
COMMENT ON FUNCTION tide.seal_of(bigint) IS 'The seal that a bundle_id was given by, or the first that reached it; NULL beyond the last. Internal.';
-- +goose StatementEnd

-- +goose StatementBegin
-- A cursor, so that rows leave while others are still read: what a function returns, it first returns whole. Its plan
-- is made here, under these settings.
CREATE OR REPLACE FUNCTION tide.open_pull(
    user_id text, source_id text, after_bundle_seq bigint, max_bundles integer, max_bytes bigint, target_bundle_seq bigint, cursor_name text DEFAULT 'tide_pull',
    OUT floor_seq bigint, OUT head_seq bigint
)
    LANGUAGE plpgsql STABLE SECURITY DEFINER
    SET search_path = pg_catalog, pg_temp
    SET plan_cache_mode = force_generic_plan
    SET enable_hashjoin = off SET enable_mergejoin = off SET enable_seqscan = off SET enable_bitmapscan = off SET max_parallel_workers_per_gather = 0 SET jit = off
AS $$
#variable_conflict use_column
DECLARE
    v_home   text := tide.home_bucket(user_id);
    v_shape  jsonb;
    v_end    record;
    v_cursor refcursor := cursor_name;
BEGIN
    PERFORM tide.assert_scope(user_id);
    v_shape := tide.source_shape(user_id, open_pull.source_id);
    SELECT * INTO v_end FROM tide.pull_end(v_home, after_bundle_seq, target_bundle_seq, max_bundles, max_bytes);
    floor_seq := v_end.floor_seq;
    head_seq := v_end.head_seq;
    OPEN v_cursor NO SCROLL FOR
    SELECT CASE WHEN b.nth = 1 OR b.nth IS NULL THEN b.bundle_seq END, CASE WHEN b.nth = 1 OR b.nth IS NULL THEN b.source_id END,
           CASE WHEN b.nth = 1 OR b.nth IS NULL THEN b.source_bundle_id END, b.table_schema, b.table_name, b.row_key,
           CASE WHEN v_shape IS NULL OR jsonb_exists(v_shape, b.table_schema || '.' || b.table_name) THEN b.op END AS op,
           CASE WHEN v_shape IS NULL THEN b.payload ELSE tide.project_payload(b.payload, v_shape -> (b.table_schema || '.' || b.table_name)) END AS payload
      FROM tide.bucket_bundles(v_home, after_bundle_seq, v_end.last_seq, CASE WHEN NOT v_end.whole THEN max_bundles END, max_bytes) AS b;
END;
$$;
COMMENT ON FUNCTION tide.open_pull(text, text, bigint, integer, bigint, bigint, text) IS
'Opens a cursor over the next page of a user''s home bucket, as this device gets it: bundle_seq, source_id and source_bundle_id in the first row of each bundle alone; then table_schema, table_name, row_key, op, payload; op NULL where the device does not know the table, or access changed. Never writes. Raises TD014, TD018, TD108.';
-- +goose StatementEnd

-- +goose StatementBegin
-- Which bundles are the next page, from bundle_log alone. Two ways to find them: read on in the log and
-- leave out what is not for the device, or look into each of its buckets, some bundles ahead. Either may
-- stop early; what it found up to the edge is complete.
CREATE OR REPLACE FUNCTION tide.pull_page(
    counted jsonb, after_bundle_id bigint, until_bundle_id bigint, max_bundles bigint, max_bytes bigint,
    OUT last_bundle_id bigint, OUT bundle_ids bigint[], OUT bucket_ids text[]
)
    LANGUAGE plpgsql STABLE SECURITY DEFINER
    SET search_path = pg_catalog, pg_temp
    SET plan_cache_mode = force_generic_plan
    SET enable_hashjoin = off SET enable_mergejoin = off SET enable_seqscan = off SET max_parallel_workers_per_gather = 0 SET jit = off
AS $$
#variable_conflict use_column
DECLARE
    v_longest bigint := CASE WHEN max_bundles IS NOT NULL THEN 50000 END;
    v_buckets bigint := (SELECT count(*) FROM jsonb_object_keys(counted));
    v_ahead   bigint := CASE WHEN max_bundles IS NOT NULL THEN least(max_bundles, greatest(10, 4 * max_bundles / greatest(v_buckets, 1))) END;
    -- A row of the log that is read and left out costs an eighth of looking into a bucket, which has several partitions.
    v_reading boolean := until_bundle_id - after_bundle_id <= 8 * v_buckets;
BEGIN
    LOOP
        WITH found AS MATERIALIZED (
            SELECT r.bundle_id, r.bucket_id, r.byte_count
              FROM (SELECT l.bundle_id, l.bucket_id, l.byte_count FROM tide.bundle_log AS l
                     WHERE v_reading AND l.bundle_id > after_bundle_id AND l.bundle_id <= until_bundle_id
                     ORDER BY l.bundle_id LIMIT v_longest) AS r
             UNION ALL
            SELECT k.bundle_id, k.bucket_id, k.byte_count
              FROM jsonb_each_text(counted) AS u (bucket_id, held_until)
             CROSS JOIN LATERAL (
                       SELECT l.bundle_id, l.bucket_id, l.byte_count FROM tide.bundle_log AS l
                        WHERE l.bucket_id = u.bucket_id COLLATE "C"
                          AND l.bundle_id > greatest(after_bundle_id, u.held_until::bigint) AND l.bundle_id <= until_bundle_id
                        ORDER BY l.bundle_id LIMIT v_ahead) AS k
             WHERE NOT v_reading
        ), edge AS MATERIALIZED (
            SELECT coalesce(CASE WHEN v_reading THEN (SELECT max(f.bundle_id) - 1 FROM found AS f HAVING count(*) = v_longest)
                                 ELSE (SELECT min(b.last) FROM (SELECT max(f.bundle_id) AS last FROM found AS f GROUP BY f.bucket_id HAVING count(*) = v_ahead) AS b) END,
                            until_bundle_id) AS edge
        )
        SELECT CASE WHEN bool_and(p.fits) IS FALSE THEN max(p.bundle_id) FILTER (WHERE p.fits) ELSE max(e.edge) END,
               array_agg(p.bundle_id) FILTER (WHERE p.fits), array_agg(p.bucket_id::text) FILTER (WHERE p.fits)
          INTO last_bundle_id, bundle_ids, bucket_ids
          FROM edge AS e
          LEFT JOIN LATERAL (
               -- What is of one bundle fits or does not as a whole: it is one step of the window.
               SELECT f.bundle_id, f.bucket_id,
                      max_bundles IS NULL OR dense_rank() OVER w <= max_bundles AND (dense_rank() OVER w = 1 OR sum(f.byte_count::float8) OVER w <= max_bytes) AS fits
                 FROM found AS f
                WHERE f.bundle_id <= e.edge AND (counted ->> f.bucket_id)::bigint < f.bundle_id
               WINDOW w AS (ORDER BY f.bundle_id)) AS p ON true;
        -- One bundle alone is longer than what is read at once.
        EXIT WHEN last_bundle_id > after_bundle_id OR NOT v_reading;
        v_reading := false;
    END LOOP;
END;
$$;
COMMENT ON FUNCTION tide.pull_page(jsonb, bigint, bigint, bigint, bigint) IS
'Bundles of a page, once for each bucket of {"bucket": bundle_id} that they touch beyond its bundle_id; last_bundle_id is where the page ends; without max_bundles that is until_bundle_id. Internal.';
-- +goose StatementEnd

-- +goose StatementBegin
-- A row of a bundle is judged over all buckets of the device that count there: one that it fetched at a
-- later position already does not count before that. What is there is what the change says of the row's
-- buckets, so that a row which left one bucket and stayed in another is an update.
-- Planned as a part of the query that it stands in, like tide.bundle_changes: that query has nested loops alone, as
-- to sort rows with their payloads would cost more than to find them, and gives variables. Most bundles touch one
-- bucket of a device: then nothing is put together.
CREATE OR REPLACE FUNCTION tide.bundles_for(counted jsonb, bundle_ids bigint[], bucket_ids text[], shape jsonb)
    RETURNS TABLE (
        bundle_id bigint, row_ordinal bigint, buckets text[], table_schema text, table_name text, row_key text, op text, payload json,
        source text, source_bundle_id bigint, sealed_at timestamptz, seal text, as_bundle boolean
    )
    LANGUAGE sql STABLE
BEGIN ATOMIC
    SELECT b.bundle_id, r.row_ordinal, r.buckets, r.table_schema, r.table_name, r.row_key, r.op,
           CASE WHEN r.op = 'DELETE' THEN NULL WHEN bundles_for.shape IS NULL THEN r.payload ELSE tide.project_payload(r.payload, bundles_for.shape -> (r.table_schema || '.' || r.table_name)) END,
           r.source, r.source_bundle_id, r.sealed_at, r.seal, r.buckets = b.buckets
      FROM (SELECT p.bundle_id, array_agg(p.bucket_id ORDER BY p.bucket_id COLLATE "C") AS buckets
              FROM unnest(bundles_for.bundle_ids, bundles_for.bucket_ids) AS p (bundle_id, bucket_id)
             GROUP BY p.bundle_id
             ORDER BY p.bundle_id) AS b
     -- What is of the transaction stands in each part of it.
     CROSS JOIN LATERAL (SELECT f.* FROM tide.bundle_log AS f WHERE f.bucket_id = b.buckets[1] COLLATE "C" AND f.bundle_id = b.bundle_id OFFSET 0) AS l
     CROSS JOIN LATERAL (
           SELECT NULL::bigint AS row_ordinal, b.buckets, NULL::text AS table_schema, NULL::text AS table_name, NULL::text AS row_key, NULL::text AS op, NULL::json AS payload,
                  coalesce(l.source_id, 'server') AS source, coalesce(l.source_bundle_id, b.bundle_id) AS source_bundle_id, l.sealed_at,
                  (SELECT s.seal_id || '-' || s.identity FROM tide.seal_log AS s WHERE s.seal_id = l.seal_id) AS seal
            UNION ALL
           SELECT row_number() OVER () - 1, j.buckets, t.table_schema, t.table_name, j.row_key,
                  CASE WHEN j.buckets = '{}' THEN 'DELETE' WHEN j.before THEN 'UPDATE' ELSE 'INSERT' END, j.payload, NULL, NULL, NULL, NULL
             FROM (SELECT c.table_id, c.row_key, c.payload,
                          c.op <> 'I' OR coalesce(cardinality(c.old_buckets), 0) > 0 AND EXISTS (SELECT FROM unnest(c.old_buckets) AS o WHERE (bundles_for.counted ->> o)::bigint < b.bundle_id) AS before,
                          CASE -- Rules over other tables are judged at sealing, and are not in the change itself.
                               WHEN c.buckets IS NULL THEN coalesce(c.listed, '{}')
                               WHEN c.buckets = b.buckets THEN b.buckets
                               ELSE ARRAY(SELECT h FROM unnest(c.buckets) AS h WHERE (bundles_for.counted ->> h)::bigint < b.bundle_id ORDER BY h COLLATE "C") END AS buckets
                     FROM (SELECT a.op, a.table_id, a.row_key, a.payload, a.buckets, a.old_buckets, CASE WHEN a.op <> 'D' THEN b.buckets END AS listed
                             FROM tide.bundle_changes(l.xid, l.consecutive, l.min_change_id, l.max_change_id, l.changes, l.ops) AS a
                            WHERE cardinality(b.buckets) = 1
                            UNION ALL
                           SELECT e.op, a.table_id, a.row_key, a.payload, a.buckets, a.old_buckets, e.listed
                             FROM (SELECT u.change_id, CASE WHEN bool_or(u.op <> 'I') THEN 'U' ELSE 'I' END::"char" AS op,
                                          array_agg(k.bucket_id ORDER BY k.nth) FILTER (WHERE u.op <> 'D') AS listed
                                     FROM unnest(b.buckets) WITH ORDINALITY AS k (bucket_id, nth)
                                    CROSS JOIN LATERAL (SELECT f.changes, f.ops FROM tide.bundle_log AS f WHERE f.bucket_id = k.bucket_id COLLATE "C" AND f.bundle_id = b.bundle_id OFFSET 0) AS p
                                    CROSS JOIN LATERAL unnest(p.changes, p.ops) AS u (change_id, op)
                                    GROUP BY u.change_id
                                    ORDER BY u.change_id) AS e
                            -- One by one, by the key (OFFSET 0 keeps it so): statistics of many small transactions suggest worse.
                            CROSS JOIN LATERAL (SELECT f.* FROM tide.change_log AS f WHERE f.xid = l.xid AND f.change_id = e.change_id OFFSET 0) AS a
                            WHERE cardinality(b.buckets) > 1) AS c
            OFFSET 0) AS j -- its columns are asked for more than once
             CROSS JOIN LATERAL tide.name_of(j.table_id) AS t
            WHERE bundles_for.shape IS NULL OR jsonb_exists(bundles_for.shape, t.table_schema || '.' || t.table_name)) AS r;
END;
COMMENT ON FUNCTION tide.bundles_for(jsonb, bigint[], text[], jsonb) IS
'Bundles as a device gets them that holds the buckets {"bucket": bundle_id} and knows the tables of shape (NULL for all): each is a row without row_ordinal, followed by its rows; as_bundle says that the buckets of a row are those of the bundle. Internal.';
-- +goose StatementEnd

-- +goose StatementBegin
CREATE OR REPLACE FUNCTION tide.next_page(
    user_id text, source_id text, read_cursor text, max_bundles integer, max_bytes bigint,
    OUT next_cursor text, OUT has_more boolean, OUT add text[], OUT remove text[], OUT repair text[],
    OUT counted jsonb, OUT bundle_ids bigint[], OUT bucket_ids text[], OUT shape jsonb
)
    LANGUAGE plpgsql STABLE SECURITY DEFINER
    SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    v_open  record;
    v_page  record;
    v_seal  tide.seal_log;
    v_whole tide.seal_log;
BEGIN
    PERFORM tide.check_page(max_bundles, max_bytes);
    SELECT * INTO v_open FROM tide.open_cursor(next_page.user_id, next_page.source_id, read_cursor);
    IF v_open.bundle_id IS NULL THEN
        RAISE EXCEPTION 'a pull needs a cursor' USING ERRCODE = 'TD133', HINT = 'Connect, and send the cursor of the answer.';
    END IF;
    add := v_open.add;
    remove := v_open.remove;
    repair := v_open.repair;
    IF NOT v_open.ready OR v_open.bundle_id = (v_open.head).last_bundle_id THEN
        next_cursor := read_cursor;
        has_more := v_open.bundle_id < (v_open.head).last_bundle_id;
        RETURN;
    END IF;
    SELECT coalesce(jsonb_object_agg(h.key, h.value), '{}') INTO counted FROM jsonb_each(v_open.held) AS h WHERE h.value <> 'null';
    SELECT * INTO v_page FROM tide.pull_page(counted, v_open.bundle_id, (v_open.head).last_bundle_id, max_bundles, max_bytes);
    v_seal := v_open.head;
    IF v_page.last_bundle_id < v_seal.last_bundle_id THEN
        v_seal := tide.seal_of(v_page.last_bundle_id);
        -- Where rows moved because of other tables, only all bundles of the seal are what the rules say. In a
        -- long seal they are moved by its last step.
        SELECT s.* INTO v_whole FROM tide.seal_log AS s WHERE s.seal_id >= v_seal.seal_id AND s.cut_change_id IS NULL ORDER BY s.seal_id LIMIT 1;
        IF v_whole.has_derived AND v_page.last_bundle_id < v_whole.last_bundle_id THEN
            v_seal := v_whole;
            SELECT * INTO v_page FROM tide.pull_page(counted, v_open.bundle_id, v_seal.last_bundle_id, NULL, NULL);
        END IF;
    END IF;
    has_more := v_page.last_bundle_id < (v_open.head).last_bundle_id;
    IF v_seal.seal_id < v_open.seal_id THEN
        -- A bucket was fetched at a later one.
        v_seal.seal_id := v_open.seal_id;
        v_seal.identity := v_open.identity;
    END IF;
    next_cursor := tide.write_cursor(v_page.last_bundle_id, v_seal.seal_id, v_seal.identity, v_open.fingerprint);
    bundle_ids := v_page.bundle_ids;
    bucket_ids := v_page.bucket_ids;
    shape := tide.source_shape(next_page.user_id, next_page.source_id);
END;
$$;
COMMENT ON FUNCTION tide.next_page(text, text, text, integer, bigint) IS
'The page after a cursor: where it ends, what to fetch or drop, and its bundles as tide.bundles_for takes them; NULL for none. Raises TD014, TD018, TD032, TD126, TD131 to TD133. Internal.';
-- +goose StatementEnd

-- +goose StatementBegin
CREATE OR REPLACE FUNCTION tide.pull_cursor(
    user_id text, source_id text, read_cursor text, max_bundles integer DEFAULT 1000, max_bytes bigint DEFAULT 8388608
)
    RETURNS TABLE (
        bundle_id bigint, row_ordinal bigint, buckets text[], table_schema text, table_name text, key json, op text, payload json,
        source text, source_bundle_id bigint, sealed_at timestamptz, seal text,
        next_cursor text, has_more boolean, add text[], remove text[], repair text[]
    )
    LANGUAGE plpgsql STABLE SECURITY DEFINER
    SET search_path = pg_catalog, pg_temp
    SET plan_cache_mode = force_generic_plan
    SET enable_hashjoin = off SET enable_mergejoin = off SET enable_seqscan = off SET enable_bitmapscan = off SET max_parallel_workers_per_gather = 0 SET jit = off
AS $$
#variable_conflict use_column
DECLARE
    v_page record;
BEGIN
    SELECT * INTO v_page FROM tide.next_page(pull_cursor.user_id, pull_cursor.source_id, read_cursor, max_bundles, max_bytes);
    next_cursor := v_page.next_cursor;
    has_more := v_page.has_more;
    add := v_page.add;
    remove := v_page.remove;
    repair := v_page.repair;
    RETURN NEXT;
    RETURN QUERY
    SELECT r.bundle_id, r.row_ordinal, r.buckets, r.table_schema, r.table_name, r.row_key::json, r.op, r.payload, r.source, r.source_bundle_id, r.sealed_at, r.seal,
           NULL::text, NULL::boolean, NULL::text[], NULL::text[], NULL::text[]
      FROM tide.bundles_for(v_page.counted, v_page.bundle_ids, v_page.bucket_ids, v_page.shape) AS r;
END;
$$;
COMMENT ON FUNCTION tide.pull_cursor(text, text, text, integer, bigint) IS
'Whole bundles over all buckets that a device holds, after its cursor, in causal order. The first row has the next cursor, whether there is more, and what to fetch or drop (then connect; with something to drop or repair no bundle is sent before that). Each bundle is a row without row_ordinal, followed by its rows. Never writes. Raises TD014, TD018, TD032, TD126, TD131 to TD133.';
-- +goose StatementEnd

-- +goose StatementBegin
-- A cursor, like that of tide.open_pull.
CREATE OR REPLACE FUNCTION tide.open_pull_cursor(
    user_id text, source_id text, read_cursor text, max_bundles integer, max_bytes bigint, cursor_name text DEFAULT 'tide_pull',
    OUT next_cursor text, OUT has_more boolean, OUT add text[], OUT remove text[], OUT repair text[]
)
    LANGUAGE plpgsql STABLE SECURITY DEFINER
    SET search_path = pg_catalog, pg_temp
    SET plan_cache_mode = force_generic_plan
    SET enable_hashjoin = off SET enable_mergejoin = off SET enable_seqscan = off SET enable_bitmapscan = off SET max_parallel_workers_per_gather = 0 SET jit = off
AS $$
#variable_conflict use_column
DECLARE
    v_page   record;
    v_cursor refcursor := cursor_name;
BEGIN
    PERFORM tide.assert_scope(user_id);
    SELECT * INTO v_page FROM tide.next_page(user_id, open_pull_cursor.source_id, read_cursor, max_bundles, max_bytes);
    next_cursor := v_page.next_cursor;
    has_more := v_page.has_more;
    add := v_page.add;
    remove := v_page.remove;
    repair := v_page.repair;
    OPEN v_cursor NO SCROLL FOR
    SELECT r.bundle_id, r.source, r.source_bundle_id, CASE WHEN r.op IS NULL OR NOT r.as_bundle THEN to_json(r.buckets) END AS buckets, r.table_schema, r.table_name, r.row_key, r.op, r.payload, r.seal
      FROM tide.bundles_for(v_page.counted, v_page.bundle_ids, v_page.bucket_ids, v_page.shape) AS r;
END;
$$;
COMMENT ON FUNCTION tide.open_pull_cursor(text, text, text, integer, bigint, text) IS
'What tide.pull_cursor returns, the bundles and rows through a cursor: bundle_id, source, source_bundle_id, buckets as JSON, table_schema, table_name, row_key, op, payload, seal; op NULL where a bundle begins, buckets NULL in a row where they are those of the bundle. Never writes. Raises TD014, TD018, TD032, TD108, TD126, TD131 to TD133.';
-- +goose StatementEnd

-- +goose StatementBegin
-- Asked twice by who watches: which buckets to listen to, and, once he does, whether there was something
-- before that.
CREATE OR REPLACE FUNCTION tide.watch_cursor(
    user_id text, source_id text, read_cursor text,
    OUT bundle_id bigint, OUT buckets text[], OUT newest_bundle_id bigint, OUT changed boolean
)
    LANGUAGE plpgsql STABLE SECURITY DEFINER
    SET search_path = pg_catalog, pg_temp
AS $$
#variable_conflict use_column
DECLARE
    v_open record;
BEGIN
    SELECT * INTO v_open FROM tide.open_cursor(watch_cursor.user_id, watch_cursor.source_id, read_cursor);
    IF v_open.bundle_id IS NULL THEN
        RAISE EXCEPTION 'a watch of many buckets needs a cursor' USING ERRCODE = 'TD133', HINT = 'Connect, and send the cursor of the answer.';
    END IF;
    bundle_id := v_open.bundle_id;
    changed := v_open.add <> '{}' OR v_open.remove <> '{}' OR v_open.repair <> '{}';
    buckets := ARRAY(SELECT k FROM jsonb_object_keys(v_open.held) AS k
                     EXCEPT SELECT r FROM unnest(v_open.remove) AS r
                     UNION SELECT tide.home_bucket(watch_cursor.user_id));
    -- What a bucket brought with it when it was fetched is no news.
    SELECT coalesce(max(h.bundle_id), 0) INTO newest_bundle_id
      FROM tide.bucket_heads(buckets) AS h
     WHERE h.bundle_id > coalesce((v_open.held ->> h.bucket_id)::bigint, 0);
END;
$$;
COMMENT ON FUNCTION tide.watch_cursor(text, text, text) IS
'For a device that holds many buckets and waits for news of them: its position, the buckets that concern it, their newest bundle, and whether they are others than it holds (then connect). Raises TD032, TD126, TD131 to TD133.';
-- +goose StatementEnd

-- +goose StatementBegin
CREATE OR REPLACE FUNCTION tide.is_retryable(sqlstate text)
    RETURNS boolean
    LANGUAGE sql IMMUTABLE PARALLEL SAFE
    RETURN left(sqlstate, 2) IN ('08', '40', '53', '57', '58', 'XX') OR sqlstate IN ('25006', '55P03', 'TD126');
COMMENT ON FUNCTION tide.is_retryable(text) IS 'Whether an error says something about the server, not about what was asked: the same may succeed later. Internal.';
-- +goose StatementEnd

-- +goose StatementBegin
CREATE OR REPLACE FUNCTION tide.op_name(op "char")
    RETURNS text
    LANGUAGE sql IMMUTABLE PARALLEL SAFE
    RETURN CASE op WHEN 'I' THEN 'INSERT' WHEN 'U' THEN 'UPDATE' WHEN 'D' THEN 'DELETE' END;
COMMENT ON FUNCTION tide.op_name("char") IS 'Name of an operation on the wire. Internal.';
-- +goose StatementEnd

-- +goose StatementBegin
CREATE OR REPLACE FUNCTION tide.key_pushed(table_id integer, rows tide.pushed_row[])
    RETURNS tide.pushed_row[]
    LANGUAGE plpgsql STABLE
    SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    EXECUTE format('SELECT tide.push_%s_keys($1)', table_id) INTO rows USING rows;
    RETURN rows;
END;
$$;
COMMENT ON FUNCTION tide.key_pushed(integer, tide.pushed_row[]) IS 'The rows of one table among those of a push, with row_key and key_hash; NULL where a key is not canonical. Internal.';
-- +goose StatementEnd

-- +goose StatementBegin
-- From the rows of the wire to rows with a table, an operation and a canonical key. Everything that
-- can be said against a row without looking at the table is said here, all at once.
CREATE OR REPLACE FUNCTION tide.parse_push(rows json, first_ordinal bigint DEFAULT 0)
    RETURNS tide.pushed_row[]
    LANGUAGE plpgsql STABLE SECURITY DEFINER
    SET search_path = pg_catalog, pg_temp
    SET jit = off
AS $$
DECLARE
    v_rows     tide.pushed_row[];
    v_keyed    tide.pushed_row[];
    v_tables   integer[];
    v_table    integer;
    v_row      tide.pushed_row;
    v_problems jsonb[]; -- of objects with row_ordinal, sqlstate, detail
BEGIN
    IF json_typeof(rows) IS DISTINCT FROM 'array' THEN
        RAISE EXCEPTION 'rows of a push are not an array' USING ERRCODE = 'TD102', HINT = 'Send "rows": [{"schema", "table", "key", "op", "base_row_version", "payload"}, ...].';
    END IF;
    BEGIN
        -- The text is read once here, and each payload once for the names of its columns.
        SELECT array_agg(ROW(first_ordinal + p.nth - 1, p.table_id, p.op, p.base, NULL, NULL, p.key, p.payload, p.columns, NULL, NULL)::tide.pushed_row), array_agg(DISTINCT p.table_id),
               array_agg(jsonb_build_object('row_ordinal', first_ordinal + p.nth - 1, 'sqlstate', 'TD102', 'detail', p.problem) ORDER BY p.nth) FILTER (WHERE p.problem IS NOT NULL)
          INTO v_rows, v_tables, v_problems
          FROM (SELECT f.nth, s.table_id, f.op, f.base, f.key, f.payload, ARRAY(SELECT json_object_keys(CASE WHEN json_typeof(f.payload) = 'object' THEN f.payload END)) AS columns,
                       CASE
                           WHEN f.table_name IS NULL THEN 'no table is named'
                           WHEN s.table_id IS NULL THEN format('table %s.%s is not registered', f.schema_name, f.table_name)
                           WHEN s.push_policy = 'disabled' THEN format('table %s.%s does not take pushes', f.schema_name, f.table_name)
                           WHEN f.op IS NULL THEN 'op is not INSERT, UPDATE or DELETE'
                           WHEN f.base IS NULL THEN 'base_row_version is not a whole number from 0 on'
                           WHEN json_typeof(f.key) IS DISTINCT FROM 'object' THEN 'key is not an object'
                           WHEN f.op = 'D' AND json_typeof(f.payload) <> 'null' THEN 'a DELETE has no payload'
                           WHEN f.op <> 'D' AND json_typeof(f.payload) IS DISTINCT FROM 'object' THEN 'payload is not an object'
                       END AS problem
                  FROM (SELECT j.nth, j.key, j.payload, coalesce(nullif(btrim(j.schema), ''), 'public') AS schema_name, btrim(j."table") AS table_name,
                               CASE upper(btrim(j.op) COLLATE "C") WHEN 'INSERT' THEN 'I' WHEN 'UPDATE' THEN 'U' WHEN 'DELETE' THEN 'D' END::"char" AS op,
                               CASE WHEN j.base_row_version IS NULL THEN 0
                                    WHEN octet_length(j.base_row_version) BETWEEN 1 AND 18 AND ltrim(j.base_row_version, '0123456789') = '' THEN j.base_row_version::bigint END AS base
                          FROM ROWS FROM (json_to_recordset(rows) AS (schema text, "table" text, key json, op text, base_row_version text, payload json))
                               WITH ORDINALITY AS j (schema, "table", key, op, base_row_version, payload, nth) OFFSET 0) AS f -- once, not wherever it is named
                  -- As it is written, or else in lower case.
                  LEFT JOIN tide.synced_table AS s
                    ON s.unregistered_at IS NULL AND s.synced AND lower(s.table_schema) = lower(f.schema_name) AND lower(s.table_name) = lower(f.table_name)
                   AND ((s.table_schema, s.table_name) = (f.schema_name, f.table_name)
                        OR (s.table_schema, s.table_name) = (lower(f.schema_name), lower(f.table_name))
                           AND NOT EXISTS (SELECT FROM tide.synced_table AS e
                                            WHERE e.unregistered_at IS NULL AND e.synced AND (e.table_schema, e.table_name) = (f.schema_name, f.table_name)))) AS p;
        IF v_problems IS NULL AND v_rows IS NOT NULL THEN
            -- Keys are typed, so each table has a function of its own for them.
            FOREACH v_table IN ARRAY v_tables LOOP
                v_keyed := v_keyed || tide.key_pushed(v_table, v_rows);
            END LOOP;
        END IF;
    EXCEPTION
        WHEN data_exception OR integrity_constraint_violation THEN
            IF v_rows IS NULL AND sqlstate <> '22023' THEN
                RAISE;
            ELSIF v_rows IS NULL THEN
                SELECT array_agg(jsonb_build_object('row_ordinal', first_ordinal + e.nth - 1, 'sqlstate', 'TD102', 'detail', 'not an object'))
                  INTO v_problems
                  FROM json_array_elements(rows) WITH ORDINALITY AS e (element, nth)
                 WHERE json_typeof(e.element) <> 'object';
            ELSE
                -- Which rows it is shows one by one.
                v_keyed := '{}';
                FOREACH v_row IN ARRAY v_rows LOOP
                    BEGIN
                        v_keyed := array_append(v_keyed, (tide.key_pushed(v_row.table_id, ARRAY[v_row]))[1]);
                    EXCEPTION
                        WHEN data_exception OR integrity_constraint_violation THEN
                            v_problems := v_problems || jsonb_build_object('row_ordinal', v_row.ordinal, 'sqlstate', sqlstate, 'detail', 'key: ' || sqlerrm);
                    END;
                END LOOP;
            END IF;
    END;
    -- Most pushes are of one row, and nothing is wrong with it.
    IF cardinality(v_rows) = 1 AND v_problems IS NULL AND (v_keyed[1]).row_key IS NOT NULL THEN
        RETURN v_keyed;
    END IF;
    IF v_rows IS NULL AND v_problems IS NULL THEN
        RAISE EXCEPTION 'a push has no rows' USING ERRCODE = 'TD102', HINT = 'Send at least one row.';
    END IF;
    IF cardinality(v_rows) > (SELECT s.max_rows_per_push FROM tide.setting AS s) THEN
        RAISE EXCEPTION 'the push is too large'
            USING ERRCODE = 'TD127', DETAIL = format('At most %s rows are allowed.', (SELECT s.max_rows_per_push FROM tide.setting AS s)), HINT = 'Push in several bundles.';
    END IF;
    -- By hash first: most of the time all keys are there, and differ.
    IF v_keyed IS NOT NULL AND (v_problems IS NOT NULL OR (SELECT count(DISTINCT k.key_hash) < count(*) OR count(k.row_key) < count(*) FROM unnest(v_keyed) AS k)) THEN
        SELECT v_problems || array_agg(jsonb_build_object('row_ordinal', r.ordinal, 'sqlstate', 'TD102', 'detail', r.problem) ORDER BY r.ordinal)
          INTO v_problems
          FROM (SELECT k.ordinal, 'a key column is missing, or its value is not in canonical form' AS problem FROM unnest(v_keyed) AS k WHERE k.row_key IS NULL
                 UNION ALL
                SELECT max(k.ordinal), 'the key was there before' FROM unnest(v_keyed) AS k WHERE k.row_key IS NOT NULL GROUP BY k.table_id, k.row_key COLLATE "C" HAVING count(*) > 1) AS r;
    END IF;
    IF cardinality(v_problems) > 0 THEN
        RAISE EXCEPTION 'rows cannot be read'
            USING ERRCODE = 'TD102',
                  DETAIL  = (SELECT string_agg(format('row %s: %s', p ->> 'row_ordinal', p ->> 'detail'), '; ') FROM unnest(v_problems[:10]) AS p) || CASE WHEN cardinality(v_problems) > 10 THEN format('; and %s more', cardinality(v_problems) - 10) ELSE '' END || '.',
                  HINT    = 'Nothing of them was taken. Mend these rows and send them again.',
                  -- For programs. An error has no other place for data.
                  DATATYPE = array_to_json(v_problems[:1000]);
    END IF;
    RETURN v_keyed;
END;
$$;
COMMENT ON FUNCTION tide.parse_push(json, bigint) IS 'Rows of the wire as tide.pushed_row[]. Raises TD102 naming every row that cannot be read: DATATYPE has the first thousand as JSON. Internal.';
-- +goose StatementEnd

-- +goose StatementBegin
CREATE OR REPLACE FUNCTION tide.push_groups(pushed tide.pushed_row[], by_op boolean)
    RETURNS TABLE (table_id integer, op "char", rls boolean, fk_depth integer, rows tide.pushed_row[])
    LANGUAGE plpgsql STABLE SECURITY DEFINER
    SET search_path = pg_catalog, pg_temp
AS $$
#variable_conflict use_column
DECLARE
    v_alike boolean := cardinality(pushed) = 1;
BEGIN
    -- Most of the time they are of one kind.
    IF NOT v_alike THEN
        v_alike := NOT EXISTS (SELECT FROM unnest(pushed) AS r WHERE r.table_id <> pushed[1].table_id OR by_op AND r.op <> pushed[1].op);
    END IF;
    IF v_alike THEN
        RETURN QUERY SELECT s.table_id, CASE WHEN by_op THEN pushed[1].op END, pushed[1].rls, s.fk_depth, pushed FROM tide.synced_table AS s WHERE s.table_id = pushed[1].table_id;
        RETURN;
    END IF;
    RETURN QUERY
    SELECT g.table_id, g.op, g.rls, s.fk_depth, g.rows
      FROM (SELECT r.table_id, CASE WHEN by_op THEN r.op END AS op, bool_or(r.rls) AS rls, array_agg(r) AS rows FROM unnest(pushed) AS r GROUP BY 1, 2) AS g
      JOIN tide.synced_table AS s ON s.table_id = g.table_id;
END;
$$;
COMMENT ON FUNCTION tide.push_groups(tide.pushed_row[], boolean) IS 'Pushed rows by table, and by operation if wanted. Internal.';
-- +goose StatementEnd

-- +goose StatementBegin
CREATE OR REPLACE FUNCTION tide.client_role()
    RETURNS text
    LANGUAGE plpgsql STABLE SECURITY DEFINER
    SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    RETURN (SELECT s.client_role FROM tide.setting AS s);
END;
$$;
COMMENT ON FUNCTION tide.client_role() IS 'Role as which the steps of a push are run for tables whose policies decide. Internal.';
-- +goose StatementEnd

-- +goose StatementBegin
-- Runs as its caller, as only such a function may change the role.
CREATE OR REPLACE FUNCTION tide.run_push_step(table_id integer, rls boolean, op "char", rows tide.pushed_row[], user_id text)
    RETURNS void
    LANGUAGE plpgsql
    SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    v_role    text := current_setting('role');
    v_written bigint;
BEGIN
    IF rls THEN
        PERFORM set_config('role', tide.client_role(), true);
    END IF;
    EXECUTE format('SELECT tide.push_%s_%s($1, $2)', table_id, CASE op WHEN 'I' THEN 'insert' WHEN 'U' THEN 'update' ELSE 'delete' END) INTO v_written USING rows, user_id;
    IF rls THEN
        PERFORM set_config('role', v_role, true);
    END IF;
    IF v_written <> cardinality(rows) THEN
        RAISE EXCEPTION 'the row may not be written so: it is not the caller''s, its payload has another key, a protected column would change, or a trigger suppressed it'
            USING ERRCODE = 'insufficient_privilege';
    END IF;
END;
$$;
COMMENT ON FUNCTION tide.run_push_step(integer, boolean, "char", tide.pushed_row[], text) IS 'Writes pushed rows of one table and operation, all or none. Internal.';
-- +goose StatementEnd

-- +goose StatementBegin
-- A device that was copied numbers on in each copy. What one of them pushed must not be the answer to another one.
CREATE OR REPLACE FUNCTION tide.is_committed(user_id text, source_id text, source_bundle_id bigint, bundle_uuid uuid DEFAULT NULL)
    RETURNS boolean
    LANGUAGE plpgsql STABLE SECURITY DEFINER
    SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    v_other boolean;
BEGIN
    SELECT p.bundle_uuid <> is_committed.bundle_uuid INTO v_other FROM tide.push_log AS p
     WHERE p.user_id = is_committed.user_id AND p.source_id = is_committed.source_id AND p.source_bundle_id = is_committed.source_bundle_id;
    IF v_other THEN
        RAISE EXCEPTION 'push % of this source was another one', source_bundle_id
            USING ERRCODE = 'TD113', DETAIL = 'The device is a copy of the one that made it, or was restored to what it was before.', HINT = 'Rebuild from a snapshot, as a new source.';
    END IF;
    RETURN FOUND;
END;
$$;
COMMENT ON FUNCTION tide.is_committed(text, text, bigint, uuid) IS 'Whether a push with this number was accepted. Raises TD113 when it has another bundle_uuid.';
-- +goose StatementEnd

-- +goose StatementBegin
CREATE OR REPLACE FUNCTION tide.assert_next_push(user_id text, source_id text, source_bundle_id bigint)
    RETURNS void
    LANGUAGE plpgsql STABLE SECURITY DEFINER
    SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    v_expected bigint := 1 + coalesce((SELECT p.source_bundle_id FROM tide.push_log AS p
                                        WHERE p.user_id = assert_next_push.user_id AND p.source_id = assert_next_push.source_id
                                          -- Its own claim does not count.
                                          AND (p.source_bundle_id <> assert_next_push.source_bundle_id OR p.xid <> pg_current_xact_id())
                                        ORDER BY p.source_bundle_id DESC LIMIT 1), 0);
BEGIN
    IF source_bundle_id < v_expected THEN
        RAISE EXCEPTION 'push % of this source is no longer known', source_bundle_id
            USING ERRCODE = 'TD014', DETAIL = format('The next one is %s.', v_expected), HINT = 'Rebuild from a snapshot, as a new source.';
    ELSIF source_bundle_id > v_expected THEN
        RAISE EXCEPTION 'push % of this source is out of order', source_bundle_id
            USING ERRCODE = 'TD112', DETAIL = format('The next one is %s.', v_expected), HINT = 'Number the pushes of a source 1, 2, 3 ..., without gaps.';
    END IF;
END;
$$;
COMMENT ON FUNCTION tide.assert_next_push(text, text, bigint) IS 'Raises TD014 or TD112 unless this is the next number of the source. Internal.';
-- +goose StatementEnd

-- +goose StatementBegin
-- The first write of a push is its number: a second one with the same number waits here until the
-- first has ended, and then finds it, or takes its place.
CREATE OR REPLACE FUNCTION tide.claim_push(user_id text, source_id text, source_bundle_id bigint, row_count bigint, initialization_id uuid, bundle_uuid uuid)
    RETURNS boolean
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path = pg_catalog, pg_temp
AS $$
#variable_conflict use_variable
DECLARE
    v_known boolean;
    v_kind  text;
    v_last  bigint;
    v_next  boolean;
BEGIN
    IF source_bundle_id IS NULL OR source_bundle_id <= 0 THEN
        RAISE EXCEPTION 'source_bundle_id is not positive' USING ERRCODE = 'TD101', HINT = 'Number the pushes of a source 1, 2, 3 ...';
    END IF;
    -- A device that has pushed before, and nothing in its way: seen at once, as a push is mostly of one row.
    SELECT o.kind, t.maintenance_message IS NULL AND initialization_id IS NULL
           AND NOT EXISTS (SELECT FROM tide.source_replacement AS r WHERE r.user_id = o.user_id AND r.source_id = o.source_id),
           (SELECT p.source_bundle_id FROM tide.push_log AS p WHERE p.user_id = o.user_id AND p.source_id = o.source_id ORDER BY p.source_bundle_id DESC LIMIT 1)
      INTO v_kind, v_known, v_last
      FROM tide.source AS o JOIN tide.scope AS s ON s.user_id = o.user_id CROSS JOIN tide.setting AS t
     WHERE o.user_id = user_id AND o.source_id = source_id;
    -- A retry gets its answer whatever has changed meanwhile.
    v_next := coalesce(source_bundle_id = v_last + 1, false);
    IF NOT v_next AND tide.is_committed(user_id, source_id, source_bundle_id, bundle_uuid) THEN
        RETURN false;
    END IF;
    IF v_known IS NOT TRUE THEN
        PERFORM tide.assert_open();
        PERFORM tide.assert_source(user_id, source_id);
        PERFORM tide.assert_initialization(user_id, source_id, initialization_id);
    END IF;
    INSERT INTO tide.push_log AS p (user_id, source_id, source_bundle_id, bundle_uuid, row_count) VALUES (user_id, source_id, source_bundle_id, bundle_uuid, row_count)
        ON CONFLICT DO NOTHING;
    IF NOT FOUND THEN
        PERFORM tide.is_committed(user_id, source_id, source_bundle_id, bundle_uuid);
        RETURN false;
    END IF;
    -- Not before: another one with this number may have been committed since it was looked for.
    IF NOT v_next THEN
        PERFORM tide.assert_next_push(user_id, source_id, source_bundle_id);
    END IF;
    IF v_known IS NOT TRUE THEN
        PERFORM tide.meet_source(user_id, source_id);
        INSERT INTO tide.scope AS s (user_id) VALUES (user_id) ON CONFLICT DO NOTHING;
        v_kind := tide.source_kind(user_id, source_id);
    END IF;
    PERFORM tide.set_origin(source_id, source_bundle_id);
    PERFORM set_config('tide.push_kind', v_kind, true);
    RETURN true;
END;
$$;
COMMENT ON FUNCTION tide.claim_push(text, text, bigint, bigint, uuid, uuid) IS 'Takes the number of a push; false when it was committed before. Raises TD014, TD017, TD101, TD108 to TD114, TD129. Internal.';
-- +goose StatementEnd

-- +goose StatementBegin
CREATE OR REPLACE FUNCTION tide.lock_pushed(rows tide.pushed_row[], user_id text)
    RETURNS TABLE (ordinal bigint, dead boolean)
    LANGUAGE plpgsql
    SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    v_role  text := current_setting('role');
    v_group record;
BEGIN
    -- All pushes lock in the same order: by table, then by key.
    FOR v_group IN SELECT * FROM tide.push_groups(rows, false) AS g ORDER BY g.table_id LOOP
        IF v_group.rls THEN
            PERFORM set_config('role', tide.client_role(), true);
        END IF;
        RETURN QUERY EXECUTE format('SELECT * FROM tide.push_%s_lock($1, $2, $3)', v_group.table_id)
            USING v_group.rows, user_id, EXISTS (SELECT FROM unnest(v_group.rows) AS r WHERE r.op = 'D');
        IF v_group.rls THEN
            PERFORM set_config('role', v_role, true);
        END IF;
    END LOOP;
END;
$$;
COMMENT ON FUNCTION tide.lock_pushed(tide.pushed_row[], text) IS 'Locks the rows that a push is about, and returns those that are there. Internal.';
-- +goose StatementEnd

-- +goose StatementBegin
CREATE OR REPLACE FUNCTION tide.is_cursor_push()
    RETURNS boolean
    LANGUAGE sql STABLE
    RETURN coalesce(current_setting('tide.push_kind', true), '') = 'cursor';
COMMENT ON FUNCTION tide.is_cursor_push() IS 'Whether the push of this transaction comes from a device that reads many buckets: its versions are bundle_ids. Internal.';
-- +goose StatementEnd

-- +goose StatementBegin
CREATE OR REPLACE FUNCTION tide.push_buckets(user_id text)
    RETURNS text[]
    LANGUAGE plpgsql STABLE SECURITY DEFINER
    SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    RETURN CASE WHEN tide.is_cursor_push() THEN tide.buckets_of(user_id) ELSE ARRAY[tide.home_bucket(user_id)] END;
END;
$$;
COMMENT ON FUNCTION tide.push_buckets(text) IS 'Buckets that the device of a push hears of. Raises TD032. Internal.';
-- +goose StatementEnd

-- +goose StatementBegin
-- A row is in conflict when it is there and should not be, when it is not and should, or when the
-- log holds a later change of it than the version the device made its own upon. Changes of one key
-- by several transactions are drawn in the order in which these committed, so the newest counts.
-- A version is a position of the home bucket, and stands for all that was sealed up to its bundle; from a
-- device that reads many buckets it is a bundle_id. What such a one made upon a version before the table was
-- last read again, the log cannot tell: it is in conflict with the row as it is.
CREATE OR REPLACE FUNCTION tide.judge_push(
    user_id text, rows tide.pushed_row[], live bigint[], dead boolean[],
    OUT ordinal bigint, OUT row_exists boolean, OUT deleted boolean, OUT changed_by xid8, OUT pruned boolean
)
    RETURNS SETOF record
    LANGUAGE plpgsql VOLATILE SECURITY DEFINER
    SET search_path = pg_catalog, pg_temp
    SET plan_cache_mode = force_generic_plan
    SET enable_seqscan = off SET enable_bitmapscan = off SET enable_mergejoin = off SET max_parallel_workers_per_gather = 0 SET jit = off
AS $$
#variable_conflict use_column
DECLARE
    v_home  text COLLATE "C" := tide.home_bucket(user_id);
    v_mine  text[];
    v_many  boolean := tide.is_cursor_push();
    v_floor bigint := 0;
    v_head  bigint := 0;
    v_missed boolean;
    v_paused boolean;
    v_fresh  tide.change_log[];
    v_hashes bigint[] := ARRAY(SELECT r.key_hash FROM unnest(rows) AS r);
BEGIN
    SELECT EXISTS (SELECT FROM tide.missed_log), s.paused_at IS NOT NULL INTO v_missed, v_paused FROM tide.setting AS s;
    IF v_missed THEN
        v_missed := EXISTS (SELECT FROM tide.missed_log AS m
                             WHERE m.table_id IN (SELECT r.table_id FROM unnest(rows) AS r)
                               AND NOT pg_visible_in_snapshot(m.xid, (SELECT s.snap FROM tide.seal_log AS s ORDER BY s.seal_id DESC LIMIT 1)));
    END IF;
    IF v_missed OR v_paused THEN
        RAISE EXCEPTION 'capture is paused, or changes of a table were missed and it was not read again yet'
            USING ERRCODE = 'TD126', HINT = 'Try again; SELECT * FROM tide.check() says more.';
    END IF;
    -- Rows that were all new: nothing of their keys is known, as a rule.
    -- In two steps: what is not asked costs nothing.
    IF live IS NULL THEN
        IF NOT EXISTS (SELECT FROM tide.key_log AS l WHERE l.key_hash = ANY (v_hashes))
           AND NOT EXISTS (SELECT FROM tide.unsealed_changes() AS u WHERE u.key_hash = ANY (v_hashes)) THEN
            RETURN;
        END IF;
    END IF;
    -- Asked for before what is sealed: a seal that comes between takes nothing away.
    v_fresh := ARRAY(SELECT u FROM tide.unsealed_changes() AS u WHERE u.op IN ('I', 'U', 'D') AND u.key_hash = ANY (v_hashes));
    IF v_many THEN
        v_head := tide.head();
    ELSIF EXISTS (SELECT FROM unnest(rows) AS r WHERE r.base <> 0) THEN
        SELECT p.floor_seq, p.head_seq INTO v_floor, v_head FROM tide.bucket_position(v_home) AS p;
    END IF;
    -- Most of the time the newest change of each row is in the very bundle that the device names, or there is none.
    IF cardinality(v_fresh) = 0 AND NOT EXISTS (
        SELECT FROM unnest(rows) AS r
          LEFT JOIN unnest(live, dead) AS l (ordinal, dead) ON l.ordinal = r.ordinal
         CROSS JOIN LATERAL (
                   SELECT (SELECT k.xid FROM tide.key_log AS k
                            CROSS JOIN LATERAL (SELECT l.op, l.table_id, l.row_key FROM tide.change_log AS l WHERE l.xid = k.xid AND l.change_id = k.change_id OFFSET 0) AS c
                            WHERE k.key_hash = r.key_hash AND c.table_id = r.table_id AND c.row_key = r.row_key COLLATE "C" AND c.op IN ('I', 'U', 'D')
                            ORDER BY k.change_id DESC LIMIT 1) AS xid OFFSET 0) AS c -- asked once, not wherever it is named
         WHERE CASE WHEN r.op = 'I' THEN l.ordinal IS NOT NULL OR r.base <> 0 OR c.xid IS NOT NULL
                    ELSE v_many OR l.dead IS DISTINCT FROM false OR r.base = 0 OR r.base NOT BETWEEN v_floor AND v_head
                         OR c.xid IS NOT NULL AND (c.xid <> (SELECT b.xid FROM tide.bundle_log AS b WHERE b.bucket_id = v_home AND b.bundle_seq = r.base)) IS NOT FALSE
               END) THEN
        RETURN;
    END IF;
    v_mine := tide.push_buckets(user_id);
    RETURN QUERY
    WITH base AS MATERIALIZED (
        SELECT d.base, s.snap, before.snap AS snap_before, b.bundle_id IS NULL OR b.bundle_id = s.last_bundle_id AS is_last,
               (SELECT max(c.change_id) FROM tide.change_log AS c WHERE c.xid = b.xid AND c.op <> 'M') AS last_change_id
          FROM (SELECT DISTINCT r.base FROM unnest(rows) AS r WHERE r.base BETWEEN v_floor AND v_head AND r.base > 0) AS d
          LEFT JOIN LATERAL (SELECT l.bundle_id, l.seal_id, l.xid FROM tide.bundle_log AS l WHERE NOT v_many AND l.bucket_id = v_home AND l.bundle_seq = d.base
                              UNION ALL
                             (SELECT l.bundle_id, l.seal_id, l.xid FROM tide.bundle_log AS l WHERE v_many AND l.bundle_id = d.base LIMIT 1)) AS b ON true
          LEFT JOIN LATERAL (SELECT f.seal_id FROM tide.bucket_floor AS f WHERE NOT v_many AND f.bucket_id = v_home AND f.floor_seq = d.base
                              UNION ALL
                             SELECT o.seal_id FROM tide.seal_of(d.base) AS o WHERE v_many AND b.seal_id IS NULL) AS f ON true
          JOIN tide.seal_log AS s ON s.seal_id = coalesce(b.seal_id, f.seal_id)
          LEFT JOIN tide.seal_log AS before ON before.seal_id = s.seal_id - 1
    ), judged AS (
        SELECT r.ordinal, r.op, r.base, l.ordinal IS NOT NULL AND NOT l.dead AS live, l.dead, c.xid, c.op AS last_op,
               c.xid IS NOT NULL AND CASE
                   -- Below the floor the version that a conflict names must still do: else no device could ever use the key again.
                   WHEN b.base IS NULL AND r.op = 'I' AND r.base > 0 AND r.base <= v_head THEN tide.home_version(user_id, c.xid) <= r.base IS NOT TRUE
                   WHEN b.base IS NULL OR NOT pg_visible_in_snapshot(c.xid, b.snap) THEN true
                   WHEN pg_visible_in_snapshot(c.xid, b.snap_before) OR b.is_last THEN false
                   ELSE (SELECT max(o.change_id) FROM tide.change_log AS o WHERE o.xid = c.xid AND o.op <> 'M') > b.last_change_id
               END AS later,
               v_many AND r.op <> 'I' AND r.base < (SELECT s.last_bundle_id FROM tide.adoption_log AS a JOIN tide.seal_log AS s ON s.seal_id = a.seal_id
                                                     WHERE a.table_id = r.table_id AND a.error IS NULL ORDER BY a.seal_id DESC LIMIT 1) AS read_since
          FROM unnest(rows) AS r
          LEFT JOIN unnest(live, dead) AS l (ordinal, dead) ON l.ordinal = r.ordinal
          LEFT JOIN base AS b ON b.base = r.base
          LEFT JOIN LATERAL (
                    SELECT n.xid, n.op
                      FROM ((SELECT k.change_id, k.xid, c.op
                               FROM tide.key_log AS k
                              CROSS JOIN LATERAL (SELECT l.* FROM tide.change_log AS l WHERE l.xid = k.xid AND l.change_id = k.change_id OFFSET 0) AS c
                              WHERE k.key_hash = r.key_hash AND c.table_id = r.table_id AND c.row_key = r.row_key COLLATE "C" AND c.op IN ('I', 'U', 'D')
                                -- What happened to a row of somebody else is not told, nor what came and went in one transaction: nobody ever saw it.
                                AND (l.ordinal IS NOT NULL
                                     OR (v_mine && c.buckets OR v_mine && c.old_buckets)
                                        AND NOT tide.came_and_went(k.xid, r.key_hash, r.table_id, r.row_key))
                              ORDER BY k.change_id DESC LIMIT 1)
                             UNION ALL
                            (SELECT u.change_id, u.xid, u.op
                               FROM unnest(v_fresh) AS u
                              WHERE u.key_hash = r.key_hash AND u.table_id = r.table_id AND u.row_key = r.row_key COLLATE "C"
                                AND (l.ordinal IS NOT NULL
                                     OR (v_mine && u.buckets OR v_mine && u.old_buckets)
                                        AND NOT tide.came_and_went(u.xid, r.key_hash, r.table_id, r.row_key))
                              ORDER BY u.change_id DESC LIMIT 1)) AS n
                     ORDER BY n.change_id DESC
                     LIMIT 1) AS c ON true
    )
    SELECT j.ordinal, j.live, NOT j.live AND (j.last_op IS NOT NULL OR j.dead IS TRUE), CASE WHEN j.read_since IS NOT TRUE THEN j.xid END,
           j.op <> 'I' AND j.base > 0 AND j.base < v_floor OR j.base > v_head
      FROM judged AS j
     WHERE j.live = (j.op = 'I')
        OR j.later OR j.read_since
        OR j.op <> 'I' AND (j.base < v_floor OR j.base = 0)
        OR j.base > v_head;
END;
$$;
COMMENT ON FUNCTION tide.judge_push(text, tide.pushed_row[], bigint[], boolean[]) IS 'Rows of a push that are in conflict, given those that are there (locked before, in a statement of its own; NULL where all are new, and written). pruned: the log cannot tell. Raises TD126. Internal.';
-- +goose StatementEnd

-- +goose StatementBegin
CREATE OR REPLACE FUNCTION tide.home_version(user_id text, changed_by xid8)
    RETURNS bigint
    LANGUAGE plpgsql STABLE SECURITY DEFINER
    SET search_path = pg_catalog, pg_temp
    SET enable_seqscan = off SET jit = off
AS $$
DECLARE
    v_bundle_id bigint;
    v_version   bigint;
BEGIN
    IF tide.is_cursor_push() THEN
        RETURN CASE WHEN changed_by IS NULL THEN tide.head() ELSE tide.position_of(changed_by) END;
    END IF;
    IF changed_by IS NOT NULL THEN
        v_bundle_id := tide.position_of(changed_by);
        IF v_bundle_id IS NULL THEN
            RETURN NULL;
        END IF;
        v_version := (SELECT l.bundle_seq FROM tide.bundle_log AS l
                       WHERE l.bucket_id = tide.home_bucket(home_version.user_id) COLLATE "C" AND l.bundle_id <= v_bundle_id
                       ORDER BY l.bundle_id DESC LIMIT 1);
    END IF;
    -- Where it was there before the bucket began, or came into it when its table was read.
    RETURN coalesce(v_version, (SELECT greatest(p.floor_seq, 1) FROM tide.bucket_position(tide.home_bucket(user_id)) AS p));
END;
$$;
COMMENT ON FUNCTION tide.home_version(text, xid8) IS 'Version that a row last changed by this transaction has in the home bucket of a user; NULL while that is not sealed. In the push of a device that reads many buckets, its bundle_id. Internal.';
-- +goose StatementEnd

-- +goose StatementBegin
CREATE OR REPLACE FUNCTION tide.conflict_bodies(user_id text, source_id text, rows tide.pushed_row[], judged json, images json[], OUT conflicts json, OUT unsealed boolean)
    LANGUAGE sql STABLE SECURITY DEFINER
    SET search_path = pg_catalog, pg_temp
AS $$
    SELECT json_agg(row_to_json(b) ORDER BY r.ordinal), bool_or(v.version IS NULL)
      FROM json_to_recordset(judged) AS j (ordinal bigint, row_exists boolean, deleted boolean, changed_by xid8)
      JOIN unnest(rows) AS r ON r.ordinal = j.ordinal
      JOIN tide.synced_table AS s ON s.table_id = r.table_id
     CROSS JOIN (SELECT tide.source_shape(user_id, source_id) AS shape OFFSET 0) AS k
      LEFT JOIN (SELECT (e ->> 'ordinal')::bigint AS ordinal, e -> 'payload' AS payload FROM unnest(images) AS e) AS i ON i.ordinal = r.ordinal
     -- Once for each transaction (OFFSET 0 keeps it so): it has to be looked for, and often changed them all.
      JOIN (SELECT d.xid, tide.home_version(user_id, nullif(d.xid, '0')) AS version
              FROM (SELECT DISTINCT coalesce(e.changed_by, '0') AS xid FROM json_to_recordset(judged) AS e (changed_by xid8)) AS d
            OFFSET 0) AS v ON v.xid = coalesce(j.changed_by, '0')
     CROSS JOIN LATERAL (
               SELECT s.table_schema AS schema, s.table_name AS "table", r.row_key::json AS key, tide.op_name(r.op) AS op, r.base AS base_row_version,
                      CASE WHEN j.row_exists AND i.payload IS NOT NULL OR j.deleted
                           -- Not sealed yet: the newest position there is, which is older.
                           THEN coalesce(v.version, CASE WHEN tide.is_cursor_push() THEN tide.head() ELSE (SELECT p.head_seq FROM tide.bucket_position(tide.home_bucket(user_id)) AS p) END)
                           ELSE 0 END AS server_row_version,
                      j.deleted AS server_row_deleted,
                      CASE WHEN j.row_exists AND k.shape IS NULL THEN i.payload
                           WHEN j.row_exists THEN tide.project_payload(i.payload, k.shape -> (s.table_schema || '.' || s.table_name)) END AS server_row
           ) AS b;
$$;
COMMENT ON FUNCTION tide.conflict_bodies(text, text, tide.pushed_row[], json, json[]) IS 'Conflicts as the wire has them, with the columns that the device knows; unsealed when one has no version yet. Internal.';
-- +goose StatementEnd

-- +goose StatementBegin
-- Locking comes first and judging in a later statement, so that it sees what those had committed for
-- whom locking waited.
CREATE OR REPLACE FUNCTION tide.find_conflicts(rows tide.pushed_row[], user_id text, source_id text, OUT conflicts json, OUT rejected json, OUT unsealed boolean, OUT revived bigint[])
    LANGUAGE plpgsql
    SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    v_role   text := current_setting('role');
    v_live   bigint[];
    v_dead   boolean[];
    v_judged json;
    v_found  tide.pushed_row[];
    v_images json[] := '{}';
    v_more   json;
    v_group  record;
BEGIN
    SELECT coalesce(array_agg(l.ordinal), '{}'), coalesce(array_agg(l.dead), '{}') INTO v_live, v_dead FROM tide.lock_pushed(rows, user_id) AS l;
    SELECT json_agg(j) INTO v_judged FROM tide.judge_push(user_id, rows, v_live, v_dead) AS j;
    IF v_judged IS NULL THEN
        SELECT array_agg(l.ordinal) INTO revived FROM unnest(v_live, v_dead) AS l (ordinal, dead) WHERE l.dead;
        RETURN;
    END IF;
    IF EXISTS (SELECT FROM json_to_recordset(v_judged) AS j (pruned boolean) WHERE j.pruned) THEN
        RAISE EXCEPTION 'the log no longer tells what happened to these rows since then'
            USING ERRCODE = 'TD014',
                  DETAIL  = (SELECT format('Rows %s.', string_agg(j.ordinal::text, ', ')) FROM json_to_recordset(v_judged) AS j (ordinal bigint, pruned boolean) WHERE j.pruned),
                  HINT    = 'Take a snapshot, and make the changes again upon it.';
    END IF;
    SELECT array_agg(r) INTO v_found FROM unnest(rows) AS r WHERE r.ordinal IN (SELECT j.ordinal FROM json_to_recordset(v_judged) AS j (ordinal bigint));
    FOR v_group IN SELECT * FROM tide.push_groups(v_found, false) LOOP
        IF v_group.rls THEN
            PERFORM set_config('role', tide.client_role(), true);
        END IF;
        EXECUTE format('SELECT json_agg(i) FROM tide.push_%s_image($1, $2) AS i WHERE NOT i.dead', v_group.table_id) INTO v_more USING v_group.rows, user_id;
        IF v_group.rls THEN
            PERFORM set_config('role', v_role, true);
        END IF;
        v_images := v_images || ARRAY(SELECT e FROM json_array_elements(v_more) AS e);
    END LOOP;
    -- Seen, but not locked: the policies let it be read, not written.
    SELECT json_agg(tide.rejection_body(r, '42501', 'the row may be read, not written') ORDER BY r.ordinal)
      INTO rejected
      FROM unnest(v_found) AS r JOIN unnest(v_images) AS i ON (i ->> 'ordinal')::bigint = r.ordinal
     WHERE r.ordinal <> ALL (coalesce(v_live, '{}'));
    IF rejected IS NOT NULL THEN
        RETURN;
    END IF;
    SELECT b.conflicts, b.unsealed INTO conflicts, unsealed FROM tide.conflict_bodies(user_id, source_id, v_found, v_judged, v_images) AS b;
END;
$$;
COMMENT ON FUNCTION tide.find_conflicts(tide.pushed_row[], text, text) IS 'Locks the rows of a push and judges them. Conflicts, or rows that the caller may only read, as the wire has them, NULL for none; unsealed when one has no version yet; revived are rows to be inserted that are there, deleted softly. Raises TD014, TD126. Internal.';
-- +goose StatementEnd

-- +goose StatementBegin
CREATE OR REPLACE FUNCTION tide.rejection_body(pushed tide.pushed_row, state text, message text, constraint_name text DEFAULT NULL, column_name text DEFAULT NULL)
    RETURNS json
    LANGUAGE sql STABLE SECURITY DEFINER
    SET search_path = pg_catalog, pg_temp
AS $$
    SELECT json_strip_nulls(json_build_object(
               'row_ordinal', pushed.ordinal, 'schema', s.table_schema, 'table', s.table_name, 'key', pushed.row_key::json,
               'op', tide.op_name(pushed.op), 'sqlstate', state,
               'constraint', nullif(constraint_name, ''), 'column', nullif(column_name, ''), 'detail', nullif(message, '')))
      FROM tide.synced_table AS s
     WHERE s.table_id = pushed.table_id;
$$;
COMMENT ON FUNCTION tide.rejection_body(tide.pushed_row, text, text, text, text) IS 'A refused row as the wire has it. Internal.';
-- +goose StatementEnd

-- +goose StatementBegin
CREATE OR REPLACE FUNCTION tide.unknown_columns(rows tide.pushed_row[])
    RETURNS json
    LANGUAGE plpgsql STABLE SECURITY DEFINER
    SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    RETURN (SELECT json_agg(tide.rejection_body(r, '42703', format('column %s does not exist, or is not synced', to_json(u.name)), NULL, u.name) ORDER BY r.ordinal)
              FROM unnest(rows) AS r
              JOIN tide.synced_table AS s ON s.table_id = r.table_id
             CROSS JOIN LATERAL (SELECT min(c.name) AS name FROM unnest(r.columns) AS c (name) WHERE c.name <> ALL (s.push_columns)) AS u
             WHERE u.name IS NOT NULL);
END;
$$;
COMMENT ON FUNCTION tide.unknown_columns(tide.pushed_row[]) IS 'Pushed rows with a column that the table does not have by exactly that name, as the wire has them; NULL for none. Internal.';
-- +goose StatementEnd

-- +goose StatementBegin
CREATE OR REPLACE FUNCTION tide.rows_elsewhere(rows tide.pushed_row[], user_id text)
    RETURNS json
    LANGUAGE plpgsql STABLE SECURITY DEFINER
    SET search_path = pg_catalog, pg_temp
    SET plan_cache_mode = force_generic_plan
    SET enable_seqscan = off SET enable_bitmapscan = off SET max_parallel_workers_per_gather = 0 SET jit = off
AS $$
DECLARE
    -- A variable: partitions of other transactions are left out by it, and not by a function.
    v_xid      xid8 := pg_current_xact_id();
    v_mine     text[];
    v_rejected json;
BEGIN
    IF (SELECT count(*) FROM tide.change_log AS c WHERE c.xid = v_xid AND c.key_hash IS NOT NULL) < cardinality(rows) THEN
        RAISE EXCEPTION 'capture was paused meanwhile' USING ERRCODE = 'TD126', HINT = 'Try again.';
    END IF;
    IF NOT EXISTS (SELECT FROM unnest(rows) AS p WHERE p.rls) THEN
        -- Rows of their owner are in his bucket by their rule.
        RETURN NULL;
    END IF;
    v_mine := tide.push_buckets(user_id);
    SELECT json_agg(tide.rejection_body(r.pushed, 'TD103', 'the row lies in no bucket that this device knows') ORDER BY (r.pushed).ordinal)
      INTO v_rejected
      FROM (SELECT p AS pushed, p.table_id, p.row_key COLLATE "C" AS row_key FROM unnest(rows) AS p
             WHERE p.rls) AS r
      LEFT JOIN (SELECT c.table_id, c.row_key, bool_or(v_mine && c.buckets OR v_mine && c.old_buckets) AS here
                   FROM tide.change_log AS c WHERE c.xid = v_xid AND c.key_hash IS NOT NULL
                  GROUP BY c.table_id, c.row_key) AS own ON own.table_id = r.table_id AND own.row_key = r.row_key
      -- Where rules look at other tables, sealing will tell; until then this transaction foretells it.
      LEFT JOIN LATERAL (
               SELECT bool_or(v_mine && j.before OR v_mine && j.after) AS here
                 FROM tide.synced_table AS s
                CROSS JOIN LATERAL unnest(tide.judge_rows(s.table_id, ARRAY[ROW(s.table_id, NULL, NULL, r.row_key, NULL, NULL)::tide.rule_change])) AS j
                WHERE s.table_id = r.table_id AND s.derived) AS derived ON true
     WHERE own.here IS NOT TRUE AND derived.here IS NOT TRUE;
    RETURN v_rejected;
END;
$$;
COMMENT ON FUNCTION tide.rows_elsewhere(tide.pushed_row[], text) IS 'Pushed rows whose change, captured just now, is in no bucket that their device hears of. Raises TD126 when they were not captured. Internal.';
-- +goose StatementEnd

-- +goose StatementBegin
-- Deletes come first and free what inserts may need, or last, when they would cascade to rows that
-- move away; children go before parents and come after them.
CREATE OR REPLACE FUNCTION tide.write_pushed(rows tide.pushed_row[], user_id text, deletes_first boolean DEFAULT true)
    RETURNS void
    LANGUAGE plpgsql
    SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    v_group record;
BEGIN
    -- Most pushes are of one row, which has nothing to be ordered by.
    IF cardinality(rows) = 1 THEN
        PERFORM tide.run_push_step((rows[1]).table_id, (rows[1]).rls, (rows[1]).op, rows, user_id);
    ELSE
        FOR v_group IN
            SELECT * FROM tide.push_groups(rows, true) AS g
             ORDER BY CASE g.op WHEN 'D' THEN CASE WHEN deletes_first THEN 1 ELSE 4 END WHEN 'I' THEN 2 ELSE 3 END, CASE g.op WHEN 'D' THEN -g.fk_depth ELSE g.fk_depth END, g.table_id
        LOOP
            PERFORM tide.run_push_step(v_group.table_id, v_group.rls, v_group.op, v_group.rows, user_id);
        END LOOP;
    END IF;
    SET CONSTRAINTS ALL IMMEDIATE;
END;
$$;
COMMENT ON FUNCTION tide.write_pushed(tide.pushed_row[], text, boolean) IS 'Writes the rows of a push, all or none. Internal.';
-- +goose StatementEnd

-- +goose StatementBegin
-- After all rows at once have failed: with deletes last; then in the order of the device, each for
-- itself, and what fails again as long as others succeed, as it may need them; then what remains at
-- once, under keys that can wait. What fails even so is refused.
CREATE OR REPLACE FUNCTION tide.write_pushed_otherwise(rows tide.pushed_row[], user_id text)
    RETURNS json
    LANGUAGE plpgsql
    SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    v_waiting    tide.pushed_row[] := ARRAY(SELECT r FROM unnest(rows) AS r ORDER BY r.ordinal);
    v_failed     tide.pushed_row[];
    v_rejected   json[];
    v_row        tide.pushed_row;
    v_state      text;
    v_message    text;
    v_constraint text;
    v_column     text;
BEGIN
    IF 'D' = ANY (ARRAY(SELECT r.op FROM unnest(rows) AS r)) THEN
        BEGIN
            SET CONSTRAINTS ALL DEFERRED;
            PERFORM tide.write_pushed(rows, user_id, false);
            RETURN NULL;
        EXCEPTION
            WHEN OTHERS THEN
                IF tide.is_retryable(sqlstate) THEN
                    RAISE;
                END IF;
        END;
    END IF;
    LOOP
        v_failed := '{}';
        v_rejected := '{}';
        FOREACH v_row IN ARRAY v_waiting LOOP
            BEGIN
                PERFORM tide.write_pushed(ARRAY[v_row], user_id);
            EXCEPTION
                WHEN OTHERS THEN
                    IF tide.is_retryable(sqlstate) THEN
                        RAISE;
                    END IF;
                    -- DETAIL may show values that are not the caller's.
                    GET STACKED DIAGNOSTICS v_state = RETURNED_SQLSTATE, v_message = MESSAGE_TEXT, v_constraint = CONSTRAINT_NAME, v_column = COLUMN_NAME;
                    v_failed := v_failed || v_row;
                    v_rejected := v_rejected || tide.rejection_body(v_row, v_state, v_message, v_constraint, v_column);
            END;
        END LOOP;
        IF cardinality(v_failed) = 0 THEN
            RETURN NULL;
        END IF;
        EXIT WHEN cardinality(v_failed) = cardinality(v_waiting);
        v_waiting := v_failed;
    END LOOP;
    BEGIN
        SET CONSTRAINTS ALL DEFERRED;
        PERFORM tide.write_pushed(v_failed, user_id);
        RETURN NULL;
    EXCEPTION
        WHEN OTHERS THEN
            IF tide.is_retryable(sqlstate) THEN
                RAISE;
            END IF;
    END;
    RETURN array_to_json(v_rejected);
END;
$$;
COMMENT ON FUNCTION tide.write_pushed_otherwise(tide.pushed_row[], text) IS 'Writes the rows of a push in every other order; NULL when one succeeded, else the rows the database refuses, as the wire has them. Internal.';
-- +goose StatementEnd

-- +goose StatementBegin
CREATE OR REPLACE FUNCTION tide.renew_push_functions(rows tide.pushed_row[])
    RETURNS void
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path = pg_catalog, pg_temp SET jit = off
AS $$
BEGIN
    PERFORM tide.write_push_functions(t.table_id) FROM (SELECT DISTINCT r.table_id FROM unnest(rows) AS r) AS t;
END;
$$;
COMMENT ON FUNCTION tide.renew_push_functions(tide.pushed_row[]) IS 'Writes the push functions of tables that were altered anew. Internal.';
-- +goose StatementEnd

-- +goose StatementBegin
CREATE OR REPLACE FUNCTION tide.revive_rows(rows tide.pushed_row[], revived bigint[])
    RETURNS tide.pushed_row[]
    LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE
    SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    RETURN (
        SELECT CASE WHEN revived IS NULL THEN rows ELSE ARRAY(
                       SELECT ROW(r.ordinal, r.table_id, CASE WHEN r.ordinal = ANY (revived) THEN 'U' ELSE r.op END, r.base, r.key_hash, r.row_key, r.key, r.payload, r.columns, r.known, r.rls)::tide.pushed_row
                         FROM unnest(rows) AS r) END);
END;
$$;
COMMENT ON FUNCTION tide.revive_rows(tide.pushed_row[], bigint[]) IS 'Makes updates of inserts whose row is there, deleted softly. Internal.';
-- +goose StatementEnd

-- +goose StatementBegin
-- A refused push leaves nothing, not even its number: it runs in a subtransaction that ends with it.
CREATE OR REPLACE FUNCTION tide.apply_push(
    user_id text, source_id text, source_bundle_id bigint, rows tide.pushed_row[], initialization_id uuid, bundle_uuid uuid,
    OUT status text, OUT conflicts json, OUT rejected json, OUT unsealed boolean
)
    LANGUAGE plpgsql
    SET search_path = pg_catalog, pg_temp
AS $$
#variable_conflict use_variable
DECLARE
    v_revived bigint[];
    v_new     boolean;
    v_known   boolean;
BEGIN
    -- New rows need not be looked for first: to write them takes their keys, and then it shows whether they were there.
    SELECT bool_and(r.op = 'I' AND r.base = 0), bool_and(r.known) INTO v_new, v_known FROM unnest(rows) AS r;
    FOR v_try IN 1 .. 2 LOOP
        status := NULL;
        BEGIN
            IF NOT tide.claim_push(user_id, source_id, source_bundle_id, cardinality(rows), initialization_id, bundle_uuid) THEN
                status := 'already_committed';
                EXIT;
            END IF;
            IF NOT v_known THEN
                rejected := tide.unknown_columns(rows);
            END IF;
            WHILE rejected IS NULL LOOP
                IF NOT v_new THEN
                    SELECT f.conflicts, f.rejected, f.unsealed, f.revived INTO conflicts, rejected, unsealed, v_revived FROM tide.find_conflicts(rows, user_id, source_id) AS f;
                    EXIT WHEN conflicts IS NOT NULL OR rejected IS NOT NULL;
                END IF;
                BEGIN
                    SET CONSTRAINTS ALL DEFERRED;
                    PERFORM tide.write_pushed(CASE WHEN v_revived IS NULL THEN rows ELSE tide.revive_rows(rows, v_revived) END, user_id);
                    IF v_new AND EXISTS (SELECT FROM tide.judge_push(user_id, rows, NULL, NULL)) THEN
                        RAISE EXCEPTION 'a row was there before' USING ERRCODE = 'TD100', HINT = 'It is judged like any other.';
                    END IF;
                    status := 'applied';
                EXCEPTION
                    WHEN OTHERS THEN
                        IF tide.is_retryable(sqlstate) THEN
                            RAISE;
                        END IF;
                        v_new := v_new AND sqlstate IN ('TD100', '23505');
                END;
                EXIT WHEN status IS NOT NULL OR NOT v_new;
                v_new := false;
            END LOOP;
            IF rejected IS NULL AND conflicts IS NULL THEN
                IF status IS NULL THEN
                    PERFORM tide.renew_push_functions(rows);
                    rejected := tide.unknown_columns(rows);
                END IF;
                IF status IS NULL AND rejected IS NULL THEN
                    -- The key of an insert may have appeared meanwhile.
                    SELECT f.conflicts, f.rejected, f.unsealed, f.revived INTO conflicts, rejected, unsealed, v_revived FROM tide.find_conflicts(rows, user_id, source_id) AS f;
                    IF conflicts IS NULL AND rejected IS NULL THEN
                        rejected := tide.write_pushed_otherwise(tide.revive_rows(rows, v_revived), user_id);
                    END IF;
                END IF;
                IF conflicts IS NULL AND rejected IS NULL THEN
                    rejected := tide.rows_elsewhere(rows, user_id);
                END IF;
                IF conflicts IS NULL AND rejected IS NULL THEN
                    PERFORM tide.call_push_hook(user_id, source_id, source_bundle_id, rows);
                END IF;
            END IF;
            IF conflicts IS NOT NULL OR rejected IS NOT NULL THEN
                RAISE EXCEPTION 'refused' USING ERRCODE = 'TD100', HINT = 'The conflicts or the rejected rows say why.';
            END IF;
            status := 'applied';
            EXIT;
        EXCEPTION
            WHEN SQLSTATE 'TD100' THEN
                status := CASE WHEN conflicts IS NOT NULL THEN 'conflict' ELSE 'rejected' END;
                IF conflicts IS NOT NULL THEN
                    PERFORM tide.queue_conflict(user_id, source_id, source_bundle_id, conflicts);
                END IF;
                EXIT;
            WHEN syntax_error_or_access_rule_violation THEN
                -- The table was altered since its functions were written, perhaps.
                IF v_try = 2 THEN
                    RAISE;
                END IF;
                PERFORM tide.renew_push_functions(rows);
                v_known := false; -- by the functions of before
        END;
    END LOOP;
    unsealed := coalesce(unsealed, false);
END;
$$;
COMMENT ON FUNCTION tide.apply_push(text, text, bigint, tide.pushed_row[], uuid, uuid) IS 'Takes the number of a push, locks, judges and writes its rows; status applied, already_committed, conflict or rejected. Internal.';
-- +goose StatementEnd

-- +goose StatementBegin
CREATE OR REPLACE FUNCTION tide.begin_push(user_id text, claims json)
    RETURNS void
    LANGUAGE plpgsql
    SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    IF current_setting('transaction_isolation') <> 'read committed' THEN
        RAISE EXCEPTION 'a push must run under READ COMMITTED, not %', upper(current_setting('transaction_isolation'))
            USING ERRCODE = 'TD128', DETAIL = 'It judges rows after it has locked them, in a newer snapshot.', HINT = 'Begin another transaction.';
    END IF;
    -- What triggers and policies know of the caller. His changes are captured also when they change nothing, so that every push has an answer.
    PERFORM set_config('app.user_id', user_id, true),
            set_config('request.jwt.claims', coalesce(claims::text, json_build_object('sub', user_id)::text), true),
            set_config('tide.capture_equal', 'on', true);
END;
$$;
COMMENT ON FUNCTION tide.begin_push(text, json) IS 'Sets the identity of the caller for this transaction. Raises TD128. Internal.';
-- +goose StatementEnd

-- +goose StatementBegin
CREATE OR REPLACE FUNCTION tide.push(
    user_id text, source_id text, INOUT source_bundle_id bigint, rows json, claims json DEFAULT NULL, initialization_id uuid DEFAULT NULL,
    bundle_uuid uuid DEFAULT NULL,
    OUT status text, OUT conflicts json, OUT rejected json, OUT unsealed boolean
)
    LANGUAGE plpgsql
    SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    v_rows tide.pushed_row[];
BEGIN
    PERFORM tide.begin_push(user_id, claims);
    BEGIN
        v_rows := tide.parse_push(rows);
    EXCEPTION
        -- The answer to a retry does not depend on what its rows mean by now.
        WHEN OTHERS THEN
            IF NOT tide.is_committed(user_id, source_id, source_bundle_id, bundle_uuid) THEN
                RAISE;
            END IF;
            status := 'already_committed';
            unsealed := false;
            RETURN;
    END;
    SELECT a.status, a.conflicts, a.rejected, a.unsealed
      INTO status, conflicts, rejected, unsealed
      FROM tide.apply_push(user_id, source_id, source_bundle_id, v_rows, initialization_id, bundle_uuid) AS a;
END;
$$;
COMMENT ON FUNCTION tide.push(text, text, bigint, json, json, uuid, uuid) IS
'Applies one numbered push of a device, whole or not at all, as user_id. status: applied, already_committed (a retry; nothing was done), conflict or rejected (the rows say why; nothing was done). rows is the JSON array of the wire. tide.push_result gives its place in the log after a seal. Raises TD014, TD017, TD100 to TD129.';
-- +goose StatementEnd

-- +goose StatementBegin
-- Planned as a part of the query that it stands in. Among the newest of its bucket by its source and number:
-- what a seal moved by itself is of its last transaction too, and in another bundle.
-- + 0: the index of the bucket is the one that is meant.
CREATE OR REPLACE FUNCTION tide.newest_bundle_of(bucket text, push tide.push_log)
    RETURNS SETOF tide.bundle_log
    LANGUAGE sql STABLE
BEGIN ATOMIC
    SELECT l.*
      FROM (SELECT b.* FROM tide.bundle_log AS b
             WHERE b.bucket_id = bucket COLLATE "C"
               AND b.bundle_id + 0 <= (SELECT s.last_bundle_id FROM tide.seal_log AS s WHERE s.cut_change_id IS NULL ORDER BY s.seal_id DESC LIMIT 1)
             ORDER BY b.bundle_seq DESC LIMIT 8) AS l
     WHERE l.xid = (push).xid AND l.source_id = (push).source_id AND l.source_bundle_id = (push).source_bundle_id;
END;
COMMENT ON FUNCTION tide.newest_bundle_of(text, tide.push_log) IS 'The bundle of a push, if it may be read and is among the newest of a bucket. Internal.';
-- +goose StatementEnd

-- +goose StatementBegin
-- Planned as a part of the query that it stands in, like tide.newest_bundle_of.
CREATE OR REPLACE FUNCTION tide.newest_bundle(push tide.push_log)
    RETURNS SETOF tide.bundle_log
    LANGUAGE sql STABLE
BEGIN ATOMIC
    SELECT l.*
      FROM (SELECT b.* FROM tide.bundle_log AS b
             WHERE b.bundle_id <= (SELECT s.last_bundle_id FROM tide.seal_log AS s WHERE s.cut_change_id IS NULL ORDER BY s.seal_id DESC LIMIT 1)
             ORDER BY b.bundle_id DESC LIMIT 16) AS l
     WHERE l.xid = (push).xid AND l.source_id = (push).source_id AND l.source_bundle_id = (push).source_bundle_id
     LIMIT 1;
END;
COMMENT ON FUNCTION tide.newest_bundle(tide.push_log) IS 'A part of the bundle of a push, if it may be read and is among the newest of the log. Internal.';
-- +goose StatementEnd

-- +goose StatementBegin
CREATE OR REPLACE FUNCTION tide.push_result(user_id text, source_id text, source_bundle_id bigint)
    RETURNS TABLE (bundle_id bigint, bundle_seq bigint, row_count bigint, seal text)
    LANGUAGE plpgsql STABLE SECURITY DEFINER
    SET search_path = pg_catalog, pg_temp
    SET plan_cache_mode = force_generic_plan
    -- In the order of the index, however few bundles a bucket is thought to have.
    SET enable_seqscan = off SET enable_bitmapscan = off SET enable_sort = off SET max_parallel_workers_per_gather = 0 SET jit = off
AS $$
#variable_conflict use_column
DECLARE
    v_home text COLLATE "C" := tide.home_bucket(user_id);
    v_push tide.push_log;
BEGIN
    SELECT p.* INTO v_push FROM tide.push_log AS p
     WHERE p.user_id = push_result.user_id AND p.source_id = push_result.source_id AND p.source_bundle_id = push_result.source_bundle_id;
    IF NOT FOUND THEN
        RETURN;
    END IF;
    -- Just sealed, it is among the newest of its bucket; a late retry looks for it by its transaction.
    RETURN QUERY
    SELECT l.bundle_id, l.bundle_seq, cardinality(l.changes)::bigint, (SELECT s.seal_id || '-' || s.identity FROM tide.seal_log AS s WHERE s.seal_id = l.seal_id)
      FROM tide.newest_bundle_of(v_home, v_push) AS l;
    IF FOUND THEN
        RETURN;
    END IF;
    bundle_id := tide.position_of(v_push.xid);
    SELECT b.bundle_seq, cardinality(b.changes) INTO bundle_seq, row_count
      FROM tide.bundle_log AS b WHERE b.bucket_id = v_home AND b.bundle_id = push_result.bundle_id AND b.xid = v_push.xid AND b.source_id = push_result.source_id;
    bundle_seq := coalesce(bundle_seq, 0);
    row_count := coalesce(row_count, v_push.row_count);
    SELECT s.seal_id || '-' || s.identity INTO seal FROM tide.seal_of(push_result.bundle_id) AS s;
    RETURN NEXT;
END;
$$;
COMMENT ON FUNCTION tide.push_result(text, text, bigint) IS
'Where a push stands in the log: no row when there was no such push, bundle_id NULL while it is not sealed, bundle_seq 0 when none of its rows is in the home bucket of its user. seal is the one it was sealed by: a history that has it has the push.';
-- +goose StatementEnd

-- +goose StatementBegin
CREATE OR REPLACE FUNCTION tide.pushed_rows(user_id text, source_id text, source_bundle_id bigint, bundle_id bigint)
    RETURNS TABLE (
        row_bundle_id bigint, row_ordinal bigint, buckets text[], table_schema text, table_name text, key json, op text, payload json
    )
    LANGUAGE plpgsql STABLE SECURITY DEFINER
    SET search_path = pg_catalog, pg_temp
    SET plan_cache_mode = force_generic_plan
    SET enable_hashjoin = off SET enable_mergejoin = off SET enable_seqscan = off SET enable_bitmapscan = off SET max_parallel_workers_per_gather = 0 SET jit = off
AS $$
#variable_conflict use_column
DECLARE
    -- Not in the query: the planner would call it too, to estimate rows.
    v_may       text[] := tide.buckets_of(pushed_rows.user_id);
    v_counted   jsonb;
    v_buckets   text[];
    v_ids       bigint[];
    v_shape     jsonb := tide.source_shape(pushed_rows.user_id, pushed_rows.source_id);
BEGIN
    SELECT jsonb_object_agg(b, 0) INTO v_counted FROM unnest(v_may) AS b;
    SELECT array_agg(l.bucket_id::text), array_agg(l.bundle_id) INTO v_buckets, v_ids
      FROM tide.push_log AS p
      JOIN tide.bundle_log AS l ON l.bundle_id = pushed_rows.bundle_id AND l.xid = p.xid
     WHERE p.user_id = pushed_rows.user_id AND p.source_id = pushed_rows.source_id AND p.source_bundle_id = pushed_rows.source_bundle_id
       AND jsonb_exists(v_counted, l.bucket_id);
    RETURN QUERY
    SELECT b.bundle_id, b.row_ordinal, b.buckets, b.table_schema, b.table_name, b.row_key::json, b.op, b.payload
      FROM tide.bundles_for(v_counted, v_ids, v_buckets, v_shape) AS b
     WHERE b.row_ordinal IS NOT NULL;
END;
$$;
COMMENT ON FUNCTION tide.pushed_rows(text, text, bigint, bigint) IS
'Rows of a push, sealed as this bundle, as they are in the log, over all buckets that its user may read now. Raises TD014, TD032. Internal.';
-- +goose StatementEnd

-- +goose StatementBegin
CREATE OR REPLACE FUNCTION tide.pushed_bundle(user_id text, source_id text, source_bundle_id bigint, max_rows integer)
    RETURNS TABLE (
        bundle_id bigint, bundle_seq bigint, row_count bigint, seal text, kind text,
        row_version bigint, buckets text[], table_schema text, table_name text, key json, op text, payload json,
        sealed_at timestamptz, bundle_source_id text, bundle_source_bundle_id bigint
    )
    LANGUAGE plpgsql STABLE SECURITY DEFINER
    SET search_path = pg_catalog, pg_temp
    SET plan_cache_mode = force_generic_plan
    SET enable_hashjoin = off SET enable_mergejoin = off SET enable_seqscan = off SET enable_bitmapscan = off SET enable_sort = off
    SET max_parallel_workers_per_gather = 0 SET jit = off
AS $$
#variable_conflict use_column
DECLARE
    v_home  text COLLATE "C" := tide.home_bucket(user_id);
    v_knows boolean; -- all tables and columns that there are
    v_may   text[];
    v_push  record;
BEGIN
    SELECT o.kind, o.shape_id = t.shape_id INTO kind, v_knows
      FROM tide.source AS o CROSS JOIN tide.setting AS t WHERE o.user_id = pushed_bundle.user_id AND o.source_id = pushed_bundle.source_id;
    -- As a rule it was sealed just now, and is in one bucket: one query tells.
    IF v_knows AND kind = 'v1' THEN
        RETURN QUERY
        SELECT b.bundle_id, b.bundle_seq, n.row_count, NULL::text, 'v1',
               b.bundle_seq, NULL::text[], r.table_schema, r.table_name, r.key, r.op, r.payload, b.sealed_at, r.source_id, r.source_bundle_id
          FROM tide.push_log AS p
         CROSS JOIN LATERAL tide.newest_bundle_of(v_home, p) AS b
         CROSS JOIN LATERAL (SELECT cardinality(b.changes)::bigint AS row_count OFFSET 0) AS n -- once: a long list is stored elsewhere
         CROSS JOIN LATERAL tide.bundle_page(b, 1, least(greatest(max_rows, 1), n.row_count)) AS r
         WHERE p.user_id = pushed_bundle.user_id AND p.source_id = pushed_bundle.source_id AND p.source_bundle_id = pushed_bundle.source_bundle_id;
        IF FOUND THEN
            RETURN;
        END IF;
    ELSIF v_knows AND kind = 'cursor' AND max_rows > 0 THEN
        v_may := tide.buckets_of(user_id);
        RETURN QUERY
        SELECT b.bundle_id, CASE WHEN b.bucket_id = v_home THEN b.bundle_seq ELSE 0 END, CASE WHEN b.bucket_id = v_home THEN cardinality(b.changes)::bigint ELSE p.row_count END, s.seal_id || '-' || s.identity, 'cursor',
               b.bundle_id, CASE WHEN r.op = 'DELETE' THEN '{}' ELSE ARRAY[b.bucket_id::text] END, r.table_schema, r.table_name, r.key, r.op, r.payload, NULL::timestamptz, NULL::text, NULL::bigint
          FROM tide.push_log AS p
         CROSS JOIN LATERAL tide.newest_bundle(p) AS b
          JOIN tide.seal_log AS s ON s.seal_id = b.seal_id
         CROSS JOIN LATERAL tide.bundle_page(b, 1, cardinality(b.changes)) AS r
         WHERE p.user_id = pushed_bundle.user_id AND p.source_id = pushed_bundle.source_id AND p.source_bundle_id = pushed_bundle.source_bundle_id
           AND b.bucket_id = ANY (v_may) AND NOT EXISTS (SELECT FROM tide.bundle_log AS e WHERE e.bundle_id = b.bundle_id AND e.bucket_id <> b.bucket_id);
        IF FOUND THEN
            RETURN;
        END IF;
    END IF;
    SELECT r.* INTO v_push FROM tide.push_result(pushed_bundle.user_id, pushed_bundle.source_id, pushed_bundle.source_bundle_id) AS r;
    IF NOT FOUND THEN
        RETURN;
    END IF;
    bundle_id := v_push.bundle_id;
    bundle_seq := v_push.bundle_seq;
    row_count := v_push.row_count;
    seal := v_push.seal;
    kind := coalesce(kind, 'v1');
    IF kind = 'cursor' THEN
        RETURN QUERY
        SELECT v_push.bundle_id, v_push.bundle_seq, v_push.row_count, v_push.seal, 'cursor',
               r.row_bundle_id, r.buckets, r.table_schema, r.table_name, r.key, r.op, r.payload, NULL::timestamptz, NULL::text, NULL::bigint
          FROM tide.pushed_rows(pushed_bundle.user_id, pushed_bundle.source_id, pushed_bundle.source_bundle_id, v_push.bundle_id) AS r WHERE max_rows > 0;
    ELSE
        RETURN QUERY
        SELECT v_push.bundle_id, v_push.bundle_seq, v_push.row_count, v_push.seal, 'v1',
               v_push.bundle_seq, NULL::text[], r.table_schema, r.table_name, r.key, r.op, r.payload, r.sealed_at, r.source_id, r.source_bundle_id
          FROM tide.device_bundle_rows(pushed_bundle.user_id, pushed_bundle.source_id, nullif(v_push.bundle_seq, 0), -1, greatest(max_rows, 1)) AS r;
    END IF;
    IF NOT FOUND THEN
        RETURN NEXT;
    END IF;
END;
$$;
COMMENT ON FUNCTION tide.pushed_bundle(text, text, bigint, integer) IS
'What tide.push_result says of a push, with its rows as the device gets them, once they are sealed: for one that reads its home bucket so many of them, and one at least, with the name of their bundle; for one that reads many buckets all, or none with max_rows 0. One row without op where there are none. The seal is for devices that read many buckets; others may get NULL. Raises TD014, TD032.';
-- +goose StatementEnd

-- +goose StatementBegin
CREATE OR REPLACE FUNCTION tide.assert_push_session(user_id text, source_id text, push_id uuid)
    RETURNS tide.push_session
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    v_session tide.push_session;
BEGIN
    SELECT s.* INTO v_session FROM tide.push_session AS s WHERE s.push_id = assert_push_session.push_id FOR UPDATE;
    IF v_session.push_id IS NULL THEN
        RAISE EXCEPTION 'there is no such push session' USING ERRCODE = 'TD105', HINT = 'Create another one.';
    END IF;
    IF v_session.user_id <> user_id OR v_session.source_id <> source_id THEN
        RAISE EXCEPTION 'this push session belongs to another device' USING ERRCODE = 'TD106', HINT = 'Create one of your own.';
    END IF;
    IF v_session.expires_at <= clock_timestamp() THEN
        RAISE EXCEPTION 'this push session has expired' USING ERRCODE = 'TD107', DETAIL = format('It ended at %s.', v_session.expires_at), HINT = 'Create another one.';
    END IF;
    RETURN v_session;
END;
$$;
COMMENT ON FUNCTION tide.assert_push_session(text, text, uuid) IS 'The push session of a device, locked. Raises TD105 to TD107. Internal.';
-- +goose StatementEnd

-- +goose StatementBegin
CREATE OR REPLACE FUNCTION tide.create_push_session(
    user_id text, source_id text, source_bundle_id bigint, planned_row_count bigint, initialization_id uuid DEFAULT NULL,
    bundle_uuid uuid DEFAULT NULL,
    OUT status text, OUT push_id uuid
)
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path = pg_catalog, pg_temp
AS $$
#variable_conflict use_column
DECLARE
    v_user    text COLLATE "C" := user_id;
    v_source  text COLLATE "C" := source_id;
    v_setting tide.setting := (SELECT s FROM tide.setting AS s);
BEGIN
    IF source_bundle_id IS NULL OR source_bundle_id <= 0 OR planned_row_count IS NULL OR planned_row_count <= 0 THEN
        RAISE EXCEPTION 'a push has a number and rows' USING ERRCODE = 'TD101', HINT = 'source_bundle_id and planned_row_count are positive.';
    END IF;
    IF planned_row_count > v_setting.max_rows_per_push THEN
        RAISE EXCEPTION 'a push of % rows is too large', planned_row_count
            USING ERRCODE = 'TD127', DETAIL = format('At most %s are allowed.', v_setting.max_rows_per_push), HINT = 'Push in several bundles.';
    END IF;
    -- The answer to a retry comes first: what was committed stays committed, whatever the home bucket is now.
    IF tide.is_committed(v_user, v_source, source_bundle_id, bundle_uuid) THEN
        status := 'already_committed';
        RETURN;
    END IF;
    PERFORM tide.assert_open();
    PERFORM tide.assert_initialization(v_user, v_source, initialization_id);
    PERFORM tide.assert_source(v_user, v_source);
    PERFORM tide.assert_next_push(v_user, v_source, source_bundle_id);
    DELETE FROM tide.push_session AS s WHERE s.user_id = v_user AND (s.source_id = v_source OR s.expires_at <= clock_timestamp());
    FOR v_slot IN 1 .. v_setting.max_push_sessions LOOP
        INSERT INTO tide.push_session AS s (user_id, source_id, slot, source_bundle_id, planned_row_count, initialization_id, bundle_uuid, expires_at)
        VALUES (v_user, v_source, v_slot, source_bundle_id, planned_row_count, initialization_id, bundle_uuid, clock_timestamp() + v_setting.push_session_ttl)
            ON CONFLICT (user_id, slot) DO NOTHING
        RETURNING s.push_id INTO push_id;
        EXIT WHEN push_id IS NOT NULL;
    END LOOP;
    IF push_id IS NULL THEN
        RAISE EXCEPTION 'this user has too many open push sessions'
            USING ERRCODE = 'TD125', DETAIL = format('At most %s are allowed.', v_setting.max_push_sessions), HINT = 'Finish or delete one, or wait.';
    END IF;
    status := 'staging';
END;
$$;
COMMENT ON FUNCTION tide.create_push_session(text, text, bigint, bigint, uuid, uuid) IS
'Begins a push that arrives in chunks, and ends an earlier one of the same source; status staging, or already_committed for a retry. Raises TD014, TD017, TD101, TD108 to TD114, TD125, TD127, TD129.';
-- +goose StatementEnd

-- +goose StatementBegin
CREATE OR REPLACE FUNCTION tide.add_push_chunk(user_id text, source_id text, push_id uuid, start_row_ordinal bigint, rows json)
    RETURNS bigint
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path = pg_catalog, pg_temp
AS $$
#variable_conflict use_variable
DECLARE
    v_setting tide.setting := (SELECT s FROM tide.setting AS s);
    v_session tide.push_session := tide.assert_push_session(user_id, source_id, push_id);
    v_last    tide.push_chunk;
    v_next    bigint;
    v_count   bigint;
BEGIN
    PERFORM tide.assert_open();
    PERFORM tide.assert_source(user_id, source_id);
    PERFORM tide.assert_initialization(user_id, source_id, v_session.initialization_id);
    IF start_row_ordinal IS NULL OR start_row_ordinal < 0 THEN
        RAISE EXCEPTION 'start_row_ordinal is not valid' USING ERRCODE = 'TD102', HINT = 'Rows count from 0.';
    END IF;
    SELECT c.* INTO v_last FROM tide.push_chunk AS c WHERE c.push_id = v_session.push_id ORDER BY c.start_row_ordinal DESC LIMIT 1;
    v_next := coalesce(v_last.start_row_ordinal + v_last.row_count, 0);
    -- The answer to the newest chunk was lost, perhaps.
    IF start_row_ordinal = v_last.start_row_ordinal AND v_last.rows::text = rows::text THEN
        RETURN v_next;
    END IF;
    IF start_row_ordinal <> v_next THEN
        RAISE EXCEPTION 'this chunk is out of order'
            USING ERRCODE = 'TD104', DETAIL = format('It begins at row %s, the next one is %s.', start_row_ordinal, v_next), HINT = 'Go on from there.';
    END IF;
    v_count := cardinality(tide.parse_push(rows, start_row_ordinal));
    IF v_count > v_setting.max_rows_per_chunk THEN
        RAISE EXCEPTION 'a chunk of % rows is too large', v_count
            USING ERRCODE = 'TD102', DETAIL = format('At most %s are allowed.', v_setting.max_rows_per_chunk), HINT = 'Send smaller ones.';
    ELSIF v_next + v_count > v_session.planned_row_count THEN
        RAISE EXCEPTION 'the push was planned with % rows', v_session.planned_row_count
            USING ERRCODE = 'TD102', DETAIL = format('With this chunk it has %s.', v_next + v_count), HINT = 'Plan another push.';
    ELSIF octet_length(rows::text) + (SELECT coalesce(sum(octet_length(c.rows::text)), 0) FROM tide.push_chunk AS c WHERE c.push_id = v_session.push_id) > v_setting.max_bytes_per_push THEN
        RAISE EXCEPTION 'the push is too large'
            USING ERRCODE = 'TD127', DETAIL = format('At most %s bytes are allowed.', v_setting.max_bytes_per_push), HINT = 'Push in several bundles.';
    END IF;
    INSERT INTO tide.push_chunk (push_id, start_row_ordinal, row_count, rows) VALUES (v_session.push_id, v_next, v_count, rows);
    RETURN v_next + v_count;
END;
$$;
COMMENT ON FUNCTION tide.add_push_chunk(text, text, uuid, bigint, json) IS
'Adds rows to a push session, and returns the ordinal of the next one. The newest chunk may be sent again. Raises TD102, TD104 to TD107, TD110, TD111, TD114, TD127, TD129.';
-- +goose StatementEnd

-- +goose StatementBegin
CREATE OR REPLACE FUNCTION tide.staged_push(user_id text, source_id text, push_id uuid, OUT session tide.push_session, OUT rows tide.pushed_row[])
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path = pg_catalog, pg_temp
AS $$
#variable_conflict use_column
BEGIN
    session := tide.assert_push_session(user_id, source_id, staged_push.push_id);
    -- It was committed already: its number is answered, whatever has become of its rows.
    IF tide.is_committed(user_id, source_id, (session).source_bundle_id, (session).bundle_uuid) THEN
        RETURN;
    END IF;
    PERFORM tide.assert_source(user_id, source_id);
    IF (SELECT coalesce(sum(c.row_count), 0) FROM tide.push_chunk AS c WHERE c.push_id = (session).push_id) <> (session).planned_row_count THEN
        RAISE EXCEPTION 'the push is not complete'
            USING ERRCODE = 'TD103',
                  DETAIL  = format('It was planned with %s rows and has %s.', (session).planned_row_count, (SELECT coalesce(sum(c.row_count), 0) FROM tide.push_chunk AS c WHERE c.push_id = (session).push_id)),
                  HINT    = 'Send the missing chunks.';
    END IF;
    SELECT array_agg(r ORDER BY r.ordinal) INTO rows
      FROM tide.push_chunk AS c CROSS JOIN LATERAL unnest(tide.parse_push(c.rows, c.start_row_ordinal)) AS r
     WHERE c.push_id = (session).push_id;
    IF EXISTS (SELECT FROM unnest(rows) AS r GROUP BY r.table_id, r.row_key COLLATE "C" HAVING count(*) > 1) THEN
        RAISE EXCEPTION 'the push has a key twice' USING ERRCODE = 'TD103', HINT = 'Send one row for each key.';
    END IF;
END;
$$;
COMMENT ON FUNCTION tide.staged_push(text, text, uuid) IS 'A push session with all its rows; without rows when it was committed already. Raises TD102, TD103, TD105 to TD107, TD113, TD114. Internal.';
-- +goose StatementEnd

-- +goose StatementBegin
CREATE OR REPLACE FUNCTION tide.forget_push_chunks(user_id text, source_id text, push_id uuid)
    RETURNS void
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    DELETE FROM tide.push_chunk AS c
     USING tide.push_session AS s
     WHERE s.push_id = forget_push_chunks.push_id AND s.user_id = forget_push_chunks.user_id AND s.source_id = forget_push_chunks.source_id
       AND c.push_id = s.push_id;
END;
$$;
COMMENT ON FUNCTION tide.forget_push_chunks(text, text, uuid) IS 'Drops the rows of a session that was committed; the session answers retries until it expires. Internal.';
-- +goose StatementEnd

-- +goose StatementBegin
CREATE OR REPLACE FUNCTION tide.commit_push_session(
    user_id text, source_id text, push_id uuid, claims json DEFAULT NULL,
    OUT status text, OUT source_bundle_id bigint, OUT conflicts json, OUT rejected json, OUT unsealed boolean
)
    LANGUAGE plpgsql
    SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    v_staged record;
BEGIN
    PERFORM tide.begin_push(user_id, claims);
    SELECT s.session, s.rows INTO v_staged FROM tide.staged_push(user_id, source_id, push_id) AS s;
    source_bundle_id := (v_staged.session).source_bundle_id;
    unsealed := false;
    IF v_staged.rows IS NULL THEN
        status := 'already_committed';
        RETURN;
    END IF;
    BEGIN
        SELECT a.status, a.conflicts, a.rejected, a.unsealed
          INTO status, conflicts, rejected, unsealed
          FROM tide.apply_push(user_id, source_id, source_bundle_id, v_staged.rows, (v_staged.session).initialization_id, (v_staged.session).bundle_uuid) AS a;
    EXCEPTION
        -- It was the next number when the session was created.
        WHEN SQLSTATE 'TD112' THEN
            RAISE EXCEPTION 'the source has pushed something else meanwhile'
                USING ERRCODE = 'TD113', HINT = 'Rebuild from a snapshot, as a new source.';
    END;
    IF status = 'applied' THEN
        PERFORM tide.forget_push_chunks(user_id, source_id, push_id);
    END IF;
END;
$$;
COMMENT ON FUNCTION tide.commit_push_session(text, text, uuid, json) IS
'Applies the push of a session like tide.push. Called again after success it says already_committed. Raises what tide.push does, and TD103, TD105 to TD107, TD113.';
-- +goose StatementEnd

-- +goose StatementBegin
CREATE OR REPLACE FUNCTION tide.delete_push_session(user_id text, source_id text, push_id uuid)
    RETURNS void
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    PERFORM tide.assert_push_session(user_id, source_id, push_id);
    DELETE FROM tide.push_session AS s WHERE s.push_id = delete_push_session.push_id;
END;
$$;
COMMENT ON FUNCTION tide.delete_push_session(text, text, uuid) IS 'Ends a push session. Raises TD105 to TD107.';
-- +goose StatementEnd

-- +goose StatementBegin
-- One query for one table and bucket: rows in the order of their key. The rule itself decides which; for
-- an owner its column is compared, so that its index finds them.
CREATE OR REPLACE FUNCTION tide.snapshot_source(table_id integer, bucket_id text)
    RETURNS text
    LANGUAGE plpgsql STABLE
    SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    v_table  tide.synced_table := (SELECT s FROM tide.synced_table AS s WHERE s.table_id = snapshot_source.table_id);
    v_owner  text := substr(bucket_id, 1 + length(v_table.bucket_prefix));
    v_filter text;
    v_exact  boolean := false; -- the owner says it all
    n        tide.reading;
BEGIN
    IF v_table.bucket <> bucket_id AND NOT v_table.derived THEN
        RETURN NULL;
    END IF;
    n := tide.reading_of(table_id);
    PERFORM tide.assert_key_order(n);
    IF v_table.derived THEN
        -- As of the seal of this snapshot, not of the one before, which is what the stored buckets are.
        RETURN format($sql$
            SELECT %1$s AS table_id, %2$s AS row_key, %3$s AS payload
              FROM (WITH pending AS MATERIALIZED (SELECT p.row_key COLLATE "C" AS row_key, p.after FROM tide.pending_moves(%1$s) AS p)
                    SELECT m.row_key FROM tide.membership AS m
                     WHERE m.bucket_id = %4$L AND m.table_id = %1$s AND m.row_key NOT IN (SELECT p.row_key FROM pending AS p)
                     UNION ALL
                    SELECT p.row_key FROM pending AS p WHERE %4$L = ANY (p.after)) AS g
              JOIN %5$s AS tide_n ON %6$s
             ORDER BY %7$s$sql$,
            table_id, n.row_key, n.payload, bucket_id, v_table.relation, n.key_match, n.key_order);
    END IF;
    IF n.owner IS NOT NULL THEN
        v_filter := 'false';
        IF starts_with(bucket_id, v_table.bucket_prefix) THEN
            BEGIN
                -- A name that no owner can have: the bucket has none of these rows.
                EXECUTE format('SELECT %1$L::%2$s::text = %1$L', v_owner, n.owner_type) INTO v_exact;
                -- A longer name is not the text of the owner.
                v_exact := v_exact AND n.owner_exact AND octet_length(bucket_id) <= 512;
                v_filter := format('%s OPERATOR(%s) %L::%s', n.owner, n.owner_equality, v_owner, n.owner_type);
            EXCEPTION
                WHEN data_exception OR integrity_constraint_violation THEN
                    v_exact := false;
            END;
        END IF;
        IF v_table.null_owner_bucket = bucket_id THEN
            v_filter := format('(%s OR %s IS NULL)', v_filter, n.owner);
        END IF;
    END IF;
    RETURN format('SELECT %s AS table_id, %s AS row_key, %s AS payload FROM %s AS tide_n WHERE %s ORDER BY %s',
        table_id, n.row_key, n.payload, v_table.relation, concat_ws(' AND ', v_filter,
            -- Asked of each row, the rule costs as much as its JSON, and the planner expects one row of 200.
            CASE WHEN v_exact THEN '(' || n.deleted || ') IS NOT TRUE' ELSE format('%L = ANY (%s)', bucket_id, n.buckets) END),
        n.key_order);
END;
$$;
COMMENT ON FUNCTION tide.snapshot_source(integer, text) IS 'Query for the rows that one table has in one bucket, NULL when it can have none. Internal.';
-- +goose StatementEnd

-- +goose StatementBegin
-- Like tide.snapshot_source, for many buckets: each row once. For an owner its column is compared with all
-- the owners that the buckets name, so that its index finds them. Of a row in one bucket that bucket is
-- wanted, and wanted ones are shown: most rows need no filter, which costs as much as their JSON.
CREATE OR REPLACE FUNCTION tide.rows_source(table_id integer, wanted text[], shown jsonb)
    RETURNS text
    LANGUAGE plpgsql STABLE
    SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    v_table  tide.synced_table := (SELECT s FROM tide.synced_table AS s WHERE s.table_id = rows_source.table_id);
    v_owner  text;
    v_owners text[];
    v_filter text;
    n        tide.reading;
BEGIN
    IF v_table.bucket <> ALL (wanted) AND NOT v_table.derived THEN
        RETURN NULL;
    END IF;
    n := tide.reading_of(table_id);
    PERFORM tide.assert_key_order(n);
    IF v_table.derived THEN
        -- As of the seal of this snapshot, not of the one before, which is what the stored buckets are.
        RETURN format($sql$
            SELECT %1$s AS table_id, %2$s AS row_key, %3$s AS payload, CASE WHEN cardinality(g.buckets) = 1 THEN g.buckets ELSE ARRAY(SELECT b FROM unnest(g.buckets) AS b WHERE jsonb_exists(%4$L, b) ORDER BY b COLLATE "C") END AS buckets
              FROM (WITH pending AS MATERIALIZED (SELECT p.row_key COLLATE "C" AS row_key, p.after FROM tide.pending_moves(%1$s) AS p)
                    SELECT k.row_key, ARRAY(SELECT o.bucket_id::text FROM tide.membership AS o WHERE o.table_id = %1$s AND o.key_hash = k.key_hash AND o.row_key = k.row_key) AS buckets
                      FROM (SELECT DISTINCT m.key_hash, m.row_key FROM tide.membership AS m WHERE m.bucket_id = ANY (%5$L::text[]) AND m.table_id = %1$s) AS k
                     WHERE k.row_key NOT IN (SELECT p.row_key FROM pending AS p)
                     UNION ALL
                    SELECT p.row_key, p.after FROM pending AS p WHERE p.after && %5$L::text[]) AS g
              JOIN %6$s AS tide_n ON %7$s
             ORDER BY %8$s$sql$,
            table_id, n.row_key, n.payload, shown, wanted, v_table.relation, n.key_match, n.key_order);
    END IF;
    IF n.owner IS NOT NULL THEN
        FOR v_owner IN SELECT substr(w, 1 + length(v_table.bucket_prefix)) FROM unnest(wanted) AS w WHERE starts_with(w, v_table.bucket_prefix) LOOP
            BEGIN
                EXECUTE format('SELECT %L::%s', v_owner, n.owner_type);
                v_owners := v_owners || v_owner;
            EXCEPTION
                -- A name that no owner can have: the bucket has none of these rows.
                WHEN data_exception OR integrity_constraint_violation THEN
                    NULL;
            END;
        END LOOP;
        v_filter := format('%s OPERATOR(%s) ANY (%L::%s[])', n.owner, n.owner_equality, coalesce(v_owners, '{}'), n.owner_type);
        IF v_table.null_owner_bucket = ANY (wanted) THEN
            v_filter := format('(%s OR %s IS NULL)', v_filter, n.owner);
        END IF;
    END IF;
    RETURN format('SELECT %s AS table_id, %s AS row_key, %s AS payload, CASE WHEN cardinality(tide_b.buckets) = 1 THEN tide_b.buckets ELSE ARRAY(SELECT b FROM unnest(tide_b.buckets) AS b WHERE jsonb_exists(%L, b) ORDER BY b COLLATE "C") END AS buckets '
                  || 'FROM %s AS tide_n CROSS JOIN LATERAL (SELECT %s AS buckets OFFSET 0) AS tide_b WHERE %s ORDER BY %s',
        table_id, n.row_key, n.payload, shown, v_table.relation, n.buckets,
        concat_ws(' AND ', v_filter, format('jsonb_exists_any(%L, tide_b.buckets)', (SELECT jsonb_object_agg(w, 0) FROM unnest(wanted) AS w))),
        n.key_order);
END;
$$;
COMMENT ON FUNCTION tide.rows_source(integer, text[], jsonb) IS 'Query for the rows that one table has in any of these buckets, each with those of its buckets that are keys of shown; NULL when it can have none. Internal.';
-- +goose StatementEnd

-- +goose StatementBegin
-- A device needs one snapshot. Its last one is kept all the same while there is room: of a request that arrives
-- twice, either answer may be the one that the device goes on with.
CREATE OR REPLACE FUNCTION tide.begin_snapshot_session(user_id text, source_id text, "position" bigint, buckets text[], OUT snapshot_id uuid, OUT expires_at timestamptz)
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path = pg_catalog, pg_temp
AS $$
#variable_conflict use_column
DECLARE
    v_user    text COLLATE "C" := user_id;
    v_source  text COLLATE "C" := source_id;
    v_setting tide.setting := (SELECT s FROM tide.setting AS s);
    v_access  bytea := CASE WHEN buckets IS NOT NULL THEN sha256(convert_to(tide.buckets_of(user_id)::text, 'UTF8')) END;
    v_full    boolean;
    v_slot    integer;
BEGIN
    expires_at := clock_timestamp() + v_setting.snapshot_session_ttl;
    FOREACH v_full IN ARRAY ARRAY[false, true] LOOP
        WITH ended AS (
            DELETE FROM tide.snapshot_session AS s
             USING (SELECT o.snapshot_id, o.source_id = v_source AS own, row_number() OVER (PARTITION BY o.source_id ORDER BY o.expires_at DESC) > 1 AS superseded
                      FROM tide.snapshot_session AS o WHERE o.user_id = v_user) AS o
             WHERE s.snapshot_id = o.snapshot_id
               AND (s.expires_at <= clock_timestamp() OR o.own AND o.superseded OR v_full AND (o.own OR o.superseded))
            RETURNING s.snapshot_id
        )
        DELETE FROM tide.snapshot_page AS p USING ended AS e WHERE p.snapshot_id = e.snapshot_id;
        -- In any order, as one waits for who is about to take the same. It may have been taken since this transaction
        -- began: ON CONFLICT would make a serialization failure of that.
        FOR v_slot IN SELECT g FROM generate_series(1, v_setting.max_snapshot_sessions) AS g ORDER BY random() LOOP
            BEGIN
                INSERT INTO tide.snapshot_session AS s (user_id, source_id, slot, snapshot_bundle_seq, row_count, byte_count, expires_at, buckets, access_hash)
                VALUES (v_user, v_source, v_slot, "position", 0, 0, expires_at, begin_snapshot_session.buckets, v_access)
                RETURNING s.snapshot_id INTO snapshot_id;
                RETURN;
            EXCEPTION
                WHEN unique_violation THEN
                    NULL;
            END;
        END LOOP;
    END LOOP;
    RAISE EXCEPTION 'this user has too many open snapshots'
        USING ERRCODE = 'TD125', DETAIL = format('At most %s are allowed.', v_setting.max_snapshot_sessions), HINT = 'Delete one, or wait.';
END;
$$;
COMMENT ON FUNCTION tide.begin_snapshot_session(text, text, bigint, text[]) IS 'An empty snapshot session; of earlier ones of the source all but the last end, and that one too where there is no room. Raises TD125. Internal.';
-- +goose StatementEnd

-- +goose StatementBegin
-- The rows come in their order, and a loop puts them into pages: an aggregate would have to sort or hash all of
-- them, which goes by way of the disk.
CREATE OR REPLACE FUNCTION tide.fill_snapshot_session(
    snapshot_id uuid, user_id text, source_id text, wanted text[], shown jsonb,
    OUT row_count bigint, OUT byte_count bigint
)
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path = pg_catalog, pg_temp
    SET TimeZone = 'UTC' SET extra_float_digits = 1 SET DateStyle = 'ISO, YMD' SET IntervalStyle = 'postgres'
    SET bytea_output = 'hex' SET lc_monetary = 'C' SET quote_all_identifiers = off SET jit = off
AS $$
#variable_conflict use_column
DECLARE
    v_setting  tide.setting := (SELECT s FROM tide.setting AS s);
    v_position bigint := (SELECT s.snapshot_bundle_seq FROM tide.snapshot_session AS s WHERE s.snapshot_id = fill_snapshot_session.snapshot_id);
    v_shape    jsonb := tide.renew_shape(user_id, source_id);
    v_table    record;
    v_query    text;
    v_item     text;
    v_size     integer;
    v_items    text[] := '{}'; -- the page that is being filled
    v_next     bigint := 1;    -- the ordinal after the page before,
    v_bytes    bigint := 0;    -- and the bytes until then
BEGIN
    row_count := 0;
    byte_count := 0;
    FOR v_table IN SELECT s.table_id, s.table_schema, s.table_name, v_shape -> (s.table_schema || '.' || s.table_name) AS columns FROM tide.synced_table AS s JOIN pg_class AS c ON c.oid = s.relation WHERE s.unregistered_at IS NULL AND s.synced ORDER BY s.fk_depth, s.table_id LOOP
        CONTINUE WHEN v_shape IS NOT NULL AND v_table.columns IS NULL;
        v_query := CASE WHEN wanted IS NULL THEN tide.snapshot_source(v_table.table_id, tide.home_bucket(user_id))
                        ELSE tide.rows_source(v_table.table_id, wanted, shown) END;
        CONTINUE WHEN v_query IS NULL;
        FOR v_item, v_size IN EXECUTE format($sql$
            SELECT %L || r.row_key || %L || r.payload || %s, octet_length(r.payload)
              FROM (SELECT q.row_key, %s::text AS payload, %s AS buckets FROM (%s) AS q LIMIT %s) AS r$sql$,
            '{"schema":' || to_json(v_table.table_schema) || ',"table":' || to_json(v_table.table_name) || ',"key":', ',"row_version":' || v_position || ',"payload":',
            CASE WHEN wanted IS NULL THEN $sql$'}'$sql$ ELSE $sql$',"buckets":' || r.buckets || '}'$sql$ END,
            CASE WHEN v_shape IS NULL THEN 'q.payload' ELSE format('tide.project_payload(q.payload, %L)', v_table.columns) END,
            CASE WHEN wanted IS NULL THEN 'NULL' ELSE 'to_json(q.buckets)::text' END, v_query, v_setting.max_rows_per_snapshot - row_count + 1)
        LOOP
            v_items := array_append(v_items, v_item);
            row_count := row_count + 1;
            byte_count := byte_count + v_size;
            IF row_count - v_next >= 99 OR byte_count - v_bytes > 65536 THEN
                INSERT INTO tide.snapshot_page VALUES (snapshot_id, v_next, v_items);
                v_items := '{}';
                v_next := row_count + 1;
                v_bytes := byte_count;
                EXIT WHEN byte_count > v_setting.max_bytes_per_snapshot;
            END IF;
        END LOOP;
        IF row_count > v_setting.max_rows_per_snapshot OR byte_count > v_setting.max_bytes_per_snapshot THEN
            RAISE EXCEPTION 'the snapshot is too large for a session'
                USING ERRCODE = 'TD124', DETAIL = format('At most %s rows and %s bytes are allowed.', v_setting.max_rows_per_snapshot, v_setting.max_bytes_per_snapshot), HINT = 'Take it as a stream.';
        END IF;
    END LOOP;
    IF row_count >= v_next THEN
        INSERT INTO tide.snapshot_page VALUES (snapshot_id, v_next, v_items);
    END IF;
    UPDATE tide.snapshot_session AS s
       SET row_count = fill_snapshot_session.row_count, byte_count = fill_snapshot_session.byte_count
     WHERE s.snapshot_id = fill_snapshot_session.snapshot_id;
END;
$$;
COMMENT ON FUNCTION tide.fill_snapshot_session(uuid, text, text, text[], jsonb) IS
'Copies the rows of these buckets, NULL for the home bucket, as this transaction sees them. Raises TD124. Internal.';
-- +goose StatementEnd

-- +goose StatementBegin
CREATE OR REPLACE FUNCTION tide.create_snapshot_session(
    user_id text, source_id text, snapshot_bundle_seq bigint,
    OUT snapshot_id uuid, OUT row_count bigint, OUT byte_count bigint, OUT expires_at timestamptz
)
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    IF current_setting('transaction_isolation') NOT IN ('repeatable read', 'serializable') THEN
        RAISE EXCEPTION 'a snapshot must be taken under REPEATABLE READ'
            USING ERRCODE = 'TD128',
                  DETAIL  = 'All tables must be read as they were when the position was sealed.',
                  HINT    = 'BEGIN ISOLATION LEVEL REPEATABLE READ; LOCK TABLE tide.seal_lock IN SHARE UPDATE EXCLUSIVE MODE; SELECT tide.seal(); and this, in one transaction.';
    END IF;
    PERFORM tide.assert_scope(user_id);
    SELECT b.snapshot_id, b.expires_at INTO snapshot_id, expires_at FROM tide.begin_snapshot_session(user_id, source_id, snapshot_bundle_seq, NULL) AS b;
    SELECT f.row_count, f.byte_count INTO row_count, byte_count FROM tide.fill_snapshot_session(snapshot_id, user_id, source_id, NULL, NULL) AS f;
    IF row_count > 0 AND coalesce(snapshot_bundle_seq, 0) = 0 THEN
        RAISE EXCEPTION 'a table waits to be read, and the home bucket has no position yet'
            USING ERRCODE = 'TD126', HINT = 'Try again after the next seal; SELECT * FROM tide.check() says more.';
    END IF;
END;
$$;
COMMENT ON FUNCTION tide.create_snapshot_session(text, text, bigint) IS
'Copies the rows of a user''s home bucket, to be fetched in chunks, and ends earlier copies of the same source but the last: all tables as this REPEATABLE READ transaction sees them, at the position that a seal on the very same snapshot gave. Raises TD108, TD109, TD124 to TD126, TD128.';
-- +goose StatementEnd

-- +goose StatementBegin
-- The device goes on from where it stands; what it fetches now counts from the position of the snapshot
-- on. One that holds nothing yet begins there.
CREATE OR REPLACE FUNCTION tide.open_buckets(
    user_id text, source_id text, read_cursor text, buckets text[], bundle_id bigint, seal_id bigint, identity uuid,
    OUT next_cursor text, OUT wanted text[], OUT shown jsonb
)
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path = pg_catalog, pg_temp
AS $$
#variable_conflict use_column
DECLARE
    v_open record;
    v_held jsonb;
    v_base bigint;
BEGIN
    IF current_setting('transaction_isolation') NOT IN ('repeatable read', 'serializable') THEN
        RAISE EXCEPTION 'a snapshot must be taken under REPEATABLE READ'
            USING ERRCODE = 'TD128',
                  DETAIL  = 'All tables must be read as they were when the position was sealed.',
                  HINT    = 'BEGIN ISOLATION LEVEL REPEATABLE READ; LOCK TABLE tide.seal_lock IN SHARE UPDATE EXCLUSIVE MODE; SELECT tide.seal(); and this, in one transaction.';
    END IF;
    PERFORM tide.assert_scope(open_buckets.user_id);
    SELECT * INTO v_open FROM tide.open_cursor(open_buckets.user_id, open_buckets.source_id, read_cursor);
    wanted := coalesce(buckets, v_open.add || v_open.repair);
    IF buckets IS NOT NULL THEN
        PERFORM tide.assert_buckets(open_buckets.user_id, wanted);
    END IF;
    SELECT coalesce(jsonb_object_agg(h.key, h.value), '{}') INTO shown
      FROM jsonb_each(v_open.held) AS h
     WHERE h.value <> 'null' AND h.key NOT IN (SELECT unnest(v_open.remove || wanted));
    v_base := v_open.bundle_id;
    IF shown = '{}' THEN
        v_base := open_buckets.bundle_id;
    END IF;
    SELECT shown || coalesce(jsonb_object_agg(w, CASE WHEN v_base < open_buckets.bundle_id THEN open_buckets.bundle_id ELSE 0 END), '{}') INTO shown FROM unnest(wanted) AS w;
    v_held := v_open.held || shown;
    next_cursor := tide.write_cursor(v_base, open_buckets.seal_id, open_buckets.identity,
        tide.hold_buckets(open_buckets.user_id, open_buckets.source_id, v_open.fingerprint, v_held));
END;
$$;
COMMENT ON FUNCTION tide.open_buckets(text, text, text, text[], bigint, bigint, uuid) IS
'What a snapshot of buckets (NULL: all that the device lacks) at this position is of, and the cursor for after it. Raises TD032, TD108, TD109, TD126, TD128, TD131 to TD134. Internal.';
-- +goose StatementEnd

-- +goose StatementBegin
CREATE OR REPLACE FUNCTION tide.create_buckets_session(
    user_id text, source_id text, read_cursor text, buckets text[], bundle_id bigint, seal_id bigint, identity uuid,
    OUT snapshot_id uuid, OUT row_count bigint, OUT byte_count bigint, OUT expires_at timestamptz, OUT next_cursor text, OUT wanted text[]
)
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    v_shown jsonb;
BEGIN
    SELECT o.next_cursor, o.wanted, o.shown INTO next_cursor, wanted, v_shown
      FROM tide.open_buckets(user_id, source_id, read_cursor, buckets, bundle_id, seal_id, identity) AS o;
    SELECT b.snapshot_id, b.expires_at INTO snapshot_id, expires_at FROM tide.begin_snapshot_session(user_id, source_id, bundle_id, wanted) AS b;
    SELECT f.row_count, f.byte_count INTO row_count, byte_count FROM tide.fill_snapshot_session(snapshot_id, user_id, source_id, wanted, v_shown) AS f;
END;
$$;
COMMENT ON FUNCTION tide.create_buckets_session(text, text, text, text[], bigint, bigint, uuid) IS
'Copies the rows of buckets of a user, NULL for all that the device lacks, like tide.create_snapshot_session; bundle_id, seal_id and identity are those that tide.head_seal gave after the seal. next_cursor is for when all rows are applied. Raises what that does, and TD032, TD131 to TD134.';
-- +goose StatementEnd

-- +goose StatementBegin
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
-- +goose StatementEnd

-- +goose StatementBegin
-- A cursor, so that the first row leaves before the last is read. What it computes is computed while it
-- is fetched, outside of this function: hence settings of the transaction.
CREATE OR REPLACE FUNCTION tide.open_buckets_snapshot(
    user_id text, source_id text, read_cursor text, buckets text[], bundle_id bigint, seal_id bigint, identity uuid, cursor_name text DEFAULT 'tide_snapshot',
    OUT next_cursor text, OUT wanted text[]
)
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    v_cursor refcursor := cursor_name;
    v_shown  jsonb;
    v_shape  jsonb;
    v_query  text;
BEGIN
    SELECT o.next_cursor, o.wanted, o.shown INTO next_cursor, wanted, v_shown
      FROM tide.open_buckets(user_id, source_id, read_cursor, buckets, bundle_id, seal_id, identity) AS o;
    v_shape := tide.renew_shape(user_id, source_id);
    PERFORM tide.set_snapshot_output();
    SELECT string_agg(format('SELECT %L, %L, q.row_key::json, %s, to_json(q.buckets) FROM (%s) AS q', t.table_schema, t.table_name,
                             CASE WHEN v_shape IS NULL THEN 'q.payload' ELSE format('tide.project_payload(q.payload, %L)', t.columns) END, t.query), ' UNION ALL ' ORDER BY t.fk_depth, t.table_id)
      INTO v_query
      -- OFFSET 0: or each query would be made twice, once to see whether there is one.
      FROM (SELECT s.*, v_shape -> (s.table_schema || '.' || s.table_name) AS columns, tide.rows_source(s.table_id, wanted, v_shown) AS query
              FROM tide.synced_table AS s JOIN pg_class AS c ON c.oid = s.relation WHERE s.unregistered_at IS NULL AND s.synced OFFSET 0) AS t
     WHERE t.query IS NOT NULL AND (v_shape IS NULL OR t.columns IS NOT NULL);
    OPEN v_cursor NO SCROLL FOR EXECUTE coalesce(v_query, 'SELECT ''''::text, ''''::text, ''{}''::json, ''{}''::json, ''[]''::json WHERE false');
END;
$$;
COMMENT ON FUNCTION tide.open_buckets_snapshot(text, text, text, text[], bigint, bigint, uuid, text) IS
'Opens a cursor over the rows of buckets of a user (schema, table, key, payload, buckets), NULL for all that the device lacks; for a REPEATABLE READ transaction whose snapshot was sealed. next_cursor is for when all rows are applied. Raises what tide.create_buckets_session does.';
-- +goose StatementEnd

-- +goose StatementBegin
CREATE OR REPLACE FUNCTION tide.snapshot_session(user_id text, snapshot_id uuid, OUT snapshot_bundle_seq bigint, OUT row_count bigint, OUT byte_count bigint, OUT expires_at timestamptz, OUT buckets text[], OUT may text[])
    LANGUAGE plpgsql STABLE SECURITY DEFINER
    SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    v_session tide.snapshot_session := (SELECT s FROM tide.snapshot_session AS s WHERE s.snapshot_id = snapshot_session.snapshot_id);
BEGIN
    IF v_session.snapshot_id IS NULL THEN
        RAISE EXCEPTION 'there is no such snapshot' USING ERRCODE = 'TD119', HINT = 'Create another one.';
    END IF;
    IF v_session.user_id <> user_id THEN
        RAISE EXCEPTION 'this snapshot belongs to another user' USING ERRCODE = 'TD120', HINT = 'Create one of your own.';
    END IF;
    IF v_session.expires_at <= clock_timestamp() THEN
        RAISE EXCEPTION 'this snapshot has expired' USING ERRCODE = 'TD121', DETAIL = format('It ended at %s.', v_session.expires_at), HINT = 'Create another one.';
    END IF;
    IF v_session.buckets IS NOT NULL THEN
        -- Asked anew each time; to go through thousands of names would cost more than the rows.
        may := tide.buckets_of(user_id);
        IF sha256(convert_to(may::text, 'UTF8')) = v_session.access_hash THEN
            may := NULL;
        ELSE
            PERFORM tide.assert_buckets(user_id, v_session.buckets);
        END IF;
    END IF;
    snapshot_bundle_seq := v_session.snapshot_bundle_seq;
    row_count := v_session.row_count;
    byte_count := v_session.byte_count;
    expires_at := v_session.expires_at;
    buckets := v_session.buckets;
END;
$$;
COMMENT ON FUNCTION tide.snapshot_session(text, uuid) IS 'Position and size of a user''s snapshot, and the buckets it is of; NULL is the home bucket of a v1 client; may is what the user may read now, NULL while that is what it was when the session began. Raises TD032, TD119 to TD121, TD134.';
-- +goose StatementEnd

-- +goose StatementBegin
CREATE OR REPLACE FUNCTION tide.snapshot_pages(snapshot_id uuid, after_row_ordinal bigint, max_rows integer)
    RETURNS TABLE (first_ordinal bigint, items text[])
    LANGUAGE plpgsql STABLE
    SET search_path = pg_catalog, pg_temp
    SET enable_hashjoin = off SET enable_mergejoin = off SET enable_seqscan = off
AS $$
#variable_conflict use_column
DECLARE
    v_last bigint := after_row_ordinal + max_rows;
BEGIN
    IF after_row_ordinal IS NULL OR after_row_ordinal < 0 OR max_rows IS NULL OR max_rows < 1 THEN
        RAISE EXCEPTION 'chunk of a snapshot is not valid' USING ERRCODE = 'TD122', HINT = 'max_rows is at least 1, after_row_ordinal at least 0.';
    END IF;
    RETURN QUERY
    SELECT greatest(p.first_ordinal, after_row_ordinal + 1),
           CASE WHEN p.first_ordinal > after_row_ordinal AND p.first_ordinal + cardinality(p.items) - 1 <= v_last THEN p.items
                ELSE p.items[greatest(1, after_row_ordinal - p.first_ordinal + 2):v_last - p.first_ordinal + 1] END
      FROM tide.snapshot_page AS p
     WHERE p.snapshot_id = snapshot_pages.snapshot_id
       AND p.first_ordinal >= (SELECT max(f.first_ordinal) FROM tide.snapshot_page AS f WHERE f.snapshot_id = snapshot_pages.snapshot_id AND f.first_ordinal <= after_row_ordinal + 1)
       AND p.first_ordinal <= v_last AND p.first_ordinal + cardinality(p.items) - 1 > after_row_ordinal
     ORDER BY p.first_ordinal;
END;
$$;
COMMENT ON FUNCTION tide.snapshot_pages(uuid, bigint, integer) IS 'Rows of a snapshot session after an ordinal, page by page; of the first page and the last only what belongs to the chunk. Raises TD122. Internal.';
-- +goose StatementEnd

-- +goose StatementBegin
CREATE OR REPLACE FUNCTION tide.shown_buckets(item json, may text[])
    RETURNS text[]
    LANGUAGE sql IMMUTABLE PARALLEL SAFE
    SET search_path = pg_catalog, pg_temp
    RETURN CASE WHEN item -> 'buckets' IS NOT NULL
                THEN ARRAY(SELECT e.b FROM json_array_elements_text(item -> 'buckets') WITH ORDINALITY AS e (b, nth) WHERE may IS NULL OR e.b = ANY (may) ORDER BY e.nth) END;
COMMENT ON FUNCTION tide.shown_buckets(json, text[]) IS 'Buckets of a row of a snapshot session, those of may alone unless that is NULL; NULL for a v1 client. Internal.';
-- +goose StatementEnd

-- +goose StatementBegin
CREATE OR REPLACE FUNCTION tide.snapshot_rows(user_id text, snapshot_id uuid, after_row_ordinal bigint DEFAULT 0, max_rows integer DEFAULT 1000)
    RETURNS TABLE (row_ordinal bigint, table_schema text, table_name text, key json, payload json, buckets text[])
    LANGUAGE plpgsql STABLE SECURITY DEFINER
    SET search_path = pg_catalog, pg_temp
    SET jit = off
AS $$
#variable_conflict use_column
DECLARE
    -- Not in the query: the planner would call it too, to estimate rows.
    v_may text[] := (tide.snapshot_session(user_id, snapshot_rows.snapshot_id)).may;
BEGIN
    RETURN QUERY
    SELECT p.first_ordinal + i.nth - 1, i.item ->> 'schema', i.item ->> 'table', i.item -> 'key', i.item -> 'payload', tide.shown_buckets(i.item, v_may)
      FROM tide.snapshot_pages(snapshot_rows.snapshot_id, after_row_ordinal, max_rows) AS p
     CROSS JOIN LATERAL (SELECT n.item::json AS item, n.nth FROM unnest(p.items) WITH ORDINALITY AS n (item, nth) OFFSET 0) AS i
     ORDER BY 1;
END;
$$;
COMMENT ON FUNCTION tide.snapshot_rows(text, uuid, bigint, integer) IS 'A chunk of a snapshot; rows count from 1. buckets are those of the device that the row lies in, NULL for a v1 client. Raises TD032, TD119 to TD122, TD134.';
-- +goose StatementEnd

-- +goose StatementBegin
CREATE OR REPLACE FUNCTION tide.snapshot_chunk(user_id text, snapshot_id uuid, after_row_ordinal bigint DEFAULT 0, max_rows integer DEFAULT 1000)
    RETURNS TABLE (row_count integer, rows text)
    LANGUAGE plpgsql STABLE SECURITY DEFINER
    SET search_path = pg_catalog, pg_temp
    SET jit = off
AS $$
#variable_conflict use_column
DECLARE
    v_may text[] := (tide.snapshot_session(user_id, snapshot_chunk.snapshot_id)).may;
BEGIN
    RETURN QUERY
    SELECT cardinality(p.items),
           CASE WHEN v_may IS NULL THEN array_to_string(p.items, ',')
                -- The buckets are what a row ends with.
                ELSE (SELECT string_agg(left(n.item, -1 - length(n.item::json ->> 'buckets')) || to_json(tide.shown_buckets(n.item::json, v_may)) || '}', ',' ORDER BY n.nth)
                        FROM unnest(p.items) WITH ORDINALITY AS n (item, nth)) END
      FROM tide.snapshot_pages(snapshot_chunk.snapshot_id, after_row_ordinal, max_rows) AS p
     ORDER BY p.first_ordinal;
END;
$$;
COMMENT ON FUNCTION tide.snapshot_chunk(text, uuid, bigint, integer) IS 'A chunk of a snapshot as a device gets it: some rows at a time as JSON with commas between them, and how many they are. Raises what tide.snapshot_rows does.';
-- +goose StatementEnd

-- +goose StatementBegin
CREATE OR REPLACE FUNCTION tide.delete_snapshot_session(user_id text, snapshot_id uuid)
    RETURNS void
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    BEGIN
        PERFORM tide.snapshot_session(user_id, snapshot_id);
    EXCEPTION
        -- What may no longer be read may still be thrown away.
        WHEN SQLSTATE 'TD134' THEN
            NULL;
    END;
    DELETE FROM tide.snapshot_session AS s WHERE s.snapshot_id = delete_snapshot_session.snapshot_id;
    DELETE FROM tide.snapshot_page AS p WHERE p.snapshot_id = delete_snapshot_session.snapshot_id;
END;
$$;
COMMENT ON FUNCTION tide.delete_snapshot_session(text, uuid) IS 'Ends a snapshot. Raises TD119 to TD121.';
-- +goose StatementEnd

-- +goose StatementBegin
-- A cursor, so that the first row leaves before the last is read. What it computes is computed while it
-- is fetched, outside of this function: hence settings of the transaction.
CREATE OR REPLACE FUNCTION tide.open_snapshot(user_id text, cursor_name text DEFAULT 'tide_snapshot')
    RETURNS void
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    v_cursor refcursor := cursor_name;
    v_query  text;
BEGIN
    PERFORM tide.assert_scope(user_id);
    PERFORM tide.set_snapshot_output();
    SELECT string_agg(format('SELECT %L, %L, q.row_key::json, q.payload FROM (%s) AS q', t.table_schema, t.table_name, t.query), ' UNION ALL ' ORDER BY t.fk_depth, t.table_id)
      INTO v_query
      -- OFFSET 0: or each query would be made twice, once to see whether there is one.
      FROM (SELECT s.*, tide.snapshot_source(s.table_id, tide.home_bucket(open_snapshot.user_id)) AS query
              FROM tide.synced_table AS s JOIN pg_class AS c ON c.oid = s.relation WHERE s.unregistered_at IS NULL AND s.synced OFFSET 0) AS t
     WHERE t.query IS NOT NULL;
    OPEN v_cursor NO SCROLL FOR EXECUTE coalesce(v_query, 'SELECT ''''::text, ''''::text, ''{}''::json, ''{}''::json WHERE false');
END;
$$;
COMMENT ON FUNCTION tide.open_snapshot(text, text) IS
'Opens a cursor over the rows of a user''s home bucket (schema, table, key, payload), parents first, each table in the order of its key; for a REPEATABLE READ transaction whose snapshot was sealed. Raises TD108, TD109.';
-- +goose StatementEnd

-- +goose StatementBegin
-- Each session by itself, and none that somebody is at work with.
CREATE OR REPLACE FUNCTION tide.clean_sessions()
    RETURNS bigint
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    v_pushes    bigint;
    v_snapshots bigint;
BEGIN
    DELETE FROM tide.push_session AS s
     WHERE s.push_id IN (SELECT e.push_id FROM tide.push_session AS e WHERE e.expires_at <= clock_timestamp() LIMIT 1000 FOR UPDATE SKIP LOCKED);
    GET DIAGNOSTICS v_pushes = ROW_COUNT;
    WITH ended AS (
        DELETE FROM tide.snapshot_session AS s
         WHERE s.snapshot_id IN (SELECT e.snapshot_id FROM tide.snapshot_session AS e WHERE e.expires_at <= clock_timestamp() LIMIT 100 FOR UPDATE SKIP LOCKED)
        RETURNING s.snapshot_id
    ), pages AS (
        DELETE FROM tide.snapshot_page AS p USING ended AS e WHERE p.snapshot_id = e.snapshot_id
    )
    SELECT count(*) INTO v_snapshots FROM ended;
    DELETE FROM tide.scope_lease AS l
     WHERE l.user_id IN (SELECT e.user_id FROM tide.scope_lease AS e WHERE e.expires_at <= clock_timestamp() - interval '1 day' LIMIT 1000 FOR UPDATE SKIP LOCKED);
    RETURN v_pushes + v_snapshots;
END;
$$;
COMMENT ON FUNCTION tide.clean_sessions() IS 'Ends push and snapshot sessions that have expired, and says how many. Called by the sealing duty.';
-- +goose StatementEnd

-- +goose StatementBegin
CREATE OR REPLACE FUNCTION tide.fk_action(action "char")
    RETURNS text
    LANGUAGE sql IMMUTABLE PARALLEL SAFE
    SET search_path = pg_catalog, pg_temp
AS $$
    SELECT CASE action WHEN 'a' THEN 'NO ACTION' WHEN 'r' THEN 'RESTRICT' WHEN 'c' THEN 'CASCADE' WHEN 'n' THEN 'SET NULL' WHEN 'd' THEN 'SET DEFAULT' END;
$$;
COMMENT ON FUNCTION tide.fk_action("char") IS 'What a foreign key does when its parent changes, as pg_constraint has it, in words. Internal.';
-- +goose StatementEnd

-- +goose StatementBegin
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
-- +goose StatementEnd

-- +goose StatementBegin
-- What is not synced is not named: neither columns nor keys that need them, nor tables that are captured
-- because rules look at them.
CREATE OR REPLACE FUNCTION tide.describe_tables(known jsonb)
    RETURNS json
    LANGUAGE plpgsql STABLE SECURITY DEFINER
    SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    RETURN (
    WITH told AS MATERIALIZED (
        SELECT s.*, c.column_name, c.current_name, c.ordinal
          FROM tide.synced_table AS s
          JOIN pg_class AS r ON r.oid = s.relation
         CROSS JOIN LATERAL tide.synced_columns(s.table_id) WITH ORDINALITY AS c (column_name, current_name, base_type, is_array, in_key, in_payload, ordinal)
         WHERE s.unregistered_at IS NULL AND s.synced AND c.in_payload
           AND (known IS NULL OR jsonb_exists(known -> (s.table_schema || '.' || s.table_name), c.column_name))
    ), keys AS MATERIALIZED (
        SELECT f.conrelid, f.oid, f.conname, f.confdeltype, f.confupdtype, f.condeferrable, f.condeferred, p.table_schema, p.table_name,
               array_agg(child.column_name ORDER BY k.ordinal) AS columns, array_agg(parent.column_name ORDER BY k.ordinal) AS parent_columns,
               array_agg(child.column_name ORDER BY k.ordinal) FILTER (WHERE k.attnum = ANY (f.confdelsetcols)) AS set_columns
          FROM pg_constraint AS f
          JOIN tide.synced_table AS p ON p.relation = f.confrelid
         CROSS JOIN LATERAL unnest(f.conkey, f.confkey) WITH ORDINALITY AS k (attnum, parent_attnum, ordinal)
          JOIN pg_attribute AS ca ON ca.attrelid = f.conrelid AND ca.attnum = k.attnum
          JOIN pg_attribute AS pa ON pa.attrelid = f.confrelid AND pa.attnum = k.parent_attnum
          JOIN told AS child ON child.relation = f.conrelid AND child.current_name = ca.attname
          JOIN told AS parent ON parent.relation = f.confrelid AND parent.current_name = pa.attname
         WHERE f.contype = 'f' AND f.conparentid = 0
         GROUP BY f.oid, f.conrelid, f.conname, f.conkey, f.confdeltype, f.confupdtype, f.condeferrable, f.condeferred, p.table_schema, p.table_name
        HAVING count(*) = cardinality(f.conkey)
    )
    SELECT coalesce(json_agg(json_strip_nulls(json_build_object(
               'schema', s.table_schema, 'table', s.table_name,
               'columns', (
                   SELECT json_agg(json_build_object(
                              'name', t.column_name, 'type', format_type(a.atttypid, a.atttypmod),
                              'kind', CASE WHEN y.is_array THEN 'array' ELSE tide.json_kind(y.base_type) END,
                              'element', CASE WHEN y.is_array THEN tide.json_kind(y.base_type, true) END,
                              'not_null', a.attnotnull OR d.typnotnull,
                              'default', CASE WHEN a.attgenerated = '' THEN coalesce(pg_get_expr(e.adbin, e.adrelid), pg_get_expr(d.typdefaultbin, 0)) END,
                              'generated', CASE WHEN a.attgenerated <> '' THEN pg_get_expr(e.adbin, e.adrelid) END,
                              'identity', CASE a.attidentity WHEN 'a' THEN 'always' WHEN 'd' THEN 'by default' END,
                              'server_filled', CASE WHEN NOT p.written THEN true END,
                              'protected', CASE WHEN p.protected THEN true END) ORDER BY t.ordinal)
                     FROM told AS t
                     JOIN tide.push_columns(s.table_id) AS p ON p.column_name = t.column_name
                     JOIN tide.synced_columns(s.table_id) AS y ON y.column_name = t.column_name
                     JOIN pg_attribute AS a ON a.attrelid = s.relation AND a.attname = t.current_name
                     JOIN pg_type AS d ON d.oid = a.atttypid
                     LEFT JOIN pg_attrdef AS e ON e.adrelid = a.attrelid AND e.adnum = a.attnum
                    WHERE t.table_id = s.table_id),
               'primary_key', s.key_columns,
               'foreign_keys', (
                   SELECT coalesce(json_agg(json_build_object(
                              'columns', k.columns,
                              'references', json_build_object('schema', k.table_schema, 'table', k.table_name, 'columns', k.parent_columns),
                              'on_delete', tide.fk_action(k.confdeltype), 'on_delete_columns', k.set_columns, 'on_update', tide.fk_action(k.confupdtype),
                              'deferrable', k.condeferrable, 'initially_deferred', k.condeferred) ORDER BY k.conname COLLATE "C"), '[]')
                     FROM keys AS k WHERE k.conrelid = s.relation),
               'owner_column', (SELECT t.column_name FROM told AS t WHERE t.table_id = s.table_id AND t.column_name = s.owner_column),
               'deleted_at_column', (SELECT t.column_name FROM told AS t WHERE t.table_id = s.table_id AND t.column_name = s.deleted_at_column),
               'push_policy', s.push_policy)) ORDER BY s.fk_depth, s.table_schema COLLATE "C", s.table_name COLLATE "C"), '[]')
      FROM tide.synced_table AS s
     WHERE s.table_id IN (SELECT t.table_id FROM told AS t)
    );
END;
$$;
COMMENT ON FUNCTION tide.describe_tables(jsonb) IS 'Synced tables as devices may know them, parents first; known leaves only these tables and columns ({"schema.table": ["column", ...]}). Internal.';
-- +goose StatementEnd

-- +goose StatementBegin
CREATE OR REPLACE FUNCTION tide.client_schema(
    user_id text DEFAULT NULL, source_id text DEFAULT NULL,
    OUT version text, OUT newest_version text, OUT tables json
)
    LANGUAGE plpgsql STABLE SECURITY DEFINER
    SET search_path = pg_catalog, pg_temp SET jit = off
AS $$
DECLARE
    v_newest json := tide.describe_tables(NULL);
    -- A device keeps what was registered when it first connected.
    v_known  jsonb := (SELECT k.tables
                         FROM tide.source AS s
                         JOIN tide.setting AS t ON t.shape_id <> s.shape_id
                         JOIN tide.shape AS k ON k.shape_id = s.shape_id
                        WHERE s.user_id = client_schema.user_id AND s.source_id = client_schema.source_id);
BEGIN
    tables := CASE WHEN v_known IS NULL THEN v_newest ELSE tide.describe_tables(v_known) END;
    version := encode(substr(sha256(convert_to(tables::text, 'UTF8')), 1, 16), 'hex');
    newest_version := encode(substr(sha256(convert_to(v_newest::text, 'UTF8')), 1, 16), 'hex');
END;
$$;
COMMENT ON FUNCTION tide.client_schema(text, text) IS
'Tables, columns and keys for devices to make their own tables from: what a device of a user gets, or without one what a new device would get. version names what is told, newest_version what a new device would be told.';
-- +goose StatementEnd

-- +goose StatementBegin
-- Inlined where it is called, for every row: hence no body in quotes, which would need a search_path.
CREATE OR REPLACE FUNCTION tide.row_digest(value text)
    RETURNS bytea
    LANGUAGE sql IMMUTABLE PARALLEL SAFE
    RETURN substr(sha256(convert_to(value, 'UTF8')), 1, 8);
COMMENT ON FUNCTION tide.row_digest(text) IS 'The first eight bytes of the SHA-256 of a text. Internal.';
-- +goose StatementEnd

-- +goose StatementBegin
CREATE OR REPLACE FUNCTION tide.buckets_to_verify(user_id text, buckets text[])
    RETURNS text[]
    LANGUAGE plpgsql STABLE SECURITY DEFINER
    SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    IF current_setting('transaction_isolation') NOT IN ('repeatable read', 'serializable') THEN
        RAISE EXCEPTION 'checksums must be taken under REPEATABLE READ'
            USING ERRCODE = 'TD128',
                  DETAIL  = 'All rows must be read as they were when the position was sealed.',
                  HINT    = 'BEGIN ISOLATION LEVEL REPEATABLE READ; LOCK TABLE tide.seal_lock IN SHARE UPDATE EXCLUSIVE MODE; SELECT tide.seal(); and this, in one transaction.';
    END IF;
    PERFORM tide.assert_scope(user_id);
    IF buckets IS NULL THEN
        RETURN ARRAY[tide.home_bucket(user_id)];
    END IF;
    IF cardinality(buckets) NOT BETWEEN 1 AND 1000 THEN
        RAISE EXCEPTION 'this is no list of buckets to verify'
            USING ERRCODE = 'TD135', DETAIL = format('It has %s.', cardinality(buckets)), HINT = 'Name 1 to 1000, or leave the list out for the home bucket.';
    END IF;
    PERFORM tide.assert_buckets(user_id, buckets);
    RETURN buckets;
END;
$$;
COMMENT ON FUNCTION tide.buckets_to_verify(text, text[]) IS 'The buckets that a user asks for, NULL for his home bucket, if he may read them. Raises TD032, TD108, TD109, TD128, TD134, TD135. Internal.';
-- +goose StatementEnd

-- +goose StatementBegin
-- The digest is over the bytes that a device is sent: the text of the key and of the payload, as the
-- columns that the device knows make it.
CREATE OR REPLACE FUNCTION tide.bucket_rows(table_id integer, buckets text[], columns jsonb)
    RETURNS text
    LANGUAGE plpgsql STABLE SECURITY DEFINER
    SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    v_query text := tide.rows_source(table_id, buckets, (SELECT jsonb_object_agg(b, 0) FROM unnest(buckets) AS b));
BEGIN
    IF v_query IS NULL THEN
        RETURN NULL;
    END IF;
    RETURN format('SELECT q.row_key, %s AS payload, q.buckets FROM (%s) AS q', CASE WHEN columns IS NULL THEN 'q.payload' ELSE format('tide.project_payload(q.payload, %L)', columns) END, v_query);
END;
$$;
COMMENT ON FUNCTION tide.bucket_rows(integer, text[], jsonb) IS 'Query for the rows (row_key, payload, buckets) of a table in buckets, as devices that know these columns are sent them; NULL when it can have none. Internal.';
-- +goose StatementEnd

-- +goose StatementBegin
-- One row for each table and bucket; XOR does not mind in which order rows are read, and keys differ.
CREATE OR REPLACE FUNCTION tide.verify_buckets(user_id text, source_id text, buckets text[] DEFAULT NULL)
    RETURNS TABLE (bucket_id text, table_schema text, table_name text, row_count bigint, checksum text)
    LANGUAGE plpgsql STABLE SECURITY DEFINER
    SET search_path = pg_catalog, pg_temp
    SET TimeZone = 'UTC' SET extra_float_digits = 1 SET DateStyle = 'ISO, YMD' SET IntervalStyle = 'postgres'
    SET bytea_output = 'hex' SET lc_monetary = 'C' SET quote_all_identifiers = off SET jit = off
AS $$
#variable_conflict use_column
DECLARE
    v_wanted text[] := tide.buckets_to_verify(user_id, buckets);
    v_shape  jsonb := tide.source_shape(user_id, source_id);
    t        record;
BEGIN
    FOR t IN
        SELECT s.table_schema, s.table_name, tide.bucket_rows(s.table_id, v_wanted, v_shape -> (s.table_schema || '.' || s.table_name)) AS query
          FROM tide.synced_table AS s
          JOIN pg_class AS c ON c.oid = s.relation
         WHERE s.unregistered_at IS NULL AND s.synced AND (v_shape IS NULL OR jsonb_exists(v_shape, s.table_schema || '.' || s.table_name))
         ORDER BY s.fk_depth, s.table_id
    LOOP
        CONTINUE WHEN t.query IS NULL;
        RETURN QUERY EXECUTE format($sql$
            SELECT b.bucket_id, %L, %L, count(*), lpad(to_hex(bit_xor(('x' || encode(q.digest, 'hex'))::bit(64)::bigint)), 16, '0')
              FROM (SELECT r.buckets, tide.row_digest(r.row_key || E'\n' || r.payload::text) AS digest FROM (%s) AS r OFFSET 0) AS q
             CROSS JOIN LATERAL unnest(q.buckets) AS b (bucket_id)
             GROUP BY b.bucket_id
             ORDER BY b.bucket_id COLLATE "C"$sql$, t.table_schema, t.table_name, t.query);
    END LOOP;
END;
$$;
COMMENT ON FUNCTION tide.verify_buckets(text, text, text[]) IS
'Number and checksum of the rows that a device of a user should have, for each table in each of these buckets, NULL for the home bucket; tables without rows are left out. For a REPEATABLE READ transaction whose snapshot was sealed. Raises TD014, TD032, TD108, TD109, TD128, TD134, TD135.';
-- +goose StatementEnd

-- +goose StatementBegin
-- A range is all keys whose digest begins with a prefix: every language can compute it, and none has to
-- order keys as PostgreSQL does, whose types and collations it does not have.
CREATE OR REPLACE FUNCTION tide.verify_range(
    user_id text, source_id text, bucket_id text, table_schema text, table_name text, prefixes text[], with_payload boolean DEFAULT false, max_rows integer DEFAULT 5000
)
    RETURNS TABLE (kind text, prefix text, row_count bigint, checksum text, key json, payload json)
    LANGUAGE plpgsql STABLE SECURITY DEFINER
    SET search_path = pg_catalog, pg_temp
    SET TimeZone = 'UTC' SET extra_float_digits = 1 SET DateStyle = 'ISO, YMD' SET IntervalStyle = 'postgres'
    SET bytea_output = 'hex' SET lc_monetary = 'C' SET quote_all_identifiers = off SET jit = off
AS $$
#variable_conflict use_column
DECLARE
    v_wanted text[] := tide.buckets_to_verify(verify_range.user_id, CASE WHEN verify_range.bucket_id IS NOT NULL THEN ARRAY[verify_range.bucket_id] END);
    v_shape  jsonb := tide.source_shape(verify_range.user_id, verify_range.source_id);
    v_length integer := length(prefixes[1]);
    v_listed text[] := '{}';
    v_rows   bigint := 0;
    v_table  record;
    v_sql    text;
    p        record;
BEGIN
    SELECT s.table_id, tide.bucket_rows(s.table_id, v_wanted, v_shape -> (s.table_schema || '.' || s.table_name)) AS query INTO v_table
      FROM tide.synced_table AS s
      JOIN pg_class AS c ON c.oid = s.relation
     WHERE s.table_schema = verify_range.table_schema AND s.table_name = verify_range.table_name
       AND s.unregistered_at IS NULL AND s.synced AND (v_shape IS NULL OR jsonb_exists(v_shape, s.table_schema || '.' || s.table_name));
    IF v_table.table_id IS NULL
       OR cardinality(prefixes) NOT BETWEEN 1 AND 1000 OR array_ndims(prefixes) <> 1 OR max_rows NOT BETWEEN 1 AND 5000
       OR EXISTS (SELECT FROM unnest(prefixes) AS g (prefix) WHERE g.prefix IS NULL OR length(g.prefix) <> v_length OR g.prefix !~ '^([0-9a-f]{2}){0,8}$')
       OR num_nonnulls(prefixes, max_rows) < 2 THEN
        RAISE EXCEPTION 'this range of keys cannot be verified'
            USING ERRCODE = 'TD135',
                  DETAIL  = CASE WHEN v_table.table_id IS NULL THEN 'There is no such table.' ELSE 'Its prefixes make no sense.' END,
                  HINT    = 'Name a table that the device knows, and 1 to 1000 prefixes: lowercase hexadecimal digits, all of one even length of up to 16.';
    END IF;
    IF v_table.query IS NULL THEN
        RETURN;
    END IF;
    v_sql := format($sql$
        SELECT k.range, k.hash, r.row_key, r.payload
          FROM (%s) AS r
         CROSS JOIN LATERAL (SELECT encode(tide.row_digest(r.row_key), 'hex') AS hash, left(encode(tide.row_digest(r.row_key), 'hex'), %s) AS range) AS k
         WHERE k.range = ANY ($1)$sql$, v_table.query, v_length);
    FOR p IN EXECUTE format($sql$
        SELECT g.prefix, coalesce(n.row_count, 0) AS row_count, g.nth
          FROM unnest($1) WITH ORDINALITY AS g (prefix, nth)
          LEFT JOIN (SELECT h.range, count(*) AS row_count FROM (%s) AS h GROUP BY h.range) AS n ON n.range = g.prefix
         ORDER BY g.nth$sql$, v_sql) USING prefixes
    LOOP
        v_rows := v_rows + p.row_count;
        IF v_rows <= max_rows THEN
            v_listed := v_listed || p.prefix;
        ELSIF p.nth > 1 THEN
            RETURN QUERY SELECT 'left', p.prefix, NULL::bigint, NULL::text, NULL::json, NULL::json;
        ELSE
            RETURN QUERY EXECUTE format($sql$
                SELECT 'range', left(h.hash, %s), count(*), lpad(to_hex(bit_xor(('x' || encode(tide.row_digest(h.row_key || E'\n' || h.payload::text), 'hex'))::bit(64)::bigint)), 16, '0'), NULL::json, NULL::json
                  FROM (%s) AS h GROUP BY 2 ORDER BY 2$sql$, v_length + 2, v_sql) USING ARRAY[p.prefix];
        END IF;
    END LOOP;
    RETURN QUERY EXECUTE format($sql$
        SELECT 'row', h.hash, NULL::bigint, encode(tide.row_digest(h.row_key || E'\n' || h.payload::text), 'hex'), h.row_key::json, CASE WHEN $2 THEN h.payload END
          FROM (%s) AS h ORDER BY 2$sql$, v_sql) USING v_listed, with_payload;
END;
$$;
COMMENT ON FUNCTION tide.verify_range(text, text, text, text, text, text[], boolean, integer) IS
'Rows that a device of a user should have of a table in a bucket, NULL for the home bucket, whose digest of the key begins with these prefixes: each with its digest (row), as long as they are not more than max_rows together; of the first prefix number and checksum of the ranges within it, if it alone has more (range); and prefixes to be asked for again (left). For a REPEATABLE READ transaction whose snapshot was sealed. Raises TD014, TD032, TD108, TD109, TD128, TD134, TD135.';
-- +goose StatementEnd

-- +goose StatementBegin
CREATE OR REPLACE FUNCTION tide.my_buckets()
    RETURNS text[]
    LANGUAGE plpgsql STABLE SECURITY DEFINER PARALLEL SAFE
    SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    RETURN CASE WHEN current_setting('app.user_id', true) <> '' THEN tide.buckets_of(current_setting('app.user_id', true)) ELSE '{}' END;
END;
$$;
COMMENT ON FUNCTION tide.my_buckets() IS 'Buckets that the user of this transaction (app.user_id) may read: for policies, in a subquery, so that it is asked once a statement. Raises TD032.';
-- +goose StatementEnd

-- +goose StatementBegin
CREATE OR REPLACE FUNCTION tide.buckets_proof(buckets text[])
    RETURNS text
    LANGUAGE plpgsql STABLE
    SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    RETURN encode(sha256(convert_to(concat_ws(' ', (SELECT s.policy_key FROM tide.setting AS s), extract(epoch FROM now()), buckets::text), 'UTF8')), 'hex');
END;
$$;
COMMENT ON FUNCTION tide.buckets_proof(text[]) IS 'Tells in this transaction that a list of buckets is what pgtide made it. Internal.';
-- +goose StatementEnd

-- +goose StatementBegin
-- The client role calls the functions of its policies as it likes: they answer about buckets of its user alone.
CREATE OR REPLACE FUNCTION tide.my_proven_buckets()
    RETURNS text[]
    LANGUAGE plpgsql STABLE SECURITY DEFINER
    SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    v_mine text[] := tide.my_buckets();
BEGIN
    RETURN v_mine || tide.buckets_proof(v_mine);
END;
$$;
COMMENT ON FUNCTION tide.my_proven_buckets() IS 'Buckets that the user of this transaction (app.user_id) may read, and the proof that they are: for the policies of tide.enable_rls. Raises TD032. Internal.';
-- +goose StatementEnd

-- +goose StatementBegin
-- Who may read is what the bucket rule says. In the forms that an index serves where there is one; a
-- rule that looks at other tables runs in a function, with the rights of pgtide.
CREATE OR REPLACE FUNCTION tide.policies(table_id integer, write text, OUT name text, OUT statement text)
    RETURNS SETOF record
    LANGUAGE plpgsql STABLE
    SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    v_table  tide.synced_table := (SELECT s FROM tide.synced_table AS s WHERE s.table_id = policies.table_id);
    v_client name := (SELECT s.client_role FROM tide.setting AS s);
    v_me     constant text := '(SELECT current_setting(''app.user_id'', true))';
    v_alias  text := (SELECT quote_ident(c.relname) FROM pg_class AS c WHERE c.oid = v_table.relation);
    v_type   regtype := (SELECT c.reltype FROM pg_class AS c WHERE c.oid = v_table.relation);
    v_owner  text;
    v_read   text;
    v_write  text;
    c        record;
BEGIN
    SELECT k.current_name, t.type, k.base_type INTO c
      FROM tide.synced_columns(v_table.table_id) AS k CROSS JOIN LATERAL tide.column_equality(v_table.relation, k.current_name) AS t WHERE k.column_name = v_table.owner_column;
    IF v_table.owner_column IS NOT NULL AND v_table.bucket_prefix = 'user:' THEN
        v_owner := format('%s.%I = (SELECT nullif(current_setting(''app.user_id'', true), ''''))::%s', v_alias, c.current_name, c.type);
    END IF;
    v_read := CASE
        WHEN v_table.derived THEN format('tide.reads_%s(%s, (SELECT tide.my_proven_buckets()))', table_id, v_alias)
        WHEN v_table.bucket IS NOT NULL THEN format('(SELECT %L = ANY (tide.my_buckets()))', v_table.bucket)
        WHEN v_owner IS NOT NULL AND v_table.null_owner_bucket IS NULL THEN v_owner
        WHEN v_owner IS NOT NULL THEN format('(%s OR %s.%I IS NULL AND (SELECT %L = ANY (tide.my_buckets())))', v_owner, v_alias, c.current_name, v_table.null_owner_bucket)
        ELSE format('tide.reads_%s(%s, (SELECT tide.my_proven_buckets()))', table_id, v_alias)
    END;
    v_write := CASE write
        WHEN 'none' THEN 'false'
        WHEN 'readers' THEN v_read
        WHEN 'owner' THEN v_owner
        ELSE format(CASE
            WHEN to_regprocedure(format('%s(text, %s)', write, v_type)) IS NOT NULL THEN '(%1$s AND %2$s(%3$s, %4$s))'
            WHEN (SELECT p.proretset FROM pg_proc AS p WHERE p.oid = to_regprocedure(write || '(text)')) THEN 'tide.reads_%5$s(%4$s, (SELECT tide.my_proven_buckets()), (SELECT ARRAY(SELECT tide_b FROM %2$s(%3$s) AS tide_b)))'
            ELSE 'tide.reads_%5$s(%4$s, (SELECT tide.my_proven_buckets()), (SELECT coalesce(%2$s(%3$s), ''{}'')))' END, v_read, write, v_me, v_alias, table_id)
    END;
    RETURN QUERY
    SELECT p.name, format('CREATE POLICY %I ON %s AS %s FOR %s TO %s %s', p.name, v_table.relation, p.kind, p.command, p.role, p.body)
      FROM (VALUES
               (1, 'tide_everybody',      'PERMISSIVE',  'ALL',    'PUBLIC',              'USING (true) WITH CHECK (true)'),
               (2, 'tide_client_reads',   'RESTRICTIVE', 'SELECT', quote_ident(v_client), format('USING (%s)', v_read)),
               (3, 'tide_client_inserts', 'RESTRICTIVE', 'INSERT', quote_ident(v_client), format('WITH CHECK (%s)', concat_ws(' AND ', v_write, CASE WHEN write <> 'none' THEN nullif(v_owner, v_write) END))),
               (4, 'tide_client_updates', 'RESTRICTIVE', 'UPDATE', quote_ident(v_client), format('USING (%1$s) WITH CHECK (%1$s)', v_write)),
               (5, 'tide_client_deletes', 'RESTRICTIVE', 'DELETE', quote_ident(v_client), format('USING (%s)', v_write))) AS p (nth, name, kind, command, role, body)
     ORDER BY p.nth;
END;
$$;
COMMENT ON FUNCTION tide.policies(integer, text) IS 'Policies that let the client role read what the bucket rule of a table says, and write as given. Internal.';
-- +goose StatementEnd

-- +goose StatementBegin
CREATE OR REPLACE FUNCTION tide.policies_sql(table_name regclass, write text DEFAULT NULL)
    RETURNS SETOF text
    LANGUAGE plpgsql STABLE
    SET search_path = pg_catalog, pg_temp SET jit = off
AS $$
DECLARE
    v_table tide.synced_table := tide.registered_table(table_name);
BEGIN
    RETURN QUERY SELECT p.statement || ';' FROM tide.policies(v_table.table_id, coalesce(policies_sql.write, v_table.rls_write, 'readers')) AS p;
END;
$$;
COMMENT ON FUNCTION tide.policies_sql(regclass, text) IS 'Policies that tide.enable_rls makes, or would make, of the bucket rule of a table. Raises TD009.';
-- +goose StatementEnd

-- +goose StatementBegin
CREATE OR REPLACE FUNCTION tide.resolve_write_function(relation regclass, function_name text)
    RETURNS text
    LANGUAGE plpgsql STABLE
    SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    v_row_type regtype := (SELECT c.reltype FROM pg_class AS c WHERE c.oid = relation);
    v_client   name := (SELECT s.client_role FROM tide.setting AS s);
    v_function regprocedure := coalesce(to_regprocedure(format('%s(text, %s)', function_name, v_row_type)), to_regprocedure(function_name || '(text)'));
    v_problem  text;
BEGIN
    SELECT CASE
               WHEN p.oid IS NULL THEN format('There is no function of (text, %s), nor of (text).', v_row_type)
               WHEN p.pronargs = 2 AND (p.prorettype <> 'boolean'::regtype OR p.proretset) THEN 'Of the user and the row it must return boolean.'
               WHEN p.pronargs = 1 AND p.prorettype <> CASE WHEN p.proretset THEN 'text'::regtype ELSE 'text[]'::regtype END THEN 'Of the user alone it must return the buckets whose rows he may write: SETOF text or text[].'
               WHEN NOT has_function_privilege(v_client, p.oid, 'EXECUTE') THEN format('%I may not execute it.', v_client)
           END
      INTO v_problem
      FROM (SELECT v_function AS oid) AS f LEFT JOIN pg_proc AS p ON p.oid = f.oid;
    IF v_problem IS NOT NULL THEN
        RAISE EXCEPTION 'write cannot be %', quote_literal(function_name)
            USING ERRCODE = 'TD023', DETAIL = v_problem, HINT = 'Use ''readers'', ''owner'', ''none'', or name, with its schema, a function of (user_id text, r app.task) that returns boolean, or one of (user_id text) that returns buckets; SECURITY DEFINER, when it looks at tables that devices must not read.';
    END IF;
    RETURN (SELECT format('%I.%I', n.nspname, p.proname) FROM pg_proc AS p JOIN pg_namespace AS n ON n.oid = p.pronamespace WHERE p.oid = v_function);
END;
$$;
COMMENT ON FUNCTION tide.resolve_write_function(regclass, text) IS 'Name of the function that says who may write rows of a table. Raises TD023. Internal.';
-- +goose StatementEnd

-- +goose StatementBegin
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
-- +goose StatementEnd

-- +goose StatementBegin
-- The application must not notice: a policy that lets everybody do everything, which the planner drops,
-- and RESTRICTIVE ones for the client role alone.
CREATE OR REPLACE FUNCTION tide.enable_rls(table_name regclass, write text DEFAULT 'readers', push boolean DEFAULT false, dry_run boolean DEFAULT false)
    RETURNS SETOF text
    LANGUAGE plpgsql
    SET search_path = pg_catalog, pg_temp SET jit = off
AS $$
DECLARE
    v_table  tide.synced_table := tide.registered_table(table_name);
    v_others text := (SELECT string_agg(quote_ident(p.polname), ', ') FROM pg_policy AS p WHERE p.polrelid = table_name AND p.polname !~ '^tide_(everybody|client_|owner_reads)');
    v_on     boolean := (SELECT c.relrowsecurity FROM pg_class AS c WHERE c.oid = table_name);
    v_client name := (SELECT s.client_role FROM tide.setting AS s);
    v_write  text := write;
    v_policy record;
    v_sql    text;
    v_steps  text[] := '{}';
BEGIN
    IF v_others IS NOT NULL OR v_on AND v_table.rls_write IS NULL THEN
        RAISE EXCEPTION 'table % has row-level security of its own', table_name
            USING ERRCODE = 'TD023', DETAIL = coalesce(format('Policies: %s.', v_others), 'It is on, without a policy.'),
                  HINT = 'Its policies decide: register it with push_policy => ''rls''. SELECT * FROM tide.policies_sql(...) prints what pgtide would make of the bucket rule.';
    END IF;
    IF write NOT IN ('none', 'readers', 'owner') THEN
        v_write := tide.resolve_write_function(table_name, write);
    ELSIF write = 'owner' AND (v_table.owner_column IS NULL OR v_table.bucket_prefix <> 'user:') THEN
        RAISE EXCEPTION 'table % has no column that holds its user', table_name
            USING ERRCODE = 'TD023', HINT = 'Use write => ''readers'', ''none'', or a function: app.may_write(user_id text, r app.task) returns boolean.';
    END IF;
    FOR v_policy IN SELECT * FROM tide.policies(v_table.table_id, v_write) LOOP
        IF EXISTS (SELECT FROM pg_policy AS p WHERE p.polrelid = table_name AND p.polname = v_policy.name) THEN
            v_steps := v_steps || format('DROP POLICY %I ON %s', v_policy.name, table_name);
        END IF;
        v_steps := v_steps || v_policy.statement;
    END LOOP;
    IF NOT v_on THEN
        v_steps := v_steps || format('ALTER TABLE %s ENABLE ROW LEVEL SECURITY', table_name);
        RETURN NEXT format('-- Others than the owner of %s see and write what they did, with two exceptions of PostgreSQL: COPY %1$s FROM is refused to them, and pg_dump by a role that is not the owner needs --enable-row-security.', table_name);
    END IF;
    RETURN QUERY SELECT s FROM unnest(v_steps) AS s;
    IF dry_run THEN
        RETURN;
    END IF;
    PERFORM tide.write_reads_function(v_table.table_id);
    PERFORM tide.lock_briefly(table_name, 'ACCESS EXCLUSIVE');
    FOREACH v_sql IN ARRAY v_steps LOOP
        EXECUTE v_sql;
    END LOOP;
    UPDATE tide.synced_table AS s SET rls_write = v_write WHERE s.table_id = v_table.table_id RETURNING * INTO v_table;
    IF push AND v_table.push_policy <> 'rls' THEN
        v_table.push_policy := 'rls';
        RETURN QUERY SELECT r FROM tide.apply_registration(v_table, false, false) AS r;
    END IF;
END;
$$;
COMMENT ON FUNCTION tide.enable_rls(regclass, text, boolean, boolean) IS
'Switches row-level security on for a table that has none, so that the client role reads what the bucket rule says and writes as write says: readers (who may read), owner (the user in owner_column), none, a function of (user_id text, row) that returns boolean, or one of (user_id text) that returns the buckets whose rows he may write. With push his devices may push what this lets him write. Nobody else notices. An inserted row must name the user as its owner. Says the statements; with dry_run it only says them. Run it again to change them. Raises TD008, TD009, TD023.';
-- +goose StatementEnd

-- +goose StatementBegin
CREATE OR REPLACE FUNCTION tide.disable_rls(table_name regclass)
    RETURNS void
    LANGUAGE plpgsql
    SET search_path = pg_catalog, pg_temp SET jit = off
AS $$
DECLARE
    v_table tide.synced_table := tide.registered_table(table_name);
    v_name  text;
BEGIN
    IF v_table.rls_write IS NULL THEN
        RETURN;
    END IF;
    PERFORM tide.lock_briefly(table_name, 'ACCESS EXCLUSIVE');
    FOR v_name IN SELECT p.polname FROM pg_policy AS p WHERE p.polrelid = table_name AND p.polname ~ '^tide_(everybody|client_)' LOOP
        EXECUTE format('DROP POLICY %I ON %s', v_name, table_name);
    END LOOP;
    IF NOT EXISTS (SELECT FROM pg_policy AS p WHERE p.polrelid = table_name) THEN
        EXECUTE format('ALTER TABLE %s DISABLE ROW LEVEL SECURITY', table_name);
    END IF;
    EXECUTE format('DROP FUNCTION IF EXISTS tide.reads_%s(%s, text[], text[])', v_table.table_id, (SELECT c.reltype::regtype FROM pg_class AS c WHERE c.oid = table_name));
    UPDATE tide.synced_table AS s SET rls_write = NULL WHERE s.table_id = v_table.table_id;
END;
$$;
COMMENT ON FUNCTION tide.disable_rls(regclass) IS 'Takes back what tide.enable_rls did to a table. Raises TD008, TD009.';
-- +goose StatementEnd

-- +goose StatementBegin
CREATE OR REPLACE FUNCTION tide.set_hook(hook text, hook_function text)
    RETURNS void
    LANGUAGE plpgsql
    SET search_path = pg_catalog, pg_temp
AS $$
#variable_conflict use_column
DECLARE
    v_hook     text := hook;
    v_function regprocedure;
    v_problem  text;
BEGIN
    IF v_hook NOT IN ('before_push_commit', 'on_conflict', 'on_seal', 'on_stale') OR v_hook IS NULL THEN
        v_problem := 'There is no such hook.';
    ELSIF set_hook.hook_function IS NOT NULL THEN
        -- Either a name, or a signature as regprocedure prints it.
        v_function := to_regprocedure(CASE WHEN strpos(set_hook.hook_function, '(') > 0 THEN set_hook.hook_function ELSE set_hook.hook_function || '(jsonb)' END);
        SELECT CASE
                   WHEN v_function IS NULL THEN 'There is no such function.'
                   WHEN p.pronargs <> 1 OR p.proargtypes[0] <> 'jsonb'::regtype THEN 'Its one argument must be what happened, jsonb.'
                   WHEN p.prokind <> 'f' OR p.prorettype <> 'void'::regtype THEN 'It must return void.'
                   WHEN NOT has_function_privilege('tide_owner', p.oid, 'EXECUTE') THEN 'tide_owner may not execute it.'
               END
          INTO v_problem
          FROM (SELECT v_function AS oid) AS f LEFT JOIN pg_proc AS p ON p.oid = f.oid;
    END IF;
    IF v_problem IS NOT NULL THEN
        RAISE EXCEPTION 'hook % cannot be %', v_hook, coalesce(set_hook.hook_function, 'removed')
            USING ERRCODE = 'TD033',
                  DETAIL  = v_problem,
                  HINT    = CASE WHEN v_problem ~ 'may not execute' THEN format('GRANT EXECUTE ON FUNCTION %s TO tide_owner;', v_function)
                                 ELSE 'Hooks are before_push_commit, on_conflict, on_seal and on_stale. Write CREATE FUNCTION my_schema.told(event jsonb) RETURNS void ..., and name it, and what it uses, with the schema.' END;
    END IF;
    DELETE FROM tide.hook AS h WHERE h.hook = v_hook;
    IF v_function IS NOT NULL THEN
        INSERT INTO tide.hook (hook, hook_function) VALUES (v_hook, v_function::text);
    ELSE
        DELETE FROM tide.hook_event AS e WHERE e.hook = v_hook;
    END IF;
END;
$$;
COMMENT ON FUNCTION tide.set_hook(text, text) IS
'Names a function my_schema.told(event jsonb) RETURNS void that is called, as tide_owner, at before_push_commit (within the push; it refuses it by raising), on_conflict, on_seal or on_stale (afterwards, again until it succeeds). NULL ends it, and what it was still to be told. Raises TD033.';
-- +goose StatementEnd

-- +goose StatementBegin
CREATE OR REPLACE FUNCTION tide.call_hook(hook text, event jsonb)
    RETURNS void
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    v_function text := (SELECT h.hook_function FROM tide.hook AS h WHERE h.hook = call_hook.hook);
BEGIN
    IF v_function IS NOT NULL THEN
        EXECUTE format('SELECT %s($1)', v_function::regprocedure::regproc) USING event;
    END IF;
END;
$$;
COMMENT ON FUNCTION tide.call_hook(text, jsonb) IS 'Calls the function of a hook, if there is one. Internal.';
-- +goose StatementEnd

-- +goose StatementBegin
-- What a hook raises with RAISE EXCEPTION, or with an SQLSTATE of its own, is meant for the device. What else
-- goes wrong in it is for whoever wrote it: its text may hold what nobody else should read.
CREATE OR REPLACE FUNCTION tide.call_push_hook(user_id text, source_id text, source_bundle_id bigint, rows tide.pushed_row[])
    RETURNS void
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    v_message text;
    v_detail  text;
    v_hint    text;
BEGIN
    IF NOT EXISTS (SELECT FROM tide.hook AS h WHERE h.hook = 'before_push_commit') THEN
        RETURN;
    END IF;
    BEGIN
        PERFORM tide.call_hook('before_push_commit', jsonb_build_object(
            'user_id', user_id, 'source_id', source_id, 'source_bundle_id', source_bundle_id,
            'rows', (SELECT jsonb_agg(jsonb_strip_nulls(jsonb_build_object('schema', s.table_schema, 'table', s.table_name, 'key', r.row_key::jsonb, 'op', tide.op_name(r.op), 'base_row_version', r.base))
                                      || CASE WHEN r.payload IS NULL THEN '{}' ELSE jsonb_build_object('payload', r.payload::jsonb) END ORDER BY r.ordinal)
                       FROM unnest(rows) AS r JOIN tide.synced_table AS s ON s.table_id = r.table_id)));
        -- What the hook wrote must hold too: at the end of the transaction nobody could say why it does not.
        SET CONSTRAINTS ALL IMMEDIATE;
    EXCEPTION
        WHEN OTHERS THEN
            IF tide.is_retryable(sqlstate) THEN
                RAISE;
            END IF;
            GET STACKED DIAGNOSTICS v_message = MESSAGE_TEXT, v_detail = PG_EXCEPTION_DETAIL, v_hint = PG_EXCEPTION_HINT;
            IF sqlstate <> 'P0001' AND (sqlstate !~ '^[5-9I-Z]' OR sqlstate ~ '^(5[3-8]|72|P0|XX|TD)') THEN
                v_message := 'the application refuses this push';
                v_detail := '';
                v_hint := '';
            END IF;
            RAISE EXCEPTION '%', v_message
                USING ERRCODE = 'TD136', DETAIL = v_detail, HINT = coalesce(nullif(v_hint, ''), 'Nothing was applied.'), DATATYPE = sqlstate;
    END;
END;
$$;
COMMENT ON FUNCTION tide.call_push_hook(text, text, bigint, tide.pushed_row[]) IS 'Asks the application whether it takes a push, whose rows are written already. Raises TD136. Internal.';
-- +goose StatementEnd

-- +goose StatementBegin
-- Written with what it tells of, and told later: a hook that fails, or takes long, is in nobody's way.
CREATE OR REPLACE FUNCTION tide.queue_event(hook text, event jsonb)
    RETURNS void
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    INSERT INTO tide.hook_event (hook, event)
    SELECT h.hook, queue_event.event FROM tide.hook AS h WHERE h.hook = queue_event.hook;
END;
$$;
COMMENT ON FUNCTION tide.queue_event(text, jsonb) IS 'Keeps for a hook, if there is one, what it is to be told. Internal.';
-- +goose StatementEnd

-- +goose StatementBegin
CREATE OR REPLACE FUNCTION tide.queue_conflict(user_id text, source_id text, source_bundle_id bigint, conflicts json)
    RETURNS void
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    PERFORM tide.queue_event('on_conflict', jsonb_build_object('user_id', user_id, 'source_id', source_id, 'source_bundle_id', source_bundle_id, 'conflicts', conflicts));
END;
$$;
COMMENT ON FUNCTION tide.queue_conflict(text, text, bigint, json) IS 'Keeps a refused push for on_conflict. Internal.';
-- +goose StatementEnd

-- +goose StatementBegin
CREATE OR REPLACE FUNCTION tide.note_stale(user_id text, source_id text, reason text, buckets text[] DEFAULT NULL)
    RETURNS void
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    PERFORM tide.queue_event('on_stale', jsonb_strip_nulls(jsonb_build_object('user_id', user_id, 'source_id', source_id, 'reason', reason, 'buckets', buckets)));
END;
$$;
COMMENT ON FUNCTION tide.note_stale(text, text, text, text[]) IS 'Keeps for on_stale that a device cannot go on from where it stands, and must take a snapshot, of these buckets or of all.';
-- +goose StatementEnd

-- +goose StatementBegin
-- Taken in a transaction of its own: a hook that never ends, or takes the connection with it, has been tried
-- once more all the same, and does not keep the others waiting.
CREATE OR REPLACE FUNCTION tide.next_hook_event()
    RETURNS bigint
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    v_event_id bigint;
    -- Of the transaction in which the hook is called, too.
    v_timeout  interval := interval '1 millisecond' * (SELECT s.setting::bigint FROM pg_settings AS s WHERE s.name = 'statement_timeout');
BEGIN
    UPDATE tide.hook_event AS e
       SET attempts = e.attempts + 1, next_try_at = clock_timestamp() + v_timeout + least(interval '1 second' * 2 ^ least(e.attempts, 20), interval '10 minutes'), error = coalesce(e.error, 'not finished')
     WHERE e.event_id = (SELECT d.event_id FROM tide.hook_event AS d WHERE d.next_try_at <= clock_timestamp() ORDER BY d.event_id LIMIT 1 FOR UPDATE SKIP LOCKED)
    RETURNING e.event_id INTO v_event_id;
    RETURN v_event_id;
END;
$$;
COMMENT ON FUNCTION tide.next_hook_event() IS 'What a hook is to be told next, NULL for nothing now; give it to tide.deliver_hook_event in another transaction. One that fails is given again, after 1, 2, 4 ... seconds, at most 10 minutes.';
-- +goose StatementEnd

-- +goose StatementBegin
CREATE OR REPLACE FUNCTION tide.deliver_hook_event(event_id bigint)
    RETURNS boolean
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    v_event tide.hook_event;
BEGIN
    SELECT * INTO v_event FROM tide.hook_event AS e WHERE e.event_id = deliver_hook_event.event_id FOR UPDATE SKIP LOCKED;
    IF v_event.event_id IS NULL THEN
        RETURN false;
    END IF;
    BEGIN
        PERFORM tide.call_hook(v_event.hook, v_event.event || jsonb_build_object('event_id', v_event.event_id, 'happened_at', v_event.happened_at));
        -- A constraint that waits for the end of the transaction would take this record with it.
        SET CONSTRAINTS ALL IMMEDIATE;
    EXCEPTION
        WHEN OTHERS THEN
            UPDATE tide.hook_event AS e
               SET error = left(sqlstate || ': ' || sqlerrm, 2000), next_try_at = clock_timestamp() + least(interval '1 second' * 2 ^ least(e.attempts - 1, 20), interval '10 minutes')
             WHERE e.event_id = v_event.event_id;
            RETURN false;
    END;
    DELETE FROM tide.hook_event AS e WHERE e.event_id = v_event.event_id;
    RETURN true;
END;
$$;
COMMENT ON FUNCTION tide.deliver_hook_event(bigint) IS 'Tells a hook what happened; true when it has it, in this transaction. What it raises is kept in tide.hook_events.';
-- +goose StatementEnd

-- +goose StatementBegin
CREATE OR REPLACE VIEW tide.hook_events AS
SELECT e.event_id, e.hook, e.event, e.happened_at, e.attempts, e.next_try_at, e.error
  FROM tide.hook_event AS e
 ORDER BY e.event_id;
COMMENT ON VIEW tide.hook_events IS 'What hooks are still to be told, and why they failed so far. To drop one: DELETE FROM tide.hook_event WHERE event_id = ...';
-- +goose StatementEnd

-- +goose StatementBegin
CREATE OR REPLACE FUNCTION tide.rebucket(table_name regclass, filter text DEFAULT 'true')
    RETURNS bigint
    LANGUAGE plpgsql
    SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    v_table tide.synced_table := tide.registered_table(table_name);
    v_key   text := (tide.row_expressions(v_table.table_id, 'tide_n')).row_key;
    v_count bigint;
BEGIN
    IF NOT v_table.derived THEN
        RAISE EXCEPTION 'buckets of table % hang on nothing but the row', table_name
            USING ERRCODE = 'TD022', HINT = 'They are judged when the row is written: update the rows, or register the table again.';
    END IF;
    EXECUTE format($sql$
        INSERT INTO tide.change_log (table_id, op, row_key, key_hash)
        SELECT %1$s, 'R', k.row_key, hashtextextended(k.row_key, %1$s)
          FROM (SELECT %2$s AS row_key FROM (SELECT * FROM %3$s WHERE %4$s) AS tide_n) AS k$sql$, v_table.table_id, v_key, table_name, filter);
    GET DIAGNOSTICS v_count = ROW_COUNT;
    RETURN v_count;
END;
$$;
COMMENT ON FUNCTION tide.rebucket(regclass, text) IS
'Has the next seal judge the buckets of rows again, of all or of those that a condition over their columns names: SELECT tide.rebucket(''app.task'', ''team_id = 7''). Needed only after a rule looks at something that was not declared. Returns the number of rows. Raises TD009, TD022.';
-- +goose StatementEnd

-- +goose StatementBegin
CREATE OR REPLACE FUNCTION tide.retry_bucket_failures()
    RETURNS bigint
    LANGUAGE plpgsql
    SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    v_count bigint;
BEGIN
    -- Where not even the rows are known, the whole table is judged.
    PERFORM tide.mark_table(f.table_id, 'A', 'bucket rules tried again') FROM tide.bucket_failure AS f JOIN tide.synced_table AS s ON s.table_id = f.table_id AND s.derived WHERE f.row_key = '*';
    INSERT INTO tide.change_log (table_id, op, row_key, key_hash)
    SELECT f.table_id, 'R', f.row_key, f.key_hash FROM tide.bucket_failure AS f WHERE f.row_key <> '*';
    GET DIAGNOSTICS v_count = ROW_COUNT;
    DELETE FROM tide.bucket_failure AS f WHERE f.row_key = '*';
    RETURN v_count;
END;
$$;
COMMENT ON FUNCTION tide.retry_bucket_failures() IS 'Has the next seal judge the rows of tide.bucket_failures again, and returns their number.';
-- +goose StatementEnd

-- +goose StatementBegin
CREATE OR REPLACE FUNCTION tide.check_buckets(table_name regclass)
    RETURNS TABLE (key json, stored text[], computed text[], error text)
    LANGUAGE plpgsql STABLE SECURITY DEFINER
    SET search_path = pg_catalog, pg_temp
AS $$
#variable_conflict use_column
DECLARE
    v_table tide.synced_table := tide.registered_table(check_buckets.table_name);
BEGIN
    RETURN QUERY
    SELECT j.row_key::json, j.before, j.after, coalesce(j.error, j.row_error)
      FROM tide.judge_rules(NULL, ARRAY[v_table.table_id], ARRAY['!'], v_table.table_id) AS j
     WHERE (j.before <> j.after OR j.error IS NOT NULL OR j.row_error IS NOT NULL)
       AND j.row_key NOT IN (SELECT p.row_key FROM tide.pending_moves(v_table.table_id) AS p);
END;
$$;
COMMENT ON FUNCTION tide.check_buckets(regclass) IS
'Rows of a table with derived rules whose stored buckets are not what the rule says now, but for rows that the next seal judges anyway. Reads the whole table. No row is what there should be; otherwise a rule looks at something that was not declared. Raises TD009, TD126.';
-- +goose StatementEnd

-- +goose StatementBegin
CREATE OR REPLACE FUNCTION tide.row_buckets(table_name regclass, key jsonb)
    RETURNS text[]
    LANGUAGE plpgsql STABLE SECURITY DEFINER
    SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    v_table   tide.synced_table := tide.registered_table(row_buckets.table_name);
    v_buckets text[];
BEGIN
    EXECUTE format('SELECT %s FROM %s AS tide_n WHERE %s', tide.bucket_expression(v_table.table_id, 'tide_n'), v_table.relation,
                   (SELECT string_agg(format('tide_n.%I OPERATOR(%s) %s', k.current_name, k.equality, k.value), ' AND ') FROM tide.key_columns(v_table.table_id, '$1') AS k))
       INTO v_buckets USING tide.key_text(row_buckets.table_name, key);
    RETURN v_buckets;
END;
$$;
COMMENT ON FUNCTION tide.row_buckets(regclass, jsonb) IS 'Buckets of a row by the rules, as the tables are now; NULL when there is no such row. Raises TD003, TD009, and what the rule raises.';
-- +goose StatementEnd

-- +goose StatementBegin
-- One step at a time: the row's own rule, then each of its parents, theirs, and so on.
CREATE OR REPLACE FUNCTION tide.why_bucket(table_name regclass, key jsonb, via text DEFAULT NULL)
    RETURNS TABLE (bucket_id text, rule text, because text)
    LANGUAGE plpgsql STABLE SECURITY DEFINER
    SET search_path = pg_catalog, pg_temp SET jit = off
AS $$
#variable_conflict use_column
DECLARE
    v_table   tide.synced_table := tide.registered_table(why_bucket.table_name);
    v_key     text := tide.key_text(why_bucket.table_name, key);
    v_here    text := concat_ws(' -> ', via, v_table.relation::text || ' ' || v_key);
    v_found   text := (SELECT string_agg(format('tide_n.%I OPERATOR(%s) %s', k.current_name, k.equality, k.value), ' AND ') FROM tide.key_columns(v_table.table_id, '$1') AS k);
    v_own     text := tide.own_buckets(v_table.table_id, 'tide_n');
    v_deleted text := tide.deleted_expression(v_table.table_id, 'tide_n');
    v_looks   text;
    v_parent  record;
    v_next    jsonb;
BEGIN
    -- A circle in a tree, or a chain that nobody can follow any more.
    IF strpos(via, v_table.relation::text || ' ' || v_key) > 0 OR length(via) > 10000 THEN
        RETURN;
    END IF;
    v_found := concat_ws(' AND ', v_found, '(' || v_deleted || ') IS NOT TRUE');
    -- What a function found: rows of the tables it looks at that have to do with this one.
    SELECT string_agg(CASE
               WHEN d.table_columns IS NULL THEN format('ARRAY[%L]', s.relation::text || ' by its query')
               ELSE format('ARRAY(SELECT %L || tide_s::text FROM (SELECT tide_d.* FROM %s AS tide_d WHERE %s LIMIT 10) AS tide_s)', s.relation::text || ' ', s.relation,
                           (SELECT string_agg(format('tide_d.%I OPERATOR(%s) tide_n.%I::%s', sc.current_name, t.equality, tc.current_name, t.type), ' AND ')
                              FROM unnest(d.table_columns, d.source_columns) AS p (name, source)
                              JOIN tide.synced_columns(v_table.table_id) AS tc ON tc.column_name = p.name
                              JOIN tide.synced_columns(d.source_id) AS sc ON sc.column_name = p.source
                             CROSS JOIN LATERAL tide.column_equality(s.relation, sc.current_name) AS t)) END, ' || ' ORDER BY d.source_id)
      INTO v_looks
      FROM tide.bucket_dependency AS d JOIN tide.synced_table AS s ON s.table_id = d.source_id WHERE d.table_id = v_table.table_id;
    IF v_own IS NOT NULL THEN
        RETURN QUERY EXECUTE format('SELECT b, %L, concat_ws('' <- '', %L, nullif(array_to_string(%s, '', ''), '''')) FROM %s AS tide_n CROSS JOIN LATERAL unnest(%s) AS b WHERE %s',
            CASE
                WHEN v_table.bucket IS NOT NULL THEN 'bucket => ' || quote_literal(v_table.bucket)
                WHEN v_table.bucket_function IS NOT NULL THEN 'bucket_function => ' || quote_literal(v_table.bucket_function)
                ELSE 'owner_column => ' || quote_literal(v_table.owner_column)
            END, v_here, coalesce(v_looks, 'NULL::text[]'), v_table.relation, v_own, v_found) USING v_key;
    END IF;
    FOR v_parent IN
        SELECT c.parent, string_agg(format('%L, tide_n.%I::text', c.key_name, c.fk_column), ', ') AS key,
               string_agg(format('tide_n.%I IS NOT NULL', c.fk_column), ' AND ') AS given
          FROM tide.parent_columns(v_table.table_id) AS c GROUP BY c.parent_ordinal, c.parent ORDER BY c.parent_ordinal
    LOOP
        EXECUTE format('SELECT jsonb_build_object(%s) FROM %s AS tide_n WHERE %s AND %s', v_parent.key, v_table.relation, v_found, v_parent.given) INTO v_next USING v_key;
        IF v_next IS NOT NULL THEN
            RETURN QUERY SELECT w.bucket_id, w.rule, w.because FROM tide.why_bucket(v_parent.parent, v_next, v_here) AS w;
        END IF;
    END LOOP;
END;
$$;
COMMENT ON FUNCTION tide.why_bucket(regclass, jsonb, text) IS
'Why a row lies in its buckets, as the tables are now: the rule that gives each, the rows from this one to the one it is about, and after <- the rows that its function looks at. SELECT * FROM tide.why_bucket(''app.comment'', ''{"id": 42}''). Raises TD003, TD009.';
-- +goose StatementEnd

-- +goose StatementBegin
CREATE OR REPLACE FUNCTION tide.who_sees(table_name regclass, key jsonb)
    RETURNS TABLE (user_id text, bucket_id text)
    LANGUAGE plpgsql STABLE SECURITY DEFINER
    SET search_path = pg_catalog, pg_temp
AS $$
#variable_conflict use_column
DECLARE
    v_buckets text[] := tide.row_buckets(who_sees.table_name, key);
BEGIN
    RETURN QUERY
    SELECT u.user_id, b
      FROM (SELECT s.user_id::text FROM tide.scope AS s UNION SELECT s.user_id FROM tide.source AS s UNION SELECT substr(h, 6) FROM unnest(v_buckets) AS h WHERE starts_with(h, 'user:')) AS u (user_id)
     CROSS JOIN LATERAL unnest(tide.buckets_of(u.user_id)) AS b
     WHERE b = ANY (v_buckets)
     ORDER BY 1, 2;
END;
$$;
COMMENT ON FUNCTION tide.who_sees(regclass, jsonb) IS
'Users whose devices get a row, and by which bucket, as the tables are now: those who ever connected, and those with a bucket of their own. SELECT * FROM tide.who_sees(''app.task'', ''{"id": 42}''). Raises TD003, TD009.';
-- +goose StatementEnd

-- +goose StatementBegin
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
-- +goose StatementEnd

-- +goose StatementBegin
CREATE OR REPLACE VIEW tide.bucket_failures AS
SELECT s.relation, nullif(f.row_key, '*')::json AS key, f.error, f.seal_id, f.failed_at
  FROM tide.bucket_failure AS f JOIN tide.synced_table AS s ON s.table_id = f.table_id;
COMMENT ON VIEW tide.bucket_failures IS 'Rows whose bucket rule raised an error: they are in no bucket until it is mended and tide.retry_bucket_failures() was called. key is NULL where it could not even be told which rows a change reaches.';
-- +goose StatementEnd

-- +goose StatementBegin
-- Attaching beside a DEFAULT partition makes PostgreSQL look through that partition under an
-- exclusive lock, unless a validated CHECK tells that nothing in it belongs to the new one. And a
-- statement that began before the attaching still routes by the old partitions: a row of the new
-- range would fail in the DEFAULT one. So a new range begins well above what was drawn, and what
-- lies between goes to the DEFAULT partition.
CREATE OR REPLACE FUNCTION tide.add_partitions(log regclass, column_name name, reached bigint, size bigint, ahead numeric)
    RETURNS SETOF text
    LANGUAGE plpgsql
    SET search_path = pg_catalog, pg_temp
    SET lock_timeout = '150ms'
AS $$
DECLARE
    v_log     name := (SELECT c.relname FROM pg_class AS c WHERE c.oid = log);
    v_default text := format('tide.%I', v_log || '_default');
    v_end     bigint;
    v_from    bigint;
    v_new     name;
BEGIN
    LOOP
        SELECT coalesce(max((regexp_match(pg_get_expr(c.relpartbound, c.oid), 'TO \(''?(\d+)''?\)'))[1]::bigint), 0)
          INTO v_end
          FROM pg_inherits AS i JOIN pg_class AS c ON c.oid = i.inhrelid
         WHERE i.inhparent = log;
        EXIT WHEN v_end >= reached + ahead * size;
        v_from := greatest(v_end, reached + greatest(size / 16, 10000));
        v_new := format('%s_from_%s', v_log, v_from);
        BEGIN
            -- Attaching locks a DEFAULT partition exclusively, and who seals or reads has locks of several
            -- logs. So those of all are taken at once, that first which sealing reads first: who waits for
            -- one while he holds another waits for a moment only. A reader may take them in another order: then
            -- this gives up before deadlock_timeout as it usually is, or is found out by a shorter one.
            LOCK TABLE tide.seal_log_default, tide.change_log_default, tide.key_log_default, tide.bundle_log_default IN ACCESS EXCLUSIVE MODE;
            EXECUTE format('CREATE TABLE tide.%I (LIKE %s INCLUDING ALL, CONSTRAINT tide_range CHECK (%I >= %s AND %3$I < %s))',
                v_new, log, column_name, v_from, v_from + size);
            EXECUTE format('ALTER TABLE %s DROP CONSTRAINT IF EXISTS tide_range', v_default);
            EXECUTE format('ALTER TABLE %s ADD CONSTRAINT tide_range CHECK (%I < %s) NOT VALID', v_default, column_name, v_from);
            EXECUTE format('ALTER TABLE %s VALIDATE CONSTRAINT tide_range', v_default);
            EXECUTE format('ALTER TABLE %s ATTACH PARTITION tide.%I FOR VALUES FROM (%s) TO (%s)', log, v_new, v_from, v_from + size);
            EXECUTE format('ALTER TABLE tide.%I DROP CONSTRAINT tide_range', v_new);
            EXECUTE format('ALTER TABLE %s DROP CONSTRAINT tide_range', v_default);
            EXECUTE format('ALTER TABLE tide.%I OWNER TO tide_owner', v_new);
        EXCEPTION
            WHEN lock_not_available OR deadlock_detected THEN
                RETURN NEXT format('could not add %s now: a reader holds the log; try again', v_new);
                EXIT;
            WHEN duplicate_table OR duplicate_object OR unique_violation THEN
                RETURN NEXT format('somebody else added %s at the same time', v_new);
                EXIT;
            WHEN check_violation THEN
                RETURN NEXT format('could not add %s now: writers have reached it already; try again', v_new);
                EXIT;
        END;
        RETURN NEXT format('added %s for %s from %s', v_new, column_name, v_from);
    END LOOP;
END;
$$;
COMMENT ON FUNCTION tide.add_partitions(regclass, name, bigint, bigint, numeric) IS 'Adds partitions to a log until so many of its size have room ahead, without making writers wait. Internal.';
-- +goose StatementEnd

-- +goose StatementBegin
-- Every ALTER writes rows of the catalogs anew, and a row that is written anew has another xmin; VACUUM and ANALYZE leave
-- it. Added up, so that nothing need be sorted.
CREATE OR REPLACE FUNCTION tide.definitions()
    RETURNS text
    LANGUAGE plpgsql STABLE
    SET search_path = pg_catalog, pg_temp SET jit = off
AS $$
BEGIN
    RETURN (
    WITH synced AS MATERIALIZED (
        SELECT s.relation::oid AS oid FROM tide.synced_table AS s WHERE s.unregistered_at IS NULL
         UNION SELECT p::oid FROM tide.synced_table AS s CROSS JOIN unnest(s.partitions) AS p WHERE s.unregistered_at IS NULL
    )
    SELECT concat_ws(' ', tide.version(), (SELECT s.client_role FROM tide.setting AS s), sum(hashtextextended(concat_ws(' ', f.catalog, f.of, f.xmin), 0)))
      FROM (SELECT 'pg_class' AS catalog, c.oid::text AS of, c.xmin::text AS xmin FROM synced AS r JOIN pg_class AS c ON c.oid = r.oid
             UNION ALL SELECT 'pg_attribute', concat_ws(' ', a.attrelid, a.attnum, t.xmin), a.xmin::text FROM synced AS r JOIN pg_attribute AS a ON a.attrelid = r.oid AND a.attnum > 0 JOIN pg_type AS t ON t.oid = a.atttypid
             UNION ALL SELECT 'pg_attrdef', d.oid::text, d.xmin::text FROM synced AS r JOIN pg_attrdef AS d ON d.adrelid = r.oid
             UNION ALL SELECT 'pg_index', i.indexrelid::text, i.xmin::text FROM synced AS r JOIN pg_index AS i ON i.indrelid = r.oid
             UNION ALL SELECT 'pg_constraint', c.oid::text, c.xmin::text FROM synced AS r JOIN pg_constraint AS c ON c.conrelid = r.oid
             UNION ALL SELECT 'pg_trigger', t.oid::text, t.xmin::text FROM synced AS r JOIN pg_trigger AS t ON t.tgrelid = r.oid
             UNION ALL SELECT 'pg_policy', p.oid::text, p.xmin::text FROM synced AS r JOIN pg_policy AS p ON p.polrelid = r.oid
             UNION ALL SELECT 'pg_inherits', concat_ws(' ', i.inhparent, i.inhrelid), i.xmin::text FROM synced AS r JOIN pg_inherits AS i ON i.inhparent = r.oid
             UNION ALL SELECT 'pg_namespace', n.oid::text, n.xmin::text FROM pg_namespace AS n
             UNION ALL SELECT 'pg_proc', p.oid::text, p.xmin::text FROM tide.synced_table AS s JOIN pg_proc AS p ON p.oid = tide.bucket_function_of(s.table_id) WHERE s.bucket_function IS NOT NULL
             UNION ALL SELECT 'synced_table', s.table_id::text, s.xmin::text FROM tide.synced_table AS s
             UNION ALL SELECT 'bucket_dependency', d.ctid::text, d.xmin::text FROM tide.bucket_dependency AS d
             UNION ALL SELECT 'access_dependency', d.ctid::text, d.xmin::text FROM tide.access_dependency AS d) AS f);
END;
$$;
COMMENT ON FUNCTION tide.definitions() IS 'Fingerprint of how the synced tables are defined and registered: as long as it is the same, nothing was altered that functions are written for. Internal.';
-- +goose StatementEnd

-- +goose StatementBegin
CREATE OR REPLACE FUNCTION tide.maintain(only_altered boolean DEFAULT false)
    RETURNS SETOF text
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path = pg_catalog, pg_temp SET jit = off
AS $$
DECLARE
    v_setting   tide.setting := (SELECT s FROM tide.setting AS s);
    v_change_id bigint;
    v_bundle_id bigint;
    v_seal_id   bigint;
    v_now       text := tide.definitions(); -- before the tables are looked at: what is altered meanwhile is looked at again
    v_table     record;
BEGIN
    -- A table that was altered is captured by a statement made at every write, until its functions are written anew.
    FOR v_table IN
        SELECT s.table_id, s.relation, s.key_columns
          FROM tide.synced_table AS s JOIN pg_class AS c ON c.oid = s.relation
         WHERE s.unregistered_at IS NULL AND (NOT only_altered OR v_now IS DISTINCT FROM v_setting.maintained)
    LOOP
        IF tide.key_index(v_table.relation, tide.current_names(v_table.table_id, v_table.key_columns)::name[]) IS NULL THEN
            -- Nothing could be written that finds rows by it.
            RETURN NEXT format('%s: the key is no longer unique, so its functions stay as they are', v_table.relation);
            CONTINUE;
        END IF;
        BEGIN
            IF tide.write_capture_functions(v_table.table_id) THEN
                RETURN NEXT format('wrote the capture functions of %s anew, after it was altered', v_table.relation);
            END IF;
            IF tide.write_bucket_functions(v_table.table_id) THEN
                RETURN NEXT format('wrote the bucket functions of %s anew, after a table they look at was altered', v_table.relation);
            END IF;
            IF tide.write_push_functions(v_table.table_id) THEN
                RETURN NEXT format('wrote the push functions of %s anew, after it was altered', v_table.relation);
            END IF;
        EXCEPTION
            WHEN SQLSTATE 'TD005' OR SQLSTATE 'TD012' THEN
                RETURN NEXT format('%s: %s', v_table.relation, sqlerrm);
        END;
    END LOOP;
    UPDATE tide.setting AS s SET maintained = v_now WHERE s.maintained IS DISTINCT FROM v_now;

    -- Last, as its locks stay until the end. What a query reads no partition can be attached to.
    SELECT l.seal_id, l.last_bundle_id INTO v_seal_id, v_bundle_id FROM tide.seal_log AS l ORDER BY l.seal_id DESC LIMIT 1;
    SELECT s.last_value INTO v_change_id FROM tide.change_id AS s;
    RETURN QUERY SELECT tide.add_partitions('tide.change_log', 'change_id', v_change_id, v_setting.change_partition_rows, v_setting.partitions_ahead);
    RETURN QUERY SELECT tide.add_partitions('tide.key_log', 'change_id', v_change_id, v_setting.change_partition_rows, v_setting.partitions_ahead);
    RETURN QUERY SELECT tide.add_partitions('tide.bundle_log', 'bundle_id', v_bundle_id, v_setting.bundle_partition_rows, v_setting.partitions_ahead);
    RETURN QUERY SELECT tide.add_partitions('tide.seal_log', 'seal_id', v_seal_id, v_setting.seal_partition_rows, v_setting.partitions_ahead);
END;
$$;
COMMENT ON FUNCTION tide.maintain(boolean) IS 'Keeps empty partitions ahead of the logs and the functions of tables in step with their definitions; says what it did. only_altered => true passes over the tables when none was altered since. To be called now and then, by the runtime, pg_cron or a DBA.';
-- +goose StatementEnd

-- +goose StatementBegin
CREATE OR REPLACE FUNCTION tide.set_maintenance(message text, retry_after interval DEFAULT '1 minute')
    RETURNS void
    LANGUAGE plpgsql
    SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    IF retry_after IS NULL OR retry_after <= '0'::interval THEN
        RAISE EXCEPTION 'retry_after is not positive' USING ERRCODE = 'TD006', HINT = 'Say how long devices are to wait before they try again.';
    END IF;
    UPDATE tide.setting SET maintenance_message = message, maintenance_retry_after = retry_after;
END;
$$;
COMMENT ON FUNCTION tide.set_maintenance(text, interval) IS
'Makes every runtime answer 503 with this message and Retry-After, within a second, and refuses pushes here as well; NULL ends it. Capture and sealing go on. Raises TD006.';
-- +goose StatementEnd

-- +goose StatementBegin
-- Comparing all rows reads the table; some of them tell whether something was not declared.
CREATE OR REPLACE FUNCTION tide.sample_buckets(table_id integer, max_rows integer DEFAULT 200, OUT looked_at bigint, OUT amiss bigint)
    LANGUAGE plpgsql STABLE
    SET search_path = pg_catalog, pg_temp
    SET lock_timeout = '200ms'
AS $$
DECLARE
    v_relation regclass := (SELECT s.relation FROM tide.synced_table AS s WHERE s.table_id = sample_buckets.table_id);
    -- -1 before the first ANALYZE; partitions have the rows of a partitioned table.
    v_rows     double precision := (SELECT max(c.reltuples) FROM pg_class AS c JOIN (SELECT v_relation AS oid UNION SELECT p.relid FROM pg_partition_tree(v_relation) AS p) AS t ON t.oid = c.oid);
    v_keys     tide.rule_change[];
    v_judged   tide.judged_row[];
BEGIN
    EXECUTE format($sql$
        SELECT array_agg(ROW(%1$s, NULL, NULL, k.row_key, NULL, NULL)::tide.rule_change)
          FROM ((SELECT %2$s COLLATE "C" AS row_key FROM %3$s AS tide_n %4$s LIMIT $1)
                 UNION
                (SELECT m.row_key FROM tide.membership AS m WHERE m.table_id = %1$s AND m.key_hash > $2 ORDER BY m.key_hash LIMIT $1)) AS k$sql$,
        table_id, (tide.row_expressions(table_id, 'tide_n')).row_key, v_relation,
        CASE WHEN v_rows > max_rows THEN format('TABLESAMPLE SYSTEM (%s)', least(100, greatest(300 * max_rows / v_rows, 0.001))) END)
       INTO v_keys USING max_rows, ((random() - 0.5) * 1.8e19)::bigint;
    looked_at := coalesce(cardinality(v_keys), 0);
    -- Not in the query: the planner would call it too, to estimate rows.
    v_judged := tide.judge_rows(table_id, v_keys);
    SELECT count(*) INTO amiss
      FROM unnest(v_judged) AS j
     WHERE j.before <> j.after AND j.error IS NULL AND j.row_key NOT IN (SELECT p.row_key FROM tide.pending_moves(table_id) AS p);
EXCEPTION
    -- Other findings say what is the matter with the table.
    WHEN OTHERS THEN
        IF sqlstate ~ '^(40|53|57)' THEN
            RAISE;
        END IF;
        looked_at := 0;
        amiss := 0;
END;
$$;
COMMENT ON FUNCTION tide.sample_buckets(integer, integer) IS 'Of some rows of a table with derived rules, how many lie in other buckets than the rule says. Internal.';
-- +goose StatementEnd

-- +goose StatementBegin
CREATE OR REPLACE FUNCTION tide.check()
    RETURNS TABLE (severity text, table_name text, finding text, detail text, remedy text)
    LANGUAGE sql STABLE SECURITY DEFINER
    SET search_path = pg_catalog, pg_temp SET jit = off
AS $$
    WITH synced AS (
        SELECT s.*, c.oid AS existing, c.relname AS name_now, n.nspname AS schema_now, s.relation::text AS named,
               s.bucket_function IS NOT NULL AND tide.bucket_function_of(s.table_id) IS NULL AS function_gone,
               format('SELECT tide.refresh(%L)', s.relation) AS refresh,
               format('SELECT tide.refresh(%L, missed_changes => true)', s.relation) AS reread
          FROM tide.synced_table AS s
          LEFT JOIN pg_class AS c ON c.oid = s.relation
          LEFT JOIN pg_namespace AS n ON n.oid = c.relnamespace
         WHERE s.unregistered_at IS NULL
    ), alive AS (
        SELECT * FROM synced WHERE existing IS NOT NULL
    )
    SELECT 'warning', format('%I.%I', s.table_schema, s.table_name), 'the table was dropped',
           'Devices keep its rows.', format('UPDATE tide.synced_table SET unregistered_at = now() WHERE table_id = %s', s.table_id)
      FROM synced AS s WHERE s.existing IS NULL
     UNION ALL
    SELECT 'error', s.named, 'changes cannot be captured', tide.registration_problem(s.relation), 'Mend what is said, then: ' || s.reread
      FROM alive AS s WHERE tide.registration_problem(s.relation) IS NOT NULL
     UNION ALL
    SELECT CASE WHEN f.problem = 'superfluous' THEN 'notice' ELSE 'error' END, s.named,
           format('capture triggers are %s on %s: %s', f.problem, f.relation, string_agg(f.trigger_name, ', ' ORDER BY f.trigger_name)),
           CASE WHEN f.problem = 'superfluous' THEN 'They only cost time.' ELSE 'Changes may have been missed: devices must fetch the table anew.' END,
           CASE WHEN f.problem = 'superfluous' THEN s.refresh ELSE s.reread END
      FROM alive AS s CROSS JOIN LATERAL tide.trigger_findings(s.table_id) AS f
     GROUP BY s.named, s.refresh, s.reread, f.problem, f.relation
     UNION ALL
    SELECT 'error', s.named, 'partitions were detached', format('No longer part of it: %s. Devices keep their rows.', array_to_string(g.gone, ', ')), s.reread
      FROM alive AS s
     CROSS JOIN LATERAL (SELECT ARRAY(SELECT p::text FROM unnest(s.partitions) AS p EXCEPT SELECT t.relid::text FROM pg_partition_tree(s.relation) AS t)) AS g (gone)
     WHERE cardinality(g.gone) > 0
     UNION ALL
    SELECT 'error', s.named, 'a column capture needs was dropped', format('Missing: %s.', array_to_string(g.gone, ', ')),
           format('SELECT tide.register_table(%L, ...) with another rule or key', s.relation)
      FROM alive AS s
     CROSS JOIN LATERAL (SELECT ARRAY(SELECT n FROM unnest(s.key_columns || s.owner_column || s.deleted_at_column || s.dep_columns) AS n WHERE n IS NOT NULL
                                      EXCEPT SELECT c.column_name FROM tide.synced_columns(s.table_id) AS c)) AS g (gone)
     WHERE cardinality(g.gone) > 0
     UNION ALL
    SELECT 'error', s.named, 'the bucket function is gone', format('It was %s. Rows cannot be given to buckets.', s.bucket_function), 'Create it again, or register the table with another one.'
      FROM alive AS s WHERE s.function_gone
     UNION ALL
    SELECT 'warning', s.named, 'the table is not as it was registered',
           concat_ws(' ',
               'Renamed to ' || CASE WHEN (s.schema_now, s.name_now) IS DISTINCT FROM (s.table_schema, s.table_name) THEN format('%I.%I, devices know it as %I.%I.', s.schema_now, s.name_now, s.table_schema, s.table_name) END,
               (SELECT format('Dropped: %s.', string_agg(n, ', ')) FROM unnest(s.sync_columns) AS n WHERE n NOT IN (SELECT c.column_name FROM tide.synced_columns(s.table_id) AS c) HAVING count(*) > 0),
               (SELECT format('Renamed: %s.', string_agg(c.column_name || ' to ' || c.current_name, ', ')) FROM tide.synced_columns(s.table_id) AS c WHERE c.column_name <> c.current_name HAVING count(*) > 0),
               (SELECT format('Added: %s.', string_agg(a.attname, ', '))
                  FROM pg_attribute AS a
                 WHERE s.all_columns AND a.attrelid = s.relation AND a.attnum > 0 AND NOT a.attisdropped
                   AND a.attname <> ALL (s.exclude_columns)
                   AND a.attname NOT IN (SELECT c.current_name FROM tide.synced_columns(s.table_id) AS c)
                HAVING count(*) > 0)),
           s.refresh
      FROM alive AS s
     WHERE (s.schema_now, s.name_now) IS DISTINCT FROM (s.table_schema, s.table_name)
        OR tide.current_names(s.table_id, s.sync_columns) IS DISTINCT FROM s.sync_columns
        OR s.all_columns AND EXISTS (
               SELECT FROM pg_attribute AS a
                WHERE a.attrelid = s.relation AND a.attnum > 0 AND NOT a.attisdropped
                  AND a.attname <> ALL (s.exclude_columns)
                  AND a.attname NOT IN (SELECT c.current_name FROM tide.synced_columns(s.table_id) AS c))
     UNION ALL
    SELECT 'warning', s.named, 'capture functions are not as they would be written now', 'Capture and snapshots are right, but slower, until they are written anew.', 'SELECT tide.maintain()'
      FROM alive AS s
     WHERE CASE WHEN NOT s.function_gone AND NOT EXISTS (
                         SELECT FROM unnest(s.key_columns || s.owner_column || s.deleted_at_column || s.dep_columns) AS n
                          WHERE n IS NOT NULL AND n NOT IN (SELECT c.column_name FROM tide.synced_columns(s.table_id) AS c))
                THEN EXISTS (
                         SELECT FROM unnest(ARRAY['INSERT', 'UPDATE', 'DELETE', 'TRUNCATE']) AS e
                           LEFT JOIN pg_proc AS p ON p.pronamespace = 'tide'::regnamespace AND p.proname = tide.capture_function(s.table_id, e)
                          WHERE p.prosrc IS NULL OR p.prosrc IS DISTINCT FROM tide.capture_source(s.table_id, e))
                     OR (SELECT r FROM tide.reading AS r WHERE r.table_id = s.table_id) IS DISTINCT FROM tide.make_reading(s.table_id) END
     UNION ALL
    SELECT 'error', s.named, 'the key is no longer unique', format('No usable unique index on (%s).', array_to_string(s.key_columns, ', ')), 'Create it again, or register the table with other key_columns.'
      FROM alive AS s
     WHERE tide.key_index(s.relation, tide.current_names(s.table_id, s.key_columns)::name[]) IS NULL
     UNION ALL
    SELECT 'error', s.named, 'bucket rules raise errors',
           format('%s; the latest: %s', CASE WHEN bool_or(f.row_key = '*') THEN 'Rows may lie in buckets where they should not' ELSE format('%s rows are in no bucket', count(*)) END, (array_agg(f.error ORDER BY f.failed_at DESC))[1]),
           'SELECT tide.retry_bucket_failures()'
      FROM alive AS s JOIN tide.bucket_failure AS f ON f.table_id = s.table_id
     GROUP BY s.named
     UNION ALL
    SELECT 'error', s.named, 'rows lie in other buckets than the rule says', format('%s of %s rows that were looked at: the rule looks at something that was not declared.', b.amiss, b.looked_at),
           format('SELECT tide.add_bucket_dependency(%L, ...), or once: SELECT tide.rebucket(%1$L)', s.named)
      FROM alive AS s CROSS JOIN LATERAL tide.sample_buckets(s.table_id) AS b
     WHERE s.derived AND b.amiss > 0
     UNION ALL
    SELECT 'warning', s.named, format('no index on (%s)', array_to_string(f.columns, ', ')), format('Rows whose buckets hang on %s are found by these columns.', string_agg(DISTINCT f.source, ', ')),
           format('CREATE INDEX CONCURRENTLY ON %s (%s)', s.named, (SELECT string_agg(quote_ident(n), ', ') FROM unnest(f.columns) AS n))
      FROM alive AS s
     CROSS JOIN LATERAL (SELECT r.parent::text AS source, tide.current_names(s.table_id, string_to_array(r.fk, ',')) AS columns FROM unnest(s.parents, s.parent_fks) AS r (parent, fk)
                          UNION ALL
                         SELECT o.relation::text, tide.current_names(s.table_id, d.table_columns)
                           FROM tide.bucket_dependency AS d JOIN tide.synced_table AS o ON o.table_id = d.source_id WHERE d.table_id = s.table_id AND d.affects IS NULL) AS f
     WHERE cardinality(f.columns) > 0
       AND NOT EXISTS (
               SELECT FROM pg_index AS i
                WHERE i.indrelid = s.existing AND i.indisvalid AND i.indpred IS NULL
                  AND ARRAY(SELECT a.attname::text FROM unnest((i.indkey::int2[])[0 : cardinality(f.columns) - 1]) AS k (attnum) JOIN pg_attribute AS a ON a.attrelid = s.existing AND a.attnum = k.attnum ORDER BY 1)
                      = ARRAY(SELECT n::text FROM unnest(f.columns) AS n ORDER BY 1))
     GROUP BY s.named, f.columns
     UNION ALL
    SELECT 'error', s.named, 'pgtide cannot read the table', p.problem, s.refresh
      FROM alive AS s CROSS JOIN LATERAL (SELECT tide.read_problem(s.relation)) AS p (problem)
     WHERE p.problem IS NOT NULL
     UNION ALL
    SELECT 'error', s.named, 'a seal could not read the table', format('%s; devices may lack rows.', l.error), s.reread
      FROM alive AS s
     CROSS JOIN LATERAL (SELECT a.error FROM tide.adoption_log AS a WHERE a.table_id = s.table_id ORDER BY a.seal_id DESC LIMIT 1) AS l
     WHERE l.error IS NOT NULL
     UNION ALL
    SELECT 'error', NULL, format('the function of %s is gone', f.name), format('It was %s.', f.signature), format('Create it again, or name another one: SELECT %s', f.remedy)
      FROM (SELECT 'bucket access' AS name, s.bucket_access AS signature, 'tide.set_bucket_access(...)' AS remedy FROM tide.setting AS s
             UNION ALL SELECT 'hook ' || h.hook, h.hook_function, format('tide.set_hook(%L, ...)', h.hook) FROM tide.hook AS h) AS f
     WHERE f.signature IS NOT NULL AND to_regprocedure(f.signature) IS NULL
     UNION ALL
    SELECT 'warning', NULL, format('hook %s fails', e.hook), format('%s events wait since %s; the latest error: %s', count(*), min(e.happened_at), (array_agg(e.error ORDER BY e.event_id DESC))[1]),
           'Mend the function: SELECT * FROM tide.hook_events; or end it: SELECT tide.set_hook(''' || e.hook || ''', NULL)'
      FROM tide.hook_event AS e WHERE e.attempts > 3
     GROUP BY e.hook
     UNION ALL
    SELECT 'error', NULL, 'capture is paused', format('Since %s; changes pass unseen.', s.paused_at), 'SELECT tide.resume()'
      FROM tide.setting AS s WHERE s.paused_at IS NOT NULL
     UNION ALL
    SELECT 'notice', NULL, 'devices have to wait', format('Maintenance: %s', s.maintenance_message), 'SELECT tide.set_maintenance(NULL)'
      FROM tide.setting AS s WHERE s.maintenance_message IS NOT NULL
     UNION ALL
    SELECT 'error', NULL, 'sequence tide.change_id draws numbers ahead', format('Its CACHE is %s.', q.seqcache), 'ALTER SEQUENCE tide.change_id CACHE 1'
      FROM pg_sequence AS q WHERE q.seqrelid = 'tide.change_id'::regclass AND (q.seqcache <> 1 OR q.seqincrement <> 1 OR q.seqcycle)
     UNION ALL
    SELECT 'warning', NULL, 'a log runs into its default partition', 'Partitions ahead are missing.', 'SELECT tide.maintain()'
     WHERE EXISTS (SELECT FROM tide.change_log_default) OR EXISTS (SELECT FROM tide.bundle_log_default) OR EXISTS (SELECT FROM tide.seal_log_default)
     UNION ALL
    SELECT 'warning', NULL, 'a prepared transaction is open', format('%s, prepared %s; nothing of it is sealed before it ends.', quote_literal(p.gid), p.prepared),
           format('COMMIT PREPARED %L', p.gid)
      FROM pg_prepared_xacts AS p WHERE p.database = current_database() AND p.prepared < now() - interval '1 hour'
     ORDER BY 1, 2, 3;
$$;
COMMENT ON FUNCTION tide.check() IS 'What is or may be wrong, one row a finding: what, why it matters, the SQL that mends it. Empty when all is well.';
-- +goose StatementEnd

-- +goose StatementBegin
CREATE OR REPLACE VIEW tide.status AS
SELECT tide.version() AS version,
       CASE WHEN (SELECT s.paused_at IS NOT NULL FROM tide.setting AS s) THEN 'paused' ELSE 'running' END AS capture,
       (SELECT count(*) FROM tide.tables) AS tables,
       (SELECT count(DISTINCT f.bucket_id) FROM tide.bucket_floor AS f) AS buckets,
       tide.head() AS last_bundle_id,
       (SELECT l.sealed_at FROM tide.seal_log AS l ORDER BY l.seal_id DESC LIMIT 1) AS last_sealed_at,
       (SELECT g.unsealed_changes FROM tide.lag AS g) AS unsealed_changes,
       pg_size_pretty((SELECT sum(pg_total_relation_size(i.inhrelid)) FROM pg_inherits AS i
                        WHERE i.inhparent IN ('tide.change_log'::regclass, 'tide.bundle_log'::regclass, 'tide.seal_log'::regclass))) AS log_size,
       (SELECT count(*) FROM tide.check()) AS findings;
COMMENT ON VIEW tide.status IS 'One row: is it running, how far is it, and does tide.check() find anything.';
-- +goose StatementEnd

-- +goose StatementBegin
-- The whole surface, by role. tide_owner owns everything; members of it register, maintain and look around.
REVOKE ALL ON ALL TABLES IN SCHEMA tide FROM PUBLIC;
REVOKE ALL ON ALL SEQUENCES IN SCHEMA tide FROM PUBLIC;
REVOKE ALL ON ALL FUNCTIONS IN SCHEMA tide FROM PUBLIC;

-- tide_runtime: serves the log. It is trusted with every bucket, and never writes to the log directly.
GRANT EXECUTE ON FUNCTION
    tide.version(),
    tide.head(),
    tide.seal(),
    tide.seal_in_progress(),
    tide.maintain(boolean),
    tide.check(),
    tide.position_of(xid8),
    tide.set_origin(text, bigint, text),
    tide.bucket_position(text),
    tide.bucket_heads(text[]),
    tide.pull(text, bigint, integer, bigint, bigint),
    tide.pull(text[], bigint, integer, bigint, bigint),
    tide.bundle_rows(text, bigint, bigint, integer, text, text),
    tide.buckets_of(text),
    tide.sealed_after(bigint, integer),
    tide.scope_state(text),
    tide.assert_scope(text),
    tide.connect(text, text, boolean, boolean),
    tide.replacement_of(text, text),
    tide.replace_source(text, text, text, text),
    tide.exchange_limits(),
    tide.front_settings(),
    tide.note_clients(json),
    tide.source_shape(text, text),
    tide.device_bundle_rows(text, text, bigint, bigint, integer),
    tide.project_payload(json, jsonb),
    tide.push(text, text, bigint, json, json, uuid, uuid),
    tide.is_committed(text, text, bigint, uuid),
    tide.push_result(text, text, bigint),
    tide.pushed_bundle(text, text, bigint, integer),
    tide.create_push_session(text, text, bigint, bigint, uuid, uuid),
    tide.add_push_chunk(text, text, uuid, bigint, json),
    tide.commit_push_session(text, text, uuid, json),
    tide.delete_push_session(text, text, uuid),
    tide.create_snapshot_session(text, text, bigint),
    tide.snapshot_session(text, uuid),
    tide.snapshot_rows(text, uuid, bigint, integer),
    tide.snapshot_chunk(text, uuid, bigint, integer),
    tide.delete_snapshot_session(text, uuid),
    tide.connect_buckets(text, text, text, json, text),
    tide.assert_history(text),
    tide.open_pull(text, text, bigint, integer, bigint, bigint, text),
    tide.open_pull_cursor(text, text, text, integer, bigint, text),
    tide.pull_cursor(text, text, text, integer, bigint),
    tide.watch_cursor(text, text, text),
    tide.head_seal(),
    tide.assert_buckets(text, text[]),
    tide.create_buckets_session(text, text, text, text[], bigint, bigint, uuid),
    tide.open_buckets_snapshot(text, text, text, text[], bigint, bigint, uuid, text),
    tide.open_snapshot(text, text),
    tide.client_schema(text, text),
    tide.next_hook_event(),
    tide.deliver_hook_event(bigint),
    tide.note_stale(text, text, text, text[]),
    tide.verify_buckets(text, text, text[]),
    tide.verify_range(text, text, text, text, text, text[], boolean, integer),
    tide.clean_sessions(),
    -- A push runs as its caller, who may become the client, and so do the steps of it.
    tide.begin_push(text, json),
    tide.parse_push(json, bigint),
    tide.apply_push(text, text, bigint, tide.pushed_row[], uuid, uuid),
    tide.staged_push(text, text, uuid),
    tide.forget_push_chunks(text, text, uuid),
    tide.claim_push(text, text, bigint, bigint, uuid, uuid),
    tide.unknown_columns(tide.pushed_row[]),
    tide.find_conflicts(tide.pushed_row[], text, text),
    tide.lock_pushed(tide.pushed_row[], text),
    tide.judge_push(text, tide.pushed_row[], bigint[], boolean[]),
    tide.home_version(text, xid8),
    tide.conflict_bodies(text, text, tide.pushed_row[], json, json[]),
    tide.push_groups(tide.pushed_row[], boolean),
    tide.client_role(),
    tide.run_push_step(integer, boolean, "char", tide.pushed_row[], text),
    tide.write_pushed(tide.pushed_row[], text, boolean),
    tide.write_pushed_otherwise(tide.pushed_row[], text),
    tide.renew_push_functions(tide.pushed_row[]),
    tide.revive_rows(tide.pushed_row[], bigint[]),
    tide.call_push_hook(text, text, bigint, tide.pushed_row[]),
    tide.queue_conflict(text, text, bigint, json),
    tide.rejection_body(tide.pushed_row, text, text, text, text),
    tide.rows_elsewhere(tide.pushed_row[], text),
    tide.is_retryable(text),
    tide.op_name("char"),
    tide.home_bucket(text),
    -- A view calls functions as its caller.
    tide.sealable_ranges(pg_snapshot),
    tide.describe_rule(tide.synced_table)
    TO tide_runtime;
GRANT SELECT ON tide.status, tide.lag, tide.tables, tide.buckets, tide.bundles TO tide_runtime;

-- Its lock is taken before the snapshot of a snapshot: nothing can be written to a table without columns by whom it is not granted to insert.
GRANT UPDATE ON tide.seal_lock TO tide_runtime;

-- tide_client: what a request is. Nothing yet: it reads and writes through functions that know the caller.
-- +goose StatementEnd

-- +goose StatementBegin
-- An upgrade writes the functions of every table anew, which locks no table.
DO $$
BEGIN
    PERFORM tide.write_capture_functions(s.table_id), tide.write_bucket_functions(s.table_id), tide.write_push_functions(s.table_id)
       FROM tide.synced_table AS s
       JOIN pg_catalog.pg_class AS c ON c.oid = s.relation
      WHERE s.unregistered_at IS NULL;
END;
$$;
-- +goose StatementEnd

RESET ROLE;
SET LOCAL search_path TO DEFAULT;
