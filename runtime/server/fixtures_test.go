package server

import (
	"fmt"
	"io"
	"log/slog"
	"strings"
	"testing"
)

const (
	taskA = "aaaaaaaa-0000-4000-8000-000000000001"
	taskB = "aaaaaaaa-0000-4000-8000-000000000002"
)

// task is one row of a push.
func task(op, id string, base int64, fields string) string {
	payload := ""
	if op != "DELETE" {
		payload = `,"payload":{` + fields + `}`
	}
	return fmt.Sprintf(`{"schema":"app","table":"task","key":{"id":"%s"},"op":"%s","base_row_version":%d%s}`, id, op, base, payload)
}

func note(op string, id int, base int64, fields string) string {
	payload := ""
	if op != "DELETE" {
		payload = `,"payload":{` + fields + `}`
	}
	return fmt.Sprintf(`{"schema":"app","table":"note","key":{"id":"%d"},"op":"%s","base_row_version":%d%s}`, id, op, base, payload)
}

func rowsOf(rows ...string) string { return "[" + strings.Join(rows, ",") + "]" }

func pushOf(number int, rows ...string) string {
	return fmt.Sprintf(`{"source_bundle_id":%d,"rows":%s}`, number, rowsOf(rows...))
}

// push is the one-request form, which must succeed.
func (d phone) push(t testing.TB, number int, rows ...string) answer {
	t.Helper()
	return d.post(t, "/sync/push", pushOf(number, rows...)).is(t, 200, "")
}

// session creates a push session, and returns its path.
func (d phone) session(t testing.TB, number, planned int) string {
	t.Helper()
	created := d.post(t, "/sync/push-sessions", fmt.Sprintf(`{"source_bundle_id":%d,"planned_row_count":%d}`, number, planned)).is(t, 200, "")
	return "/sync/push-sessions/" + created.field(t, "push_id")
}

func chunkOf(start int, rows ...string) string {
	return fmt.Sprintf(`{"start_row_ordinal":%d,"rows":%s}`, start, rowsOf(rows...))
}

func jsonLog(into io.Writer) *slog.Logger { return slog.New(slog.NewJSONHandler(into, nil)) }
