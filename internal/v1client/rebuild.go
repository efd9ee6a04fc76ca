package v1client

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"net/http"
)

// Rebuild replaces all rows by a snapshot. With a reason the device also becomes another source: its
// numbering was lost or is refused. Edits are kept when the row beneath them is as it was; otherwise
// they are conflicts.
func (d *Device) Rebuild(ctx context.Context, reason string) error {
	var body any
	if reason != "" {
		if d.reserved == "" {
			d.reserved = "device-" + rand.Text()
		}
		body = map[string]any{"source_replacement": map[string]string{
			"previous_source_id": d.sourceID, "new_source_id": d.reserved, "reason": reason}}
	}
	answer, err := d.call(ctx, http.MethodPost, "/sync/snapshot-sessions", body)
	if err != nil {
		return d.adoptReplacement(err)
	}
	o := parseObject("snapshot", answer)
	id, seq, count := o.uuid("snapshot_id"), o.int("snapshot_bundle_seq"), o.int("row_count")
	o.time("expires_at")
	o.require(o.intOr("byte_count", 0) >= 0, "byte_count", "it is below 0")
	o.require(seq >= 0 && (seq > 0 || count == 0), "snapshot_bundle_seq", "%d rows at position %d", count, seq)
	if o.err != nil {
		return o.err
	}
	rows, err := d.snapshotRows(ctx, id, seq)
	// Whatever this answers, the session ends by itself.
	_, _ = d.call(ctx, http.MethodDelete, "/sync/snapshot-sessions/"+id, nil)
	if err != nil {
		return err
	}
	if int64(len(rows)) != count {
		return broken("snapshot/row_count", "%d rows came, %d were announced", len(rows), count)
	}
	if reason != "" {
		d.sourceID, d.reserved, d.nextBundle = d.reserved, "", 1
	}
	d.restore(rows, seq)
	return nil
}

// adoptReplacement takes the new source that the server already knows for this one.
func (d *Device) adoptReplacement(err error) error {
	var refusal *APIError
	if errors.As(err, &refusal) && refusal.ReplacedBy != "" {
		d.reserved = refusal.ReplacedBy
	}
	return err
}

func (d *Device) snapshotRows(ctx context.Context, id string, seq int64) ([]Row, error) {
	var rows []Row
	seen := map[string]bool{}
	for after := int64(0); ; {
		answer, err := d.call(ctx, http.MethodGet, fmt.Sprintf("/sync/snapshot-sessions/%s?after_row_ordinal=%d&max_rows=%d", id, after, d.config.PageRows), nil)
		if err != nil {
			return nil, err
		}
		o := parseObject("snapshot", answer)
		gotID, gotSeq := o.text("snapshot_id"), o.int("snapshot_bundle_seq")
		list, next, more := o.list("rows"), o.int("next_row_ordinal"), o.bool("has_more")
		o.require(gotID == id, "snapshot_id", "%q is not the session %q", gotID, id)
		o.require(gotSeq == seq, "snapshot_bundle_seq", "%d, not the %d of the session", gotSeq, seq)
		o.require(next == after+int64(len(list)), "next_row_ordinal", "%d after %d rows from %d", next, len(list), after)
		o.require(!more || len(list) > 0, "has_more", "more is to come after no row")
		o.require(len(list) <= d.config.PageRows, "max_rows", "%d rows where %d were asked for", len(list), d.config.PageRows)
		if o.err != nil {
			return nil, o.err
		}
		for _, text := range list {
			row, err := parseSnapshotRow(text, d)
			if err != nil {
				return nil, err
			}
			if row.Version > seq {
				return nil, broken("snapshot/row/row_version", "%d in a snapshot at %d", row.Version, seq)
			}
			if rowID := row.Table + "\x00" + row.key; seen[rowID] {
				return nil, broken("snapshot/row/key", "row %q of %q comes twice", row.key, row.Table)
			} else {
				seen[rowID] = true
			}
			rows = append(rows, row)
		}
		after = next
		if !more {
			return rows, nil
		}
	}
}

func (d *Device) restore(rows []Row, seq int64) {
	d.thaw()
	edits := d.pending.list()
	d.clear()
	d.lastSeq = seq
	for _, row := range rows {
		d.set(row.Table, row.key, row.Version, string(row.Payload))
	}
	for _, e := range edits {
		now, version := d.rows[e.table][e.key], d.versions[e.table][e.key]
		same := now == "" && e.before == "" || now != "" && e.before != "" && samePayload(now, e.before)
		if !same {
			d.conflicts = append(d.conflicts, Conflict{Table: e.table, Key: e.key, Op: e.op, Base: e.base, ServerVersion: version, ServerDeleted: now == "", ServerRow: now})
		}
		if !same && !d.config.ClientWins || !e.rebase(version, now) {
			d.pending.remove(e.id())
			continue
		}
		d.show(e, version)
	}
}
