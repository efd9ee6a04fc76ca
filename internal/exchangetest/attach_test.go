package exchangetest

import (
	"errors"
	"testing"

	"github.com/pgtide/pgtide/internal/v1client"
)

func attach(t *testing.T, d *v1client.Device, want string) {
	t.Helper()
	got, err := d.Attach(t.Context())
	if err != nil || got != want {
		t.Fatalf("attach says %q, %v; want %q", got, err, want)
	}
}

func TestADeviceWithoutRowsBeginsEmpty(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	d := s.device(t, "ann")
	attach(t, d, "initialize_empty")
	must(t, d.Insert("doc", doc("ann", "a", "one", 1)), d.Sync(t.Context()))
	if d.LastSeq() != 1 {
		t.Errorf("the first bundle is %d", d.LastSeq())
	}
	s.same(t, "ann", d)
	attach(t, s.device(t, "ann"), "remote_authoritative")
}

func TestTheFirstDeviceSeedsAndTheSecondAdopts(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	first, second := s.device(t, "ann"), s.device(t, "ann")
	must(t, first.Insert("doc", doc("ann", "a", "one", 1)), first.Insert("doc", doc("ann", "b", "two", 2)))
	must(t, second.Insert("doc", doc("ann", "c", "three", 3)))
	attach(t, first, "initialize_local")
	lease := first.InitializationID()
	attach(t, first, "initialize_local")
	if first.InitializationID() != lease {
		t.Errorf("the same device got lease %s, then %s", lease, first.InitializationID())
	}
	var later *v1client.RetryLaterError
	if _, err := second.Attach(t.Context()); !errors.As(err, &later) {
		t.Fatalf("beside the seeding device: %v", err)
	}
	for name, d := range map[string]*v1client.Device{"without rows": s.device(t, "ann"), "of another user": s.device(t, "bob")} {
		_, err := d.Attach(t.Context())
		if (name == "of another user") == errors.As(err, &later) {
			t.Errorf("a device %s beside the seeding one: %v", name, err)
		}
	}
	must(t, first.Sync(t.Context()))
	attach(t, second, "remote_authoritative")
	must(t, second.Sync(t.Context()), first.Sync(t.Context()))
	s.same(t, "ann", first)
	s.same(t, "ann", second)
	if len(first.Rows("doc")) != 3 {
		t.Errorf("the first device holds %v", first.Rows("doc"))
	}
}

// The lease of a device that never came back ends; what it sends afterwards is refused, and it joins.
func TestALeaseEnds(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	first, second := s.device(t, "ann"), s.device(t, "ann")
	must(t, first.Insert("doc", doc("ann", "a", "one", 1)), second.Insert("doc", doc("ann", "b", "two", 2)))
	attach(t, first, "initialize_local")
	s.exec(t, `UPDATE tide.scope_lease SET expires_at = clock_timestamp() - interval '1 second'`)
	var refusal *v1client.APIError
	if err := first.Push(t.Context()); !errors.As(err, &refusal) || refusal.Code != "initialization_expired" {
		t.Fatalf("after the lease: %v", err)
	}
	if first.Attached() {
		t.Error("the device is still attached")
	}
	attach(t, second, "initialize_local")
	must(t, second.Sync(t.Context()), first.Sync(t.Context()), second.Sync(t.Context()))
	s.same(t, "ann", first)
	s.same(t, "ann", second)
}

func TestAnotherDeviceTakesAnEndedLease(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	first, second := s.device(t, "ann"), s.device(t, "ann")
	must(t, first.Insert("doc", doc("ann", "a", "one", 1)), second.Insert("doc", doc("ann", "b", "two", 2)))
	attach(t, first, "initialize_local")
	s.exec(t, `UPDATE tide.scope_lease SET expires_at = clock_timestamp() - interval '1 second'`)
	attach(t, second, "initialize_local")
	var refusal *v1client.APIError
	if err := first.Push(t.Context()); !errors.As(err, &refusal) || refusal.Code != "initialization_stale" {
		t.Fatalf("with the lease of another: %v", err)
	}
	must(t, second.Sync(t.Context()), first.Sync(t.Context()), second.Sync(t.Context()))
	s.same(t, "ann", first)
	s.same(t, "ann", second)
}

// Rows that were there before pgtide, and rows of others, written by the application.
func TestAnExistingDatabaseIsAdopted(t *testing.T) {
	t.Parallel()
	s := newSite(t, `INSERT INTO app.doc SELECT 'd' || g, CASE g % 2 WHEN 0 THEN 'ann' ELSE 'bob' END, 'title ' || g, g FROM generate_series(1, 2500) AS g`)
	for _, pageRows := range []int{1, 7, 1000, 5000} {
		user := "ann"
		d := s.device(t, user, func(c *v1client.Config) { c.PageRows = pageRows })
		if pageRows == 1 {
			// One request a row: a user with few rows.
			user = "eve"
			s.exec(t, `INSERT INTO app.doc SELECT 'e' || g, 'eve', NULL, g FROM generate_series(1, 5) AS g`)
			d = s.device(t, user, func(c *v1client.Config) { c.PageRows = pageRows })
		}
		attach(t, d, "remote_authoritative")
		if d.LastSeq() < 1 {
			t.Errorf("the snapshot stands at %d", d.LastSeq())
		}
		must(t, d.Sync(t.Context()))
		s.same(t, user, d)
	}
}

// The rows were there when the tables were registered: there is no bundle for them.
func TestRowsFromBeforeTheLogAreInTheSnapshot(t *testing.T) {
	t.Parallel()
	s := newSite(t, `SELECT tide.unregister_table('app.doc')`, `INSERT INTO app.doc SELECT 'd' || g, 'ann', NULL, g FROM generate_series(1, 3) AS g`,
		`SELECT tide.register_table('app.doc', owner_column => 'owner_id', push_policy => 'owner_only')`)
	d := s.device(t, "ann")
	must(t, d.Insert("doc", doc("ann", "mine", "kept", 1)))
	attach(t, d, "remote_authoritative")
	must(t, d.Update("doc", doc("ann", "d1", "changed", 10)), d.Delete("doc", "d2"), d.Sync(t.Context()))
	if len(d.Conflicts()) > 0 || d.Rows("doc")["mine"] == "" {
		t.Errorf("conflicts %v, rows %v", d.Conflicts(), d.Rows("doc"))
	}
	s.same(t, "ann", d)
	other := s.attached(t, "ann")
	s.same(t, "ann", other)
}
