package cursorclient

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"
)

// Checksum is that of a row, of a range of rows, or of all rows of a table in a bucket.
type Checksum struct {
	Bucket   string          `json:"bucket"`
	Schema   string          `json:"schema"`
	Table    string          `json:"table"`
	Prefix   string          `json:"prefix"`
	RowCount int             `json:"row_count"`
	Checksum string          `json:"checksum"`
	Key      json.RawMessage `json:"key"`
	Payload  json.RawMessage `json:"payload"`
}

// Checked is the answer to a verification.
type Checked struct {
	BundleID  int64      `json:"snapshot_bundle_id"`
	BundleSeq int64      `json:"snapshot_bundle_seq"`
	Seal      string     `json:"seal"`
	Checksums []Checksum `json:"checksums"`
	Ranges    []Checksum `json:"ranges"`
	Rows      []Checksum `json:"rows"`
	Left      []string   `json:"left"`
}

// Verify asks for what is in buckets, or in ranges of the keys of a table.
func (h *HTTP) Verify(ctx context.Context, asked map[string]any) (checked Checked, err error) {
	text, err := h.Do(ctx, http.MethodPost, "/sync/verify", asked)
	if err != nil {
		return checked, err
	}
	return checked, json.Unmarshal(text, &checked)
}

// Digest is what ranges are prefixes of, for the text of a key.
func Digest(text string) string {
	sum := sha256.Sum256([]byte(text))
	return hex.EncodeToString(sum[:8])
}

// Checksum is what the device itself has: number and checksum of the rows of a table in a bucket whose
// keys have this prefix.
func (d *Device) Checksum(bucket, table, prefix string) (rows int, checksum string) {
	var all uint64
	for range d.within(bucket, table, prefix, func(key, payload string) {
		sum := sha256.Sum256([]byte(key + "\n" + payload))
		all ^= binary.BigEndian.Uint64(sum[:8])
	}) {
		rows++
	}
	return rows, fmt.Sprintf("%016x", all)
}

// within calls f for the rows of a range, and returns their keys.
func (d *Device) within(bucket, table, prefix string, f func(key, payload string)) (keys []string) {
	for id, row := range d.Rows {
		key, found := strings.CutPrefix(id, table)
		if found && strings.HasPrefix(key, "{") && slices.Contains(row.Buckets, bucket) && strings.HasPrefix(Digest(key), prefix) {
			keys = append(keys, key)
			f(key, row.Payload)
		}
	}
	return keys
}

// Differences are the rows, by table and key, in which the device and the server differ, and the number
// of requests that it took to find them. Nothing must change meanwhile.
func (d *Device) Differences(ctx context.Context, server *HTTP) (different []string, requests int, err error) {
	held := slices.Sorted(maps.Keys(d.Stands))
	checked, err := server.Verify(ctx, map[string]any{"buckets": held})
	if err != nil {
		return nil, 1, err
	}
	requests++
	given := map[[2]string]Checksum{}
	tables := map[string]bool{}
	for _, c := range checked.Checksums {
		given[[2]string{c.Bucket, c.Schema + "." + c.Table}] = c
		tables[c.Schema+"."+c.Table] = true
	}
	for id := range d.Rows {
		tables[id[:strings.IndexByte(id, '{')]] = true
	}
	found := map[string]bool{}
	for _, bucket := range held {
		for table := range tables {
			rows, checksum := d.Checksum(bucket, table, "")
			if server := given[[2]string{bucket, table}]; server.RowCount == rows && (rows == 0 || server.Checksum == checksum) {
				continue
			}
			n, err := d.differ(ctx, server, bucket, table, []string{""}, found)
			requests += n
			if err != nil {
				return nil, requests, err
			}
		}
	}
	return slices.Sorted(maps.Keys(found)), requests, nil
}

func (d *Device) differ(ctx context.Context, server *HTTP, bucket, table string, prefixes []string, found map[string]bool) (requests int, err error) {
	schema, name, _ := strings.Cut(table, ".")
	checked, err := server.Verify(ctx, map[string]any{"bucket": bucket, "schema": schema, "table": name, "prefixes": prefixes})
	requests = 1
	if err != nil {
		return requests, err
	}
	next := checked.Left
	if checked.Ranges != nil {
		// Of the first prefix alone; a range that is not told has no rows.
		told := map[string]Checksum{}
		for _, r := range checked.Ranges {
			told[r.Prefix] = r
		}
		var within []string
		for n := range 256 {
			prefix := prefixes[0] + fmt.Sprintf("%02x", n)
			rows, checksum := d.Checksum(bucket, table, prefix)
			if told[prefix].RowCount != rows || rows > 0 && told[prefix].Checksum != checksum {
				within = append(within, prefix)
			}
		}
		if len(within) == 0 {
			return requests, broken("%s in %s: the range %q differs, and none within it", table, bucket, prefixes[0])
		}
		n, err := d.differ(ctx, server, bucket, table, within, found)
		if requests += n; err != nil {
			return requests, err
		}
	} else {
		listed := map[string]string{}
		for _, row := range checked.Rows {
			listed[string(row.Key)] = row.Checksum
		}
		for _, prefix := range prefixes {
			if !slices.Contains(checked.Left, prefix) {
				for _, key := range d.within(bucket, table, prefix, func(key, payload string) {
					if listed[key] != Digest(key+"\n"+payload) {
						found[table+key] = true
					}
				}) {
					delete(listed, key)
				}
			}
		}
		for key := range listed {
			found[table+key] = true
		}
	}
	if len(next) > 0 {
		n, err := d.differ(ctx, server, bucket, table, next, found)
		return requests + n, err
	}
	return requests, nil
}
