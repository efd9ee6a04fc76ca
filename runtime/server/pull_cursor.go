package server

import (
	"encoding/json"
	"fmt"
	"strconv"

	"github.com/jackc/pgx/v5"

	"github.com/pgtide/pgtide/db"
	"github.com/pgtide/pgtide/runtime/wire"
)

// pullCursor writes whole bundles over all buckets that the device holds.
func (c *call) pullCursor() error {
	maxBundles, err := c.maxBundles()
	if err != nil {
		return err
	}
	page := cursorPage{pullPage: c.pullPage(), of: map[string]struct{}{}}
	defer page.close()
	page.mayRead = page.assertBuckets
	err = c.reading().stream(c.r.Context(), pullCursor, func(batch *pgx.Batch) {
		if pushed := c.r.URL.Query().Get("pushed"); pushed != "" {
			done(batch.Queue(db.AssertHistory, pushed))
		}
		batch.Queue(db.OpenPullCursor, c.user.UserID, c.source, c.r.URL.Query().Get("cursor"), maxBundles, c.config.MaxPullBytes, pullCursor).QueryRow(page.begin)
	}, page.take)
	if err != nil {
		return err
	}
	return page.end()
}

// cursorPage is a page over several buckets. Where to go on stands at its end: what was cut has none.
type cursorPage struct {
	pullPage
	next    db.OpenPullCursorRow
	buckets []byte              // of the bundle that is being written, as JSON
	of      map[string]struct{} // those of all bundles
}

// assertBuckets asks whether the user may still read what the page has begun to tell.
func (p *cursorPage) assertBuckets() error {
	var all []string
	for text := range p.of {
		var buckets []string
		if err := json.Unmarshal([]byte(text), &buckets); err != nil {
			return fmt.Errorf("buckets of a bundle: %w", err)
		}
		all = append(all, buckets...)
	}
	return db.New(p.c.reading()).AssertBuckets(p.c.r.Context(), db.AssertBucketsParams{UserID: p.c.user.UserID, Buckets: all})
}

func (p *cursorPage) begin(row pgx.Row) error {
	if err := row.Scan(&p.next.NextCursor, &p.next.HasMore, &p.next.Add, &p.next.Remove, &p.next.Repair); err != nil {
		return err
	}
	p.b = appendUpdates(append(p.b, `{"bucket_updates":`...), p.next.Add, p.next.Remove, p.next.Repair)
	p.raw(p.form.bundles)
	return nil
}

// take takes a bundle, or the next of its rows.
func (p *cursorPage) take(v [][]byte) error {
	if v[7] != nil {
		buckets := v[3]
		if buckets == nil {
			buckets = p.buckets
		}
		return p.bundleRow(wire.Row{Schema: v[4], Table: v[5], Key: v[6], Op: v[7], Payload: v[8], Buckets: buckets})
	}
	p.beginBundle(`{"bundle_id":`, v[0], v[1], v[2])
	p.buckets = append(p.buckets[:0], v[3]...)
	p.of[string(p.buckets)] = struct{}{}
	p.raw(`,"buckets":`)
	p.b = append(p.b, p.buckets...)
	p.raw(`,"seal":`)
	p.b = wire.AppendString(p.b, v[9])
	p.raw(p.form.rows)
	return p.check()
}

func (p *cursorPage) end() error {
	p.endBundle()
	p.raw(p.form.end)
	p.b = strconv.AppendBool(p.b, p.next.HasMore)
	p.string(`,"cursor":`, p.next.NextCursor)
	p.raw(`}`)
	return p.finish()
}
