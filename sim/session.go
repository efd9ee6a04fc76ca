package sim

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
)

// session is somebody of the application at a psql prompt. Its transaction may stay open over many steps.
type session struct {
	world  *World
	name   string
	conn   *pgx.Conn
	open   bool
	depth  int
	writes int
}

// connect opens a session that waits for nobody long, because the one it waits for may be open for
// the rest of the history.
func (w *World) connect(ctx context.Context, settings string) (*pgx.Conn, error) {
	config, err := pgx.ParseConfig(w.database.url)
	if err != nil {
		return nil, err
	}
	// Tables change beneath it.
	config.DefaultQueryExecMode = pgx.QueryExecModeExec
	config.RuntimeParams["options"] = "-c lock_timeout=20ms " + settings
	return pgx.ConnectConfig(ctx, config)
}

// statements of the application. Each gets a key, a user, another number, and a token for what it writes.
var statements = []func(a args) []string{
	func(a args) []string {
		return []string{fmt.Sprintf(`INSERT INTO app.doc (id, owner_id, title, n, token) VALUES (%s, %s, %s, %d, %s) ON CONFLICT (id) DO NOTHING`, quote(a.doc), quote(a.user), quoteAny(title(a.n)), a.n, a.token)}
	},
	func(a args) []string {
		return []string{fmt.Sprintf(`UPDATE app.doc SET n = n + 1, token = %s WHERE id = %s`, a.token, quote(a.doc))}
	},
	func(a args) []string { return []string{fmt.Sprintf(`DELETE FROM app.doc WHERE id = %s`, quote(a.doc))} },
	func(a args) []string {
		return []string{fmt.Sprintf(`INSERT INTO app.note (id, doc_id, owner_id, body, at, amount, big, image, extra, token)
			SELECT %s, (SELECT id FROM app.doc WHERE id = %s), %s, %s, now(), %s, %s, '\x00ff', %s, %s ON CONFLICT (id) DO UPDATE SET body = excluded.body, token = excluded.token`,
			quote(a.note), quote(a.doc), quote(a.user), quote(odd(a.n)), amounts[a.n%len(amounts)], bigs[a.n%len(bigs)], quote(extras[a.n%len(extras)])+"::jsonb", a.token)}
	},
	func(a args) []string {
		return []string{fmt.Sprintf(`UPDATE app.note SET body = %s, at = '2026-01-02 03:04:05.678901+02', token = %s WHERE id = %s`, quote(odd(a.n)), a.token, quote(a.note))}
	},
	func(a args) []string {
		return []string{fmt.Sprintf(`DELETE FROM app.note WHERE id = %s`, quote(a.note))}
	},
	// Rows change hands.
	func(a args) []string {
		return []string{fmt.Sprintf(`UPDATE app.doc SET owner_id = %s, token = %s WHERE id = %s`, quote(a.user), a.token, quote(a.doc))}
	},
	func(a args) []string {
		return []string{fmt.Sprintf(`UPDATE app.note SET owner_id = %s, token = %s WHERE id = %s`, quote(a.user), a.token, quote(a.note))}
	},
	// Pairs.
	bump, bump, bump,
	func(a args) []string {
		return []string{fmt.Sprintf(`INSERT INTO app.half (pair, side, owner_id, n) VALUES (%d, 'left', %[2]s, 0), (%[1]d, 'right', %[2]s, 0) ON CONFLICT DO NOTHING`, a.pair, quote(a.user))}
	},
	func(a args) []string { return []string{fmt.Sprintf(`DELETE FROM app.half WHERE pair = %d`, a.pair)} },
	func(a args) []string {
		return []string{
			fmt.Sprintf(`UPDATE app.half SET owner_id = %s WHERE pair = %d AND side = 'left'`, quote(a.user), a.pair),
			fmt.Sprintf(`UPDATE app.half AS r SET owner_id = l.owner_id FROM app.half AS l WHERE l.pair = r.pair AND l.side = 'left' AND r.pair = %d AND r.side = 'right'`, a.pair)}
	},
	// Many rows at once, of everybody.
	func(a args) []string {
		return []string{fmt.Sprintf(`UPDATE app.doc SET n = n + 1, token = %s WHERE owner_id = %s`, a.token, quote(a.user))}
	},
	func(a args) []string {
		return []string{fmt.Sprintf(`INSERT INTO app.doc (id, owner_id, n, token) SELECT 'b' || g, (ARRAY['ann', 'bob', %s])[1 + g %% 3], g, %s FROM generate_series(1, %d) AS g ON CONFLICT (id) DO NOTHING`, quote(users[len(users)-1]), a.token, 10+a.n%60)}
	},
	func(a args) []string { return []string{`DELETE FROM app.doc WHERE id LIKE 'b%'`} },
	// Keys change; a row goes and comes back, or comes and goes, in one transaction.
	func(a args) []string {
		return []string{fmt.Sprintf(`UPDATE app.doc SET id = %s, token = %s WHERE id = %s`, quote(docKey(a.n)), a.token, quote(a.doc))}
	},
	func(a args) []string {
		return []string{fmt.Sprintf(`DELETE FROM app.note WHERE id = %s`, quote(a.note)),
			fmt.Sprintf(`INSERT INTO app.note (id, owner_id, body, token) VALUES (%s, %s, 'again', %s)`, quote(a.note), quote(a.user), a.token)}
	},
	func(a args) []string {
		return []string{fmt.Sprintf(`INSERT INTO app.doc (id, owner_id, token) VALUES ('gone', %s, %s)`, quote(a.user), a.token), `DELETE FROM app.doc WHERE id = 'gone'`}
	},
	func(a args) []string { return []string{`UPDATE app.half SET n = n`} },
	func(a args) []string {
		if a.n%4 > 0 {
			return nil
		}
		return []string{`TRUNCATE app.note`}
	},
	func(a args) []string {
		return []string{fmt.Sprintf(`MERGE INTO app.doc AS t USING (VALUES (%s)) AS s (id) ON t.id = s.id WHEN MATCHED THEN UPDATE SET n = t.n + 1, token = %s WHEN NOT MATCHED THEN INSERT (id, owner_id, token) VALUES (s.id, %s, %[2]s)`, quote(a.doc), a.token, quote(a.user))}
	},
	func(a args) []string {
		return []string{fmt.Sprintf(`UPDATE app.later SET body = %s, owner_id = %s WHERE id = %d`, quote(odd(a.n)), quote(a.user), 1+a.n%3),
			fmt.Sprintf(`INSERT INTO app.later (id, owner_id, body) VALUES (%d, %s, 'new') ON CONFLICT DO NOTHING`, 1+a.n%5, quote(a.user))}
	},
}

type args struct {
	doc, note, user, token string
	pair, n                int
}

// bump counts a pair up, in two statements.
func bump(a args) []string {
	return []string{
		fmt.Sprintf(`UPDATE app.half SET n = n + 1 WHERE pair = %d AND side = 'left'`, a.pair),
		fmt.Sprintf(`UPDATE app.half AS r SET n = l.n FROM app.half AS l WHERE l.pair = r.pair AND l.side = 'left' AND r.pair = %d AND r.side = 'right'`, a.pair)}
}

func (s *session) write(what, n int) error { return s.run(statements, what, n) }

// run runs a statement, in a transaction that stays open.
func (s *session) run(list []func(a args) []string, what, n int) error {
	if s.conn == nil || s.conn.IsClosed() {
		var err error
		if s.conn, err = s.world.connect(s.world.ctx, ""); err != nil {
			return err
		}
		s.open = false
	}
	if !s.open {
		if err := s.exec("BEGIN"); err != nil {
			return err
		}
		s.open, s.depth = true, 0
	}
	a := args{doc: docKey(n), note: noteKey(n), user: users[n/keys%len(users)], pair: n % 3, n: n / 3, token: quote(s.world.nextToken("s"))}
	for _, statement := range list[what%len(list)](a) {
		if err := s.exec(statement); err != nil {
			return s.mend(statement, err)
		}
	}
	s.writes++
	return nil
}

func (s *session) exec(statement string) error {
	_, err := s.conn.Exec(s.world.ctx, statement)
	return err
}

// ordinary are errors that an application has to expect: locks and constraints of its own.
var ordinary = []string{"55P03", "40P01", "40001", "23505", "23503", "23514"}

// mend rolls back what failed, to the last savepoint or altogether.
func (s *session) mend(statement string, err error) error {
	var pgErr *pgconn.PgError
	if !errors.As(err, &pgErr) || !slices.Contains(ordinary, pgErr.Code) {
		return failed("writers unharmed", "%s: %v\n%s", s.name, err, statement)
	}
	if s.depth > 0 {
		return s.exec("ROLLBACK TO s")
	}
	return s.end(1)
}

// savepoint sets one, or goes back to it.
func (s *session) savepoint(how int) error {
	switch {
	case !s.open:
		return nil
	case how%2 == 0 || s.depth == 0:
		s.depth++
		return s.exec("SAVEPOINT s")
	default:
		return s.exec("ROLLBACK TO s")
	}
}

// end ends the transaction: it is committed, rolled back, prepared and left alone, or its session is lost.
func (s *session) end(how int) error {
	if !s.open {
		return nil
	}
	s.open = false
	switch how % 8 {
	case 1, 2:
		return s.exec("ROLLBACK")
	case 3:
		// One name in the whole server, where others simulate as well.
		gid := s.world.database.name + s.world.nextToken(" prepared ")
		if err := s.exec("PREPARE TRANSACTION " + quote(gid)); err != nil {
			return failed("writers unharmed", "%s: prepare: %v", s.name, err)
		}
		s.world.prepared = append(s.world.prepared, gid)
		return nil
	case 4:
		return s.conn.Close(s.world.ctx)
	default:
		if err := s.exec("COMMIT"); err != nil {
			var pgErr *pgconn.PgError
			// A constraint that was deferred.
			if errors.As(err, &pgErr) && pgErr.Code == "23505" {
				return nil
			}
			return failed("writers unharmed", "%s: commit: %v", s.name, err)
		}
		return nil
	}
}

func (s *session) close() error {
	if s.conn == nil {
		return nil
	}
	// Its server may be gone; it has nothing to lose.
	_ = s.conn.Close(context.Background())
	s.conn, s.open = nil, false
	return nil
}
