package server

import (
	"encoding/json"

	"github.com/pgtide/pgtide/db"
)

// capability is the body of GET /sync/capabilities.
type capability struct {
	ProtocolVersion string          `json:"protocol_version"`
	SchemaVersion   int             `json:"schema_version"`
	AppName         string          `json:"app_name,omitempty"`
	Tables          []string        `json:"registered_tables"`
	Specs           []tableSpec     `json:"registered_table_specs"`
	Features        map[string]bool `json:"features"`
	Limits          limits          `json:"bundle_limits"`
}

type tableSpec struct {
	Schema  string   `json:"schema"`
	Table   string   `json:"table"`
	Columns []string `json:"sync_key_columns"`
}

type limits struct {
	MaxRowsPerBundle          int64 `json:"max_rows_per_bundle"`
	MaxBytesPerBundle         int64 `json:"max_bytes_per_bundle"`
	MaxBundlesPerPull         int64 `json:"max_bundles_per_pull"`
	RowsPerPushChunk          int64 `json:"default_rows_per_push_chunk"`
	MaxRowsPerPushChunk       int64 `json:"max_rows_per_push_chunk"`
	PushSessionSeconds        int64 `json:"push_session_ttl_seconds"`
	RowsPerBundleChunk        int64 `json:"default_rows_per_committed_bundle_chunk"`
	MaxRowsPerBundleChunk     int64 `json:"max_rows_per_committed_bundle_chunk"`
	RowsPerSnapshotChunk      int64 `json:"default_rows_per_snapshot_chunk"`
	MaxRowsPerSnapshotChunk   int64 `json:"max_rows_per_snapshot_chunk"`
	SnapshotSessionSeconds    int64 `json:"snapshot_session_ttl_seconds"`
	MaxRowsPerSnapshot        int64 `json:"max_rows_per_snapshot_session"`
	MaxBytesPerSnapshot       int64 `json:"max_bytes_per_snapshot_session"`
	InitializationLeaseSecond int64 `json:"initialization_lease_ttl_seconds"`
}

// features are what clients of protocol v1 look for.
func (c *call) features() map[string]bool {
	return map[string]bool{
		"bundle_pull": true, "bundle_push": true, "push_session_chunking": true, "committed_bundle_row_fetch": true, "snapshot_chunking": true,
		"status_endpoint": true, "graceful_shutdown": true, "capabilities_endpoint": true, "history_pruned_errors": true, "structured_sync_keys": true,
		"registered_write_rejection_enforced": true, "accepted_push_replay_visibility": true, "committed_bundle_visibility": true,
		"retained_floor_visibility": true, "retained_window_visibility": true, "history_pruned_visibility": true, "connect_lifecycle": true,
		"scope_initialization_leases": true, "server_checkpoint_tracking": false, "bundle_change_watch": !c.config.NoWatch,
		// What pgtide adds.
		"one_request_push": true, "snapshot_stream": true, "several_buckets": true, "table_schema": true, "verify": true,
	}
}

func (c *call) capabilities() error {
	conn, err := c.acquire(c.r.Context())
	if err != nil {
		return err
	}
	defer conn.Release()
	queries := db.New(conn)
	tables, err := queries.Capabilities(c.r.Context())
	if err != nil {
		return err
	}
	bounds, err := queries.ExchangeLimits(c.r.Context())
	if err != nil {
		return err
	}
	told := capability{
		ProtocolVersion: "v1", SchemaVersion: c.config.SchemaVersion, AppName: c.config.AppName,
		Tables: []string{}, Specs: []tableSpec{}, Features: c.features(),
		Limits: limits{
			MaxRowsPerBundle: bounds.MaxRowsPerPush, MaxBytesPerBundle: bounds.MaxBytesPerPush, MaxBundlesPerPull: largestBundles,
			RowsPerPushChunk: min(standardPage, bounds.MaxRowsPerChunk), MaxRowsPerPushChunk: bounds.MaxRowsPerChunk, PushSessionSeconds: bounds.PushSessionTtlSeconds,
			RowsPerBundleChunk: standardPage, MaxRowsPerBundleChunk: largestPage, RowsPerSnapshotChunk: standardPage, MaxRowsPerSnapshotChunk: largestPage,
			SnapshotSessionSeconds: bounds.SnapshotSessionTtlSeconds, MaxRowsPerSnapshot: bounds.MaxRowsPerSnapshot, MaxBytesPerSnapshot: bounds.MaxBytesPerSnapshot,
			InitializationLeaseSecond: bounds.InitializationLeaseTtlSeconds,
		},
	}
	for _, t := range tables {
		told.Tables = append(told.Tables, t.TableSchema+"."+t.TableName)
		told.Specs = append(told.Specs, tableSpec{t.TableSchema, t.TableName, t.KeyColumns})
	}
	return c.encode(told)
}

// encode answers with what has a fixed shape and is asked for rarely.
func (c *call) encode(v any) error {
	text, err := json.Marshal(v)
	if err != nil {
		return err
	}
	return c.json(func(b []byte) []byte { return append(b, text...) })
}
