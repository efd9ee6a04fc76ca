package buckettest

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"pgregory.net/rapid"

	"github.com/pgtide/pgtide/internal/cursorclient"
	"github.com/pgtide/pgtide/internal/cursorserver"
	"github.com/pgtide/pgtide/internal/pgtest"
)

// TestMain makes few rule sets the standard, always the same: make soak asks for a thousand others.
func TestMain(m *testing.M) {
	standard := map[string]string{"rapid.checks": "3", "rapid.seed": "7", "rapid.shrinktime": "3m", "rapid.nofailfile": "true"}
	flag.Parse()
	flag.Visit(func(f *flag.Flag) { delete(standard, f.Name) })
	for name, value := range standard {
		if err := flag.Set(name, value); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(2)
		}
	}
	os.Exit(m.Run())
}

// Whatever rules the tables of an application have, each bucket and each device holds at every seal
// what a query says that was made of the same rules.
func TestRandomRules(t *testing.T) {
	t.Parallel()
	base := pgtest.New(t)
	server, template := pgtest.WithDatabase(base.URL, "postgres"), base.Config().ConnConfig.Database
	base.Close()
	moved := 0
	rapid.Check(t, func(rt *rapid.T) {
		rules := drawRules(rt)
		changes := rapid.SliceOfN(rapid.SliceOfN(rapid.Custom(rules.drawChange), 4, 16), 6, 10).Draw(rt, "changes")
		db, drop, err := pgtest.Create(rt.Context(), server, template)
		if err != nil {
			rt.Fatal(err)
		}
		defer drop(context.Background()) //nolint:errcheck // What cannot be dropped goes with the server.
		h := &ruleHistory{rules: rules, db: db}
		if err := h.run(rt.Context(), changes); err != nil {
			rt.Fatalf("%v\n\nafter:\n%s", err, strings.Join(h.done, ";\n"))
		}
		moved += h.moved
	})
	t.Logf("%d rows moved because of other tables", moved)
	if moved == 0 {
		t.Error("no row moved because of another table: nothing was tried")
	}
}

// users read the buckets that a table says.
var users = []string{"u1", "u2"}

type ruleHistory struct {
	rules ruleSet
	db    *pgtest.DB
	done  []string
	moved int
	open  [3]pgx.Tx
}

func (h *ruleHistory) run(ctx context.Context, changes [][]change) error {
	// The log has every row from the beginning on.
	for _, statement := range append(h.rules.schema(), "SELECT tide.seal()") {
		h.done = append(h.done, statement)
		if _, err := h.db.Exec(ctx, statement); err != nil {
			return err
		}
	}
	for _, statement := range h.rules.seed() {
		h.done = append(h.done, statement)
		if _, err := h.db.Exec(ctx, statement); refusedByRows(err) != nil {
			return err
		}
	}
	defer func() {
		for _, tx := range h.open {
			if tx != nil {
				_ = tx.Rollback(context.WithoutCancel(ctx)) // its database is dropped
			}
		}
	}()
	var devices []*cursorclient.Device
	for _, user := range users {
		devices = append(devices, cursorclient.New(&cursorserver.SQL{Pool: h.db.Pool, User: user, Source: "phone", ChunkRows: 5}))
	}
	for i, burst := range changes {
		for _, c := range burst {
			if err := h.apply(ctx, c); err != nil {
				return err
			}
		}
		for in := range h.open {
			if i < len(changes)-1 {
				break
			}
			if err := h.apply(ctx, change{In: in}); err != nil {
				return err
			}
		}
		h.done = append(h.done, "SELECT tide.seal()")
		if _, err := h.db.Exec(ctx, "SELECT tide.seal()"); err != nil {
			return err
		}
		if err := h.compare(ctx, devices); err != nil {
			return err
		}
	}
	return h.db.QueryRow(ctx, `SELECT count(*) FROM tide.change_log WHERE op = 'M'`).Scan(&h.moved)
}

// apply executes a change in a transaction of its own, or in one that stays open over seals.
func (h *ruleHistory) apply(ctx context.Context, c change) error {
	tx := h.open[c.In]
	if len(c.Statements) == 0 && tx == nil {
		return nil
	}
	if tx == nil {
		var err error
		if tx, err = h.db.Begin(ctx); err != nil {
			return err
		}
		h.open[c.In] = tx
		h.done = append(h.done, fmt.Sprintf("%d: BEGIN", c.In))
	}
	for _, statement := range c.Statements {
		// A TRUNCATE that is held open would let nobody read, and so nobody compare.
		if c.In > 0 && strings.HasPrefix(statement, "TRUNCATE") {
			continue
		}
		h.done = append(h.done, fmt.Sprintf("%d: %s", c.In, statement))
		if err := refusedByRows(pgx.BeginFunc(ctx, tx, func(tx pgx.Tx) error {
			_, err := tx.Exec(ctx, `SET LOCAL lock_timeout = '20ms'; `+statement)
			return err
		})); err != nil {
			return err
		}
	}
	if c.In > 0 && len(c.Statements) > 0 {
		return nil
	}
	h.done = append(h.done, fmt.Sprintf("%d: COMMIT", c.In))
	h.open[c.In] = nil
	return tx.Commit(ctx)
}

// refusedByRows drops what constraints and locks refuse.
func refusedByRows(err error) error {
	var refused *pgconn.PgError
	if errors.As(err, &refused) && (refused.Code[:2] == "23" || refused.Code == "55P03" || refused.Code == "40P01") {
		return nil
	}
	return err
}

func (h *ruleHistory) compare(ctx context.Context, devices []*cursorclient.Device) error {
	query := h.rules.query()
	const inLog = `SELECT f.bucket, f.tab, f.key
	  FROM (SELECT DISTINCT ON (b.bucket_id, c.table_id, c.row_key) b.bucket_id AS bucket, s.table_name AS tab, c.row_key AS key, e.op
	          FROM tide.bundle_log AS b CROSS JOIN LATERAL unnest(b.changes, b.ops) WITH ORDINALITY AS e (change_id, op, nth)
	          JOIN tide.change_log AS c ON c.xid = b.xid AND c.change_id = e.change_id
	          JOIN tide.synced_table AS s ON s.table_id = c.table_id
	         ORDER BY b.bucket_id, c.table_id, c.row_key, b.bundle_seq DESC, e.nth DESC) AS f
	 WHERE f.op <> 'D'`
	var found []string
	if err := h.db.QueryRow(ctx, `SELECT coalesce(array_agg(d ORDER BY d), '{}') FROM (
		(SELECT '- ' || x::text FROM (`+inLog+` EXCEPT SELECT o.bucket, o.tab, o.key FROM (`+query+`) AS o) AS x LIMIT 10)
		UNION ALL
		(SELECT '+ ' || x::text FROM (SELECT o.bucket, o.tab, o.key FROM (`+query+`) AS o EXCEPT `+inLog+`) AS x LIMIT 10)) AS d (d)`).Scan(&found); err != nil {
		return err
	}
	if len(found) > 0 {
		return fmt.Errorf("the log has (-) or lacks (+):\n%s", strings.Join(found, "\n"))
	}
	for i, d := range devices {
		if err := d.Sync(ctx); err != nil {
			return fmt.Errorf("device of %s: %w", users[i], err)
		}
		rows, err := h.db.Query(ctx, `SELECT DISTINCT 'app.' || o.tab || o.key, o.payload FROM (`+query+`) AS o
			WHERE o.bucket = 'user:' || $1 OR o.bucket IN (SELECT a.bucket FROM app.access AS a WHERE a.user_id = $1)`, users[i])
		if err != nil {
			return err
		}
		want := map[string]string{}
		var id, payload string
		if _, err := pgx.ForEachRow(rows, []any{&id, &payload}, func() error { want[id] = payload; return nil }); err != nil {
			return err
		}
		found = nil
		for id, row := range d.Rows {
			if want[id] != row.Payload {
				found = append(found, "- "+id+" "+row.Payload)
			}
		}
		for id, payload := range want {
			if d.Rows[id].Payload != payload {
				found = append(found, "+ "+id+" "+payload)
			}
		}
		if slices.Sort(found); len(found) > 0 {
			return fmt.Errorf("the device of %s has (-) or lacks (+):\n%s", users[i], strings.Join(found, "\n"))
		}
	}
	return nil
}
