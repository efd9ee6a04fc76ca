package buckettest

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

	"github.com/pgtide/pgtide/internal/pgtest"
)

// At every seal each bucket holds exactly what plain SQL says, in the snapshot of that seal, whatever
// twelve writers do at the same time.
func TestBucketsAreWhatTheRulesSayAtEverySeal(t *testing.T) {
	t.Parallel()
	db := newSite(t)
	seed := time.Now().UnixNano()
	t.Logf("seed %d", seed)
	ctx, done := context.WithTimeout(t.Context(), 12*time.Second)
	defer done()
	var writers sync.WaitGroup
	for w := range 12 {
		random := rand.New(rand.NewPCG(uint64(seed), uint64(w)))
		writers.Go(func() {
			for ctx.Err() == nil {
				if err := write(ctx, db, random); err != nil && !passing(err) {
					t.Errorf("writer %d: %v", w, err)
					return
				}
			}
		})
	}
	seals := 0
	for ctx.Err() == nil && !t.Failed() {
		if err := sealAndCompare(t, db); err != nil {
			t.Error(err)
		}
		seals++
	}
	done()
	writers.Wait()
	if err := sealAndCompare(t, db); err != nil {
		t.Error(err)
	}
	var bundles, moves int
	if err := db.QueryRow(t.Context(), `SELECT (SELECT count(DISTINCT bundle_id) FROM tide.bundle_log), (SELECT count(*) FROM tide.change_log WHERE op = 'M')`).Scan(&bundles, &moves); err != nil {
		t.Fatal(err)
	}
	t.Logf("%d seals, %d bundles, %d rows moved", seals, bundles, moves)
	if moves == 0 {
		t.Error("no row moved because of another table: nothing was tried")
	}
}

// sealAndCompare seals in a transaction that shows exactly what the seal saw.
func sealAndCompare(t *testing.T, db *pgtest.DB) error {
	return pgx.BeginTxFunc(t.Context(), db, pgx.TxOptions{IsoLevel: pgx.RepeatableRead}, func(tx pgx.Tx) error {
		if _, err := tx.Exec(t.Context(), `SELECT tide.seal()`); err != nil {
			return fmt.Errorf("seal: %w", err)
		}
		var found []string
		if err := tx.QueryRow(t.Context(), differences).Scan(&found); err != nil {
			return fmt.Errorf("compare: %w", err)
		}
		if len(found) > 0 {
			var seal string
			if err := tx.QueryRow(t.Context(), `SELECT format('seal %s of %s', seal_id, snap) FROM tide.seal_log ORDER BY seal_id DESC LIMIT 1`).Scan(&seal); err != nil {
				return err
			}
			return fmt.Errorf("%s: %q", seal, found)
		}
		return nil
	})
}

// write is one transaction of one to six statements, some of them held open for a while.
func write(ctx context.Context, db *pgtest.DB, random *rand.Rand) error {
	tx, err := db.Begin(ctx)
	if err != nil {
		return err
	}
	defer func() { _ = tx.Rollback(context.WithoutCancel(ctx)) }() // it was committed, or is to be forgotten
	for range 1 + random.IntN(6) {
		if _, err := tx.Exec(ctx, statements[random.IntN(len(statements))], id(random), id(random), user(random)); err != nil {
			return err
		}
		if random.IntN(10) == 0 {
			time.Sleep(time.Duration(random.IntN(60)) * time.Millisecond)
		}
	}
	if random.IntN(12) == 0 {
		return nil
	}
	return tx.Commit(ctx)
}

func id(random *rand.Rand) int      { return 1 + random.IntN(25) }
func user(random *rand.Rand) string { return [...]string{"ann", "bob", "cid", "dan"}[random.IntN(4)] }

// $1 and $2 are ids, $3 is a user; a row that cannot be referred to is NULL.
var statements = []string{
	`INSERT INTO project SELECT $1::int, nullif($3::text, 'dan'), $2::int::text ON CONFLICT (id) DO UPDATE SET title = excluded.title`,
	`UPDATE project SET owner = nullif($3::text, 'dan') WHERE id = $1::int AND $2::int > 0`,
	`DELETE FROM project WHERE id = $1::int AND $2::int < 8 AND $3::text <> ''`,
	`INSERT INTO folder SELECT $1::int, (SELECT id FROM folder WHERE id = $2::int AND id <> $1::int), (SELECT id FROM project WHERE id = $2::int), $3::text ON CONFLICT (id) DO UPDATE SET title = excluded.title`,
	`UPDATE folder SET parent_id = (SELECT id FROM folder WHERE id = $2::int), title = $3::text WHERE id = $1::int`,
	`UPDATE folder SET project_id = (SELECT id FROM project WHERE id = $2::int), title = $3::text WHERE id = $1::int`,
	`DELETE FROM folder WHERE id = $1::int AND $2::int < 4 AND $3::text <> ''`,
	`INSERT INTO doc SELECT $1::int, (SELECT id FROM folder WHERE id = $2::int), $3::text, 'd' ON CONFLICT (id) DO UPDATE SET title = excluded.title || $2::int`,
	`UPDATE doc SET author = $3::text WHERE id = $1::int AND $2::int > 0`,
	`UPDATE doc SET folder_id = (SELECT id FROM folder WHERE id = $2::int) WHERE id = $1::int AND $3::text <> ''`,
	`UPDATE doc SET deleted_at = CASE WHEN $2::int < 8 THEN now() END WHERE id = $1::int AND $3::text <> ''`,
	`DELETE FROM doc WHERE id = $1::int AND $2::int < 6 AND $3::text <> ''`,
	`INSERT INTO comment SELECT $1::int, d.id, $3::text FROM doc AS d WHERE d.id = $2::int ON CONFLICT (id) DO UPDATE SET title = excluded.title`,
	`UPDATE comment SET doc_id = d.id, title = $3::text FROM doc AS d WHERE d.id = $2::int AND comment.id = $1::int`,
	`UPDATE comment SET id = $2::int WHERE id = $1::int AND $3::text <> '' AND NOT EXISTS (SELECT FROM comment WHERE id = $2::int)`,
	`DELETE FROM comment WHERE id = $1::int AND $2::int < 12 AND $3::text <> ''`,
	`INSERT INTO team SELECT $1::int % 5, $3::text WHERE $2::int > 0 ON CONFLICT (id) DO UPDATE SET org = excluded.org`,
	`INSERT INTO share SELECT d.id, t.id, $3::text FROM doc AS d, team AS t WHERE d.id = $1::int AND t.id = $2::int % 5 ON CONFLICT DO NOTHING`,
	`UPDATE share SET doc_id = d.id FROM doc AS d WHERE d.id = $2::int AND share.doc_id = $1::int AND $3::text <> '' AND NOT EXISTS (SELECT FROM share AS o WHERE o.doc_id = d.id)`,
	`UPDATE share SET note = $3::text WHERE doc_id = $1::int AND $2::int > 0`,
	`DELETE FROM share WHERE doc_id = $1::int AND $2::int < 12 AND $3::text <> ''`,
	`INSERT INTO paper SELECT $1::int, d.id, $3::text FROM doc AS d WHERE d.id = $2::int ON CONFLICT (id) DO UPDATE SET title = excluded.title`,
	`UPDATE paper SET doc_id = d.id FROM doc AS d WHERE d.id = $2::int AND paper.id = $1::int AND $3::text <> ''`,
	`DELETE FROM paper WHERE id = $1::int AND $2::int < 12 AND $3::text <> ''`,
}

// passing are failures that writers of an application live with.
func passing(err error) bool {
	var refused *pgconn.PgError
	return errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded) ||
		errors.As(err, &refused) && (refused.Code == "40P01" || refused.Code[:2] == "23" || refused.Code == "57014")
}
