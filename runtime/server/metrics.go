package server

import (
	"context"
	"net/http"
	"strconv"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promauto"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/pgtide/pgtide/db"
	"github.com/pgtide/pgtide/runtime/wire"
)

// metrics is what is counted of requests. What others know is asked for when somebody looks.
type metrics struct {
	page     http.Handler
	requests *prometheus.HistogramVec
	stages   *prometheus.HistogramVec
	received *prometheus.CounterVec
	sent     *prometheus.CounterVec
	rows     *prometheus.CounterVec
	refused  *prometheus.CounterVec
	seals    *prometheus.HistogramVec
	hooks    prometheus.Counter
}

// Durations from what one row takes to what a large snapshot takes.
var durations = []float64{0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300, 600}

func newMetrics(s *Server, registry *prometheus.Registry) *metrics {
	if registry == nil {
		registry = prometheus.NewRegistry()
		registry.MustRegister(collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	}
	registry.MustRegister(poolMetrics{s.pool}, databaseMetrics{s})
	make := promauto.With(registry)
	histogram := func(name, help string, labels ...string) *prometheus.HistogramVec {
		return make.NewHistogramVec(prometheus.HistogramOpts{Name: name, Help: help, Buckets: durations}, labels)
	}
	counter := func(name, help string, labels ...string) *prometheus.CounterVec {
		return make.NewCounterVec(prometheus.CounterOpts{Name: name, Help: help}, labels)
	}
	make.NewGaugeFunc(prometheus.GaugeOpts{Name: "pgtide_requests_in_flight", Help: "Requests that are being answered."},
		func() float64 { return float64(s.counts.inflight.Load()) })
	make.NewGaugeFunc(prometheus.GaugeOpts{Name: "pgtide_large_answers", Help: "Answers that are streamed because they do not fit into a buffer; each holds a connection."},
		func() float64 { return float64(len(s.streams)) })
	make.NewGaugeFunc(prometheus.GaugeOpts{Name: "pgtide_watches", Help: "Streams that tell devices of changes; they hold no connection."},
		func() float64 { return float64(s.hub.Subscribers()) })
	make.NewGaugeFunc(prometheus.GaugeOpts{Name: "pgtide_seconds_since_seal", Help: "Time since this process last sealed without an error, whether or not there was something to seal."},
		func() float64 { return time.Since(s.seals.Last()).Seconds() })
	return &metrics{
		page:     promhttp.HandlerFor(registry, promhttp.HandlerOpts{Registry: registry}),
		requests: histogram("pgtide_request_duration_seconds", "Requests by route and status. A watch lasts as long as its client listens.", "route", "status"),
		stages:   histogram("pgtide_stage_duration_seconds", "What requests spent their time with, by route and stage.", "route", "stage"),
		received: counter("pgtide_received_bytes_total", "Bytes of the bodies of requests, as they were sent.", "route"),
		sent:     counter("pgtide_sent_bytes_total", "Bytes of answers, before they were compressed.", "route"),
		rows:     counter("pgtide_rows_total", "Rows that were sent to devices, and rows of their pushes that were applied.", "route", "direction"),
		refused:  counter("pgtide_refusals_total", "Answers that are no success, by route and code of the error.", "route", "code"),
		hooks:    make.NewCounter(prometheus.CounterOpts{Name: "pgtide_hook_failures_total", Help: "Times that a hook of the application failed to take what it was told."}),
		seals:    histogram("pgtide_seal_duration_seconds", "What the sealing duty did, and whether it succeeded.", "task", "result"),
	}
}

// sealed notes what the sealing duty did.
func (m *metrics) sealed(task string, took time.Duration, err error) {
	result := "ok"
	if err != nil {
		result = "failed"
	}
	m.seals.WithLabelValues(task, result).Observe(took.Seconds())
}

// answered notes a request that is over.
func (m *metrics) answered(c *call, took time.Duration, refused *wire.Error) {
	route := c.routeName()
	m.requests.WithLabelValues(route, strconv.Itoa(c.w.status)).Observe(took.Seconds())
	m.sent.WithLabelValues(route).Add(float64(c.w.bytes))
	if c.received > 0 {
		m.received.WithLabelValues(route).Add(float64(c.received))
	}
	for stage, spent := range c.spent {
		if spent > 0 {
			m.stages.WithLabelValues(route, stageNames[stage]).Observe(spent.Seconds())
		}
	}
	for direction, n := range map[string]int64{"sent": c.rowsSent, "pushed": c.rowsPushed} {
		if n > 0 {
			m.rows.WithLabelValues(route, direction).Add(float64(n))
		}
	}
	if refused != nil {
		m.refused.WithLabelValues(route, string(refused.Code)).Inc()
	}
}

// showMetrics is for Prometheus.
func (c *call) showMetrics() error {
	c.w.mayWrite(c.config.WriteTimeout)
	c.metrics.page.ServeHTTP(c.w, c.r)
	return nil
}

// poolMetrics tells of the connections to the database.
type poolMetrics struct{ pool *pgxpool.Pool }

var (
	poolConnections = prometheus.NewDesc("pgtide_pool_connections", "Connections to the database: idle, acquired, constructing, and how many there may be (max).", []string{"state"}, nil)
	poolAcquires    = prometheus.NewDesc("pgtide_pool_acquires_total", "Connections taken from the pool: at once, after waiting for one (waited), and not at all because the request ended (canceled).", []string{"result"}, nil)
	poolWaited      = prometheus.NewDesc("pgtide_pool_wait_seconds_total", "Time that was spent waiting for connections.", nil, nil)
)

// Describe implements prometheus.Collector.
func (poolMetrics) Describe(into chan<- *prometheus.Desc) {
	into <- poolConnections
	into <- poolAcquires
	into <- poolWaited
}

// Collect implements prometheus.Collector.
func (p poolMetrics) Collect(into chan<- prometheus.Metric) {
	stat := p.pool.Stat()
	for state, n := range map[string]int32{"idle": stat.IdleConns(), "acquired": stat.AcquiredConns(), "constructing": stat.ConstructingConns(), "max": stat.MaxConns()} {
		into <- prometheus.MustNewConstMetric(poolConnections, prometheus.GaugeValue, float64(n), state)
	}
	for result, n := range map[string]int64{"at once": stat.AcquireCount() - stat.EmptyAcquireCount(), "waited": stat.EmptyAcquireCount(), "canceled": stat.CanceledAcquireCount()} {
		into <- prometheus.MustNewConstMetric(poolAcquires, prometheus.CounterValue, float64(n), result)
	}
	into <- prometheus.MustNewConstMetric(poolWaited, prometheus.CounterValue, stat.EmptyAcquireWaitTime().Seconds())
}

// databaseMetrics asks the database.
type databaseMetrics struct{ s *Server }

var (
	databaseUp      = prometheus.NewDesc("pgtide_database_up", "1 when the database answers.", nil, nil)
	databaseHead    = prometheus.NewDesc("pgtide_head_bundle_id", "The newest sealed bundle.", nil, nil)
	databaseBehind  = prometheus.NewDesc("pgtide_unsealed_changes", "Changes that are committed and not sealed yet.", nil, nil)
	databaseVersion = prometheus.NewDesc("pgtide_version_info", "1 for the version that is installed in the database.", []string{"version"}, nil)
)

// Describe implements prometheus.Collector.
func (databaseMetrics) Describe(into chan<- *prometheus.Desc) {
	into <- databaseUp
	into <- databaseHead
	into <- databaseBehind
	into <- databaseVersion
}

// Collect implements prometheus.Collector. Of a database that does not answer it says so and no more.
func (d databaseMetrics) Collect(into chan<- prometheus.Metric) {
	version, err := d.s.health.ask(d.s)
	var progress db.ProgressRow
	if err == nil {
		ctx, cancel := context.WithTimeout(context.Background(), healthTimeout)
		defer cancel()
		progress, err = db.New(d.s.pool).Progress(ctx)
	}
	if err != nil {
		into <- prometheus.MustNewConstMetric(databaseUp, prometheus.GaugeValue, 0)
		return
	}
	into <- prometheus.MustNewConstMetric(databaseUp, prometheus.GaugeValue, 1)
	into <- prometheus.MustNewConstMetric(databaseVersion, prometheus.GaugeValue, 1, version)
	into <- prometheus.MustNewConstMetric(databaseHead, prometheus.GaugeValue, float64(progress.HeadBundleID))
	into <- prometheus.MustNewConstMetric(databaseBehind, prometheus.GaugeValue, float64(progress.UnsealedChanges))
}
