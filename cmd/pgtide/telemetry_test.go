package main

import (
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"syscall"
	"testing"
)

// Where the environment names a collector, requests and their statements arrive there.
func TestServeSendsTraces(t *testing.T) {
	var mutex sync.Mutex
	var sent strings.Builder
	collector := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		mutex.Lock()
		defer mutex.Unlock()
		if _, err := io.Copy(&sent, r.Body); err != nil || r.URL.Path != "/v1/traces" {
			t.Errorf("%s: %v", r.URL.Path, err)
		}
	}))
	defer collector.Close()
	t.Setenv("OTEL_EXPORTER_OTLP_ENDPOINT", collector.URL)
	t.Setenv("OTEL_RESOURCE_ATTRIBUTES", "service.name=shop-sync")
	s := serveFor(t, withItems(t).URL)
	if status, body := s.ask(t, "1", http.MethodPost, "/sync/connect", `{"has_local_pending_rows":false}`); status != http.StatusOK {
		t.Fatalf("connect: %d %s", status, body)
	}
	if got := s.interrupt(t, syscall.SIGTERM); got.code != 0 {
		t.Errorf("after SIGTERM: %+v", got)
	}
	for _, want := range []string{"POST /sync/connect", "Connect", "tide.connect", "shop-sync"} {
		if !strings.Contains(sent.String(), want) {
			t.Errorf("nothing tells of %s", want)
		}
	}
}

// What the exporter cannot do stops the start.
func TestServeRefusesOtherTraces(t *testing.T) {
	t.Setenv("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:1")
	t.Setenv("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc")
	got := pgtide(t, "postgres://127.0.0.1:1/x", "serve", "--addr", "127.0.0.1:0", "--jwt-secret", serveSecret)
	if got.code != exitUsage || !strings.Contains(got.errors, "OTEL_EXPORTER_OTLP_PROTOCOL") {
		t.Errorf("%+v", got)
	}
}
