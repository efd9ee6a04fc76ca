package workspacetest

import (
	"context"
	"errors"
	"fmt"
	"net/http/httptest"
	"regexp"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"pgregory.net/rapid"

	"github.com/pgtide/pgtide/internal/cursorclient"
	"github.com/pgtide/pgtide/internal/cursorserver"
	"github.com/pgtide/pgtide/internal/pgtest"
)

// A history of the workspace, step by step: statements on their own, or in one of three transactions
// that stay open while others go on; devices that sync, or are away, or lose an answer; and seals, at
// each of which every device that is there holds what the query of its user says.
func TestDevicesHoldWhatTheirUserSees(t *testing.T) {
	makeTemplate(t)
	var tried int
	rapid.Check(t, func(rt *rapid.T) {
		steps := rapid.SliceOfN(rapid.SliceOfN(oneStep, 5, 30), 10, 16).Draw(rt, "steps")
		w, err := newWorld(rt.Context())
		if err != nil {
			rt.Fatal(err)
		}
		defer w.end()
		for _, burst := range steps {
			for _, s := range burst {
				if err := w.take(rt.Context(), s); err != nil {
					rt.Fatalf("%v\n\nafter:\n%s", err, strings.Join(w.done, "\n"))
				}
			}
		}
		if err := w.finish(rt.Context()); err != nil {
			rt.Fatalf("%v\n\nat the end of:\n%s", err, strings.Join(w.done, "\n"))
		}
		tried += w.moved
	})
	t.Logf("%d rows moved because of other tables", tried)
	if tried == 0 {
		t.Error("no row moved because of another table: nothing was tried")
	}
}

type step struct{ Verb, Session, A, B, C int }

var oneStep = rapid.Custom(func(t *rapid.T) step {
	small := rapid.IntRange(0, 23)
	// What rapid prefers, small numbers, are verbs of all kinds.
	all := len(statements) + len(acts)
	return step{rapid.IntRange(0, all-1).Draw(t, "verb") * 23 % all, rapid.IntRange(0, 3).Draw(t, "session"),
		small.Draw(t, "a"), small.Draw(t, "b"), small.Draw(t, "c")}
})

// acts are what a step does beside statements; sealing is often.
var acts = []string{"seal", "seal", "seal", "seal", "commit", "commit", "commit", "commit", "commit", "commit", "roll back", "lose an answer", "lose an answer", "install again"}

type world struct {
	db       *pgtest.DB
	drop     func(context.Context) error
	web      *httptest.Server
	devices  []*cursorclient.Device
	users    []string // of the devices
	sessions [4]*pgx.Conn
	open     [4]bool
	done     []string
	moved    int // rows, because of other tables
}

func newWorld(ctx context.Context) (*world, error) {
	db, drop, err := pgtest.Create(ctx, template.server, template.name)
	if err != nil {
		return nil, err
	}
	w := &world{db: db, drop: drop, web: cursorserver.Front(db.Pool)}
	for i := range w.sessions {
		if w.sessions[i], err = pgx.Connect(ctx, db.URL); err != nil {
			return w, err
		}
		// Who holds a lock does nothing meanwhile: waiting is of no use.
		if _, err = w.sessions[i].Exec(ctx, `SET lock_timeout = '20ms'; SET search_path = workspace`); err != nil {
			return w, err
		}
	}
	for i, user := range people {
		w.users = append(w.users, user)
		w.devices = append(w.devices, w.device(i))
	}
	return w, nil
}

// device of a user, by SQL or over HTTP, in one of their ways.
func (w *world) device(i int) *cursorclient.Device {
	user, source := w.users[i], fmt.Sprintf("device %d of %d", i, len(w.done))
	if i%2 == 0 {
		return cursorclient.New(&cursorserver.SQL{Pool: w.db.Pool, User: user, Source: source, ChunkRows: i % 4 * 3})
	}
	return cursorclient.New(cursorserver.OverHTTP(w.web, user, source, (i+1)%4*3, i%4 == 1))
}

func (w *world) end() {
	for _, conn := range w.sessions {
		_ = conn.Close(context.Background()) // it goes with its database
	}
	w.web.Close()
	_ = w.drop(context.Background()) // what cannot be dropped goes with the server
}

func (w *world) take(ctx context.Context, s step) error {
	if s.Verb < len(statements) {
		return w.execute(ctx, s.Session, fill(statements[s.Verb], s))
	}
	act := acts[s.Verb-len(statements)]
	w.done = append(w.done, fmt.Sprintf("%s %d %d", act, s.Session, s.A))
	switch act {
	case "commit", "roll back":
		return w.finishSession(ctx, s.Session, map[string]string{"commit": "COMMIT", "roll back": "ROLLBACK"}[act])
	case "lose an answer":
		return w.lose(ctx, s.A%len(w.devices), 1+s.B%5)
	case "install again":
		i := s.A % len(w.devices)
		w.devices[i] = w.device(i)
	default:
		// Some devices are away.
		return w.seal(ctx, func(i int) bool { return (s.A*7+s.B*5+i*s.C)%4 != 0 }, people[s.C%len(people)])
	}
	return nil
}

func (w *world) finishSession(ctx context.Context, i int, how string) error {
	if !w.open[i] {
		return nil
	}
	w.open[i] = false
	_, err := w.sessions[i].Exec(ctx, how)
	return passing(err)
}

// execute runs a statement on its own (session 0), or in the transaction of a session.
func (w *world) execute(ctx context.Context, i int, statement string) error {
	if strings.HasPrefix(statement, "TRUNCATE") {
		i = 0 // held open, it would let nobody read, and so nobody compare
	}
	w.done = append(w.done, fmt.Sprintf("%d: %s", i, statement))
	if i == 0 {
		_, err := w.sessions[0].Exec(ctx, statement)
		return passing(err)
	}
	begin := "SAVEPOINT s"
	if !w.open[i] {
		begin, w.open[i] = "BEGIN; SAVEPOINT s", true
	}
	if _, err := w.sessions[i].Exec(ctx, begin); err != nil {
		return err
	}
	_, err := w.sessions[i].Exec(ctx, statement)
	if err == nil {
		return nil
	}
	if _, again := w.sessions[i].Exec(ctx, "ROLLBACK TO s"); again != nil {
		return errors.Join(err, again)
	}
	return passing(err)
}

// passing drops errors that an application lives with: what constraints and locks refuse.
func passing(err error) error {
	var refused *pgconn.PgError
	if errors.As(err, &refused) && (strings.HasPrefix(refused.Code, "23") || refused.Code == "55P03" || refused.Code == "40P01") {
		return nil
	}
	return err
}

// lose lets a device do a step or several, of which the last answers are lost.
func (w *world) lose(ctx context.Context, i, steps int) error {
	d := w.devices[i]
	d.MaxBundles = steps
	before := d.Copy()
	for range steps {
		if _, err := d.Step(ctx); err != nil {
			return fmt.Errorf("device of %s: %w", w.users[i], err)
		}
	}
	*d = *before
	return nil
}

// seal seals, lets devices sync, and compares them, and what the policies show to one user, with the queries.
func (w *world) seal(ctx context.Context, there func(int) bool, looking string) error {
	if _, err := w.db.Exec(ctx, `SELECT tide.seal()`); err != nil {
		return fmt.Errorf("seal: %w", err)
	}
	want := map[string]map[string]string{}
	for _, user := range people {
		var err error
		if want[user], err = visible(ctx, w.db, user); err != nil {
			return err
		}
	}
	for i, d := range w.devices {
		if !there(i) {
			continue
		}
		d.MaxBundles = 1 + i*i
		if err := d.Sync(ctx); err != nil {
			return fmt.Errorf("device %d of %s: %w", i, w.users[i], err)
		}
		if found := differences(heldBy(d), want[w.users[i]]); len(found) > 0 {
			return fmt.Errorf("device %d of %s has (-) or lacks (+):\n%s", i, w.users[i], strings.Join(found, "\n"))
		}
	}
	got, err := shown(ctx, w.db, looking)
	if err != nil {
		// A transaction holds a table as a whole.
		return passing(err)
	}
	if found := differences(got, want[looking]); len(found) > 0 {
		return fmt.Errorf("the policies show %s (-) or not (+):\n%s", looking, strings.Join(found, "\n"))
	}
	return nil
}

func (w *world) finish(ctx context.Context) error {
	for i := range w.sessions {
		if err := w.finishSession(ctx, i, "COMMIT"); err != nil {
			return err
		}
	}
	for i := range w.devices {
		if i%3 == 0 {
			w.devices[i] = w.device(i)
		}
	}
	for _, user := range people {
		if err := w.seal(ctx, func(int) bool { return true }, user); err != nil {
			return err
		}
	}
	var wrong string
	if err := w.db.QueryRow(ctx, `SELECT concat_ws('; ', (SELECT string_agg(f::text, '; ') FROM tide.bucket_failures AS f), (SELECT string_agg(s.relation || b::text, '; ')
		FROM tide.synced_table AS s CROSS JOIN LATERAL tide.check_buckets(s.relation) AS b WHERE s.derived), (SELECT string_agg(c::text, '; ') FROM tide.check() AS c WHERE c.severity <> 'notice'))`).Scan(&wrong); err != nil {
		return err
	}
	if wrong != "" {
		return fmt.Errorf("stored buckets, failures and findings: %s", wrong)
	}
	return w.db.QueryRow(ctx, `SELECT count(*) FROM tide.change_log WHERE op = 'M'`).Scan(&w.moved)
}

var placeholder = regexp.MustCompile(`:([otpfdc]|user|role|rank|n)_([abc])`)

// fill gives :f_a the key of the folder that a says, and so on.
func fill(statement string, s step) string {
	return placeholder.ReplaceAllStringFunc(statement, func(name string) string {
		kind, which, _ := strings.Cut(name[1:], "_")
		n := map[string]int{"a": s.A, "b": s.B, "c": s.C}[which]
		switch kind {
		case "n":
			return fmt.Sprint(n)
		case "user":
			return "'" + people[n%len(people)] + "'"
		case "role":
			return []string{"'viewer'", "'editor'"}[n%2]
		case "rank":
			return []string{"'member'", "'admin'"}[n%2]
		}
		number := map[string]int{"o": 2, "t": 3, "p": 4, "f": 7, "d": 8, "c": 8}[kind]
		letter := map[string]string{"o": "a", "t": "b", "p": "c", "f": "d", "d": "e", "c": "f"}[kind]
		return fmt.Sprintf("'%s0000000-0000-4000-8000-%012d'", letter, 1+n%number)
	})
}
