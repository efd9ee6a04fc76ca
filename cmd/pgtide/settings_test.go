package main

import (
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/golang-jwt/jwt/v5"
	"github.com/urfave/cli/v3"

	"github.com/pgtide/pgtide/internal/pgtest"
)

// The page, --help and the program have the same settings, with the same names and defaults.
func TestSettingsAreListed(t *testing.T) {
	t.Parallel()
	page, err := os.ReadFile("../../docs/settings.md")
	if err != nil {
		t.Fatal(err)
	}
	var listed, want []string
	for _, row := range regexp.MustCompile("(?m)^\\| `--([a-z-]+)` \\| `(PGTIDE_[A-Z_]+)` \\| ([^|]*) \\| ([^|]+) \\|$").FindAllStringSubmatch(string(page), -1) {
		listed = append(listed, strings.TrimSpace(row[1]+" "+row[2]+" "+strings.TrimSpace(row[3])))
	}
	help := pgtide(t, "", "serve", "--help")
	for _, flag := range serveSettings() {
		name, documented := flag.Names()[0], flag.(cli.DocGenerationFlag)
		if len(flag.Names()) != 1 || !slices.Equal(documented.GetEnvVars(), []string{environmentName(name)}) {
			t.Errorf("--%s is also %v, and in the environment %v", name, flag.Names(), documented.GetEnvVars())
		}
		if !strings.Contains(help.out, "--"+name+" ") || !strings.Contains(help.out, "[$"+environmentName(name)+"]") {
			t.Errorf("--help does not list --%s", name)
		}
		want = append(want, strings.TrimSpace(fmt.Sprintf("%s %s %v", name, environmentName(name), standardOf(flag))))
	}
	if !slices.Equal(listed, want) {
		t.Errorf("docs/settings.md lists\n%s\nand the settings are\n%s", strings.Join(listed, "\n"), strings.Join(want, "\n"))
	}
}

func standardOf(flag cli.Flag) any {
	switch f := flag.(type) {
	case *cli.StringFlag:
		return f.Value
	case *cli.BoolFlag:
		return f.Value
	case *cli.Int64Flag:
		return f.Value
	case *cli.DurationFlag:
		return f.Value
	}
	return "of another type"
}

// A setting that is none, or cannot be read, or makes no sense, stops the start with one line.
func TestSettingsThatAreRefused(t *testing.T) {
	t.Parallel()
	folder := t.TempDir()
	private := filepath.Join(folder, "private.pem")
	if err := os.WriteFile(private, pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: []byte("x")}), 0o600); err != nil {
		t.Fatal(err)
	}
	const secret = "PGTIDE_JWT_SECRET=" + serveSecret
	for _, test := range []struct {
		environment []string
		args        []string
		want        string
	}{
		{[]string{secret, "PGTIDE_TEST_DATABASE_URL=postgres://127.0.0.1:1/x", "PGTIDE_MAX_BODY_BITES=1"}, nil, "no setting PGTIDE_MAX_BODY_BITES"},
		{[]string{secret}, []string{"--listen-url", "postgres://127.0.0.1:1/x", "--listen=false"}, "--listen-url"},
		{[]string{secret, "PGTIDE_LISTEN_URL=postgres://127.0.0.1:1/x"}, []string{"--watch=false"}, "--watch=false"},
		{[]string{secret}, []string{"--listen-url", "postgres://127.0.0.1:port/x"}, "--listen-url"},
		{[]string{secret}, []string{"--watch-poll-interval", "0s"}, "too small"},
		{[]string{secret, "PGTIDE_MAX_BODY_BYTES=1MB"}, nil, "PGTIDE_MAX_BODY_BYTES"},
		{[]string{secret, "PGTIDE_IDLE_TIMEOUT=5"}, nil, "missing unit"},
		{[]string{secret}, []string{"--idle-timeout", "-1s"}, "too small"},
		{[]string{secret}, []string{"--max-body-bytes", "0"}, "too small"},
		{[]string{secret}, []string{"--max-body-bites", "1"}, "max-body-bites"},
		{[]string{secret}, []string{"--watch="}, "--watch= has no value"},
		{[]string{secret}, []string{"--jwt-issuer", ""}, "empty"},
		{[]string{secret, "PGTIDE_ADDR="}, nil, "PGTIDE_ADDR"},
		{[]string{secret, "PGTIDE_LISTEN="}, nil, "PGTIDE_LISTEN is empty"},
		{[]string{secret, "PGTIDE_MAX_BODY_BYTES="}, nil, "PGTIDE_MAX_BODY_BYTES is empty"},
		{[]string{secret}, []string{"--cors-origins", "https://app.example/"}, "no origin"},
		{[]string{secret}, []string{"--cors-origins", "app.example"}, "no origin"},
		{[]string{secret, "PGTIDE_JWKS_URL=https://issuer.example"}, nil, "give one of them"},
		{[]string{"PGTIDE_JWT_KEY_FILE=" + folder + "/none"}, nil, "no such file"},
		{[]string{"PGTIDE_JWT_KEY_FILE=" + private}, nil, "private key"},
		{[]string{"PGTIDE_JWKS_URL=http://issuer.example/keys"}, nil, "not https"},
		{[]string{"PGTIDE_JWKS_URL=http://127.0.0.1:1/keys"}, nil, "fetch the keys"},
		{[]string{"PGTIDE_TRUST_USER_HEADER=X-User", "DATABASE_URL=postgres://127.0.0.1:1/x"}, []string{"--addr", ":0"}, "loopback"},
	} {
		p := prepare(t, "", append([]string{"serve"}, test.args...)...)
		p.cmd.Env = append(p.cmd.Env, test.environment...)
		p.begin(t)
		if got := p.wait(t); got.code != exitUsage || got.out != "" || !strings.Contains(got.errors, test.want) || strings.Count(got.errors, "\n") != 1 {
			t.Errorf("%v %v: %+v, want one line with %q", test.environment, test.args, got, test.want)
		}
	}
}

// Tokens of a public key, operators on an address of their own, and pages of one origin.
func TestServeWithItsSettings(t *testing.T) {
	t.Parallel()
	public, private, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	text, err := x509.MarshalPKIXPublicKey(public)
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "public.pem")
	if err := os.WriteFile(file, pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: text}), 0o600); err != nil {
		t.Fatal(err)
	}
	s := serveWith(t, withItems(t).URL, "--jwt-key-file", file, "--jwt-issuer", "me", "--jwt-user-claim", "uid", "--operator-addr", "127.0.0.1:0", "--cors-origins", "https://app.example")
	operators := ""
	for _, line := range s.logged() {
		if line["msg"] == "serving operators" {
			operators = "http://" + line["addr"].(string)
		}
	}
	ask := func(url, method string, header ...string) (int, http.Header) {
		request, err := http.NewRequestWithContext(context.Background(), method, url, http.NoBody)
		if err != nil {
			t.Fatal(err)
		}
		for i := 0; i < len(header); i += 2 {
			request.Header.Set(header[i], header[i+1])
		}
		response, err := http.DefaultClient.Do(request)
		if err != nil {
			t.Fatal(err)
		}
		_ = response.Body.Close() // not read
		return response.StatusCode, response.Header
	}
	token := func(claims jwt.MapClaims) string {
		text, err := jwt.NewWithClaims(jwt.SigningMethodEdDSA, claims).SignedString(private)
		if err != nil {
			t.Fatal(err)
		}
		return "Bearer " + text
	}
	for name, test := range map[string]struct {
		url    string
		header []string
		want   int
	}{
		"a device":            {s.url + "/sync/capabilities", []string{"Authorization", token(jwt.MapClaims{"uid": 7, "iss": "me"}), "Tide-Source-ID", "a"}, http.StatusOK},
		"another issuer":      {s.url + "/sync/capabilities", []string{"Authorization", token(jwt.MapClaims{"uid": 7, "iss": "you"}), "Tide-Source-ID", "a"}, http.StatusUnauthorized},
		"status for devices":  {s.url + "/syncx/status", nil, http.StatusUnauthorized},
		"status":              {operators + "/syncx/status", nil, http.StatusOK},
		"health":              {operators + "/syncx/health", nil, http.StatusOK},
		"a device, elsewhere": {operators + "/sync/capabilities", []string{"Authorization", token(jwt.MapClaims{"uid": 7, "iss": "me"}), "Tide-Source-ID", "a"}, http.StatusNotFound},
	} {
		if status, _ := ask(test.url, http.MethodGet, test.header...); status != test.want {
			t.Errorf("%s: %d", name, status)
		}
	}
	preflight := []string{"Access-Control-Request-Method", "POST", "Access-Control-Request-Headers", "authorization,content-type,tide-source-id"}
	for origin, want := range map[string]string{"https://app.example": "https://app.example", "https://evil.example": ""} {
		if status, header := ask(s.url+"/sync/push", http.MethodOptions, append(preflight, "Origin", origin)...); header.Get("Access-Control-Allow-Origin") != want {
			t.Errorf("%s: %d %v", origin, status, header)
		}
	}
	if got := s.interrupt(t, os.Interrupt); got.code != 0 {
		t.Errorf("%+v", got)
	}
}

// Development mode says so in the log, loudly.
func TestServeInDevelopmentMode(t *testing.T) {
	t.Parallel()
	s := serveWith(t, withItems(t).URL, "--trust-user-header", "X-User")
	request, err := http.NewRequestWithContext(context.Background(), http.MethodGet, s.url+"/sync/capabilities", http.NoBody)
	if err != nil {
		t.Fatal(err)
	}
	request.Header.Set("X-User", "7")
	request.Header.Set("Tide-Source-ID", "a")
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		t.Fatal(err)
	}
	_ = response.Body.Close() // not read
	warnings := 0
	for _, line := range s.logged() {
		if message, _ := line["msg"].(string); line["level"] == "WARN" && strings.Contains(strings.ToLower(message), "development mode") {
			warnings++
		}
	}
	if response.StatusCode != http.StatusOK || warnings != 2 {
		t.Errorf("%d, and %d warnings in %s", response.StatusCode, warnings, s.errors.String())
	}
}

// The page also has every setting of a database.
func TestSettingsOfADatabaseAreListed(t *testing.T) {
	t.Parallel()
	page, err := os.ReadFile("../../docs/settings.md")
	if err != nil {
		t.Fatal(err)
	}
	_, section, _ := strings.Cut(string(page), "## Of a database")
	var columns []string
	if err := pgtest.New(t).QueryRow(t.Context(), `SELECT array_agg(attname::text ORDER BY attnum) FROM pg_attribute
		WHERE attrelid = 'tide.setting'::regclass AND attnum > 0 AND NOT attisdropped AND attname <> 'only_row'`).Scan(&columns); err != nil {
		t.Fatal(err)
	}
	for _, row := range regexp.MustCompile("(?m)^\\| (`[^|]*`) \\|").FindAllStringSubmatch(section, -1) {
		for name := range strings.SplitSeq(row[1], ", ") {
			name = strings.Trim(name, "`")
			if i := slices.Index(columns, name); i >= 0 {
				columns = slices.Delete(columns, i, i+1)
			} else if name != "column" {
				t.Errorf("docs/settings.md has %s, which is no column of tide.setting", name)
			}
		}
	}
	if len(columns) > 0 {
		t.Errorf("docs/settings.md does not list %v", columns)
	}
}
