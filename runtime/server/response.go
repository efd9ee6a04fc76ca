package server

import (
	"errors"
	"net/http"
	"os"
	"strconv"
	"time"

	"github.com/pgtide/pgtide/runtime/wire"
)

// response remembers what was answered.
type response struct {
	http.ResponseWriter
	started bool
	cut     bool // an answer that began could not be finished
	status  int
	bytes   int64
}

// WriteHeader begins the answer.
func (w *response) WriteHeader(status int) {
	w.started, w.status = true, status
	w.ResponseWriter.WriteHeader(status)
}

// Write sends a part of the answer.
func (w *response) Write(b []byte) (int, error) {
	n, err := w.ResponseWriter.Write(b)
	w.bytes += int64(n)
	return n, err
}

// Unwrap is for http.ResponseController.
func (w *response) Unwrap() http.ResponseWriter { return w.ResponseWriter }

// mayRead gives the client so much time from now to send what is being read. There is no such bound
// while nothing is read, because then it would end the request: net/http takes it for a client that
// went away.
func (w *response) mayRead(limit time.Duration) {
	// Not every ResponseWriter can: then the host has its own bounds.
	_ = http.NewResponseController(w.ResponseWriter).SetReadDeadline(deadline(limit))
}

// mayWrite gives the client so much time from now to take what is written next; 0 is as much as it
// likes.
func (w *response) mayWrite(limit time.Duration) {
	_ = http.NewResponseController(w.ResponseWriter).SetWriteDeadline(deadline(limit)) // as above
}

func deadline(limit time.Duration) time.Time {
	if limit <= 0 {
		return time.Time{}
	}
	return time.Now().Add(limit)
}

// json answers with a body that build appends to.
func (c *call) json(build func(b []byte) []byte) error {
	b := append(build(nil), '\n')
	c.header(typeJSON, len(b))
	return c.send(b)
}

func (c *call) noContent() error {
	c.w.WriteHeader(http.StatusNoContent)
	return nil
}

// header begins an answer of this length; -1 is one that is streamed.
func (c *call) header(contentType string, length int) {
	header := c.w.Header()
	header.Set("Content-Type", contentType)
	header.Set("Cache-Control", "no-store")
	if length >= 0 {
		header.Set("Content-Length", strconv.Itoa(length))
	}
	c.w.WriteHeader(http.StatusOK)
}

func (c *call) send(b []byte) error {
	defer c.enterStage(sendStage)()
	c.w.mayWrite(c.config.WriteTimeout)
	_, err := c.w.Write(b)
	return sent(err)
}

// flush lets the client have what was sent so far, compressed or not.
func (c *call) flush() error {
	defer c.enterStage(sendStage)()
	err := http.NewResponseController(c.w.ResponseWriter).Flush()
	if errors.Is(err, http.ErrNotSupported) {
		return nil // the host's own way of writing has its own time
	}
	return sent(err)
}

func sent(err error) error {
	if err != nil {
		if errors.Is(err, os.ErrDeadlineExceeded) {
			return wire.Unavailable("the client took too long to read the answer", err)
		}
		return wire.Unavailable("the client went away", err)
	}
	return nil
}
