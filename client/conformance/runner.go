package conformance

import (
	"cmp"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"github.com/golang-jwt/jwt/v5"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/pgtide/pgtide/runtime/auth"
	"github.com/pgtide/pgtide/runtime/server"
)

// runner runs one case: a server on a database that has the Schema, and the devices.
type runner struct {
	command []string
	folder  string
	pool    *pgxpool.Pool
	web     *httptest.Server
	secret  []byte
	devices map[string]*process
	users   map[string]string

	mutex   sync.Mutex
	fault   string
	request string
}

// Run runs a case with clients that the command starts, one for each device. The database is the case's own.
func Run(ctx context.Context, c Case, database *pgxpool.Pool, command []string) (err error) {
	r := &runner{command: command, pool: database, secret: []byte(rand.Text() + rand.Text()), devices: map[string]*process{}, users: map[string]string{}}
	if r.folder, err = os.MkdirTemp("", "pgtide-conformance"); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(r.folder)) }()
	front := auth.Bearer(r.secret)(server.New(database, server.Config{}))
	r.web = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, request *http.Request) { r.serve(front, w, request) }))
	defer func() {
		for _, d := range r.devices {
			err = errors.Join(err, d.kill())
		}
		r.web.CloseClientConnections()
		r.web.Close()
	}()
	for i, s := range c.Steps {
		if err := r.step(ctx, s); err != nil {
			return fmt.Errorf("step %d: %w", i+1, err)
		}
	}
	return nil
}

// serve loses what the case says.
func (r *runner) serve(front http.Handler, w http.ResponseWriter, request *http.Request) {
	r.mutex.Lock()
	fault := ""
	_, path, _ := strings.Cut(request.URL.Path, "/sync/")
	if r.fault != "" && strings.HasPrefix(request.Method+" "+path, r.request) {
		fault, r.fault = r.fault, ""
	}
	r.mutex.Unlock()
	if fault == "lose_answer" {
		front.ServeHTTP(httptest.NewRecorder(), request)
	}
	if fault != "" {
		// The connection is cut in the answer: libraries repeat by themselves what is cut before.
		w.Header().Set("Content-Length", "100")
		_, _ = io.WriteString(w, "{")
		_ = http.NewResponseController(w).Flush() // it is cut anyway
		panic(http.ErrAbortHandler)
	}
	front.ServeHTTP(w, request)
}

func (r *runner) step(ctx context.Context, s Step) error {
	switch {
	case s.Server != "":
		if _, err := r.pool.Exec(ctx, s.Server); err != nil {
			return fmt.Errorf("%s: %w", s.Server, err)
		}
		_, err := r.pool.Exec(ctx, `SELECT tide.seal()`)
		return err
	case s.Query != "":
		return r.query(ctx, s)
	case s.Fault != "":
		r.mutex.Lock()
		defer r.mutex.Unlock()
		r.fault, r.request = s.Fault, s.Request
		return nil
	}
	verb, name := s.verb()
	file := filepath.Join(r.folder, name)
	switch verb {
	case "":
		return errors.New("it says nothing to do")
	case "copy", "restore":
		return r.copied(name, verb, filepath.Join(r.folder, cmp.Or(s.From, name))+".copy")
	case "kill":
		return r.end(name)
	}
	if s.User != "" && r.devices[name] != nil {
		if err := r.end(name); err != nil {
			return err
		}
	}
	if s.User != "" {
		r.users[name] = s.User
	}
	d, err := r.device(ctx, name, file)
	var got any
	if err == nil && verb != "open" {
		got, err = d.ask(Request{Do: verb, Changes: s.Changes, Table: s.Table, Key: s.Key})
	}
	var failed *Failed
	switch {
	case s.Error != "":
		if !errors.As(err, &failed) || failed.Kind != s.Error {
			return fmt.Errorf("%s of %s should fail with %s: %w", verb, name, s.Error, err)
		}
		return nil
	case err != nil:
		return fmt.Errorf("%s of %s: %w", verb, name, err)
	}
	return holds(s, got)
}

func holds(s Step, got any) error {
	if s.Expect == nil {
		return nil
	}
	want, err := plain(s.Expect)
	if err == nil && !same(want, got) {
		err = fmt.Errorf("expected %v, there is %v", want, got)
	}
	return err
}

// device is a client that runs and has its file open.
func (r *runner) device(ctx context.Context, name, file string) (*process, error) {
	if d := r.devices[name]; d != nil {
		return d, nil
	}
	if r.users[name] == "" {
		r.users[name] = "7"
	}
	token, err := jwt.NewWithClaims(jwt.SigningMethodHS256, jwt.MapClaims{"sub": r.users[name], "exp": time.Now().Add(time.Hour).Unix()}).SignedString(r.secret)
	if err != nil {
		return nil, err
	}
	d, err := start(ctx, r.command)
	if err != nil {
		return nil, fmt.Errorf("start the client: %w", err)
	}
	r.devices[name] = d
	if err := os.MkdirAll(file, 0o700); err != nil {
		return nil, err
	}
	_, err = d.ask(Request{Do: "open", URL: r.web.URL, User: r.users[name], Token: token, Path: filepath.Join(file, "data")})
	if err != nil {
		err = errors.Join(err, r.end(name))
	}
	return d, err
}

func (r *runner) end(name string) error {
	d := r.devices[name]
	delete(r.devices, name)
	if d == nil {
		return nil
	}
	return d.kill()
}

// copied puts a copy of a device's files aside, or back.
func (r *runner) copied(name, verb, aside string) error {
	if err := r.end(name); err != nil {
		return err
	}
	from, to := filepath.Join(r.folder, name), aside
	if verb == "restore" {
		from, to = to, from
	}
	if err := os.RemoveAll(to); err != nil {
		return err
	}
	return os.CopyFS(to, os.DirFS(from))
}

func (r *runner) query(ctx context.Context, s Step) error {
	found, err := r.pool.Query(ctx, s.Query)
	if err != nil {
		return fmt.Errorf("%s: %w", s.Query, err)
	}
	rows, err := pgx.CollectRows(found, pgx.RowToMap)
	if err != nil {
		return fmt.Errorf("%s: %w", s.Query, err)
	}
	list := []any{}
	for _, row := range rows {
		list = append(list, row)
	}
	got, err := plain(list)
	if err != nil {
		return err
	}
	return holds(s, got)
}

// RunAll runs cases and writes a line for each.
func RunAll(ctx context.Context, list []Case, command []string, out io.Writer, database func(context.Context) (*pgxpool.Pool, func(), error)) error {
	var failed error
	for _, c := range list {
		err := func() error {
			pool, drop, err := database(ctx)
			if err != nil {
				return err
			}
			defer drop()
			return Run(ctx, c, pool, command)
		}()
		if err == nil {
			_, err = fmt.Fprintf(out, "ok    %s\n", c.Name)
		} else {
			err = fmt.Errorf("%s: %w", c.Name, err)
			if _, told := fmt.Fprintf(out, "FAIL  %v\n", err); told != nil {
				return told
			}
		}
		failed = errors.Join(failed, err)
	}
	return failed
}
