package cursorclient

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"
)

// HTTP is a server that is reached over HTTP.
type HTTP struct {
	URL string
	// Header is sent with each request: who asks, and for which source.
	Header http.Header
	Client *http.Client
	// ChunkRows of a snapshot are fetched at a time; 0 takes it as a stream.
	ChunkRows int
	// Lines asks for pulls in lines.
	Lines bool
}

// Do sends a request and returns the body of its success.
func (h *HTTP) Do(ctx context.Context, method, path string, body any) ([]byte, error) {
	var sent io.Reader = http.NoBody
	if body != nil {
		text, err := json.Marshal(body)
		if err != nil {
			return nil, err
		}
		sent = bytes.NewReader(text)
	}
	request, err := http.NewRequestWithContext(ctx, method, h.URL+path, sent)
	if err != nil {
		return nil, err
	}
	request.Header = h.Header.Clone()
	if h.Lines && method == http.MethodGet {
		request.Header.Set("Accept", "application/x-ndjson")
	}
	response, err := h.Client.Do(request)
	if err != nil {
		return nil, err
	}
	defer response.Body.Close() //nolint:errcheck // It was only read.
	text, err := io.ReadAll(response.Body)
	if err != nil {
		return nil, err
	}
	if response.StatusCode/100 != 2 {
		refusal := &Refusal{Status: response.StatusCode}
		if err := json.Unmarshal(text, refusal); err != nil || refusal.Code == "" {
			return nil, broken("%s %s: %d without a code: %s", method, path, response.StatusCode, text)
		}
		return nil, refusal
	}
	return text, nil
}

// Connect implements Server.
func (h *HTTP) Connect(ctx context.Context, cursor string, positions map[string]Position) (answer Connected, err error) {
	text, err := h.Do(ctx, http.MethodPost, "/sync/connect", map[string]any{"has_local_pending_rows": false, "buckets": true, "cursor": cursor, "positions": positions})
	if err != nil {
		return answer, err
	}
	var got struct {
		Resolution string   `json:"resolution"`
		Buckets    *Updates `json:"buckets"`
		Cursor     string   `json:"cursor"`
		BundleID   *int64   `json:"bundle_id"`
	}
	if err := json.Unmarshal(text, &got); err == nil && got.Resolution == "retry_later" {
		return answer, &Refusal{Status: http.StatusServiceUnavailable, Code: got.Resolution, Text: "another device of the user seeds the server"}
	} else if err != nil || got.Buckets == nil || got.Resolution == "" {
		return answer, broken("connect: %s", text)
	}
	return Connected{Updates: *got.Buckets, Cursor: got.Cursor, BundleID: got.BundleID}, nil
}

type wireRow struct {
	Schema  string          `json:"schema"`
	Table   string          `json:"table"`
	Key     json.RawMessage `json:"key"`
	Op      string          `json:"op"`
	Version int64           `json:"row_version"`
	Payload json.RawMessage `json:"payload"`
	Buckets []string        `json:"buckets"`
}

func (r wireRow) row() Row {
	return Row{Table: r.Schema + "." + r.Table, Key: string(r.Key), Op: r.Op, Payload: string(r.Payload), Version: r.Version, Buckets: r.Buckets}
}

type wireBundle struct {
	Position
	Buckets []string  `json:"buckets"`
	Rows    []wireRow `json:"rows"`
	Count   int       `json:"row_count"`
}

func (b wireBundle) bundle() (Bundle, error) {
	bundle := Bundle{Position: b.Position, Buckets: b.Buckets}
	for _, row := range b.Rows {
		bundle.Rows = append(bundle.Rows, row.row())
	}
	if b.Count != len(b.Rows) {
		return bundle, broken("bundle %d has %d rows and says %d", b.BundleID, len(b.Rows), b.Count)
	}
	return bundle, nil
}

// Pull implements Server.
func (h *HTTP) Pull(ctx context.Context, cursor string, maxBundles int) (page Page, err error) {
	text, err := h.Do(ctx, http.MethodGet, "/sync/pull?max_bundles="+strconv.Itoa(maxBundles)+"&cursor="+url.QueryEscape(cursor), nil)
	if err != nil {
		return page, err
	}
	if h.Lines {
		return readLines(text)
	}
	var got struct {
		Updates *Updates     `json:"bucket_updates"`
		Bundles []wireBundle `json:"bundles"`
		HasMore *bool        `json:"has_more"`
		Cursor  string       `json:"cursor"`
	}
	if err := json.Unmarshal(text, &got); err != nil || got.Updates == nil || got.Bundles == nil || got.HasMore == nil {
		return page, broken("pull: %s", text)
	}
	page = Page{Updates: *got.Updates, Cursor: got.Cursor, HasMore: *got.HasMore}
	for _, b := range got.Bundles {
		bundle, err := b.bundle()
		if err != nil {
			return page, err
		}
		page.Bundles = append(page.Bundles, bundle)
	}
	return page, nil
}

// readLines reads a pull of which each part is a line.
func readLines(text []byte) (page Page, err error) {
	finished := false
	for line := range strings.Lines(string(text)) {
		var part struct {
			wireRow
			Position
			Buckets []string `json:"buckets"`
			Updates *Updates `json:"bucket_updates"`
			End     bool     `json:"end_of_bundle"`
			Count   int      `json:"row_count"`
			Done    bool     `json:"done"`
			HasMore bool     `json:"has_more"`
			Cursor  string   `json:"cursor"`
		}
		if err := json.Unmarshal([]byte(line), &part); err != nil || finished {
			return page, broken("line of a pull: %s", line)
		}
		last := len(page.Bundles) - 1
		switch {
		case part.Updates != nil:
			page.Updates = *part.Updates
		case part.Done:
			page.HasMore, page.Cursor, finished = part.HasMore, part.Cursor, true
		case part.End:
			if part.Count != len(page.Bundles[last].Rows) {
				return page, broken("a bundle has %d rows and says %d", len(page.Bundles[last].Rows), part.Count)
			}
		case part.BundleID > 0:
			page.Bundles = append(page.Bundles, Bundle{Position: part.Position, Buckets: part.Buckets})
		default:
			part.wireRow.Buckets = part.Buckets
			page.Bundles[last].Rows = append(page.Bundles[last].Rows, part.row())
		}
	}
	if !finished {
		return page, broken("a pull in lines was cut: %s", text)
	}
	return page, nil
}

type wireSnapshot struct {
	ID       string   `json:"snapshot_id"`
	BundleID int64    `json:"snapshot_bundle_id"`
	Seal     string   `json:"seal"`
	Buckets  []string `json:"buckets"`
	Count    int      `json:"row_count"`
	Cursor   string   `json:"cursor"`
	Done     bool     `json:"done"`
}

// Snapshot implements Server.
func (h *HTTP) Snapshot(ctx context.Context, cursor string, buckets []string) (snapshot Snapshot, err error) {
	if h.ChunkRows == 0 {
		return h.stream(ctx, cursor, buckets)
	}
	body := map[string]any{"cursor": cursor}
	if buckets != nil {
		body["buckets"] = buckets
	}
	text, err := h.Do(ctx, http.MethodPost, "/sync/snapshot-sessions", body)
	if err != nil {
		return snapshot, err
	}
	var got wireSnapshot
	if err := json.Unmarshal(text, &got); err != nil {
		return snapshot, broken("snapshot: %s", text)
	}
	snapshot = Snapshot{Position: Position{got.BundleID, got.Seal}, Cursor: got.Cursor, Buckets: got.Buckets}
	path := "/sync/snapshot-sessions/" + got.ID
	for more := true; more; {
		text, err := h.Do(ctx, http.MethodGet, fmt.Sprintf("%s?after_row_ordinal=%d&max_rows=%d", path, len(snapshot.Rows), h.ChunkRows), nil)
		if err != nil {
			return snapshot, err
		}
		var chunk struct {
			BundleID int64     `json:"snapshot_bundle_id"`
			Rows     []wireRow `json:"rows"`
			More     bool      `json:"has_more"`
		}
		if err := json.Unmarshal(text, &chunk); err != nil || chunk.BundleID != got.BundleID {
			return snapshot, broken("chunk of a snapshot at %d: %s", got.BundleID, text)
		}
		for _, row := range chunk.Rows {
			snapshot.Rows = append(snapshot.Rows, row.row())
		}
		more = chunk.More
	}
	if len(snapshot.Rows) != got.Count {
		return snapshot, broken("a snapshot has %d rows and says %d", len(snapshot.Rows), got.Count)
	}
	_, err = h.Do(ctx, http.MethodDelete, path, nil)
	return snapshot, err
}

func (h *HTTP) stream(ctx context.Context, cursor string, buckets []string) (snapshot Snapshot, err error) {
	text, err := h.Do(ctx, http.MethodGet, "/sync/snapshot?"+url.Values{"cursor": {cursor}, "bucket": buckets}.Encode(), nil)
	if err != nil {
		return snapshot, err
	}
	var last wireSnapshot
	for line := range strings.Lines(string(text)) {
		if snapshot.Seal == "" {
			var first wireSnapshot
			if err := json.Unmarshal([]byte(line), &first); err != nil || first.Seal == "" {
				return snapshot, broken("first line of a snapshot: %s", line)
			}
			snapshot = Snapshot{Position: Position{first.BundleID, first.Seal}, Buckets: first.Buckets}
			continue
		}
		if strings.HasPrefix(line, `{"done"`) {
			if err := json.Unmarshal([]byte(line), &last); err != nil {
				return snapshot, broken("last line of a snapshot: %s", line)
			}
			continue
		}
		var row wireRow
		if err := json.Unmarshal([]byte(line), &row); err != nil || last.Done {
			return snapshot, broken("line of a snapshot: %s", line)
		}
		snapshot.Rows = append(snapshot.Rows, row.row())
	}
	if !last.Done || last.Count != len(snapshot.Rows) {
		return snapshot, broken("a snapshot of %d rows ends with %+v", len(snapshot.Rows), last)
	}
	snapshot.Cursor = last.Cursor
	return snapshot, nil
}
