package client

import (
	"context"
	"crypto/rand"
	"database/sql"
	"errors"
	"fmt"
	"net/url"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	_ "modernc.org/sqlite" // docs/decisions/0015 says why this one
)

// Client keeps one SQLite file in sync. It is safe for concurrent use, as the file is by several processes.
type Client struct {
	config Config
	remote *remote
	// app is for the application; own is one connection that writes for the server.
	app, own *sql.DB
	owned    *sql.DB // app, where Open opened it

	wake    chan struct{}
	fetched chan struct{} // buckets that the stream of events does not know of
	mode    atomic.Int32
	syncing sync.Mutex // held while one goroutine of this process talks to the server

	shape  atomic.Pointer[shape]
	looked time.Time // when the server was asked for its tables; syncing guards it

	mutex sync.Mutex // guards heard
	heard map[*Changes]struct{}
}

// ErrOtherUser says that the file holds another user's data.
var ErrOtherUser = errors.New("this database belongs to another user")

// Open opens the file, makes what is lacking in it, and asks the server for the tables if it is new and
// the Config has none. It does not sync.
func Open(ctx context.Context, path string, config Config) (*Client, error) {
	if path == "" || path == ":memory:" {
		return nil, errors.New("client: a path to a file must be given")
	}
	app, err := open(path, "foreign_keys(1)", "recursive_triggers(1)", "synchronous(NORMAL)")
	if err != nil {
		return nil, err
	}
	c, err := with(ctx, path, app, config)
	if err != nil {
		return nil, errors.Join(err, app.Close())
	}
	c.owned = app
	return c, nil
}

// OpenDB is Open for an application that has the file open already, with whatever driver and settings. It
// should use WAL and a busy_timeout. Close leaves db open.
func OpenDB(ctx context.Context, db *sql.DB, config Config) (*Client, error) {
	var path string
	if err := db.QueryRowContext(ctx, `SELECT file FROM pragma_database_list WHERE name = 'main'`).Scan(&path); err != nil {
		return nil, fmt.Errorf("client: find the file of the database: %w", err)
	}
	if path == "" {
		return nil, errors.New("client: the database is in memory, and a file is needed")
	}
	return with(ctx, path, db, config)
}

func with(ctx context.Context, path string, app *sql.DB, config Config) (_ *Client, err error) {
	if config.User == "" || config.URL == "" {
		return nil, errors.New("client: Config.User and Config.URL must be given")
	}
	c := &Client{app: app, config: config.withDefaults(), heard: map[*Changes]struct{}{}, wake: make(chan struct{}, 1), fetched: make(chan struct{}, 1)}
	c.remote = &remote{config: c.config}
	c.shape.Store(&shape{})
	// What the server was told must not be forgotten by a power cut: hence FULL. Foreign keys are checked
	// over the whole of what is applied; cascades would take along rows that the server never named. A table
	// that takes the place of another one is no reason to rewrite views and foreign keys that name it.
	if c.own, err = open(path, "foreign_keys(0)", "legacy_alter_table(1)", "synchronous(FULL)"); err != nil {
		return nil, err
	}
	c.own.SetMaxOpenConns(1)
	if err := c.prepare(ctx); err != nil {
		return nil, errors.Join(err, c.Close())
	}
	return c, nil
}

func open(path string, pragmas ...string) (*sql.DB, error) {
	query := url.Values{"_txlock": {"immediate"}, "_pragma": append(pragmas, "busy_timeout(10000)", "journal_mode(WAL)")}
	// The timeout comes first: to change the journal takes a lock.
	p := query["_pragma"]
	p[0], p[len(p)-2] = p[len(p)-2], p[0]
	return sql.Open("sqlite", (&url.URL{Scheme: "file", Opaque: (&url.URL{Path: path}).EscapedPath(), RawQuery: query.Encode()}).String())
}

// DB is the database for the application: ordinary SQL, foreign keys enforced.
func (c *Client) DB() *sql.DB { return c.app }

// Close closes the database. What was not synced waits in the file.
func (c *Client) Close() error {
	err := c.own.Close()
	if c.owned != nil {
		err = errors.Join(err, c.owned.Close())
	}
	return err
}

// prepare makes the tables of this package, and reads them.
func (c *Client) prepare(ctx context.Context) error {
	var source string
	err := c.write(ctx, func(w *writer) error {
		if _, err := w.tx.ExecContext(ctx, metaTables); err != nil {
			return err
		}
		if _, err := w.tx.ExecContext(ctx, `INSERT INTO _tide_state (one, format, user_id, source_id) VALUES (1, ?, ?, ?) ON CONFLICT DO NOTHING`, format, c.config.User, rand.Text()); err != nil {
			return err
		}
		var found int
		var user string
		if err := w.exec(`UPDATE _tide_state SET user_id = ? WHERE user_id = ''`, c.config.User); err != nil { // after Detach
			return err
		}
		if err := w.tx.QueryRowContext(ctx, `SELECT format, user_id, source_id FROM _tide_state`).Scan(&found, &user, &source); err != nil {
			return err
		}
		if found != format {
			return fmt.Errorf("client: the file has the tables of format %d, this program those of %d: use the program that wrote it, or a newer one", found, format)
		}
		if user != c.config.User {
			return fmt.Errorf("client: %w (%s, not %s): sync as that user, or use a file of its own", ErrOtherUser, user, c.config.User)
		}
		if err := w.readState(); err != nil {
			return err
		}
		for _, t := range w.tables {
			if err := w.capture(t); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return err
	}
	if c.config.Tables != nil {
		return c.transact(ctx, func(w *writer) error { return w.follow(c.config.Tables) })
	}
	if len(c.tables()) > 0 {
		return nil
	}
	told, err := c.remote.schema(ctx, source)
	if err != nil {
		return fmt.Errorf("client: a new database has no tables until the server says which: %w", err)
	}
	c.looked = time.Now()
	return c.transact(ctx, func(w *writer) error {
		if err := w.follow(told.Tables); err != nil {
			return err
		}
		return w.exec(`UPDATE _tide_state SET schema_version = ?`, told.Newest)
	})
}

// adopt takes rows that are there, and of which neither the server nor a trigger said so, for new ones.
func (w *writer) adopt(t *table) error {
	return w.exec(`INSERT INTO _tide_dirty (tab, key, seed) SELECT ?1, o.key, 1 FROM (SELECT `+t.keyOf("o")+` AS key FROM `+t.name()+` AS o) AS o
		 WHERE NOT EXISTS (SELECT 1 FROM _tide_row AS r WHERE r.tab = ?1 AND r.key = o.key) AND NOT EXISTS (SELECT 1 FROM _tide_outbox AS p WHERE p.tab = ?1 AND p.key = o.key)
		    ON CONFLICT DO NOTHING`, t.id)
}

// capture makes the triggers of a table as they should be: the application may have altered the table.
func (w *writer) capture(t *table) (err error) {
	if t.uniques, err = w.uniquesOf(t.local); err != nil {
		return err
	}
	wanted := t.triggers()
	found, err := all(w, func(scan func(...any) error) (found [2]string, err error) { return found, scan(&found[0], &found[1]) },
		`SELECT name, sql FROM sqlite_schema WHERE type = 'trigger' AND tbl_name = ? AND name GLOB '_tide_*'`, t.local)
	if err != nil {
		return err
	}
	for _, f := range found {
		if i := slices.Index(wanted, f[1]); i >= 0 {
			wanted = slices.Delete(wanted, i, i+1)
		} else if err := w.exec("DROP TRIGGER " + quoteName(f[0])); err != nil {
			return err
		}
	}
	for _, statement := range wanted {
		if err := w.exec(statement); err != nil {
			return fmt.Errorf("client: %s: %w", statement, err)
		}
	}
	return nil
}
