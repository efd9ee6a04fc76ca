package pushtest

import (
	"fmt"
	"sync"
	"testing"

	"github.com/pgtide/pgtide/internal/pgtest"
)

// The same push, many times at once and again much later: one effect, the same answer.
func TestRetriesAtOnce(t *testing.T) {
	t.Parallel()
	db := pgtest.New(t)
	exec(t, db, noteSchema)
	d := connected(t, db, "ann")
	var overtaking sync.WaitGroup
	for round := range int64(5) {
		rows := fmt.Sprintf(`[{"schema":"app","table":"note","key":{"id":"%d"},"op":"INSERT","base_row_version":0,"payload":{"n":%[1]d}}]`, round)
		var group sync.WaitGroup
		answers := make(chan answer, 12)
		for range cap(answers) {
			group.Go(func() { answers <- d.pushText(t.Context(), round+1, rows) })
		}
		group.Wait()
		close(answers)
		count := map[string]int{}
		for a := range answers {
			count[a.Status+a.Code]++
		}
		if count["applied"] != 1 || count["already_committed"] != cap(answers)-1 {
			t.Fatalf("round %d: %v", round, count)
		}
		exec(t, db, `SELECT tide.seal()`)
	}
	for round := range int64(5) {
		if a := d.pushText(t.Context(), round+1, `[{"schema":"app","table":"note","key":{"id":"1"},"op":"DELETE","base_row_version":9}]`); a.Status != "already_committed" {
			t.Errorf("much later: %+v", a)
		}
		if seq := value[int64](t, db, `SELECT bundle_seq FROM tide.push_result('ann', 'phone', $1)`, round+1); seq != round+1 {
			t.Errorf("push %d is bundle %d", round+1, seq)
		}
	}
	// Numbers that overtake each other: what was said to be applied is recorded, and nothing else is.
	for round := int64(6); round < 46; round += 2 {
		applied := make(chan int64, 2)
		for _, number := range []int64{round + 1, round} {
			overtaking.Go(func() {
				rows := fmt.Sprintf(`[{"schema":"app","table":"note","key":{"id":"%d"},"op":"INSERT","base_row_version":0,"payload":{}}]`, 100+number)
				for {
					a := d.pushText(t.Context(), number, rows)
					if a.Status == "applied" {
						applied <- number
					}
					if a.Code != "TD112" {
						return
					}
				}
			})
		}
		overtaking.Wait()
		if len(applied) != 2 || value[int64](t, db, `SELECT count(*) FROM tide.push_log WHERE source_bundle_id >= $1`, round) != 2 ||
			value[int64](t, db, `SELECT count(*) FROM app.note WHERE id >= 100 + $1`, round) != 2 {
			t.Fatalf("round %d: %d were applied", round, len(applied))
		}
	}
	exec(t, db, `SELECT tide.seal()`)
	for number, want := range map[int64]string{48: "TD112", 0: "TD101", -1: "TD101", 99: "TD112"} {
		if a := d.pushText(t.Context(), number, `[{"schema":"app","table":"note","key":{"id":"70"},"op":"INSERT","payload":{}}]`); a.Code != want {
			t.Errorf("number %d: %+v, want %s", number, a, want)
		}
	}
}

// Copies of a device push different bundles under one number, many times at once: one is applied and answered as
// often as it is asked, the others hear that it was not theirs. Who names no bundle is answered as ever.
func TestCopiesAtOnce(t *testing.T) {
	t.Parallel()
	db := pgtest.New(t)
	exec(t, db, noteSchema)
	d := connected(t, db, "ann")
	names := []string{"5f0f8f0e-0000-4000-8000-000000000001", "5f0f8f0e-0000-4000-8000-000000000002"}
	push := func(number int64, n int) answer {
		return d.pushNamed(t.Context(), number, fmt.Sprintf(`[{"schema":"app","table":"note","key":{"id":"%d"},"op":"INSERT","base_row_version":0,"payload":{"n":%d}}]`, number, n), &names[n])
	}
	for number := range int64(10) {
		number++
		var group sync.WaitGroup
		answers := [2]chan string{make(chan string, 6), make(chan string, 6)}
		for n := range 12 {
			group.Go(func() {
				a := push(number, n%2)
				answers[n%2] <- a.Status + a.Code
			})
		}
		group.Wait()
		won := value[int](t, db, `SELECT n::int FROM app.note WHERE id = $1`, number)
		for n, answers := range answers {
			count := map[string]int{}
			for range cap(answers) {
				count[<-answers]++
			}
			if n == won && (count["applied"] != 1 || count["already_committed"] != 5) || n != won && count["TD113"] != 6 {
				t.Fatalf("push %d of copy %d, where %d won: %v", number, n, won, count)
			}
		}
		if a := d.pushText(t.Context(), number, `[]`); a.Status != "already_committed" {
			t.Fatalf("without a name: %+v", a)
		}
		exec(t, db, `SELECT tide.seal()`)
	}
	// So it is in sessions: when one begins, and when another copy was faster.
	session := func(number, name int) string {
		return fmt.Sprintf(`SELECT status FROM tide.create_push_session('ann', 'phone', %d, 1, bundle_uuid => '%s')`, number, names[name])
	}
	won := value[int](t, db, `SELECT n::int FROM app.note WHERE id = 10`)
	if got := code(t, db, session(10, 1-won)); got != "TD113" {
		t.Errorf("a session of another copy: %s", got)
	}
	if got := value[string](t, db, session(10, won)); got != "already_committed" {
		t.Errorf("a session of the same: %s", got)
	}
	exec(t, db, session(11, 0))
	if a := push(11, 1); a.Status != "applied" {
		t.Fatalf("%+v", a)
	}
	if got := code(t, db, `SELECT tide.commit_push_session('ann', 'phone', (SELECT push_id FROM tide.push_session))`); got != "TD113" {
		t.Errorf("the commit of the slower copy: %s", got)
	}
}

// Two devices and a psql writer change the same rows upon what they last saw, hundreds of times: every
// accepted change counts once, every loser is told, and nothing waits for ever.
func TestTwoWriters(t *testing.T) {
	t.Parallel()
	db := pgtest.New(t)
	exec(t, db, noteSchema)
	exec(t, db, `INSERT INTO app.note SELECT g, 'ann' FROM generate_series(1, 5) AS g`)
	connected(t, db, "ann")
	exec(t, db, `SELECT tide.seal()`)
	const rounds = 120
	var group sync.WaitGroup
	accepted := make([]int64, 3)
	for i := range 2 {
		group.Go(func() {
			d := &device{db: db, user: "ann", source: fmt.Sprintf("device %d", i)}
			for round := range rounds {
				// Read what is there, and its version, then push upon it: in between others may win.
				head := value[int64](t, db, `SELECT head_seq FROM tide.bucket_position('user:ann')`)
				first, second := 1+round%5, 1+(round*3+i)%5
				var rows []row
				for _, id := range []int{first, second}[:1+min(1, max(first-second, second-first))] {
					n := value[int64](t, db, `SELECT n FROM app.note WHERE id = $1`, id)
					rows = append(rows, update("note", id, head, fmt.Sprintf(`{"n":%d}`, n+1)))
				}
				switch a := d.push(t.Context(), rows...); a.Status {
				case "applied":
					accepted[i] += int64(len(rows))
				case "conflict":
				default:
					if a.Code != "40P01" {
						t.Errorf("%+v", a)
					}
				}
				exec(t, db, `SELECT tide.seal()`)
			}
		})
	}
	group.Go(func() {
		for round := range rounds {
			exec(t, db, fmt.Sprintf(`UPDATE app.note SET n = n + 1 WHERE id = %d`, 1+round%5))
			accepted[2]++
		}
	})
	group.Wait()
	if sum := value[int64](t, db, `SELECT sum(n)::bigint FROM app.note`); sum != accepted[0]+accepted[1]+accepted[2] || accepted[0] == 0 || accepted[1] == 0 {
		t.Errorf("the rows count %d changes, accepted were %v", sum, accepted)
	}
	t.Logf("accepted: %v of %d pushes each", accepted, rounds)
}

// A long seal moves rows by its last step, under the transaction that it sealed last, which is a push: the place of the
// push is the bundle of what was pushed, for the retry that comes at once and for one much later.
func TestPlaceOfAPushBesideWhatItsSealMoved(t *testing.T) {
	t.Parallel()
	db := pgtest.New(t)
	exec(t, db, noteSchema)
	exec(t, db, `CREATE TABLE app.board (id integer PRIMARY KEY, owner_id text NOT NULL)`)
	exec(t, db, `CREATE TABLE app.card (id integer PRIMARY KEY, board_id integer NOT NULL REFERENCES app.board)`)
	exec(t, db, `SELECT tide.register_table('app.board', owner_column => 'owner_id')`)
	exec(t, db, `SELECT tide.register_table('app.card', parent => 'app.board', parent_fk => 'board_id')`)
	exec(t, db, `INSERT INTO app.board VALUES (1, 'bob')`)
	exec(t, db, `INSERT INTO app.card SELECT g, 1 FROM generate_series(1, 5) AS g`)
	d := connected(t, db, "ann")
	exec(t, db, `UPDATE tide.setting SET seal_max_changes = 3`)
	exec(t, db, `UPDATE app.board SET owner_id = 'ann'`)
	for id := range 5 {
		exec(t, db, fmt.Sprintf(`INSERT INTO app.board VALUES (%d, 'bob')`, 10+id))
	}
	push := func(number int64) {
		t.Helper()
		rows := fmt.Sprintf(`[{"schema":"app","table":"note","key":{"id":"%d"},"op":"INSERT","base_row_version":0,"payload":{}}]`, number)
		if a := d.pushText(t.Context(), number, rows); a.Status != "applied" {
			t.Fatalf("push %d: %+v", number, a)
		}
		for sealing := true; sealing; sealing = value[bool](t, db, `SELECT tide.seal_in_progress()`) {
			exec(t, db, `SELECT tide.seal()`)
		}
	}
	push(1)
	if got := value[int](t, db, `SELECT count(*) FROM tide.bundle_log AS b JOIN tide.push_log AS p USING (xid) WHERE b.bucket_id = 'user:ann'`); got != 2 {
		t.Fatalf("%d bundles are of the transaction of the push, and the test meant the seal to move cards by another one", got)
	}
	want := value[string](t, db, `SELECT format('%s %s', b.bundle_id, b.bundle_seq) FROM tide.bundle_log AS b WHERE b.bucket_id = 'user:ann' AND b.source_id = 'phone' AND b.source_bundle_id = 1`)
	for number := int64(2); number < 14; number++ {
		if got := value[string](t, db, `SELECT format('%s %s', r.bundle_id, r.bundle_seq) FROM tide.push_result('ann', 'phone', 1) AS r`); got != want {
			t.Errorf("after push %d the first one is said to be at %s, and is at %s", number-1, got, want)
		}
		push(number)
	}
}
