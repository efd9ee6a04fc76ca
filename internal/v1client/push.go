package v1client

import (
	"context"
	"errors"
	"fmt"
	"net/http"
)

// committed is the answer to a commit, and to a create of what was committed before.
type committed struct {
	seq, bundle, rows int64
	source, hash      string
}

// Push sends all edits as one bundle, and after a conflict what is left of them, until the server has
// taken them or refused them. A push without an answer stays as it is and is repeated by the next Push.
func (d *Device) Push(ctx context.Context) error {
	if !d.attached {
		return ErrNotAttached
	}
	for {
		if d.frozen == nil {
			if d.pending.len() == 0 {
				return nil
			}
			d.freeze()
		}
		err := d.pushFrozen(ctx)
		var conflict *ConflictError
		var rejected *RejectedError
		switch {
		case err == nil:
			return nil
		case errors.As(err, &conflict):
			d.resolve(conflict.Conflict)
		case errors.As(err, &rejected):
			d.thaw()
			return err
		default:
			return err
		}
	}
}

func (d *Device) pushFrozen(ctx context.Context) error {
	request := map[string]any{"source_bundle_id": d.nextBundle, "planned_row_count": len(d.frozen)}
	if d.initializationID != "" {
		request["initialization_id"] = d.initializationID
	}
	answer, err := d.call(ctx, http.MethodPost, "/sync/push-sessions", request)
	if err != nil {
		return d.detach(err)
	}
	o := parseObject("create", answer)
	switch status := o.text("status"); status {
	case "already_committed":
		o.require(!o.has("push_id"), "push_id", "a committed push has a session")
		done := d.parseCommitted(o)
		if o.err != nil {
			return o.err
		}
		return d.finishPush(ctx, done, true)
	case "staging":
		id := o.uuid("push_id")
		planned := o.int("planned_row_count")
		o.require(planned == int64(len(d.frozen)), "planned_row_count", "%d, not the %d that were announced", planned, len(d.frozen))
		next := o.intOr("next_expected_row_ordinal", 0)
		o.require(next == 0, "next_expected_row_ordinal", "a new session begins at %d", next)
		if o.err != nil {
			return o.err
		}
		done, err := d.send(ctx, id)
		if err != nil {
			// Whatever this answers, the session ends by itself.
			_, _ = d.call(ctx, http.MethodDelete, "/sync/push-sessions/"+id, nil)
			return d.detach(err)
		}
		return d.finishPush(ctx, done, false)
	default:
		o.fail("status", "%q is not a status", status)
		return o.err
	}
}

// send stages the rows in chunks and commits them.
func (d *Device) send(ctx context.Context, id string) (committed, error) {
	for start := 0; start < len(d.frozen); start += d.config.ChunkRows {
		end := min(start+d.config.ChunkRows, len(d.frozen))
		rows := make([]map[string]any, 0, end-start)
		for _, e := range d.frozen[start:end] {
			rows = append(rows, e.wire(d.config.Schema))
		}
		answer, err := d.call(ctx, http.MethodPost, "/sync/push-sessions/"+id+"/chunks", map[string]any{"start_row_ordinal": start, "rows": rows})
		if err != nil {
			return committed{}, err
		}
		o := parseObject("chunk", answer)
		got, next := o.text("push_id"), o.int("next_expected_row_ordinal")
		o.require(got == id, "push_id", "%q is not the session %q", got, id)
		o.require(next == int64(end), "next_expected_row_ordinal", "%d after the rows up to %d", next, end)
		if o.err != nil {
			return committed{}, o.err
		}
	}
	answer, err := d.call(ctx, http.MethodPost, "/sync/push-sessions/"+id+"/commit", nil)
	if err != nil {
		return committed{}, d.parseRefusedPush(err)
	}
	o := parseObject("commit", answer)
	done := d.parseCommitted(o)
	return done, o.err
}

func (d *Device) parseCommitted(o *object) committed {
	done := committed{seq: o.positive("bundle_seq"), bundle: o.positive("source_bundle_id"), rows: o.positive("row_count"),
		source: o.text("source_id"), hash: o.text("bundle_hash")}
	o.positive("bundle_id")
	o.require(done.source == d.sourceID, "source_id", "%q is not this device, %q", done.source, d.sourceID)
	o.require(done.bundle == d.nextBundle, "source_bundle_id", "%d is not the push %d", done.bundle, d.nextBundle)
	return done
}

// detach drops the attachment when the server says that the lease to seed it is over.
func (d *Device) detach(err error) error {
	var refusal *APIError
	if errors.As(err, &refusal) && (refusal.Code == "initialization_expired" || refusal.Code == "initialization_stale") {
		d.attached, d.initializationID = false, ""
		d.thaw()
	}
	return err
}

// finishPush fetches what the server made of the push and takes it over.
func (d *Device) finishPush(ctx context.Context, done committed, repeated bool) error {
	rows, err := d.committedRows(ctx, done)
	if err != nil {
		return err
	}
	if repeated {
		if err := sameAsSent(d.frozen, rows); err != nil {
			return err
		}
	}
	d.frozen, d.initializationID = nil, ""
	d.nextBundle++
	if done.seq == d.lastSeq+1 {
		d.lastSeq = done.seq
	}
	for _, row := range rows {
		d.apply(row)
	}
	return nil
}

func (d *Device) committedRows(ctx context.Context, done committed) ([]Row, error) {
	var rows []Row
	seen := map[string]bool{}
	for after := int64(-1); ; {
		path := fmt.Sprintf("/sync/committed-bundles/%d/rows?after_row_ordinal=%d&max_rows=%d", done.seq, after, d.config.PageRows)
		if after < 0 {
			path = fmt.Sprintf("/sync/committed-bundles/%d/rows?max_rows=%d", done.seq, d.config.PageRows)
		}
		answer, err := d.call(ctx, http.MethodGet, path, nil)
		if err != nil {
			return nil, err
		}
		o := parseObject("rows", answer)
		page := committed{seq: o.int("bundle_seq"), bundle: o.int("source_bundle_id"), rows: o.int("row_count"), source: o.text("source_id"), hash: o.text("bundle_hash")}
		o.require(page == done, "metadata", "%+v is not what the commit said, %+v", page, done)
		list, next, more := o.list("rows"), o.int("next_row_ordinal"), o.bool("has_more")
		o.require(len(list) <= d.config.PageRows, "max_rows", "%d rows where %d were asked for", len(list), d.config.PageRows)
		o.require(!more || len(list) > 0, "has_more", "more is to come after no row")
		o.require(next == after+int64(len(list)), "next_row_ordinal", "%d after %d rows from %d", next, len(list), after)
		if o.err != nil {
			return nil, o.err
		}
		for _, text := range list {
			row, err := parseBundleRow("rows/row", text, d)
			if err != nil {
				return nil, err
			}
			if row.Version != done.seq {
				return nil, broken("rows/row/row_version", "%d in bundle %d", row.Version, done.seq)
			}
			if seen[row.Table+"\x00"+row.key] {
				return nil, broken("rows/row/key", "row %q of %q comes twice", row.key, row.Table)
			}
			seen[row.Table+"\x00"+row.key] = true
			rows = append(rows, row)
		}
		after = next
		if !more {
			break
		}
	}
	if int64(len(rows)) != done.rows {
		return nil, broken("rows/row_count", "%d rows came, %d were announced", len(rows), done.rows)
	}
	hash, err := BundleHash(rows)
	if err != nil {
		return nil, err
	}
	if hash != done.hash {
		return nil, broken("rows/bundle_hash", "the rows hash to %s, announced was %s", hash, done.hash)
	}
	return rows, nil
}

// apply takes a row of a bundle over, unless a later state is known. An edit waiting on it is put onto
// the new state when that came of the device's own push.
func (d *Device) apply(row Row) {
	if d.versions[row.Table][row.key] >= row.Version {
		return
	}
	if e, waiting := d.pending.byKey[row.Table+"\x00"+row.key]; waiting {
		if !e.rebase(row.Version, string(row.Payload)) {
			d.pending.remove(e.id())
		}
		d.show(e, row.Version)
		return
	}
	d.set(row.Table, row.key, row.Version, string(row.Payload))
}
