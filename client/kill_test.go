package client

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"strings"
	"sync"
	"testing"
	"time"
)

// TestMain makes the test program be a device, when a test asks for one.
func TestMain(m *testing.M) {
	if path := os.Getenv("PGTIDE_TEST_DEVICE"); path != "" {
		if err := beDevice(path); err != nil {
			fmt.Println("failed:", err)
			os.Exit(1)
		}
		return
	}
	os.Exit(m.Run())
}

// beDevice writes and syncs until it is killed, or has written so often. It says what it committed.
func beDevice(path string) error {
	s := &site{}
	config := s.configOf(os.Getenv("PGTIDE_TEST_URL"), "7")
	config.MaxRowsPerRequest = 3
	c, err := Open(context.Background(), path, config)
	if err != nil {
		return err
	}
	ctx, stop := context.WithCancel(context.Background())
	defer stop()
	failed := make(chan error, 1)
	var syncing sync.WaitGroup
	syncing.Go(func() {
		for ctx.Err() == nil {
			if err := c.Sync(ctx); err != nil && ctx.Err() == nil {
				failed <- err
				return
			}
		}
	})
	name := os.Getenv("PGTIDE_TEST_NAME")
	for i := range 60 {
		id := fmt.Sprintf("%s-%d", name, i)
		tx, err := c.DB().Begin()
		if err != nil {
			return err
		}
		// Both or none, and never one without the other in a bundle.
		for _, statement := range []string{
			`INSERT INTO list (id, title) VALUES (?1, 'new')`,
			`UPDATE list SET rank = rank + 1 WHERE id = 'counter'`,
		} {
			if _, err := tx.Exec(statement, id); err != nil {
				return err
			}
		}
		if err := tx.Commit(); err != nil {
			return err
		}
		fmt.Println(id)
		select {
		case err := <-failed:
			return err
		default:
		}
	}
	stop()
	syncing.Wait()
	return c.Close()
}

// A device is killed again and again, anywhere, and another process works on its file at the same time. What
// was committed on it arrives, once.
func TestKilledDevice(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	path := t.TempDir() + "/device.db"
	first := s.open(t, path, s.config("7"))
	do(t, first, `INSERT INTO list (id, title) VALUES ('counter', 'c')`)
	synced(t, first)
	random := rand.New(rand.NewPCG(uint64(time.Now().UnixNano()), 0))
	var committed []string
	for round := range 4 {
		var devices []*exec.Cmd
		var reading sync.WaitGroup
		var mutex sync.Mutex
		kill := make(chan *exec.Cmd, 2)
		for n := range 2 {
			device := exec.Command(os.Args[0])
			device.Env = append(os.Environ(), "PGTIDE_TEST_DEVICE="+path, "PGTIDE_TEST_URL="+s.web.URL, fmt.Sprintf("PGTIDE_TEST_NAME=%d-%d", round, n))
			out, err := device.StdoutPipe()
			if err != nil {
				t.Fatal(err)
			}
			if err := device.Start(); err != nil {
				t.Fatal(err)
			}
			devices = append(devices, device)
			after := 1 + random.IntN(55)
			reading.Go(func() {
				lines := bufio.NewScanner(out)
				for seen := 1; lines.Scan(); seen++ {
					if strings.HasPrefix(lines.Text(), "failed") {
						t.Error(lines.Text())
						break
					}
					mutex.Lock()
					committed = append(committed, lines.Text())
					mutex.Unlock()
					if seen == after {
						kill <- device
						return
					}
				}
				kill <- nil
			})
		}
		for range devices {
			if device := <-kill; device != nil {
				if err := device.Process.Kill(); err != nil && !errors.Is(err, os.ErrProcessDone) {
					t.Fatal(err)
				}
			}
		}
		reading.Wait()
		for _, device := range devices {
			_ = device.Wait() // it was killed
		}
	}
	synced(t, first)
	is(t, letters(t, first), "")
	there := s.there(t, `SELECT id FROM app.list`)
	for _, id := range committed {
		if !strings.Contains("\n"+there+"\n", "\n"+id+"\n") {
			t.Errorf("%s was committed and did not arrive", id)
		}
	}
	// Each row that arrived counted once, and whole transactions alone were sent.
	is(t, s.there(t, `SELECT rank = (SELECT count(*) FROM app.list) - 1 FROM app.list WHERE id = 'counter'`), "true")
	is(t, rows(t, first, `SELECT id || rank FROM list ORDER BY 1`), s.there(t, `SELECT id || rank FROM app.list`))
	for _, found := range strings.Split(rows(t, first, `PRAGMA integrity_check`), "\n") {
		is(t, found, "ok")
	}
}
