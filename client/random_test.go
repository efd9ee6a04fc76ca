package client

import (
	"context"
	"database/sql"
	"errors"
	"flag"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

var (
	seed  = flag.Uint64("client.seed", 0, "replay this random history; 0 draws one")
	steps = flag.Int("client.steps", 150, "length of a random history")
)

// errLost is what a device sees of a request that was lost.
var errLost = errors.New("the network lost it")

// flaky loses requests, and answers to requests that were carried out.
type flaky struct {
	random *rand.Rand
	loses  float64
}

func (f *flaky) RoundTrip(r *http.Request) (*http.Response, error) {
	if f.random.Float64() < f.loses {
		return nil, errLost
	}
	answer, err := http.DefaultTransport.RoundTrip(r)
	if err == nil && f.random.Float64() < f.loses {
		_ = answer.Body.Close() // as a connection that was cut
		return nil, errLost
	}
	if err == nil && f.random.Float64() < f.loses/2 {
		answer.Body = struct {
			io.Reader
			io.Closer
		}{io.LimitReader(answer.Body, 20), answer.Body}
	}
	return answer, err
}

// ledger knows each text that was written on a device, until it is clear what became of it.
type ledger struct {
	tokens map[string]string // and on which device
	last   int
}

func (l *ledger) next(device string) string {
	l.last++
	token := fmt.Sprintf("%s-%d;", device, l.last)
	l.tokens[token] = device
	return token
}

// write changes a row on a device in one transaction. What the row held before is the user's own to give up.
func (l *ledger) write(t testing.TB, c *Client, table, key string, f func(tx *sql.Tx, token string) error, device string) {
	t.Helper()
	column := map[string]string{"list": "title", "item": "body"}[table]
	tx, err := c.DB().Begin()
	if err != nil {
		t.Fatal(err)
	}
	token := l.next(device)
	var before []string
	// Cascades take children along.
	query := `SELECT ` + column + ` FROM ` + table + ` WHERE id = ?1`
	if table == "list" {
		query += ` UNION ALL SELECT body FROM item WHERE list_id = ?1`
	}
	found, err := tx.Query(query, key)
	if err != nil {
		t.Fatal(err)
	}
	for found.Next() {
		var text sql.NullString
		if err := found.Scan(&text); err != nil {
			t.Fatal(err)
		}
		before = append(before, text.String)
	}
	if err := found.Err(); err != nil {
		t.Fatal(err)
	}
	err = f(tx, token)
	if err == nil {
		err = tx.Commit()
	}
	if err != nil {
		_ = tx.Rollback() // it may have been committed in vain
		delete(l.tokens, token)
		if constraint(err) == 0 {
			t.Fatal(err)
		}
		return
	}
	for _, text := range before {
		if !strings.Contains(rows(t, c, `SELECT group_concat(title) FROM list UNION ALL SELECT group_concat(body) FROM item`), text) {
			delete(l.tokens, text)
		}
	}
	if !strings.Contains(rows(t, c, `SELECT group_concat(title) FROM list UNION ALL SELECT group_concat(body) FROM item`), token) {
		delete(l.tokens, token)
	}
}

// settle strikes out what arrived at the server, and what a device lists as a conflict or a dead letter.
func (l *ledger) settle(t testing.TB, s *site, devices map[string]*Client) {
	t.Helper()
	arrived := s.there(t, `SELECT payload::text FROM tide.change_log`)
	for name, c := range devices {
		arrived += rows(t, c, `SELECT local FROM _tide_conflict`)
		list, err := c.DeadLetters(context.Background())
		if err != nil {
			t.Fatal(err)
		}
		for _, letter := range list {
			arrived += fmt.Sprint(name, letter.Row, letter.Base, letter.Sent)
		}
	}
	for token := range l.tokens {
		if strings.Contains(arrived, token) {
			delete(l.tokens, token)
		}
	}
}

// Random writes on two devices of a user and at the server, over a network that loses requests and
// answers: in the end each device holds what the server's query says, and no edit is gone without a trace.
func TestRandomHistories(t *testing.T) {
	t.Parallel()
	number := *seed
	if number == 0 {
		number = uint64(time.Now().UnixNano())
	}
	t.Logf("replay with -client.seed %d -client.steps %d", number, *steps)
	random := rand.New(rand.NewPCG(number, 1))
	s := newSite(t)
	s.exec(t, `INSERT INTO app.notice SELECT g, ARRAY[(ARRAY['red','blue','green'])[1 + g % 3]], 'n' FROM generate_series(1, 9) AS g`)
	nets := map[string]*flaky{}
	devices := map[string]*Client{}
	names := []string{"a", "b"}
	configs, paths := map[string]Config{}, map[string]string{}
	for i, name := range names {
		nets[name] = &flaky{random: rand.New(rand.NewPCG(number, uint64(i+2)))}
		config := s.config("7")
		config.HTTPClient = &http.Client{Transport: nets[name]}
		config.MaxRowsPerRequest = 1 + random.IntN(6)
		config.MaxRowsPerChunk = 1 + random.IntN(6)
		config.MaxBundlesPerPage = 1 + random.IntN(5)
		config.Resolvers = []map[string]Resolver{nil, {"list": LocalWins}, {"item": MergeColumns, "list": MergeColumns}}[random.IntN(3)]
		configs[name] = config
		paths[name] = filepath.Join(t.TempDir(), name+".db")
		devices[name] = s.open(t, paths[name], config) // a new one needs the server
		nets[name].loses = 0.08
	}
	l := &ledger{tokens: map[string]string{}}
	pick := func(list ...string) string { return list[random.IntN(len(list))] }
	for range *steps {
		name := pick(names...)
		c := devices[name]
		list, item := pick("l1", "l2", "l3", "l4"), fmt.Sprint(1+random.IntN(8))
		// The title of lists that the server refuses.
		title := func(token string) string {
			if random.IntN(12) == 0 {
				return "bad"
			}
			return token
		}
		switch random.IntN(14) {
		case 0, 1, 2:
			err := c.Sync(context.Background())
			var refused *ServerError
			if err != nil && !errors.Is(err, ErrWait) && !errors.Is(err, errLost) && !errors.Is(err, io.ErrUnexpectedEOF) && (!errors.As(err, &refused) || !refused.Retryable) {
				t.Fatalf("%s: %v", name, err)
			}
		case 3, 4:
			l.write(t, c, "list", list, func(tx *sql.Tx, token string) error {
				_, err := tx.Exec(`INSERT INTO list (id, title, slug) VALUES (?, ?, ?) ON CONFLICT (id) DO UPDATE SET title = excluded.title, rank = rank + 1`, list, title(token), pick("s1", "s2", list, list))
				return err
			}, name)
		case 5, 6, 7:
			l.write(t, c, "item", item, func(tx *sql.Tx, token string) error {
				_, err := tx.Exec(`INSERT INTO item (id, list_id, body) VALUES (?, ?, ?) ON CONFLICT (id) DO UPDATE SET body = excluded.body`, item, list, token)
				return err
			}, name)
		case 8:
			l.write(t, c, "item", item, func(tx *sql.Tx, _ string) error {
				_, err := tx.Exec(`DELETE FROM item WHERE id = ?`, item)
				return err
			}, name)
		case 9:
			l.write(t, c, "list", list, func(tx *sql.Tx, _ string) error {
				_, err := tx.Exec(`DELETE FROM list WHERE id = ?`, list)
				return err
			}, name)
		case 10:
			s.exec(t, pick(
				`UPDATE app.list SET rank = rank + 1, title = 'server' WHERE id = '`+list+`'`,
				`UPDATE app.item SET big = coalesce(big, 0) + 1 WHERE id = `+item,
				`UPDATE app.item SET list_id = (SELECT min(id) FROM app.list) WHERE id = `+item,
				`DELETE FROM app.list WHERE id = '`+list+`'`,
				`DELETE FROM app.item WHERE id = `+item,
				`INSERT INTO app.item (id, owner_id, body) VALUES (`+item+`, '7', 'server') ON CONFLICT (id) DO UPDATE SET body = 'server', owner_id = '7'`,
				`UPDATE app.list SET slug = 'x' || id; `,
			))
			if random.IntN(2) == 0 {
				s.seal(t)
			}
		case 11:
			team := pick("red", "blue", "green")
			s.exec(t, pick(`DELETE FROM app.member WHERE team = '`+team+`'`, `INSERT INTO app.member VALUES ('7', '`+team+`') ON CONFLICT DO NOTHING`,
				`UPDATE app.notice SET teams = '{`+team+`}', body = body || '.' WHERE id = `+item, `UPDATE app.item SET owner_id = CASE owner_id WHEN '7' THEN '8' ELSE '7' END WHERE id = `+item))
			s.seal(t)
		case 12:
			if err := c.Close(); err != nil {
				t.Fatal(err)
			}
			devices[name] = s.open(t, paths[name], configs[name])
		case 13:
			held, err := c.DeadLetters(context.Background())
			if err != nil {
				t.Fatal(err)
			}
			l.settle(t, s, devices)
			for _, letter := range held {
				if random.IntN(2) == 0 {
					if err := c.Retry(context.Background(), letter.Table, letter.Key); err != nil {
						t.Fatal(err)
					}
				} else if err := c.Discard(context.Background(), letter.Table, letter.Key); err != nil {
					t.Fatal(err)
				}
			}
		}
	}
	s.seal(t)
	for _, name := range names {
		nets[name].loses = 0
	}
	for round := range 6 { // letters are discarded one layer after the other
		for _, name := range names {
			// The one who waits for the other's first data has it in the second round.
			if err := devices[name].Sync(context.Background()); err != nil && (round > 0 || !errors.Is(err, ErrWait)) {
				t.Fatal(err)
			}
			l.settle(t, s, devices)
			held, err := devices[name].DeadLetters(context.Background())
			if err != nil {
				t.Fatal(err)
			}
			for _, letter := range held {
				if err := devices[name].Discard(context.Background(), letter.Table, letter.Key); err != nil {
					t.Fatal(err)
				}
			}
		}
	}
	synced(t, devices["a"], devices["b"])
	l.settle(t, s, devices)
	for token := range l.tokens {
		t.Errorf("edit %s is gone without a trace", token)
	}
	for _, name := range names {
		c := devices[name]
		is(t, rows(t, c, `SELECT (SELECT count(*) FROM _tide_dirty), (SELECT count(*) FROM _tide_outbox), (SELECT applying FROM _tide_state)`), "0|0|0")
		waiting, err := c.Inbox(context.Background())
		if err != nil {
			t.Fatal(err)
		}
		items := ""
		for _, in := range waiting { // an item whose list is another user's
			if in.Table != "item" || !strings.HasPrefix(in.Reason, "FOREIGN KEY") {
				t.Errorf("in the inbox of %s: %+v", name, in)
			}
			items += " AND id <> " + in.Key
		}
		is(t, rows(t, c, `SELECT id || '|' || title || '|' || rank || '|' || coalesce(slug, '-') || '|' || seen FROM list ORDER BY 1`),
			s.there(t, `SELECT concat_ws('|', id, title, rank, coalesce(slug, '-'), seen) FROM app.list WHERE owner_id = '7'`))
		is(t, rows(t, c, `SELECT id || '|' || coalesce(list_id, '-') || '|' || coalesce(body, '-') || '|' || coalesce(big, '-') FROM item ORDER BY 1`),
			s.there(t, `SELECT concat_ws('|', id, coalesce(list_id, '-'), coalesce(body, '-'), coalesce(big::text, '-')) FROM app.item WHERE owner_id = '7'`+items))
		is(t, rows(t, c, `SELECT id || '|' || body FROM notice ORDER BY 1`),
			s.there(t, `SELECT concat_ws('|', id, body) FROM app.notice WHERE teams && ARRAY(SELECT team FROM app.member WHERE user_id = '7')`))
	}
}
