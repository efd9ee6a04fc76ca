package server

import (
	"fmt"
	"strconv"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/pgtide/pgtide/db"
	"github.com/pgtide/pgtide/runtime/wire"
)

// push is a session in one request: it applies the rows, seals, and answers with the bundle they became.
func (c *call) push() error {
	asked := struct {
		SourceBundleID   int64    `json:"source_bundle_id"`
		Rows             wireRows `json:"rows"`
		InitializationID string   `json:"initialization_id"`
		BundleUUID       string   `json:"bundle_uuid"`
	}{Rows: "null"}
	if err := c.decode(&asked, wire.InvalidRequest, false); err != nil {
		return err
	}
	name, err := bundleUUID(asked.BundleUUID)
	if err != nil {
		return err
	}
	params := db.PushParams{
		UserID: c.user.UserID, SourceID: c.source, SourceBundleID: asked.SourceBundleID, WireRows: string(asked.Rows), Claims: c.claims(),
		InitializationID: initialization(asked.InitializationID), BundleUuid: name,
	}
	answer := c.body(typeJSON)
	defer answer.close()
	answer.raw(`{"rows":[`)
	p := &pushed{sourceID: c.source, sourceBundleID: asked.SourceBundleID, answer: answer}
	got, err := c.apply(func() (db.PushRow, bool, error) {
		if done, alone := c.seals.Alone(); alone {
			defer done()
			return c.pushAtOnce(params, p)
		}
		defer c.enterStage(applyStage)()
		got, err := db.New(c.writing()).Push(c.r.Context(), params)
		return got, false, err
	})
	if err != nil {
		return err
	}
	if err := c.readPushed(p); err != nil {
		return err
	}
	if got.Status == "applied" {
		c.rowsPushed = p.rowCount
	}
	answer.raw(`],`)
	answer.b = p.appendTo(answer.b)
	answer.raw(`}`)
	return answer.finish()
}

// pushAtOnce applies a push, seals, and reads what it became, in one round trip.
func (c *call) pushAtOnce(params db.PushParams, p *pushed) (got db.PushRow, sealed bool, err error) {
	leave, began := c.enterStage(applyStage), time.Now()
	next := func(s stage) {
		leave()
		leave, began = c.enterStage(s), time.Now()
	}
	defer func() { leave() }()
	ctx := c.r.Context()
	var batch pgx.Batch
	c.writing().queue(ctx, &batch, func(batch *pgx.Batch) {
		batch.Queue(db.Push, params.UserID, params.SourceID, params.SourceBundleID, params.WireRows, params.Claims, params.InitializationID, params.BundleUuid).QueryRow(func(row pgx.Row) error {
			defer next(sealStage)
			return row.Scan(&got.Status, &got.SourceBundleID, &got.Conflict, &got.Conflicts, &got.Rejected, &got.Unsealed)
		})
	})
	done(batch.Queue(begin))
	done(batch.Queue(db.Seal))
	batch.Queue(commit).Exec(func(pgconn.CommandTag) error {
		c.seals.Sealed(time.Since(began))
		sealed = true
		next(readStage)
		return nil
	})
	c.reading().queue(ctx, &batch, func(batch *pgx.Batch) { c.queuePushed(batch, p) })
	return got, sealed, c.sendBatch(ctx, &batch)
}

// apply runs a push, and a seal unless that was done with it. A conflict with a change that is not sealed
// yet is judged once more after a seal, so that the answer has the version of that change.
func (c *call) apply(push func() (got db.PushRow, sealed bool, err error)) (db.PushRow, error) {
	got, sealed, err := push()
	if err == nil && got.Status == "conflict" && got.Unsealed {
		if err = c.seal(); err == nil {
			got, sealed, err = push()
		}
	}
	if err != nil {
		return got, err
	}
	switch got.Status {
	case "applied":
		c.counts.applied.Add(1)
		if !sealed {
			err = c.seal()
		}
		return got, err
	case "already_committed":
		c.counts.replays.Add(1)
		return got, nil
	case "conflict":
		return got, &wire.Error{Code: wire.PushConflict, Extra: []wire.Field{{Name: "conflict", Value: got.Conflict}, {Name: "conflicts", Value: got.Conflicts}},
			Message: "rows of the push were changed by somebody else since the device saw them: nothing was applied. Pull, resolve, and push again."}
	case "rejected":
		return got, &wire.Error{Code: wire.PushRejected, Extra: []wire.Field{{Name: "rejected", Value: got.Rejected}},
			Message: "rows of the push were refused: nothing was applied. Mend them and push again."}
	}
	return got, fmt.Errorf("tide.push answered with status %q", got.Status)
}

func (c *call) seal() error {
	defer c.enterStage(sealStage)()
	_, err := c.seals.Seal(c.r.Context())
	return err
}

// pushed is what protocol v1 says of a committed push.
type pushed struct {
	sourceID       string
	sourceBundleID int64
	answer         *body // gets the rows, if there is one

	found                         bool
	bundleID, bundleSeq, rowCount int64
	kind, seal                    string
	told                          int64         // rows, to a device that reads many buckets
	bundle                        *bundleReader // nil where no row of the push is in the home bucket
	hash                          string
}

// cursorKind is a source that reads many buckets. Its rows have the bundle_id as version, and no hash.
const cursorKind = "cursor"

// queuePushed asks where a push stands in the log, and for its rows, or as much of them as names its bundle.
func (c *call) queuePushed(batch *pgx.Batch, p *pushed) {
	maxRows := 0
	if p.answer != nil {
		maxRows = largestPage
	}
	each(batch.Queue(db.PushedBundle, c.user.UserID, c.source, p.sourceBundleID, int32(maxRows)), func(v [][]byte) error {
		if !p.found {
			p.found = true
			p.seal, p.kind = string(v[3]), string(v[4])
			for i, into := range []*int64{&p.bundleID, &p.bundleSeq, &p.rowCount} {
				var err error
				if *into, err = strconv.ParseInt(string(v[i]), 10, 64); err != nil {
					return err
				}
			}
		}
		if v[10] == nil { // no row, so no op
			return nil
		}
		row := wire.Row{Buckets: v[6], Schema: v[7], Table: v[8], Key: v[9], Op: v[10], Payload: v[11]}
		if p.kind == cursorKind {
			return p.cursorRow(row, v[5])
		}
		if p.bundle == nil {
			p.bundle = newBundleReader(p.bundleSeq, p.answer)
			p.bundle.found = bundle{id: bundleID{c.user.UserID, c.source, p.bundleSeq, string(v[0]), string(v[12])}, sourceID: string(v[13]), sourceBundleID: string(v[14])}
		}
		err := p.bundle.row(row)
		p.bundle.more = p.bundle.hash.Rows() == int64(max(maxRows, 1))
		return err
	})
}

// cursorRow writes a row as a device gets it that reads many buckets.
func (p *pushed) cursorRow(row wire.Row, version []byte) error {
	if p.told++; p.told > 1 {
		p.answer.raw(",")
	}
	p.answer.row(row, version)
	return p.answer.check()
}

// readPushed reads the bundle of a committed push, or what is left of it. What a retry asks for is sealed,
// as a rule.
func (c *call) readPushed(p *pushed) error {
	for try := 0; p.bundleID == 0; try++ {
		p.found = false
		leave := c.enterStage(readStage)
		err := c.reading().run(c.r.Context(), func(batch *pgx.Batch) { c.queuePushed(batch, p) })
		leave()
		switch {
		case err != nil:
			return err
		case !p.found:
			// A crash of the database can take a push that was not sealed.
			return wire.Unavailable("the database lost this push in a crash. Push it again.", nil)
		case p.bundleID > 0:
		case try > 0:
			return wire.Unavailable("the push is committed and not sealed yet. Ask again.", nil)
		default:
			if err := c.seal(); err != nil {
				return err
			}
		}
	}
	if p.kind == cursorKind && p.answer != nil {
		p.rowCount = p.told
	}
	if p.bundle == nil {
		return nil
	}
	found, known := c.hashes.Get(p.bundle.found.id)
	if !known || p.answer != nil {
		if err := c.readRest(p.bundle); err != nil {
			return err
		}
		found = p.bundle.found
	}
	p.hash, p.rowCount = found.hash, found.rowCount // as this device gets them
	return nil
}

func (p *pushed) appendTo(b []byte) []byte {
	b = strconv.AppendInt(append(b, `"bundle_seq":`...), p.bundleSeq, 10)
	b = strconv.AppendInt(append(b, `,"bundle_id":`...), p.bundleID, 10)
	b = wire.AppendString(append(b, `,"source_id":`...), p.sourceID)
	b = strconv.AppendInt(append(b, `,"source_bundle_id":`...), p.sourceBundleID, 10)
	b = strconv.AppendInt(append(b, `,"row_count":`...), p.rowCount, 10)
	b = wire.AppendString(append(b, `,"bundle_hash":`...), p.hash)
	if p.kind == cursorKind {
		b = wire.AppendString(append(b, `,"seal":`...), p.seal)
	}
	return b
}
