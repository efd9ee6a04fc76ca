package server

import (
	"encoding/json"
	"fmt"

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
	err = c.reading().run(c.r.Context(), func(batch *pgx.Batch) {
		done(batch.Queue(db.AssertScope, c.user.UserID))
		if pushed := c.r.URL.Query().Get("pushed"); pushed != "" {
			done(batch.Queue(db.AssertHistory, pushed))
		}
		each(batch.Queue(db.PullCursor, c.user.UserID, c.source, c.r.URL.Query().Get("cursor"), maxBundles, c.config.MaxPullBytes), page.take)
	})
	if err != nil {
		return err
	}
	return page.end()
}

// cursorPage is a page over several buckets. Where to go on stands at its end: what was cut has none.
type cursorPage struct {
	pullPage
	cursor  string
	hasMore string
	of      map[string]struct{} // lists of buckets, as JSON, that its bundles have
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

// take takes the page, a bundle or a row; they come in this order.
func (p *cursorPage) take(v [][]byte) error {
	switch {
	case v[0] == nil:
		p.cursor, p.hasMore = string(v[11]), string(v[12])
		p.b = appendUpdates(append(p.b, `{"bucket_updates":`...), v[13], v[14], v[15])
		p.raw(p.form.bundles)
	case v[1] == nil:
		p.beginBundle(`{"bundle_id":`, v[0], v[8], v[9])
		p.raw(`,"buckets":`)
		p.b = append(p.b, v[2]...)
		p.of[string(v[2])] = struct{}{}
		p.raw(`,"seal":`)
		p.b = wire.AppendString(p.b, v[10])
		p.raw(p.form.rows)
	default:
		return p.bundleRow(wire.Row{Schema: v[3], Table: v[4], Key: v[5], Op: v[6], Payload: v[7], Buckets: v[2]})
	}
	return p.check()
}

func (p *cursorPage) end() error {
	p.endBundle()
	p.raw(p.form.end)
	p.raw(p.hasMore)
	p.string(`,"cursor":`, p.cursor)
	p.raw(`}`)
	return p.finish()
}
