package server

import (
	"strconv"

	"github.com/jackc/pgx/v5"

	"github.com/pgtide/pgtide/db"
	"github.com/pgtide/pgtide/runtime/wire"
)

const (
	standardBundles = 1000
	largestBundles  = 5000

	pullCursor = "tide_pull"
)

// pull writes whole bundles of the home bucket while they are read.
func (c *call) pull() error {
	const code = wire.InvalidRequest
	if c.r.URL.Query().Has("cursor") {
		return c.pullCursor()
	}
	after, err := c.number("after_bundle_seq", 0, 0, code)
	if err != nil {
		return err
	}
	maxBundles, err := c.maxBundles()
	if err != nil {
		return err
	}
	target, err := c.number("target_bundle_seq", 0, 0, code)
	if err != nil {
		return err
	}
	page := c.pullPage()
	page.target = target
	defer page.close()
	leave := c.enterStage(readStage)
	err = c.reading().stream(c.r.Context(), pullCursor, func(batch *pgx.Batch) {
		batch.Queue(db.OpenPull, c.user.UserID, c.source, after, maxBundles, c.config.MaxPullBytes, target, pullCursor).QueryRow(page.begin)
	}, page.change)
	leave()
	if err != nil {
		return err
	}
	c.counts.position(page.position)
	return page.end()
}

func (c *call) maxBundles() (int32, error) {
	n, err := c.number("max_bundles", standardBundles, 1, wire.InvalidRequest)
	if err == nil && n > largestBundles {
		err = wire.Refuse(wire.InvalidRequest, "max_bundles must be at most "+strconv.Itoa(largestBundles)+".")
	}
	return int32(n), err
}

func (c *call) pullPage() pullPage {
	form := &pullJSON
	if c.wantsLines() {
		form = &pullLines
	}
	return pullPage{body: c.body(form.contentType), form: form}
}

// pullForm is what stands between the parts of a pull.
type pullForm struct {
	contentType             string
	bundles                 string // after the position
	firstBundle, nextBundle string
	rows, firstRow, nextRow string
	bundleEnd, end          string
}

var pullJSON = pullForm{
	contentType: typeJSON,
	bundles:     `,"bundles":[`, nextBundle: ",",
	rows: `,"rows":[`, nextRow: ",",
	bundleEnd: `],"row_count":`, end: `],"has_more":`,
}

// pullLines has every part on a line of its own, so that a client holds one row at a time. What ends a
// bundle comes after its rows, and what ends the answer last: a stream that was cut lacks it.
var pullLines = pullForm{
	contentType: typeLines,
	bundles:     "}", firstBundle: "\n", nextBundle: "\n",
	rows: "}", firstRow: "\n", nextRow: "\n",
	bundleEnd: "\n" + `{"end_of_bundle":true,"row_count":`, end: "\n" + `{"done":true,"has_more":`,
}

// pullPage is the answer to a pull. Metadata that is known only after the rows stands behind them.
type pullPage struct {
	*body
	form     *pullForm
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
	p.raw(p.form.bundles)
	return nil
}

// change takes the next change; they come bundle by bundle, and the first says of which.
func (p *pullPage) change(v [][]byte) error {
	if v[0] != nil {
		p.beginBundle(`{"bundle_seq":`, v[0], v[1], v[2])
		p.raw(p.form.rows)
	}
	if v[6] == nil {
		return p.check() // of a table that the device does not know
	}
	return p.bundleRow(wire.Row{Schema: v[3], Table: v[4], Key: v[5], Op: v[6], Payload: v[7]})
}

// beginBundle ends the one before, too.
func (p *pullPage) beginBundle(name string, seq, sourceID, sourceBundleID []byte) {
	if p.seq == nil {
		p.raw(p.form.firstBundle)
	} else {
		p.endBundle()
		p.raw(p.form.nextBundle)
	}
	p.seq = append(p.seq[:0], seq...)
	p.raw(name)
	p.b = append(p.b, p.seq...)
	p.raw(`,"source_id":`)
	p.b = wire.AppendString(p.b, sourceID)
	p.raw(`,"source_bundle_id":`)
	p.b = append(p.b, sourceBundleID...)
}

func (p *pullPage) bundleRow(row wire.Row) error {
	if p.rows == 0 {
		p.raw(p.form.firstRow)
	} else {
		p.raw(p.form.nextRow)
	}
	p.rows++
	p.row(row, p.seq)
	return p.check()
}

func (p *pullPage) endBundle() {
	if p.seq == nil {
		return
	}
	p.raw(p.form.bundleEnd)
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
	p.raw(p.form.end)
	p.b = strconv.AppendBool(p.b, last < p.stable)
	p.raw(`}`)
	return p.finish()
}
