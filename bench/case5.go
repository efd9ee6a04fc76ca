package main

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/pgtide/pgtide/runtime/sealer"
)

func init() {
	register(Case{
		Number: 5,
		Title:  "pull of history page by page, over HTTP, and in SQL: tide.pull, every column of the wire as text",
		Limit:  "COPY (SELECT ...) TO STDOUT of a table that holds the same text",
		Run:    pulling,
	})
}

// A page as a device asks for it.
const (
	pageBundles = 1000
	pageBytes   = 8 << 20
)

const pulledColumns = "bundle_id, bundle_seq, row_ordinal, table_schema, table_name, key, op, payload, source_id, source_bundle_id, sealed_at"

func pulling(ctx context.Context, b *Bench) error {
	d, err := b.Database(ctx)
	if err != nil {
		return err
	}
	if err := createNotes(ctx, d); err != nil {
		return err
	}
	conn, err := d.Session(ctx, "synchronous_commit = off")
	if err != nil {
		return err
	}
	h := history{Database: d, conn: conn}
	sizes := []int{1, 10, 1000, b.Size.Rows}
	const follower = 2 // of bundles of 10
	cursor, err := h.cursor(ctx, follower)
	if err != nil {
		return err
	}
	for i, perBundle := range sizes {
		b.log("  writing %d rows in bundles of %d, among others", b.Size.Rows, perBundle)
		if err := h.write(ctx, int64(i+1), b.Size.Rows, perBundle, b.Size.OtherRows/len(sizes)); err != nil {
			return err
		}
		if err := h.keepCopy(ctx, i+1, b.Size.Rows); err != nil {
			return err
		}
	}
	if err := d.Settle(ctx); err != nil {
		return err
	}
	for name, statement := range map[string]string{
		"pull": fmt.Sprintf("SELECT %s FROM tide.pull($1, $2, %d, %d)", pulledColumns, pageBundles, pageBytes),
		"rows": "SELECT " + pulledColumns + " FROM tide.bundle_rows($1, $2, $3, 1000)",
	} {
		if _, err := conn.Prepare(ctx, name, statement); err != nil {
			return fmt.Errorf("prepare: %w", err)
		}
	}
	var comparisons []Comparison
	for i, perBundle := range sizes {
		bucket := fmt.Sprintf("user:%d", i+1)
		comparisons = append(comparisons, Comparison{
			Variant:   fmt.Sprintf("bundles of %s among %d others", plural(perBundle, "row"), b.Size.OtherRows),
			Subject:   expecting(b.Size.Rows, func(ctx context.Context, t *Trial) error { return h.pull(ctx, t, bucket) }),
			Limit:     expecting(b.Size.Rows, h.copyOut(i+1)),
			LimitName: "COPY of the same text",
		})
	}
	last := len(sizes)
	comparisons = append(comparisons, Comparison{
		Variant:   fmt.Sprintf("a bundle of %d rows by tide.bundle_rows, 1000 at a time", b.Size.Rows),
		Subject:   expecting(b.Size.Rows, func(ctx context.Context, t *Trial) error { return h.bundleRows(ctx, t, fmt.Sprintf("user:%d", last)) }),
		Limit:     expecting(b.Size.Rows, h.copyOut(last)),
		LimitName: "COPY of the same text",
	})
	overHTTP, err := h.overHTTP(ctx, b, sizes, follower, cursor)
	if err != nil {
		return err
	}
	return b.Compare(ctx, append(overHTTP, comparisons...)...)
}

type history struct {
	*Database
	conn   *pgx.Conn
	nextID int64
}

// write gives one owner rows in transactions of perBundle, and between them other owners their share of the
// others, ten or more at a time: what is read lies scattered, as it does in life.
func (h *history) write(ctx context.Context, owner int64, rows, perBundle, others int) error {
	transactions := rows / perBundle
	statement := fmt.Sprintf(`DO $do$
DECLARE
    v_next   bigint := %[1]d;
    v_others bigint := 0;
    v_upto   bigint;
BEGIN
    FOR i IN 1 .. %[2]d LOOP
        INSERT INTO %[3]s SELECT %[5]s FROM generate_series(v_next, v_next + %[4]d - 1) AS g;
        v_next := v_next + %[4]d;
        COMMIT;
        v_upto := i::bigint * %[6]d / %[2]d;
        IF v_upto >= v_others + 10 OR i = %[2]d AND v_upto > v_others THEN
            INSERT INTO %[3]s SELECT %[7]s FROM generate_series(v_next, v_next + v_upto - v_others - 1) AS g;
            v_next := v_next + v_upto - v_others;
            v_others := v_upto;
            COMMIT;
        END IF;
    END LOOP;
END;
$do$`, h.nextID+1, transactions, synced, perBundle, fmt.Sprintf(noteRow, "g", strconv.FormatInt(owner, 10)), others,
		fmt.Sprintf(noteRow, "g", fmt.Sprintf("1000 + g %% %d", owners)))
	if _, err := h.conn.Exec(ctx, statement); err != nil {
		return fmt.Errorf("write history: %w", err)
	}
	h.nextID += int64(rows + others)
	_, err := sealer.Seal(ctx, h.Pool)
	return err
}

// keepCopy keeps what a pull returns in a table.
func (h *history) keepCopy(ctx context.Context, owner, rows int) error {
	table := fmt.Sprintf("bench.copy_%d", owner)
	bucket := fmt.Sprintf("user:%d", owner)
	// The largest page there is.
	statement := fmt.Sprintf("CREATE TABLE %s AS SELECT %s FROM tide.pull('%s', 0, 100000, 1000000000000)", table, pulledColumns, bucket)
	tag, err := h.conn.Exec(ctx, statement)
	if err != nil {
		return fmt.Errorf("%s: %w", statement, err)
	}
	if tag.RowsAffected() != int64(rows) {
		return fmt.Errorf("the log holds %d rows of %s instead of %d", tag.RowsAffected(), bucket, rows)
	}
	if _, err := h.conn.Exec(ctx, "CREATE INDEX ON "+table+" (bundle_seq)"); err != nil {
		return fmt.Errorf("index %s: %w", table, err)
	}
	return nil
}

// expecting makes sure that a contender read all rows.
func expecting(rows int, run Contender) Contender {
	return func(ctx context.Context, t *Trial) error {
		err := run(ctx, t)
		if err == nil && t.Rows != int64(rows) {
			err = fmt.Errorf("read %d rows instead of %d", t.Rows, rows)
		}
		return err
	}
}

// pull goes from the bucket's beginning to its head. Its latencies are those of the pages.
func (h *history) pull(ctx context.Context, t *Trial, bucket string) error {
	var head int64
	if err := h.QueryRow(ctx, "SELECT head_seq FROM tide.bucket_position($1)", bucket).Scan(&head); err != nil {
		return fmt.Errorf("ask for the head: %w", err)
	}
	return t.Measure(ctx, func() error {
		for position := int64(0); position < head; {
			last, err := h.page(ctx, t, "pull", bucket, position)
			if err != nil {
				return err
			}
			if len(last.seq) == 0 {
				return errors.New("an empty page before the head")
			}
			if position, err = strconv.ParseInt(string(last.seq), 10, 64); err != nil {
				return fmt.Errorf("bundle_seq: %w", err)
			}
		}
		return nil
	})
}

// bundleRows reads the only bundle of a bucket.
func (h *history) bundleRows(ctx context.Context, t *Trial, bucket string) error {
	return t.Measure(ctx, func() error {
		for ordinal := int64(-1); ; {
			last, err := h.page(ctx, t, "rows", bucket, int64(1), ordinal)
			if err != nil || len(last.ordinal) == 0 {
				return err
			}
			if ordinal, err = strconv.ParseInt(string(last.ordinal), 10, 64); err != nil {
				return fmt.Errorf("row_ordinal: %w", err)
			}
		}
	})
}

// lastRow of a page says where to go on.
type lastRow struct {
	seq, ordinal []byte
}

// page reads text and decodes nothing of it: that is what is sent on.
func (h *history) page(ctx context.Context, t *Trial, statement string, args ...any) (lastRow, error) {
	var last lastRow
	began := time.Now()
	rows, err := h.conn.Query(ctx, statement, append([]any{pgx.QueryResultFormats{pgx.TextFormatCode}}, args...)...)
	if err != nil {
		return last, fmt.Errorf("read a page: %w", err)
	}
	defer rows.Close()
	for rows.Next() {
		values := rows.RawValues()
		for _, value := range values {
			t.Bytes += int64(len(value))
		}
		t.Rows++
		last.seq = append(last.seq[:0], values[1]...)
		last.ordinal = append(last.ordinal[:0], values[2]...)
	}
	t.Latencies = append(t.Latencies, time.Since(began))
	return last, rows.Err()
}

func (h *history) copyOut(owner int) Contender {
	return together(nil, &copier{h.conn.PgConn(), fmt.Sprintf("COPY (SELECT %s FROM bench.copy_%d) TO STDOUT", pulledColumns, owner)})
}

// copier reads by COPY.
type copier struct {
	conn *pgconn.PgConn
	sql  string
}

func (c *copier) read(ctx context.Context) (g got, err error) {
	tag, err := c.conn.CopyTo(ctx, (*counter)(&g.bytes), c.sql)
	g.rows = tag.RowsAffected()
	return g, err
}

// counter counts what is written to it.
type counter int64

func (c *counter) Write(p []byte) (int, error) {
	*c += counter(len(p))
	return len(p), nil
}
