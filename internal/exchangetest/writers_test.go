package exchangetest

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/pgtide/pgtide/internal/v1client"
)

const counters = 12

// Sessions that lock rows in any order wait for each other all the time: a deadlock ends soon.
const soon = `DO $$ BEGIN EXECUTE format('ALTER DATABASE %I SET deadlock_timeout = ''20ms''', current_database()); END $$`

// Devices and sessions of the application count up the same rows. Every change reads what it counts
// on from, so the sum tells whether one was lost: it is what the application wrote and what the
// devices pushed without being told of a conflict.
func TestNoUpdateIsLostBetweenDevicesAndTheApplication(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct{ devices, pushes, sessions, writes int }{
		"two devices, many edits": {2, 120, 2, 150},
		"many devices at once":    {16, 5, 8, 40},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := newSite(t, fmt.Sprintf(`INSERT INTO app.doc SELECT 'd' || g, 'ann', NULL, 0 FROM generate_series(1, %d) AS g`, counters), `SELECT tide.seal()`, soon)
			s.db.Reset()
			devices := make([]*v1client.Device, c.devices)
			for i := range devices {
				devices[i] = s.attached(t, "ann")
			}
			var counted atomic.Int64
			var group sync.WaitGroup
			for _, d := range devices {
				group.Go(func() {
					for range c.pushes {
						n, err := countUp(t.Context(), d)
						counted.Add(n)
						if err != nil {
							t.Error(err)
							return
						}
					}
				})
			}
			for range c.sessions {
				group.Go(func() {
					for range c.writes {
						n, err := s.write(t.Context())
						counted.Add(n)
						if err != nil {
							t.Error(err)
							return
						}
					}
				})
			}
			group.Wait()
			s.exec(t, `SELECT tide.seal()`)
			told := 0
			for _, d := range devices {
				must(t, d.Sync(t.Context()))
				s.same(t, "ann", d)
				told += len(d.Conflicts())
			}
			if sum := value[int64](t, s, `SELECT sum(n)::bigint FROM app.doc`); sum != counted.Load() {
				t.Errorf("the rows count to %d, accepted were %d", sum, counted.Load())
			}
			if told == 0 {
				t.Error("no device was told of a conflict: the test did not test")
			}
		})
	}
}

// countUp pushes one more for some rows and says for how many it was accepted.
func countUp(ctx context.Context, d *v1client.Device) (int64, error) {
	keys := rand.Perm(counters)[:1+rand.IntN(4)]
	for _, k := range keys {
		id := fmt.Sprintf("d%d", k+1)
		var n int
		row := d.Rows("doc")[id]
		if _, err := fmt.Sscanf(row[nAt(row):], "%d", &n); err != nil {
			return 0, fmt.Errorf("%s: %w", row, err)
		}
		if err := d.Update("doc", fmt.Sprintf(`{"id":%q,"owner_id":"ann","title":null,"n":%d}`, id, n+1)); err != nil {
			return 0, err
		}
	}
	told := len(d.Conflicts())
	var err error
	for range 5 {
		err = d.Sync(ctx)
		var refusal *v1client.APIError
		if !errors.As(err, &refusal) || !refusal.Retryable {
			break
		}
	}
	if err != nil {
		return 0, err
	}
	return int64(len(keys) - (len(d.Conflicts()) - told)), nil
}

func nAt(row string) int {
	for i := range row {
		if i+4 <= len(row) && row[i:i+4] == `"n":` {
			return i + 4
		}
	}
	return 0
}

// write is a transaction of the application on some rows, in any order; a deadlock is its to repeat.
func (s *site) write(ctx context.Context) (int64, error) {
	keys := rand.Perm(counters)[:1+rand.IntN(3)]
	for {
		err := pgx.BeginFunc(ctx, s.db.Pool, func(tx pgx.Tx) error {
			for _, k := range keys {
				if _, err := tx.Exec(ctx, `UPDATE app.doc SET n = n + 1 WHERE id = $1`, fmt.Sprintf("d%d", k+1)); err != nil {
					return err
				}
			}
			return nil
		})
		var pgErr *pgconn.PgError
		if errors.As(err, &pgErr) && pgErr.Code == "40P01" {
			continue
		}
		return int64(len(keys)), err
	}
}

// All push upon the same base at the same moment: one is taken, and every other one is told.
func TestOfManyEditsOnOneBaseOneIsTaken(t *testing.T) {
	t.Parallel()
	s := newSite(t, `INSERT INTO app.doc VALUES ('a', 'ann', NULL, 0)`, `SELECT tide.seal()`)
	const devices, rounds = 16, 6
	all := make([]*v1client.Device, devices)
	for i := range all {
		all[i] = s.attached(t, "ann")
	}
	for round := range rounds {
		var group sync.WaitGroup
		for i, d := range all {
			group.Go(func() {
				n := round*100 + i + 1
				if err := d.Update("doc", fmt.Sprintf(`{"id":"a","owner_id":"ann","title":null,"n":%d}`, n)); err != nil {
					t.Error(err)
				}
				if err := d.Push(t.Context()); err != nil {
					t.Error(err)
				}
			})
		}
		group.Wait()
		for _, d := range all {
			must(t, d.Pull(t.Context()))
			s.same(t, "ann", d)
		}
	}
	pushed, told := int64(0), 0
	for _, d := range all {
		pushed += d.NextBundle() - 1
		told += len(d.Conflicts())
	}
	if pushed != rounds || told != rounds*(devices-1) {
		t.Errorf("of %d edits in %d rounds %d were taken and %d told", rounds*devices, rounds, pushed, told)
	}
}

// Hundreds at once, devices and sessions of the application, upon the same rows and the same base. A
// push sets the last digits of what it saw, the application adds above them: so every row tells how
// often each of them changed it, and a change that overwrote another is missing.
func TestHundredsAtOnceOnOneBase(t *testing.T) {
	t.Parallel()
	const pushes, sessions, rows, step = 150, 100, 5, 1000
	s := newSite(t, fmt.Sprintf(`INSERT INTO app.doc SELECT 'd' || g, 'ann', NULL, 0 FROM generate_series(1, %d) AS g`, rows), `SELECT tide.seal()`, soon)
	s.db.Reset()
	base := s.attached(t, "ann").LastSeq()
	var pushed, written [rows]atomic.Int64
	var taken, told atomic.Int64
	var group sync.WaitGroup
	for i := range pushes {
		group.Go(func() {
			var body strings.Builder
			keys := rand.Perm(rows)[:3]
			for j, k := range keys {
				fmt.Fprintf(&body, `%s{"schema":"app","table":"doc","key":{"id":"d%d"},"op":"UPDATE","base_row_version":%d,"payload":{"n":1}}`, []string{"", ",", ","}[j], k+1, base)
			}
			d := caller{s: s, token: token(t, "ann"), source: fmt.Sprintf("device %d", i)}
			for {
				switch status, answer := d.send(t, "POST", "/sync/push", `{"source_bundle_id":1,"rows":[`+body.String()+`]}`); status {
				case 200:
					taken.Add(1)
					for _, k := range keys {
						pushed[k].Add(1)
					}
				case 409:
					told.Add(1)
				case 429, 503: // too many at once, or a deadlock: the same again
					time.Sleep(20 * time.Millisecond)
					continue
				default:
					t.Errorf("%d %s", status, answer)
				}
				return
			}
		})
	}
	for range sessions {
		group.Go(func() {
			keys := rand.Perm(rows)[:2]
			for {
				err := pgx.BeginFunc(t.Context(), s.db.Pool, func(tx pgx.Tx) error {
					for _, k := range keys {
						if _, err := tx.Exec(t.Context(), `UPDATE app.doc SET n = n + $2 WHERE id = $1`, fmt.Sprintf("d%d", k+1), step); err != nil {
							return err
						}
					}
					return nil
				})
				var pgErr *pgconn.PgError
				if errors.As(err, &pgErr) && pgErr.Code == "40P01" {
					continue
				}
				if err != nil {
					t.Error(err)
					return
				}
				for _, k := range keys {
					written[k].Add(1)
				}
				return
			}
		})
	}
	group.Wait()
	for k := range rows {
		n := value[int64](t, s, `SELECT n FROM app.doc WHERE id = $1`, fmt.Sprintf("d%d", k+1))
		if want := written[k].Load()*step + pushed[k].Load(); n != want || pushed[k].Load() > 1 {
			t.Errorf("row %d is %d: the application changed it %d times, devices %d times", k+1, n, written[k].Load(), pushed[k].Load())
		}
	}
	if taken.Load()+told.Load() != pushes || told.Load() == 0 {
		t.Errorf("of %d pushes %d were taken, %d told", pushes, taken.Load(), told.Load())
	}
	d := s.attached(t, "ann")
	s.same(t, "ann", d)
}
