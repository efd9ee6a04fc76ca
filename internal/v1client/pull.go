package v1client

import (
	"context"
	"fmt"
	"net/http"
)

// bundle is one bundle of a pull.
type bundle struct {
	seq, number int64
	source      string
	rows        []Row
}

// Pull applies all bundles up to the head that the first page names.
func (d *Device) Pull(ctx context.Context) error {
	if !d.attached {
		return ErrNotAttached
	}
	if d.Pending() > 0 {
		return ErrPending
	}
	for stable := int64(0); ; {
		path := fmt.Sprintf("/sync/pull?after_bundle_seq=%d&max_bundles=%d", d.lastSeq, d.config.PullBundles)
		if stable > 0 {
			path += fmt.Sprintf("&target_bundle_seq=%d", stable)
		}
		answer, err := d.call(ctx, http.MethodGet, path, nil)
		if err != nil {
			return err
		}
		bundles, head, more, err := d.parsePage(answer, stable)
		if err != nil {
			return err
		}
		for _, b := range bundles {
			for _, row := range b.rows {
				d.apply(row)
			}
			d.lastSeq = b.seq
		}
		if !more {
			return nil
		}
		stable = head
	}
}

func (d *Device) parsePage(answer []byte, stable int64) (bundles []bundle, head int64, more bool, err error) {
	o := parseObject("pull", answer)
	head, more = o.int("stable_bundle_seq"), o.bool("has_more")
	list := o.list("bundles")
	o.require(stable == 0 || head == stable, "stable_bundle_seq", "it went from %d to %d within one pull", stable, head)
	o.require(head >= d.lastSeq, "stable_bundle_seq", "%d is before the %d this device has", head, d.lastSeq)
	o.require(d.config.LongPages || len(list) <= d.config.PullBundles, "max_bundles", "%d bundles where %d were asked for", len(list), d.config.PullBundles)
	o.require(!more || len(list) > 0, "has_more", "more is to come after no bundle")
	if o.err != nil {
		return nil, 0, false, o.err
	}
	last := d.lastSeq
	for _, text := range list {
		b, err := d.parseBundle(text)
		if err != nil {
			return nil, 0, false, err
		}
		o.require(b.seq > last, "bundle_seq", "bundle %d does not ascend from %d", b.seq, last)
		o.require(b.seq <= head, "bundle_seq", "bundle %d is beyond the stable %d", b.seq, head)
		o.require(b.seq <= last+1, "bundle_seq", "bundle %d follows %d: the sequence has a gap", b.seq, last)
		last = b.seq
		bundles = append(bundles, b)
	}
	o.require(more || last == head, "stable_bundle_seq", "the pull ends at %d, before the stable %d", last, head)
	o.require(!more || last < head, "has_more", "more is to come after the stable %d", head)
	return bundles, head, more, o.err
}

func (d *Device) parseBundle(text []byte) (bundle, error) {
	o := parseObject("pull/bundle", text)
	b := bundle{seq: o.positive("bundle_seq"), number: o.positive("source_bundle_id"), source: o.text("source_id")}
	list := o.list("rows")
	if o.err != nil {
		return b, o.err
	}
	o.require(!o.has("row_count") || o.int("row_count") == int64(len(list)), "row_count", "%d rows came, %s were announced", len(list), o.fields["row_count"])
	o.require(b.source != d.sourceID || b.number < d.nextBundle, "source_bundle_id", "bundle %d of this device was not confirmed to it yet", b.number)
	seen := map[string]bool{}
	for _, text := range list {
		row, err := parseBundleRow("pull/row", text, d)
		if err != nil {
			return b, err
		}
		o.require(row.Version == b.seq, "row_version", "%d in bundle %d", row.Version, b.seq)
		id := row.Table + "\x00" + row.key
		o.require(!seen[id], "rows", "row %q of %q comes twice in bundle %d", row.key, row.Table, b.seq)
		seen[id] = true
		b.rows = append(b.rows, row)
	}
	if o.err == nil && o.has("bundle_hash") {
		hash, err := BundleHash(b.rows)
		if err != nil {
			return b, err
		}
		o.require(hash == o.text("bundle_hash"), "bundle_hash", "bundle %d hashes to %s", b.seq, hash)
	}
	return b, o.err
}
