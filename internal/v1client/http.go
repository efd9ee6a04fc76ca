package v1client

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"strconv"
	"time"
)

// LostError is a request that got no whole answer: whether it had an effect is unknown.
type LostError struct {
	Step Step
	Err  error
}

func (e *LostError) Error() string { return fmt.Sprintf("%s: no answer: %v", e.Step, e.Err) }

func (e *LostError) Unwrap() error { return e.Err }

// call sends one request and returns the body of its 200, or of the 204 of a DELETE. Refusals come as
// *APIError, after the waits that a retryable status asks for.
func (d *Device) call(ctx context.Context, method, path string, body any) ([]byte, error) {
	var encoded []byte
	if body != nil {
		var err error
		if encoded, err = json.Marshal(body); err != nil {
			return nil, fmt.Errorf("encode the request: %w", err)
		}
	}
	for try := 0; ; try++ {
		answer, err := d.callOnce(ctx, method, path, encoded)
		var refusal *APIError
		if !errors.As(err, &refusal) || !retryStatus(refusal.Status) || try == d.config.Retries {
			return answer, err
		}
		select {
		case <-ctx.Done():
			return nil, ctx.Err()
		case <-time.After(min(refusal.RetryAfter, d.config.MaxRetryWait)):
		}
	}
}

func retryStatus(status int) bool {
	switch status {
	case http.StatusTooManyRequests, http.StatusBadGateway, http.StatusServiceUnavailable, http.StatusGatewayTimeout:
		return true
	}
	return false
}

func (d *Device) callOnce(ctx context.Context, method, path string, body []byte) ([]byte, error) {
	request, err := http.NewRequestWithContext(ctx, method, d.config.URL+path, bytes.NewReader(body))
	if err != nil {
		return nil, fmt.Errorf("make the request: %w", err)
	}
	if body == nil {
		request.Body, request.GetBody = http.NoBody, nil
	} else {
		request.Header.Set("Content-Type", "application/json")
	}
	request.Header.Set("Authorization", "Bearer "+d.config.Token)
	request.Header.Set("Oversync-Source-ID", d.sourceID)
	step := StepOf(request)
	response, err := d.config.Client.Do(request)
	if err != nil {
		return nil, &LostError{Step: step, Err: err}
	}
	defer response.Body.Close() //nolint:errcheck // It was only read.
	answer, err := io.ReadAll(response.Body)
	if err != nil {
		return nil, &LostError{Step: step, Err: err}
	}
	if method == http.MethodDelete && response.StatusCode == http.StatusNoContent {
		if len(answer) > 0 {
			return nil, broken("http/no-content", "%s: a 204 has a body: %s", step, clip(answer))
		}
		return nil, nil
	}
	if err := holdBody(step, response, answer); err != nil {
		return nil, err
	}
	if response.StatusCode != http.StatusOK {
		return nil, parseRefusal(step, response, answer)
	}
	if method == http.MethodDelete {
		return nil, broken("http/no-content", "%s: answered 200, not 204", step)
	}
	return answer, nil
}

func holdBody(step Step, response *http.Response, body []byte) error {
	media, _, err := mime.ParseMediaType(response.Header.Get("Content-Type"))
	switch {
	case err != nil || media != "application/json":
		return broken("http/content-type", "%s: status %d with content type %q: %s", step, response.StatusCode, response.Header.Get("Content-Type"), clip(body))
	case !bytes.HasSuffix(body, []byte("\n")):
		return broken("http/newline", "%s: the body does not end with a line break: %s", step, clip(body))
	case !json.Valid(body):
		return broken("http/json", "%s: the body is not JSON: %s", step, clip(body))
	case response.StatusCode/100 == 2 && response.StatusCode != http.StatusOK:
		return broken("http/status", "%s: success is 200, not %d", step, response.StatusCode)
	}
	return nil
}

// APIError is a refusal as the server words it.
type APIError struct {
	Step       Step
	Status     int
	Code       string
	Message    string
	RequestID  string
	Retryable  bool
	RetryAfter time.Duration
	// ReplacedBy is the source that took the place of a retired one.
	ReplacedBy string
	Body       []byte
}

func (e *APIError) Error() string {
	return fmt.Sprintf("%s: %d %s: %s", e.Step, e.Status, e.Code, e.Message)
}

// statuses holds every code of the protocol with its one status.
var statuses = map[string]int{
	"authentication_failed": 401, "invalid_request": 400, "service_unavailable": 503, "method_not_allowed": 405, "not_found": 404,
	"connect_invalid": 400, "connect_failed": 500,
	"push_session_invalid": 400, "scope_uninitialized": 409, "scope_initializing": 409, "initialization_stale": 409,
	"initialization_expired": 410, "history_pruned": 409, "source_sequence_out_of_order": 409, "source_sequence_changed": 409,
	"source_retired": 409, "push_session_create_failed": 500,
	"push_chunk_invalid": 400, "push_chunk_out_of_order": 409, "push_session_not_found": 404, "push_session_forbidden": 403,
	"push_session_expired": 410, "push_chunk_failed": 500,
	"push_commit_invalid": 400, "push_conflict": 409, "push_rejected": 422, "push_session_commit_failed": 500, "push_session_delete_failed": 500,
	"committed_bundle_chunk_invalid": 400, "committed_bundle_not_found": 404, "committed_bundle_rows_failed": 500,
	"pull_failed": 500, "snapshot_session_invalid": 400, "source_replacement_invalid": 409, "snapshot_session_create_failed": 500,
	"snapshot_session_limit_exceeded": 413, "snapshot_chunk_invalid": 400, "snapshot_session_not_found": 404,
	"snapshot_session_expired": 410, "snapshot_session_forbidden": 403, "snapshot_chunk_failed": 500, "snapshot_session_delete_failed": 500,
	"too_many_sessions": 429, "too_many_requests": 429, "too_many_streams": 429, "server_busy": 503, "maintenance": 503, "client_too_old": 426,
	"bundle_limit_exceeded": 413, "request_too_large": 413, "capabilities_failed": 500,
}

func parseRefusal(step Step, response *http.Response, body []byte) error {
	o := parseObject("error", body)
	refusal := &APIError{Step: step, Status: response.StatusCode, Code: o.text("error"), Message: o.text("message"),
		RequestID: o.text("request_id"), Retryable: o.bool("retryable"), Body: body}
	status, known := statuses[refusal.Code]
	o.require(known, "code", "code %q is not of the protocol", refusal.Code)
	o.require(!known || status == refusal.Status, "status", "%s goes with %d, not %d", refusal.Code, status, refusal.Status)
	if retryStatus(refusal.Status) {
		seconds, err := strconv.Atoi(response.Header.Get("Retry-After"))
		o.require(err == nil && seconds >= 1, "retry-after", "a %d has Retry-After %q", refusal.Status, response.Header.Get("Retry-After"))
		o.require(refusal.Retryable, "retryable", "a %d says that it is not retryable", refusal.Status)
		refusal.RetryAfter = time.Duration(seconds) * time.Second
	}
	if refusal.Code == "source_retired" {
		o.text("source_id")
		if o.has("replaced_by_source_id") {
			refusal.ReplacedBy = o.text("replaced_by_source_id")
		}
	}
	if o.err != nil {
		return o.err
	}
	return refusal
}
