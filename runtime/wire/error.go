package wire

import (
	"net/http"
	"strconv"
	"time"
)

// Error is an answer that is no success. Everything that is refused anywhere becomes one.
type Error struct {
	Code    Code
	Message string
	// Retryable says that the same request may succeed later. RetryAfter is sent with it.
	Retryable  bool
	RetryAfter time.Duration
	// Extra are further fields of the body, in this order.
	Extra []Field
	// Cause is for the log; clients never see it.
	Cause error
}

// Field is a field of an error body; Value is JSON.
type Field struct {
	Name  string
	Value []byte
}

// Refuse is an error that the request itself is to blame for.
func Refuse(code Code, message string) *Error { return &Error{Code: code, Message: message} }

// Unavailable is an error that passes.
func Unavailable(message string, cause error) *Error {
	return &Error{Code: ServiceUnavailable, Message: message, Retryable: true, RetryAfter: time.Second, Cause: cause}
}

func (e *Error) Error() string {
	if e.Cause != nil {
		return string(e.Code) + ": " + e.Cause.Error()
	}
	return string(e.Code) + ": " + e.Message
}

func (e *Error) Unwrap() error { return e.Cause }

// Add puts a string into the body.
func (e *Error) Add(name, value string) {
	e.Extra = append(e.Extra, Field{name, AppendString(nil, value)})
}

// Body is the JSON of the answer, with the newline that ends every body.
func (e *Error) Body(requestID string) []byte {
	b := AppendString([]byte(`{"error":`), string(e.Code))
	b = AppendString(append(b, `,"message":`...), e.Message)
	for _, field := range e.Extra {
		b = AppendString(append(b, ','), field.Name)
		b = append(append(b, ':'), field.Value...)
	}
	b = strconv.AppendBool(append(b, `,"retryable":`...), e.Retryable)
	if requestID != "" {
		b = AppendString(append(b, `,"request_id":`...), requestID)
	}
	return append(b, "}\n"...)
}

// Write answers with the error.
func (e *Error) Write(w http.ResponseWriter, requestID string) {
	header := w.Header()
	header.Set("Content-Type", "application/json")
	header.Set("Cache-Control", "no-store")
	if e.Code == AuthenticationFailed {
		header.Set("WWW-Authenticate", "Bearer")
	}
	if e.RetryAfter > 0 {
		header.Set("Retry-After", strconv.Itoa(int((e.RetryAfter+time.Second-1)/time.Second)))
	}
	w.WriteHeader(e.Code.Status())
	_, _ = w.Write(e.Body(requestID)) // who asked is gone: there is nobody to tell
}
