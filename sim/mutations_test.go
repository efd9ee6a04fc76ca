//go:build mutations

package sim

import (
	"context"
	"flag"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/pgtide/pgtide/internal/pgtest"
	"github.com/pgtide/pgtide/sim/causal"
)

var (
	onlyFlag  = flag.String("only", "", "only the mutations whose names match this regular expression")
	limitFlag = flag.Duration("limit", 0, "how long to try other histories than the one that shows the mutation")
)

// edit is a piece of a function of schema tide that becomes another, or a statement on its own.
type edit struct{ function, from, to string }

// mutation breaks pgtide on purpose. One of the oracles named must see it.
type mutation struct {
	name string
	// history shows it, a step after each semicolon; numbers that are left out are 0.
	history string
	edits   []edit
	seen    []string
}

// equalQuery sees whatever a device gets wrong in the end.
const equalQuery = "devices equal the query"

var mutations = []mutation{
	{"a late commit is skipped", "seal; sync 0; write 0 1 0; write 1 1 1; end 1; seal; end 0; seal",
		[]edit{{"sealable_ranges", "WHERE pg_visible_in_snapshot(x, pg_current_snapshot())", "WHERE false"}},
		[]string{equalQuery, "a push is one bundle", "the log replays to the tables"}},
	{"a transaction is sealed twice", "seal; write 0 1 0; end 0; seal; write 0 1 1; end 0; seal; write 0 1 0; end 0; seal",
		[]edit{{"sealable_ranges", "above := (pg_snapshot_xmax(previous)::text::bigint - 1)", "above := (pg_snapshot_xmax(previous)::text::bigint - 4)"},
			{"sealable_ranges", "SELECT (pg_snapshot_xmax(previous)::text::bigint - 1)", "SELECT (pg_snapshot_xmax(previous)::text::bigint - 4)"}},
		[]string{"every transaction sealed once", "a push is one bundle", "protocol", "duties"}},
	{"bundles go by their first change", "seal; sync 0; write 0 1 0; write 1 1 1; end 1; write 0 1 1; end 0; seal",
		[]edit{{"seal", "max(f.change_id) AS last_change_id", "min(f.change_id) AS last_change_id"}},
		[]string{"the log replays to the tables", equalQuery}},
	{"pages go by change_id", "seal; sync 0; write 0 1 0; write 1 1 1; end 1; write 0 3 3; end 0; seal; sync 0",
		[]edit{{"bucket_bundles", "ORDER BY l.bundle_seq", "ORDER BY l.min_change_id"}}, []string{"protocol", equalQuery}},
	{"pages of more than was asked for", "seal; sync 0; write 0 1 0; end 0; write 0 1 0; end 0; seal; sync 0",
		[]edit{{"bucket_bundles", "LIMIT bucket_bundles.max_bundles", "LIMIT bucket_bundles.max_bundles + 1"}}, []string{"protocol"}},
	{"a leave is dropped", "seal; sync 0; write 0 6 10; end 0; seal",
		[]edit{{"seal", "WHERE b.bucket_id = ANY (b.after) IS NOT TRUE", "WHERE b.after IS NULL"}}, []string{equalQuery, "the log replays to the tables"}},
	{"a leave by a derived rule is dropped", "seal; sync 0; share 0 4 12; end 0; seal",
		[]edit{{"derive", "WHERE j.moved AND b.bucket_id <> ALL (j.after)", "WHERE false"}},
		[]string{"bundles whole", equalQuery}},
	{"no netting", "seal; sync 0; write 0 18 0; end 0; seal; sync 0",
		[]edit{{"seal", "GROUP BY f.xid, f.key_hash HAVING count(*) > 1", "GROUP BY f.xid, f.key_hash HAVING false"}}, []string{"protocol"}},
	{"places with gaps", "seal; write 0 1 0; end 0; seal; write 0 1 0; end 0; seal; write 0 1 0; end 0; seal",
		[]edit{{"seal", "h.head_seq + row_number()", "h.head_seq + n.bundle_id % 2 + row_number()"}},
		[]string{"positions without gaps", "protocol"}},
	{"judged by what is sealed", "seal; sync 0; write 0 1 0; end 0; edit 0 1 0; sync 0",
		[]edit{{"judge_push", "AS u WHERE u.op IN", "AS u WHERE false AND u.op IN"}},
		[]string{"no update is lost"}},
	{"judged before locking", "seal; sync 0; sync 1; edit 0 1 0; edit 1 1 0; herd; sync 0; sync 1; edit 0 1 0; edit 1 1 0; herd; sync 0; sync 1; edit 0 1 0; edit 1 1 0; herd; sync 0; sync 1; edit 0 1 0; edit 1 1 0; herd; sync 0; sync 1; edit 0 1 0; edit 1 1 0; herd; sync 0; sync 1; edit 0 1 0; edit 1 1 0; herd; sync 0; sync 1; seal",
		[]edit{{"lock_pushed", "SELECT * FROM tide.push_%s_lock($1, $2, $3)", "SELECT i.ordinal, i.dead FROM tide.push_%s_image($1, $2) AS i WHERE $3 IS NOT NULL"},
			{"write_pushed", "\nBEGIN\n", "\nBEGIN\n    PERFORM pg_sleep(0.02);\n"}}, []string{"no update is lost"}},
	{"a number is used again", "seal; sync 1; edit 1 1 0; go 1 2 3; sync 1",
		[]edit{{"is_committed", "AND p.source_bundle_id = is_committed.source_bundle_id", "AND false"},
			{"claim_push", "ON CONFLICT DO NOTHING;\n    IF NOT FOUND THEN\n        PERFORM tide.is_committed(user_id, source_id, source_bundle_id, bundle_uuid);\n        RETURN false;\n    END IF;", "ON CONFLICT DO NOTHING;"},
			{"claim_push", "PERFORM tide.assert_next_push(user_id, source_id, source_bundle_id);", ""},
			{"create_push_session", "PERFORM tide.assert_next_push(v_user, v_source, source_bundle_id);", ""}}, []string{"applied once", "a push is one bundle"}},
	{"rows of a push are lost", "seal; sync 0; edit 0 0 5; edit 0 0 6; sync 0",
		[]edit{{"commit_push_session", "v_staged.rows, (v_staged.session)", "v_staged.rows[1:greatest(1, cardinality(v_staged.rows) - 1)], (v_staged.session)"}},
		[]string{"nothing acknowledged is missing", "a local edit is never lost without a record"}},
	{"a page ends amid a seal that moved rows", "seal; sync 0; share 0 4 12; end 0; share 0 9 3; end 0; seal; sync 0",
		[]edit{{"pull_end", "IF v_last.has_derived THEN", "IF false THEN"}, {"next_page", "IF v_whole.has_derived AND", "IF false AND"}},
		[]string{"bundles whole"}},
	{"access that was lost goes on", "seal; reader 0 5; share 0 15 0; end 0; seal; share 1 2 1; end 1; seal; reader 0 5",
		[]edit{{"open_cursor", "IF cardinality(access) - cardinality(add) <", "IF false AND cardinality(access) <"}}, []string{"nothing leaks"}},
	{"a restored server is taken for the one before", "seal; reader 0 5; save; write 0 1 0; end 0; seal; reader 0 5; rewind; write 0 1 1; end 0; seal; reader 0 5",
		[]edit{{"open_cursor", "v_seal.identity IS DISTINCT FROM identity OR", "false OR"}}, []string{equalQuery}},
	{"a push of a history that is no more counts", "seal; sync 5; save; edit 5 0 1; go 5 0 2; kill 5; rewind; sync 5",
		[]edit{{"assert_history", "IF tide.reached_by(seal) IS NOT NULL THEN", "IF true THEN"}}, []string{equalQuery}},
	{"a snapshot has rows of others", "seal; write 0 0 13; end 0; seal; sync 0",
		[]edit{{"snapshot_source", "v_filter := format('%s OPERATOR(%s) %L::%s', n.owner, n.owner_equality, v_owner, n.owner_type);", "v_filter := 'true';"},
			{"snapshot_source", "format('%L = ANY (%s)', bucket_id, n.buckets)", "'true'"}}, []string{"nothing leaks"}},
	{"a row that left is shown", "seal; sync 0; write 0 6 10; end 0; seal; sync 0",
		[]edit{{"bucket_bundles", `WHEN (c.op <> 'D'::"char") THEN c.payload`, "WHEN true THEN c.payload"}, {"bundle_page", `WHEN (c.op <> 'D'::"char") THEN c.payload`, "WHEN true THEN c.payload"}},
		[]string{"nothing leaks"}},
	{"a snapshot passes over moves", "seal; share 0 4 12; end 0; sync 0",
		[]edit{{"pending_moves", "IF v_changes IS NULL AND v_mark IS NULL THEN", "IF true THEN"}}, []string{"bundles whole", equalQuery}},
	{"missed changes are not read again", "seal; write 0 3 3; end 0; seal; sync 0; dba 17; seal",
		[]edit{{"mark_table", "mark_table.op,", "CASE mark_table.op WHEN '!' THEN 'A' ELSE mark_table.op END,"}}, []string{"the log replays to the tables", equalQuery}},
	{"TRUNCATE counts no row", "seal; sync 0; write 0 21 0; end 0; seal",
		[]edit{{"capture_truncate", "WHERE tide_o.tableoid = $1\n", "WHERE false AND tide_o.tableoid = $1\n"}, {"capture_truncate", "OR NOT EXISTS", "AND NOT EXISTS"}},
		[]string{equalQuery, "the log replays to the tables"}},
	{"a key that changes is an update", "seal; sync 0; write 0 17 10; end 0; seal",
		[]edit{{"capture_statement", "'%s *= %s AND (%s *<> %s OR %s)', o.key_image", "'true OR %s *= %s AND (%s *<> %s OR %s)', o.key_image"}}, []string{"the log replays to the tables", equalQuery, "writers unharmed"}},
	{"a snapshot says an older position", "seal; sync 0; write 0 1 0; end 0; seal; write 0 1 0; end 0; seal; write 0 1 0; end 0; seal; write 0 1 0; end 0; seal; sync 0; write 0 1 0; end 0; seal; tend 2; sync 0",
		[]edit{{"bucket_position", "LIMIT 1), floor_seq);",
			"LIMIT 1), floor_seq); IF head_seq > 4 AND EXISTS (SELECT FROM pg_locks AS k WHERE k.pid = pg_backend_pid() AND k.relation = 'tide.seal_lock'::regclass) THEN head_seq := head_seq - 4; END IF;"}},
		[]string{"versions never go back"}},
	{"a snapshot of buckets says an older position", "seal; write 0 1 0; end 0; seal; write 0 1 0; end 0; seal; write 0 1 0; end 0; seal; write 0 1 0; end 0; seal; reader 1 5; write 0 1 0; end 0; seal; tend 2; reader 1 5",
		[]edit{{"head_seal", "s.last_bundle_id", "s.last_bundle_id - CASE WHEN EXISTS (SELECT FROM pg_locks AS k WHERE k.pid = pg_backend_pid() AND k.relation = 'tide.seal_lock'::regclass) AND s.last_bundle_id > 5 THEN 4 ELSE 0 END"}},
		[]string{"cursors never go back"}},
	{"a row cannot be captured", "write 0 0 5",
		[]edit{{"", "", `ALTER TABLE tide.change_log ADD CONSTRAINT refused CHECK (1 / CASE WHEN payload::text LIKE '%"d5"%' THEN 0 ELSE 1 END = 1)`}}, []string{"writers unharmed"}},
	{"pushes forget who they are of", "seal; sync 0; edit 0 0 5; sync 0",
		[]edit{{"claim_push", "PERFORM tide.set_origin(source_id, source_bundle_id);", ""}}, []string{"protocol"}},
	{"a push is noted that never was", "seal; sync 0; edit 0 0 5; sync 0",
		[]edit{{"", "", `CREATE FUNCTION tide.note_another() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER AS
			'BEGIN INSERT INTO tide.push_log (user_id, source_id, source_bundle_id, row_count) VALUES (NEW.user_id, ''another'', NEW.source_bundle_id, 1) ON CONFLICT DO NOTHING; RETURN NULL; END';
			CREATE TRIGGER another AFTER INSERT ON tide.push_log FOR EACH ROW WHEN (NEW.source_id <> 'another') EXECUTE FUNCTION tide.note_another()`}},
		[]string{"a push is one bundle"}},
	{"sessions cannot be cleaned", "dba 8", []edit{{"clean_sessions", "LIMIT 1000", "LIMIT -1"}}, []string{"duties"}},
	{"what waits for a lock is refused", "seal; sync 0; edit 0 0 5; write 0 0 5; sync 0",
		[]edit{{"", "", `CREATE OR REPLACE FUNCTION tide.is_retryable(sqlstate text) RETURNS boolean LANGUAGE sql IMMUTABLE PARALLEL SAFE RETURN false`}}, []string{"refusals"}},
	{"sessions that ended are kept", "seal; sync 0; edit 0 0 5; go 0 0 1; sync 1; edit 1 0 6; sync 1",
		[]edit{{"create_push_session", "AND (s.source_id = v_source OR s.expires_at <= clock_timestamp())", "AND false"},
			{"clean_sessions", "WHERE e.expires_at <= clock_timestamp() LIMIT 1000", "WHERE false LIMIT 1000"}, {"", "", `UPDATE tide.setting SET max_push_sessions = 1`}}, []string{"outboxes drain"}},
	{"a device forgets an edit", "seal; sync 0; edit 0 0 5; forget", nil, []string{"nothing acknowledged is missing", "a local edit is never lost without a record"}},
	{"a SQLite device forgets an edit", "seal; sync 5; edit 5 0 5; forget 5", nil, []string{"nothing acknowledged is missing"}},
	{"checksums are of something else", "seal; sync 5",
		[]edit{{"row_digest", "convert_to(value,", "convert_to(value || 'x',"}}, []string{"checksums agree"}},
	{"columns that may be NULL are told as NOT NULL", "seal; write 0 1 0; end 0; seal; sync 5",
		[]edit{{"describe_tables", "'not_null', a.attnotnull OR d.typnotnull", "'not_null', true"}}, []string{"rows of the server fit"}},
}

// forget is a step that only a device takes which is broken: what waits on it is gone.
func init() {
	verbs["forget"] = struct {
		weight int
		do     func(w *World, s Step) error
	}{0, func(w *World, s Step) error {
		p := w.phone(s.A)
		if d, is := p.device.(*clientDevice); is {
			return d.write(`DELETE FROM _tide_dirty`)
		}
		for _, e := range p.edits {
			if err := p.device.Discard(e.table, e.key); err != nil {
				return err
			}
		}
		return nil
	}}
}

// Each oracle is there for something: what is broken is seen, and by whom is written down.
func TestMutations(t *testing.T) {
	only := regexp.MustCompile(*onlyFlag)
	for _, m := range mutations {
		if !only.MatchString(m.name) {
			continue
		}
		t.Run(m.name, func(t *testing.T) {
			databases := newMutant(t, m)
			err := run(t, databases, short(t, m.history))
			seed := 0
			// Or any other history, given time.
			for began := time.Now(); err == nil && time.Since(began) < *limitFlag; {
				seed++
				err = run(t, databases, Generate(seed))
			}
			if err == nil {
				t.Fatal("nobody saw it")
			}
			oracle := oracleOf(err)
			if fmt.Printf("| %s | %s |\n", m.name, oracle); seed > 0 {
				t.Errorf("seen by %q, and by the history of seed %d only", oracle, seed)
			}
			if !slices.Contains(m.seen, oracle) {
				t.Errorf("seen by %q, not by one of %q: %.2500s", oracle, m.seen, err)
			}
		})
	}
}

func short(t *testing.T, text string) History {
	t.Helper()
	var lines []string
	for step := range strings.SplitSeq(text, ";") {
		fields := append(strings.Fields(step), "0", "0", "0")
		lines = append(lines, strings.Join(fields[:4], " "))
	}
	h, err := ParseHistory(strings.Join(lines, "\n"))
	must(t, err)
	return h
}

func newMutant(t *testing.T, m mutation) *Databases {
	t.Helper()
	base := pgtest.New(t)
	for _, e := range m.edits {
		statement := e.to
		if e.function != "" {
			statement = mutated(t, base.Connect(t, base.URL), e)
		}
		if _, err := base.Exec(t.Context(), statement); err != nil {
			t.Fatalf("%s: %v", e.function, err)
		}
	}
	return databasesLike(t, base)
}

func mutated(t *testing.T, conn *pgx.Conn, e edit) string {
	t.Helper()
	defer conn.Close(t.Context()) //nolint:errcheck // nothing is left to do with it
	var text string
	if err := conn.QueryRow(t.Context(), `SELECT pg_get_functiondef(p.oid) FROM pg_proc AS p WHERE p.pronamespace = 'tide'::regnamespace AND p.proname = $1`, e.function).Scan(&text); err != nil {
		t.Fatalf("%s: %v", e.function, err)
	}
	if !strings.Contains(text, e.from) {
		t.Fatalf("%s has no %q", e.function, e.from)
	}
	return strings.ReplaceAll(text, e.from, e.to)
}

// What the checkers of causal consistency see: two transactions that meet, in one seal, and a device that
// looks after each bundle.
func TestMutationsOfCausality(t *testing.T) {
	for _, m := range []mutation{
		{name: "as it should be"},
		{name: "bundles go by their first change", edits: []edit{{"seal", "max(f.change_id) AS last_change_id", "min(f.change_id) AS last_change_id"}}, seen: []string{"writes follow reads"}},
		{name: "net across transactions", seen: []string{"atomic visibility"}, edits: []edit{{"seal", "WHERE f.key_hash IS NOT NULL AND f.op <> 'R'\n",
			"WHERE f.key_hash IS NOT NULL AND f.op <> 'R' AND NOT EXISTS (SELECT FROM fresh AS o WHERE o.table_id = f.table_id AND o.row_key = f.row_key AND o.change_id > f.change_id AND o.xid <> f.xid AND o.op = 'U')\n"}}},
	} {
		t.Run(m.name, func(t *testing.T) {
			w := &World{tables: firstTables, pushes: map[string]bool{}}
			w.ctx, w.end = context.WithCancel(t.Context())
			defer w.end()
			var err error
			databases := newMutant(t, m)
			w.database, err = databases.take(w.ctx)
			must(t, err, w.open())
			defer w.close()
			checker, reader := causal.NewChecker(), w.readers[0]
			reader.device.MaxBundles = 1
			look := func() {
				var read causal.State
				for k := range 3 {
					_, err := fmt.Sscan(field(reader.device.Rows[fmt.Sprintf(`app.doc{"id":"d%d"}`, k)].Payload, "n"), &read[k])
					must(t, err)
				}
				checker.Read("reader", read)
			}
			do := func(s *session, statements ...string) {
				for _, statement := range statements {
					if s.conn == nil {
						s.conn, err = w.connect(w.ctx, "")
						must(t, err)
					}
					must(t, s.exec(statement), w.lookout.look(w.ctx))
				}
			}
			set := func(k, value int) string {
				return fmt.Sprintf(`UPDATE app.doc SET n = %d, token = '%[1]d.%d' WHERE id = 'd%[2]d'`, value, k)
			}
			one, two := w.sessions[0], w.sessions[1]
			do(one, `INSERT INTO app.doc VALUES ('d2', 'ann', NULL, 0, '-')`, set(1, 0), `SELECT tide.seal()`)
			must(t, reader.syncNow())
			look()
			do(two, `BEGIN`, set(2, 102))
			checker.Wrote(causal.Txn{Value: 101, Writes: []int{0, 1}})
			do(one, `BEGIN`, set(0, 101), set(1, 101), `COMMIT`)
			checker.Wrote(causal.Txn{Value: 102, Writes: []int{1, 2}, Read: causal.State{101, 101}})
			do(two, set(1, 102), `COMMIT`)
			do(one, `SELECT tide.seal()`)
			for more := true; more; {
				must(t, reader.advance(Faults[0]))
				look()
				more = reader.process != nil
			}
			got := fmt.Sprint(checker.Err())
			if want := strings.Join(m.seen, ""); want == "" && got != "<nil>" || !strings.Contains(got, want) {
				t.Errorf("the checkers say %s, want %q", got, want)
			}
			if m.seen != nil {
				fmt.Printf("| %s | %s |\n", m.name, m.seen[0])
			}
		})
	}
}
