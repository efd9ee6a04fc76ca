package client

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"sync/atomic"

	"github.com/tidwall/gjson"
)

// chunks fetches a snapshot in parts. While some are stored the next ones are on their way, if they are large.
type chunks struct {
	get   func(after int64) (chunk, error)
	size  int64
	after int64 // where the next request begins
	count int64
	ahead []chan fetched
	end   context.CancelFunc
	// length of the last answer: the next one is as long.
	length atomic.Int64
}

type fetched struct {
	chunk
	err error
}

// chunk is rows as they are staged, those of one table after the other.
type chunk struct {
	rows  int64
	parts []part
}

// part is rows of one table: of each its key, the JSON of its buckets, which columns it lacks, and its values.
type part struct {
	table  *table
	values []any
}

const (
	largeChunk = 1000 // worth a goroutine
	aheadMost  = 2    // one that the server reads, one that is being parsed
)

func (c *Client) chunks(ctx context.Context, source, path string, after, count int64) *chunks {
	size := int64(c.config.MaxRowsPerChunk)
	ctx, end := context.WithCancel(ctx)
	chunks := &chunks{end: end, size: size, after: after, count: count}
	chunks.get = func(after int64) (chunk, error) {
		return c.chunk(ctx, source, fmt.Sprintf("%s?after_row_ordinal=%d&max_rows=%d", path, after, size), &chunks.length)
	}
	return chunks
}

func (c *chunks) next() (chunk, error) {
	if len(c.ahead) == 0 {
		c.ask()
	}
	got := <-c.ahead[0]
	c.ahead = c.ahead[1:]
	switch {
	case got.err != nil || got.rows < c.size:
		// What is on its way, if anything is, does not begin where this one ends.
		c.after -= c.size*int64(1+len(c.ahead)) - got.rows
		c.drop()
	case got.rows >= largeChunk:
		for len(c.ahead) < aheadMost && c.after < c.count {
			c.ask()
		}
	}
	return got.chunk, got.err
}

func (c *chunks) drop() {
	for _, coming := range c.ahead {
		<-coming
	}
	c.ahead = nil
}

// close ends what is on its way: nothing is asked for in the name of the device once it returned.
func (c *chunks) close() {
	c.end()
	c.drop()
}

func (c *chunks) ask() {
	coming, after := make(chan fetched, 1), c.after
	c.ahead = append(c.ahead, coming)
	c.after += c.size
	go func() {
		got, err := c.get(after)
		coming <- fetched{got, err}
	}()
}

// chunk is a page of a snapshot, whose JSON is looked at once.
func (c *Client) chunk(ctx context.Context, source, path string, length *atomic.Int64) (got chunk, err error) {
	answer, err := c.remote.request(ctx, source, http.MethodGet, path, nil)
	if err != nil {
		return got, err
	}
	defer answer.Body.Close() //nolint:errcheck // It was only read.
	var text strings.Builder
	last := length.Load()
	text.Grow(int(last + last/16))
	_, err = io.Copy(&text, answer.Body)
	length.Store(int64(text.Len()))
	if err == nil {
		err = c.parseChunk(&got, jsonText(text.String()))
	}
	if err != nil {
		return got, fmt.Errorf("client: answer to GET %s: %w", path, err)
	}
	return got, nil
}

func (c *Client) parseChunk(to *chunk, answer jsonText) error {
	end, err := answer.object(0, func(name string, at int) (int, error) {
		if name != "rows" {
			return answer.skip(at)
		}
		return answer.array(at, func(at int) (int, error) {
			to.rows++
			return c.parse(to, answer, at)
		})
	})
	if err != nil {
		return err
	}
	return answer.whole(end)
}

// parse appends a row to a chunk, and says where it ends.
func (c *Client) parse(to *chunk, answer jsonText, at int) (int, error) {
	var name rowName
	var key, payload, buckets gjson.Result
	end, err := answer.object(at, func(field string, at int) (int, error) {
		value, end, err := answer.value(at)
		switch field {
		case "schema":
			name.Schema = value.Str
		case "table":
			name.Table = value.Str
		case "key":
			key = value
		case "payload":
			payload = value
		case "buckets":
			buckets = value
		}
		return end, err
	})
	if err != nil {
		return end, err
	}
	return end, c.take(to, name, key, payload, buckets)
}

func (c *Client) take(to *chunk, name rowName, key, payload, buckets gjson.Result) error {
	t := c.tables().of(name)
	if t == nil {
		return nil // a table that this device does not sync
	}
	if last := len(to.parts) - 1; last < 0 || to.parts[last].table != t {
		to.parts = append(to.parts, part{table: t})
	}
	p := &to.parts[len(to.parts)-1]
	id, err := t.keyFromValid(key)
	if err != nil {
		return err
	}
	if !payload.IsObject() {
		return fmt.Errorf("row %s of table %s has no payload", id, t.local)
	}
	at := len(p.values)
	width := stagedBeside + len(t.spec.Columns)
	if at+width > cap(p.values) && at >= largeChunk {
		p.values = slices.Grow(p.values, max(width, c.config.MaxRowsPerChunk*width-at)) // there are many of it: make room once
	}
	p.values = append(p.values, id, buckets.Raw, nil)
	p.values = append(p.values, t.absent...)
	values := p.values[at+stagedBeside:]
	if err := t.fill(values, payload); err != nil {
		return err
	}
	var lacks any
	for n, v := range values {
		if _, is := v.(absent); is {
			missing, _ := lacks.(string)
			lacks, values[n] = missing+fmt.Sprintf("%d,", n), nil
		}
	}
	p.values[at+2] = lacks
	return nil
}
