package model

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"

	"github.com/pgtide/pgtide/internal/pgtest"
)

// Three writers that meet on two keys, in different orders of more and less.
var worlds = []World{
	{Writers: []Writer{{0, 1}, {1}, {0}}, Seals: 2, Reads: 2},
	{Writers: []Writer{{0}, {1, 0}, {2}}, Seals: 2, Reads: 2},
	{Writers: []Writer{{0, 2}, {1, 2}, {2}}, Seals: 2, Reads: 1},
	{Writers: []Writer{{0}, {1}, {2}}, Seals: 3, Reads: 2},
}

func TestEveryInterleavingHoldsTheInvariants(t *testing.T) {
	t.Parallel()
	for _, w := range worlds {
		states, ends, err := w.Explore()
		if err != nil || states < 1000 || len(ends) < 100 {
			t.Errorf("%v: %d states, %d ends: %v", w.Writers, states, len(ends), err)
		}
		t.Logf("%v: %d states, %d ends", w.Writers, states, len(ends))
	}
}

// A model that cannot tell wrong from right proves nothing.
func TestWrongVariantsAreCaught(t *testing.T) {
	t.Parallel()
	for variant, want := range map[Variant][]string{
		PageByChangeID: {"NoSkip", "CausalOrder"}, SkipLateCommit: {"NoSkip", "CausalOrder"}, OrderByFirst: {"CausalOrder"}, SealTwice: {"NoDup"},
	} {
		caught := map[string]string{}
		for _, w := range worlds {
			w.Variant = variant
			_, _, err := w.Explore()
			var broken *Broken
			if errors.As(err, &broken) {
				caught[broken.Invariant] = broken.Error()
			}
		}
		for _, invariant := range want {
			if caught[invariant] != "" {
				want = nil
			}
		}
		if want != nil {
			t.Errorf("variant %d broke %v, wanted one of %v", variant, caught, want)
		}
		t.Logf("variant %d: %v", variant, slices.Sorted(maps.Values(caught)))
	}
}

// PostgreSQL seals what the model says, in the order it says, whatever the interleaving.
func TestTracesOfTheModelOnPostgreSQL(t *testing.T) {
	t.Parallel()
	db := pgtest.New(t)
	if _, err := db.Exec(t.Context(), `CREATE SCHEMA app; CREATE TABLE app.row (id integer PRIMARY KEY, tx text NOT NULL);
		INSERT INTO app.row SELECT g, 'seed' FROM generate_series(0, 2) AS g;
		SELECT tide.register_table('app.row', bucket => 'all')`); err != nil {
		t.Fatal(err)
	}
	if _, err := db.Exec(t.Context(), `SELECT tide.seal()`); err != nil {
		t.Fatal(err)
	}
	sessions := make([]*pgx.Conn, 3)
	for i := range sessions {
		sessions[i] = db.Connect(t, db.URL)
	}
	const sample = 12 // of each world
	replayed := 0
	for n, w := range worlds {
		_, ends, err := w.Explore()
		if err != nil {
			t.Fatal(err)
		}
		keys := slices.Sorted(maps.Keys(ends))
		for i := 0; i < len(keys); i += max(1, len(keys)/sample) {
			trace := ends[keys[i]]
			want, err := w.Sealed(trace)
			if err != nil {
				t.Fatal(err)
			}
			got, read, err := replay(t.Context(), db, sessions, w, fmt.Sprintf("%d.%d", n, i), trace)
			if err != nil {
				t.Fatalf("%s: %v", join(trace), err)
			}
			if !slices.Equal(got, want) || !slices.Equal(read, want) {
				t.Errorf("%s:\nthe model seals %v, PostgreSQL %v, a reader got %v", join(trace), want, got, read)
			}
			replayed++
		}
	}
	t.Logf("%d traces", replayed)
}

// replay lets a trace happen, and returns the writers in the order of their bundles, and as a reader
// that pulled where the trace says got them.
func replay(ctx context.Context, db *pgtest.DB, sessions []*pgx.Conn, w World, run string, trace []Step) (sealed, read []int, err error) {
	var cursor int64
	if err := db.QueryRow(ctx, `SELECT head_seq FROM tide.bucket_position('all')`).Scan(&cursor); err != nil {
		return nil, nil, err
	}
	first := cursor
	pull := func(after int64) (order []int, last int64, err error) {
		last = after
		rows, err := db.Query(ctx, `SELECT bundle_seq, payload ->> 'tx' FROM tide.pull('all', $1)`, after)
		if err != nil {
			return nil, 0, err
		}
		var tx string
		_, err = pgx.ForEachRow(rows, []any{&last, &tx}, func() error {
			number := int(tx[strings.LastIndexByte(tx, ' ')+1] - '0')
			if len(order) == 0 || order[len(order)-1] != number {
				order = append(order, number)
			}
			return nil
		})
		return order, last, err
	}
	began := make([]bool, len(sessions))
	for _, step := range append(slices.Clone(trace), "seal", "read") {
		var tx, key int
		switch {
		case step == "seal":
			_, err = db.Exec(ctx, `SELECT tide.seal()`)
		case step == "read":
			var more []int
			more, cursor, err = pull(cursor)
			read = append(read, more...)
		case strings.HasPrefix(string(step), "commit"):
			if _, err := fmt.Sscanf(string(step), "commit %d", &tx); err != nil {
				return nil, nil, err
			}
			_, err = sessions[tx].Exec(ctx, `COMMIT`)
		default:
			if _, err := fmt.Sscanf(string(step), "write %d %d", &tx, &key); err != nil {
				return nil, nil, err
			}
			if !began[tx] {
				if _, err := sessions[tx].Exec(ctx, `BEGIN`); err != nil {
					return nil, nil, err
				}
				began[tx] = true
			}
			_, err = sessions[tx].Exec(ctx, `UPDATE app.row SET tx = $1 WHERE id = $2`, fmt.Sprintf("%s %d", run, tx), key)
		}
		if err != nil {
			return nil, nil, fmt.Errorf("%s: %w", step, err)
		}
	}
	sealed, _, err = pull(first)
	return sealed, read, err
}
