package server

import (
	"net/http"
	"slices"
	"strings"

	"github.com/pgtide/pgtide/runtime/wire"
)

// routes are all there is; a segment in braces matches anything and goes to the handler.
func routes() router {
	return router{
		{http.MethodPost, "/sync/connect", device, false, wire.ConnectFailed, (*call).connect},
		{http.MethodPost, "/sync/push", device, false, wire.PushCommitFailed, (*call).push},
		{http.MethodPost, "/sync/push-sessions", device, false, wire.PushCreateFailed, (*call).createPushSession},
		{http.MethodPost, "/sync/push-sessions/{id}/chunks", device, false, wire.PushChunkFailed, (*call).addPushChunk},
		{http.MethodPost, "/sync/push-sessions/{id}/commit", device, false, wire.PushCommitFailed, (*call).commitPushSession},
		{http.MethodDelete, "/sync/push-sessions/{id}", device, false, wire.PushDeleteFailed, (*call).deletePushSession},
		{http.MethodGet, "/sync/committed-bundles/{seq}/rows", device, false, wire.BundleRowsFailed, (*call).bundleRows},
		{http.MethodGet, "/sync/pull", device, false, wire.PullFailed, (*call).pull},
		{http.MethodGet, pathWatch, device, false, wire.WatchFailed, (*call).watch},
		{http.MethodPost, "/sync/snapshot-sessions", device, true, wire.SnapshotCreateFailed, (*call).createSnapshotSession},
		{http.MethodGet, "/sync/snapshot-sessions/{id}", device, false, wire.SnapshotChunkFailed, (*call).snapshotChunk},
		{http.MethodDelete, "/sync/snapshot-sessions/{id}", device, false, wire.SnapshotDeleteFailed, (*call).deleteSnapshotSession},
		{http.MethodGet, "/sync/snapshot", device, true, wire.SnapshotCreateFailed, (*call).streamSnapshot},
		{http.MethodGet, pathCapabilities, device, false, wire.CapabilitiesFailed, (*call).capabilities},
		{http.MethodGet, "/sync/schema", device, false, wire.SchemaFailed, (*call).schema},
		{http.MethodPost, "/sync/verify", device, true, wire.VerifyFailed, (*call).verify},
		{http.MethodGet, "/healthz", anyone, false, wire.HealthFailed, (*call).alive},
		{http.MethodGet, "/readyz", anyone, false, wire.HealthFailed, (*call).healthState},
		{http.MethodGet, "/metrics", operator, false, wire.StatusFailed, (*call).showMetrics},
		{http.MethodGet, "/syncx/health", anyone, false, wire.HealthFailed, (*call).healthState},
		{http.MethodGet, "/syncx/status", operator, false, wire.StatusFailed, (*call).status},
	}
}

const (
	pathCapabilities = "/sync/capabilities"
	pathWatch        = "/sync/watch"
)

// caller is who may use a route.
type caller int

const (
	device   caller = iota // a user's device: an identity and a source
	anyone                 // also while the server is shutting down
	operator               // with the operator token
)

type route struct {
	method, path string
	caller       caller
	long         bool // it may take StreamTimeout
	failed       wire.Code
	handle       func(*call) error
}

type router []route

// find returns the route of a request and the part of its path that the braces match, or the error.
func (rs router) find(method, path string) (*route, string, *wire.Error) {
	var allowed []string
	for i := range rs {
		parameter, ok := match(rs[i].path, path)
		switch {
		case !ok:
		case rs[i].method == method:
			return &rs[i], parameter, nil
		default:
			allowed = append(allowed, rs[i].method)
		}
	}
	if allowed == nil {
		return nil, "", wire.Refuse(wire.NotFound, "there is no such route. docs/protocol.md lists them.")
	}
	slices.Sort(allowed)
	return nil, "", wire.Refuse(wire.MethodNotAllowed, "this route takes "+strings.Join(allowed, " and ")+" only.")
}

func match(pattern, path string) (parameter string, ok bool) {
	before, rest, found := strings.Cut(pattern, "{")
	if !found {
		return "", pattern == path
	}
	_, after, _ := strings.Cut(rest, "}")
	if len(path) <= len(before)+len(after) || !strings.HasPrefix(path, before) || !strings.HasSuffix(path, after) {
		return "", false
	}
	parameter = path[len(before) : len(path)-len(after)]
	return parameter, !strings.Contains(parameter, "/")
}
