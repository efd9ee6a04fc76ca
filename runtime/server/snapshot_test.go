package server

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"math/rand/v2"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"
)

// replica is what a device holds: payloads by table and key.
type replica map[string]string

type heldRow struct {
	Table   string
	Key     map[string]string
	Op      string
	Payload json.RawMessage
}

func (r replica) apply(row heldRow) {
	name := fmt.Sprint(row.Table, row.Key)
	if row.Op == "DELETE" {
		delete(r, name)
		return
	}
	r[name] = string(row.Payload)
}

// chunks takes a snapshot session in chunks of this size.
func (d phone) chunks(t *testing.T, size int) (replica, int64) {
	t.Helper()
	var session struct {
		ID  string `json:"snapshot_id"`
		Seq int64  `json:"snapshot_bundle_seq"`
	}
	parse(t, d.post(t, "/sync/snapshot-sessions", "").is(t, http.StatusOK, ""), &session)
	held := replica{}
	for after, more := int64(0), true; more; {
		var chunk struct {
			Rows []heldRow
			Next int64 `json:"next_row_ordinal"`
			More bool  `json:"has_more"`
		}
		parse(t, d.get(t, fmt.Sprintf("/sync/snapshot-sessions/%s?after_row_ordinal=%d&max_rows=%d", session.ID, after, size)).is(t, http.StatusOK, ""), &chunk)
		for _, row := range chunk.Rows {
			held.apply(row)
		}
		after, more = chunk.Next, chunk.More
	}
	d.do(t, http.MethodDelete, "/sync/snapshot-sessions/"+session.ID, "").is(t, http.StatusNoContent, "")
	return held, session.Seq
}

// stream takes the streamed form.
func (d phone) stream(t *testing.T) (replica, int64) {
	t.Helper()
	got := d.get(t, "/sync/snapshot")
	held := replica{}
	var end struct {
		Done bool
		Seq  int64 `json:"snapshot_bundle_seq"`
		Rows int   `json:"row_count"`
	}
	for line := range strings.Lines(got.body) {
		var row heldRow
		if err := json.Unmarshal([]byte(line), &row); err != nil {
			t.Fatalf("%q: %v", line, err)
		}
		if row.Table != "" {
			held.apply(row)
		}
		if err := json.Unmarshal([]byte(line), &end); err != nil {
			t.Fatal(err)
		}
	}
	if got.status != http.StatusOK || !end.Done || end.Rows != len(held) {
		t.Fatalf("%d, %d rows, the end says %+v", got.status, len(held), end)
	}
	return held, end.Seq
}

// follow pulls up to a position, or to the head when it is 0.
func (d phone) follow(t *testing.T, held replica, after, target int64, size int) int64 {
	t.Helper()
	for more := true; more; {
		var page struct {
			Bundles []struct {
				Seq  int64 `json:"bundle_seq"`
				Rows []heldRow
			}
			More bool `json:"has_more"`
		}
		parse(t, d.get(t, fmt.Sprintf("/sync/pull?after_bundle_seq=%d&target_bundle_seq=%d&max_bundles=%d", after, target, size)).is(t, http.StatusOK, ""), &page)
		for _, bundle := range page.Bundles {
			if bundle.Seq != after+1 {
				t.Fatalf("bundle %d after %d", bundle.Seq, after)
			}
			after = bundle.Seq
			for _, row := range bundle.Rows {
				held.apply(row)
			}
		}
		more = page.More
	}
	return after
}

func parse(t *testing.T, a answer, into any) {
	t.Helper()
	if err := json.Unmarshal([]byte(a.body), into); err != nil {
		t.Fatalf("%s: %v", a.body, err)
	}
}

// Snapshots taken beside writers and rival sealers, of every form and chunk size, equal what a device
// holds that followed the log to the same position; and with the pulls after it, the tables.
func TestSnapshotsBesideWriters(t *testing.T) {
	t.Parallel()
	f := newFront(t, Config{})
	d := f.device("u1", "phone").connect(t)
	f.exec(t, `INSERT INTO app.note SELECT i, 'u1', 'n' || i FROM generate_series(1, 200) AS i`, `SELECT tide.seal()`)
	ctx, stop := context.WithCancel(t.Context())
	var writers sync.WaitGroup
	write := func(statement func(n int) string) {
		writers.Go(func() {
			for n := 0; ctx.Err() == nil; n++ {
				if _, err := f.db.Exec(context.Background(), statement(n)); err != nil {
					t.Errorf("write: %v", err)
					return
				}
				time.Sleep(2 * time.Millisecond) // the reader has to keep up
			}
		})
	}
	for w := range 3 {
		random := rand.New(rand.NewPCG(7, uint64(w)))
		write(func(n int) string {
			id := 1 + w*1000 + random.IntN(100)
			switch n % 3 {
			case 0:
				return fmt.Sprintf(`INSERT INTO app.note VALUES (%d, 'u1', NULL) ON CONFLICT (id) DO UPDATE SET body = 'w%d-%d'`, id, w, n)
			case 1:
				return fmt.Sprintf(`DELETE FROM app.note WHERE id = %d`, id)
			default:
				return fmt.Sprintf(`UPDATE app.note SET body = NULL, owner_id = CASE WHEN id %% 7 = %d THEN 'u2' ELSE 'u1' END WHERE id BETWEEN %d AND %d`, n%7, id, id+5)
			}
		})
	}
	write(func(int) string { return `SELECT tide.seal()` })

	followed := replica{}
	var position int64
	for round, size := range []int{1, 7, 100, 5000, 0, 3, 0, 64, 0} {
		var held replica
		var seq int64
		if size == 0 {
			held, seq = d.stream(t)
		} else {
			held, seq = d.chunks(t, size)
		}
		position = d.follow(t, followed, position, seq, 1000)
		if !maps.Equal(held, followed) {
			t.Fatalf("round %d: the snapshot at %d has %d rows, the log %d, and they differ", round, seq, len(held), len(followed))
		}
	}
	held, seq := d.chunks(t, 500)
	stop()
	writers.Wait()
	f.exec(t, `SELECT tide.seal()`)
	d.follow(t, held, seq, 0, 3)
	if end, _ := d.chunks(t, 500); !maps.Equal(held, end) {
		t.Errorf("a snapshot and the pulls after it have %d rows, a new snapshot %d, and they differ", len(held), len(end))
	}
	var rows int
	if err := f.db.QueryRow(t.Context(), `SELECT count(*) FROM app.note WHERE owner_id = 'u1'`).Scan(&rows); err != nil || rows != len(held) {
		t.Errorf("the table has %d rows, the device %d (%v)", rows, len(held), err)
	}
	nothingOpen(t, f)
}

// What a connection streamed before does not matter to the next stream, of other columns.
func TestStreamsOfBothKindsInTurns(t *testing.T) {
	t.Parallel()
	f := withTeams(t, Config{})
	home, many := f.device("u1", "home").connect(t), f.device("u1", "many")
	for range 8 {
		home.stream(t)
		many.fetched(t)
	}
}

// Many snapshots at once, with a pool of two connections: nobody waits for ever.
func TestManySnapshotsAtOnce(t *testing.T) {
	t.Parallel()
	f := newFrontOf(t, Config{QueueTimeout: time.Minute}, 2)
	f.exec(t, `UPDATE tide.setting SET max_snapshot_sessions = 100`)
	d := f.device("u1", "phone").connect(t)
	d.push(t, 1, task("INSERT", taskA, 0, `"title":"a"`))
	var group sync.WaitGroup
	for range 24 {
		group.Go(func() {
			got, err := d.try(http.MethodPost, "/sync/snapshot-sessions", "")
			if err != nil || got.status != http.StatusOK {
				t.Errorf("%d %s %v", got.status, got.body, err)
			}
		})
	}
	group.Wait()
}
