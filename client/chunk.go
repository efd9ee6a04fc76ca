package client

import (
	"context"
	"fmt"
	"io"
	"net/http"

	"github.com/tidwall/gjson"
)

// chunks fetches a snapshot in parts. While one is stored the next one is on its way, if they are large.
type chunks struct {
	get    func(after int64) ([]gjson.Result, error)
	large  int64
	after  int64
	count  int64
	coming chan fetched
}

type fetched struct {
	rows []gjson.Result
	err  error
}

// large chunks are worth a goroutine.
const largeChunk = 1000

func (c *Client) chunks(ctx context.Context, source, path string, after, count int64) *chunks {
	size := int64(c.config.MaxRowsPerChunk)
	return &chunks{large: max(size, largeChunk), after: after, count: count, get: func(after int64) ([]gjson.Result, error) {
		return c.remote.chunk(ctx, source, fmt.Sprintf("%s?after_row_ordinal=%d&max_rows=%d", path, after, size))
	}}
}

func (c *chunks) next() ([]gjson.Result, error) {
	var got fetched
	if c.coming == nil {
		got.rows, got.err = c.get(c.after)
	} else {
		got = <-c.coming
		c.coming = nil
	}
	c.after += int64(len(got.rows))
	if got.err == nil && int64(len(got.rows)) >= c.large && c.after < c.count {
		coming, after := make(chan fetched, 1), c.after
		c.coming = coming
		go func() {
			rows, err := c.get(after)
			coming <- fetched{rows, err}
		}()
	}
	return got.rows, got.err
}

// chunk is a page of a snapshot, whose JSON is looked at once.
func (r *remote) chunk(ctx context.Context, source, path string) ([]gjson.Result, error) {
	answer, err := r.request(ctx, source, http.MethodGet, path, nil)
	if err != nil {
		return nil, err
	}
	defer answer.Body.Close() //nolint:errcheck // It was only read.
	text, err := io.ReadAll(answer.Body)
	if err == nil && !gjson.ValidBytes(text) {
		err = io.ErrUnexpectedEOF
	}
	if err != nil {
		return nil, fmt.Errorf("client: answer to GET %s: %w", path, err)
	}
	return gjson.GetBytes(text, "rows").Array(), nil
}
