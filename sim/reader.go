package sim

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"

	"github.com/jackc/pgx/v5"

	"github.com/pgtide/pgtide/internal/cursorclient"
	"github.com/pgtide/pgtide/internal/v1client"
)

// reader is a device that reads every bucket of its user, and the one process that exchanges for it.
type reader struct {
	world    *World
	name     string
	user     string
	shape    readerShape
	tables   []v1client.Table
	device   *cursorclient.Device
	process  *process
	wires    []*wire
	installs int
	backup   *cursorclient.Device
	seen     seen
	lastErr  error
}

// readerShape is how a reader asks.
type readerShape struct {
	chunk, bundles int
	lines          bool
}

var readerShapes = []readerShape{{0, 1000, true}, {2, 1, false}, {0, 2, false}, {1000, 3, true}}

func (w *World) newReader(user string, n int) *reader {
	r := &reader{world: w, user: user, name: fmt.Sprintf("%s/reader %d", user, n), shape: readerShapes[len(w.readers)%len(readerShapes)]}
	r.install()
	return r
}

func (r *reader) install() {
	r.kill()
	r.installs++
	header := http.Header{"Authorization": {"Bearer " + r.world.tokenOf(r.user)}, "Oversync-Source-Id": {r.source()}}
	r.device = cursorclient.New(&cursorclient.HTTP{URL: r.world.url, Header: header, Client: &http.Client{Transport: router{}}, ChunkRows: r.shape.chunk, Lines: r.shape.lines})
	r.device.MaxBundles, r.device.LongPages = r.shape.bundles, true // the lookout sees to that
	r.tables, r.backup, r.seen = slices.Clone(r.world.tables), nil, seen{}
}

func (r *reader) source() string { return fmt.Sprintf("%s/%d", r.name, r.installs) }

// kill ends the process: what it had applied is what the device has when it comes back.
func (r *reader) kill() {
	if r.process != nil {
		r.process.kill()
		r.process, r.device = nil, r.device.Copy()
	}
}

// advance lets the next request go, with a fault.
func (r *reader) advance(fault Fault) error {
	if r.process == nil {
		r.process = start(r.world.ctx, r.world.base, func(ctx context.Context, w *wire) error {
			return r.device.Sync(context.WithValue(ctx, wireKey{}, w))
		})
		r.wires = append(r.wires, r.process.wire)
	} else {
		r.process.advance(fault)
	}
	if r.process.ended {
		if err := r.ended(r.process.err); err != nil {
			return err
		}
	}
	return r.hold()
}

func (r *reader) ended(err error) error {
	r.process, r.lastErr = nil, err
	if leaked := r.world.lookout.leaked; leaked != nil {
		return leaked
	}
	if err == nil {
		r.seen.exchanged()
		return nil
	}
	r.device = r.device.Copy()
	var refusal *cursorclient.Refusal
	var broken cursorclient.Violation
	switch {
	case errors.As(err, &broken):
		return failed("protocol", "%s: %v", r.name, broken)
	case errors.As(err, &refusal) && refusal.Status != http.StatusServiceUnavailable && !slices.Contains(passing, refusal.Code):
		return failed("refusals", "%s: %v", r.name, refusal)
	}
	return nil // the network
}

func (r *reader) goOn(fault, count int) error {
	for range count % 5 {
		if err := r.advance(Faults[0]); err != nil || r.process == nil {
			return err
		}
	}
	return r.advance(Faults[fault%len(Faults)])
}

// syncNow exchanges without faults, to the end.
func (r *reader) syncNow() error {
	r.kill()
	for {
		if err := r.advance(Faults[0]); err != nil || r.process == nil {
			return err
		}
	}
}

// chance is what else can happen to a reader.
func (r *reader) chance(n int) error {
	switch n % 8 {
	case 0:
		r.install()
	case 1:
		if r.process == nil {
			r.backup = r.device.Copy()
			r.seen.saved()
		}
	case 2:
		if r.backup != nil {
			r.kill()
			r.device = r.backup.Copy()
			r.seen.restored()
		}
	case 3:
		r.release()
	case 4:
		r.kill()
	default:
		return r.syncNow()
	}
	return nil
}

func (r *reader) release() {
	for _, w := range r.wires {
		w.faults.Release(r.world.ctx)
	}
	r.wires = nil
	if r.process != nil {
		r.wires = []*wire{r.process.wire}
	}
}

// hold looks at a reader between any two of its requests.
func (r *reader) hold() error {
	if err := r.world.lookout.leaked; err != nil {
		return err
	}
	versions, rows := map[string]int64{}, map[string]string{}
	for id, row := range r.device.Rows {
		versions[id], rows[id] = row.Version, row.Payload
	}
	stands := map[string]int64{}
	for bucket, position := range r.device.Stands {
		stands[bucket] = position.BundleID
	}
	if err := r.seen.hold(r.name, stands, versions); err != nil {
		return err
	}
	if wrong := whole(rows); wrong != "" {
		return failed("bundles whole", "%s, which stands at %v: %s", r.name, r.device.Stands, wrong)
	}
	return nil
}

// equal holds a reader against the query: rows, and the buckets that they lie in.
func (r *reader) equal() error {
	want := map[string]string{}
	for _, table := range r.tables {
		rows, err := r.world.admin.Query(r.world.ctx, readable(table), r.user)
		if err != nil {
			return err
		}
		var text string
		var buckets []string
		if _, err := pgx.ForEachRow(rows, []any{&text, &buckets}, func() error {
			key := map[string]string{}
			for _, column := range table.Key {
				key[column] = field(text, column)
			}
			want["app."+table.Name+encodeKey(table.Key, key)] = fmt.Sprint(canonical(text), buckets)
			return nil
		}); err != nil {
			return err
		}
	}
	got := map[string]string{}
	for id, row := range r.device.Rows {
		got[id] = fmt.Sprint(canonical(row.Payload), row.Buckets)
	}
	return differences(fmt.Sprintf("%s, which stands at %v,", r.name, r.device.Stands), got, want)
}

// encodeKey writes a key as answers do, in the order of its columns.
func encodeKey(columns []string, key map[string]string) string {
	text := "{"
	for i, column := range columns {
		if i > 0 {
			text += ","
		}
		text += encode(map[string]any{column: key[column]})[1:]
		text = text[:len(text)-1]
	}
	return text + "}"
}

// readable is what a reader must hold of a table, and in which of its buckets.
func readable(table v1client.Table) string {
	return fmt.Sprintf(`SELECT row, b.mine FROM (%s) AS x CROSS JOIN LATERAL (
		SELECT array_agg(u COLLATE "C" ORDER BY u COLLATE "C") FROM unnest(x.buckets) AS u WHERE u = 'user:' || $1 OR u IN (SELECT 'team:' || m.team FROM app.member AS m WHERE m.user_id = $1)) AS b (mine)
		WHERE b.mine IS NOT NULL`, lying(table))
}
