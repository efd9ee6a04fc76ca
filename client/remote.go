package client

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"time"
)

// remote makes requests.
type remote struct {
	config Config
}

// ServerError is an answer that is no success.
type ServerError struct {
	Status     int           `json:"-"`
	Code       string        `json:"error"`
	Message    string        `json:"message"`
	Retryable  bool          `json:"retryable"`
	RequestID  string        `json:"request_id"`
	RetryAfter time.Duration `json:"-"`
	// MinAppVersion is set when this app is too old for the server.
	MinAppVersion string `json:"min_app_version"`

	Conflicts []serverConflict `json:"conflicts"`
	Rejected  []rejection      `json:"rejected"`
	SQLState  string           `json:"sqlstate"`
}

type serverConflict struct {
	rowName
	Base    int64           `json:"base_row_version"`
	Version int64           `json:"server_row_version"`
	Row     json.RawMessage `json:"server_row"`
}

type rejection struct {
	Ordinal    int    `json:"row_ordinal"`
	SQLState   string `json:"sqlstate"`
	Constraint string `json:"constraint"`
	Column     string `json:"column"`
	Detail     string `json:"detail"`
}

func (e *ServerError) Error() string {
	return fmt.Sprintf("the server answered %d %s: %s", e.Status, e.Code, e.Message)
}

type rowName struct {
	Schema string          `json:"schema"`
	Table  string          `json:"table"`
	Key    json.RawMessage `json:"key"`
}

// wireRow is a row as the server sends it.
type wireRow struct {
	rowName
	Op      string          `json:"op"`
	Version int64           `json:"row_version"`
	Payload json.RawMessage `json:"payload"`
	Buckets []string        `json:"buckets"`
}

type bucketUpdates struct {
	Add    []string `json:"add"`
	Remove []string `json:"remove"`
	Repair []string `json:"repair"`
}

type position struct {
	BundleID int64  `json:"bundle_id"`
	Seal     string `json:"seal"`
}

type connected struct {
	Resolution     string        `json:"resolution"`
	Initialization string        `json:"initialization_id"`
	RetryAfter     int           `json:"retry_after_seconds"`
	Buckets        bucketUpdates `json:"buckets"`
	Cursor         string        `json:"cursor"`
	BundleID       *int64        `json:"bundle_id"`
}

type pulled struct {
	Updates bucketUpdates `json:"bucket_updates"`
	Bundles []struct {
		position
		Source  string    `json:"source_id"`
		Number  int64     `json:"source_bundle_id"`
		Buckets []string  `json:"buckets"`
		Rows    []wireRow `json:"rows"`
	} `json:"bundles"`
	HasMore bool   `json:"has_more"`
	Cursor  string `json:"cursor"`
}

type pushed struct {
	Rows     []wireRow `json:"rows"`
	BundleID int64     `json:"bundle_id"`
	Seal     string    `json:"seal"`
}

type snapshot struct {
	ID       string   `json:"snapshot_id"`
	BundleID int64    `json:"snapshot_bundle_id"`
	Seal     string   `json:"seal"`
	Buckets  []string `json:"buckets"`
	Count    int64    `json:"row_count"`
	Cursor   string   `json:"cursor"`
}

func (r *remote) request(ctx context.Context, source, method, path string, body any) (*http.Response, error) {
	var sent io.Reader = http.NoBody
	if body != nil {
		text, err := json.Marshal(body)
		if err != nil {
			return nil, err
		}
		sent = bytes.NewReader(text)
	}
	request, err := http.NewRequestWithContext(ctx, method, r.config.URL+path, sent)
	if err != nil {
		return nil, err
	}
	for name, values := range r.config.Header {
		request.Header[name] = values
	}
	request.Header.Set("Tide-Source-ID", source)
	for name, value := range map[string]string{"Tide-App-Version": r.config.AppVersion, "Tide-Platform": r.config.Platform, "Tide-Device-Name": r.config.DeviceName} {
		if value != "" {
			request.Header.Set(name, value)
		}
	}
	if body != nil {
		request.Header.Set("Content-Type", "application/json")
	}
	if r.config.Token != nil {
		token, err := r.config.Token(ctx)
		if err != nil {
			return nil, fmt.Errorf("client: token: %w", err)
		}
		request.Header.Set("Authorization", "Bearer "+token)
	}
	answer, err := r.config.HTTPClient.Do(request)
	if err != nil {
		return nil, err
	}
	if answer.StatusCode/100 == 2 {
		return answer, nil
	}
	defer answer.Body.Close() //nolint:errcheck // It was only read.
	refused := &ServerError{}
	text, err := io.ReadAll(io.LimitReader(answer.Body, 64<<20))
	if err != nil {
		return nil, err
	}
	if json.Unmarshal(text, refused) != nil || refused.Code == "" {
		refused.Code, refused.Message, refused.Retryable = "no_pgtide", "the answer is none of pgtide, or was cut: is the URL right, or a proxy in between?", true
	}
	refused.Status = answer.StatusCode
	if seconds, err := strconv.Atoi(answer.Header.Get("Retry-After")); err == nil {
		refused.RetryAfter = time.Duration(seconds) * time.Second
	}
	switch refused.Status {
	case http.StatusTooManyRequests, http.StatusBadGateway, http.StatusServiceUnavailable, http.StatusGatewayTimeout:
		refused.Retryable = true
	}
	return nil, refused
}

func (r *remote) do(ctx context.Context, source, method, path string, body, into any) error {
	answer, err := r.request(ctx, source, method, path, body)
	if err != nil {
		return err
	}
	defer answer.Body.Close() //nolint:errcheck // It was only read.
	if into == nil {
		return nil
	}
	if err := json.NewDecoder(answer.Body).Decode(into); err != nil {
		return fmt.Errorf("client: answer to %s %s: %w", method, path, err)
	}
	return nil
}

// toldSchema is what the tables are made from.
type toldSchema struct {
	Version string  `json:"version"` // of what this source is told
	Newest  string  `json:"newest_version"`
	Tables  []Table `json:"tables"`
}

func (r *remote) schema(ctx context.Context, source string) (told toldSchema, err error) {
	return told, r.do(ctx, source, http.MethodGet, "/sync/schema", nil, &told)
}

func (r *remote) pull(ctx context.Context, s state, bundles int) (page pulled, err error) {
	ask := url.Values{"max_bundles": {strconv.Itoa(bundles)}, "cursor": {s.cursor}}
	if s.pushed != "" {
		ask.Set("pushed", s.pushed)
	}
	return page, r.do(ctx, s.source, http.MethodGet, "/sync/pull?"+ask.Encode(), nil, &page)
}
