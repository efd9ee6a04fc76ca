package main

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"github.com/pgtide/pgtide/internal/cursorclient"
	"github.com/pgtide/pgtide/internal/cursorserver"
	"github.com/pgtide/pgtide/runtime/sealer"
)

func init() {
	register(Case{
		Number: 10,
		Title:  "buckets that hang on other tables: what they cost the writer, the seal, a reader among many, and everybody while much moves",
		Limit:  "the same with rules of the row, or with few other buckets",
		Run:    buckets,
	})
}

func buckets(ctx context.Context, b *Bench) error {
	d, err := b.Database(ctx)
	if err != nil {
		return err
	}
	if err := createNotes(ctx, d); err != nil {
		return err
	}
	r := &ruled{Database: d, size: b.Size, tree: b.Size.Rows / 5}
	var comparisons []Comparison
	for _, rules := range []int{1, 3} {
		c, err := r.lookedAt(ctx, rules)
		if err != nil {
			return err
		}
		comparisons = append(comparisons, c)
	}
	if err := r.createTree(ctx); err != nil {
		return err
	}
	if err := d.Settle(ctx); err != nil {
		return err
	}
	comparisons = append(comparisons, r.sealedChildren(), r.movedTree(), r.meanwhile(), r.heard())
	among, err := r.pullAmong(ctx, b, b.Size.Rows)
	if err != nil {
		return err
	}
	return b.Compare(ctx, append(comparisons, among)...)
}

type ruled struct {
	*Database
	size   Size
	tree   int // rows in the folders of a project, which move with it: three comparisons move all of them in each round
	nextID atomic.Int64
	owner  int
}

// lookedAt compares one-row transactions in a table that rules of others look at with those in one that none does.
func (r *ruled) lookedAt(ctx context.Context, rules int) (Comparison, error) {
	table := fmt.Sprintf("bench.seen_by_%d", rules)
	statements := []string{
		"CREATE TABLE " + table + " " + noteColumns,
		"CREATE INDEX ON " + table + " (owner_id)",
		"SELECT tide.register_table('" + table + "', owner_column => 'owner_id')",
	}
	for i := range rules {
		child := fmt.Sprintf("%s_%d", table, i+1)
		statements = append(statements,
			"CREATE TABLE "+child+" (id bigint PRIMARY KEY, note_id bigint)",
			"CREATE INDEX ON "+child+" (note_id)",
			"CREATE FUNCTION bench.buckets(c "+child+") RETURNS text[] LANGUAGE sql STABLE AS 'SELECT array_agg(''user:'' || n.owner_id) FROM "+table+" AS n WHERE n.note_id = c.note_id'",
			"SELECT tide.register_table('"+child+"', bucket_function => 'bench.buckets')",
			"SELECT tide.add_bucket_dependency('"+child+"', on_table => '"+table+"', columns => 'note_id', table_columns => 'note_id')")
	}
	if err := r.execAll(ctx, statements...); err != nil {
		return Comparison{}, err
	}
	writing := func(table string) (Contender, error) {
		w, err := openWriters(ctx, r.Database, table, 1, "off", &r.nextID, 0)
		return func(ctx context.Context, t *Trial) error { return w.write(ctx, t, w.insert, 0, r.size.Duration) }, err
	}
	subject, err := writing(table)
	if err != nil {
		return Comparison{}, err
	}
	limit, err := writing(synced)
	return Comparison{Variant: "one-row inserts where " + plural(rules, "rule") + " of other tables look", Subject: subject, Limit: limit, LimitName: "where none looks",
		After: func(ctx context.Context) error { _, err := sealer.Seal(ctx, r.Pool); return err }}, err
}

// createTree makes a project with folders in a folder, a hundred documents in each.
func (r *ruled) createTree(ctx context.Context) error {
	return r.execAll(ctx,
		"CREATE TABLE bench.project (project_id int PRIMARY KEY, owner_id bigint)",
		"CREATE TABLE bench.folder (folder_id int PRIMARY KEY, parent_id int, project_id int)",
		"CREATE TABLE bench.document (document_id bigint PRIMARY KEY, folder_id int, title text, body text)",
		"CREATE TABLE bench.flat (document_id bigint PRIMARY KEY, owner_id bigint, title text, body text)",
		"CREATE INDEX ON bench.folder (parent_id)", "CREATE INDEX ON bench.folder (project_id)", "CREATE INDEX ON bench.document (folder_id)",
		"INSERT INTO bench.project VALUES (1, 1), (2, 2)",
		"INSERT INTO bench.folder VALUES (0, NULL, 1), (-1, NULL, 2)",
		fmt.Sprintf("INSERT INTO bench.folder SELECT g, 0 FROM generate_series(1, %d) AS g", r.tree/100),
		fmt.Sprintf("INSERT INTO bench.document SELECT g, 1 + g %% %d, 'title', repeat('x', 100) FROM generate_series(1, %d) AS g", r.tree/100, r.tree),
		fmt.Sprintf("INSERT INTO bench.flat SELECT g, 1, 'title', repeat('x', 100) FROM generate_series(1, %d) AS g", r.tree),
		"SELECT tide.register_table('bench.project', owner_column => 'owner_id')",
		`SELECT tide.register_table('bench.folder', parents => '{"bench.folder": "parent_id", "bench.project": "project_id"}')`,
		"SELECT tide.register_table('bench.document', parent => 'bench.folder', parent_fk => 'folder_id')",
		"SELECT tide.register_table('bench.flat', owner_column => 'owner_id')",
		"SELECT tide.seal()")
}

// sealedChildren compares sealing rows that lie where their folder lies with sealing rows that say it themselves.
func (r *ruled) sealedChildren() Comparison {
	rows := r.size.Rows / 10
	sealing := func(insert string) Contender {
		return func(ctx context.Context, t *Trial) error {
			first := r.nextID.Add(int64(rows)) + 1_000_000_000
			if err := r.execAll(ctx, fmt.Sprintf(insert, first, first+int64(rows)-1)); err != nil {
				return err
			}
			t.Rows += int64(rows)
			return t.Measure(ctx, func() error { _, err := sealer.Seal(ctx, r.Pool); return err })
		}
	}
	return Comparison{
		Variant:   fmt.Sprintf("seal of %d rows that lie where their folder in a folder lies", rows),
		Subject:   sealing("INSERT INTO bench.document SELECT g, -1, 'title', repeat('x', 100) FROM generate_series(%d::bigint, %d::bigint) AS g"),
		Limit:     sealing("INSERT INTO bench.flat SELECT g, 1, 'title', repeat('x', 100) FROM generate_series(%d::bigint, %d::bigint) AS g"),
		LimitName: "rows with an owner column",
		After: func(ctx context.Context) error {
			return r.execAll(ctx, "DELETE FROM bench.document WHERE folder_id = -1", "DELETE FROM bench.flat WHERE document_id > 1000000000", "SELECT tide.seal()")
		},
	}
}

// movedTree compares sealing one update that moves a project with sealing one update of as many rows.
func (r *ruled) movedTree() Comparison {
	sealing := func(update string) Contender {
		return func(ctx context.Context, t *Trial) error {
			r.owner++
			if err := r.execAll(ctx, fmt.Sprintf(update, r.owner)); err != nil {
				return err
			}
			t.Rows += int64(r.tree)
			return t.Measure(ctx, func() error { _, err := sealer.Seal(ctx, r.Pool); return err })
		}
	}
	return Comparison{
		Variant:   fmt.Sprintf("seal of one row that moves %d below it", r.tree),
		Subject:   sealing("UPDATE bench.project SET owner_id = %d WHERE project_id = 1"),
		Limit:     sealing("UPDATE bench.flat SET owner_id = %d"),
		LimitName: "of one statement that gives all of them another owner",
	}
}

// moving gives the project to another owner and seals that, if it shall, and says when it is done.
func (r *ruled) moving(ctx context.Context, move bool) <-chan error {
	moved := make(chan error, 1)
	go func() {
		if !move {
			moved <- nil
			return
		}
		r.owner++
		moved <- r.execAll(ctx, fmt.Sprintf("UPDATE bench.project SET owner_id = %d WHERE project_id = 1", r.owner), "SELECT tide.seal()")
	}()
	return moved
}

// meanwhile is what transactions of others take while that is sealed, which they do not wait for.
func (r *ruled) meanwhile() Comparison {
	committing := func(move bool) Contender {
		return func(ctx context.Context, t *Trial) error {
			w, err := openWriters(ctx, r.Database, synced, 1, "off", &r.nextID, 0)
			if err != nil {
				return err
			}
			moved := r.moving(ctx, move)
			if err := w.write(ctx, t, w.insert, 0, r.size.Duration); err != nil {
				return err
			}
			return <-moved
		}
	}
	return Comparison{
		Variant:   fmt.Sprintf("one-row inserts while %d rows are moved", r.tree),
		Subject:   committing(true),
		Limit:     committing(false),
		LimitName: "while nothing is moved",
		After:     func(ctx context.Context) error { _, err := sealer.Seal(ctx, r.Pool); return err },
	}
}

// heard is what devices of other buckets wait while that is sealed: from the beginning of a one-row
// transaction until a seal has it, the longest of all.
func (r *ruled) heard() Comparison {
	longest := Metric{Unit: "ms", LowerIsBetter: true, Of: func(t *Trial) float64 { return slices.Max(milliseconds(t.Latencies)) }}
	sealing := func(move bool) Contender {
		return func(ctx context.Context, t *Trial) error {
			return t.Measure(ctx, func() error {
				moved := r.moving(ctx, move)
				var err error
				for end := time.Now().Add(r.size.Duration); moved != nil || time.Now().Before(end); {
					began := time.Now()
					if err := r.execAll(ctx, fmt.Sprintf("INSERT INTO bench.flat VALUES (%d, 1, 'title', 'body')", 2_000_000_000+r.nextID.Add(1)), "SELECT tide.seal()"); err != nil {
						return err
					}
					t.Rows++
					t.Latencies = append(t.Latencies, time.Since(began))
					select {
					case err = <-moved:
						moved = nil
					default:
					}
				}
				return err
			})
		}
	}
	return Comparison{
		Variant: fmt.Sprintf("longest wait of another bucket's row for its seal while %d rows are moved", r.tree), Metric: longest,
		Subject: sealing(true), Limit: sealing(false), LimitName: "while nothing is moved",
	}
}

// pullAmong compares what one user pulls, who reads three buckets, among many others and among ten.
func (r *ruled) pullAmong(ctx context.Context, b *Bench, others int) (Comparison, error) {
	among := func(others int) (Contender, error) {
		d, err := b.Database(ctx)
		if err != nil {
			return nil, err
		}
		if err := createNotes(ctx, d); err != nil {
			return nil, err
		}
		for _, statement := range []string{
			"CREATE TABLE bench.comment (comment_id bigint PRIMARY KEY, note_id bigint)",
			"CREATE INDEX ON bench.comment (note_id)",
			"SELECT tide.register_table('bench.comment', parent => 'bench.note', parent_fk => 'note_id')",
			"CREATE FUNCTION bench.reads(user_id text) RETURNS text[] LANGUAGE sql STABLE AS $$ SELECT ARRAY['user:1', 'user:2', 'user:3'] $$",
			"SELECT tide.set_bucket_access('bench.reads')",
			insertNotes(synced, 1, int64(max(others, 1000)), others),
			fmt.Sprintf("INSERT INTO bench.comment SELECT g, g FROM generate_series(1, %d) AS g", max(others, 1000)),
			"SELECT tide.seal()",
		} {
			if _, err := d.Exec(ctx, statement); err != nil {
				return nil, fmt.Errorf("%.100s: %w", statement, err)
			}
		}
		if err := d.Settle(ctx); err != nil {
			return nil, err
		}
		device := cursorclient.New(&cursorserver.SQL{Pool: d.Pool, User: "me", Source: "bench", ChunkRows: 1000})
		if err := device.Sync(ctx); err != nil {
			return nil, err
		}
		return func(ctx context.Context, t *Trial) error {
			for range 20 {
				for _, statement := range []string{"UPDATE bench.note SET done = NOT done WHERE note_id IN (1, 2)", "SELECT tide.seal()"} {
					if _, err := d.Exec(ctx, statement); err != nil {
						return err
					}
				}
				err := t.Measure(ctx, func() error {
					began := time.Now()
					_, err := device.Pull(ctx)
					t.Latencies = append(t.Latencies, time.Since(began))
					return err
				})
				if err != nil {
					return err
				}
				t.Rows++
			}
			return nil
		}, nil
	}
	subject, err := among(others)
	if err != nil {
		return Comparison{}, err
	}
	limit, err := among(10)
	return Comparison{Variant: "a pull of three buckets with " + strconv.Itoa(others) + " others alive", Subject: subject, Limit: limit, LimitName: "with 10 others", Metric: Latency}, err
}

func (r *ruled) execAll(ctx context.Context, statements ...string) error {
	for _, statement := range statements {
		if _, err := r.Exec(ctx, statement); err != nil {
			return fmt.Errorf("%s: %w", strings.SplitN(statement, "\n", 2)[0], err)
		}
	}
	return nil
}
