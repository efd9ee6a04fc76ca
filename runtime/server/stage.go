package server

import (
	"time"

	"go.opentelemetry.io/otel/trace"
)

// stage is what a request spends time with. Its time is its own: what a stage inside it takes is not
// counted twice.
type stage int

const (
	receiveStage stage = iota // the client sends the body
	applyStage                // the transaction of a push
	waitStage                 // for the one snapshot that may be exported at a time
	sealStage                 // waiting for a seal
	buildStage                // the rows of a snapshot session are stored
	readStage                 // rows come from the database
	sendStage                 // the client takes the answer
	stages
)

var stageNames = [stages]string{"receive", "apply", "wait", "seal", "build", "read", "send"}

// enterStage begins a stage; what it returns ends it. In a trace, a stage is a span.
func (c *call) enterStage(s stage) (leave func()) {
	began, outer := time.Now(), c.inner
	c.inner = 0
	r := c.r
	var span trace.Span
	if s != sendStage && trace.SpanFromContext(r.Context()).IsRecording() { // an answer may be sent in thousands of pieces
		ctx, started := c.tracer.Start(r.Context(), stageNames[s])
		span, c.r = started, r.WithContext(ctx)
	}
	return func() {
		took := time.Since(began)
		c.spent[s] += took - c.inner
		c.inner = outer + took
		if span != nil {
			span.End()
			c.r = r
		}
	}
}
