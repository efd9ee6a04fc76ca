package server

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/pgtide/pgtide/runtime/auth"
	"github.com/pgtide/pgtide/runtime/sealer"
	"github.com/pgtide/pgtide/runtime/watch"
)

// patience is how long a test waits for what must happen.
const patience = 30 * time.Second

// newRunningFront is a front that seals and tells.
func newRunningFront(t *testing.T, config Config) *front {
	t.Helper()
	config.Sealing = sealer.Config{Interval: 5 * time.Millisecond, IdleInterval: 5 * time.Millisecond}
	f := newFront(t, config)
	run(t, f.server)
	return f
}

func run(t *testing.T, s *Server) {
	t.Helper()
	ctx, stop := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- s.Run(ctx) }()
	t.Cleanup(func() {
		stop()
		if err := <-ended; err != nil {
			t.Errorf("Run: %v", err)
		}
	})
	for !s.config.NoWatch && !s.hub.Running() {
		time.Sleep(time.Millisecond)
	}
}

// stream is what a device hears.
type stream struct {
	t      *testing.T
	header http.Header
	lines  chan string
	close  func()
	beats  int // heard so far
}

// watch opens a stream, which must begin.
func (d phone) watch(t *testing.T, query string, header ...string) *stream {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	t.Cleanup(cancel)
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, d.f.url+"/sync/watch"+query, nil)
	if err != nil {
		t.Fatal(err)
	}
	request.Header.Set("X-User", d.user)
	request.Header.Set("Oversync-Source-ID", d.source)
	for i := 0; i < len(header); i += 2 {
		request.Header.Set(header[i], header[i+1])
	}
	response, err := d.f.client.Do(request)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = response.Body.Close() }) // it was read
	if response.StatusCode != http.StatusOK {
		text, _ := io.ReadAll(response.Body) // only adds to the failure
		t.Fatalf("watch: %d %s", response.StatusCode, text)
	}
	s := &stream{t: t, header: response.Header, lines: make(chan string, 10000), close: cancel}
	go func() {
		defer close(s.lines)
		for lines := bufio.NewScanner(response.Body); lines.Scan(); {
			s.lines <- lines.Text()
		}
	}()
	return s
}

// frame is the next event, its lines joined by |, or "end".
func (s *stream) frame() string {
	s.t.Helper()
	var lines []string
	for {
		select {
		case line, more := <-s.lines:
			switch {
			case !more:
				return "end"
			case line == heartbeat[:len(heartbeat)-2]:
				s.beats++
			case line == "" && lines != nil:
				return strings.Join(lines, "|")
			case line == "":
			default:
				lines = append(lines, line)
			}
		case <-time.After(patience):
			s.t.Fatal("nothing is heard")
		}
	}
}

// until reads events up to one of this bundle, and fails when it hears of a later one.
func (s *stream) until(seq int64) {
	s.t.Helper()
	for last := int64(0); last < seq; {
		frame, before := s.frame(), last
		if last = seqOf(frame); last <= before || last > seq {
			s.t.Fatalf("heard %q after %d, waiting for %d", frame, before, seq)
		}
	}
}

func seqOf(frame string) int64 {
	_, rest, _ := strings.Cut(frame, "id: ")
	text, _, _ := strings.Cut(rest, "|")
	seq, err := strconv.ParseInt(text, 10, 64)
	if err != nil {
		return -1
	}
	return seq
}

func (s *stream) is(want string) {
	s.t.Helper()
	if got := s.frame(); got != want {
		s.t.Fatalf("heard %q, want %q", got, want)
	}
}

// ends says that the stream ends, whatever is heard before.
func (s *stream) ends() {
	s.t.Helper()
	for s.frame() != "end" {
	}
}

// What is there already is told at once, what comes is told with its source, and nobody hears of another's.
func TestWatch(t *testing.T) {
	t.Parallel()
	f := newRunningFront(t, Config{})
	d, other := f.device("u1", "phone").connect(t), f.device("u2", "phone").connect(t)
	d.push(t, 1, task("INSERT", taskA, 0, `"title":"a"`))
	fresh, knowing, again := d.watch(t, ""), d.watch(t, "?after_bundle_seq=1"), d.watch(t, "?after_bundle_seq=0", "Last-Event-ID", "1")
	header := fresh.header
	if header.Get("Content-Type") != "text/event-stream" || header.Get("Cache-Control") != "no-cache" || header.Get("X-Accel-Buffering") != "no" {
		t.Errorf("headers: %v", header)
	}
	stranger := other.watch(t, "")
	fresh.is(`event: bundle|id: 1|data: {"bundle_seq":1}`)
	d.push(t, 2, task("UPDATE", taskA, 1, `"title":"b"`))
	for _, s := range []*stream{fresh, knowing, again} {
		s.until(2) // it may come from looking where the bucket stands, without its source
	}
	d.push(t, 3, task("UPDATE", taskA, 2, `"title":"c"`))
	for _, s := range []*stream{fresh, knowing, again} {
		s.is(`event: bundle|id: 3|data: {"bundle_seq":3,"source_id":"phone","source_bundle_id":3}`)
	}
	f.exec(t, fmt.Sprintf(`UPDATE app.task SET title = 'd' WHERE id = '%s'`, taskA))
	knowing.is(`event: bundle|id: 4|data: {"bundle_seq":4,"source_id":"server","source_bundle_id":5}`)
	// A device that is ahead hears where the bucket stands.
	d.watch(t, "?after_bundle_seq=99").is(`event: bundle|id: 4|data: {"bundle_seq":4}`)
	other.push(t, 1, task("INSERT", taskB, 0, `"title":"mine"`))
	stranger.is(`event: bundle|id: 1|data: {"bundle_seq":1,"source_id":"phone","source_bundle_id":1}`)
	f.server.Drain()
	again.ends()
	stranger.is("end")
}

// Rows that were there before their table was registered begin a bucket without a bundle.
func TestWatchOfAnAdoptedBucket(t *testing.T) {
	t.Parallel()
	f := newRunningFront(t, Config{})
	s := f.device("u1", "phone").connect(t).watch(t, "")
	f.exec(t, `CREATE TABLE app.old (id bigint PRIMARY KEY, owner_id text)`, `INSERT INTO app.old VALUES (1, 'u1')`, `SELECT tide.register_table('app.old', owner_column => 'owner_id')`)
	s.until(1)
}

func TestWatchRefusals(t *testing.T) {
	t.Parallel()
	f := newRunningFront(t, Config{MaxWatchesPerUser: 2, OperatorToken: "let me see"})
	d := f.device("u1", "phone")
	d.get(t, "/sync/watch").is(t, 409, "scope_uninitialized")
	d.connect(t)
	d.get(t, "/sync/watch?after_bundle_seq=-1").is(t, 400, "invalid_request")
	d.get(t, "/sync/watch?after_bundle_seq=x").is(t, 400, "invalid_request")
	d.post(t, "/sync/watch", "{}").is(t, 405, "method_not_allowed")
	f.device("", "phone").get(t, "/sync/watch").is(t, 401, "authentication_failed")
	f.device("u1", "").get(t, "/sync/watch").is(t, 400, "invalid_request")
	d.watch(t, "")
	last := d.watch(t, "")
	d.get(t, "/sync/watch").is(t, 429, "too_many_streams").golden(t, "too_many_streams")
	f.device("u2", "phone").connect(t).watch(t, "")
	if !strings.Contains(f.metrics(t), "\npgtide_watches 3\n") {
		t.Error("the metrics do not say how many watch")
	}
	last.close()
	eventually(t, "a stream that was closed to be counted no more", func() bool { return f.server.hub.Subscribers() == 2 })
	d.watch(t, "")

	still := newFront(t, Config{})
	still.device("u1", "phone").connect(t).get(t, "/sync/watch").is(t, 503, "service_unavailable")
	without := newFront(t, Config{NoWatch: true})
	without.device("u1", "phone").connect(t).get(t, "/sync/watch").is(t, 503, "bundle_change_watch_disabled").golden(t, "bundle_change_watch_disabled")
	if got := without.device("u1", "phone").get(t, "/sync/capabilities").field(t, "features", "bundle_change_watch"); got != "false" {
		t.Errorf("the features say %s", got)
	}
}

// A stream outlives the timeouts of the server, and ends with the token.
func TestWatchEndsWithItsToken(t *testing.T) {
	t.Parallel()
	f := newRunningFront(t, Config{HeartbeatInterval: 100 * time.Millisecond, RequestTimeout: 2 * time.Second})
	var expires time.Time
	web := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		f.server.ServeHTTP(w, r.WithContext(auth.WithIdentity(r.Context(), auth.Identity{UserID: r.Header.Get("X-User"), ExpiresAt: expires})))
	}))
	web.Config.WriteTimeout, web.Config.ReadTimeout = time.Second, time.Second
	web.Start()
	defer web.Close()
	f.device("u1", "phone").connect(t)
	d := phone{&front{t: t, db: f.db, url: web.URL, client: web.Client()}, "u1", "phone"}
	lasting := d.watch(t, "")
	expires = time.Now().Add(5 * time.Second)
	short := d.watch(t, "")
	short.ends()
	if time.Now().Before(expires) || short.beats < 3 {
		t.Errorf("it ended early, after %d heartbeats", short.beats)
	}
	f.exec(t, `INSERT INTO app.note VALUES (1, 'u1')`)
	lasting.until(1)
	if lasting.beats < 3 {
		t.Errorf("%d heartbeats", lasting.beats)
	}
	f.server.Drain()
}

// Events leave at once, and who goes away is noticed, also where the connection stays with the host: through its
// writers, with Unwrap and no Flush or the other way round, and by HTTP/2.
func TestWatchWithinAHost(t *testing.T) {
	t.Parallel()
	for name, through := range map[string]func(w http.ResponseWriter) http.ResponseWriter{
		"a writer with Unwrap": func(w http.ResponseWriter) http.ResponseWriter {
			return struct {
				http.ResponseWriter
				unwrapper
			}{w, unwrapper{w}}
		},
		"a writer with Flush": func(w http.ResponseWriter) http.ResponseWriter {
			return struct {
				http.ResponseWriter
				http.Flusher
			}{w, w.(http.Flusher)}
		},
		"HTTP/2": func(w http.ResponseWriter) http.ResponseWriter { return w },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f := newRunningFront(t, Config{})
			host := asHeaderSays(f.server)
			web := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { host.ServeHTTP(through(w), r) }))
			if web.EnableHTTP2 = name == "HTTP/2"; web.EnableHTTP2 {
				web.StartTLS()
			} else {
				web.Start()
			}
			defer web.Close()
			f.device("u1", "phone").connect(t)
			d := phone{&front{t: t, db: f.db, url: web.URL, client: web.Client()}, "u1", "phone"}
			s := d.watch(t, "")
			f.exec(t, `INSERT INTO app.note VALUES (1, 'u1')`)
			s.until(1)
			s.close()
			eventually(t, "a stream that was closed to be counted no more", func() bool { return f.server.hub.Subscribers() == 0 })
			drained := d.watch(t, "")
			f.server.Drain()
			drained.ends()
		})
	}
}

type unwrapper struct{ inner http.ResponseWriter }

func (u unwrapper) Unwrap() http.ResponseWriter { return u.inner }

// Between looking at the head and listening, nothing is lost: a writer goes on all the while.
func TestNothingFallsBetweenHeadAndWatch(t *testing.T) {
	t.Parallel()
	f := newRunningFront(t, Config{MaxWatchesPerUser: 1000})
	d := f.device("u1", "phone").connect(t)
	f.exec(t, `INSERT INTO app.note VALUES (1, 'u1')`)
	d.watch(t, "").until(1)
	const rounds = 150
	for i := range rounds {
		seq := int64(i + 1)
		opened := make(chan *stream, 1)
		go func() { opened <- d.watch(t, fmt.Sprintf("?after_bundle_seq=%d", seq)) }()
		time.Sleep(time.Duration(i%20) * 200 * time.Microsecond)
		f.exec(t, fmt.Sprintf(`UPDATE app.note SET body = '%d' WHERE id = 1`, i))
		s := <-opened
		s.until(seq + 1)
		s.close()
	}
}

// Two servers on one database both tell, also by polling alone.
func TestEveryServerTells(t *testing.T) {
	t.Parallel()
	f := newRunningFront(t, Config{})
	polling := New(f.server.pool, Config{Watch: watch.Config{PollOnly: true, PollInterval: 10 * time.Millisecond}})
	run(t, polling)
	web := httptest.NewServer(asHeaderSays(polling))
	defer web.Close()
	d := f.device("u1", "phone").connect(t)
	here, there := d.watch(t, ""), phone{&front{t: t, db: f.db, url: web.URL, client: web.Client()}, "u1", "tablet"}.watch(t, "")
	for i := range 20 {
		d.push(t, i+1, note("INSERT", i, 0, ""))
		here.until(int64(i + 1))
		there.until(int64(i + 1))
	}
	polling.Drain()
	there.ends()
}

// What does not read is dropped, and keeps nobody from hearing.
func TestReaderThatDoesNotRead(t *testing.T) {
	t.Parallel()
	f := newRunningFront(t, Config{HeartbeatInterval: time.Millisecond, WriteTimeout: 500 * time.Millisecond})
	web := httptest.NewUnstartedServer(asHeaderSays(f.server))
	web.Listener = smallBuffers{web.Listener}
	web.Start()
	defer web.Close()
	d := f.device("u1", "phone").connect(t)
	conn, err := net.Dial("tcp", web.Listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.Close() }() // the other end did
	if err := conn.(*net.TCPConn).SetReadBuffer(4096); err != nil {
		t.Fatal(err)
	}
	if _, err := io.WriteString(conn, "GET /sync/watch HTTP/1.1\r\nHost: x\r\nX-User: u1\r\nOversync-Source-ID: deaf\r\n\r\n"); err != nil {
		t.Fatal(err)
	}
	s := d.watch(t, "")
	eventually(t, "the stream that is not read to begin", func() bool { return f.server.hub.Subscribers() == 2 })
	seq := int64(0)
	eventually(t, "it to be dropped", func() bool {
		f.exec(t, `INSERT INTO app.note VALUES (1, 'u1') ON CONFLICT (id) DO UPDATE SET body = clock_timestamp()`)
		seq++
		s.until(seq)
		return f.server.hub.Subscribers() == 1
	})
}

// smallBuffers fill up soon.
type smallBuffers struct{ net.Listener }

func (l smallBuffers) Accept() (net.Conn, error) {
	conn, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	return conn, conn.(*net.TCPConn).SetWriteBuffer(4096)
}

func eventually(t *testing.T, what string, f func() bool) {
	t.Helper()
	for deadline := time.Now().Add(patience); !f(); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("waited for %s", what)
		}
	}
}
