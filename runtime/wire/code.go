// Package wire is what travels over HTTP: error codes and bodies, JSON that is written as it comes
// from the database, and the bundle hash of protocol v1. It knows no route and no rule about data.
package wire

import "net/http"

// Code names an error to clients. The ones of protocol v1 keep its names.
type Code string

// Codes that more than one place needs.
const (
	AuthenticationFailed Code = "authentication_failed"
	ClientTooOld         Code = "client_too_old"
	InvalidRequest       Code = "invalid_request"
	Maintenance          Code = "maintenance"
	MethodNotAllowed     Code = "method_not_allowed"
	NotFound             Code = "not_found"
	RequestTooLarge      Code = "request_too_large"
	ServerBusy           Code = "server_busy"
	ServiceUnavailable   Code = "service_unavailable"
	TooManyRequests      Code = "too_many_requests"
	UnsupportedEncoding  Code = "unsupported_encoding"

	BundleChunkInvalid     Code = "committed_bundle_chunk_invalid"
	BundleNotFound         Code = "committed_bundle_not_found"
	ConnectInvalid         Code = "connect_invalid"
	BucketListNeeded       Code = "bucket_list_needed"
	BucketForbidden        Code = "bucket_forbidden"
	HistoryChanged         Code = "history_changed"
	HistoryPruned          Code = "history_pruned"
	PushChunkInvalid       Code = "push_chunk_invalid"
	PushConflict           Code = "push_conflict"
	PushRejected           Code = "push_rejected"
	PushSessionNotFound    Code = "push_session_not_found"
	SnapshotChunkInvalid   Code = "snapshot_chunk_invalid"
	SnapshotNotFound       Code = "snapshot_session_not_found"
	SnapshotSessionInvalid Code = "snapshot_session_invalid"
	SourceRetired          Code = "source_retired"
	TooManyStreams         Code = "too_many_streams"
	VerifyInvalid          Code = "verify_invalid"
	WatchDisabled          Code = "bundle_change_watch_disabled"
)

// What a route answers when it failed for no fault of the request.
const (
	ConnectFailed        Code = "connect_failed"
	PushCreateFailed     Code = "push_session_create_failed"
	PushChunkFailed      Code = "push_chunk_failed"
	PushCommitFailed     Code = "push_session_commit_failed"
	PushDeleteFailed     Code = "push_session_delete_failed"
	BundleRowsFailed     Code = "committed_bundle_rows_failed"
	PullFailed           Code = "pull_failed"
	WatchFailed          Code = "bundle_change_watch_failed"
	SnapshotCreateFailed Code = "snapshot_session_create_failed"
	SnapshotChunkFailed  Code = "snapshot_chunk_failed"
	SnapshotDeleteFailed Code = "snapshot_session_delete_failed"
	CapabilitiesFailed   Code = "capabilities_failed"
	SchemaFailed         Code = "schema_failed"
	VerifyFailed         Code = "verify_failed"
	HealthFailed         Code = "health_failed"
	StatusFailed         Code = "status_failed"
)

// statuses holds every code that is not a failure of the server, which is 500.
var statuses = map[Code]int{
	AuthenticationFailed: http.StatusUnauthorized,
	ClientTooOld:         http.StatusUpgradeRequired,
	InvalidRequest:       http.StatusBadRequest,
	MethodNotAllowed:     http.StatusMethodNotAllowed,
	NotFound:             http.StatusNotFound,
	RequestTooLarge:      http.StatusRequestEntityTooLarge,
	ServerBusy:           http.StatusServiceUnavailable,
	ServiceUnavailable:   http.StatusServiceUnavailable,
	TooManyRequests:      http.StatusTooManyRequests,
	UnsupportedEncoding:  http.StatusUnsupportedMediaType,
	BundleChunkInvalid:   http.StatusBadRequest,
	BundleNotFound:       http.StatusNotFound,
	ConnectInvalid:       http.StatusBadRequest,
	PushConflict:         http.StatusConflict,
	PushRejected:         http.StatusUnprocessableEntity,
	TooManyStreams:       http.StatusTooManyRequests,
	WatchDisabled:        http.StatusServiceUnavailable,
}

// raised is the one table from SQLSTATE to code and status; docs/errors.md has it for readers.
var raised = map[string]struct {
	code   Code
	status int
}{
	"TD014": {HistoryPruned, http.StatusConflict},
	"TD017": {InvalidRequest, http.StatusBadRequest},
	"TD018": {InvalidRequest, http.StatusBadRequest},
	"TD101": {"push_session_invalid", http.StatusBadRequest},
	"TD102": {PushChunkInvalid, http.StatusBadRequest},
	"TD103": {"push_commit_invalid", http.StatusBadRequest},
	"TD104": {"push_chunk_out_of_order", http.StatusConflict},
	"TD105": {PushSessionNotFound, http.StatusNotFound},
	"TD106": {"push_session_forbidden", http.StatusForbidden},
	"TD107": {"push_session_expired", http.StatusGone},
	"TD108": {"scope_uninitialized", http.StatusConflict},
	"TD109": {"scope_initializing", http.StatusConflict},
	"TD110": {"initialization_stale", http.StatusConflict},
	"TD111": {"initialization_expired", http.StatusGone},
	"TD112": {"source_sequence_out_of_order", http.StatusConflict},
	"TD113": {"source_sequence_changed", http.StatusConflict},
	"TD114": {SourceRetired, http.StatusConflict},
	"TD115": {"source_replacement_invalid", http.StatusConflict},
	"TD119": {SnapshotNotFound, http.StatusNotFound},
	"TD120": {"snapshot_session_forbidden", http.StatusForbidden},
	"TD121": {"snapshot_session_expired", http.StatusGone},
	"TD122": {SnapshotChunkInvalid, http.StatusBadRequest},
	"TD123": {SnapshotSessionInvalid, http.StatusBadRequest},
	"TD124": {"snapshot_session_limit_exceeded", http.StatusRequestEntityTooLarge},
	"TD125": {"too_many_sessions", http.StatusTooManyRequests},
	"TD126": {ServiceUnavailable, http.StatusServiceUnavailable},
	"TD127": {"bundle_limit_exceeded", http.StatusRequestEntityTooLarge},
	"TD129": {Maintenance, http.StatusServiceUnavailable},
	"TD131": {HistoryChanged, http.StatusConflict},
	"TD132": {BucketListNeeded, http.StatusConflict},
	"TD133": {"cursor_invalid", http.StatusBadRequest},
	"TD134": {BucketForbidden, http.StatusForbidden},
	"TD135": {VerifyInvalid, http.StatusBadRequest},
	"TD136": {"push_refused", http.StatusUnprocessableEntity},
}

func init() {
	for _, r := range raised {
		statuses[r.code] = r.status
	}
}

// Status is the HTTP status of a code.
func (c Code) Status() int {
	if status, known := statuses[c]; known {
		return status
	}
	return http.StatusInternalServerError
}
