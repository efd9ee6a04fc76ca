package main

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"strconv"
	"sync"
	"time"

	"github.com/jackc/pgx/v5"
)

// processes are this program, the HTTP front that is measured, and the backends that served clients when
// watching began. There are none where the system has no /proc.
type processes struct {
	mu       sync.Mutex
	program  *process
	front    *process
	backends []*process
	// serverTime of the CPU was used by the backends, goTime by the front, or by this program where there is none.
	serverTime, goTime time.Duration
	buffer             [4096]byte
}

// process and its memory, in bytes.
type process struct {
	status, stat *os.File
	// peak is VmHWM. Of a backend it includes the shared buffers it touched.
	peak int64
	// private is the largest RssAnon seen.
	private int64
	// switches of context until watching began; one that had no more since was idle.
	switches int64
	active   bool
}

const samplingInterval = 50 * time.Millisecond

func watchProcesses(ctx context.Context, observer *pgx.Conn, front *front) (*processes, error) {
	rows, err := observer.Query(ctx, "SELECT pid FROM pg_stat_activity WHERE backend_type = 'client backend' AND pid <> pg_backend_pid()")
	if err != nil {
		return nil, fmt.Errorf("list the backends: %w", err)
	}
	pids, err := pgx.CollectRows(rows, pgx.RowTo[int])
	if err != nil {
		return nil, fmt.Errorf("list the backends: %w", err)
	}
	p := &processes{}
	p.program = p.watch("self")
	if front != nil {
		p.front = p.watch(strconv.Itoa(front.cmd.Process.Pid))
	}
	for _, pid := range pids {
		if process := p.watch(strconv.Itoa(pid)); process != nil {
			p.backends = append(p.backends, process)
		}
	}
	return p, nil
}

// watch is nil where VmHWM is not there, or cannot be reset (the system lets a process's own user and
// root): the peak of another time says nothing.
func (p *processes) watch(pid string) *process {
	if os.WriteFile("/proc/"+pid+"/clear_refs", []byte("5"), 0) != nil {
		return nil
	}
	file, err := os.Open("/proc/" + pid + "/status")
	if err != nil {
		return nil // it ended
	}
	stat, err := os.Open("/proc/" + pid + "/stat")
	if err != nil {
		file.Close()
		return nil
	}
	process := &process{status: file, stat: stat}
	process.switches = p.read(file).switches
	return process
}

func (p *processes) close() {
	for _, process := range append(p.backends, p.program, p.front) {
		if process != nil {
			process.status.Close()
			process.stat.Close()
		}
	}
}

// sample follows the processes until the function it returns is called. It allocates next to
// nothing, as allocation is what is measured at the same time.
func (p *processes) sample() (stop func()) {
	p.used(-1)
	done := make(chan struct{})
	var group sync.WaitGroup
	group.Go(func() {
		ticker := time.NewTicker(samplingInterval)
		defer ticker.Stop()
		for {
			select {
			case <-done:
				return
			case <-ticker.C:
				p.look()
			}
		}
	})
	return func() {
		close(done)
		group.Wait()
		p.look()
		p.used(1)
	}
}

func (p *processes) look() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, process := range p.backends {
		p.see(process)
	}
	if p.program != nil {
		p.see(p.program)
	}
	if p.front != nil {
		p.see(p.front)
	}
}

func (p *processes) see(process *process) {
	now := p.read(process.status)
	if now.switches == 0 {
		return // it ended; what it used until then was seen
	}
	process.active = process.active || now.switches != process.switches
	process.peak = max(process.peak, now.peak)
	process.private = max(process.private, now.private)
}

// ofProgram is the peak of this program, and ofFront that of the HTTP front.
func (p *processes) ofProgram() int64 { return p.program.largest() }

func (p *processes) ofFront() int64 { return p.front.largest() }

func (p *process) largest() int64 {
	if p == nil {
		return 0
	}
	return p.peak
}

// ofBackends are peak and private memory of the largest of those that did anything: an idle one only
// holds what it used in another run.

func (p *processes) ofBackends() (peak, private int64) {
	for _, process := range p.backends {
		if process.active {
			peak = max(peak, process.peak)
			private = max(private, process.private)
		}
	}
	return peak, private
}

type status struct {
	peak, private, switches int64
}

func (p *processes) read(file *os.File) status {
	n, _ := file.ReadAt(p.buffer[:], 0) // the end of the file is an error too, and of a process that ended nothing is read
	return parseStatus(p.buffer[:n])
}

func parseStatus(text []byte) status {
	var s status
	for len(text) > 0 {
		var line []byte
		line, text, _ = bytes.Cut(text, []byte("\n"))
		name, rest, _ := bytes.Cut(line, []byte(":"))
		switch string(name) {
		case "VmHWM":
			s.peak = leadingNumber(rest) * 1024
		case "RssAnon":
			s.private = leadingNumber(rest) * 1024
		case "voluntary_ctxt_switches", "nonvoluntary_ctxt_switches":
			s.switches += leadingNumber(rest)
		}
	}
	return s
}

func leadingNumber(text []byte) (number int64) {
	for _, c := range bytes.TrimLeft(text, " \t") {
		if c < '0' || c > '9' {
			break
		}
		number = 10*number + int64(c-'0')
	}
	return number
}
