package sim

import (
	"context"
	"database/sql/driver"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"

	"github.com/jackc/pgx/v5"
	"modernc.org/sqlite"
	sqlite3 "modernc.org/sqlite/lib"

	"github.com/pgtide/pgtide/client"
	"github.com/pgtide/pgtide/internal/v1client"
)

// clientDevice is a device of client/: a SQLite file that the application writes with SQL.
type clientDevice struct {
	*client.Client
	world  *World
	path   string
	config client.Config
}

var clientShapes = []func(*client.Config){
	func(*client.Config) {},
	func(c *client.Config) {
		c.MaxRowsPerRequest, c.MaxRowsPerChunk, c.MaxBundlesPerPage = 2, 2, 1
		c.Resolvers = map[string]client.Resolver{"doc": client.LocalWins, "note": client.LocalWins}
	},
}

// newClientDevice makes a device that asks the server for its tables, over a network without faults.
func (w *World) newClientDevice(user string, n int) (Device, error) {
	config := client.Config{URL: w.url, User: user, HTTPClient: &http.Client{Transport: router{}},
		Token: func(context.Context) (string, error) { return w.tokenOf(user), nil }}
	clientShapes[n%len(clientShapes)](&config)
	return w.openClient(w.newPath(), config)
}

func (w *World) newPath() string { return filepath.Join(w.dir, w.nextToken("device")) }

func (w *World) openClient(path string, config client.Config) (Device, error) {
	var c *client.Client
	var err error
	for range w.pool.Config().MaxConns + 1 { // all connections of the server may have been cut
		if c, err = client.Open(w.onFreeWire(), path, config); err == nil {
			return &clientDevice{c, w, path, config}, nil
		}
	}
	return nil, fmt.Errorf("open a device: %w", err)
}

// onFreeWire is for requests that nothing happens to.
func (w *World) onFreeWire() context.Context {
	free := newWire(w.ctx, w.base)
	free.free = true
	return context.WithValue(w.ctx, wireKey{}, free)
}

// Twin is a second process with the file open.
func (d *clientDevice) Twin() (Device, error) {
	// Another spelling of the path: connections are told apart by it.
	return d.world.openClient(filepath.Dir(d.path)+"/./"+filepath.Base(d.path), d.config)
}

// Clone copies the files as they are at this moment, without closing the database: as a backup does, and
// as a process leaves them that is killed.
func (d *clientDevice) Clone() (Device, error) {
	path := d.world.newPath()
	for _, suffix := range []string{"", "-wal"} {
		if err := copyFile(d.path+suffix, path+suffix); err != nil {
			return nil, err
		}
	}
	return d.world.openClient(path, d.config)
}

func copyFile(from, to string) error {
	content, err := os.ReadFile(from)
	if errors.Is(err, fs.ErrNotExist) {
		return nil // no journal yet
	}
	if err != nil {
		return err
	}
	return os.WriteFile(to, content, 0o600)
}

func (d *clientDevice) Replace(ctx context.Context) error { return d.Rebuild(ctx) }

func (d *clientDevice) Insert(table, payload string) error {
	columns, values, err := valuesOf(payload)
	if err != nil {
		return err
	}
	return d.write(`INSERT INTO `+table+` (`+strings.Join(columns, ", ")+`) VALUES (?`+strings.Repeat(", ?", len(values)-1)+`)`, values...)
}

func (d *clientDevice) Update(table, payload string) error {
	columns, values, err := valuesOf(payload)
	if err != nil {
		return err
	}
	return d.write(`UPDATE `+table+` SET `+strings.Join(columns, " = ?, ")+` = ? WHERE id = ?`, append(values, field(payload, "id"))...)
}

func (d *clientDevice) Delete(table, key string) error {
	return d.write(`DELETE FROM `+table+` WHERE id = ?`, key)
}

// errLocally is what an application is told by its own database: nothing was written.
var errLocally = errors.New("the device's database refuses it")

func (d *clientDevice) write(statement string, values ...any) error {
	_, err := d.DB().ExecContext(d.world.ctx, statement, values...)
	if code := sqliteCode(err); code == sqlite3.SQLITE_CONSTRAINT || code == sqlite3.SQLITE_FULL {
		return errLocally
	}
	return err
}

func sqliteCode(err error) int {
	var e *sqlite.Error
	if errors.As(err, &e) {
		return e.Code() & 0xff
	}
	return 0
}

// valuesOf are columns and what SQLite holds for them.
func valuesOf(payload string) (columns []string, values []any, err error) {
	var fields map[string]json.RawMessage
	if err := json.Unmarshal([]byte(payload), &fields); err != nil {
		return nil, nil, err
	}
	for name, raw := range fields {
		var text string
		var value any
		switch isText := json.Unmarshal(raw, &text) == nil; {
		case string(raw) == "null":
		case name == "image":
			if value, err = base64.StdEncoding.DecodeString(text); err != nil {
				return nil, nil, err
			}
		case isText && name != "extra":
			value = text
		case name == "n" || name == "big":
			if value, err = strconv.ParseInt(string(raw), 10, 64); err != nil {
				return nil, nil, err
			}
		default:
			value = string(raw)
		}
		columns, values = append(columns, name), append(values, value)
	}
	return columns, values, nil
}

// payloadOf is a row of SQLite as the server says it.
func payloadOf(columns []string, values []any) string {
	row := map[string]any{}
	for i, name := range columns {
		row[name] = values[i]
		switch v := values[i].(type) {
		case []byte:
			row[name] = base64.StdEncoding.EncodeToString(v)
		case string:
			if name == "amount" || name == "extra" {
				row[name] = json.RawMessage(v)
			}
		}
	}
	return encode(row)
}

// Rows are those of a table, by key. The world ends with a device that cannot be read.
func (d *clientDevice) Rows(table string) map[string]string {
	at := slices.IndexFunc(d.world.tables, func(t v1client.Table) bool { return t.Name == table })
	if at < 0 {
		return nil
	}
	rows, err := d.DB().QueryContext(d.world.ctx, `SELECT * FROM `+table)
	if err != nil {
		return map[string]string{"unreadable": encode(map[string]any{"error": err.Error()})}
	}
	defer rows.Close() //nolint:errcheck // Err says it.
	columns, err := rows.Columns()
	held := map[string]string{}
	for err == nil && rows.Next() {
		values, into := make([]any, len(columns)), make([]any, len(columns))
		for i := range values {
			into[i] = &values[i]
		}
		if err = rows.Scan(into...); err == nil {
			text := payloadOf(columns, values)
			held[keyOf(d.world.tables[at], text)] = text
		}
	}
	if err = errors.Join(err, rows.Err()); err != nil {
		held["unreadable"] = encode(map[string]any{"error": err.Error()})
	}
	return held
}

// number is a number of the tables of the client, 0 for none.
func (d *clientDevice) number(query string, args ...any) (n int64) {
	// What cannot be read is missed by the oracle that compares rows.
	_ = d.DB().QueryRowContext(d.world.ctx, query, args...).Scan(&n)
	return n
}

func (d *clientDevice) Attached() bool {
	return d.number(`SELECT cursor <> '' FROM _tide_state`) == 1
}

func (d *clientDevice) Pending() int {
	return int(d.number(`SELECT (SELECT count(*) FROM _tide_dirty) + (SELECT count(*) FROM _tide_outbox)`))
}

// waits says whether an edit of the row is to be pushed, or may be under way.
func (d *clientDevice) waits(table, key string) bool {
	return d.number(`SELECT count(*) FROM (SELECT tab, key FROM _tide_dirty UNION ALL SELECT tab, key FROM _tide_outbox) AS e JOIN _tide_table AS t USING (tab) WHERE t.local = ? AND e.key = ?`, table, key) > 0
}

func (d *clientDevice) Version(table, key string) int64 {
	return d.number(`SELECT r.version FROM _tide_row AS r JOIN _tide_table AS t USING (tab) WHERE t.local = ? AND r.key = ?`, table, key)
}

// Position is where it stands in the bucket that it can never lose.
func (d *clientDevice) Position() int64 {
	return d.number(`SELECT coalesce(bundle_id, 0) FROM _tide_bucket WHERE name = 'user:' || ?`, d.config.User)
}

func (d *clientDevice) Conflicts() (list []v1client.Conflict) {
	resolved, err := d.Client.Conflicts(d.world.ctx, 0)
	if err != nil {
		return nil // the oracle that compares rows says that it cannot be read
	}
	for _, r := range resolved {
		list = append(list, v1client.Conflict{Table: r.Table, Key: r.Key, Op: r.Resolution, ServerRow: fmt.Sprint(r.Server)})
	}
	return list
}

// Refused are the changes that wait for the user.
func (d *clientDevice) Refused() ([]v1client.Rejected, error) {
	letters, err := d.DeadLetters(d.world.ctx)
	var refused []v1client.Rejected
	for _, l := range letters {
		refused = append(refused, v1client.Rejected{Table: l.Table, Key: l.Key, SQLState: l.Code, Constraint: l.Constraint, Detail: l.Detail})
	}
	return refused, err
}

func (d *clientDevice) Discard(table, key string) error {
	return d.Client.Discard(d.world.ctx, table, key)
}

// expectedClientError: what a device may meet and try again. full says that its disk is.
func expectedClientError(err error, full bool) bool {
	var refusal *client.ServerError
	switch {
	case errors.As(err, &refusal):
		return refusal.Retryable || slices.Contains(passing, refusal.Code)
	case full && sqliteCode(err) == sqlite3.SQLITE_FULL:
		return true
	}
	return errors.Is(err, client.ErrWait) || errors.Is(err, v1client.ErrLost) || errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, context.Canceled) || errors.Is(err, errGone)
}

// connections are those that are open on each file, for what an operating system does to them.
var connections = struct {
	sync.Mutex
	of map[string][]sqlite.ExecQuerierContext
}{of: map[string][]sqlite.ExecQuerierContext{}}

func init() {
	sqlite.RegisterConnectionHook(func(conn sqlite.ExecQuerierContext, dsn string) error {
		path, _, _ := strings.Cut(strings.TrimPrefix(dsn, "file:"), "?")
		connections.Lock()
		defer connections.Unlock()
		connections.of[path] = append(connections.of[path], conn)
		return nil
	})
}

// setFull makes the disk full, or not any more: no connection gets another page.
func (d *clientDevice) setFull(full bool) error {
	pages := 1 << 30
	if full {
		pages = 1 // it stays as large as it is
	}
	connections.Lock()
	defer connections.Unlock()
	for _, conn := range connections.of[d.path] {
		if v, is := conn.(driver.Validator); is && !v.IsValid() {
			continue // its pool has closed it, or will
		}
		rows, err := conn.QueryContext(d.world.ctx, fmt.Sprintf(`PRAGMA max_page_count = %d`, pages), []driver.NamedValue{})
		if err != nil {
			return err
		}
		if err := rows.Close(); err != nil {
			return err
		}
	}
	return nil
}

// Close closes it, and forgets its connections.
func (d *clientDevice) Close() error {
	connections.Lock()
	delete(connections.of, d.path)
	connections.Unlock()
	return d.Client.Close()
}

// holds is every row of the device. What names a row that the user may not see waits beside its table.
func (d *clientDevice) holds(tables []v1client.Table, visible map[string]string) (map[string]string, error) {
	held := map[string]string{}
	inbox, err := d.Inbox(d.world.ctx)
	if err != nil {
		return nil, err
	}
	for _, in := range inbox {
		parent := ""
		switch in.Table {
		case "note":
			parent = fmt.Sprintf("doc %v", in.Row["doc_id"])
		case "paper":
			parent = fmt.Sprintf("board %v", in.Row["board_id"])
		}
		if parent == "" || visible[parent] != "" {
			return nil, failed("rows of the server fit", "%+v waits in the inbox", in)
		}
	}
	for _, table := range tables {
		rows := d.Rows(table.Name)
		for _, in := range inbox {
			if in.Table == table.Name {
				columns, values := slices.Sorted(maps.Keys(in.Row)), []any{}
				for _, name := range columns {
					values = append(values, in.Row[name])
				}
				rows[in.Key] = payloadOf(columns, values)
			}
		}
		for key, row := range rows {
			held[table.Name+" "+key] = canonical(row)
		}
	}
	return held, nil
}

// known are tables with the columns that the device has: it follows the server when that gets more.
func (d *clientDevice) known(tables []v1client.Table) ([]v1client.Table, error) {
	known := slices.Clone(tables)
	for i := range known {
		rows, err := d.DB().QueryContext(d.world.ctx, `SELECT c.value ->> 'name' FROM _tide_table, json_each(spec, '$.columns') AS c WHERE local = ?`, known[i].Name)
		if err != nil {
			return nil, err
		}
		known[i].Columns = nil
		for rows.Next() {
			var name string
			if err := rows.Scan(&name); err != nil {
				return nil, errors.Join(err, rows.Close())
			}
			known[i].Columns = append(known[i].Columns, name)
		}
		if err := errors.Join(rows.Err(), rows.Close()); err != nil {
			return nil, err
		}
	}
	return known, nil
}

// equal holds a device against the query.
func (p *phone) equal() error {
	d, ofClient := p.device.(*clientDevice)
	if !ofClient {
		return p.world.equal(p.name, p.user, p.device, p.tables)
	}
	tables, err := d.known(p.tables)
	if err != nil {
		return err
	}
	want := map[string]string{}
	for _, table := range tables {
		rows, err := p.world.admin.Query(p.world.ctx, readable(table), p.user)
		if err != nil {
			return err
		}
		var text string
		var buckets []string
		if _, err := pgx.ForEachRow(rows, []any{&text, &buckets}, func() error {
			want[table.Name+" "+keyOf(table, text)] = canonical(text)
			return nil
		}); err != nil {
			return err
		}
	}
	got, err := d.holds(tables, want)
	if err != nil {
		return err
	}
	if err := differences(fmt.Sprintf("%s, which stands at %d,", p.name, d.Position()), got, want); err != nil {
		return err
	}
	return d.verified(p.name)
}

// verified asks the device itself, which compares checksums with the server.
func (d *clientDevice) verified(name string) error {
	found, err := d.Verify(d.world.onFreeWire())
	if err == nil && len(found.Repaired) > 0 {
		err = failed("checksums agree", "%s, which equals the query, found and repaired %v", name, found.Repaired)
	}
	return err
}
