package client

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/google/uuid"
)

// change is a key that was written here.
type change struct {
	seq  int64
	tab  int64
	key  string
	base *string
	gone int64
	seed bool
}

func scanChange(scan func(...any) error) (c change, err error) {
	return c, scan(&c.seq, &c.tab, &c.key, &c.base)
}

// freeze makes one push of all that was written and does not wait, and says whether there is one. A local
// transaction is in it whole: nobody else can write meanwhile.
func (w *writer) freeze() (bool, error) {
	waits, err := w.waiting()
	if err != nil {
		return false, err
	}
	// Rows that were there before anything was captured are of no transaction: many go in several pushes,
	// parents first, before all others.
	part := `ORDER BY seq`
	many, err := w.get(`SELECT 1 FROM _tide_dirty WHERE held IS NULL AND seed = 1 LIMIT 1 OFFSET ?`, []any{w.c.config.MaxRowsPerSeed}, new(int))
	if err != nil {
		return false, err
	}
	if many {
		part = fmt.Sprintf(`AND seed = 1 ORDER BY tab, seq LIMIT %d`, w.c.config.MaxRowsPerSeed)
	}
	changes, err := all(w, func(scan func(...any) error) (c change, err error) {
		return c, scan(&c.seq, &c.tab, &c.key, &c.base, &c.gone, &c.seed)
	}, `SELECT seq, tab, key, base, gone, seed FROM _tide_dirty WHERE held IS NULL `+part)
	if err != nil {
		return false, err
	}
	if err := w.exec(`UPDATE _tide_state SET looked = coalesce((SELECT max(seq) FROM _tide_dirty), 0)`); err != nil {
		return false, err
	}
	ordinal := 0
	for _, change := range changes {
		t := w.tables[change.tab]
		if t == nil || waits[keyName{change.tab, change.key}] {
			continue
		}
		row, err := w.wireRow(t, change)
		if err != nil {
			return false, err
		}
		if !utf8.Valid(row) || bytes.Contains(row, []byte(`\u0000`)) {
			if err := w.hold(change, Held{Code: "22021", Detail: "PostgreSQL takes no text that is not UTF-8, or has a NUL in it.", Sent: strings.ToValidUTF8(string(row), "\ufffd")}); err != nil {
				return false, err
			}
			continue
		}
		if row != nil {
			if err := w.exec(`INSERT INTO _tide_outbox (ordinal, tab, key, base, seed, row) VALUES (?, ?, ?, ?, ?, ?)`, ordinal, change.tab, change.key, change.base, change.seed, string(row)); err != nil {
				return false, err
			}
			ordinal++
		}
		if err := w.exec(`DELETE FROM _tide_dirty WHERE seq = ?`, change.seq); err != nil {
			return false, err
		}
	}
	return ordinal > 0, w.exec(`UPDATE _tide_state SET bundle_uuid = ?`, uuid.NewString())
}

type keyName struct {
	tab int64
	key string
}

// waiting are the keys that cannot go while rows they need were refused: children of a parent that the
// server does not have, and theirs.
func (w *writer) waiting() (map[keyName]bool, error) {
	held, err := all(w, scanChange, `
		SELECT d.seq, d.tab, d.key, d.base FROM _tide_dirty AS d LEFT JOIN _tide_row AS r ON r.tab = d.tab AND r.key = d.key
		 WHERE d.held IS NOT NULL AND r.key IS NULL`)
	waits := map[keyName]bool{}
	for len(held) > 0 && err == nil {
		var more []change
		for _, h := range held {
			t := w.tables[h.tab]
			if t == nil {
				continue
			}
			row, err := w.readImage(t, h.key)
			if err != nil {
				return nil, err
			}
			if row == nil {
				continue
			}
			for _, c := range t.children {
				values := make([]any, len(c.refs))
				for i, ref := range c.refs {
					values[i] = row[ref]
				}
				children, err := all(w, func(scan func(...any) error) (ch change, err error) {
					ch.tab = c.table.id
					return ch, scan(&ch.key)
				}, c.find, values...)
				if err != nil {
					return nil, err
				}
				for _, ch := range children {
					if name := (keyName{ch.tab, ch.key}); !waits[name] {
						waits[name] = true
						more = append(more, ch)
					}
				}
			}
		}
		held = more
	}
	return waits, err
}

// wireRow is a change as the server wants it, nil if there is none: it came and went, or was undone.
func (w *writer) wireRow(t *table, change change) ([]byte, error) {
	now, err := w.readImage(t, change.key)
	if err != nil {
		return nil, err
	}
	base, err := t.parseImage(change.base)
	if err != nil {
		return nil, err
	}
	version := change.gone // an insert stands on the deletion that it follows
	known, err := w.get(`SELECT version FROM _tide_row WHERE tab = ? AND key = ?`, []any{t.id, change.key}, &version)
	if err != nil {
		return nil, err
	}
	op, columns := "UPDATE", 0
	switch {
	case now == nil && !known, base.over(now).equal(now) && known:
		return nil, nil
	case now == nil:
		op = "DELETE"
	case !known:
		op = "INSERT"
	}
	b := append(appendString([]byte(`{"schema":`), t.spec.Schema), `,"table":`...)
	b = append(appendString(b, t.spec.Name), `,"key":`...)
	b = append(t.appendKey(b, change.key), `,"op":"`+op+`","base_row_version":`...)
	b = strconv.AppendInt(b, version, 10)
	if now == nil {
		return append(b, '}'), nil
	}
	b = append(b, `,"payload":{`...)
	for n, c := range t.spec.Columns {
		switch {
		case c.readOnly() || slices.Contains(t.key, n):
			continue
		case op == "INSERT" && now[n] == nil && (c.mayBeLeftOut() || c.Name == t.spec.OwnerColumn):
			continue
		case op == "UPDATE" && base != nil && (same(base[n], now[n]) || same(base[n], absent{})):
			continue
		}
		if columns++; columns > 1 {
			b = append(b, ',')
		}
		b = c.appendWire(append(appendString(b, c.Name), ':'), now[n])
	}
	if op == "UPDATE" && columns == 0 {
		// What the server alone writes was changed here: it comes back.
		return nil, w.applying(func() error { return w.put(t, base.over(now)) })
	}
	return append(b, '}', '}'), nil
}

// push is the outbox, ready to be sent.
type push struct {
	state
	rows []string
}

func (c *Client) outbox(ctx context.Context) (p push, err error) {
	return p, c.transact(ctx, func(w *writer) error {
		p.state = w.state
		p.rows, err = all(w, func(scan func(...any) error) (row string, err error) { return row, scan(&row) }, `SELECT row FROM _tide_outbox ORDER BY ordinal`)
		if err != nil || len(p.rows) == 0 {
			return err
		}
		return w.exec(`UPDATE _tide_state SET attempted = 1`)
	})
}

// send brings the outbox, if there is one, to the server and takes what it says. Conflicts are for the
// next pull to resolve.
func (c *Client) send(ctx context.Context) ([]serverConflict, error) {
	p, err := c.outbox(ctx)
	if err != nil || len(p.rows) == 0 {
		return nil, err
	}
	answer, err := c.post(ctx, p)
	for try := 0; try < 10 && overtaken(err); try++ {
		select {
		case <-ctx.Done():
			return nil, ctx.Err()
		case <-time.After(rand.N(100 * time.Millisecond)):
		}
		answer, err = c.post(ctx, p)
	}
	var refused *ServerError
	switch {
	case err == nil:
		return nil, c.accepted(ctx, p, answer)
	case !errors.As(err, &refused) || refused.Retryable:
		return nil, err
	}
	switch refused.Code {
	case "push_conflict", "push_rejected", "push_refused", "push_chunk_invalid", "bundle_limit_exceeded", "request_too_large", "push_commit_invalid", "invalid_request":
		return refused.Conflicts, c.returned(ctx, p, refused)
	case "source_sequence_out_of_order", "source_sequence_changed", "source_retired", "history_pruned":
		return nil, c.rotate(ctx, p.state, refused.Code)
	case "push_session_invalid", // the answer to a connect was lost: the server waits for the first data of this device
		"initialization_stale", "initialization_expired", "scope_uninitialized", "scope_initializing":
		return nil, c.settle(ctx, p, func(w *writer, _ []change) error {
			// It did not arrive, and rows of the server come before it goes again: they have to meet it.
			if err := w.thaw(); err != nil {
				return err
			}
			return w.exec(`UPDATE _tide_state SET connected = 0, initialization_id = ''`)
		})
	}
	return nil, err
}

// overtaken says whether another process that has the file open began to send the same push, which ends the
// session of this one.
func overtaken(err error) bool {
	var refused *ServerError
	return errors.As(err, &refused) && (refused.Code == "push_session_not_found" || refused.Code == "push_session_expired")
}

// post sends a push, in one request or in several.
func (c *Client) post(ctx context.Context, p push) (answer pushed, err error) {
	const small = 1 << 20
	size := 0
	for _, row := range p.rows {
		size += len(row)
	}
	whole := func(rows []string) error {
		return c.remote.do(ctx, p.source, http.MethodPost, "/sync/push", map[string]any{
			"source_bundle_id": p.next, "bundle_uuid": p.bundle, "initialization_id": p.initialization, "rows": raw(rows)}, &answer)
	}
	if len(p.rows) <= c.config.MaxRowsPerRequest && size <= small {
		return answer, whole(p.rows)
	}
	created := struct {
		Status string `json:"status"`
		PushID string `json:"push_id"`
	}{}
	begin := map[string]any{"source_bundle_id": p.next, "bundle_uuid": p.bundle, "planned_row_count": len(p.rows)}
	if p.initialization != "" {
		begin["initialization_id"] = p.initialization
	}
	if err := c.remote.do(ctx, p.source, http.MethodPost, "/sync/push-sessions", begin, &created); err != nil {
		return answer, err
	}
	if created.Status == "already_committed" {
		return answer, whole(p.rows[:1]) // tells what it has under this number, whatever is sent
	}
	path := "/sync/push-sessions/" + created.PushID
	for start := 0; start < len(p.rows); {
		end, size := start, 0
		for end < len(p.rows) && end-start < c.config.MaxRowsPerRequest && (end == start || size+len(p.rows[end]) <= small) {
			size += len(p.rows[end])
			end++
		}
		if err := c.remote.do(ctx, p.source, http.MethodPost, path+"/chunks", map[string]any{"start_row_ordinal": start, "rows": raw(p.rows[start:end])}, nil); err != nil {
			return answer, err
		}
		start = end
		c.config.Progress(Progress{"push", int64(start), int64(len(p.rows))})
	}
	return answer, c.remote.do(ctx, p.source, http.MethodPost, path+"/commit", nil, &answer)
}

func raw(rows []string) json.RawMessage { return json.RawMessage("[" + strings.Join(rows, ",") + "]") }

// settle runs f if the outbox is still the push that was sent: another process may have been faster.
func (c *Client) settle(ctx context.Context, p push, f func(w *writer, sent []change) error) error {
	return c.transact(ctx, func(w *writer) error {
		if w.state.next != p.next || w.state.source != p.source {
			return nil
		}
		sent, err := all(w, scanChange, `SELECT ordinal, tab, key, base FROM _tide_outbox ORDER BY ordinal`)
		if err != nil || len(sent) == 0 {
			return err
		}
		return f(w, sent)
	})
}

// accepted notes that the server has the rows, and takes them as they became there.
func (c *Client) accepted(ctx context.Context, p push, answer pushed) error {
	if answer.BundleID <= 0 {
		return fmt.Errorf("client: the server accepted push %d and says no bundle_id", p.next)
	}
	return c.settle(ctx, p, func(w *writer, sent []change) error {
		if err := w.exec(`DELETE FROM _tide_outbox`); err != nil {
			return err
		}
		if err := w.exec(`UPDATE _tide_state SET attempted = 0, next_bundle = next_bundle + 1, initialization_id = '', pushed = ?`, answer.Seal); err != nil {
			return err
		}
		for i, change := range sent {
			if bytes.Contains([]byte(p.rows[i]), []byte(`,"op":"DELETE"`)) {
				if err := w.exec(`DELETE FROM _tide_row WHERE tab = ? AND key = ?`, change.tab, change.key); err != nil {
					return err
				}
				continue
			}
			// Its buckets come with the row, here or with the next pull.
			none, err := w.setOf(nil)
			if err != nil {
				return err
			}
			if err := w.exec(`INSERT INTO _tide_row (tab, key, version, buckets) VALUES (?, ?, ?, ?) ON CONFLICT (tab, key) DO UPDATE SET version = excluded.version`,
				change.tab, change.key, answer.BundleID, none); err != nil {
				return err
			}
		}
		return w.taking(func() error {
			for _, row := range answer.Rows {
				in, err := w.read(row)
				if err != nil {
					return err
				}
				if in == nil {
					continue
				}
				in.own = true
				if err := w.apply(*in); err != nil {
					return err
				}
			}
			return w.finish()
		})
	})
}

// Held says why a change waits.
type Held struct {
	Code       string `json:"code"` // of the server, or the SQLSTATE
	Constraint string `json:"constraint,omitempty"`
	Column     string `json:"column,omitempty"`
	Detail     string `json:"detail,omitempty"`
	Sent       string `json:"sent"` // the row as it was sent
}

func (w *writer) hold(c change, why Held) error {
	text, err := json.Marshal(why)
	if err != nil {
		return err
	}
	return w.exec(`UPDATE _tide_dirty SET held = ? WHERE tab = ? AND key = ?`, string(text), c.tab, c.key)
}

// returned takes a push back that the server did not apply: its rows are local changes again. Those that
// were refused wait.
func (c *Client) returned(ctx context.Context, p push, refused *ServerError) error {
	return c.settle(ctx, p, func(w *writer, sent []change) error {
		if err := w.thaw(); err != nil {
			return err
		}
		hold := func(n int, why Held) error {
			why.Sent = p.rows[n]
			return w.hold(sent[n], why)
		}
		switch {
		case refused.Code == "push_conflict":
		case len(refused.Rejected) > 0:
			// A row that was refused for the lack of its parent, which was refused itself, only waits.
			const noParent = "23503"
			slices.SortStableFunc(refused.Rejected, func(a, b rejection) int {
				return cmp.Compare(strings.Count(a.SQLState, noParent), strings.Count(b.SQLState, noParent))
			})
			var waits map[keyName]bool
			for _, r := range refused.Rejected {
				if r.Ordinal < 0 || r.Ordinal >= len(sent) {
					return fmt.Errorf("client: the server refuses row %d of %d", r.Ordinal, len(sent))
				}
				if r.SQLState == noParent && waits == nil {
					var err error
					if waits, err = w.waiting(); err != nil {
						return err
					}
				}
				if waits[keyName{sent[r.Ordinal].tab, sent[r.Ordinal].key}] {
					continue
				}
				if err := hold(r.Ordinal, Held{Code: r.SQLState, Constraint: r.Constraint, Column: r.Column, Detail: r.Detail}); err != nil {
					return err
				}
			}
		default:
			// It is too large, or the application refuses it: no row is named, so all of them wait.
			for n := range sent {
				if err := hold(n, Held{Code: cmp.Or(refused.SQLState, refused.Code), Detail: refused.Message}); err != nil {
					return err
				}
			}
		}
		return nil
	})
}

// takeConflicts is called when what the server has was pulled. What no pull brings, because it was gone
// before this device came, or is none of this user's, is taken from the answer to the push. A conflict that
// was told before, and is the same still, cannot be resolved here: the row waits as a refused one does.
func (c *Client) takeConflicts(ctx context.Context, conflicts []serverConflict, told map[string]bool) error {
	return c.transact(ctx, func(w *writer) error {
		return w.taking(func() error {
			for _, conflict := range conflicts {
				name := fmt.Sprintf("%s %s %s %d %d", conflict.Schema, conflict.Table, conflict.Key, conflict.Base, conflict.Version)
				if err := w.takeConflict(conflict, told[name]); err != nil {
					return err
				}
				told[name] = true
			}
			return w.finish()
		})
	})
}

func (w *writer) takeConflict(conflict serverConflict, again bool) error {
	in, err := w.read(wireRow{rowName: conflict.rowName, Op: "DELETE", Version: conflict.Version})
	if err != nil || in == nil {
		return err
	}
	if again {
		detail := "The server has a row of this key that this user may not see."
		if waits, err := w.get(`SELECT 1 FROM _tide_inbox WHERE tab = ? AND key = ?`, []any{in.table.id, in.key}, new(int)); err != nil {
			return err
		} else if waits {
			detail = "The server's row was changed, and waits in the inbox, as it does not fit into this database."
		}
		return w.hold(change{tab: in.table.id, key: in.key}, Held{Code: "push_conflict", Detail: detail})
	}
	var version int64
	held, err := w.get(`SELECT version FROM _tide_row WHERE tab = ? AND key = ?`, []any{in.table.id, in.key}, &version)
	if err != nil || held && version >= conflict.Version && conflict.Version > 0 {
		return err // pulled, or pushed again
	}
	if len(conflict.Row) > 0 && string(conflict.Row) != "null" {
		return nil // the next pull has it, with its buckets
	}
	result, err := w.rebase(in)
	if err != nil {
		return err
	}
	return w.settleRow(*in, result)
}
