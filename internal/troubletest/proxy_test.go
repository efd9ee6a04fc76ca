package troubletest

import (
	"io"
	"math/rand/v2"
	"net"
	"net/url"
	"sync"
	"testing"
	"time"
)

// weather is what happens to what passes the proxy.
type weather int

const (
	calm    weather = iota
	refused         // connections end, and new ones at once
	slow            // every piece takes its time
	cut             // connections end amid an answer
	silent          // nothing passes, and nobody is told
)

// proxy stands between the server and PostgreSQL.
type proxy struct {
	listener net.Listener
	group    sync.WaitGroup

	mutex   sync.Mutex
	weather weather
	target  string
	open    map[net.Conn]bool
	closed  bool
}

// newProxy returns a proxy before a database, and the URL that leads through it.
func newProxy(t *testing.T, databaseURL string) (p *proxy, through string) {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	p = &proxy{listener: listener, open: map[net.Conn]bool{}}
	u, err := url.Parse(databaseURL)
	if err != nil {
		t.Fatal(err)
	}
	p.target = u.Host
	u.Host = listener.Addr().String()
	p.group.Go(p.serve)
	t.Cleanup(p.close)
	return p, u.String()
}

func (p *proxy) close() {
	_ = p.listener.Close() // it may be closed already
	p.mutex.Lock()
	p.closed = true
	p.mutex.Unlock()
	p.set(refused)
	p.group.Wait()
}

// set changes the weather. Bad weather ends what is open.
func (p *proxy) set(w weather) {
	p.mutex.Lock()
	defer p.mutex.Unlock()
	p.weather = w
	if w == refused {
		for conn := range p.open {
			_ = conn.Close() // that is what was wanted
		}
	}
}

// lead sends new connections to another server, and ends those to the one before.
func (p *proxy) lead(t *testing.T, databaseURL string) {
	t.Helper()
	u, err := url.Parse(databaseURL)
	if err != nil {
		t.Fatal(err)
	}
	p.set(refused)
	p.mutex.Lock()
	p.target = u.Host
	p.mutex.Unlock()
	p.set(calm)
}

func (p *proxy) now() (weather, string) {
	p.mutex.Lock()
	defer p.mutex.Unlock()
	return p.weather, p.target
}

func (p *proxy) keep(conn net.Conn) bool {
	p.mutex.Lock()
	defer p.mutex.Unlock()
	if p.closed {
		return false
	}
	p.open[conn] = true
	return true
}

func (p *proxy) drop(conn net.Conn) {
	_ = conn.Close() // both ends do
	p.mutex.Lock()
	defer p.mutex.Unlock()
	delete(p.open, conn)
}

func (p *proxy) serve() {
	for {
		client, err := p.listener.Accept()
		if err != nil {
			return
		}
		p.group.Go(func() {
			defer p.drop(client)
			w, target := p.now()
			if w == refused || !p.keep(client) {
				return
			}
			database, err := net.Dial("tcp", target)
			if err != nil {
				return
			}
			defer p.drop(database)
			if !p.keep(database) {
				return
			}
			p.group.Go(func() {
				defer p.drop(client)
				defer p.drop(database)
				p.pass(database, client)
			})
			p.pass(client, database)
		})
	}
}

// pass copies in one direction until either end closes.
func (p *proxy) pass(from io.Reader, to io.Writer) {
	piece := make([]byte, 4096)
	for {
		n, err := from.Read(piece)
		w, _ := p.now()
		switch {
		case w == silent && n > 0:
			for w == silent {
				time.Sleep(5 * time.Millisecond)
				w, _ = p.now()
			}
			return // what was sent meanwhile is lost, and so is the connection
		case w == cut && n > 1 && rand.IntN(8) == 0:
			_, _ = to.Write(piece[:n/2]) // amid a message
			return
		case w == slow:
			time.Sleep(time.Duration(rand.IntN(30)) * time.Millisecond)
		}
		if n > 0 {
			if _, err := to.Write(piece[:n]); err != nil {
				return
			}
		}
		if err != nil {
			return
		}
	}
}
