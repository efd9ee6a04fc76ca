package server

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"

	"github.com/pgtide/pgtide/runtime/wire"
)

// ask sends a request as it is: nothing is compressed or decompressed on the way. The caller closes
// the body.
func (d phone) ask(t testing.TB, method, path string, body []byte, header http.Header) *http.Response {
	t.Helper()
	request, err := http.NewRequestWithContext(t.Context(), method, d.f.url+path, bytes.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	request.Header = header.Clone()
	if header == nil {
		request.Header = http.Header{}
	}
	request.Header.Set("X-User", d.user)
	request.Header.Set("Oversync-Source-ID", d.source)
	plain := d.f.client.Transport.(*http.Transport).Clone()
	plain.DisableCompression = true
	t.Cleanup(plain.CloseIdleConnections)
	response, err := (&http.Client{Transport: plain}).Do(request)
	if err != nil {
		t.Fatal(err)
	}
	return response
}

// askAll is the same with the body read.
func (d phone) askAll(t testing.TB, method, path string, body []byte, header http.Header) answer {
	t.Helper()
	response := d.ask(t, method, path, body, header)
	defer func() { _ = response.Body.Close() }() // it was read
	text, err := io.ReadAll(response.Body)
	if err != nil {
		t.Fatal(err)
	}
	return answer{response.StatusCode, response.Header, string(text)}
}

func unpack(t testing.TB, coding, text string) string {
	t.Helper()
	var reader io.Reader = strings.NewReader(text)
	var err error
	switch coding {
	case "gzip":
		reader, err = gzip.NewReader(reader)
	case "zstd":
		reader, err = zstd.NewReader(reader)
	}
	if err != nil {
		t.Fatal(err)
	}
	plain, err := io.ReadAll(reader)
	if err != nil {
		t.Fatal(err)
	}
	return string(plain)
}

func pack(t testing.TB, coding string, text io.Reader) []byte {
	t.Helper()
	var packed bytes.Buffer
	var writer io.WriteCloser = gzip.NewWriter(&packed)
	if coding == "zstd" {
		var err error
		if writer, err = zstd.NewWriter(&packed); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := io.Copy(writer, text); err != nil {
		t.Fatal(err)
	}
	if err := writer.Close(); err != nil {
		t.Fatal(err)
	}
	return packed.Bytes()
}

// asObject makes the JSON answer to a pull out of the lines of the other one, the way a client reads them.
func asObject(t *testing.T, lines string) string {
	t.Helper()
	var b strings.Builder
	var rows []string
	first, done := true, false
	bundle := ""
	for line := range strings.Lines(lines) {
		line = strings.TrimSuffix(line, "\n")
		switch {
		case done:
			t.Fatalf("after the last line: %s", line)
		case strings.HasPrefix(line, `{"stable_bundle_seq":`):
			b.WriteString(strings.TrimSuffix(line, "}") + `,"bundles":[`)
		case strings.HasPrefix(line, `{"bundle_seq":`):
			bundle = strings.TrimSuffix(line, "}")
		case strings.HasPrefix(line, `{"schema":`):
			rows = append(rows, line)
		case strings.HasPrefix(line, `{"end_of_bundle":true,"row_count":`):
			if !first {
				b.WriteString(",")
			}
			first = false
			b.WriteString(bundle + `,"rows":[` + strings.Join(rows, ",") + `],` + strings.TrimPrefix(line, `{"end_of_bundle":true,`))
			rows, bundle = nil, ""
		case strings.HasPrefix(line, `{"done":true,"has_more":`):
			b.WriteString(`],` + strings.TrimPrefix(line, `{"done":true,`) + "\n")
			done = true
		default:
			t.Fatalf("a line that is none: %s", line)
		}
		if !json.Valid([]byte(line)) {
			t.Fatalf("no JSON: %s", line)
		}
	}
	if !done {
		t.Fatal("the last line is missing")
	}
	return b.String()
}

// The lines of a pull say the same as its object, buffered and streamed, compressed and not.
func TestPullInLines(t *testing.T) {
	t.Parallel()
	f := newFront(t, Config{})
	d := f.device("u1", "phone").connect(t)
	lines := http.Header{"Accept": {typeLines}}
	same := func(path string) {
		t.Helper()
		want := d.get(t, path).is(t, http.StatusOK, "")
		for _, buffer := range []int{4 << 20, 1000} {
			f.server.config.BufferBytes = buffer
			for _, coding := range []string{"identity", "gzip", "zstd"} {
				header := lines.Clone()
				header.Set("Accept-Encoding", coding)
				got := d.askAll(t, http.MethodGet, path, nil, header)
				if got.header.Get("Content-Type") != typeLines || !strings.HasPrefix(got.header.Get("Cache-Control"), "no-store") {
					t.Errorf("%s: %v", path, got.header)
				}
				if text := asObject(t, unpack(t, got.header.Get("Content-Encoding"), got.body)); text != want.body {
					t.Errorf("%s: got\n%.2000s\nwant\n%.2000s", path, text, want.body)
				}
			}
		}
	}
	same("/sync/pull")
	f.exec(t, `INSERT INTO app.note SELECT i, 'u1', 'note ' || i FROM generate_series(1, 300) AS i`,
		`UPDATE app.note SET body = NULL WHERE id = 1`, `DELETE FROM app.note WHERE id < 9`, `SELECT tide.seal()`)
	same("/sync/pull")
	same("/sync/pull?max_bundles=1")
	same("/sync/pull?after_bundle_seq=1&max_bundles=1&target_bundle_seq=2")
	same("/sync/pull?after_bundle_seq=3")
	if got := d.askAll(t, http.MethodGet, "/sync/pull?after_bundle_seq=99", nil, lines); got.header.Get("Content-Type") != typeJSON {
		t.Errorf("a refusal is %v", got.header)
	} else {
		got.is(t, http.StatusConflict, "history_pruned")
	}
	d.askAll(t, http.MethodGet, "/sync/pull?after_bundle_seq=1&max_bundles=1", nil, lines).golden(t, "pull_lines")
}

// Whoever wants lines gets them, and nobody else.
func TestAccept(t *testing.T) {
	t.Parallel()
	d := newFront(t, Config{}).device("u1", "phone").connect(t)
	for accept, lines := range map[string]bool{
		"": false, "*/*": false, typeJSON: false, "text/html, */*;q=0.1": false, typeLines: true, "application/X-NDJSON; charset=utf-8": true,
		typeLines + ", " + typeJSON: true, typeLines + ";q=0.4, " + typeJSON + ";q=0.5": false, typeLines + ";q=0": false, "/;, " + typeLines + ";q=x": true,
	} {
		got := d.askAll(t, http.MethodGet, "/sync/pull", nil, http.Header{"Accept": {accept}})
		if (got.header.Get("Content-Type") == typeLines) != lines || got.status != http.StatusOK {
			t.Errorf("Accept %q: got %s", accept, got.header.Get("Content-Type"))
		}
		if vary := strings.Join(got.header.Values("Vary"), ", "); !strings.Contains(vary, "Accept-Encoding") || !strings.HasSuffix(vary, "Accept") {
			t.Errorf("Vary: %s", vary)
		}
	}
}

// Longer answers come in the coding that the client likes best, short ones as they are.
func TestAcceptEncoding(t *testing.T) {
	t.Parallel()
	_, d := large(t, Config{}, 20)
	for accept, coding := range map[string]string{
		"": "", "identity": "", "br": "", "gzip": "gzip", "zstd": "zstd", "gzip, zstd": "zstd", "gzip;q=1, zstd;q=0.5": "gzip", "GZIP": "gzip",
		"gzip;q=0": "", "gzip;q=0, zstd;q=0.001": "zstd",
	} {
		header := http.Header{"Accept-Encoding": {accept}}
		for _, path := range []string{"/sync/pull", "/sync/snapshot", "/sync/committed-bundles/1/rows"} {
			got := d.askAll(t, http.MethodGet, path, nil, header)
			if got.header.Get("Content-Encoding") != coding || got.header.Get("Vary") == "" {
				t.Errorf("%s with %q: %v", path, accept, got.header)
			}
			if want := d.get(t, path); unpack(t, coding, got.body) != want.body {
				t.Errorf("%s with %q: it differs", path, accept)
			}
		}
		if got := d.askAll(t, http.MethodGet, "/sync/pull?after_bundle_seq=1", nil, header); got.header.Get("Content-Encoding") != "" || got.header.Get("Vary") == "" {
			t.Errorf("a short answer with %q: %v", accept, got.header)
		}
	}
}

// What a stream has sent is there at once, compressed or not, and events are never compressed.
func TestStreamsArriveAtOnce(t *testing.T) {
	t.Parallel()
	f := newFront(t, Config{})
	next := make(chan struct{})
	for path, contentType := range map[string]string{"/lines": typeLines, "/events": "text/event-stream"} {
		f.server.routes = append(f.server.routes, route{http.MethodGet, path, anyone, false, wire.PullFailed, func(c *call) error {
			c.header(contentType, -1)
			for range 3 {
				if err := c.send([]byte("a line\n")); err != nil {
					return err
				}
				if err := c.flush(); err != nil {
					return err
				}
				<-next
			}
			return nil
		}})
	}
	for path, coding := range map[string]string{"/lines": "zstd", "/events": ""} {
		response := f.device("u1", "phone").ask(t, http.MethodGet, path, nil, http.Header{"Accept-Encoding": {"zstd"}})
		if got := response.Header.Get("Content-Encoding"); got != coding {
			t.Errorf("%s is encoded as %q", path, got)
		}
		var body io.Reader = response.Body
		if coding != "" {
			var err error
			if body, err = zstd.NewReader(body, zstd.WithDecoderConcurrency(1)); err != nil {
				t.Fatal(err)
			}
		}
		lines := bufio.NewReader(body)
		for range 3 {
			if line, err := lines.ReadString('\n'); line != "a line\n" {
				t.Fatalf("%s: %q %v", path, line, err)
			}
			next <- struct{}{}
		}
		if _, err := lines.ReadByte(); err != io.EOF {
			t.Errorf("%s ends with %v", path, err)
		}
		_ = response.Body.Close() // it was read
	}
}

// A compressed stream that is cut is no stream that ended.
func TestCutCompressedStream(t *testing.T) {
	t.Parallel()
	f := newFront(t, Config{})
	f.server.routes = append(f.server.routes, route{http.MethodGet, "/cut", anyone, false, wire.PullFailed, func(c *call) error {
		c.header(typeLines, -1)
		if err := c.send(bytes.Repeat([]byte("a line\n"), 1000)); err != nil {
			return err
		}
		return errors.Join(c.flush(), io.ErrClosedPipe)
	}})
	for _, coding := range []string{"gzip", "zstd", "identity"} {
		response := f.device("u1", "phone").ask(t, http.MethodGet, "/cut", nil, http.Header{"Accept-Encoding": {coding}})
		if text, err := io.ReadAll(response.Body); err == nil {
			t.Errorf("%s: %d bytes look whole", coding, len(text))
		}
		_ = response.Body.Close() // it was read
	}
}

// Bodies of requests may be compressed.
func TestCompressedRequests(t *testing.T) {
	t.Parallel()
	f := newFront(t, Config{})
	d := f.device("u1", "phone").connect(t)
	number := 0
	for _, coding := range []string{"gzip", "zstd", " GZip "} {
		number++
		body := pushOf(number, note("INSERT", number, 0, fmt.Sprintf(`"body":"%s%d"`, strings.Repeat("long ", 1000), number)))
		d.askAll(t, http.MethodPost, "/sync/push", pack(t, strings.TrimSpace(strings.ToLower(coding)), strings.NewReader(body)), http.Header{"Content-Encoding": {coding}}).is(t, http.StatusOK, "")
	}
	plain := pushOf(number+1, note("INSERT", 99, 0, `"body":"plain"`))
	d.askAll(t, http.MethodPost, "/sync/push", []byte(plain), http.Header{"Content-Encoding": {"identity"}}).is(t, http.StatusOK, "")
	for _, coding := range []string{"br", "deflate", "gzip, gzip", "gzip,zstd", "\x7f"} {
		got := d.askAll(t, http.MethodPost, "/sync/push", []byte(plain), http.Header{"Content-Encoding": {strings.ReplaceAll(coding, "\x7f", "?")}})
		if got.is(t, http.StatusUnsupportedMediaType, "unsupported_encoding").header.Get("Accept-Encoding") != encodings {
			t.Errorf("%s: the header does not say what is read: %v", coding, got.header)
		}
	}
	for _, coding := range []string{"gzip", "zstd"} {
		packed := pack(t, coding, strings.NewReader(plain))
		broken := bytes.Clone(packed)
		broken[len(broken)-1] ^= 0xff
		for name, body := range map[string][]byte{"not packed": []byte(plain), "nothing": nil, "cut": packed[:len(packed)/2], "a wrong checksum": broken} {
			got := d.askAll(t, http.MethodPost, "/sync/push", body, http.Header{"Content-Encoding": {coding}})
			if got.status != http.StatusBadRequest || got.field(t, "retryable") != "false" {
				t.Errorf("%s, %s: %d %s", coding, name, got.status, got.body)
			}
		}
	}
}

// zeros are so many of them.
func zeros(n int64) io.Reader { return io.LimitReader(zeroReader{}, n) }

type zeroReader struct{}

func (zeroReader) Read(b []byte) (int, error) {
	clear(b)
	return len(b), nil
}

// A small body that unpacks to a quarter of a gigabyte costs no more than the limit, however many come.
func TestBombs(t *testing.T) {
	const limit = 1 << 20
	f := newFront(t, Config{MaxBodyBytes: limit})
	d := f.device("u1", "phone").connect(t)
	wide := func() []byte {
		var packed bytes.Buffer
		w, err := zstd.NewWriter(&packed, zstd.WithWindowSize(512<<20), zstd.WithSingleSegment(false), zstd.WithEncoderLevel(zstd.SpeedFastest))
		if err != nil {
			t.Fatal(err)
		}
		// A frame whose size is not told has to be given its window.
		for range 2 {
			if _, err := w.Write([]byte("{}")); err != nil {
				t.Fatal(err)
			}
			if err := w.Flush(); err != nil {
				t.Fatal(err)
			}
		}
		if err := w.Close(); err != nil {
			t.Fatal(err)
		}
		return packed.Bytes()
	}()
	bombs := map[string][2]string{
		"gzip": {"gzip", string(pack(t, "gzip", zeros(256<<20)))}, "zstd": {"zstd", string(pack(t, "zstd", zeros(256<<20)))},
		"a wide window": {"zstd", string(wide)},
	}
	var before, now runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	var most atomic.Uint64
	for name, bomb := range bombs {
		var all sync.WaitGroup
		for range 8 {
			all.Go(func() {
				got := d.askAll(t, http.MethodPost, "/sync/push", []byte(bomb[1]), http.Header{"Content-Encoding": {bomb[0]}})
				if got.status != http.StatusRequestEntityTooLarge {
					t.Errorf("%s: %d %s", name, got.status, got.body)
				}
			})
		}
		all.Wait()
		runtime.ReadMemStats(&now)
		most.Store(max(most.Load(), now.HeapSys))
	}
	if taken := int64(most.Load()) - int64(before.HeapSys); taken > 128<<20 {
		t.Errorf("they took %d MiB", taken>>20)
	}
}
