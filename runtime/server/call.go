package server

import (
	"context"
	"crypto/rand"
	"crypto/subtle"
	"encoding/hex"
	"fmt"
	"log/slog"
	"net/http"
	"runtime/debug"
	"strings"
	"time"
	"unicode/utf8"

	"go.opentelemetry.io/otel/trace"

	"github.com/pgtide/pgtide/db"
	"github.com/pgtide/pgtide/runtime/auth"
	"github.com/pgtide/pgtide/runtime/wire"
)

// call is one request on its way.
type call struct {
	*Server
	w         *response
	r         *http.Request
	client    context.Context // ends when the client goes away, and not before
	route     *route
	requestID string
	parameter string // what the braces of the route matched
	user      auth.Identity
	source    string
	about     about
	share     *share
	operator  bool         // it came to the address of operators
	goesOn    func() error // what is left of the answer when its handler returns

	spent                          [stages]time.Duration
	inner                          time.Duration // what stages within the one that runs have taken
	received, rowsSent, rowsPushed int64
}

// unwantedTimeout is how long the rest of a body may take that nobody wants.
const unwantedTimeout = time.Second

func (s *Server) serve(w http.ResponseWriter, r *http.Request, operator bool) {
	started := time.Now()
	s.counts.inflight.Add(1)
	r, span := s.startSpan(r)
	c := &call{Server: s, w: &response{ResponseWriter: w}, r: r, client: r.Context(), requestID: requestID(r), operator: operator}
	w.Header().Set("X-Request-Id", c.requestID)
	c.w.mayRead(0)
	err := c.safely(c.answer)
	if c.goesOn != nil {
		go func() { c.end(started, span, c.safely(c.goesOn)) }()
		return
	}
	c.end(started, span, err)
	if r.Body != http.NoBody {
		// What is left of it is read and dropped, and a short answer leaves after that.
		c.w.mayRead(unwantedTimeout)
		c.w.mayWrite(unwantedTimeout + s.config.WriteTimeout)
	}
	if err != nil && c.w.cut {
		// What was sent is not all: who reads it must notice.
		panic(http.ErrAbortHandler)
	}
}

// end explains an error, if it still can, and notes how the request went.
func (c *call) end(started time.Time, span trace.Span, err error) {
	defer c.counts.inflight.Add(-1)
	var refused *wire.Error
	if err != nil {
		refused = wire.FromError(err, c.failed())
		if wire.ReadOnly(err) {
			c.pool.Reset()
		}
		c.noteStale(refused)
		if !c.w.started {
			c.explain(refused)
			c.w.mayWrite(c.config.WriteTimeout)
			refused.Write(c.w, c.requestID)
		}
	}
	took := time.Since(started)
	c.log(took, refused)
	c.metrics.answered(c, took, refused)
	c.endSpan(span, refused)
}

// safely makes an error of a panic.
func (c *call) safely(do func() error) (err error) {
	defer func() {
		if p := recover(); p != nil {
			c.w.cut = c.w.started
			err = fmt.Errorf("panic: %v\n%s", p, debug.Stack())
		}
	}()
	return do()
}

// answer finds out what is asked and by whom, and has it answered.
func (c *call) answer() (err error) {
	var refused *wire.Error
	if c.route, c.parameter, refused = c.routes.find(c.r.Method, c.r.URL.Path); refused != nil {
		return refused
	}
	if c.operator && c.route.caller == device {
		return wire.Refuse(wire.NotFound, "this address is for operators. Devices have another one.")
	}
	if refused := c.admit(); refused != nil {
		return refused
	}
	if c.route.caller == device && c.route.path != pathWatch { // which goes on for hours, and has bounds of its own
		leave, refused := c.enter(c.client)
		if refused != nil {
			return refused
		}
		defer leave()
	}
	limit := c.config.RequestTimeout
	if c.route.long {
		limit = c.config.StreamTimeout
	}
	ctx, cancel := context.WithTimeout(c.client, limit)
	defer cancel()
	c.r = c.r.WithContext(ctx)
	c.r.Body = http.MaxBytesReader(c.w.ResponseWriter, c.r.Body, c.config.MaxBodyBytes)
	err = c.route.handle(c)
	switch {
	case err != nil:
		c.w.cut = c.w.started
	case c.route.caller == device && c.route.path != pathCapabilities: // which is asked before a device is known
		c.clients.see(clientKey{c.user.UserID, c.source}, c.about)
	}
	return err
}

// admit lets in who may use the route.
func (c *call) admit() *wire.Error {
	switch c.route.caller {
	case anyone:
		return nil
	case operator:
		if c.operator {
			return nil
		}
		token, _ := strings.CutPrefix(c.r.Header.Get("Authorization"), "Bearer ")
		if c.config.OperatorToken == "" || subtle.ConstantTimeCompare([]byte(token), []byte(c.config.OperatorToken)) != 1 {
			return wire.Refuse(wire.AuthenticationFailed, "this route is for operators. Send Authorization: Bearer with the operator token of the server.")
		}
		return nil
	}
	if c.drains() {
		return wire.Unavailable("the server is shutting down. Try again.", nil)
	}
	var ok bool
	if c.user, ok = auth.FromContext(c.r.Context()); !ok {
		refused := auth.Refusal(c.r.Context())
		if refused.Passing {
			return wire.Unavailable(refused.Reason, nil)
		}
		return wire.Refuse(wire.AuthenticationFailed, refused.Reason)
	}
	var refused *wire.Error
	if c.source, refused = sourceOf(c.r.Header); refused != nil {
		return refused
	}
	c.about = aboutOf(c.r.Header)
	c.share = c.shares.of(c.user.UserID)
	if refused = c.hostAdmits(); refused != nil {
		return refused
	}
	if refused = c.share.mayAsk(); refused != nil {
		return refused
	}
	return c.heed()
}

// sourceOf is the device that asks. Two names for it would be two devices.
func sourceOf(header http.Header) (string, *wire.Error) {
	given := append(header.Values("Oversync-Source-Id"), header.Values("Tide-Source-Id")...)
	source := ""
	for i, name := range given {
		name = strings.TrimSpace(name)
		if i > 0 && name != source {
			return "", wire.Refuse(wire.InvalidRequest, "the request names several sources. Send the header Oversync-Source-ID, or Tide-Source-ID, once.")
		}
		source = name
	}
	switch {
	case source == "":
		return "", wire.Refuse(wire.InvalidRequest, "the request names no source. Send the header Oversync-Source-ID, or Tide-Source-ID.")
	case !utf8.ValidString(source) || strings.ContainsRune(source, 0):
		return "", wire.Refuse(wire.InvalidRequest, "the name of the source is not text in UTF-8. Send another one.")
	}
	return source, nil
}

func (c *call) failed() wire.Code {
	if c.route == nil {
		return wire.ServiceUnavailable
	}
	return c.route.failed
}

// explain adds to an error what only the request or another question knows.
func (c *call) explain(refused *wire.Error) {
	switch refused.Code {
	case wire.MethodNotAllowed:
		var allowed []string
		for _, r := range c.routes {
			if _, ok := match(r.path, c.r.URL.Path); ok {
				allowed = append(allowed, r.method)
			}
		}
		c.w.Header().Set("Allow", strings.Join(allowed, ", "))
	case wire.SourceRetired:
		refused.Add("source_id", c.source)
		if replacement := c.replacement(); replacement != "" {
			refused.Add("replaced_by_source_id", replacement)
		}
	}
}

// replacement is the source that took over from the one of the request.
func (c *call) replacement() string {
	ctx, cancel := context.WithTimeout(c.client, healthTimeout)
	defer cancel()
	source, err := db.New(c.pool).ReplacementOf(ctx, db.ReplacementOfParams{UserID: c.user.UserID, SourceID: c.source})
	if err != nil {
		return "" // the error that is answered says enough
	}
	return source
}

// routeName is the route of the request as metrics and traces name it.
func (c *call) routeName() string {
	if c.route == nil {
		return "none"
	}
	return c.route.method + " " + c.route.path
}

func (c *call) log(took time.Duration, refused *wire.Error) {
	path := c.r.URL.Path
	if c.route != nil {
		path = c.route.path
	}
	attributes := []slog.Attr{
		slog.String("request_id", c.requestID), slog.String("method", c.r.Method), slog.String("route", path),
		slog.Int("status", c.w.status), slog.Int64("bytes", c.w.bytes), slog.Duration("took", took),
	}
	if c.user.UserID != "" {
		attributes = append(attributes, slog.String("user_id", c.user.UserID), slog.String("source_id", c.source))
	}
	if span := trace.SpanContextFromContext(c.client); span.IsValid() {
		attributes = append(attributes, slog.String("trace_id", span.TraceID().String()))
	}
	level, message := slog.LevelInfo, "answered"
	if refused != nil {
		attributes = append(attributes, slog.String("code", string(refused.Code)))
		switch {
		case c.client.Err() != nil:
			message = "the client went away"
		case refused.Code.Status() >= http.StatusInternalServerError:
			level, message = slog.LevelError, "failed"
			if refused.Retryable {
				level, message = slog.LevelWarn, "not now"
			}
			if refused.Cause != nil {
				attributes = append(attributes, slog.String("error", refused.Cause.Error()))
			}
		default:
			message = "refused"
		}
		c.counts.refused(refused.Code)
	}
	c.config.Logger.LogAttrs(c.client, level, message, attributes...)
}

// requestID is the one the client or a proxy gave, if it can stand in a log, or a new one.
func requestID(r *http.Request) string {
	given := r.Header.Get("X-Request-Id")
	if given != "" && len(given) <= 128 && strings.IndexFunc(given, func(c rune) bool { return c <= ' ' || c > '~' }) < 0 {
		return given
	}
	var random [16]byte
	_, _ = rand.Read(random[:]) // it never fails
	return hex.EncodeToString(random[:])
}
