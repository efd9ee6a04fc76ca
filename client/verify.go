package client

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strconv"
)

// Verified is what a comparison with the server came to.
type Verified struct {
	// Rows were compared, each once for every bucket that it lies in.
	Rows int
	// Repaired rows were not as the server has them, as "table key".
	Repaired []string
}

type digest [8]byte

func digestOf(text []byte) (d digest) {
	sum := sha256.Sum256(text)
	copy(d[:], sum[:])
	return d
}

// heldRow is a row as this device should have it from the server.
type heldRow struct {
	key     string
	sum     digest
	version int64
}

// Verify syncs, compares all rows with checksums of the server, and fetches those that differ, and no
// others. Changes that were not sent stay on top. A row that was written past the triggers, and that the
// server never had, is sent.
func (c *Client) Verify(ctx context.Context) (v Verified, err error) {
	for range 20 {
		var more Verified
		more, err = c.verify(ctx)
		v.Rows, v.Repaired = more.Rows, append(v.Repaired, more.Repaired...)
		if !errors.Is(err, errOvertaken) && !errors.Is(err, errUnderWay) {
			return v, err
		}
	}
	return v, ErrBusy
}

func (c *Client) verify(ctx context.Context) (v Verified, err error) {
	err = c.transact(ctx, func(w *writer) error {
		for _, t := range w.tables {
			if err := w.adopt(t); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return v, err
	}
	if err := c.Sync(ctx); err != nil {
		return v, err
	}
	c.syncing.Lock()
	defer c.syncing.Unlock()
	s, _, err := c.readState(ctx)
	if err != nil {
		return v, err
	}
	status, err := c.Status(ctx)
	if err != nil || len(status.Buckets) == 0 {
		return v, err
	}
	var told struct {
		At        int64 `json:"snapshot_bundle_id"`
		Checksums []struct {
			rowName
			Bucket   string `json:"bucket"`
			Count    int    `json:"row_count"`
			Checksum string `json:"checksum"`
		} `json:"checksums"`
	}
	if err := c.remote.do(ctx, s.source, http.MethodPost, "/sync/verify", map[string]any{"buckets": status.Buckets}, &told); err != nil {
		return v, err
	}
	type place struct {
		bucket string
		tab    int64
	}
	wanted := map[place]string{}
	for _, sum := range told.Checksums {
		if t := c.tables().of(sum.rowName); t != nil {
			wanted[place{sum.Bucket, t.id}] = strconv.Itoa(sum.Count) + " " + sum.Checksum
		}
	}
	for _, bucket := range status.Buckets {
		for _, t := range c.tables() {
			held, err := c.heldRows(ctx, bucket, t)
			if err != nil {
				return v, err
			}
			v.Rows += len(held)
			var total uint64
			for _, row := range held {
				total ^= binary.BigEndian.Uint64(row.sum[:])
			}
			want := wanted[place{bucket, t.id}]
			if len(held) == 0 && want == "" || want == fmt.Sprintf("%d %016x", len(held), total) {
				continue
			}
			repaired, err := c.repair(ctx, s, bucket, t, held)
			for _, name := range repaired {
				if !slices.Contains(v.Repaired, name) {
					v.Repaired = append(v.Repaired, name)
				}
			}
			if err != nil {
				return v, err
			}
		}
	}
	return v, nil
}

// heldRows are the rows of a table in a bucket by the digest of their key. One that was changed here counts
// as the server had it, one in the inbox as it came.
func (c *Client) heldRows(ctx context.Context, bucket string, t *table) (map[digest]heldRow, error) {
	held := map[digest]heldRow{}
	return held, c.transact(ctx, func(w *writer) error {
		type row struct {
			heldRow
			base    *string
			dirty   bool
			payload *string
		}
		rows, err := all(w, func(scan func(...any) error) (r row, err error) {
			return r, scan(&r.key, &r.version, &r.base, &r.dirty, &r.payload)
		}, `
			SELECT r.key, r.version, d.base, d.key IS NOT NULL, NULL
			  FROM _tide_row AS r JOIN _tide_set AS s ON s.buckets = r.buckets LEFT JOIN _tide_dirty AS d ON d.tab = r.tab AND d.key = r.key
			 WHERE r.tab = ?1 AND EXISTS (SELECT 1 FROM json_each(s.names) AS n WHERE n.value = ?2) AND NOT EXISTS (SELECT 1 FROM _tide_inbox AS i WHERE i.tab = r.tab AND i.key = r.key)
			UNION ALL
			SELECT i.key, i.version, NULL, 0, i.payload FROM _tide_inbox AS i WHERE i.tab = ?1 AND EXISTS (SELECT 1 FROM json_each(i.buckets) AS n WHERE n.value = ?2)`, t.id, bucket)
		if err != nil {
			return err
		}
		for _, r := range rows {
			name := t.appendKey(nil, r.key)
			text := append(slices.Clone(name), '\n')
			switch {
			case r.payload != nil:
				text = append(text, *r.payload...)
			default:
				i, err := w.readImage(t, r.key)
				if err == nil && r.dirty {
					i, err = t.parseImage(r.base)
				}
				if err != nil {
					return err
				}
				if i != nil {
					text = append(text, t.payload(i.over(nil))...)
				}
			}
			r.sum = digestOf(text)
			held[digestOf(name)] = r.heldRow
		}
		return nil
	})
}

type verifiedRange struct {
	At   int64 `json:"snapshot_bundle_id"`
	Rows []struct {
		Key      json.RawMessage `json:"key"`
		Checksum string          `json:"checksum"`
		Payload  json.RawMessage `json:"payload"`
	} `json:"rows"`
	Ranges []struct {
		Prefix   string `json:"prefix"`
		Count    int    `json:"row_count"`
		Checksum string `json:"checksum"`
	} `json:"ranges"`
	Left []string `json:"left"`
}

// repair finds the keys that differ, halving ranges of their digests 256 times over, and fetches them.
func (c *Client) repair(ctx context.Context, s state, bucket string, t *table, held map[digest]heldRow) ([]string, error) {
	ask := func(prefixes []string, payload bool) (answer verifiedRange, err error) {
		return answer, c.remote.do(ctx, s.source, http.MethodPost, "/sync/verify", map[string]any{
			"bucket": bucket, "schema": t.spec.Schema, "table": t.spec.Name, "prefixes": prefixes, "payload": payload}, &answer)
	}
	differ := map[digest]bool{}
	for open := []string{""}; len(open) > 0; {
		n := min(len(open), 1000)
		for n > 1 && len(open[n-1]) != len(open[0]) {
			n-- // prefixes of one length go together
		}
		answer, err := ask(open[:n], false)
		if err != nil {
			return nil, err
		}
		asked := open[:n]
		open = append(answer.Left, open[n:]...)
		if answer.Ranges != nil {
			theirs := map[string]string{}
			for _, r := range answer.Ranges {
				theirs[r.Prefix] = strconv.Itoa(r.Count) + " " + r.Checksum
			}
			open = append(open, differing(held, asked[0], theirs)...)
			continue
		}
		there := map[digest]bool{}
		for _, row := range answer.Rows {
			d := digestOf(row.Key)
			there[d] = true
			if mine, ok := held[d]; !ok || hex.EncodeToString(mine.sum[:]) != row.Checksum {
				differ[d] = true
			}
		}
		for d := range held {
			covered := slices.ContainsFunc(asked, func(p string) bool { return hasPrefix(d, p) && !slices.Contains(answer.Left, p) })
			if covered && !there[d] {
				differ[d] = true
			}
		}
	}
	var prefixes []string
	for d := range differ {
		prefixes = append(prefixes, hex.EncodeToString(d[:]))
	}
	slices.Sort(prefixes)
	var repaired []string
	for part := range slices.Chunk(prefixes, 1000) {
		answer, err := ask(part, true)
		if err != nil {
			return nil, err
		}
		names, err := c.replace(ctx, s, bucket, t, held, part, answer)
		if err != nil {
			return repaired, err
		}
		repaired = append(repaired, names...)
	}
	return repaired, nil
}

func hasPrefix(d digest, prefix string) bool {
	return hex.EncodeToString(d[:])[:len(prefix)] == prefix
}

// differing are the ranges within a prefix that do not have the same rows here and there.
func differing(held map[digest]heldRow, prefix string, theirs map[string]string) (open []string) {
	type sum struct {
		count int
		total uint64
	}
	mine := map[string]sum{}
	for d, row := range held {
		if hasPrefix(d, prefix) {
			p := hex.EncodeToString(d[:])[:len(prefix)+2]
			mine[p] = sum{mine[p].count + 1, mine[p].total ^ binary.BigEndian.Uint64(row.sum[:])}
		}
	}
	for p, m := range mine {
		if theirs[p] != fmt.Sprintf("%d %016x", m.count, m.total) {
			open = append(open, p)
		}
		delete(theirs, p)
	}
	for p := range theirs {
		open = append(open, p)
	}
	slices.Sort(open)
	return open
}

// replace makes rows be as the server told.
func (c *Client) replace(ctx context.Context, s state, bucket string, t *table, held map[digest]heldRow, asked []string, answer verifiedRange) (repaired []string, err error) {
	there := map[digest]bool{}
	err = c.advance(ctx, s, func(w *writer) error {
		return w.taking(func() error {
			for _, row := range answer.Rows {
				there[digestOf(row.Key)] = true
				in, err := w.read(wireRow{rowName: rowName{t.spec.Schema, t.spec.Name, row.Key}, Op: "UPDATE", Version: answer.At, Payload: row.Payload})
				if err != nil {
					return err
				}
				changed, err := w.restore(*in, bucket)
				if err != nil {
					return err
				}
				if changed {
					repaired = append(repaired, t.local+" "+in.key)
				}
			}
			for _, prefix := range asked {
				var d digest
				if _, err := hex.Decode(d[:], []byte(prefix)); err != nil {
					return err
				}
				row, mine := held[d]
				if there[d] || !mine || row.version > answer.At {
					continue
				}
				// Not in this bucket: it goes unless another one has it.
				if err := w.leaveRow(keyName{t.id, row.key}, bucket, answer.At); err != nil {
					return err
				}
				repaired = append(repaired, t.local+" "+row.key)
			}
			return w.finish()
		})
	})
	return repaired, err
}

// restore puts a row that differs, and says whether it did: it may be newer here, or be the same in
// another spelling.
func (w *writer) restore(in inbound, bucket string) (bool, error) {
	var version int64
	var names string
	var base *string
	var dirty bool
	in.buckets, in.fetched = []string{bucket}, true
	held, err := w.get(`SELECT r.version, s.names, d.base, d.key IS NOT NULL FROM _tide_row AS r JOIN _tide_set AS s ON s.buckets = r.buckets
		LEFT JOIN _tide_dirty AS d ON d.tab = r.tab AND d.key = r.key WHERE r.tab = ? AND r.key = ?`, []any{in.table.id, in.key}, &version, &names, &base, &dirty)
	if err != nil || held && version > in.version {
		return false, err
	}
	if held {
		var also []string
		if err := json.Unmarshal([]byte(names), &also); err != nil {
			return false, err
		}
		mine, err := w.readImage(in.table, in.key)
		if err == nil && dirty {
			mine, err = in.table.parseImage(base)
		}
		if err != nil || mine.equal(in.server) && slices.Contains(also, bucket) {
			return false, err
		}
		if !slices.Contains(also, bucket) {
			also = append(also, bucket)
		}
		in.buckets = also
	}
	return true, w.apply(in)
}

// leaveRow takes one row out of a bucket.
func (w *writer) leaveRow(row keyName, bucket string, upTo int64) error {
	var names string
	held, err := w.get(`SELECT s.names FROM _tide_row AS r JOIN _tide_set AS s ON s.buckets = r.buckets WHERE r.tab = ? AND r.key = ?`, []any{row.tab, row.key}, &names)
	if err != nil {
		return err
	}
	if err := w.exec(`DELETE FROM _tide_inbox WHERE tab = ? AND key = ? AND version <= ?`, row.tab, row.key, upTo); err != nil || !held {
		return err
	}
	var buckets []string
	if err := json.Unmarshal([]byte(names), &buckets); err != nil {
		return err
	}
	if left := slices.DeleteFunc(buckets, func(b string) bool { return b == bucket }); len(left) > 0 {
		set, err := w.setOf(left)
		if err != nil {
			return err
		}
		return w.exec(`UPDATE _tide_row SET buckets = ? WHERE tab = ? AND key = ?`, set, row.tab, row.key)
	}
	return w.apply(inbound{table: w.tables[row.tab], key: row.key, version: upTo, fetched: true})
}
