package main

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"sync/atomic"
	"time"

	"github.com/pgtide/pgtide/client"
)

func init() {
	register(Case{
		Number: 11,
		Title:  "the Go client: a first sync, an offline write, requests",
		Limit:  "the same rows, or the same write, in a SQLite file that nothing syncs",
		Run:    clients,
	})
}

func clients(ctx context.Context, b *Bench) (err error) {
	folder, err := os.MkdirTemp("", "pgtide-bench")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(folder)) }()
	for _, rows := range b.Size.SnapshotRows {
		if err := firstSync(ctx, b, folder, rows); err != nil {
			return err
		}
	}
	return nil
}

// kept counts the requests of a client.
type kept struct {
	base     http.RoundTripper
	requests atomic.Int64
}

func (k *kept) RoundTrip(request *http.Request) (*http.Response, error) {
	k.requests.Add(1)
	return k.base.RoundTrip(request)
}

// syncedFiles opens SQLite files for user 1 of a front.
type syncedFiles struct {
	*front
	folder string
	number int
	wire   *kept
}

func (s *syncedFiles) open(ctx context.Context) (*client.Client, error) {
	token, err := s.token("1")
	if err != nil {
		return nil, err
	}
	s.number++
	return client.Open(ctx, filepath.Join(s.folder, fmt.Sprintf("%d.db", s.number)), client.Config{
		URL: s.url, User: "1", HTTPClient: &http.Client{Transport: s.wire}, Token: func(context.Context) (string, error) { return token, nil }})
}

// firstSync measures how a new file gets all rows of its user, and then what one of them costs to use.
func firstSync(ctx context.Context, b *Bench, folder string, rows int) error {
	d, err := b.Database(ctx)
	if err != nil {
		return err
	}
	if err := createNoteTables(ctx, d); err != nil {
		return err
	}
	b.log("  writing %d rows", rows)
	if _, err := d.Exec(ctx, insertNotes(synced, 1, int64(rows), 1)); err != nil {
		return fmt.Errorf("fill: %w", err)
	}
	if err := registerNotes(ctx, d); err != nil {
		return err
	}
	if err := d.Settle(ctx); err != nil {
		return err
	}
	front, err := d.Front(ctx)
	if err != nil {
		return err
	}
	files := &syncedFiles{front: front, folder: filepath.Join(folder, fmt.Sprint(rows)), wire: &kept{base: front.client.Transport}}
	if err := os.Mkdir(files.folder, 0o700); err != nil {
		return err
	}
	used, err := files.open(ctx)
	if err != nil {
		return err
	}
	err = used.Sync(ctx)
	if err == nil {
		_, err = used.DB().ExecContext(ctx, `CREATE TABLE bare (note_id INTEGER PRIMARY KEY, owner_id INTEGER, title TEXT, body TEXT, done INTEGER, amount TEXT, updated_at TEXT); INSERT INTO bare SELECT * FROM note LIMIT 1000`)
	}
	if err == nil {
		err = b.Compare(ctx, append([]Comparison{files.first(rows), requestsOf(d, files, used)}, offlineWrites(used)...)...)
	}
	return errors.Join(err, used.Close())
}

func (s *syncedFiles) first(rows int) Comparison {
	return Comparison{
		Variant: fmt.Sprintf("first sync of %d rows", rows),
		Subject: func(ctx context.Context, t *Trial) (err error) {
			c, err := s.open(ctx)
			if err != nil {
				return err
			}
			defer func() { err = errors.Join(err, c.Close()) }()
			t.Rows += int64(rows)
			if err := t.Measure(ctx, func() error { return c.Sync(ctx) }); err != nil {
				return err
			}
			var n int
			if err := c.DB().QueryRowContext(ctx, `SELECT count(*) FROM note`).Scan(&n); err != nil || n < rows { // those that the other device wrote come as well
				return errors.Join(err, fmt.Errorf("of %d rows %d came", rows, n))
			}
			return nil
		},
		Limit: func(ctx context.Context, t *Trial) (err error) {
			s.number++
			db, err := sql.Open("sqlite", filepath.Join(s.folder, fmt.Sprintf("%d.db", s.number))+"?_pragma=journal_mode(WAL)")
			if err != nil {
				return err
			}
			defer func() { err = errors.Join(err, db.Close()) }()
			t.Rows += int64(rows)
			return t.Measure(ctx, func() error { return insertBare(ctx, db, rows) })
		},
		LimitName: "inserting them into SQLite by a prepared statement",
	}
}

func insertBare(ctx context.Context, db *sql.DB, rows int) error {
	tx, err := db.BeginTx(ctx, nil)
	if err != nil {
		return err
	}
	defer tx.Rollback() //nolint:errcheck // It is committed, or its error is told.
	if _, err := tx.ExecContext(ctx, `CREATE TABLE note (note_id INTEGER PRIMARY KEY, owner_id INTEGER, title TEXT, body TEXT, done INTEGER, amount TEXT, updated_at TEXT)`); err != nil {
		return err
	}
	insert, err := tx.PrepareContext(ctx, `INSERT INTO note VALUES (?, ?, ?, ?, ?, ?, ?)`)
	if err != nil {
		return err
	}
	for n := range rows {
		if _, err := insert.ExecContext(ctx, n, 1, "note", fmt.Sprintf("%096d", n), 0, "12.50", "2026-01-02T03:04:05.678+00:00"); err != nil {
			return err
		}
	}
	return tx.Commit()
}

// requestsOf counts what a device asks for when it and somebody else wrote a row.
func requestsOf(d *Database, files *syncedFiles, c *client.Client) Comparison {
	return Comparison{
		Variant: "requests of a Sync that pushes one row and pulls another",
		Metric:  Metric{Unit: "requests", LowerIsBetter: true, Of: func(t *Trial) float64 { return t.Value }},
		Subject: func(ctx context.Context, t *Trial) error {
			if err := c.Sync(ctx); err != nil { // what was written offline
				return err
			}
			if _, err := d.Exec(ctx, `UPDATE bench.note SET done = NOT done WHERE note_id = 2`); err != nil {
				return err
			}
			if _, err := d.Exec(ctx, `SELECT tide.seal()`); err != nil {
				return err
			}
			if _, err := c.DB().ExecContext(ctx, `UPDATE note SET title = title || '.' WHERE note_id = 1`); err != nil {
				return err
			}
			before := files.wire.requests.Load()
			err := t.Measure(ctx, func() error { return c.Sync(ctx) })
			t.Rows, t.Value = 2, float64(files.wire.requests.Load()-before)
			return err
		},
	}
}

// offlineWrites are transactions of one row, as an application writes them, in a synced table and in one that is not.
func offlineWrites(c *client.Client) (comparisons []Comparison) {
	next := 1 << 40
	writing := func(table, statement string, prepared bool) Contender {
		return func(ctx context.Context, t *Trial) error {
			run := func(args ...any) error {
				_, err := c.DB().ExecContext(ctx, fmt.Sprintf(statement, table), args...)
				return err
			}
			if prepared {
				s, err := c.DB().PrepareContext(ctx, fmt.Sprintf(statement, table))
				if err != nil {
					return err
				}
				defer s.Close() //nolint:errcheck // Nothing hangs on it.
				run = func(args ...any) error {
					_, err := s.ExecContext(ctx, args...)
					return err
				}
			}
			const writes = 200
			t.Rows += writes
			return t.Measure(ctx, func() error {
				for range writes {
					next++
					began := time.Now()
					if err := run(next); err != nil {
						return err
					}
					t.Latencies = append(t.Latencies, time.Since(began))
				}
				return nil
			})
		}
	}
	const insert = `INSERT INTO %s (note_id, owner_id, title, body, done, amount) VALUES (?, 1, 'note', 'a text that somebody wrote on a train', 0, '12.50')`
	const update = `UPDATE %s SET title = 'changed ' || ?1 WHERE note_id = 1 + ?1 %% 1000`
	for _, w := range []struct {
		name, statement string
		prepared        bool
	}{{"inserts, prepared", insert, true}, {"inserts", insert, false}, {"updates, prepared", update, true}, {"updates", update, false}} {
		comparisons = append(comparisons, Comparison{
			Variant: "offline " + w.name, Metric: Latency, LimitName: "in a table that is not synced",
			Subject: writing("note", w.statement, w.prepared), Limit: writing("bare", w.statement, w.prepared),
		})
	}
	return comparisons
}
