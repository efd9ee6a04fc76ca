package v1client

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"sync"
	"time"
)

// Fault is what happens to one request.
type Fault int

// The faults of a network.
const (
	// None lets the request through.
	None Fault = iota
	// LoseRequest fails without sending it.
	LoseRequest
	// LoseResponse sends it and fails.
	LoseResponse
	// TruncateRequest breaks the connection in the middle of the request's body.
	TruncateRequest
	// TruncateResponse breaks the connection in the middle of the response's body.
	TruncateResponse
	// DelayResponse holds the response back for the Delay of Faults.
	DelayResponse
	// Duplicate sends it twice at once; the device gets the answer that comes first.
	Duplicate
	// DeliverLate fails, and sends it when Release is called.
	DeliverLate
)

// AllFaults are all that can go wrong.
var AllFaults = []Fault{LoseRequest, LoseResponse, TruncateRequest, TruncateResponse, DelayResponse, Duplicate, DeliverLate}

func (f Fault) String() string {
	return [...]string{"none", "lose request", "lose response", "truncate request", "truncate response", "delay response", "duplicate", "deliver late"}[f]
}

// ErrLost is what a device sees of a fault.
var ErrLost = errors.New("the connection was lost")

// Exchange is a request that reached the server, and what it answered.
type Exchange struct {
	Step   Step
	Method string
	URL    string
	Header http.Header
	Body   []byte
	Status int
	Answer []byte
	// AnswerHeader came with Answer.
	AnswerHeader http.Header
	Err          error
}

func (e Exchange) response() (*http.Response, error) {
	if e.Err != nil {
		return nil, e.Err
	}
	return &http.Response{StatusCode: e.Status, Header: e.AnswerHeader, ContentLength: int64(len(e.Answer)), Body: io.NopCloser(bytes.NewReader(e.Answer))}, nil
}

// Faults is a transport on which requests and responses get lost, are late, come twice or in part.
type Faults struct {
	// Base carries what is not lost. Defaults to http.DefaultTransport.
	Base http.RoundTripper
	// Choose is asked for every request: its step, and how many of that step came before it. Defaults
	// to letting all through.
	Choose func(step Step, n int) Fault
	// Delay is how long DelayResponse holds a response back.
	Delay time.Duration

	mu     sync.Mutex
	counts map[Step]int
	log    []Exchange
	late   []Exchange
}

// Once is a Choose: the nth request of a step, counted from 0, meets the fault.
func Once(step Step, n int, fault Fault) func(Step, int) Fault {
	return func(s Step, i int) Fault {
		if s == step && i == n {
			return fault
		}
		return None
	}
}

// RoundTrip implements http.RoundTripper.
func (f *Faults) RoundTrip(request *http.Request) (*http.Response, error) {
	var body []byte
	if request.Body != nil {
		var err error
		if body, err = io.ReadAll(request.Body); err != nil {
			return nil, fmt.Errorf("read the request's body: %w", err)
		}
		if err := request.Body.Close(); err != nil {
			return nil, fmt.Errorf("close the request's body: %w", err)
		}
	}
	exchange := Exchange{Step: StepOf(request), Method: request.Method, URL: request.URL.String(), Header: request.Header.Clone(), Body: body}
	ctx := request.Context()
	switch f.choose(exchange.Step) {
	case LoseRequest:
		return nil, ErrLost
	case LoseResponse:
		f.Send(ctx, exchange)
		return nil, ErrLost
	case TruncateRequest:
		f.sendPart(ctx, exchange)
		return nil, ErrLost
	case TruncateResponse:
		exchange = f.Send(ctx, exchange)
		response, err := exchange.response()
		if err == nil {
			half := bytes.NewReader(exchange.Answer[:len(exchange.Answer)/2])
			response.Body = io.NopCloser(io.MultiReader(half, brokenReader{}))
		}
		return response, err
	case DelayResponse:
		exchange = f.Send(ctx, exchange)
		time.Sleep(f.Delay)
		return exchange.response()
	case Duplicate:
		return f.twice(ctx, exchange).response()
	case DeliverLate:
		f.mu.Lock()
		f.late = append(f.late, exchange)
		f.mu.Unlock()
		return nil, ErrLost
	default:
		return f.Send(ctx, exchange).response()
	}
}

type brokenReader struct{}

func (brokenReader) Read([]byte) (int, error) { return 0, io.ErrUnexpectedEOF }

func (f *Faults) choose(step Step) Fault {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.counts == nil {
		f.counts = map[Step]int{}
	}
	n := f.counts[step]
	f.counts[step]++
	if f.Choose == nil {
		return None
	}
	return f.Choose(step, n)
}

func (f *Faults) base() http.RoundTripper {
	if f.Base == nil {
		return http.DefaultTransport
	}
	return f.Base
}

// Send sends a request whole, now or again, and writes down what came of it.
func (f *Faults) Send(ctx context.Context, exchange Exchange) Exchange {
	exchange.Status, exchange.Answer, exchange.AnswerHeader, exchange.Err = f.deliver(ctx, exchange)
	f.mu.Lock()
	f.log = append(f.log, exchange)
	f.mu.Unlock()
	return exchange
}

func (f *Faults) deliver(ctx context.Context, exchange Exchange) (status int, answer []byte, header http.Header, err error) {
	request, err := http.NewRequestWithContext(ctx, exchange.Method, exchange.URL, bytes.NewReader(exchange.Body))
	if err != nil {
		return 0, nil, nil, err
	}
	request.Header = exchange.Header.Clone()
	response, err := f.base().RoundTrip(request)
	if err != nil {
		return 0, nil, nil, err
	}
	answer, err = io.ReadAll(response.Body)
	return response.StatusCode, answer, response.Header, errors.Join(err, response.Body.Close())
}

// sendPart announces the whole body and sends half of it.
func (f *Faults) sendPart(ctx context.Context, exchange Exchange) {
	half := io.MultiReader(bytes.NewReader(exchange.Body[:len(exchange.Body)/2]), brokenReader{})
	request, err := http.NewRequestWithContext(ctx, exchange.Method, exchange.URL, half)
	if err != nil {
		return
	}
	request.Header = exchange.Header.Clone()
	request.ContentLength = int64(max(len(exchange.Body), 1))
	// It cannot succeed; what matters is what the server makes of it.
	if response, err := f.base().RoundTrip(request); err == nil {
		_ = response.Body.Close()
	}
}

func (f *Faults) twice(ctx context.Context, exchange Exchange) Exchange {
	answers := make(chan Exchange, 2)
	for range 2 {
		go func() { answers <- f.Send(ctx, exchange) }()
	}
	first := <-answers
	<-answers
	return first
}

// Release sends what was to be late, and returns what the server answered to it.
func (f *Faults) Release(ctx context.Context) []Exchange {
	f.mu.Lock()
	late := f.late
	f.late = nil
	f.mu.Unlock()
	for i := range late {
		late[i] = f.Send(ctx, late[i])
	}
	return late
}

// Log is what reached the server so far, in the order in which it answered.
func (f *Faults) Log() []Exchange {
	f.mu.Lock()
	defer f.mu.Unlock()
	return append([]Exchange(nil), f.log...)
}
