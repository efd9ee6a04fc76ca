package watchtest

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
)

// What the process of the load is told by its environment.
const (
	loadAddress = "PGTIDE_WATCHTEST_ADDRESS"
	loadStreams = "PGTIDE_WATCHTEST_STREAMS"
)

func TestMain(m *testing.M) {
	if address := os.Getenv(loadAddress); address != "" {
		if err := load(address, os.Stdin, os.Stdout); err != nil {
			fmt.Fprintln(os.Stderr, "load:", err)
			os.Exit(1)
		}
		return
	}
	os.Exit(m.Run())
}

// watcher is a stream of one user, read as it comes.
type watcher struct {
	user string
	conn net.Conn

	mutex  sync.Mutex
	last   int64 // bundle heard of
	events int
	wrong  string // what it should not have heard
}

// heard is what the load reports: of each user the bundle that all his streams have heard of, and
// what was wrong.
type heard struct {
	Last   map[string]int64
	Events int
	Wrong  []string
}

// load opens streams, says so, and reports once for each line it is sent. It ends with its input.
func load(address string, orders io.Reader, answers io.Writer) error {
	streams, err := strconv.Atoi(os.Getenv(loadStreams))
	if err != nil {
		return err
	}
	watchers := make([]*watcher, streams)
	errs := make([]error, streams)
	places := make(chan struct{}, 64) // as many at a time
	var group sync.WaitGroup
	for i := range watchers {
		places <- struct{}{}
		group.Go(func() {
			watchers[i], errs[i] = open(address, userOf(i))
			<-places
		})
	}
	group.Wait()
	if err := errors.Join(errs...); err != nil {
		return err
	}
	fmt.Fprintln(answers, "open")
	for lines := bufio.NewScanner(orders); lines.Scan(); {
		if err := json.NewEncoder(answers).Encode(report(watchers)); err != nil {
			return err
		}
	}
	return nil
}

func userOf(i int) string { return strconv.Itoa(i % users) }

// open a stream that knows the first bundle, and read it from then on.
func open(address, user string) (*watcher, error) {
	conn, err := net.Dial("tcp", address)
	if err != nil {
		return nil, err
	}
	w := &watcher{user: user, conn: conn, last: 1}
	_, err = fmt.Fprintf(conn, "GET /sync/watch?after_bundle_seq=1 HTTP/1.1\r\nHost: x\r\nX-User: %s\r\nOversync-Source-ID: phone\r\n\r\n", user)
	if err != nil {
		return nil, err
	}
	lines := bufio.NewReaderSize(conn, 512)
	status, err := lines.ReadString('\n')
	if err != nil || !strings.Contains(status, " 200 ") {
		return nil, fmt.Errorf("watch: %q: %w", status, err)
	}
	// The answer begins with a sign of life.
	for line := ""; !strings.HasPrefix(line, ": "); {
		if line, err = lines.ReadString('\n'); err != nil {
			return nil, err
		}
	}
	go w.read(lines)
	return w, nil
}

func (w *watcher) read(lines *bufio.Reader) {
	for {
		line, err := lines.ReadString('\n')
		if data, ok := strings.CutPrefix(line, "data: "); ok {
			w.hear(data)
		}
		if err != nil {
			w.mutex.Lock()
			w.wrong = "the stream ended"
			w.mutex.Unlock()
			return
		}
	}
}

func (w *watcher) hear(data string) {
	var event struct {
		BundleSeq int64  `json:"bundle_seq"`
		SourceID  string `json:"source_id"`
	}
	err := json.Unmarshal([]byte(data), &event)
	w.mutex.Lock()
	defer w.mutex.Unlock()
	w.events++
	// Whoever writes names the user as the source; where a position alone is told, there is none.
	if err != nil || event.BundleSeq <= w.last || (event.SourceID != "" && event.SourceID != "for "+w.user) {
		w.wrong = fmt.Sprintf("user %s heard %s after %d", w.user, data, w.last)
	}
	w.last = event.BundleSeq
}

func report(watchers []*watcher) heard {
	all := heard{Last: map[string]int64{}}
	for _, w := range watchers {
		w.mutex.Lock()
		if last, known := all.Last[w.user]; !known || w.last < last {
			all.Last[w.user] = w.last
		}
		all.Events += w.events
		if w.wrong != "" {
			all.Wrong = append(all.Wrong, w.wrong)
		}
		w.mutex.Unlock()
	}
	all.Wrong = all.Wrong[:min(len(all.Wrong), 5)]
	slices.Sort(all.Wrong)
	return all
}

// loadProcess is the load from outside.
type loadProcess struct {
	cmd     *exec.Cmd
	orders  io.WriteCloser
	answers *bufio.Reader
}

func startLoad(t *testing.T, address string, streams int) *loadProcess {
	t.Helper()
	program, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	l := &loadProcess{cmd: exec.Command(program)}
	l.cmd.Env = append(os.Environ(), loadAddress+"="+address, loadStreams+"="+strconv.Itoa(streams))
	l.cmd.Stderr = os.Stderr
	if l.orders, err = l.cmd.StdinPipe(); err != nil {
		t.Fatal(err)
	}
	answers, err := l.cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	l.answers = bufio.NewReader(answers)
	if err := l.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.orders.Close() }) // it may be over
	if line, err := l.answers.ReadString('\n'); err != nil || line != "open\n" {
		t.Fatalf("the load says %q: %v", line, err)
	}
	return l
}

func (l *loadProcess) report(t *testing.T) (all heard) {
	t.Helper()
	if _, err := io.WriteString(l.orders, "report\n"); err != nil {
		t.Fatal(err)
	}
	line, err := l.answers.ReadBytes('\n')
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(line, &all); err != nil {
		t.Fatal(err)
	}
	return all
}

// end closes all streams at once, as when a network goes away.
func (l *loadProcess) end(t *testing.T) {
	t.Helper()
	if err := l.orders.Close(); err != nil {
		t.Fatal(err)
	}
	if err := l.cmd.Wait(); err != nil {
		t.Fatal(err)
	}
}
