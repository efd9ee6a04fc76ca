package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"sync"
	"time"

	"github.com/pgtide/pgtide/internal/cursorserver"
)

// overHTTP are the comparisons of pulls by devices, of the buckets that hold the history in bundles of
// these sizes, and of one of them by a device that reads many buckets.
func (h *history) overHTTP(ctx context.Context, b *Bench, sizes []int, follower int, cursor string) ([]Comparison, error) {
	front, err := h.Front(ctx)
	if err != nil {
		return nil, err
	}
	var comparisons []Comparison
	for i, perBundle := range sizes {
		p, err := front.puller(ctx, i+1)
		if err != nil {
			return nil, err
		}
		comparisons = append(comparisons, Comparison{
			Variant:   fmt.Sprintf("over HTTP: bundles of %s among %d others", plural(perBundle, "row"), b.Size.OtherRows),
			Subject:   expecting(b.Size.Rows, together(front, p)),
			Limit:     expecting(b.Size.Rows, h.copyOut(i+1)),
			LimitName: "COPY of the same text",
		})
	}
	follows, err := front.Device(ctx, strconv.Itoa(follower), followerSource)
	if err != nil {
		return nil, err
	}
	comparisons = append(comparisons, Comparison{
		Variant:   fmt.Sprintf("over HTTP with a cursor: bundles of %s among %d others", plural(sizes[follower-1], "row"), b.Size.OtherRows),
		Subject:   expecting(b.Size.Rows, together(front, &cursorPuller{follows, cursor})),
		Limit:     expecting(b.Size.Rows, h.copyOut(follower)),
		LimitName: "COPY of the same text",
	})
	many, err := h.manyPullers(ctx, b, front, sizes)
	return append(comparisons, many), err
}

const followerSource = "follower"

// cursor is that of a device which has fetched all its buckets, and reads on from here.
func (h *history) cursor(ctx context.Context, owner int) (string, error) {
	server := cursorserver.SQL{Pool: h.Pool, User: strconv.Itoa(owner), Source: followerSource}
	connected, err := server.Connect(ctx, "", nil)
	if err != nil {
		return "", fmt.Errorf("connect a cursor device: %w", err)
	}
	fetched, err := server.Snapshot(ctx, connected.Cursor, nil)
	if err != nil {
		return "", fmt.Errorf("fetch its buckets: %w", err)
	}
	return fetched.Cursor, nil
}

// cursorPuller is a device that reads on in all its buckets.
type cursorPuller struct {
	*device
	cursor string
}

// read pulls page after page; its latencies are those of the pages.
func (p *cursorPuller) read(ctx context.Context) (g got, err error) {
	for cursor, more := p.cursor, true; more; {
		began := time.Now()
		path := fmt.Sprintf("/sync/pull?cursor=%s&max_bundles=%d", url.QueryEscape(cursor), pageBundles)
		status, err := p.ask(ctx, http.MethodGet, path, nil)
		if err != nil || status != http.StatusOK {
			return g, p.unexpected("pull with a cursor", status, err)
		}
		text := p.answer.Bytes()
		var end struct {
			HasMore bool   `json:"has_more"`
			Cursor  string `json:"cursor"`
		}
		if at := bytes.LastIndex(text, []byte(`"has_more":`)); at < 0 || json.Unmarshal(append([]byte("{"), text[at:]...), &end) != nil {
			return g, errors.New("pull with a cursor: the page has no end")
		}
		cursor, more = end.Cursor, end.HasMore
		g.latencies = append(g.latencies, time.Since(began))
		g.rows += countRows(text)
		g.bytes += int64(len(text))
	}
	return g, nil
}

// manyPullers each read a quarter of one bucket, at once.
func (h *history) manyPullers(ctx context.Context, b *Bench, front *front, sizes []int) (Comparison, error) {
	const pullers, parts, owner = 16, 4, 2
	perBundle := sizes[owner-1]
	part := int64(b.Size.Rows / perBundle / parts)
	var subject, limit []reader
	for i := range pullers {
		from := int64(i%parts) * part
		p, err := front.puller(ctx, owner)
		if err != nil {
			return Comparison{}, err
		}
		p.after, p.target = from, from+part
		conn, err := h.Session(ctx)
		if err != nil {
			return Comparison{}, err
		}
		subject = append(subject, p)
		limit = append(limit, &copier{conn.PgConn(), fmt.Sprintf("COPY (SELECT %s FROM bench.copy_%d WHERE bundle_seq > %d AND bundle_seq <= %d) TO STDOUT", pulledColumns, owner, from, from+part)})
	}
	rows := pullers / parts * b.Size.Rows
	return Comparison{
		Variant:   fmt.Sprintf("over HTTP: %d clients at once, bundles of %s", pullers, plural(perBundle, "row")),
		Subject:   expecting(rows, together(front, subject...)),
		Limit:     expecting(rows, together(nil, limit...)),
		LimitName: fmt.Sprintf("%d COPY of the same text at once", pullers),
	}, nil
}

// got is what a reader got.
type got struct {
	rows, bytes int64
	latencies   []time.Duration
}

// reader reads all it is there for.
type reader interface {
	read(ctx context.Context) (got, error)
}

// together has readers read at once, from a front if there is one.
func together(front *front, readers ...reader) Contender {
	return func(ctx context.Context, t *Trial) error {
		t.Front = front
		all, errs := make([]got, len(readers)), make([]error, len(readers))
		err := t.Measure(ctx, func() error {
			var group sync.WaitGroup
			for i, r := range readers {
				group.Go(func() { all[i], errs[i] = r.read(ctx) })
			}
			group.Wait()
			return errors.Join(errs...)
		})
		for _, g := range all {
			t.Rows += g.rows
			t.Bytes += g.bytes
			t.Latencies = append(t.Latencies, g.latencies...)
		}
		return err
	}
}

// puller is a device that reads a part of its bucket's history, or all of it.
type puller struct {
	*device
	after, target int64
}

func (f *front) puller(ctx context.Context, owner int) (*puller, error) {
	device, err := f.Device(ctx, strconv.Itoa(owner), "bench")
	if err != nil {
		return nil, err
	}
	return &puller{device: device}, nil
}

// read pulls page after page; its latencies are those of the pages.
func (p *puller) read(ctx context.Context) (g got, err error) {
	after, more := p.after, true
	for more {
		began := time.Now()
		var rows int64
		if rows, after, more, err = p.pull(ctx, after, p.target); err != nil {
			return g, err
		}
		g.latencies = append(g.latencies, time.Since(began))
		g.rows += rows
		g.bytes += int64(p.answer.Len())
	}
	return g, nil
}
