package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strconv"
)

// device of a user: it sends requests one after the other, and reads of an answer no more than it must.
type device struct {
	*front
	user, source string
	bearer       string
	lastPush     int64
	answer       bytes.Buffer
}

// Device attaches a device to a user's home bucket.
func (f *front) Device(ctx context.Context, user, source string) (*device, error) {
	token, err := f.token(user)
	if err != nil {
		return nil, fmt.Errorf("sign a token: %w", err)
	}
	d := &device{front: f, user: user, source: source, bearer: "Bearer " + token}
	return d, d.connect(ctx, false)
}

// connect makes it one that reads its home bucket, or many.
func (d *device) connect(ctx context.Context, many bool) error {
	if status, err := d.ask(ctx, http.MethodPost, "/sync/connect", fmt.Appendf(nil, `{"has_local_pending_rows":false,"buckets":%t}`, many)); err != nil || status != http.StatusOK {
		return d.unexpected("connect", status, err)
	}
	return nil
}

// begin sends a request and returns when the answer has begun.
func (d *device) begin(ctx context.Context, method, path string, body []byte) (*http.Response, error) {
	request, err := http.NewRequestWithContext(ctx, method, d.url+path, bytes.NewReader(body))
	if err != nil {
		return nil, err
	}
	request.Header.Set("Authorization", d.bearer)
	request.Header.Set("Oversync-Source-ID", d.source)
	if body != nil {
		request.Header.Set("Content-Type", "application/json")
	}
	return d.client.Do(request)
}

// ask sends a request, and keeps the answer until the next one.
func (d *device) ask(ctx context.Context, method, path string, body []byte) (status int, err error) {
	response, err := d.begin(ctx, method, path, body)
	if err != nil {
		return 0, err
	}
	defer func() { _ = response.Body.Close() }() // it was read
	d.answer.Reset()
	_, err = d.answer.ReadFrom(response.Body)
	return response.StatusCode, err
}

func (d *device) unexpected(what string, status int, err error) error {
	if err != nil {
		return fmt.Errorf("%s: %w", what, err)
	}
	text := d.answer.Bytes()
	return fmt.Errorf("%s: answered with %d: %s", what, status, text[:min(len(text), 500)])
}

// push sends rows, and returns the bundle they became; accepted is false when they met a conflict.
func (d *device) push(ctx context.Context, rows []byte) (seq int64, accepted bool, err error) {
	body := strconv.AppendInt([]byte(`{"source_bundle_id":`), d.lastPush+1, 10)
	body = append(append(append(body, `,"rows":`...), rows...), '}')
	status, err := d.ask(ctx, http.MethodPost, "/sync/push", body)
	switch {
	case err == nil && status == http.StatusConflict && bytes.Contains(d.answer.Bytes(), []byte(`"push_conflict"`)):
		return 0, false, nil
	case err != nil || status != http.StatusOK:
		return 0, false, d.unexpected("push", status, err)
	}
	d.lastPush++
	seq, err = lastNumber(d.answer.Bytes(), `"bundle_seq":`)
	return seq, true, err
}

// pull asks for a page, and returns how many rows it has, where it ends and whether there is more.
func (d *device) pull(ctx context.Context, after, target int64) (rows, last int64, more bool, err error) {
	path := fmt.Sprintf("/sync/pull?after_bundle_seq=%d&max_bundles=%d&target_bundle_seq=%d", after, pageBundles, target)
	status, err := d.ask(ctx, http.MethodGet, path, nil)
	if err != nil || status != http.StatusOK {
		return 0, 0, false, d.unexpected("pull", status, err)
	}
	text := d.answer.Bytes()
	if rows = countRows(text); rows == 0 {
		return 0, after, false, errors.New("pull: the page is empty")
	}
	if last, err = lastNumber(text, rowVersion); err != nil {
		return 0, 0, false, err
	}
	return rows, last, bytes.HasSuffix(text, []byte("\"has_more\":true}\n")), nil
}

// rowVersion stands in each row once, before its payload.
const rowVersion = `"row_version":`

func countRows(text []byte) int64 { return int64(bytes.Count(text, []byte(rowVersion))) }

// lastNumber is what follows a name where it stands last.
func lastNumber(text []byte, name string) (int64, error) {
	at := bytes.LastIndex(text, []byte(name))
	if at < 0 {
		return 0, fmt.Errorf("the answer has no %s", name)
	}
	return leadingNumber(text[at+len(name):]), nil
}

// rowCounter counts the rows of what is written to it, in pieces cut anywhere.
type rowCounter struct {
	rows, bytes int64
	kept        []byte
}

// Write implements io.Writer.
func (c *rowCounter) Write(piece []byte) (int, error) {
	c.bytes += int64(len(piece))
	const overlap = len(rowVersion) - 1
	// A name across the seam: what was kept is shorter than it, so none is counted twice.
	seam := slices.Concat(c.kept, piece[:min(len(piece), overlap)])
	c.rows += countRows(seam) + countRows(piece)
	if len(piece) >= overlap {
		c.kept = append(c.kept[:0], piece[len(piece)-overlap:]...)
	} else {
		c.kept = append(c.kept[:0], seam[max(0, len(seam)-overlap):]...)
	}
	return len(piece), nil
}

var _ io.Writer = (*rowCounter)(nil)
