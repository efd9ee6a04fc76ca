package server

import (
	"strconv"

	"github.com/jackc/pgx/v5"

	"github.com/pgtide/pgtide/db"
	"github.com/pgtide/pgtide/runtime/wire"
)

// bundleID tells bundles apart also when a history was begun anew.
type bundleID struct {
	userID, device          string // devices of one user may know different tables
	seq                     int64
	bundleID, sealedAtMicro string
}

// bundle is what is known of a bundle beside its rows.
type bundle struct {
	id                       bundleID
	sourceID, sourceBundleID string
	rowCount                 int64
	hash                     string
}

const (
	standardPage = 1000
	largestPage  = 5000
	// beyondRows is an ordinal that no row has and that can still be added to.
	beyondRows = 1 << 30
)

// readPage reads a page of a bundle of the home bucket, and tells whose it is.
func (c *call) readPage(seq, after, maxRows int64, into *bundle, f func(wire.Row) error) (n int64, err error) {
	defer c.enterStage(readStage)()
	into.id.userID, into.id.device, into.id.seq = c.user.UserID, c.source, seq
	err = c.reading().run(c.r.Context(), func(batch *pgx.Batch) {
		done(batch.Queue(db.AssertScope, c.user.UserID))
		each(batch.Queue(db.HomeBundleRows, c.user.UserID, c.source, seq, min(after, beyondRows), int32(maxRows)), func(v [][]byte) error {
			if n == 0 {
				into.id.bundleID, into.id.sealedAtMicro = string(v[0]), string(v[1])
				into.sourceID, into.sourceBundleID = string(v[2]), string(v[3])
			}
			n++
			return f(wire.Row{Schema: v[4], Table: v[5], Key: v[6], Op: v[7], Payload: v[8]})
		})
	})
	return n, err
}

// describe returns the hash of a bundle, remembered or computed.
func (c *call) describe(seq int64) (bundle, error) {
	var found bundle
	if _, err := c.readPage(seq, -1, 1, &found, func(wire.Row) error { return nil }); err != nil {
		return found, err
	}
	if known, ok := c.hashes.Get(found.id); ok {
		return known, nil
	}
	r := newBundleReader(seq, nil)
	err := c.readRest(r)
	return r.found, err
}

// bundleReader takes the rows of a bundle in their order, hashes them, and writes them into an answer
// if there is one.
type bundleReader struct {
	found   bundle
	seq     int64
	version []byte
	hash    *wire.BundleHash
	more    bool // rows than it has may follow
	answer  *body
}

func newBundleReader(seq int64, answer *body) *bundleReader {
	return &bundleReader{seq: seq, version: strconv.AppendInt(nil, seq, 10), hash: wire.NewBundleHash(), more: true, answer: answer}
}

func (r *bundleReader) row(row wire.Row) error {
	if r.answer != nil {
		if r.hash.Rows() > 0 {
			r.answer.raw(",")
		}
		r.answer.row(row, r.version)
		if err := r.answer.check(); err != nil {
			return err
		}
	}
	return r.hash.Add(row, r.seq)
}

// readRest reads what the reader does not have yet, page after page, so that its size does not matter.
func (c *call) readRest(r *bundleReader) error {
	for r.more {
		n, err := c.readPage(r.seq, r.hash.Rows()-1, largestPage, &r.found, r.row)
		if err != nil {
			return err
		}
		r.more = n == largestPage
	}
	var size int64
	r.found.rowCount = r.hash.Rows()
	r.found.hash, size = r.hash.Finish()
	c.counts.committedBytes.Add(size)
	c.hashes.Add(r.found.id, r.found)
	return nil
}

// bundleRows is a page of a committed bundle.
func (c *call) bundleRows() error {
	const code = wire.BundleChunkInvalid
	seq, err := strconv.ParseInt(c.parameter, 10, 64)
	if err != nil || seq < 1 {
		return wire.Refuse(code, "bundle_seq must be a whole number from 1 on.")
	}
	after, err := c.number("after_row_ordinal", -1, -1, code)
	if err != nil {
		return err
	}
	maxRows, err := c.number("max_rows", standardPage, 1, code)
	if err != nil {
		return err
	}
	err = c.writeBundleRows(seq, after, min(maxRows, largestPage))
	if err != nil && wire.FromError(err, c.route.failed).Code == wire.HistoryPruned {
		return c.missingBundle(seq, err)
	}
	return err
}

func (c *call) writeBundleRows(seq, after, maxRows int64) error {
	found, err := c.describe(seq)
	if err != nil {
		return err
	}
	answer := c.body(typeJSON)
	defer answer.close()
	answer.raw(`{"bundle_seq":`)
	answer.int(seq)
	answer.string(`,"source_id":`, found.sourceID)
	answer.raw(`,"source_bundle_id":` + found.sourceBundleID + `,"row_count":`)
	answer.int(found.rowCount)
	answer.string(`,"bundle_hash":`, found.hash)
	answer.raw(`,"rows":[`)
	version := strconv.AppendInt(nil, seq, 10)
	first := true
	n, err := c.readPage(seq, after, maxRows, &bundle{}, func(row wire.Row) error {
		if !first {
			answer.raw(",")
		}
		first = false
		answer.row(row, version)
		return answer.check()
	})
	if err != nil {
		return err
	}
	answer.raw(`],"next_row_ordinal":`)
	answer.int(after + n)
	answer.raw(`,"has_more":`)
	answer.b = strconv.AppendBool(answer.b, after+n+1 < found.rowCount)
	answer.raw(`}`)
	return answer.finish()
}

// missingBundle tells a bundle that is no longer kept from one that never was.
func (c *call) missingBundle(seq int64, pruned error) error {
	position, err := db.New(c.reading()).HomePosition(c.r.Context(), c.user.UserID)
	if err != nil {
		return err
	}
	if seq > position.HeadSeq {
		return wire.Refuse(wire.BundleNotFound, "there is no such bundle.")
	}
	return pruned
}
