package main

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"strings"
	"time"

	"github.com/exaring/otelpgx"
	"github.com/jackc/pgx/v5/pgxpool"
	"go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/exporters/otlp/otlptrace/otlptracehttp"
	"go.opentelemetry.io/otel/sdk/resource"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	semconv "go.opentelemetry.io/otel/semconv/v1.26.0"
)

// tracesTimeout is how long the end waits for a collector that does not answer.
const tracesTimeout = 5 * time.Second

// traces sends the spans of requests and statements where the environment says. Without a provider it
// does nothing.
type traces struct{ provider *sdktrace.TracerProvider }

// tracing reads the standard variables of OpenTelemetry, and does nothing unless they name an endpoint.
// It knows OTLP over HTTP: the exporter for gRPC would weigh as much as all the rest.
func tracing(ctx context.Context) (traces, error) {
	if os.Getenv("OTEL_SDK_DISABLED") == "true" || os.Getenv("OTEL_EXPORTER_OTLP_ENDPOINT") == "" && os.Getenv("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT") == "" {
		return traces{}, nil
	}
	for _, name := range []string{"OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "OTEL_EXPORTER_OTLP_PROTOCOL"} {
		if protocol := os.Getenv(name); protocol != "" && protocol != "http/protobuf" {
			return traces{}, wrongUsage("%s is %q, and traces are sent with http/protobuf only: unset it, and name an endpoint that takes it", name, protocol)
		}
	}
	exporter, err := otlptracehttp.New(ctx)
	if err != nil {
		return traces{}, fmt.Errorf("make the exporter of traces: %w", err)
	}
	// What the environment says of the service comes last, so it wins.
	about, err := resource.New(ctx, resource.WithAttributes(semconv.ServiceName("pgtide")), resource.WithTelemetrySDK(), resource.WithFromEnv())
	if err != nil {
		return traces{}, wrongUsage("OTEL_RESOURCE_ATTRIBUTES cannot be read: %v", err)
	}
	provider := sdktrace.NewTracerProvider(sdktrace.WithBatcher(exporter), sdktrace.WithResource(about))
	otel.SetTracerProvider(provider) // which the server takes
	return traces{provider}, nil
}

// statements makes every statement of the pool a span, named as in queries/.
func (t traces) statements(config *pgxpool.Config) {
	if t.provider != nil {
		config.ConnConfig.Tracer = otelpgx.NewTracer(otelpgx.WithTracerProvider(t.provider), otelpgx.WithSpanNameFunc(statementName))
	}
}

// end sends what is left.
func (t traces) end(ctx context.Context, logger *slog.Logger) {
	if t.provider == nil {
		return
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), tracesTimeout)
	defer cancel()
	if err := t.provider.Shutdown(ctx); err != nil {
		logger.WarnContext(ctx, "the last traces were not sent", slog.Any("error", err))
	}
}

func statementName(sql string) string {
	first, _, _ := strings.Cut(sql, "\n")
	named, isNamed := strings.CutPrefix(first, "-- name: ")
	if !isNamed {
		named = first
	}
	word, _, _ := strings.Cut(named, " ")
	return word
}
