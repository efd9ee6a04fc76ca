package cursortest

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/pgtide/pgtide/internal/cursorclient"
	"github.com/pgtide/pgtide/internal/cursorserver"
	"github.com/pgtide/pgtide/internal/pgtest"
)

// Rows in several buckets, moving and going, children that follow them, access that comes and goes, several
// writers and sealers, devices that are away for long, that lose answers and go back to older copies of
// themselves: after each quiet point each device holds what one query says that its user may see.
func TestDevicesEqualTheirQuery(t *testing.T) {
	t.Parallel()
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	db := setup(t)
	web := front(t, db)
	users := []string{"1", "2", "3"}
	fleet := map[*cursorclient.Device]string{}
	for i, user := range users {
		fleet[device(db, user, "sql")] = user
		fleet[cursorclient.New(cursorserver.OverHTTP(web, user, "http", 3*(i%2), i > 0))] = user
	}
	rounds := 8
	if testing.Short() {
		rounds = 3
	}
	for round := range rounds {
		disturb(t, db, fleet, rand.New(rand.NewPCG(seed, uint64(round))))
		exec(t, db, `SELECT tide.seal()`)
		for d, user := range fleet {
			d.MaxBundles = 1 + round*round
			if err := d.Sync(t.Context()); err != nil {
				t.Fatalf("round %d: device of %s: %v", round, user, err)
			}
			holds(t, db, d, user)
		}
		if t.Failed() {
			t.Fatalf("round %d", round)
		}
	}
}

// disturb lets writers write and some devices do some of what they should, all at the same time.
func disturb(t *testing.T, db *pgtest.DB, fleet map[*cursorclient.Device]string, random *rand.Rand) {
	t.Helper()
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	var writers, others sync.WaitGroup
	for w := range 3 {
		own := rand.New(rand.NewPCG(random.Uint64(), uint64(w)))
		writers.Go(func() {
			for range 12 {
				if err := write(db, own); err != nil {
					t.Error(err)
				}
			}
		})
	}
	others.Go(func() {
		for ctx.Err() == nil {
			if _, err := db.Exec(context.WithoutCancel(ctx), `SELECT tide.seal()`); err != nil {
				t.Error(err)
			}
			time.Sleep(5 * time.Millisecond)
		}
	})
	for d, user := range fleet {
		if random.IntN(2) == 0 {
			continue // away
		}
		own := rand.New(rand.NewPCG(random.Uint64(), 7))
		others.Go(func() {
			for ctx.Err() == nil {
				if err := wander(ctx, d, own); err != nil && ctx.Err() == nil {
					t.Errorf("device of %s: %v", user, err)
					return
				}
			}
		})
	}
	writers.Wait()
	stop()
	others.Wait()
}

// wander does a step, of which the answer may be lost, or goes back to an older copy.
func wander(ctx context.Context, d *cursorclient.Device, random *rand.Rand) error {
	before := d.Copy()
	d.MaxBundles = 1 + random.IntN(5)
	var err error
	switch missing := d.Missing(); {
	case len(missing) > 1 && random.IntN(2) == 0:
		err = d.Fetch(ctx, missing[:1+random.IntN(len(missing)-1)])
		var refusal *cursorclient.Refusal
		if errors.As(err, &refusal) && refusal.Code == "bucket_forbidden" {
			err = d.Connect(ctx)
		}
	case len(missing) > 0 && d.Cursor != "" && random.IntN(3) == 0:
		_, err = d.Pull(ctx) // first, and fetches later
	default:
		_, err = d.Step(ctx)
	}
	if err != nil || random.IntN(3) == 0 {
		*d = *before
	}
	return err
}

var letters = []string{"a", "b", "c", "d", "e", "user:1", "user:2", "global"}

// write is one transaction, now and then one that stays open for a while.
func write(db *pgtest.DB, random *rand.Rand) error {
	ctx := context.Background()
	err := pgx.BeginFunc(ctx, db, func(tx pgx.Tx) error {
		for range 1 + random.IntN(3) {
			id, some := 1+random.IntN(25), "{"
			for i, n := 0, random.IntN(4); i < n; i++ {
				if i > 0 {
					some += ","
				}
				some += letters[random.IntN(len(letters))]
			}
			some += "}"
			user, letter := 1+random.IntN(3), letters[random.IntN(5)]
			statement := []string{
				fmt.Sprintf(`INSERT INTO app.item (id, buckets) VALUES (%d, '%s') ON CONFLICT (id) DO UPDATE SET buckets = excluded.buckets, n = app.item.n + 1`, id, some),
				fmt.Sprintf(`UPDATE app.item SET n = n + 1 WHERE id %% 5 = %d`, id%5),
				fmt.Sprintf(`UPDATE app.item SET buckets = '%s' WHERE id = %d`, some, id),
				fmt.Sprintf(`DELETE FROM app.item WHERE id = %d`, id),
				fmt.Sprintf(`INSERT INTO app.comment SELECT %d, 0, id FROM app.item WHERE id = %d ON CONFLICT (id) DO UPDATE SET item_id = excluded.item_id`, 1+random.IntN(40), id),
				fmt.Sprintf(`UPDATE app.comment SET n = n + 1 WHERE id %% 7 = %d`, id%7),
				fmt.Sprintf(`INSERT INTO app.note VALUES (%d, 0, nullif(%d, 3)) ON CONFLICT (id) DO UPDATE SET owner_id = excluded.owner_id, n = app.note.n + 1`, id, user),
				fmt.Sprintf(`INSERT INTO app.access VALUES ('%d', '%s') ON CONFLICT DO NOTHING`, user, letter),
				fmt.Sprintf(`INSERT INTO app.access VALUES ('%d', '%s') ON CONFLICT DO NOTHING`, user, letters[random.IntN(len(letters))]),
				fmt.Sprintf(`DELETE FROM app.access WHERE user_id = '%d' AND bucket = '%s'`, user, letter),
			}[random.IntN(10)]
			if _, err := tx.Exec(ctx, statement); err != nil {
				return err
			}
		}
		if random.IntN(4) == 0 {
			time.Sleep(time.Duration(random.IntN(60)) * time.Millisecond)
		}
		return nil
	})
	var pgErr *pgconn.PgError
	if errors.As(err, &pgErr) && (pgErr.Code == "40P01" || pgErr.Code == "23503" || pgErr.Code == "23505") {
		return nil // of two transactions that wait for each other one gives up; a parent went
	}
	return err
}
