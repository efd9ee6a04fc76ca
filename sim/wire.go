package sim

import (
	"context"
	"errors"
	"net/http"

	"github.com/pgtide/pgtide/internal/v1client"
)

// errGone is what a process of a device sees that is no more.
var errGone = errors.New("this process of the device has ended")

// wire carries the requests of one process of a device. Each request waits until the schedule lets
// it go, so that whatever happens elsewhere can happen between any two requests, in a fixed order.
type wire struct {
	faults *v1client.Faults
	// parked gets the step of each request that waits, and "" for a response that is held.
	parked chan v1client.Step
	// let is how the request goes on.
	let  chan Fault
	free bool
	next v1client.Fault
	over context.Context
}

func newWire(ctx context.Context, base http.RoundTripper) *wire {
	w := &wire{parked: make(chan v1client.Step), let: make(chan Fault), over: ctx}
	w.faults = &v1client.Faults{Base: base, Choose: func(v1client.Step, int) v1client.Fault { return w.next }}
	return w
}

// RoundTrip implements http.RoundTripper.
func (w *wire) RoundTrip(request *http.Request) (*http.Response, error) {
	if w.free {
		return w.faults.RoundTrip(request)
	}
	fault, err := w.park(v1client.StepOf(request))
	if err != nil {
		return nil, err
	}
	w.next = fault.kind
	if fault.twice {
		again := request.Clone(request.Context())
		if request.GetBody != nil {
			if again.Body, err = request.GetBody(); err != nil {
				return nil, err
			}
		}
		if first, err := w.faults.RoundTrip(again); err == nil {
			_ = first.Body.Close() // nobody reads it
		}
	}
	response, err := w.faults.RoundTrip(request)
	w.next = v1client.None
	if fault.hold {
		if _, gone := w.park(""); gone != nil {
			return nil, gone
		}
	}
	return response, err
}

func (w *wire) park(step v1client.Step) (Fault, error) {
	select {
	case w.parked <- step:
	case <-w.over.Done():
		return Fault{}, errGone
	}
	select {
	case fault := <-w.let:
		return fault, nil
	case <-w.over.Done():
		return Fault{}, errGone
	}
}

// process is one run of a device's exchange. It stands still at each request.
type process struct {
	wire *wire
	end  context.CancelFunc
	done chan error
	// at is the request that waits.
	at    v1client.Step
	ended bool
	err   error
}

// start runs exchange until its first request waits.
func start(ctx context.Context, base http.RoundTripper, exchange func(context.Context, *wire) error) *process {
	ctx, cancel := context.WithCancel(ctx)
	p := &process{wire: newWire(ctx, base), end: cancel, done: make(chan error, 1)}
	go func() { p.done <- exchange(ctx, p.wire) }()
	p.wait()
	return p
}

func (p *process) wait() {
	select {
	case p.at = <-p.wire.parked:
	case p.err = <-p.done:
		p.ended = true
		p.end()
	}
}

// advance lets the waiting request go, and returns when the next one waits or the exchange has ended.
func (p *process) advance(fault Fault) {
	if p.ended {
		return
	}
	p.wire.let <- fault
	p.wait()
}

// kill ends the process where it stands.
func (p *process) kill() {
	p.end()
	if !p.ended {
		p.err = <-p.done
		p.ended = true
	}
}
