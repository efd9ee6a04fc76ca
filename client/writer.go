package client

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
)

// writer is one transaction of this package.
type writer struct {
	c     *Client
	ctx   context.Context
	tx    *sql.Tx
	state state
	shape
	// prepared statements live as long as the transaction.
	prepared map[string]*sql.Stmt
	sets     map[string]int64
	held     map[string]bool // buckets, whether the device holds them
	dirty    bool            // there are local changes at all
	page     touched
	changed  map[int64]bool // tables of the application that were written
}

// state is what _tide_state says.
type state struct {
	user, source, cursor, pushed, initialization, version, bundle string
	connected                                                     bool
	next, shape                                                   int64
	attempted                                                     bool
}

// write runs f in a transaction that no other connection can be in beside it: SQLite has one writer, so
// what an application commits is seen whole or not at all.
func (c *Client) write(ctx context.Context, f func(*writer) error) (err error) {
	tx, err := c.own.BeginTx(ctx, nil)
	if err != nil {
		return err
	}
	w := &writer{c: c, ctx: ctx, tx: tx, shape: *c.shape.Load(), prepared: map[string]*sql.Stmt{}, sets: map[string]int64{}, held: map[string]bool{}, changed: map[int64]bool{}}
	if err := f(w); err != nil {
		return errors.Join(err, ignoreDone(tx.Rollback()))
	}
	if err := tx.Commit(); err != nil {
		return err
	}
	if now := w.shape; now.number > c.shape.Load().number {
		c.shape.Store(&now)
	}
	c.tell(w.changed)
	return nil
}

// ignoreDone passes over that a transaction ended with its context.
func ignoreDone(err error) error {
	if errors.Is(err, sql.ErrTxDone) {
		return nil
	}
	return err
}

// transact is write with the state read, for what follows an answer of the server. The file may have been detached
// meanwhile, here or by another process, and be another user's by now.
func (c *Client) transact(ctx context.Context, f func(*writer) error) error {
	return c.write(ctx, func(w *writer) error {
		if err := w.readState(); err != nil {
			return err
		}
		if w.state.user != c.config.User {
			return fmt.Errorf("client: %w, or nobody's: it was detached while %s had it open. Close it, and open it anew", ErrOtherUser, c.config.User)
		}
		return f(w)
	})
}

func (w *writer) readState() error {
	s := &w.state
	err := w.tx.QueryRowContext(w.ctx, `
		SELECT user_id, source_id, cursor, pushed, initialization_id, connected, next_bundle, bundle_uuid, shape, schema_version, attempted, EXISTS (SELECT 1 FROM _tide_dirty) FROM _tide_state`).
		Scan(&s.user, &s.source, &s.cursor, &s.pushed, &s.initialization, &s.connected, &s.next, &s.bundle, &s.shape, &s.version, &s.attempted, &w.dirty)
	if err != nil || s.shape == w.number {
		return err
	}
	return w.loadTables() // another process made them, or this one before
}

func (w *writer) stmt(query string) (*sql.Stmt, error) {
	if s := w.prepared[query]; s != nil {
		return s, nil
	}
	s, err := w.tx.PrepareContext(w.ctx, query)
	if err == nil {
		w.prepared[query] = s
	}
	return s, err
}

func (w *writer) exec(query string, args ...any) error {
	s, err := w.stmt(query)
	if err == nil {
		_, err = s.ExecContext(w.ctx, args...)
	}
	return err
}

// get scans one row, and says whether there is one.
func (w *writer) get(query string, args []any, into ...any) (bool, error) {
	s, err := w.stmt(query)
	if err != nil {
		return false, err
	}
	err = s.QueryRowContext(w.ctx, args...).Scan(into...)
	if errors.Is(err, sql.ErrNoRows) {
		return false, nil
	}
	return err == nil, err
}

// all collects rows before anything else is done with the connection.
func all[T any](w *writer, scan func(func(...any) error) (T, error), query string, args ...any) (list []T, err error) {
	rows, err := w.tx.QueryContext(w.ctx, query, args...)
	if err != nil {
		return nil, err
	}
	defer rows.Close() //nolint:errcheck // Err says it.
	for rows.Next() {
		one, err := scan(rows.Scan)
		if err != nil {
			return nil, err
		}
		list = append(list, one)
	}
	return list, rows.Err()
}

// applying runs f while the triggers look away.
func (w *writer) applying(f func() error) error {
	if err := w.exec(`UPDATE _tide_state SET applying = 1`); err != nil {
		return err
	}
	if err := f(); err != nil {
		return err
	}
	return w.exec(`UPDATE _tide_state SET applying = 0`)
}

// errUnderWay ends a step that would take rows of the server while another process pushes.
var errUnderWay = errors.New("a push is under way")

// taking is applying for rows of the server. It is refused while a push is under way: until the outcome of that is
// known nobody can say what a row of the server means for the row here.
func (w *writer) taking(f func() error) error {
	under, err := w.get(`SELECT 1 FROM _tide_outbox LIMIT 1`, nil, new(int))
	if err != nil {
		return err
	}
	if under {
		return errUnderWay
	}
	return w.applying(f)
}

func (w *writer) readImage(t *table, key string) (image, error) {
	i := make(image, len(t.spec.Columns))
	into := make([]any, len(i))
	for n := range i {
		into[n] = &i[n]
	}
	found, err := w.get(t.read, t.keyValues(key), into...)
	if !found {
		return nil, err
	}
	return i.scanned(), nil
}

// put writes a row of which some columns may be absent.
func (w *writer) put(t *table, i image) error {
	columns, values := make([]string, 0, len(i)), make([]any, 0, len(i))
	for n, v := range i {
		if _, lacks := v.(absent); !lacks {
			columns, values = append(columns, t.spec.Columns[n].Name), append(values, v)
		}
	}
	w.changed[t.id] = true
	return w.exec(t.put(columns), values...)
}

func (w *writer) remove(t *table, key string) error {
	w.changed[t.id] = true
	return w.exec(t.remove, t.keyValues(key)...)
}

// setOfText is setOf for what stands in an answer.
func (w *writer) setOfText(text string) (int64, error) {
	if id, ok := w.sets[text]; ok {
		return id, nil
	}
	var buckets []string
	if text != "" {
		if err := json.Unmarshal([]byte(text), &buckets); err != nil {
			return 0, err
		}
	}
	id, err := w.setOf(buckets)
	w.sets[text] = id
	return id, err
}

// setOf names a set of buckets, of which those count that the device holds.
func (w *writer) setOf(buckets []string) (int64, error) {
	text, err := json.Marshal(buckets)
	if err != nil {
		return 0, err
	}
	if id, ok := w.sets[string(text)]; ok {
		return id, nil
	}
	kept := []string{}
	for _, bucket := range buckets {
		holds, known := w.held[bucket]
		if !known {
			if holds, err = w.get(`SELECT 1 FROM _tide_bucket WHERE name = ?`, []any{bucket}, new(int)); err != nil {
				return 0, err
			}
			w.held[bucket] = holds
		}
		if holds {
			kept = append(kept, bucket)
		}
	}
	slices.Sort(kept)
	keptText, err := json.Marshal(kept)
	if err != nil {
		return 0, err
	}
	var id int64
	if err := w.exec(`INSERT INTO _tide_set (names) VALUES (?) ON CONFLICT DO NOTHING`, string(keptText)); err != nil {
		return 0, err
	}
	_, err = w.get(`SELECT buckets FROM _tide_set WHERE names = ?`, []any{string(keptText)}, &id)
	w.sets[string(text)] = id
	return id, err
}
