// Package cursorclient is a device that reads many buckets, held in memory, that believes nothing: what
// the server may not say is a *Violation. It follows docs/protocol.md and shares no code with the server.
package cursorclient

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
)

// Server answers the requests of a device, over HTTP or from SQL directly.
type Server interface {
	Connect(ctx context.Context, cursor string, positions map[string]Position) (Connected, error)
	Pull(ctx context.Context, cursor string, maxBundles int) (Page, error)
	Snapshot(ctx context.Context, cursor string, buckets []string) (Snapshot, error)
}

// Position is the last bundle, or the snapshot, that a device applied of a bucket.
type Position struct {
	BundleID int64  `json:"bundle_id"`
	Seal     string `json:"seal"`
}

// Updates are the buckets that a device must fetch or drop.
type Updates struct {
	Add    []string `json:"add"`
	Remove []string `json:"remove"`
	Repair []string `json:"repair"`
}

// Connected is the answer to a connect.
type Connected struct {
	Updates
	Cursor string
	// BundleID is set when positions were sent: no row has a later version.
	BundleID *int64
}

// Page is the answer to a pull.
type Page struct {
	Updates
	Cursor  string
	HasMore bool
	Bundles []Bundle
}

// Bundle is one transaction, as far as the device sees it.
type Bundle struct {
	Position
	Buckets []string
	Rows    []Row
}

// Row is a row of a bundle or a snapshot.
type Row struct {
	Table, Key, Op, Payload string
	Version                 int64
	Buckets                 []string
}

// Snapshot is the state of some buckets.
type Snapshot struct {
	Position
	Cursor  string
	Buckets []string
	Rows    []Row
}

// Refusal is an answer that is no success.
type Refusal struct {
	Status int
	Code   string `json:"error"`
	Text   string `json:"message"`
}

func (r *Refusal) Error() string { return fmt.Sprintf("%d %s: %s", r.Status, r.Code, r.Text) }

// Violation is an answer that the protocol does not allow.
type Violation string

func (v Violation) Error() string { return "the server broke the protocol: " + string(v) }

func broken(format string, args ...any) error { return Violation(fmt.Sprintf(format, args...)) }

// Held is a row as the device has it.
type Held struct {
	Version int64
	Payload string
	Buckets []string
}

// Device is one replica. It is not safe for concurrent use.
type Device struct {
	Server Server
	// MaxBundles is the size of a page. Defaults to 1000.
	MaxBundles int
	// LongPages takes pages of more bundles than were asked for also when they are of several steps of a seal.
	LongPages bool

	Cursor string
	Rows   map[string]Held     // by table and key
	Stands map[string]Position // by bucket it holds
	base   int64
	ready  bool
	todo   Updates
}

// New is a device that holds nothing.
func New(server Server) *Device {
	return &Device{Server: server, MaxBundles: 1000, Rows: map[string]Held{}, Stands: map[string]Position{}}
}

// Copy is the device as it is now: what a crash goes back to.
func (d *Device) Copy() *Device {
	c := *d
	c.Rows, c.Stands = maps.Clone(d.Rows), maps.Clone(d.Stands)
	c.ready, c.base = false, 0
	return &c
}

// Connect tells the server where the device stands, and drops what is no longer its own.
func (d *Device) Connect(ctx context.Context) error {
	answer, err := d.Server.Connect(ctx, d.Cursor, nil)
	if err != nil {
		return err
	}
	return d.connected(answer)
}

// Reposition is Connect after history_changed or bucket_list_needed.
func (d *Device) Reposition(ctx context.Context) error {
	answer, err := d.Server.Connect(ctx, d.Cursor, d.Stands)
	if err != nil {
		return err
	}
	if answer.BundleID == nil {
		return broken("connect with positions says no bundle_id")
	}
	for id, row := range d.Rows {
		row.Version = min(row.Version, *answer.BundleID)
		d.Rows[id] = row
	}
	d.base = 0
	return d.connected(answer)
}

func (d *Device) connected(answer Connected) error {
	if answer.Cursor == "" || len(answer.Cursor) > 1000 {
		return broken("connect gives the cursor %q", answer.Cursor)
	}
	for _, bucket := range answer.Add {
		if _, held := d.Stands[bucket]; held {
			return broken("bucket %s is to be added and is held", bucket)
		}
	}
	for _, bucket := range slices.Concat(answer.Remove, answer.Repair) {
		if _, held := d.Stands[bucket]; !held {
			return broken("bucket %s is to be dropped or repaired and is not held", bucket)
		}
	}
	d.drop(answer.Remove, 0)
	for _, bucket := range answer.Remove {
		delete(d.Stands, bucket)
	}
	d.Cursor, d.todo, d.ready = answer.Cursor, answer.Updates, true
	return nil
}

// drop takes rows out of buckets; one that is in no other is gone. Rows of a later version stay.
func (d *Device) drop(buckets []string, later int64) {
	gone := map[string]bool{}
	for _, bucket := range buckets {
		gone[bucket] = true
	}
	for id, row := range d.Rows {
		if later > 0 && row.Version > later {
			continue
		}
		left := slices.DeleteFunc(slices.Clone(row.Buckets), func(b string) bool { return gone[b] })
		switch {
		case len(left) == 0:
			delete(d.Rows, id)
		case len(left) < len(row.Buckets):
			row.Buckets = left
			d.Rows[id] = row
		}
	}
}

// Missing are the buckets that a snapshot must bring.
func (d *Device) Missing() []string { return slices.Concat(d.todo.Add, d.todo.Repair) }

// Fetch takes a snapshot of some buckets, nil for all that are missing.
func (d *Device) Fetch(ctx context.Context, buckets []string) error {
	snapshot, err := d.Server.Snapshot(ctx, d.Cursor, buckets)
	if err != nil {
		return err
	}
	if buckets != nil && !slices.Equal(slices.Sorted(slices.Values(snapshot.Buckets)), slices.Sorted(slices.Values(buckets))) {
		return broken("the snapshot is of %q, not of %q", snapshot.Buckets, buckets)
	}
	d.drop(snapshot.Buckets, snapshot.BundleID)
	wanted := map[string]bool{}
	for _, bucket := range snapshot.Buckets {
		d.Stands[bucket] = snapshot.Position
		wanted[bucket] = true
	}
	for _, row := range snapshot.Rows {
		if err := d.put(row, snapshot.BundleID, true); err != nil {
			return err
		}
		if !slices.ContainsFunc(row.Buckets, func(b string) bool { return wanted[b] }) {
			return broken("row %s %s is in %q, of which none was asked for", row.Table, row.Key, row.Buckets)
		}
	}
	d.Cursor = snapshot.Cursor
	// What a snapshot of all that is missing does not bring is no longer this user's.
	done := func(b string) bool { return buckets == nil || wanted[b] }
	d.todo.Add, d.todo.Repair = slices.DeleteFunc(slices.Clone(d.todo.Add), done), slices.DeleteFunc(slices.Clone(d.todo.Repair), done)
	return nil
}

// put applies a row that is there. Of what is as new as what the device holds, a snapshot counts: it knows
// of the buckets that it brings.
func (d *Device) put(row Row, version int64, fetched bool) error {
	id := row.Table + row.Key
	switch {
	case row.Version != version:
		return broken("row %s has version %d at %d", id, row.Version, version)
	case len(row.Buckets) == 0 || !slices.IsSorted(row.Buckets):
		return broken("row %s is in the buckets %q", id, row.Buckets)
	case row.Payload == "":
		return broken("row %s has no payload", id)
	}
	for _, bucket := range row.Buckets {
		if _, held := d.Stands[bucket]; !held {
			return broken("row %s is in bucket %s, which the device does not hold", id, bucket)
		}
	}
	if have, ok := d.Rows[id]; !ok || have.Version < version || fetched && have.Version == version {
		d.Rows[id] = Held{Version: version, Payload: row.Payload, Buckets: row.Buckets}
	}
	return nil
}

// Pull applies one page, and says whether there is more to do: bundles, or a connect.
func (d *Device) Pull(ctx context.Context) (more bool, err error) {
	page, err := d.Server.Pull(ctx, d.Cursor, d.MaxBundles)
	if err != nil {
		return false, err
	}
	if page.Cursor == "" || len(page.Cursor) > 1000 {
		return false, broken("a pull gives the cursor %q", page.Cursor)
	}
	if len(page.Remove) > 0 && len(page.Bundles) > 0 {
		return false, broken("bundles come while buckets %q are to be dropped", page.Remove)
	}
	// More than were asked for come only when they belong together.
	if n := len(page.Bundles); !d.LongPages && n > d.MaxBundles && page.Bundles[d.MaxBundles].Seal != page.Bundles[n-1].Seal {
		return false, broken("%d bundles, at most %d were asked for", n, d.MaxBundles)
	}
	for _, bundle := range page.Bundles {
		if err := d.apply(bundle); err != nil {
			return false, err
		}
	}
	d.Cursor = page.Cursor
	if len(page.Remove) > 0 || !slices.Equal(page.Add, d.todo.Add) || !slices.Equal(page.Repair, d.todo.Repair) {
		d.ready = false
	}
	return page.HasMore || !d.ready, nil
}

func (d *Device) apply(bundle Bundle) error {
	if bundle.BundleID <= d.base {
		return broken("bundle %d comes after %d", bundle.BundleID, d.base)
	}
	d.base = bundle.BundleID
	if len(bundle.Buckets) == 0 || bundle.Seal == "" {
		return broken("bundle %d is in the buckets %q, of seal %q", bundle.BundleID, bundle.Buckets, bundle.Seal)
	}
	for _, bucket := range bundle.Buckets {
		stands, held := d.Stands[bucket]
		if !held || stands.BundleID >= bundle.BundleID {
			return broken("bundle %d of bucket %s comes to a device that stands at %v", bundle.BundleID, bucket, stands)
		}
		d.Stands[bucket] = bundle.Position
	}
	seen := map[string]bool{}
	for _, row := range bundle.Rows {
		id := row.Table + row.Key
		if seen[id] {
			return broken("row %s comes twice in bundle %d", id, bundle.BundleID)
		}
		seen[id] = true
		switch row.Op {
		case "INSERT", "UPDATE":
			if err := d.put(row, bundle.BundleID, false); err != nil {
				return err
			}
		case "DELETE":
			if row.Payload != "" || len(row.Buckets) > 0 || row.Version != bundle.BundleID {
				return broken("row %s is deleted, with payload %q in buckets %q at version %d", id, row.Payload, row.Buckets, row.Version)
			}
			if d.Rows[id].Version < bundle.BundleID {
				delete(d.Rows, id)
			}
		default:
			return broken("row %s has op %q", id, row.Op)
		}
	}
	return nil
}

// Sync does all there is to do.
func (d *Device) Sync(ctx context.Context) error {
	for {
		if more, err := d.Step(ctx); err != nil || !more {
			return err
		}
	}
}

// Step is what comes next of that.
func (d *Device) Step(ctx context.Context) (more bool, err error) {
	switch {
	case !d.ready:
		more, err = true, d.Connect(ctx)
	case len(d.Missing()) > 0:
		more, err = true, d.Fetch(ctx, nil)
	default:
		more, err = d.Pull(ctx)
	}
	var refusal *Refusal
	if !errors.As(err, &refusal) {
		return more, err
	}
	switch refusal.Code {
	case "history_changed", "bucket_list_needed":
		return true, d.Reposition(ctx)
	case "bucket_forbidden", // since connect said that it is this user's
		"scope_uninitialized", "scope_initializing": // the server went back to before it
		d.ready = false
		return true, nil
	}
	return more, err
}
