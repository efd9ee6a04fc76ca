package main

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"github.com/jackc/pgx/v5/pgconn"
)

// mix is what share of a bundle's rows is inserted, updated and deleted, and how often a bundle is sent
// upon an outdated version first: each so many times, 0 for never.
type mix struct {
	insert, update, delete float64
	conflict               int
}

func (m mix) String() string {
	switch {
	case m.insert == 1:
		return "insert"
	case m.update == 1:
		return "update"
	case m.delete == 1:
		return "delete"
	}
	return "mixed"
}

// pusher sends bundles of one user's rows somewhere, and keeps what a device would know of them.
type pusher struct {
	to     receiver
	mix    mix
	per    int
	lastID *atomic.Int64
	known  []known // rows that are there
	next   int     // the one that is updated next
	sent   int

	text        []byte
	rows, bytes int64
	latencies   []time.Duration
}

// known row, and the version a device has of it.
type known struct{ id, version int64 }

// receiver of bundles: a device, or a session of psql.
type receiver interface {
	// push applies the JSON array of rows; accepted is false when they met a conflict.
	push(ctx context.Context, rows []byte) (seq int64, accepted bool, err error)
}

// preload inserts rows, in several bundles.
func (u *pusher) preload(ctx context.Context) error {
	wanted := u.mix
	u.mix = mix{insert: 1}
	defer func(per int) { u.mix, u.per = wanted, per }(u.per)
	// The version of the first is one that all others are newer than.
	for _, u.per = range []int{1, preloaded / 2, preloaded / 2} {
		if err := u.bundle(ctx); err != nil {
			return fmt.Errorf("preload: %w", err)
		}
	}
	return nil
}

// prepare makes what a run deletes.
func (u *pusher) prepare(ctx context.Context) error {
	if u.mix.delete == 1 && len(u.known) < preloaded {
		if err := u.preload(ctx); err != nil {
			return err
		}
	}
	u.rows, u.bytes, u.latencies = 0, 0, nil
	return nil
}

// until pushes until the time is up, or nothing is left to delete.
func (u *pusher) until(ctx context.Context, deadline time.Time) error {
	for began := time.Now(); began.Before(deadline); {
		if u.mix.delete == 1 && len(u.known) <= u.per {
			return nil
		}
		if err := u.bundle(ctx); err != nil {
			return err
		}
		now := time.Now()
		u.latencies = append(u.latencies, now.Sub(began))
		began = now
	}
	return nil
}

// bundle pushes the next one.
func (u *pusher) bundle(ctx context.Context) error {
	u.sent++
	changes := u.changes()
	if u.mix.conflict > 0 && u.sent%u.mix.conflict == 0 {
		if err := u.conflict(ctx, changes); err != nil {
			return err
		}
	}
	u.encode(changes)
	seq, accepted, err := u.to.push(ctx, u.text)
	switch {
	case err != nil:
		return err
	case !accepted:
		return errors.New("a push that should not met a conflict")
	}
	u.learn(changes, seq)
	u.rows += int64(len(changes))
	u.bytes += int64(len(u.text))
	return nil
}

// conflict sends the bundle as a device would that has missed a change; for psql there is no such thing.
func (u *pusher) conflict(ctx context.Context, changes []change) error {
	if _, ok := u.to.(*device); !ok {
		return nil
	}
	outdated := append([]change(nil), changes...)
	for i, c := range outdated {
		if c.op == "UPDATE" {
			outdated[i].version = u.known[0].version
			break
		}
	}
	u.encode(outdated)
	_, accepted, err := u.to.push(ctx, u.text)
	if err == nil && accepted {
		err = errors.New("an outdated push was accepted")
	}
	return err
}

// change is one row of a bundle.
type change struct {
	op          string
	id, version int64
	row         int // which known one it is
}

// changes takes deleted rows from the end of what is known, and updated ones in turn, so that none is
// in a bundle twice. The first is kept for its version.
func (u *pusher) changes() []change {
	inserts, deletes := int(u.mix.insert*float64(u.per)), int(u.mix.delete*float64(u.per))
	updates := u.per - inserts - deletes
	changes := make([]change, 0, u.per)
	for range inserts {
		changes = append(changes, change{op: "INSERT", id: u.lastID.Add(1)})
	}
	end := len(u.known) - deletes
	for range updates {
		if u.next++; u.next >= end {
			u.next = 1
		}
		changes = append(changes, change{"UPDATE", u.known[u.next].id, u.known[u.next].version, u.next})
	}
	for i := end; i < len(u.known) && deletes > 0; i++ {
		changes = append(changes, change{"DELETE", u.known[i].id, u.known[i].version, i})
	}
	return changes
}

// learn what an accepted push did.
func (u *pusher) learn(changes []change, seq int64) {
	var inserted []known
	end := len(u.known)
	for _, c := range changes {
		switch c.op {
		case "INSERT":
			inserted = append(inserted, known{c.id, seq})
		case "UPDATE":
			u.known[c.row].version = seq
		case "DELETE":
			end--
		}
	}
	u.known = append(u.known[:end], inserted...)
}

// encode writes the rows as the wire has them.
func (u *pusher) encode(changes []change) {
	b := u.text[:0]
	b = append(b, '[')
	for i, c := range changes {
		if i > 0 {
			b = append(b, ',')
		}
		b = append(b, `{"schema":"bench","table":"note","key":{"note_id":"`...)
		b = strconv.AppendInt(b, c.id, 10)
		b = append(append(append(b, `"},"op":"`...), c.op...), `","base_row_version":`...)
		b = strconv.AppendInt(b, c.version, 10)
		b = append(b, `,"payload":`...)
		if c.op == "DELETE" {
			b = append(b, `null}`...)
			continue
		}
		b = strconv.AppendInt(append(b, `{"note_id":"`...), c.id, 10)
		b = strconv.AppendInt(append(b, `","title":"note `...), int64(u.sent), 10)
		b = append(append(b, `","body":"`...), body...)
		b = append(b, `","done":false,"amount":"12.34","updated_at":"2026-01-02T03:04:05.678Z"}}`...)
	}
	b = append(b, ']')
	u.text = b
}

// statements write the rows of a bundle in psql: one statement, with the JSON as it is pushed.
type statements struct {
	conn  *pgconn.PgConn
	owner int64
}

const (
	noteOfPayload = "json_to_record(r.payload) AS n (note_id bigint, title text, body text, done boolean, amount numeric, updated_at timestamptz)"
	insertPushed  = "INSERT INTO " + synced + " (note_id, owner_id, title, body, done, amount, updated_at) SELECT n.note_id, %d, n.title, n.body, n.done, n.amount, n.updated_at FROM pushed AS r CROSS JOIN LATERAL " + noteOfPayload + " WHERE r.op = 'INSERT'"
	updatePushed  = "UPDATE " + synced + " AS t SET title = n.title, body = n.body, done = n.done, amount = n.amount, updated_at = n.updated_at FROM pushed AS r CROSS JOIN LATERAL " + noteOfPayload + " WHERE r.op = 'UPDATE' AND t.note_id = n.note_id"
	deletePushed  = "DELETE FROM " + synced + " AS t USING pushed AS r WHERE r.op = 'DELETE' AND t.note_id = (r.key ->> 'note_id')::bigint"
)

func (s *statements) push(ctx context.Context, rows []byte) (seq int64, accepted bool, err error) {
	text := string(rows)
	var parts []string
	for op, statement := range map[string]string{"INSERT": fmt.Sprintf(insertPushed, s.owner), "UPDATE": updatePushed, "DELETE": deletePushed} {
		if strings.Contains(text, `"op":"`+op+`"`) {
			parts = append(parts, statement)
		}
	}
	sql := "WITH pushed AS (SELECT * FROM json_to_recordset('" + text + "') AS r (key json, op text, payload json))"
	for i, part := range parts[1:] {
		sql += fmt.Sprintf(", part_%d AS (%s)", i, part)
	}
	results, err := s.conn.Exec(ctx, sql+" "+parts[0]).ReadAll()
	if err == nil && len(results) != 1 {
		err = errors.New("the statement has no result")
	}
	return 0, true, err
}
