// Package client is a SQLite database that stays in sync with a pgtide server. The application uses
// ordinary SQL on its own tables, offline or not; this package carries what it wrote to the server and
// brings what others wrote. docs/client.md is its guide, docs/protocol.md what it speaks.
//
// What it knows lies in tables beside the application's, whose names begin with _tide_:
//
//	_tide_state     one row: who this device is, how far it has come
//	_tide_table     the synced tables as the server described them
//	_tide_row       each row the server gave: its version and its buckets
//	_tide_dirty     keys the application wrote since, each with the row as it was before
//	_tide_outbox    the push that is under way; it never changes
//	_tide_stage_n   the snapshot that is being fetched, a table for each
//	_tide_inbox     rows of the server that do not fit into this database
//	_tide_conflict  rows that both sides changed, and what came of each
//
// Triggers write _tide_dirty and nothing else does the capturing. What a local change is follows from two
// images: the row before, and the row in the application's own table.
package client
