package server

import (
	"fmt"
	"strconv"

	"github.com/jackc/pgx/v5"

	"github.com/pgtide/pgtide/db"
	"github.com/pgtide/pgtide/runtime/wire"
)

// push is a session in one request: it applies the rows, seals, and answers with the bundle they became.
func (c *call) push() error {
	asked := struct {
		SourceBundleID   int64    `json:"source_bundle_id"`
		Rows             wireRows `json:"rows"`
		InitializationID string   `json:"initialization_id"`
	}{Rows: "null"}
	if err := c.decode(&asked, wire.InvalidRequest, false); err != nil {
		return err
	}
	got, err := c.apply(func() (db.PushRow, error) {
		return db.New(c.writing()).Push(c.r.Context(), db.PushParams{
			UserID: c.user.UserID, SourceID: c.source, SourceBundleID: asked.SourceBundleID, WireRows: string(asked.Rows), Claims: c.claims(),
			InitializationID: initialization(asked.InitializationID),
		})
	})
	if err != nil {
		return err
	}
	place, err := c.place(asked.SourceBundleID)
	if err != nil {
		return err
	}
	if got.Status == "applied" {
		c.rowsPushed = place.RowCount
	}
	answer := c.body(typeJSON)
	defer answer.close()
	answer.raw(`{"rows":[`)
	pushed, err := c.pushedBundle(asked.SourceBundleID, place, answer)
	if err != nil {
		return err
	}
	answer.raw(`],`)
	answer.b = pushed.appendTo(answer.b)
	answer.raw(`}`)
	return answer.finish()
}

// apply runs a push. A conflict with a change that is not sealed yet is judged once more after a seal,
// so that the answer has the version of that change.
func (c *call) apply(push func() (db.PushRow, error)) (db.PushRow, error) {
	got, err := c.applyOnce(push)
	if err == nil && got.Status == "conflict" && got.Unsealed {
		if err = c.seal(); err == nil {
			got, err = c.applyOnce(push)
		}
	}
	if err != nil {
		return got, err
	}
	switch got.Status {
	case "applied":
		c.counts.applied.Add(1)
		return got, c.seal()
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

func (c *call) applyOnce(push func() (db.PushRow, error)) (db.PushRow, error) {
	defer c.enterStage(applyStage)()
	return push()
}

func (c *call) seal() error {
	defer c.enterStage(sealStage)()
	_, err := c.seals.Seal(c.r.Context())
	return err
}

// place is where a committed push stands in the log. What a retry asks for is sealed, as a rule.
func (c *call) place(sourceBundleID int64) (db.PushResultRow, error) {
	for try := 0; ; try++ {
		var place db.PushResultRow
		found := false
		leave := c.enterStage(readStage)
		err := c.reading().run(c.r.Context(), func(batch *pgx.Batch) {
			batch.Queue(db.PushResult, c.user.UserID, c.source, sourceBundleID).Query(func(rows pgx.Rows) error {
				for rows.Next() {
					found = true
					if err := rows.Scan(&place.BundleID, &place.BundleSeq, &place.RowCount, &place.Kind); err != nil {
						return err
					}
				}
				return rows.Err()
			})
		})
		leave()
		switch {
		case err != nil:
			return place, err
		case !found:
			// A crash of the database can take a push that was not sealed.
			return place, wire.Unavailable("the database lost this push in a crash. Push it again.", nil)
		case place.BundleID > 0:
			return place, nil
		case try > 0:
			return place, wire.Unavailable("the push is committed and not sealed yet. Ask again.", nil)
		}
		if err := c.seal(); err != nil {
			return place, err
		}
	}
}

// pushed is what protocol v1 says of a committed push.
type pushed struct {
	place          db.PushResultRow
	sourceID       string
	sourceBundleID int64
	hash           string
}

// committed describes a push of this source.
func (c *call) committed(sourceBundleID int64) (pushed, error) {
	place, err := c.place(sourceBundleID)
	if err != nil {
		return pushed{}, err
	}
	return c.pushedBundle(sourceBundleID, place, nil)
}

// pushedBundle reads the bundle of a push, into an answer if there is one. A push without rows in the
// home bucket has none there.
func (c *call) pushedBundle(sourceBundleID int64, place db.PushResultRow, answer *body) (pushed, error) {
	p := pushed{place: place, sourceID: c.source, sourceBundleID: sourceBundleID}
	if place.Kind == cursorKind {
		if answer == nil {
			return p, nil
		}
		var err error
		p.place.RowCount, err = c.pushedRows(sourceBundleID, answer)
		return p, err
	}
	if place.BundleSeq == 0 {
		return p, nil
	}
	var found bundle
	var err error
	if answer == nil {
		found, err = c.describe(place.BundleSeq)
	} else {
		found, err = c.readWhole(place.BundleSeq, answer)
	}
	p.hash = found.hash
	p.place.RowCount = found.rowCount // as this device gets them
	return p, err
}

// cursorKind is a source that reads many buckets. Its rows have the bundle_id as version, and no hash.
const cursorKind = "cursor"

// pushedRows writes the rows of a push as a device gets them that reads many buckets.
func (c *call) pushedRows(sourceBundleID int64, answer *body) (n int64, err error) {
	err = c.reading().run(c.r.Context(), func(batch *pgx.Batch) {
		each(batch.Queue(db.PushedRows, c.user.UserID, c.source, sourceBundleID), func(v [][]byte) error {
			if n > 0 {
				answer.raw(",")
			}
			n++
			answer.row(wire.Row{Buckets: v[1], Schema: v[2], Table: v[3], Key: v[4], Op: v[5], Payload: v[6]}, v[0])
			return answer.check()
		})
	})
	return n, err
}

func (p pushed) appendTo(b []byte) []byte {
	b = strconv.AppendInt(append(b, `"bundle_seq":`...), p.place.BundleSeq, 10)
	b = strconv.AppendInt(append(b, `,"bundle_id":`...), p.place.BundleID, 10)
	b = wire.AppendString(append(b, `,"source_id":`...), p.sourceID)
	b = strconv.AppendInt(append(b, `,"source_bundle_id":`...), p.sourceBundleID, 10)
	b = strconv.AppendInt(append(b, `,"row_count":`...), p.place.RowCount, 10)
	return wire.AppendString(append(b, `,"bundle_hash":`...), p.hash)
}
