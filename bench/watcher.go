package main

import (
	"bufio"
	"context"
	"fmt"
	"net"
	"net/url"
	"strconv"
	"strings"
	"time"
)

// told is an event of a watch, or a line of a bare socket.
type told struct {
	seq int64
	at  time.Time
}

// watchers are connections that are told something, all into one channel. They are bare, so that what
// they take is not what is measured.
type watchers struct {
	conns  []net.Conn
	events chan told
}

// watch opens so many streams of one device, which know all there is.
func (d *device) watch(ctx context.Context, n int) (*watchers, error) {
	address, err := url.Parse(d.url)
	if err != nil {
		return nil, err
	}
	head, err := d.head(ctx)
	if err != nil {
		return nil, err
	}
	request := fmt.Sprintf("GET /sync/watch?after_bundle_seq=%d HTTP/1.1\r\nHost: %s\r\nAuthorization: %s\r\nOversync-Source-ID: %s\r\n\r\n", head, address.Host, d.bearer, d.source)
	return openWatchers(ctx, address.Host, n, request, ": ", "id: ")
}

// head is where the home bucket stands.
func (d *device) head(ctx context.Context) (int64, error) {
	const name = `"snapshot_bundle_seq":`
	if status, err := d.ask(ctx, "POST", "/sync/snapshot-sessions", []byte("{}")); err != nil || status != 200 {
		return 0, d.unexpected("create a snapshot", status, err)
	}
	return lastNumber(d.answer.Bytes(), name)
}

// atOnce is how many connections are being opened at a time: each asks the database.
const atOnce = 64

// openWatchers connects so often, sends the request and waits for a line that begins with ready. Every
// line that begins with event is one.
func openWatchers(ctx context.Context, address string, n int, request, ready, event string) (*watchers, error) {
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	w := &watchers{events: make(chan told, 2*n+16)}
	begun := make(chan error, n)
	var dialer net.Dialer
	for i := range n + atOnce {
		if i >= atOnce && i-atOnce < n {
			var err error
			select {
			case err = <-begun:
			case <-ctx.Done():
				err = fmt.Errorf("not all could begin: %w", ctx.Err())
			}
			if err != nil {
				w.close()
				return nil, fmt.Errorf("watch: %w", err)
			}
		}
		if i >= n {
			continue
		}
		conn, err := dialer.DialContext(ctx, "tcp", address)
		if err == nil {
			w.conns = append(w.conns, conn)
			_, err = conn.Write([]byte(request))
		}
		if err != nil {
			w.close()
			return nil, fmt.Errorf("watch: %w", err)
		}
		go w.read(conn, ready, event, begun)
	}
	return w, nil
}

func (w *watchers) read(conn net.Conn, ready, event string, begun chan<- error) {
	lines := bufio.NewReaderSize(conn, 256)
	first, err := lines.ReadString('\n')
	for line := first; err == nil && !strings.HasPrefix(line, ready); {
		line, err = lines.ReadString('\n')
	}
	if err != nil {
		err = fmt.Errorf("answered with %q: %w", first, err)
	}
	begun <- err
	for err == nil {
		var line string
		if line, err = lines.ReadString('\n'); strings.HasPrefix(line, event) {
			seq, _ := strconv.ParseInt(strings.TrimSpace(line[len(event):]), 10, 64) // a bare socket says nothing but that
			w.events <- told{seq, time.Now()}
		}
	}
}

// wait for all to be told, and return when the last one was.
func (w *watchers) wait(ctx context.Context) (last told, err error) {
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	for range w.conns {
		select {
		case last = <-w.events:
		case <-ctx.Done():
			return last, fmt.Errorf("not all who watch were told: %w", ctx.Err())
		}
	}
	return last, nil
}

func (w *watchers) close() {
	for _, conn := range w.conns {
		_ = conn.Close() // the other end notices
	}
}
