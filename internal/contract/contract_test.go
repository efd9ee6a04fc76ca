package contract

import (
	"io"
	"net/http"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"

	validator "github.com/pb33f/libopenapi-validator"
)

// The document is one of OpenAPI 3.1.
func TestDocumentIsValid(t *testing.T) {
	t.Parallel()
	document, err := Document()
	if err != nil {
		t.Fatal(err)
	}
	checks, errs := validator.NewValidator(document)
	if len(errs) > 0 {
		t.Fatal(errs)
	}
	if valid, problems := checks.ValidateDocument(); !valid {
		for _, p := range problems {
			t.Error(describe(p))
		}
	}
}

// Its codes are those of docs/errors.md.
func TestCodes(t *testing.T) {
	t.Parallel()
	page, err := os.ReadFile("../../docs/errors.md")
	if err != nil {
		t.Fatal(err)
	}
	document, err := os.ReadFile("../../docs/openapi.yaml")
	if err != nil {
		t.Fatal(err)
	}
	_, list, _ := strings.Cut(string(document), "    Code:\n      enum:\n")
	given := regexp.MustCompile(`(?m)^        - ([a-z_]+)$`).FindAllStringSubmatch(list, -1)
	told := regexp.MustCompile("(?m)^\\| `([a-z_]+)` \\| [0-9]+ \\|").FindAllStringSubmatch(string(page), -1)
	if names(given) == "" || names(given) != names(told) {
		t.Errorf("docs/openapi.yaml has\n%s\nand docs/errors.md\n%s", names(given), names(told))
	}
}

func names(found [][]string) string {
	var all []string
	for _, f := range found {
		all = append(all, f[1])
	}
	slices.Sort(all)
	return strings.Join(all, " ")
}

// canned answers with what a test says.
type canned struct {
	status int
	kind   string
	body   string
}

func (c canned) RoundTrip(*http.Request) (*http.Response, error) {
	return &http.Response{StatusCode: c.status, Header: http.Header{"Content-Type": {c.kind}}, Body: io.NopCloser(strings.NewReader(c.body))}, nil
}

// What is not in the contract is found.
func TestWhatIsNotInTheContractIsFound(t *testing.T) {
	t.Parallel()
	checks, err := shared()
	if err != nil {
		t.Fatal(err)
	}
	const refusal = `{"error":"not_found","message":"x","retryable":false,"request_id":"x"}`
	for _, test := range []struct {
		method, path string
		answer       canned
		good         bool
	}{
		{"POST", "/sync/connect", canned{200, "application/json", `{"resolution":"initialize_empty"}`}, true},
		{"POST", "/sync/connect", canned{200, "application/json", `{"resolution":"perhaps"}`}, false},
		{"POST", "/sync/connect", canned{200, "application/json", `{"resolution":"initialize_empty","more":1}`}, false},
		{"POST", "/sync/connect", canned{201, "application/json", `{"resolution":"initialize_empty"}`}, false},
		{"POST", "/sync/connect", canned{200, "text/plain", ``}, false},
		{"GET", "/sync/connect", canned{200, "application/json", `{"resolution":"initialize_empty"}`}, false},
		{"GET", "/sync/nothing", canned{200, "application/json", refusal}, false},
		{"GET", "/sync/nothing", canned{404, "application/json", refusal}, true},
		{"GET", "/sync/pull", canned{409, "application/json", refusal}, true},
		{"GET", "/sync/pull", canned{409, "application/json", `{"error":"nothing","message":"x","retryable":false,"request_id":"x"}`}, false},
		{"GET", "/sync/pull", canned{200, "application/x-ndjson", `{}`}, true},
		{"GET", "/sync/pull", canned{200, "application/json", `{"stable_bundle_seq":1,"bundles":[{"bundle_seq":1,"source_id":"x","source_bundle_id":1,"rows":[{"schema":"a","table":"b","key":{"id":7},"op":"INSERT","row_version":1}]}],"has_more":false}`}, false},
		{"GET", "/sync/pull", canned{200, "application/json", `{"stable_bundle_seq":1,"bundles":[{"bundle_seq":1,"source_id":"x","source_bundle_id":1,"rows":[{"schema":"a","table":"b","key":{"id":"7"},"op":"INSERT","row_version":1,"payload":{"id":7,"j":{"a":[{"b":1}]}}}]}],"has_more":false}`}, true},
	} {
		request, err := http.NewRequestWithContext(t.Context(), test.method, "http://x"+test.path, http.NoBody)
		if err != nil {
			t.Fatal(err)
		}
		response, _ := test.answer.RoundTrip(request) //nolint:bodyclose // It is text.
		if problem := (transport{t, nil, checks}).problem(request, response); (problem == "") != test.good {
			t.Errorf("%s %s %+v: %q", test.method, test.path, test.answer, problem)
		}
	}
}
