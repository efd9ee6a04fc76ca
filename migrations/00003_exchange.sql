-- What devices and the server agree upon: sources, numbered pushes, and the sessions in which large
-- ones travel. Pushes are only ever inserted; sessions come and go, bounded per user.

-- +goose Up
SET LOCAL search_path = pg_catalog, pg_temp;
SET LOCAL ROLE tide_owner;

CREATE TYPE tide.pushed_row AS (
    ordinal    bigint,
    table_id   integer,
    op         "char",
    base       bigint,
    key_hash   bigint,
    row_key    text,
    key        json,
    payload    json,
    columns    text[],
    known      boolean,
    rls        boolean
);
COMMENT ON TYPE tide.pushed_row IS 'One row of a push: op I, U or D; base is the version it was made upon, columns are those its payload has; known: the table has all of them; rls: its policies decide.';

CREATE TABLE tide.scope (
    user_id        text COLLATE "C" NOT NULL,
    initialized_at timestamptz NOT NULL DEFAULT clock_timestamp(),

    CONSTRAINT scope_pkey PRIMARY KEY (user_id)
);
COMMENT ON TABLE tide.scope IS 'Users whose home bucket a device has begun; one that holds rows or bundles counts as begun without being listed.';

CREATE TABLE tide.scope_lease (
    user_id           text COLLATE "C" NOT NULL,
    source_id         text        NOT NULL,
    initialization_id uuid        NOT NULL,
    expires_at        timestamptz NOT NULL,

    CONSTRAINT scope_lease_pkey PRIMARY KEY (user_id)
);
COMMENT ON TABLE tide.scope_lease IS 'The device that may fill an empty home bucket with what it holds, until the lease expires.';

CREATE TABLE tide.shape (
    shape_id integer NOT NULL GENERATED ALWAYS AS IDENTITY,
    tables   jsonb   NOT NULL,

    CONSTRAINT shape_pkey PRIMARY KEY (shape_id)
);
COMMENT ON TABLE tide.shape IS 'Sets of tables and columns that devices have known: {"schema.table": ["column", ...]}.';
CREATE UNIQUE INDEX shape_tables_idx ON tide.shape (md5(tables::text));

CREATE TABLE tide.source (
    user_id       text COLLATE "C" NOT NULL,
    source_id     text COLLATE "C" NOT NULL,
    shape_id      integer     NOT NULL,
    kind          text        NOT NULL DEFAULT 'v1',
    first_seen_at timestamptz NOT NULL DEFAULT clock_timestamp(),

    CONSTRAINT source_pkey PRIMARY KEY (user_id, source_id),
    CONSTRAINT source_kind_known CHECK (kind IN ('v1', 'cursor'))
);
COMMENT ON TABLE tide.source IS 'Devices, as they name themselves; each belongs to one user.';
COMMENT ON COLUMN tide.source.kind IS 'v1 reads its home bucket by bundle_seq, cursor every bucket of its user by bundle_id; a row_version is one or the other.';
COMMENT ON COLUMN tide.source.shape_id IS 'What was registered when it first connected: tables and columns that came later do not reach it.';

CREATE TABLE tide.source_buckets (
    user_id     text COLLATE "C" NOT NULL,
    source_id   text COLLATE "C" NOT NULL,
    fingerprint bytea       NOT NULL,
    held        jsonb       NOT NULL,
    written_at  timestamptz NOT NULL DEFAULT clock_timestamp(),

    CONSTRAINT source_buckets_pkey PRIMARY KEY (user_id, source_id, fingerprint)
);
COMMENT ON TABLE tide.source_buckets IS 'Buckets that a device holds, as its cursors name them by fingerprint; a few lists of each device are kept.';
COMMENT ON COLUMN tide.source_buckets.held IS '{"bucket": bundle_id}: later bundles of the bucket are sent, if the cursor is not further yet; null where it must be fetched again.';

CREATE TABLE tide.client (
    user_id      text COLLATE "C" NOT NULL,
    source_id    text COLLATE "C" NOT NULL,
    app_version  text        NOT NULL,
    platform     text        NOT NULL,
    device_name  text        NOT NULL,
    last_seen_at timestamptz NOT NULL,

    CONSTRAINT client_pkey PRIMARY KEY (user_id, source_id)
) WITH (fillfactor = 80);
COMMENT ON TABLE tide.client IS 'What devices say of themselves, noted late and together; tide.clients shows it.';

CREATE TABLE tide.source_replacement (
    user_id       text COLLATE "C" NOT NULL,
    source_id     text COLLATE "C" NOT NULL,
    new_source_id text COLLATE "C" NOT NULL,
    reason        text        NOT NULL,
    replaced_at   timestamptz NOT NULL DEFAULT clock_timestamp(),

    CONSTRAINT source_replacement_pkey PRIMARY KEY (user_id, source_id),
    CONSTRAINT source_replacement_user_id_new_source_id_key UNIQUE (user_id, new_source_id),
    CONSTRAINT source_replacement_reason_known CHECK (
        reason IN ('history_pruned', 'source_sequence_out_of_order', 'source_sequence_changed', 'source_retired'))
);
COMMENT ON TABLE tide.source_replacement IS 'Sources that ended, and the one under which the device went on.';

CREATE TABLE tide.hook (
    hook          text NOT NULL,
    hook_function text NOT NULL,

    CONSTRAINT hook_pkey PRIMARY KEY (hook),
    CONSTRAINT hook_known CHECK (hook IN ('before_push_commit', 'on_conflict', 'on_seal', 'on_stale'))
);
COMMENT ON TABLE tide.hook IS 'Functions of the application that pgtide calls, named with tide.set_hook.';

CREATE TABLE tide.hook_event (
    event_id    bigint      NOT NULL GENERATED ALWAYS AS IDENTITY,
    hook        text        NOT NULL,
    event       jsonb       NOT NULL,
    happened_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    attempts    integer     NOT NULL DEFAULT 0,
    next_try_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    error       text,

    CONSTRAINT hook_event_pkey PRIMARY KEY (event_id)
);
COMMENT ON TABLE tide.hook_event IS 'What on_conflict, on_seal and on_stale are still to be told; written with what it tells of, deleted with what the hook wrote. Read it through tide.hook_events.';

CREATE TABLE tide.push_log (
    user_id          text COLLATE "C" NOT NULL,
    source_id        text COLLATE "C" NOT NULL,
    source_bundle_id bigint      NOT NULL,
    bundle_uuid      uuid,
    xid              xid8        NOT NULL DEFAULT pg_current_xact_id(),
    row_count        bigint      NOT NULL,
    pushed_at        timestamptz NOT NULL DEFAULT clock_timestamp(),

    CONSTRAINT push_log_pkey PRIMARY KEY (user_id, source_id, source_bundle_id)
);
COMMENT ON TABLE tide.push_log IS 'Every accepted push, under the number its source gave it: a retry finds it here and changes nothing.';
COMMENT ON COLUMN tide.push_log.bundle_uuid IS 'What the device calls it, if it does: a copy of the device that numbers on has another bundle under this number.';
COMMENT ON COLUMN tide.push_log.xid IS 'The transaction of the push; its bundle is the one of that transaction.';

CREATE TABLE tide.push_session (
    push_id           uuid        NOT NULL DEFAULT gen_random_uuid(),
    user_id           text COLLATE "C" NOT NULL,
    source_id         text COLLATE "C" NOT NULL,
    slot              integer     NOT NULL,
    source_bundle_id  bigint      NOT NULL,
    planned_row_count bigint      NOT NULL,
    initialization_id uuid,
    bundle_uuid       uuid,
    expires_at        timestamptz NOT NULL,

    CONSTRAINT push_session_pkey PRIMARY KEY (push_id),
    CONSTRAINT push_session_user_id_slot_key UNIQUE (user_id, slot)
);
COMMENT ON TABLE tide.push_session IS 'Pushes that arrive in chunks.';
COMMENT ON COLUMN tide.push_session.slot IS '1 to max_push_sessions: what is unique bounds also those who ask at once.';
CREATE INDEX push_session_user_id_source_id_idx ON tide.push_session (user_id, source_id);
CREATE INDEX push_session_expires_at_idx ON tide.push_session (expires_at);

CREATE TABLE tide.push_chunk (
    push_id           uuid    NOT NULL,
    start_row_ordinal bigint  NOT NULL,
    row_count         bigint  NOT NULL,
    rows              json    NOT NULL,

    CONSTRAINT push_chunk_pkey PRIMARY KEY (push_id, start_row_ordinal),
    CONSTRAINT push_chunk_push_id_fkey FOREIGN KEY (push_id) REFERENCES tide.push_session ON DELETE CASCADE
);
COMMENT ON TABLE tide.push_chunk IS 'Rows of a push session, as they were sent.';

-- A crash empties these, and a device begins its snapshot again: that is cheaper than writing each twice.
CREATE UNLOGGED TABLE tide.snapshot_session (
    snapshot_id         uuid        NOT NULL DEFAULT gen_random_uuid(),
    user_id             text COLLATE "C" NOT NULL,
    source_id           text COLLATE "C" NOT NULL,
    slot                integer     NOT NULL,
    snapshot_bundle_seq bigint      NOT NULL,
    row_count           bigint      NOT NULL,
    byte_count          bigint      NOT NULL,
    expires_at          timestamptz NOT NULL,
    buckets             text[],
    access_hash         bytea,

    CONSTRAINT snapshot_session_pkey PRIMARY KEY (snapshot_id),
    CONSTRAINT snapshot_session_user_id_slot_key UNIQUE (user_id, slot)
);
COMMENT ON TABLE tide.snapshot_session IS 'Snapshots that are fetched in chunks.';
COMMENT ON COLUMN tide.snapshot_session.snapshot_bundle_seq IS 'Position: of the home bucket, or with buckets a bundle_id.';
COMMENT ON COLUMN tide.snapshot_session.buckets IS 'What a cursor client fetches; NULL is the home bucket of a v1 client.';
COMMENT ON COLUMN tide.snapshot_session.access_hash IS 'Of all that the user might read when it began: while he may read just that, nothing of it is lost.';
COMMENT ON COLUMN tide.snapshot_session.slot IS '1 to max_snapshot_sessions: what is unique bounds also those who ask at once.';
CREATE INDEX snapshot_session_user_id_source_id_idx ON tide.snapshot_session (user_id, source_id);
CREATE INDEX snapshot_session_expires_at_idx ON tide.snapshot_session (expires_at);

-- A row of the table for each row of a snapshot would cost more than everything else about it.
CREATE UNLOGGED TABLE tide.snapshot_page (
    snapshot_id   uuid   NOT NULL,
    first_ordinal bigint NOT NULL,
    items         text[] NOT NULL,

    CONSTRAINT snapshot_page_pkey PRIMARY KEY (snapshot_id, first_ordinal)
);
ALTER TABLE tide.snapshot_page ALTER COLUMN items SET STORAGE EXTERNAL; -- read a few times at most: not worth compressing
COMMENT ON TABLE tide.snapshot_page IS 'Rows of snapshot sessions, neighbouring ones together. Rows count from 1: tables with parents first, each in the order of its key.';
COMMENT ON COLUMN tide.snapshot_page.items IS 'Each row as a device gets it: JSON with schema, table, key, row_version, payload and at the end, but for a v1 client, the buckets of the device that it lies in.';
RESET ROLE;
SET LOCAL search_path TO DEFAULT;
