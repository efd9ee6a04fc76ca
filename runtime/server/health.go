package server

import (
	"context"
	"encoding/json"
	"net/http"
	"sync"
	"time"

	"github.com/pgtide/pgtide/db"
)

// healthCheck remembers whether the database answered: however often somebody asks, the database is
// asked once a second.
type healthCheck struct {
	mutex   sync.Mutex
	at      time.Time
	version string
	err     error
}

const (
	healthAge     = time.Second
	healthTimeout = 2 * time.Second
)

func (h *healthCheck) ask(s *Server) (version string, err error) {
	h.mutex.Lock()
	defer h.mutex.Unlock()
	if time.Since(h.at) < healthAge {
		return h.version, h.err
	}
	// Who asked may go away; the answer is for all.
	ctx, cancel := context.WithTimeout(context.Background(), healthTimeout)
	defer cancel()
	h.version, h.err = db.New(s.pool).Version(ctx)
	h.at = time.Now()
	return h.version, h.err
}

// vitals is what anybody may know.
type vitals struct {
	Status    string `json:"status"`
	Version   string `json:"version"`
	AppName   string `json:"app_name,omitempty"`
	Lifecycle string `json:"lifecycle"`
	Accepting bool   `json:"accepting_operations"`
	Inflight  int64  `json:"inflight_operations"`
}

func (c *call) vitals() (vitals, error) {
	version, err := c.health.ask(c.Server)
	v := vitals{
		Status: "healthy", Version: version, AppName: c.config.AppName, Lifecycle: "running",
		Accepting: !c.drains(), Inflight: c.counts.inflight.Load() - 1, // this one
	}
	if !v.Accepting {
		v.Lifecycle = "shutting_down"
	}
	if err != nil || !v.Accepting {
		v.Status = "unhealthy"
	}
	return v, err
}

// alive says that the process answers, whatever the database does.
func (c *call) alive() error {
	return c.json(func(b []byte) []byte { return append(b, `{"status":"alive"}`...) })
}

// healthState is 200 or 503.
func (c *call) healthState() error {
	v, _ := c.vitals() // what is wrong is for the log of the requests that meet it
	text, err := json.Marshal(v)
	if err != nil {
		return err
	}
	status := http.StatusOK
	if v.Status != "healthy" {
		status = http.StatusServiceUnavailable
		c.w.Header().Set("Retry-After", "1")
	}
	c.w.Header().Set("Content-Type", typeJSON)
	c.w.Header().Set("Cache-Control", "no-store")
	c.w.WriteHeader(status)
	return c.send(append(text, '\n'))
}

// status is the body of GET /syncx/status. Counts and positions are those of this process.
func (c *call) status() error {
	v, err := c.vitals()
	if err != nil {
		return err
	}
	tables, err := db.New(c.pool).Capabilities(c.r.Context())
	if err != nil {
		return err
	}
	names := []string{}
	for _, t := range tables {
		names = append(names, t.TableSchema+"."+t.TableName)
	}
	seen := c.counts.seen()
	return c.encode(struct {
		vitals
		Tables         []string        `json:"registered_tables"`
		Features       map[string]bool `json:"features"`
		FloorsAhead    int64           `json:"user_state_retention_floor_ahead_count"`
		LatestSeqMax   int64           `json:"latest_bundle_seq_max"`
		FloorMin       int64           `json:"retained_bundle_floor_min"`
		FloorMax       int64           `json:"retained_bundle_floor_max"`
		WindowMin      int64           `json:"retained_bundle_window_min"`
		WindowMax      int64           `json:"retained_bundle_window_max"`
		HistoryPruned  int64           `json:"history_pruned_error_count"`
		Replays        int64           `json:"accepted_push_replay_count"`
		RejectedWrites int64           `json:"rejected_registered_write_count"`
		Committed      int64           `json:"committed_bundle_count"`
		CommittedBytes int64           `json:"committed_bundle_bytes"`
	}{
		v, names, c.features(), 0, seen.headMax, seen.floorMin, seen.floorMax, seen.windowMin, seen.windowMax,
		seen.pruned, seen.replays, seen.rejected, seen.applied, seen.bytes,
	})
}
