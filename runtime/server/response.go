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

// allow gives the client so much time from now: to send the rest of its request, or to take what is
// written next.
func (w *response) allow(limit time.Duration) {
	control := http.NewResponseController(w.ResponseWriter)
	deadline := time.Now().Add(limit)
	// Not every ResponseWriter can: then the host has its own bounds.
	_ = control.SetReadDeadline(deadline)
	_ = control.SetWriteDeadline(deadline.Add(limit))
}

// json answers with a body that build appends to.
func (c *call) json(build func(b []byte) []byte) error {
	b := append(build(nil), '\n')
	c.header("application/json", len(b))
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
	c.w.allow(c.config.WriteTimeout)
	if _, err := c.w.Write(b); err != nil {
		if errors.Is(err, os.ErrDeadlineExceeded) {
			return wire.Unavailable("the client took too long to read the answer", err)
		}
		return wire.Unavailable("the client went away", err)
	}
	return nil
}
