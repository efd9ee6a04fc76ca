-- The tables of the log. What is written while the user's transactions run (change_log) and while
-- sealing (bundle_log, seal_log, bucket_floor) is only ever inserted: an UPDATE would leave dead
-- versions behind that pile up as long as anybody holds an old snapshot.

-- +goose Up
SET LOCAL search_path = pg_catalog, pg_temp;
SET LOCAL ROLE tide_owner;

CREATE TABLE tide.setting (
    only_row              boolean NOT NULL DEFAULT true,
    seal_max_changes      bigint  NOT NULL DEFAULT 1000000,
    seal_max_judged       bigint  NOT NULL DEFAULT 2000000,
    adoption_max_rows     bigint  NOT NULL DEFAULT 10000,
    change_partition_rows bigint  NOT NULL DEFAULT 16777216,
    bundle_partition_rows bigint  NOT NULL DEFAULT 16777216,
    seal_partition_rows   bigint  NOT NULL DEFAULT 16777216,
    partitions_ahead      numeric NOT NULL DEFAULT 0.25,
    paused_at             timestamptz,
    shape_id              integer,
    table_names           jsonb   NOT NULL DEFAULT '{}',
    maintained            text,
    bucket_access         text,
    policy_key            uuid    NOT NULL DEFAULT gen_random_uuid(),
    max_buckets_per_user  integer NOT NULL DEFAULT 100000,

    client_role                name     NOT NULL DEFAULT 'tide_client',
    max_rows_per_push          bigint   NOT NULL DEFAULT 100000,
    max_bytes_per_push         bigint   NOT NULL DEFAULT 268435456,
    max_rows_per_chunk         integer  NOT NULL DEFAULT 5000,
    push_session_ttl           interval NOT NULL DEFAULT '15 minutes',
    max_push_sessions          integer  NOT NULL DEFAULT 20,
    snapshot_session_ttl       interval NOT NULL DEFAULT '15 minutes',
    max_snapshot_sessions      integer  NOT NULL DEFAULT 5,
    max_rows_per_snapshot      bigint   NOT NULL DEFAULT 10000000,
    max_bytes_per_snapshot     bigint   NOT NULL DEFAULT 4294967296,
    initialization_lease_ttl   interval NOT NULL DEFAULT '15 minutes',

    maintenance_message        text,
    maintenance_retry_after    interval NOT NULL DEFAULT '1 minute',
    min_app_version            text,
    app_version_required       boolean  NOT NULL DEFAULT false,

    CONSTRAINT setting_pkey PRIMARY KEY (only_row),
    CONSTRAINT setting_one_row CHECK (only_row),
    CONSTRAINT setting_seal_max_changes_positive CHECK (seal_max_changes > 0),
    CONSTRAINT setting_seal_max_judged_positive CHECK (seal_max_judged > 0),
    CONSTRAINT setting_adoption_max_rows_not_negative CHECK (adoption_max_rows >= 0),
    CONSTRAINT setting_partition_rows_positive CHECK (
        least(change_partition_rows, bundle_partition_rows, seal_partition_rows) > 0),
    CONSTRAINT setting_partitions_ahead_in_range CHECK (partitions_ahead > 0 AND partitions_ahead <= 16),
    CONSTRAINT setting_max_buckets_per_user_positive CHECK (max_buckets_per_user > 0),
    CONSTRAINT setting_exchange_positive CHECK (
        least(max_rows_per_push, max_bytes_per_push, max_rows_per_chunk, max_push_sessions,
              max_snapshot_sessions, max_rows_per_snapshot, max_bytes_per_snapshot) > 0
        AND least(push_session_ttl, snapshot_session_ttl, initialization_lease_ttl) > '0'::interval),
    CONSTRAINT setting_maintenance_retry_after_positive CHECK (maintenance_retry_after > '0'::interval),
    CONSTRAINT setting_min_app_version_readable CHECK (min_app_version ~ '^(0|[1-9][0-9]*)(\.(0|[1-9][0-9]*)){0,2}$')
);
COMMENT ON TABLE tide.setting IS 'Settings of this database, one row: UPDATE tide.setting SET ...';
COMMENT ON COLUMN tide.setting.seal_max_changes IS 'More unsealed changes than this are sealed in several steps of about this size.';
COMMENT ON COLUMN tide.setting.seal_max_judged IS 'When a seal finds more changes than this in tables that derived rules look at, it judges the tables with these rules as a whole, and their devices fetch them anew.';
COMMENT ON COLUMN tide.setting.adoption_max_rows IS 'A newly registered or refreshed table with at most this many rows is sent to devices as bundles; a larger one sends them to a snapshot.';
COMMENT ON COLUMN tide.setting.change_partition_rows IS 'change_id range of the next partition of tide.change_log and tide.key_log.';
COMMENT ON COLUMN tide.setting.bundle_partition_rows IS 'bundle_id range of the next partition of tide.bundle_log.';
COMMENT ON COLUMN tide.setting.seal_partition_rows IS 'seal_id range of the next partition of tide.seal_log.';
COMMENT ON COLUMN tide.setting.partitions_ahead IS 'Room that tide.maintain() keeps ahead in each log, in partitions: 0.25 adds the next when a quarter of the newest is left. Each partition costs every statement that looks into the log a little; what is captured beyond the room lies in the DEFAULT partition.';
COMMENT ON COLUMN tide.setting.paused_at IS 'Set by tide.pause(), cleared by tide.resume(). Not to be changed by hand.';
COMMENT ON COLUMN tide.setting.shape_id IS 'Tables and columns that are registered now: a row of tide.shape. Not to be changed by hand.';
COMMENT ON COLUMN tide.setting.table_names IS 'What the tables of tide.synced_table are called: {"schema": {"table_id": "name"}, "table": {"table_id": "name"}}. Not to be changed by hand.';
COMMENT ON COLUMN tide.setting.maintained IS 'What the synced tables were like when tide.maintain() last looked at them: tide.definitions(). Not to be changed by hand.';
COMMENT ON COLUMN tide.setting.bucket_access IS 'Function that says which buckets a user may read; set by tide.set_bucket_access.';
COMMENT ON COLUMN tide.setting.policy_key IS 'Secret by which functions of policies know lists of buckets that pgtide made. Not to be changed by hand, and to be kept from the client role.';
COMMENT ON COLUMN tide.setting.max_buckets_per_user IS 'A user that may read more buckets than this gets an error instead.';
COMMENT ON COLUMN tide.setting.client_role IS 'Role that pushes to tables of policy rls run as; whoever serves must be able to become it.';
COMMENT ON COLUMN tide.setting.max_push_sessions IS 'Open push sessions of one user; more are refused.';
COMMENT ON COLUMN tide.setting.max_snapshot_sessions IS 'Open snapshot sessions of one user; more are refused.';
COMMENT ON COLUMN tide.setting.max_rows_per_snapshot IS 'Rows of one snapshot session; a larger one is refused, the stream has no such bound.';
COMMENT ON COLUMN tide.setting.maintenance_message IS 'While it is set devices are told this, and to wait. Set by tide.set_maintenance().';
COMMENT ON COLUMN tide.setting.min_app_version IS 'Devices that name an older version in Tide-App-Version are refused: 2, 2.1 or 2.1.3.';
COMMENT ON COLUMN tide.setting.app_version_required IS 'Whether devices that name no version are refused too, while there is a min_app_version.';
INSERT INTO tide.setting DEFAULT VALUES;

CREATE TABLE tide.synced_table (
    table_id          integer     NOT NULL GENERATED ALWAYS AS IDENTITY,
    relation          regclass    NOT NULL,
    table_schema      text        NOT NULL,
    table_name        text        NOT NULL,
    key_columns       text[]      NOT NULL,
    sync_columns      text[]      NOT NULL,
    exclude_columns   text[]      NOT NULL,
    all_columns       boolean     NOT NULL,
    owner_column      text,
    bucket_prefix     text,
    null_owner_bucket text,
    bucket            text,
    bucket_function   text,
    deleted_at_column text,
    parents           regclass[]  NOT NULL DEFAULT '{}',
    parent_fks        text[]      NOT NULL DEFAULT '{}',
    derived           boolean     NOT NULL DEFAULT false,
    synced            boolean     NOT NULL DEFAULT true,
    dep_columns       text[]      NOT NULL DEFAULT '{}',
    on_capture_error  text        NOT NULL,
    push_policy       text        NOT NULL,
    server_columns    text[]      NOT NULL,
    protected_columns text[]      NOT NULL,
    push_search_path  text        NOT NULL,
    push_columns      text[]      NOT NULL DEFAULT '{}',
    fk_depth          integer     NOT NULL DEFAULT 0,
    column_names      text[]      NOT NULL,
    column_attnums    smallint[]  NOT NULL,
    partitions        regclass[]  NOT NULL,
    granted           text[]      NOT NULL DEFAULT '{}',
    rls_write         text,
    registered_at     timestamptz NOT NULL DEFAULT now(),
    unregistered_at   timestamptz,

    CONSTRAINT synced_table_pkey PRIMARY KEY (table_id),
    CONSTRAINT synced_table_relation_key UNIQUE (relation),
    CONSTRAINT synced_table_one_rule CHECK (
        num_nonnulls(owner_column, bucket, bucket_function) <= 1
        AND synced = (num_nonnulls(owner_column, bucket, bucket_function) = 1 OR cardinality(parents) > 0)),
    CONSTRAINT synced_table_parents_parallel CHECK (cardinality(parents) = cardinality(parent_fks)),
    CONSTRAINT synced_table_on_capture_error_known CHECK (on_capture_error IN ('fail', 'mark_dirty')),
    CONSTRAINT synced_table_push_policy_known CHECK (push_policy IN ('disabled', 'owner_only', 'rls')),
    CONSTRAINT synced_table_columns_parallel CHECK (cardinality(column_names) = cardinality(column_attnums))
);
COMMENT ON TABLE tide.synced_table IS 'Tables registered with tide.register_table. A row stays after unregistering, because the log refers to it.';
COMMENT ON COLUMN tide.synced_table.table_schema IS 'Schema as devices know it: the one at registration, kept when the table moves.';
COMMENT ON COLUMN tide.synced_table.table_name IS 'Name as devices know it: the one at registration, kept when the table is renamed.';
COMMENT ON COLUMN tide.synced_table.sync_columns IS 'Columns in the payload, as devices know them; fixed until the next register_table or refresh.';
COMMENT ON COLUMN tide.synced_table.all_columns IS 'No list of columns was given: a refresh takes in columns added since.';
COMMENT ON COLUMN tide.synced_table.parents IS 'A row also lies in the buckets of its rows in these tables.';
COMMENT ON COLUMN tide.synced_table.parent_fks IS 'Columns that refer to the key of each parent, in its order, as a comma-separated list.';
COMMENT ON COLUMN tide.synced_table.derived IS 'The buckets depend on other tables: they are judged at sealing and kept in tide.membership.';
COMMENT ON COLUMN tide.synced_table.synced IS 'False for a table that no device gets: it is captured because rules of others look at it.';
COMMENT ON COLUMN tide.synced_table.dep_columns IS 'Columns that capture notes beside the row, because buckets hang on them.';
COMMENT ON COLUMN tide.synced_table.push_policy IS 'Who may change rows by pushing: nobody, their owner, or whom the row-level security policies of the table let.';
COMMENT ON COLUMN tide.synced_table.server_columns IS 'Synced columns that the database fills; what a push says of them is not looked at.';
COMMENT ON COLUMN tide.synced_table.protected_columns IS 'Synced columns that a push must not change.';
COMMENT ON COLUMN tide.synced_table.push_search_path IS 'search_path for triggers and policies while a push writes.';
COMMENT ON COLUMN tide.synced_table.push_columns IS 'Columns a payload may have, as the push functions were written.';
COMMENT ON COLUMN tide.synced_table.fk_depth IS 'Parents have a smaller one than their children.';
COMMENT ON COLUMN tide.synced_table.column_names IS 'Every column capture uses, under its name at registration.';
COMMENT ON COLUMN tide.synced_table.column_attnums IS 'pg_attribute.attnum of column_names: finds a column again after it was renamed.';
COMMENT ON COLUMN tide.synced_table.partitions IS 'Partitions (all levels) that carried the capture triggers at registration.';
COMMENT ON COLUMN tide.synced_table.rls_write IS 'Set by tide.enable_rls: who may write a row he may read (readers, owner, none, or a function). NULL: the policies of the table, if any, are not ours.';
COMMENT ON COLUMN tide.synced_table.granted IS 'What registering granted to tide_owner (select, usage, policy), taken back by unregistering.';

CREATE TABLE tide.bucket_dependency (
    table_id       integer NOT NULL,
    source_id      integer NOT NULL,
    source_columns text[]  NOT NULL,
    table_columns  text[],
    affects        text,

    CONSTRAINT bucket_dependency_pkey PRIMARY KEY (table_id, source_id, source_columns),
    CONSTRAINT bucket_dependency_one_way CHECK (num_nonnulls(table_columns, affects) = 1)
);
COMMENT ON TABLE tide.bucket_dependency IS 'Tables that the bucket function of a table looks at, declared with tide.add_bucket_dependency.';
COMMENT ON COLUMN tide.bucket_dependency.table_columns IS 'Rows whose columns equal source_columns of a changed row are judged again.';
COMMENT ON COLUMN tide.bucket_dependency.affects IS 'Query for the rows to be judged again; the changed row is called changed in it.';

CREATE TABLE tide.access_dependency (
    source_id      integer NOT NULL,
    source_columns text[]  NOT NULL,
    affects        text,

    CONSTRAINT access_dependency_pkey PRIMARY KEY (source_id, source_columns)
);
COMMENT ON TABLE tide.access_dependency IS 'Tables that decide which buckets a user may read, declared with tide.add_access_dependency.';
COMMENT ON COLUMN tide.access_dependency.affects IS 'Query for the users; the changed row is called changed in it. NULL: the one source column holds the user.';

CREATE TABLE tide.bucket_source (
    table_id  integer NOT NULL,
    source_id integer NOT NULL,

    CONSTRAINT bucket_source_pkey PRIMARY KEY (table_id, source_id)
);
COMMENT ON TABLE tide.bucket_source IS 'All tables whose changes can move rows of a table, near and far, the table itself among them. Written by registering.';

CREATE TABLE tide.reading (
    table_id       integer NOT NULL,
    shape          text    NOT NULL,
    row_key        text    NOT NULL,
    payload        text    NOT NULL,
    buckets        text,
    deleted        text,
    key_match      text,
    key_order      text,
    owner          text,
    owner_type     text,
    owner_equality text,
    owner_exact    boolean,

    CONSTRAINT reading_pkey PRIMARY KEY (table_id)
);
COMMENT ON TABLE tide.reading IS 'How the rows of a table are read: SQL over a row tide_n, kept because working it out takes longer than most queries that it is part of. Written with the capture functions.';
COMMENT ON COLUMN tide.reading.shape IS 'What the table was when this was worked out, as tide.reading_shape says it: of another table nothing here counts.';
COMMENT ON COLUMN tide.reading.buckets IS 'NULL where rules look at other tables.';
COMMENT ON COLUMN tide.reading.key_match IS 'Whether a row is the one of a key g.row_key.';
COMMENT ON COLUMN tide.reading.owner IS 'The owner column; NULL without one, or where no index could find rows by it.';
COMMENT ON COLUMN tide.reading.owner_exact IS 'Equal owners have one text, so that who compares owners need not ask the rule.';

CREATE TABLE tide.membership (
    table_id  integer NOT NULL,
    key_hash  bigint  NOT NULL,
    row_key   text COLLATE "C" NOT NULL,
    bucket_id text COLLATE "C" NOT NULL,

    CONSTRAINT membership_pkey PRIMARY KEY (table_id, key_hash, bucket_id, row_key)
);
COMMENT ON TABLE tide.membership IS 'Buckets of the rows of tables with derived rules, as of the last seal. Written by sealing alone.';
CREATE INDEX membership_bucket_id_table_id_idx ON tide.membership (bucket_id, table_id);

CREATE TABLE tide.bucket_failure (
    table_id  integer     NOT NULL,
    key_hash  bigint      NOT NULL,
    row_key   text COLLATE "C" NOT NULL,
    error     text        NOT NULL,
    seal_id   bigint      NOT NULL,
    failed_at timestamptz NOT NULL,

    CONSTRAINT bucket_failure_pkey PRIMARY KEY (table_id, key_hash, row_key)
);
COMMENT ON TABLE tide.bucket_failure IS 'Rows whose bucket rule raised an error. Read it through tide.bucket_failures.';

CREATE TYPE tide.synced_column AS (
    column_name  text,
    current_name name,
    base_type    regtype,
    is_array     boolean,
    in_key       boolean,
    in_payload   boolean
);
COMMENT ON TYPE tide.synced_column IS 'A column that capture uses, as tide.synced_columns gives it.';

CREATE TYPE tide.rule_change AS (
    table_id       integer,
    last_change_id bigint,
    op             "char",
    row_key        text,
    deps           json,
    old_deps       json
);
CREATE TYPE tide.judged_row AS (
    row_key        text,
    key_hash       bigint,
    last_change_id bigint,
    op             "char",
    before         text[],
    after          text[],
    payload        json,
    error          text
);
COMMENT ON TYPE tide.judged_row IS 'A row of a table with derived rules: its buckets as stored and as they are now.';
COMMENT ON TYPE tide.rule_change IS 'A change that buckets of rows may hang on. op A: devices get the row in any case; last_change_id: of its transaction.';

CREATE TYPE tide.fresh_change AS (
    xid            xid8,
    last_change_id bigint,
    pushed_by      text,
    change_id      bigint,
    order_id       bigint,
    table_id       integer,
    op             "char",
    key_hash       bigint,
    row_key        text,
    moved          boolean,
    bytes          bigint,
    deps           json,
    old_deps       json
);
COMMENT ON TYPE tide.fresh_change IS 'A change that a seal takes, of a table that derived rules look at. last_change_id: of its transaction; moved: its row rule gave other buckets before; pushed_by: the user whose push it is.';

CREATE TYPE tide.table_mark AS (
    table_id integer,
    op       "char",
    xid      xid8,
    note     json
);
COMMENT ON TYPE tide.table_mark IS 'A request to read a table again (op A), or changes of it that were missed (op !).';

CREATE TYPE tide.seal_effect AS (
    kind       "char",
    xid        xid8,
    bucket_id  text,
    change_id  bigint,
    first_id   bigint,
    op         "char",
    bytes      bigint,
    table_id   integer,
    judged     tide.judged_row,
    error      text,
    note       json
);
COMMENT ON TYPE tide.seal_effect IS 'What marked tables and derived rules make of a seal. Kind t: an entry of the bundle of xid in a bucket. T: one of the bundle after all others; without a change its devices fetch the bucket anew. b: a bucket that begins with rows from before the log. i: a row image that is to be written. l: a table that was read. g: one that is asked for again. j: a judged row, with the change_id of the image that is to be written where it moved. e: a table that could not be judged. w: one that was judged as a whole. r: a change that the next seal judges again.';

-- CACHE 1 is part of the design: numbers must be drawn in the order of the changes, over all sessions.
CREATE SEQUENCE tide.change_id AS bigint CACHE 1;
COMMENT ON SEQUENCE tide.change_id IS 'Numbers changes in the order in which they are captured. CACHE must stay 1.';

CREATE TABLE tide.change_log (
    change_id   bigint  NOT NULL DEFAULT nextval('tide.change_id'),
    xid         xid8    NOT NULL DEFAULT pg_current_xact_id(),
    key_hash    bigint,
    order_id    bigint,
    table_id    integer NOT NULL,
    op          "char"  NOT NULL,
    row_key     text COLLATE "C",
    buckets     text[],
    old_buckets text[],
    deps        json,
    old_deps    json,
    payload     json,

    CONSTRAINT change_log_pkey PRIMARY KEY (xid, change_id)
) PARTITION BY RANGE (change_id);
COMMENT ON TABLE tide.change_log IS 'Every captured row effect, written by the transaction that made it. Read it through tide.changes.';
COMMENT ON COLUMN tide.change_log.xid IS 'Transaction that made the change; for a row image that sealing read, the transaction that asked for it.';
COMMENT ON COLUMN tide.change_log.key_hash IS 'hashtextextended(row_key, table_id); NULL on rows about a whole table or transaction.';
COMMENT ON COLUMN tide.change_log.order_id IS 'Drawn before the statement where triggers may invert the order of capture; NULL means change_id.';
COMMENT ON COLUMN tide.change_log.op IS 'I insert, U update, D delete; M the row moved between buckets, R its buckets are to be judged again; A read the table again, ! changes of the table were missed, O origin of the transaction.';
COMMENT ON COLUMN tide.change_log.row_key IS 'JSON object, every value the canonical text of the key column. text, because json has no equality.';
COMMENT ON COLUMN tide.change_log.buckets IS 'Buckets the row lies in after the change: by a row rule, or (op M) by derived ones.';
COMMENT ON COLUMN tide.change_log.old_buckets IS 'Buckets the row lay in before the change: by a row rule, or (op M) by derived ones.';
COMMENT ON COLUMN tide.change_log.deps IS 'Dependency columns of the new image, for derived rules.';
COMMENT ON COLUMN tide.change_log.old_deps IS 'Dependency columns of the old image, for derived rules.';
COMMENT ON COLUMN tide.change_log.payload IS 'Row after the change, sent as it is.';

CREATE TABLE tide.key_log (
    key_hash  bigint NOT NULL,
    change_id bigint NOT NULL,
    xid       xid8   NOT NULL,

    CONSTRAINT key_log_pkey PRIMARY KEY (key_hash, change_id)
) PARTITION BY RANGE (change_id);
COMMENT ON TABLE tide.key_log IS 'Sealed changes by the hash of their row''s key: an index of change_log that sealing writes, so that user transactions need not.';

CREATE TABLE tide.seal_log (
    seal_id        bigint      NOT NULL,
    identity       uuid        NOT NULL DEFAULT gen_random_uuid(),
    last_bundle_id bigint      NOT NULL,
    last_change_id bigint      NOT NULL,
    snap           pg_snapshot NOT NULL,
    cut_change_id  bigint,
    has_derived    boolean     NOT NULL DEFAULT false,
    sealed_at      timestamptz NOT NULL DEFAULT clock_timestamp(),

    CONSTRAINT seal_log_pkey PRIMARY KEY (seal_id)
) PARTITION BY RANGE (seal_id);
COMMENT ON TABLE tide.seal_log IS 'Seals, newest last. What was visible in snap is sealed, what was not is not.';
COMMENT ON COLUMN tide.seal_log.identity IS 'Random: tells this history from another one that reached the same numbers.';
COMMENT ON COLUMN tide.seal_log.last_change_id IS 'Largest change_id drawn when the seal began.';
COMMENT ON COLUMN tide.seal_log.snap IS 'Snapshot of the seal; transactions listed in it as in progress are sealed later.';
COMMENT ON COLUMN tide.seal_log.cut_change_id IS 'Set on a step of a long seal: only transactions whose largest change_id is at most this are sealed, and its bundles are not readable before the last step.';
COMMENT ON COLUMN tide.seal_log.has_derived IS 'Rows moved between buckets because of other tables: only all bundles of this seal, with its steps before, are what the rules say.';

CREATE TABLE tide.bundle_log (
    bundle_id        bigint      NOT NULL,
    bundle_seq       bigint      NOT NULL,
    xid              xid8        NOT NULL,
    seal_id          bigint      NOT NULL,
    min_change_id    bigint,
    max_change_id    bigint,
    byte_count       bigint      NOT NULL,
    source_bundle_id bigint,
    sealed_at        timestamptz NOT NULL,
    consecutive      boolean     NOT NULL,
    bucket_id        text COLLATE "C" NOT NULL,
    changes          bigint[]    NOT NULL,
    ops              "char"[]    NOT NULL,
    source_id        text,
    user_id          text,
    label            text,
    traceparent      text,

    CONSTRAINT bundle_log_pkey PRIMARY KEY (bucket_id, bundle_id)
) PARTITION BY RANGE (bundle_id);
COMMENT ON TABLE tide.bundle_log IS 'One row per transaction and bucket it touched. Read it through tide.bundles.';
COMMENT ON COLUMN tide.bundle_log.bundle_seq IS 'Position in the bucket, without gaps.';
COMMENT ON COLUMN tide.bundle_log.traceparent IS 'W3C trace context of the request or job that wrote the transaction, when it named one.';
COMMENT ON COLUMN tide.bundle_log.byte_count IS 'Bytes of the payloads, for bounding a page.';
COMMENT ON COLUMN tide.bundle_log.changes IS 'change_id of each change this bucket sees, in order; empty where clients are sent to a snapshot instead.';
COMMENT ON COLUMN tide.bundle_log.consecutive IS 'changes are all from min_change_id to max_change_id, one after the other: change_log is read as a range.';
COMMENT ON COLUMN tide.bundle_log.ops IS 'What each change is for this bucket, parallel to changes: I, U or D. These alone decide what a reader sees.';
-- Large lists are read piece by piece: compressing them costs more than it saves.
ALTER TABLE tide.bundle_log ALTER COLUMN changes SET STORAGE EXTERNAL, ALTER COLUMN ops SET STORAGE EXTERNAL;
CREATE INDEX bundle_log_bucket_id_bundle_seq_idx ON tide.bundle_log (bucket_id, bundle_seq);
CREATE INDEX bundle_log_bundle_id_idx ON tide.bundle_log (bundle_id);

CREATE TABLE tide.bucket_floor (
    bucket_id       text COLLATE "C" NOT NULL,
    floor_seq       bigint      NOT NULL,
    floor_bundle_id bigint      NOT NULL,
    seal_id         bigint      NOT NULL,
    reason          text        NOT NULL,
    created_at      timestamptz NOT NULL DEFAULT clock_timestamp(),

    CONSTRAINT bucket_floor_pkey PRIMARY KEY (bucket_id, floor_seq),
    CONSTRAINT bucket_floor_reason_known CHECK (reason IN ('born', 'adopted', 'reset', 'pruned'))
);
CREATE INDEX bucket_floor_floor_bundle_id_idx ON tide.bucket_floor (floor_bundle_id) WHERE reason <> 'born';
COMMENT ON TABLE tide.bucket_floor IS 'Every bucket there ever was, with the position below which bundles alone do not give its rows; the newest row counts.';
COMMENT ON COLUMN tide.bucket_floor.reason IS 'born: began empty; adopted: held rows before pgtide did; reset: changes were missed or too many to list; pruned: retention.';
-- A bucket that adoption begins has no bundle that says so.
CREATE INDEX bucket_floor_adopted_idx ON tide.bucket_floor (floor_bundle_id) WHERE reason = 'adopted';

CREATE TABLE tide.adoption_log (
    table_id   integer     NOT NULL,
    seal_id    bigint      NOT NULL,
    reason     text        NOT NULL,
    error      text,
    adopted_at timestamptz NOT NULL,

    CONSTRAINT adoption_log_pkey PRIMARY KEY (table_id, seal_id)
);
COMMENT ON TABLE tide.adoption_log IS 'Every time a seal read a whole table: after registering, refreshing, resuming, or when changes were missed.';
COMMENT ON COLUMN tide.adoption_log.error IS 'Why the table could not be read. The seal went on without it; mend what is said and call tide.refresh.';

-- Not an index of change_log: every captured statement would open it.
CREATE TABLE tide.missed_log (
    xid      xid8    NOT NULL,
    table_id integer NOT NULL,

    CONSTRAINT missed_log_pkey PRIMARY KEY (xid, table_id)
);
COMMENT ON TABLE tide.missed_log IS 'Transactions of which changes of a table were missed (op ! in change_log), until a seal has read that table: pushes to it wait.';

-- Locked by sealing, in a mode that only tide_owner can ask for. Holds no rows.
CREATE TABLE tide.seal_lock ();
COMMENT ON TABLE tide.seal_lock IS 'Its lock admits one seal at a time.';

CREATE TABLE tide.change_log_default PARTITION OF tide.change_log DEFAULT;
CREATE TABLE tide.key_log_default PARTITION OF tide.key_log DEFAULT;
CREATE TABLE tide.bundle_log_default PARTITION OF tide.bundle_log DEFAULT;
CREATE TABLE tide.seal_log_default PARTITION OF tide.seal_log DEFAULT;
CREATE TABLE tide.change_log_from_0 PARTITION OF tide.change_log FOR VALUES FROM (0) TO (16777216);
CREATE TABLE tide.key_log_from_0 PARTITION OF tide.key_log FOR VALUES FROM (0) TO (16777216);
CREATE TABLE tide.bundle_log_from_0 PARTITION OF tide.bundle_log FOR VALUES FROM (0) TO (16777216);
CREATE TABLE tide.seal_log_from_0 PARTITION OF tide.seal_log FOR VALUES FROM (0) TO (16777216);

INSERT INTO tide.seal_log (seal_id, last_bundle_id, last_change_id, snap) VALUES (1, 0, 0, pg_current_snapshot());
RESET ROLE;
SET LOCAL search_path TO DEFAULT;
