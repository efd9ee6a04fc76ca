package main

import (
	"bufio"
	"encoding/json"
	"fmt"
	"os"
	"regexp"
	"strings"
	"testing"

	"github.com/pgtide/pgtide/internal/pgtest"
)

var sealedAt = regexp.MustCompile(`\d{4}-\d\d-\d\dT[\d:.]+Z`)

func write(t *testing.T, db *pgtest.DB) {
	t.Helper()
	must(t, db,
		`INSERT INTO app.item VALUES (9007199254740993, 1, 'one'), (2, 2, 'two')`,
		`UPDATE app.item SET owner = 2 WHERE owner = 1`,
		`DELETE FROM app.item WHERE id = 2`,
		`SELECT tide.seal()`)
}

func TestTailPrintsALineForTheBundleThenItsChanges(t *testing.T) {
	t.Parallel()
	db := withItems(t)
	head := headOf(t, db)
	write(t, db)
	got := pgtide(t, db.URL, "tail", "--after", "0", "--follow=false")
	want := strings.NewReplacer("b1", fmt.Sprint(head+1), "b2", fmt.Sprint(head+2), "b3", fmt.Sprint(head+3)).Replace(
		`bundle b1  user:1 #1  from server #b1  AT  changes 1
  INSERT app.item {"id":"9007199254740993"} {"id":9007199254740993,"owner":1,"title":"one"}
bundle b1  user:2 #1  from server #b1  AT  changes 1
  INSERT app.item {"id":"2"} {"id":2,"owner":2,"title":"two"}
bundle b2  user:1 #2  from server #b2  AT  changes 1
  DELETE app.item {"id":"9007199254740993"}
bundle b2  user:2 #2  from server #b2  AT  changes 1
  INSERT app.item {"id":"9007199254740993"} {"id":9007199254740993,"owner":2,"title":"one"}
bundle b3  user:2 #3  from server #b3  AT  changes 1
  DELETE app.item {"id":"2"}
`)
	if out := sealedAt.ReplaceAllString(got.out, "AT"); got.code != 0 || got.errors != "" || out != want {
		t.Errorf("got %d %q:\n%s\nwant:\n%s", got.code, got.errors, out, want)
	}

	got = pgtide(t, db.URL, "tail", "--after", fmt.Sprint(head+1), "--bucket", "user:1", "--bucket", "a,b", "--follow=false")
	if strings.Count(got.out, "bundle ") != 1 || !strings.Contains(got.out, "user:1 #2") {
		t.Errorf("one bucket: %+v", got)
	}
	if got := pgtide(t, db.URL, "tail", "--follow=false"); got != (said{}) {
		t.Errorf("without --after it begins with what comes next: %+v", got)
	}
}

func TestTailPrintsJSONWithEveryDigit(t *testing.T) {
	t.Parallel()
	db := withItems(t)
	write(t, db)
	got := pgtide(t, db.URL, "tail", "--after", "0", "--follow=false", "--json")
	if strings.Count(got.out, "9007199254740993,") != 2 {
		t.Errorf("digits are lost:\n%s", got.out)
	}
	var ops []string
	for lines := bufio.NewScanner(strings.NewReader(got.out)); lines.Scan(); {
		var c change
		if err := json.Unmarshal(lines.Bytes(), &c); err != nil {
			t.Fatalf("%s: %v", lines.Text(), err)
		}
		ops = append(ops, fmt.Sprint(c.BucketID, " ", c.BundleSeq, " ", c.Op))
	}
	want := "user:1 1 INSERT, user:2 1 INSERT, user:1 2 DELETE, user:2 2 INSERT, user:2 3 DELETE"
	if strings.Join(ops, ", ") != want {
		t.Errorf("got %v, want %s", ops, want)
	}
}

// More than one page of bundles, of changes, and of buckets in one bundle.
func TestTailPrintsEverythingOnceInOrder(t *testing.T) {
	t.Parallel()
	db := withItems(t)
	must(t, db,
		fmt.Sprintf(`INSERT INTO app.item SELECT g, 1, 'large' FROM generate_series(1, %d) AS g`, 2*changesPerRead+17),
		fmt.Sprintf(`INSERT INTO app.item SELECT -g, g, 'many' FROM generate_series(10, %d) AS g`, 10+2*bundlesPerRead),
		`DO $$ BEGIN FOR i IN 1..600 LOOP UPDATE app.item SET title = i::text WHERE id = -20; COMMIT; END LOOP; END $$`,
		`SELECT tide.seal()`)
	got := pgtide(t, db.URL, "tail", "--after", "0", "--follow=false", "--json")
	var printed []string
	for lines := bufio.NewScanner(strings.NewReader(got.out)); lines.Scan(); {
		var c change
		if err := json.Unmarshal(lines.Bytes(), &c); err != nil {
			t.Fatalf("%s: %v", lines.Text(), err)
		}
		printed = append(printed, fmt.Sprint(c.BundleID, " ", c.BucketID, " ", *c.RowOrdinal))
	}
	rows, err := db.Query(t.Context(), `SELECT concat_ws(' ', bundle_id, bucket_id, row_ordinal) FROM tide.changes ORDER BY bundle_id, bucket_id COLLATE "C", row_ordinal`)
	if err != nil {
		t.Fatal(err)
	}
	var log []string
	for rows.Next() {
		var line string
		if err := rows.Scan(&line); err != nil {
			t.Fatal(err)
		}
		log = append(log, line)
	}
	if err := rows.Err(); err != nil {
		t.Fatal(err)
	}
	if len(log) != 2*changesPerRead+17+2*bundlesPerRead+1+600 || strings.Join(printed, "\n") != strings.Join(log, "\n") {
		t.Errorf("printed %d changes, the log has %d", len(printed), len(log))
	}
}

func TestTailFollowsThroughALostConnection(t *testing.T) {
	t.Parallel()
	db := withItems(t)
	p := start(t, db.URL, "tail", "--poll", "10ms", "--after", fmt.Sprint(headOf(t, db)))
	for i := range 3 {
		must(t, db, fmt.Sprintf(`INSERT INTO app.item VALUES (%d, 1, 'x')`, i), `SELECT tide.seal()`)
		until(t, "the bundle", func() bool { return strings.Count(p.out.String(), "INSERT") == i+1 })
		must(t, db, `SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'pgtide tail' AND datname = current_database()`)
	}
	got := p.interrupt(t, os.Interrupt)
	if got.code != 0 || strings.Count(got.out, "bundle ") != 3 {
		t.Errorf("got %+v", got)
	}
}

// A bundle without changes stands for a snapshot that devices must take.
func TestTailShowsAReset(t *testing.T) {
	t.Parallel()
	db := withItems(t)
	write(t, db)
	after := headOf(t, db)
	must(t, db, `SELECT tide.refresh('app.item', missed_changes => true)`, `SELECT tide.seal()`)
	got := pgtide(t, db.URL, "tail", "--after", fmt.Sprint(after), "--follow=false")
	if !strings.Contains(got.out, "changes 0  reset") {
		t.Errorf("text: %+v", got)
	}
	got = pgtide(t, db.URL, "tail", "--after", fmt.Sprint(after), "--follow=false", "--json")
	if !strings.Contains(got.out, `"label":"reset"`) {
		t.Errorf("JSON: %+v", got)
	}
}

func headOf(t *testing.T, db *pgtest.DB) int64 {
	t.Helper()
	var head int64
	if err := db.QueryRow(t.Context(), `SELECT tide.head()`).Scan(&head); err != nil {
		t.Fatal(err)
	}
	return head
}
