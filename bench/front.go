package main

import (
	"bufio"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/golang-jwt/jwt/v5"
)

// front is the HTTP front of pgtide on one database, which it also keeps sealed. It is a process of its
// own, so that its memory and allocations are not those of the load.
type front struct {
	url    string
	secret string
	client *http.Client

	cmd     *exec.Cmd
	mutex   sync.Mutex
	orders  io.WriteCloser
	answers *bufio.Reader
}

// What the process of a front is told by its environment.
const (
	frontDatabase = "PGTIDE_BENCH_FRONT"
	frontSecret   = "PGTIDE_BENCH_FRONT_SECRET"
	frontProfile  = "PGTIDE_BENCH_FRONT_PROFILE"
)

// Orders to the process of a front: one a line, answered by a number.
const (
	orderAllocated = "allocated" // what it ever allocated, in bytes
	orderCollect   = "collect"   // the same, after garbage was given back to the system
	orderHeld      = "held"      // what its objects and stacks take, without garbage
	orderSockets   = "sockets"   // the port of bare sockets
	orderSay       = "say"       // write to all of them
	orderHangUp    = "hang up"   // on all of them
)

// Front starts the HTTP front on the database. It ends with the case.
func (d *Database) Front(ctx context.Context) (*front, error) {
	program, err := os.Executable()
	if err != nil {
		return nil, fmt.Errorf("find this program: %w", err)
	}
	f := &front{secret: rand.Text() + rand.Text()}
	// It ends when its input does, whatever becomes of this process, and not by a Ctrl-C of its own.
	f.cmd = exec.CommandContext(context.WithoutCancel(ctx), program)
	f.cmd.Env = append(os.Environ(), frontDatabase+"="+d.URL, frontSecret+"="+f.secret)
	if d.profile != "" {
		f.cmd.Env = append(f.cmd.Env, frontProfile+"="+d.profile)
	}
	f.cmd.Stderr = os.Stderr
	if f.orders, err = f.cmd.StdinPipe(); err != nil {
		return nil, fmt.Errorf("start a front: %w", err)
	}
	answers, err := f.cmd.StdoutPipe()
	if err != nil {
		return nil, fmt.Errorf("start a front: %w", err)
	}
	f.answers = bufio.NewReader(answers)
	if err := f.cmd.Start(); err != nil {
		return nil, fmt.Errorf("start a front: %w", err)
	}
	d.fronts = append(d.fronts, f)
	address, err := f.answers.ReadString('\n')
	if err != nil {
		return nil, fmt.Errorf("start a front: it ended before it served: %w", err)
	}
	f.url = "http://" + strings.TrimSpace(address)
	f.client = &http.Client{Transport: &http.Transport{
		MaxIdleConnsPerHost: 64,
		DisableCompression:  true,
		ReadBufferSize:      64 << 10,
		WriteBufferSize:     64 << 10,
	}}
	return f, nil
}

// close ends the front.
func (f *front) close() error {
	if f.client != nil {
		f.client.CloseIdleConnections()
	}
	err := f.orders.Close()
	if waited := f.cmd.Wait(); waited != nil {
		err = errors.Join(err, fmt.Errorf("the front: %w", waited))
	}
	return err
}

func (f *front) order(order string) (int64, error) {
	f.mutex.Lock()
	defer f.mutex.Unlock()
	if _, err := io.WriteString(f.orders, order+"\n"); err != nil {
		return 0, fmt.Errorf("ask the front: %w", err)
	}
	answer, err := f.answers.ReadString('\n')
	if err != nil {
		return 0, fmt.Errorf("ask the front: %w", err)
	}
	return strconv.ParseInt(strings.TrimSpace(answer), 10, 64)
}

// token of a user, for an hour more than any run takes.
func (f *front) token(user string) (string, error) {
	claims := jwt.RegisteredClaims{Subject: user, ExpiresAt: jwt.NewNumericDate(time.Now().Add(24 * time.Hour))}
	return jwt.NewWithClaims(jwt.SigningMethodHS256, claims).SignedString([]byte(f.secret))
}
