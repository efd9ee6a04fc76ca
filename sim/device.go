package sim

import (
	"context"
	"net/http"
	"time"

	"github.com/pgtide/pgtide/internal/v1client"
)

// Device is what the simulator asks of a device, of whatever protocol.
type Device interface {
	// Sync exchanges with the server until both are in step, or something went wrong.
	Sync(ctx context.Context) error
	// Replace begins anew from a snapshot, as another source.
	Replace(ctx context.Context) error
	// Clone is what lies on the device's disk now, as a device of its own.
	Clone() (Device, error)
	// Twin is a second process of the device. The one that is through is the one that lives.
	Twin() (Device, error)
	Close() error

	Insert(table, payload string) error
	Update(table, payload string) error
	Delete(table, key string) error
	// Discard forgets the edit of one row.
	Discard(table, key string) error

	Attached() bool
	Pending() int
	Rows(table string) map[string]string
	Version(table, key string) int64
	Position() int64
	Conflicts() []v1client.Conflict
	// Refused are the edits that wait on the device because the server refused them.
	Refused() ([]v1client.Rejected, error)
}

// v1Device is a device of protocol v1: its home bucket, over HTTP.
type v1Device struct{ *v1client.Device }

func (d v1Device) Clone() (Device, error) { return v1Device{d.Device.Clone()}, nil }

func (d v1Device) Twin() (Device, error) { return d.Clone() }

// Close has nothing to do: it is all in memory.
func (d v1Device) Close() error { return nil }

// Refused is none: its exchange ends with them.
func (d v1Device) Refused() ([]v1client.Rejected, error) { return nil, nil }

func (d v1Device) Position() int64 { return d.LastSeq() }

func (d v1Device) Replace(ctx context.Context) error {
	return d.Rebuild(ctx, "source_sequence_changed")
}

// shape is what differs between devices: how they cut what they send and fetch, and who wins.
type shape struct {
	chunk, page, bundles int
	clientWins           bool
}

var shapes = []shape{{1000, 1000, 1, false}, {2, 2, 2, true}, {1, 3, 1000, false}, {1000, 1000, 1, true}}

func newV1Device(url, token, source string, tables []v1client.Table, s shape) (Device, error) {
	d, err := v1client.New(v1client.Config{
		URL: url, Token: token, SourceID: source, Schema: "app", Tables: tables, ClientWins: s.clientWins,
		ChunkRows: s.chunk, PageRows: s.page, PullBundles: s.bundles, LongPages: true, // which the lookout sees to
		// The schedule decides when a device tries again.
		Retries: 1, MaxRetryWait: time.Millisecond,
		Client: &http.Client{Transport: router{}},
	})
	return v1Device{d}, err
}

type wireKey struct{}

// router sends a request over the wire of the process that makes it.
type router struct{}

func (router) RoundTrip(request *http.Request) (*http.Response, error) {
	return request.Context().Value(wireKey{}).(*wire).RoundTrip(request)
}
