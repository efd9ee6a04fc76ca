// Package contract holds what a server answers against docs/openapi.yaml, while tests do something else
// with it.
package contract

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"

	"github.com/pb33f/libopenapi"
	validator "github.com/pb33f/libopenapi-validator"
	"github.com/pb33f/libopenapi-validator/config"
	problems "github.com/pb33f/libopenapi-validator/errors"
)

// Document is the contract.
func Document() (libopenapi.Document, error) {
	_, here, _, _ := runtime.Caller(0)
	text, err := os.ReadFile(filepath.Join(filepath.Dir(here), "..", "..", "docs", "openapi.yaml"))
	if err != nil {
		return nil, err
	}
	return libopenapi.NewDocument(text)
}

// shared is made once: compiling all schemas takes a while.
var shared = sync.OnceValues(func() (validator.Validator, error) {
	document, err := Document()
	if err != nil {
		return nil, err
	}
	// Fields that the contract does not name are mistakes here, though clients must ignore them.
	checks, errs := validator.NewValidator(document, config.WithFormatAssertions(), config.WithStrictMode(),
		// What lies in a column is the application's.
		config.WithStrictIgnorePaths("$.body.**.payload.**", "$.body.**.server_row.**"))
	return checks, errors.Join(errs...)
})

// Reporter is a test.
type Reporter interface {
	Errorf(format string, args ...any)
	Fatal(args ...any)
}

// Transport carries requests like base, nil for the standard, and reports answers that the contract does
// not have. An answer is held against it when it was read to its end.
func Transport(t Reporter, base http.RoundTripper) http.RoundTripper {
	if base == nil {
		base = http.DefaultTransport
	}
	checks, err := shared()
	if err != nil {
		t.Fatal(err)
	}
	return transport{t, base, checks}
}

type transport struct {
	t      Reporter
	base   http.RoundTripper
	checks validator.Validator
}

// RoundTrip implements http.RoundTripper.
func (c transport) RoundTrip(request *http.Request) (*http.Response, error) {
	response, err := c.base.RoundTrip(request)
	if err != nil {
		return response, err
	}
	copied := *response
	check := func(body []byte) {
		copied.Body = io.NopCloser(bytes.NewReader(body))
		if problem := c.problem(request, &copied); problem != "" {
			c.t.Errorf("docs/openapi.yaml: %s %s: %d %.500s: %s", request.Method, request.URL, copied.StatusCode, body, problem)
		}
	}
	if kind, _, _ := mime.ParseMediaType(response.Header.Get("Content-Type")); kind == "application/json" {
		response.Body = &readBody{ReadCloser: response.Body, check: check}
	} else {
		check(nil) // lines and events have no schema of their own
	}
	return response, nil
}

// problem is what is wrong with an answer, "" for nothing.
func (c transport) problem(request *http.Request, response *http.Response) string {
	valid, found := c.checks.ValidateHttpResponse(request, response)
	var b strings.Builder
	for _, p := range found {
		// Requests of tests are often wrong: a path that does not exist is answered so.
		if (p.IsPathMissingError() || p.IsOperationMissingError()) && response.StatusCode >= http.StatusBadRequest {
			return ""
		}
		b.WriteString(describe(p))
	}
	if valid {
		return ""
	}
	return b.String()
}

func describe(p *problems.ValidationError) string {
	text := fmt.Sprintf("%s: %s", p.Message, p.Reason)
	for _, s := range p.SchemaValidationErrors {
		text += fmt.Sprintf("; %s: %s", s.FieldPath, s.Reason)
	}
	return text
}

// readBody calls check with what was read, when that was all.
type readBody struct {
	io.ReadCloser
	read  bytes.Buffer
	check func(body []byte)
	once  sync.Once
}

// largestChecked answers are held against the contract; larger ones are more of the same.
const largestChecked = 1 << 20

// Read implements io.Reader.
func (b *readBody) Read(into []byte) (int, error) {
	n, err := b.ReadCloser.Read(into)
	if b.read.Len() <= largestChecked {
		b.read.Write(into[:n])
	}
	if errors.Is(err, io.EOF) && b.read.Len() <= largestChecked {
		b.once.Do(func() { b.check(b.read.Bytes()) })
	}
	return n, err
}
