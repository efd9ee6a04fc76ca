package server

import (
	"context"
	"net/http"

	"go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/propagation"
	"go.opentelemetry.io/otel/trace"

	"github.com/pgtide/pgtide/runtime/wire"
)

// traceContext reads and writes the header traceparent, whatever the program around it has chosen:
// it is what a bundle keeps.
var traceContext propagation.TraceContext

func tracerOf(provider trace.TracerProvider) trace.Tracer {
	if provider == nil {
		provider = otel.GetTracerProvider()
	}
	return provider.Tracer("github.com/pgtide/pgtide/runtime/server")
}

// startSpan begins the span of a request, below that of a middleware or of the client.
func (s *Server) startSpan(r *http.Request) (*http.Request, trace.Span) {
	ctx := r.Context()
	if !trace.SpanContextFromContext(ctx).IsValid() {
		ctx = traceContext.Extract(ctx, propagation.HeaderCarrier(r.Header))
	}
	ctx, span := s.tracer.Start(ctx, r.Method, trace.WithSpanKind(trace.SpanKindServer))
	return r.WithContext(ctx), span
}

// endSpan says how the request went.
func (c *call) endSpan(span trace.Span, refused *wire.Error) {
	defer span.End()
	if !span.IsRecording() {
		return
	}
	span.SetAttributes(attribute.String("http.request.method", c.r.Method), attribute.Int("http.response.status_code", c.w.status),
		attribute.String("pgtide.request_id", c.requestID))
	if c.route != nil {
		span.SetName(c.routeName())
		span.SetAttributes(attribute.String("http.route", c.route.path))
	}
	if c.user.UserID != "" {
		span.SetAttributes(attribute.String("user.id", c.user.UserID), attribute.String("pgtide.source_id", c.source))
	}
	if refused == nil {
		return
	}
	span.SetAttributes(attribute.String("error.type", string(refused.Code)))
	if refused.Code.Status() >= http.StatusInternalServerError {
		span.SetStatus(codes.Error, refused.Error())
	}
}

// traceparent is the header of the span that ctx is in, or empty.
func traceparent(ctx context.Context) string {
	carrier := propagation.MapCarrier{}
	traceContext.Inject(ctx, carrier)
	return carrier["traceparent"]
}
