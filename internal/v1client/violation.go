package v1client

import (
	"errors"
	"fmt"
)

// Violation is an answer that the protocol does not allow. Nothing of the answer was applied.
type Violation struct {
	Rule   string
	Detail string
}

func (v *Violation) Error() string {
	return fmt.Sprintf("the server broke rule %s: %s", v.Rule, v.Detail)
}

func broken(rule, format string, args ...any) error {
	return &Violation{Rule: rule, Detail: fmt.Sprintf(format, args...)}
}

// ErrPending refuses a pull while local edits wait: the pull would overwrite them.
var ErrPending = errors.New("local edits wait to be pushed: push before pulling")

// ErrNotAttached refuses an exchange before Attach.
var ErrNotAttached = errors.New("the device is not attached: call Attach first")

// ErrUnsupported is a server without the connect lifecycle.
var ErrUnsupported = errors.New("the server does not support the connect lifecycle")
