package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"time"
)

func init() {
	register(Case{
		Number: 6,
		Title:  "snapshot of a home bucket over HTTP; p50 and p99 are of a chunk, or until the first byte of a stream",
		Limit:  "COPY (SELECT row_to_json(...)) TO STDOUT of the same rows",
		Run:    snapshots,
	})
}

func snapshots(ctx context.Context, b *Bench) error {
	for _, rows := range b.Size.SnapshotRows {
		for _, users := range []int{1, 10_000} {
			if err := snapshotsOf(ctx, b, rows, users); err != nil {
				return err
			}
		}
	}
	return nil
}

// snapshotsOf the rows of one user, who is alone, or whose rows lie among those of others.
func snapshotsOf(ctx context.Context, b *Bench, rows, users int) error {
	d, err := b.Database(ctx)
	if err != nil {
		return err
	}
	if err := createNoteTables(ctx, d); err != nil {
		return err
	}
	of, all, owner := "the only bucket", rows, "1"
	if users > 1 {
		others := min(b.Size.OtherRows, 10*rows)
		all += others
		of = fmt.Sprintf("one of %d buckets among %d other rows", users, others)
		owner = fmt.Sprintf("CASE WHEN g * %[1]d / %[2]d > (g - 1) * %[1]d / %[2]d THEN 1 ELSE 2 + g %% %[3]d END", rows, all, users-1)
	}
	b.log("  writing %d rows, %s", rows, of)
	fill := fmt.Sprintf("INSERT INTO %s SELECT %s FROM generate_series(1::bigint, %d) AS g", synced, fmt.Sprintf(noteRow, "g", owner), all)
	if _, err := d.Exec(ctx, fill); err != nil {
		return fmt.Errorf("fill: %w", err)
	}
	if err := registerNotes(ctx, d); err != nil {
		return err
	}
	if err := d.Settle(ctx); err != nil {
		return err
	}
	conn, err := d.Session(ctx)
	if err != nil {
		return err
	}
	front, err := d.Front(ctx)
	if err != nil {
		return err
	}
	device, err := front.Device(ctx, "1", "bench")
	if err != nil {
		return err
	}
	limit := &copier{conn.PgConn(), "COPY (SELECT row_to_json(n) FROM " + synced + " AS n WHERE n.owner_id = 1) TO STDOUT"}
	var streamed *Trial
	comparisons := []Comparison{{
		Variant: fmt.Sprintf("%d rows streamed, first byte, %s", rows, of),
		Metric:  Latency,
		Subject: func(ctx context.Context, t *Trial) error {
			streamed = t
			return expecting(rows, together(front, snapshotStream{device}))(ctx, t)
		},
	}}
	for _, s := range []struct {
		name    string
		subject Contender
	}{
		// What the first byte was waited for is the same stream.
		{"streamed", func(_ context.Context, t *Trial) error { *t = *streamed; return nil }},
		{"in chunks of 1000", expecting(rows, together(front, snapshotChunks{device}))},
	} {
		comparisons = append(comparisons, Comparison{
			Variant:   fmt.Sprintf("%d rows %s, %s", rows, s.name, of),
			Subject:   s.subject,
			Limit:     expecting(rows, together(nil, limit)),
			LimitName: "COPY of row_to_json",
		})
	}
	return b.Compare(ctx, comparisons...)
}

// snapshotStream reads a snapshot as a stream; its latency is the time to the first byte.
type snapshotStream struct{ *device }

func (s snapshotStream) read(ctx context.Context) (g got, err error) {
	began := time.Now()
	response, err := s.begin(ctx, http.MethodGet, "/sync/snapshot", nil)
	if err != nil {
		return g, fmt.Errorf("snapshot: %w", err)
	}
	defer func() { _ = response.Body.Close() }() // it was read
	var first [1]byte
	if _, err := io.ReadFull(response.Body, first[:]); err != nil {
		return g, fmt.Errorf("snapshot: %w", err)
	}
	g.latencies = append(g.latencies, time.Since(began))
	var counted rowCounter
	if _, err := io.CopyBuffer(&counted, response.Body, make([]byte, 64<<10)); err != nil {
		return g, fmt.Errorf("snapshot: %w", err)
	}
	if response.StatusCode != http.StatusOK {
		return g, fmt.Errorf("snapshot: answered with %d: %s", response.StatusCode, counted.kept)
	}
	g.rows, g.bytes = counted.rows, counted.bytes
	return g, nil
}

// snapshotChunks reads a snapshot session; its latencies are those of the chunks.
type snapshotChunks struct{ *device }

func (s snapshotChunks) read(ctx context.Context) (g got, err error) {
	status, err := s.ask(ctx, http.MethodPost, "/sync/snapshot-sessions", []byte("{}"))
	if err != nil || status != http.StatusOK {
		return g, s.unexpected("create a snapshot", status, err)
	}
	var session struct {
		SnapshotID string `json:"snapshot_id"`
		RowCount   int64  `json:"row_count"`
	}
	if err := json.Unmarshal(s.answer.Bytes(), &session); err != nil {
		return g, fmt.Errorf("create a snapshot: %w", err)
	}
	path := "/sync/snapshot-sessions/" + session.SnapshotID
	for g.rows < session.RowCount {
		began := time.Now()
		status, err := s.ask(ctx, http.MethodGet, fmt.Sprintf("%s?after_row_ordinal=%d&max_rows=1000", path, g.rows), nil)
		if err != nil || status != http.StatusOK {
			return g, s.unexpected("chunk of a snapshot", status, err)
		}
		g.latencies = append(g.latencies, time.Since(began))
		rows := countRows(s.answer.Bytes())
		if rows == 0 {
			return g, errors.New("chunk of a snapshot: it is empty")
		}
		g.rows += rows
		g.bytes += int64(s.answer.Len())
	}
	if status, err := s.ask(ctx, http.MethodDelete, path, nil); err != nil || status != http.StatusNoContent {
		return g, s.unexpected("delete a snapshot", status, err)
	}
	return g, nil
}
