package server

import (
	"bytes"
	"context"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"time"
)

// watchConn is the connection of a device that watches, as a writer of its answer. net/http has let go of it: what
// it keeps for a request and its answer is more than half of what a watch takes (docs/performance.md).
type watchConn struct {
	net.Conn
	header http.Header
}

// takeOver takes the connection from net/http, if it is one of HTTP/1 and no middleware stands between. The rest of
// the stream is then told by a goroutine of its own.
func (s *eventStream) takeOver() {
	conn, _, err := http.NewResponseController(s.w.ResponseWriter).Hijack()
	if err != nil {
		return
	}
	own := &watchConn{Conn: conn, header: s.w.Header()}
	// The context of the request ends with its handler.
	ctx, gone := context.WithCancel(context.WithoutCancel(s.client))
	s.client, s.w.ResponseWriter, s.own = ctx, own, own
	s.r = (&http.Request{Method: s.r.Method, URL: &url.URL{Path: s.r.URL.Path}}).WithContext(ctx)
	go own.listen(gone)
}

// listen waits until the device goes away. It has nothing more to say.
func (c *watchConn) listen(gone func()) {
	defer gone()
	var said [1]byte
	for range 64 { // an empty line after the request, say
		if _, err := c.Read(said[:]); err != nil {
			return
		}
	}
}

// Header implements http.ResponseWriter.
func (c *watchConn) Header() http.Header { return c.header }

// WriteHeader implements http.ResponseWriter. The answer ends with its connection. That it cannot be written, the
// next Write says.
func (c *watchConn) WriteHeader(status int) {
	var head bytes.Buffer
	fmt.Fprintf(&head, "HTTP/1.1 %d %s\r\nDate: %s\r\nConnection: close\r\n", status, http.StatusText(status), time.Now().UTC().Format(http.TimeFormat))
	_ = c.header.Write(&head) // a buffer takes all
	head.WriteString("\r\n")
	c.header = nil
	_, _ = c.Write(head.Bytes())
}

// FlushError is for http.ResponseController.
func (c *watchConn) FlushError() error { return nil }
