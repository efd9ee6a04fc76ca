package exchangetest

import (
	"testing"

	"github.com/pgtide/pgtide/internal/v1client"
)

// prepared are two devices that hold the same row.
func prepared(t *testing.T, s *site, change ...func(*v1client.Config)) (one, two *v1client.Device) {
	t.Helper()
	one, two = s.attached(t, "ann"), s.attached(t, "ann", change...)
	must(t, one.Insert("doc", doc("ann", "a", "one", 1)), one.Insert("doc", doc("ann", "other", "other", 1)), one.Sync(t.Context()), two.Sync(t.Context()))
	return one, two
}

func TestTheSecondOfTwoEditsIsAConflict(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		first, second func(d *v1client.Device) error
		// serverWins and clientWins are n of row a at the end; -1 is no row.
		serverWins, clientWins int
	}{
		"update update": {update(2), update(3), 2, 3},
		"update delete": {update(2), remove, 2, -1},
		"delete update": {remove, update(3), -1, 3},
		"delete delete": {remove, remove, -1, -1},
	} {
		for _, wins := range []string{"server wins", "client wins"} {
			t.Run(name+" "+wins, func(t *testing.T) {
				t.Parallel()
				s := newSite(t)
				one, two := prepared(t, s, func(config *v1client.Config) { config.ClientWins = wins == "client wins" })
				must(t, c.first(one), c.second(two))
				// A row that is not in conflict goes with it.
				must(t, two.Update("doc", doc("ann", "other", "other", 9)))
				must(t, one.Sync(t.Context()), two.Sync(t.Context()), one.Sync(t.Context()))
				want := c.serverWins
				if wins == "client wins" {
					want = c.clientWins
				}
				if got := value[int](t, s, `SELECT coalesce((SELECT n FROM app.doc WHERE id = 'a'), -1)`); got != want {
					t.Errorf("n is %d at the end, want %d", got, want)
				}
				if got := value[int](t, s, `SELECT n FROM app.doc WHERE id = 'other'`); got != 9 {
					t.Errorf("the row beside the conflict has n %d", got)
				}
				if len(one.Conflicts()) != 0 || len(two.Conflicts()) != 1 {
					t.Errorf("the first device was told of %v, the second of %v", one.Conflicts(), two.Conflicts())
				}
				s.same(t, "ann", one)
				s.same(t, "ann", two)
			})
		}
	}
}

func update(n int) func(*v1client.Device) error {
	return func(d *v1client.Device) error { return d.Update("doc", doc("ann", "a", "one", n)) }
}

func remove(d *v1client.Device) error { return d.Delete("doc", "a") }

func TestTwoDevicesInsertTheSameKey(t *testing.T) {
	t.Parallel()
	for _, wins := range []string{"server wins", "client wins"} {
		s := newSite(t)
		one, two := s.attached(t, "ann"), s.attached(t, "ann", func(config *v1client.Config) { config.ClientWins = wins == "client wins" })
		must(t, one.Insert("doc", doc("ann", "k", "one", 1)), two.Insert("doc", doc("ann", "k", "two", 2)))
		must(t, one.Sync(t.Context()), two.Sync(t.Context()), one.Sync(t.Context()))
		s.same(t, "ann", one)
		s.same(t, "ann", two)
		want := map[string]string{"server wins": "one", "client wins": "two"}[wins]
		if got := value[string](t, s, `SELECT title FROM app.doc WHERE id = 'k'`); got != want || len(two.Conflicts()) != 1 {
			t.Errorf("%s: the row is %q, conflicts %v", wins, got, two.Conflicts())
		}
	}
}

// The application's change has no version when the push comes: it is sealed before the answer.
func TestTheApplicationsChangeIsAConflictBeforeItIsSealed(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	one, two := prepared(t, s)
	must(t, one.Update("doc", doc("ann", "a", "one", 5)), two.Delete("doc", "a"))
	s.exec(t, `UPDATE app.doc SET n = 77 WHERE id = 'a'`)
	must(t, one.Sync(t.Context()), two.Sync(t.Context()))
	for _, d := range []*v1client.Device{one, two} {
		if len(d.Conflicts()) != 1 || d.Conflicts()[0].ServerVersion != 2 || d.Conflicts()[0].ServerRow == "" {
			t.Errorf("told of %+v", d.Conflicts())
		}
		s.same(t, "ann", d)
	}
}

// A change and its opposite leave the row as it was; a push on what was before is a conflict all the same.
func TestARowThatIsAsItWasWasChanged(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	one, two := prepared(t, s)
	must(t, two.Update("doc", doc("ann", "a", "one", 3)))
	s.exec(t, `UPDATE app.doc SET n = 77 WHERE id = 'a'`, `UPDATE app.doc SET n = 1 WHERE id = 'a'`)
	must(t, one.Sync(t.Context()), two.Sync(t.Context()))
	if len(two.Conflicts()) != 1 {
		t.Errorf("told of %v", two.Conflicts())
	}
	s.same(t, "ann", two)
}

// Client wins means the columns it changed: what somebody else did to the others stays.
func TestTheWinnerKeepsTheOtherColumns(t *testing.T) {
	t.Parallel()
	s := newSite(t, `CREATE TABLE app.task (id text PRIMARY KEY, owner_id text NOT NULL, note text, status text NOT NULL DEFAULT 'open')`,
		`SELECT tide.register_table('app.task', owner_column => 'owner_id', push_policy => 'owner_only', protected_columns => '{status}')`)
	d := s.attached(t, "ann", clientWins, func(c *v1client.Config) {
		c.Tables = []v1client.Table{{Name: "task", Key: []string{"id"}, Columns: []string{"id", "owner_id", "note", "status"}}}
	})
	must(t, d.Insert("task", `{"id":"a","owner_id":"ann","note":"one","status":"open"}`), d.Sync(t.Context()))
	must(t, d.Update("task", `{"id":"a","owner_id":"ann","note":"two","status":"open"}`))
	s.exec(t, `UPDATE app.task SET status = 'packed', note = 'theirs' WHERE id = 'a'`)
	must(t, d.Sync(t.Context()))
	if got := value[string](t, s, `SELECT note || ' ' || status FROM app.task`); got != "two packed" || len(d.Conflicts()) != 1 {
		t.Errorf("the row is %q, told of %v", got, d.Conflicts())
	}
	if got, err := v1client.Canonical(d.Rows("task")["a"]); err != nil || got != `{"id":"a","note":"two","owner_id":"ann","status":"packed"}` {
		t.Errorf("the device holds %s: %v", got, err)
	}
}
