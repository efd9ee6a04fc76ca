package server

import (
	"bytes"
	"strconv"

	"github.com/jackc/pgx/v5"

	"github.com/pgtide/pgtide/db"
	"github.com/pgtide/pgtide/runtime/wire"
)

const (
	standardBundles = 1000
	largestBundles  = 5000
)

// pull writes whole bundles of the home bucket while they are read.
func (c *call) pull() error {
	const code = wire.InvalidRequest
	after, err := c.number("after_bundle_seq", 0, 0, code)
	if err != nil {
		return err
	}
	maxBundles, err := c.number("max_bundles", standardBundles, 1, code)
	if err != nil {
		return err
	}
	if maxBundles > largestBundles {
		return wire.Refuse(code, "max_bundles must be at most "+strconv.Itoa(largestBundles)+".")
	}
	target, err := c.number("target_bundle_seq", 0, 0, code)
	if err != nil {
		return err
	}
	page := pullPage{body: c.body("application/json"), target: target}
	defer page.close()
	err = c.reading().run(c.r.Context(), func(batch *pgx.Batch) {
		done(batch.Queue(db.AssertScope, c.user.UserID))
		batch.Queue(db.HomePosition, c.user.UserID).QueryRow(page.begin)
		each(batch.Queue(db.PullHome, c.user.UserID, c.source, after, int32(maxBundles), c.config.MaxPullBytes, target), page.change)
	})
	if err != nil {
		return err
	}
	c.counts.position(page.position)
	return page.end()
}

// pullPage is the answer to a pull. Metadata that is known only after the rows stands behind them.
type pullPage struct {
	*body
	target   int64
	position db.HomePositionRow
	stable   int64
	seq      []byte // of the bundle that is being written
	rows     int64
}

func (p *pullPage) begin(row pgx.Row) error {
	if err := row.Scan(&p.position.FloorSeq, &p.position.HeadSeq); err != nil {
		return err
	}
	p.stable = p.position.HeadSeq
	if p.target > 0 {
		p.stable = min(p.target, p.stable)
	}
	p.raw(`{"stable_bundle_seq":`)
	p.int(p.stable)
	p.raw(`,"bundles":[`)
	return nil
}

// change takes the next change; they come bundle by bundle.
func (p *pullPage) change(v [][]byte) error {
	if !bytes.Equal(p.seq, v[0]) {
		p.endBundle()
		if p.seq != nil {
			p.raw(",")
		}
		p.seq = append(p.seq[:0], v[0]...)
		p.raw(`{"bundle_seq":`)
		p.b = append(p.b, p.seq...)
		p.raw(`,"source_id":`)
		p.b = wire.AppendString(p.b, v[1])
		p.raw(`,"source_bundle_id":`)
		p.b = append(p.b, v[2]...)
		p.raw(`,"rows":[`)
	}
	if v[6] == nil {
		return p.check() // of a table that the device does not know
	}
	if p.rows > 0 {
		p.raw(",")
	}
	p.rows++
	p.row(wire.Row{Schema: v[3], Table: v[4], Key: v[5], Op: v[6], Payload: v[7]}, p.seq)
	return p.check()
}

func (p *pullPage) endBundle() {
	if p.seq == nil {
		return
	}
	p.raw(`],"row_count":`)
	p.int(p.rows)
	p.raw(`}`)
	p.rows = 0
}

func (p *pullPage) end() error {
	p.endBundle()
	last := p.stable
	if p.seq != nil {
		var err error
		if last, err = strconv.ParseInt(string(p.seq), 10, 64); err != nil {
			return err
		}
	}
	p.raw(`],"has_more":`)
	p.b = strconv.AppendBool(p.b, last < p.stable)
	p.raw(`}`)
	return p.finish()
}
