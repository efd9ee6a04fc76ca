-- The whole surface, by role. tide_owner owns everything; members of it register, maintain and look around.
REVOKE ALL ON ALL TABLES IN SCHEMA tide FROM PUBLIC;
REVOKE ALL ON ALL SEQUENCES IN SCHEMA tide FROM PUBLIC;
REVOKE ALL ON ALL FUNCTIONS IN SCHEMA tide FROM PUBLIC;

-- tide_runtime: serves the log. It is trusted with every bucket, and never writes to the log directly.
GRANT EXECUTE ON FUNCTION
    tide.version(),
    tide.head(),
    tide.seal(),
    tide.maintain(),
    tide.check(),
    tide.position_of(xid8),
    tide.set_origin(text, bigint, text),
    tide.bucket_position(text),
    tide.pull(text, bigint, integer, bigint, bigint),
    tide.pull(text[], bigint, integer, bigint, bigint),
    tide.bundle_rows(text, bigint, bigint, integer),
    -- A view calls functions as its caller.
    tide.sealable_ranges(pg_snapshot),
    tide.describe_rule(tide.synced_table)
    TO tide_runtime;
GRANT SELECT ON tide.status, tide.lag, tide.tables, tide.buckets, tide.bundles TO tide_runtime;

-- tide_client: what a request is. Nothing yet: it reads and writes through functions that know the caller.
