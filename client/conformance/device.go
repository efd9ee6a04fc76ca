package conformance

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
)

// Request is a line to the client.
type Request struct {
	Do string `json:"do"`

	URL   string `json:"url,omitempty"`
	User  string `json:"user,omitempty"`
	Token string `json:"token,omitempty"`
	Path  string `json:"path,omitempty"`

	Changes []any          `json:"changes,omitempty"`
	Table   string         `json:"table,omitempty"`
	Key     map[string]any `json:"key,omitempty"`
}

// Answer is the line that comes back.
type Answer struct {
	Result any     `json:"result"`
	Error  *Failed `json:"error,omitempty"`
}

// Failed says what could not be done.
type Failed struct {
	// Kind is network (try again), busy (try again later), user (the data is another user's) or other.
	Kind    string `json:"kind"`
	Message string `json:"message"`
}

func (f *Failed) Error() string { return f.Kind + ": " + f.Message }

// process is a client that runs.
type process struct {
	cmd *exec.Cmd
	in  io.WriteCloser
	out *bufio.Reader
}

func start(ctx context.Context, command []string) (*process, error) {
	p := &process{cmd: exec.CommandContext(ctx, command[0], command[1:]...)}
	p.cmd.Stderr = os.Stderr
	var err error
	if p.in, err = p.cmd.StdinPipe(); err != nil {
		return nil, err
	}
	out, err := p.cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	p.out = bufio.NewReader(out)
	return p, p.cmd.Start()
}

func (p *process) ask(r Request) (any, error) {
	line, err := json.Marshal(r)
	if err != nil {
		return nil, err
	}
	if _, err := p.in.Write(append(line, '\n')); err != nil {
		return nil, fmt.Errorf("tell the client %s: %w", r.Do, err)
	}
	text, err := p.out.ReadBytes('\n')
	if err != nil {
		return nil, fmt.Errorf("the client ended and did not answer %s: %w", line, err)
	}
	var answer Answer
	if err := json.Unmarshal(text, &answer); err != nil {
		return nil, fmt.Errorf("the client answered %s with %q: %w", line, text, err)
	}
	if answer.Error != nil {
		return nil, answer.Error
	}
	// Once more, with all digits.
	var raw struct {
		Result json.RawMessage `json:"result"`
	}
	if err := json.Unmarshal(text, &raw); err != nil || raw.Result == nil {
		return nil, err
	}
	return plain(raw.Result)
}

// kill ends it as a power failure of the process would.
func (p *process) kill() error {
	err := p.cmd.Process.Kill()
	if errors.Is(err, os.ErrProcessDone) {
		err = nil
	}
	_ = p.cmd.Wait() // it was killed
	return err
}
