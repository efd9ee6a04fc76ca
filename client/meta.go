package client

// format is raised when these tables change.
const format = 6

// metaTables lie in the application's file: what is applied and how far it brings the device is one
// transaction.
const metaTables = `
CREATE TABLE IF NOT EXISTS _tide_state (
    one               INTEGER PRIMARY KEY CHECK (one = 1),
    format            INTEGER NOT NULL,
    applying          INTEGER NOT NULL DEFAULT 0, -- 1 within transactions that write for the server: triggers look away
    user_id           TEXT NOT NULL,
    source_id         TEXT NOT NULL,
    cursor            TEXT NOT NULL DEFAULT '',
    pushed            TEXT NOT NULL DEFAULT '',   -- the seal of the last push that was answered, until a pull has gone beyond it
    connected         INTEGER NOT NULL DEFAULT 0,
    initialization_id TEXT NOT NULL DEFAULT '',
    next_bundle       INTEGER NOT NULL DEFAULT 1, -- the number of the push in the outbox, or of the next one
    bundle_uuid       TEXT NOT NULL DEFAULT '',   -- the push in the outbox: a copy of the file may have another one of its number
    attempted         INTEGER NOT NULL DEFAULT 0, -- the push in the outbox may have reached the server
    looked            INTEGER NOT NULL DEFAULT 0, -- up to which change of _tide_dirty a push was made: what is left waits for others
    shape             INTEGER NOT NULL DEFAULT 0, -- counts how often _tide_table was written
    schema_version    TEXT NOT NULL DEFAULT '',   -- of the server, when the tables here were last what it tells of
    misfit            TEXT NOT NULL DEFAULT ''    -- why they are not now
);
CREATE TABLE IF NOT EXISTS _tide_table (
    tab   INTEGER PRIMARY KEY,
    local TEXT NOT NULL UNIQUE,
    spec  TEXT NOT NULL,
    made  INTEGER NOT NULL -- 1 if this package made the table: then it adds columns as well
);
CREATE TABLE IF NOT EXISTS _tide_bucket (
    name      TEXT PRIMARY KEY,
    bundle_id INTEGER, -- up to where it is applied; NULL before its snapshot
    seal      TEXT,
    missing   INTEGER NOT NULL -- 1 until a snapshot has brought it
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS _tide_set ( -- sets of buckets that rows lie in
    buckets INTEGER PRIMARY KEY,
    names   TEXT NOT NULL UNIQUE
);
CREATE TABLE IF NOT EXISTS _tide_row (
    tab     INTEGER NOT NULL,
    key     TEXT NOT NULL,
    version INTEGER NOT NULL,
    buckets INTEGER NOT NULL,
    PRIMARY KEY (tab, key)
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS _tide_dirty (
    seq  INTEGER PRIMARY KEY AUTOINCREMENT,
    tab  INTEGER NOT NULL,
    key  TEXT NOT NULL,
    base TEXT, -- the row as the server has it, NULL for none
    gone INTEGER NOT NULL DEFAULT 0, -- the version of its deletion at the server
    held TEXT, -- why it waits, as JSON; a new write of the row ends it
    seed INTEGER NOT NULL DEFAULT 0, -- 1 for a row that was there before anything was captured
    UNIQUE (tab, key)
);
CREATE TABLE IF NOT EXISTS _tide_outbox (
    ordinal INTEGER PRIMARY KEY,
    tab     INTEGER NOT NULL,
    key     TEXT NOT NULL,
    base    TEXT,
    seed    INTEGER NOT NULL,
    row     TEXT NOT NULL -- as it goes to the server
);
CREATE TABLE IF NOT EXISTS _tide_snapshot ( -- the one that is being fetched
    one     INTEGER PRIMARY KEY CHECK (one = 1),
    source  TEXT NOT NULL,
    cursor  TEXT NOT NULL, -- the device stood here when it began
    session TEXT NOT NULL, -- what the server said of it
    next    INTEGER NOT NULL DEFAULT 0
);
CREATE TABLE IF NOT EXISTS _tide_inbox (
    tab     INTEGER NOT NULL,
    key     TEXT NOT NULL,
    version INTEGER NOT NULL,
    buckets TEXT NOT NULL,
    payload TEXT NOT NULL,
    reason  TEXT NOT NULL,
    PRIMARY KEY (tab, key)
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS _tide_conflict (
    id         INTEGER PRIMARY KEY AUTOINCREMENT,
    tab        INTEGER NOT NULL,
    key        TEXT NOT NULL,
    base       TEXT,
    local      TEXT,
    server     TEXT,
    result     TEXT,
    resolution TEXT NOT NULL,
    at         TEXT NOT NULL DEFAULT (strftime('%Y-%m-%dT%H:%M:%fZ'))
);
`
