package v1client

import (
	"crypto/rand"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"time"
)

// Config says which server a device talks to and what it holds.
type Config struct {
	// URL is the base that /sync/... is added to.
	URL string
	// Token is sent as bearer token.
	Token string
	// SourceID names this device. Defaults to a random one.
	SourceID string
	// Schema is the one schema of all tables.
	Schema string
	Tables []Table
	// ClientWins puts the columns that a conflicting edit changed onto the server's row. Defaults to taking
	// the server's row.
	ClientWins bool
	// ChunkRows is how many rows a chunk of a push carries. Defaults to 1000.
	ChunkRows int
	// PageRows is how many committed or snapshot rows are fetched at once. Defaults to 1000.
	PageRows int
	// PullBundles is how many bundles a page of a pull holds. Defaults to 1000.
	PullBundles int
	// LongPages takes pages of more bundles than were asked for: a seal that moved rows comes whole.
	LongPages bool
	// Retries is how often a 429, 502, 503 or 504 is tried again. Defaults to 5.
	Retries int
	// MaxRetryWait caps what Retry-After asks for. Defaults to 1 second.
	MaxRetryWait time.Duration
	// Client sends the requests. Defaults to http.DefaultClient.
	Client *http.Client
}

func (c Config) withDefaults() Config {
	if c.SourceID == "" {
		c.SourceID = "device-" + rand.Text()
	}
	for _, field := range []struct {
		n        *int
		fallback int
	}{{&c.ChunkRows, 1000}, {&c.PageRows, 1000}, {&c.PullBundles, 1000}, {&c.Retries, 5}} {
		if *field.n <= 0 {
			*field.n = field.fallback
		}
	}
	if c.MaxRetryWait <= 0 {
		c.MaxRetryWait = time.Second
	}
	if c.Client == nil {
		c.Client = http.DefaultClient
	}
	return c
}

// Device is one replica. It is not safe for concurrent use.
type Device struct {
	config Config
	tables map[string]*Table

	attached         bool
	initializationID string
	sourceID         string
	nextBundle       int64
	// reserved is the source that replaces this one, kept until the replacement is done, so that a
	// repeated request names the same one.
	reserved string
	lastSeq  int64

	rows     map[string]map[string]string
	versions map[string]map[string]int64
	pending  edits
	// frozen is the push that was begun and has no answer yet. It is repeated as it is.
	frozen []*edit

	conflicts []Conflict
}

// New makes a device that holds nothing and is attached to nothing.
func New(config Config) (*Device, error) {
	config = config.withDefaults()
	d := &Device{config: config, tables: map[string]*Table{}, sourceID: config.SourceID, nextBundle: 1}
	for i := range config.Tables {
		table := &config.Tables[i]
		if table.Name == "" || len(table.Key) == 0 || len(table.Columns) < len(table.Key) {
			return nil, fmt.Errorf("table %q needs a name, its key and its columns", table.Name)
		}
		d.tables[table.Name] = table
	}
	d.clear()
	return d, nil
}

func (d *Device) clear() {
	d.rows, d.versions = map[string]map[string]string{}, map[string]map[string]int64{}
	for name := range d.tables {
		d.rows[name], d.versions[name] = map[string]string{}, map[string]int64{}
	}
}

// Rows are the rows of a table as the device holds them now: key to payload, as it was received.
func (d *Device) Rows(table string) map[string]string { return d.rows[table] }

// Version is the bundle that last touched a row, as far as the device knows; 0 for a row never seen.
func (d *Device) Version(table, key string) int64 { return d.versions[table][key] }

// SourceID is the source the device is now.
func (d *Device) SourceID() string { return d.sourceID }

// NextBundle is the number its next push has.
func (d *Device) NextBundle() int64 { return d.nextBundle }

// LastSeq is the bundle up to which the device has pulled.
func (d *Device) LastSeq() int64 { return d.lastSeq }

// InitializationID is the lease to seed the server that the device holds, if any.
func (d *Device) InitializationID() string { return d.initializationID }

// Attached says whether the device is attached.
func (d *Device) Attached() bool { return d.attached }

// Pending counts the keys whose edits the server has not confirmed.
func (d *Device) Pending() int { return d.pending.len() + len(d.frozen) }

// Conflicts are all conflicts the device was told of, in order.
func (d *Device) Conflicts() []Conflict { return d.conflicts }

// set puts a row as the server has it; without a payload the row is gone, and its version stays known.
func (d *Device) set(table, key string, version int64, payload string) {
	if payload == "" {
		delete(d.rows[table], key)
	} else {
		d.rows[table][key] = payload
	}
	d.versions[table][key] = version
}

// show puts a row as an edit leaves it on top of a version of the server. A DELETE has no payload.
func (d *Device) show(e *edit, version int64) { d.set(e.table, e.key, version, e.payload) }

// Clone is a second device with the state of this one: its backup, or another process of it.
func (d *Device) Clone() *Device {
	c := *d
	c.rows, c.versions = map[string]map[string]string{}, map[string]map[string]int64{}
	for name := range d.tables {
		c.rows[name], c.versions[name] = maps.Clone(d.rows[name]), maps.Clone(d.versions[name])
	}
	c.pending = edits{}
	for _, e := range d.pending.list() {
		again := *e
		c.pending.add(&again)
	}
	c.frozen = nil
	for _, e := range d.frozen {
		again := *e
		c.frozen = append(c.frozen, &again)
	}
	c.conflicts = slices.Clone(d.conflicts)
	return &c
}
