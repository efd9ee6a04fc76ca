package sim

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/golang-jwt/jwt/v5"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/pgtide/pgtide/internal/v1client"
	"github.com/pgtide/pgtide/runtime/auth"
	"github.com/pgtide/pgtide/runtime/server"
)

// users of the application; the last one has a name that is easily mangled.
var users = []string{"ann", "bob", `o'x "ü`}

// installations are the devices of protocol v1. Each user has one of client/ besides.
var installations = []struct {
	user string
	n    int
}{{users[0], 0}, {users[0], 1}, {users[1], 0}, {users[1], 1}, {users[2], 0}}

var secret = []byte("a secret of thirty-two bytes and more")

// World is what a history happens in: a database, the server before it, devices, sessions and a DBA.
type World struct {
	ctx        context.Context
	end        context.CancelFunc
	databases  *Databases
	database   database
	saved      *savedServer
	admin      *pgx.Conn
	pool       *pgxpool.Pool
	front      *httptest.Server
	transport  *http.Transport
	lookout    *lookout
	base       http.RoundTripper // that all requests go over
	url        string
	phones     []*phone
	readers    []*reader
	pushes     map[string]bool // "user token" of the edits of devices
	sessions   []*session
	prepared   []string
	dir        string // of the devices' files
	tables     []v1client.Table
	columns    int
	maintained bool
	errors     errorLog
	tokens     int
	// quiets counts quiet points: at each of them another user gets new devices, a different one first
	// in every history.
	quiets int
}

var firstTables = []v1client.Table{
	{Name: "doc", Key: []string{"id"}, Columns: []string{"id", "owner_id", "title", "n", "token"}},
	{Name: "note", Key: []string{"id"}, Columns: []string{"id", "doc_id", "owner_id", "body", "at", "amount", "big", "image", "extra", "token"}},
	{Name: "half", Key: []string{"pair", "side"}, Columns: []string{"pair", "side", "owner_id", "n"}},
	{Name: "board", Key: []string{"id"}, Columns: []string{"id", "owner_id", "team", "n", "token"}},
	{Name: "card", Key: []string{"id"}, Columns: []string{"id", "board_id", "n", "token"}},
	{Name: "paper", Key: []string{"id"}, Columns: []string{"id", "board_id", "body", "token"}},
}

// Run makes a world and lets a history happen in it. The error is a *Failure when an oracle saw it.
func Run(ctx context.Context, databases *Databases, h History) (err error) {
	w := &World{databases: databases, tables: firstTables, pushes: map[string]bool{}, quiets: len(h)}
	w.ctx, w.end = context.WithCancel(ctx)
	defer w.end()
	if w.database, err = databases.take(ctx); err != nil {
		return err
	}
	defer func() { databases.give(w.database) }() // which may be another by then
	defer w.close()
	if err := w.open(); err != nil {
		return err
	}
	for i, step := range h {
		if err := w.step(step); err != nil {
			return at(err, fmt.Sprintf("after step %d (%s)", i+1, step), w.errors.String())
		}
	}
	return at(w.quiet(), "at the end", w.errors.String())
}

// errorLog keeps the errors of the server, for whoever looks into a failure.
type errorLog struct {
	mu   sync.Mutex
	text []byte
}

func (l *errorLog) Write(line []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.text = append(l.text, line...)
	return len(line), nil
}

func (l *errorLog) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return string(l.text[max(0, len(l.text)-2000):])
}

func at(err error, when, log string) error {
	var failure *Failure
	if errors.As(err, &failure) {
		failure.Detail = when + ": " + failure.Detail
		if log != "" {
			failure.Detail += "\nthe errors of the server:\n" + log
		}
	} else if err != nil {
		err = fmt.Errorf("%s: %w", when, err)
	}
	return err
}

func (w *World) open() error {
	var err error
	// Histories end with their process: in memory, where there is such a place.
	if w.dir, err = os.MkdirTemp("/dev/shm", "pgtide-sim"); err != nil {
		if w.dir, err = os.MkdirTemp("", "pgtide-sim"); err != nil {
			return err
		}
	}
	w.front = httptest.NewServer(nil)
	w.url = w.front.URL
	w.transport = &http.Transport{MaxIdleConnsPerHost: 20}
	w.lookout = &lookout{base: w.transport, world: w, seen: map[string]bool{}}
	w.base = w.lookout
	if err := w.arrive(); err != nil {
		return err
	}
	for i := range 3 {
		w.sessions = append(w.sessions, &session{world: w, name: fmt.Sprintf("session %d", i)})
	}
	for _, installation := range installations {
		p, err := w.newPhone(installation.user, installation.n, 0)
		if err != nil {
			return err
		}
		w.phones = append(w.phones, p)
	}
	for i, user := range users {
		p, err := w.newPhone(user, 2, i+1)
		if err != nil {
			return err
		}
		w.phones = append(w.phones, p)
	}
	for i, user := range []string{users[0], users[0], users[1], users[2]} {
		w.readers = append(w.readers, w.newReader(user, i))
	}
	return nil
}

// arrive connects the server, as tide_runtime, the DBA and the lookout to the database.
func (w *World) arrive() error {
	config, err := pgxpool.ParseConfig(w.database.url)
	if err != nil {
		return err
	}
	config.MaxConns = 3
	config.ConnConfig.RuntimeParams["application_name"] = "runtime"
	config.AfterConnect = func(ctx context.Context, conn *pgx.Conn) error {
		_, err := conn.Exec(ctx, `SET SESSION AUTHORIZATION tide_runtime`)
		return err
	}
	if w.pool, err = pgxpool.NewWithConfig(w.ctx, config); err != nil {
		return err
	}
	w.restart()
	if w.admin, err = w.connect(w.ctx, ""); err != nil {
		return err
	}
	return w.lookout.open(w.ctx)
}

// leave ends all connections to the database.
func (w *World) leave() {
	for _, s := range w.sessions {
		_ = s.close() // nothing hangs on it
	}
	if w.pool != nil {
		w.pool.Close()
	}
	if w.lookout.conn != nil {
		_ = w.lookout.conn.Close(context.Background()) // it only looked
	}
	if w.admin != nil {
		for _, gid := range w.prepared {
			_, _ = w.admin.Exec(context.Background(), "ROLLBACK PREPARED "+quote(gid)) // it may be done with
		}
		_ = w.admin.Close(context.Background()) // it waits for nothing
	}
	w.prepared = nil
}

// restart puts a new server in place of the one that runs, which forgets all it held in memory.
func (w *World) restart() {
	handler := server.New(w.pool, server.Config{LockTimeout: 20 * time.Millisecond, Logger: slog.New(slog.NewTextHandler(&w.errors, &slog.HandlerOptions{Level: slog.LevelError}))})
	w.front.Config.Handler = auth.Bearer(secret)(handler)
}

func (w *World) close() {
	for _, p := range w.phones {
		_, _ = p.killAll(), p.close() // its files go
	}
	if w.dir != "" {
		_ = os.RemoveAll(w.dir) // a directory for what is temporary
	}
	for _, r := range w.readers {
		r.kill()
	}
	if w.front != nil {
		w.transport.CloseIdleConnections()
		w.front.Close()
		w.leave()
	}
	if w.saved != nil {
		w.databases.give(w.saved.database)
	}
}

func (w *World) nextToken(kind string) string {
	w.tokens++
	return fmt.Sprintf("%s%d", kind, w.tokens)
}

var tokens sync.Map

func (w *World) tokenOf(user string) string {
	if text, ok := tokens.Load(user); ok {
		return text.(string)
	}
	text, err := jwt.NewWithClaims(jwt.SigningMethodHS256, jwt.MapClaims{"sub": user, "exp": time.Now().Add(1000 * time.Hour).Unix()}).SignedString(secret)
	if err != nil {
		panic(err) // a key of bytes signs
	}
	tokens.Store(user, text)
	return text
}

// verbs are what a step can be, with how often it is.
var verbs = map[string]struct {
	weight int
	do     func(w *World, s Step) error
}{}

func init() {
	for verb, v := range map[string]struct {
		weight int
		do     func(w *World, s Step) error
	}{
		"edit":      {16, func(w *World, s Step) error { return w.phone(s.A).edit(s.B, s.C) }},
		"go":        {30, func(w *World, s Step) error { return w.goOn(s) }},
		"sync":      {8, func(w *World, s Step) error { return w.phone(s.A).syncNow() }},
		"release":   {2, func(w *World, s Step) error { w.phone(s.A).release(); return nil }},
		"twin":      {1, func(w *World, s Step) error { return w.phone(s.A).twin() }},
		"mend":      {2, func(w *World, s Step) error { return w.phone(s.A).mend(s.B) }},
		"kill":      {2, func(w *World, s Step) error { return w.phone(s.A).crash() }},
		"full":      {1, func(w *World, s Step) error { return w.phone(s.A).fill(s.B%3 > 0) }},
		"reinstall": {1, func(w *World, s Step) error { return w.phone(s.A).install() }},
		"backup":    {1, func(w *World, s Step) error { return w.phone(s.A).saveBackup() }},
		"restore":   {1, func(w *World, s Step) error { return w.phone(s.A).restore() }},
		"herd":      {1, func(w *World, s Step) error { return w.herd() }},
		"write":     {26, func(w *World, s Step) error { return w.sessions[s.A%len(w.sessions)].write(s.B, s.C) }},
		"share":     {16, func(w *World, s Step) error { return w.sessions[s.A%len(w.sessions)].run(sharing, s.B, s.C) }},
		"read":      {16, func(w *World, s Step) error { return w.readers[s.A%len(w.readers)].goOn(s.B, s.C) }},
		"reader":    {4, func(w *World, s Step) error { return w.readers[s.A%len(w.readers)].chance(s.B) }},
		"tend":      {3, func(w *World, s Step) error { return w.tend(s.A, s.B) }},
		"savepoint": {2, func(w *World, s Step) error { return w.sessions[s.A%len(w.sessions)].savepoint(s.B) }},
		"end":       {12, func(w *World, s Step) error { return w.sessions[s.A%len(w.sessions)].end(s.B) }},
		"prepared":  {1, func(w *World, s Step) error { return w.endPrepared(s.A, s.B) }},
		"dba":       {6, func(w *World, s Step) error { return duties[s.A%len(duties)](w) }},
		"seal":      {8, func(w *World, s Step) error { return w.seal() }},
		"restart":   {1, func(w *World, s Step) error { w.restart(); return nil }},
		"save":      {2, func(w *World, s Step) error { return w.saveServer() }},
		"rewind":    {1, func(w *World, s Step) error { return w.rewind() }},
		"quiet":     {1, func(w *World, s Step) error { return w.quiet() }},
	} {
		verbs[verb] = v
	}
}

// committing steps may change what somebody sees; pushes are looked at when they are answered.
var committing = []string{"end", "write", "share", "prepared", "dba", "tend"}

func (w *World) phone(n int) *phone { return w.phones[n%len(w.phones)] }

func (w *World) step(s Step) error {
	err := verbs[s.Verb].do(w, s)
	if errors.Is(err, errRefused) {
		err = nil
	}
	if err == nil && slices.Contains(committing, s.Verb) {
		err = w.lookout.look(w.ctx)
	}
	return err
}

// goOn lets up to five requests of a device go, the last one with a fault.
func (w *World) goOn(s Step) error {
	p := w.phone(s.A)
	for range s.C % 5 {
		if err := p.advance(s.C, Faults[0]); err != nil || len(p.processes) == 0 {
			return err
		}
	}
	return p.advance(s.C, Faults[s.B%len(Faults)])
}

// herd lets all devices exchange at the same moment.
func (w *World) herd() error {
	for _, p := range w.phones {
		if err := p.killAll(); err != nil {
			return err
		}
	}
	results := make([]*running, len(w.phones))
	var group sync.WaitGroup
	for i, p := range w.phones {
		group.Go(func() {
			wire := newWire(w.ctx, w.base)
			wire.free = true
			r := &running{device: p.device, upTo: len(p.edits), process: &process{wire: wire, end: func() {}, ended: true}}
			r.err = p.exchange()(context.WithValue(w.ctx, wireKey{}, wire), p.device)
			results[i] = r
		})
	}
	group.Wait()
	for i, p := range w.phones {
		if err := p.ended(results[i]); err != nil {
			return err
		}
	}
	return nil
}

func (w *World) endPrepared(which, how int) error {
	if len(w.prepared) == 0 {
		return nil
	}
	at := which % len(w.prepared)
	gid := w.prepared[at]
	w.prepared = slices.Delete(w.prepared, at, at+1)
	verb := "COMMIT PREPARED "
	if how%3 == 0 {
		verb = "ROLLBACK PREPARED "
	}
	return w.dba(verb + quote(gid))
}

func quote(s string) string { return "'" + strings.ReplaceAll(s, "'", "''") + "'" }

func quoteAny(v any) string {
	if s, ok := v.(string); ok {
		return quote(s)
	}
	return "NULL"
}
