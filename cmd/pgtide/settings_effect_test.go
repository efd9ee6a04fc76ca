package main

import (
	"bufio"
	"context"
	"crypto/rand"
	"crypto/rsa"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"reflect"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/MicahParks/jwkset"
	"github.com/golang-jwt/jwt/v5"
	"github.com/jackc/pgx/v5"
	"github.com/urfave/cli/v3"

	"github.com/pgtide/pgtide/internal/pgtest"
)

// What is no number, time or truth stops the start, whichever setting it is given for.
func TestNoSettingTakesNonsense(t *testing.T) {
	t.Parallel()
	for _, flag := range serveSettings() {
		if _, isText := flag.(*cli.StringFlag); isText {
			continue // its meaning is looked at when it is used
		}
		command := serveCommand()
		command.Writer, command.ErrWriter = io.Discard, io.Discard
		command.Action = func(context.Context, *cli.Command) error { return nil }
		for _, value := range []string{"nonsense", "1e999", "-1"} {
			if err := command.Run(t.Context(), []string{"serve", "--" + flag.Names()[0] + "=" + value}); err == nil {
				t.Errorf("--%s=%q is taken", flag.Names()[0], value)
			}
		}
	}
}

// Every setting reaches the one thing that it is about: here, or in a test that tells its effect. What the
// fields of server.Config do is tested there.
func TestEverySettingArrives(t *testing.T) {
	t.Parallel()
	told := map[string]func(*testing.T){
		"addr": TestServeAsTheRuntime, "operator-addr": TestServeWithItsSettings, "cors-origins": TestServeWithItsSettings,
		"jwt-secret": TestServeAsTheRuntime, "jwt-key-file": TestServeWithItsSettings, "jwks-url": TestServeHeeds, "trust-user-header": TestServeInDevelopmentMode,
		"jwt-issuer": TestServeWithItsSettings, "jwt-user-claim": TestServeWithItsSettings, "jwt-audience": TestServeHeeds, "jwt-leeway": TestServeHeeds,
		"shutdown-timeout": TestServeCutsOff, "prepared-statements": TestPreparedStatements,
	}
	standard := arrived(t)
	for _, flag := range serveSettings() {
		name := flag.Names()[0]
		if told[name] != nil {
			continue
		}
		value := "7"
		switch flag.(type) {
		case *cli.StringFlag:
			value = "postgres://somebody@127.0.0.1:7/x"
		case *cli.BoolFlag:
			value = "false"
		case *cli.DurationFlag:
			value = "7h0m0s"
		}
		var changed []string
		for field, got := range arrived(t, "--"+name+"="+value) {
			if got != standard[field] {
				changed = append(changed, field+" "+got)
			}
		}
		if len(changed) != 1 || !strings.Contains(changed[0], strings.TrimPrefix(value, "false")) {
			t.Errorf("--%s=%s changes %q", name, value, changed)
		}
	}
}

// arrived is what the settings make of the server, each thing by its name.
func arrived(t *testing.T, args ...string) map[string]string {
	t.Helper()
	fields := map[string]string{}
	var note func(name string, value reflect.Value)
	note = func(name string, value reflect.Value) {
		for field, v := range value.Fields() {
			switch {
			case field.Name == "Watch":
				note("Watch.", v)
			case field.Name == "Listen" && !v.IsNil():
				fields[name+field.Name] = v.MethodByName("ConnString").Call(nil)[0].String()
			case v.Kind() != reflect.Func && v.Kind() != reflect.Pointer && field.IsExported():
				fields[name+field.Name] = fmt.Sprint(v)
			}
		}
	}
	command := serveCommand()
	command.Action = func(_ context.Context, cmd *cli.Command) error {
		watching, err := watchSettings(cmd)
		note("", reflect.ValueOf(serverConfig(cmd, watching, nil)))
		note("http.", reflect.ValueOf(webServer(cmd)).Elem())
		return err
	}
	if err := command.Run(t.Context(), append([]string{"serve"}, args...)); err != nil {
		t.Fatalf("%v: %v", args, err)
	}
	return fields
}

// Statements are prepared by name unless a pooler may be in between.
func TestPreparedStatements(t *testing.T) {
	t.Parallel()
	for args, want := range map[string]pgx.QueryExecMode{
		"":                            pgx.QueryExecModeCacheStatement,
		"--prepared-statements=false": pgx.QueryExecModeExec,
		"--listen-url=postgres:///x":  pgx.QueryExecModeExec,
		"--listen-url=postgres:///x --prepared-statements":          pgx.QueryExecModeCacheStatement,
		"--database-url=postgres:///x?default_query_exec_mode=exec": pgx.QueryExecModeExec,
	} {
		command := serveCommand()
		command.Flags = append(command.Flags, &cli.StringFlag{Name: "database-url", Value: "postgres:///x"})
		command.Action = func(_ context.Context, cmd *cli.Command) error {
			config, err := poolSettings(cmd)
			if err == nil && config.ConnConfig.DefaultQueryExecMode != want {
				t.Errorf("serve %s: statements are sent as %s, want %s", args, config.ConnConfig.DefaultQueryExecMode, want)
			}
			return err
		}
		if err := command.Run(t.Context(), append([]string{"serve"}, strings.Fields(args)...)); err != nil {
			t.Errorf("serve %s: %v", args, err)
		}
	}
}

// A server with small bounds, and users whom somebody else's keys vouch for.
func TestServeHeeds(t *testing.T) {
	t.Parallel()
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	made, err := jwkset.NewJWKFromKey(&key.PublicKey, jwkset.JWKOptions{Metadata: jwkset.JWKMetadataOptions{KID: "one"}})
	if err != nil {
		t.Fatal(err)
	}
	issuer := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		if err := json.NewEncoder(w).Encode(jwkset.JWKSMarshal{Keys: []jwkset.JWKMarshal{made.Marshal()}}); err != nil {
			t.Error(err)
		}
	}))
	defer issuer.Close()
	db := withItems(t)
	s := serveWith(t, db.URL, "--jwks-url", issuer.URL, "--jwt-audience", "shop desk", "--jwt-leeway", "1h", "--app-name", "the shop", "--listen-url", db.URL,
		"--max-header-bytes", "1000", "--max-body-bytes", "1000", "--header-timeout", "3s", "--idle-timeout", "3s", "--heartbeat-interval", "10ms", "--max-watches-per-user", "1")
	ask := func(method, path, body string, claims jwt.MapClaims) (int, io.Reader) {
		t.Helper()
		token := jwt.NewWithClaims(jwt.SigningMethodRS256, claims)
		token.Header["kid"] = "one"
		text, err := token.SignedString(key)
		if err != nil {
			t.Fatal(err)
		}
		request, err := http.NewRequestWithContext(t.Context(), method, s.url+path, strings.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		request.Header = http.Header{"Authorization": {"Bearer " + text}, "Tide-Source-Id": {"phone"}}
		request.Close = true // a connection that idles is closed soon
		response, err := http.DefaultClient.Do(request)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = response.Body.Close() }) // it was read as far as it is looked at
		return response.StatusCode, response.Body
	}
	late := time.Now().Add(-30 * time.Minute).Unix()
	mine := jwt.MapClaims{"sub": "1", "aud": "desk", "exp": late}
	for what, test := range map[string]struct {
		status int
		body   string
		claims jwt.MapClaims
	}{
		"a token that expired within the leeway": {http.StatusOK, `{}`, mine},
		"one that expired before":                {http.StatusUnauthorized, `{}`, jwt.MapClaims{"sub": "1", "aud": "shop", "exp": late - 3600}},
		"one for others":                         {http.StatusUnauthorized, `{}`, jwt.MapClaims{"sub": "1", "aud": "elsewhere"}},
		"a long body":                            {http.StatusRequestEntityTooLarge, `{}` + strings.Repeat(" ", 1000), mine},
		"a long header":                          {http.StatusRequestHeaderFieldsTooLarge, `{}`, jwt.MapClaims{"sub": "1", "aud": "shop", "long": strings.Repeat("x", 6000)}},
	} {
		if status, _ := ask(http.MethodPost, "/sync/connect", test.body, test.claims); status != test.status {
			t.Errorf("%s: %d", what, status)
		}
	}
	_, answer := ask(http.MethodGet, "/sync/capabilities", "", mine)
	told, err := io.ReadAll(answer)
	if err != nil || !strings.Contains(string(told), `"app_name":"the shop"`) {
		t.Errorf("%s %v", told, err)
	}
	_, answer = ask(http.MethodGet, "/sync/watch", "", mine)
	lines := bufio.NewScanner(answer)
	for beats := 0; beats < 3; {
		if !lines.Scan() {
			t.Fatalf("the stream ended after %d heartbeats", beats)
		}
		if lines.Text() == ": heartbeat" {
			beats++
		}
	}
	if status, _ := ask(http.MethodGet, "/sync/watch", "", mine); status != http.StatusTooManyRequests {
		t.Errorf("a second stream: %d", status)
	}
	for what, sent := range map[string]string{"whose header does not end": "GET / HTTP/1.1\r\n", "that is not used": "GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n"} {
		conn, err := net.Dial("tcp", strings.TrimPrefix(s.url, "http://"))
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = conn.Close() }() // the other end did
		if _, err := io.WriteString(conn, sent); err != nil {
			t.Fatal(err)
		}
		if err := conn.SetReadDeadline(time.Now().Add(time.Minute)); err != nil {
			t.Fatal(err)
		}
		if _, err := io.Copy(io.Discard, conn); os.IsTimeout(err) {
			t.Errorf("a connection %s stays", what)
		}
	}
	if got := s.interrupt(t, os.Interrupt); got.code != 0 {
		t.Errorf("%+v", got)
	}
}

// A request that does not end in time is cut off at the end.
func TestServeCutsOff(t *testing.T) {
	t.Parallel()
	db := pgtest.New(t)
	s := serveFor(t, db.URL, "--shutdown-timeout", "100ms")
	conn, err := net.Dial("tcp", strings.TrimPrefix(s.url, "http://"))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.Close() }() // the other end did
	token, err := jwt.NewWithClaims(jwt.SigningMethodHS256, jwt.MapClaims{"sub": "1"}).SignedString([]byte(serveSecret))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := fmt.Fprintf(conn, "POST /sync/connect HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer %s\r\nTide-Source-ID: phone\r\nExpect: 100-continue\r\nContent-Length: 10\r\n\r\n", token); err != nil {
		t.Fatal(err)
	}
	if line, err := bufio.NewReader(conn).ReadString('\n'); err != nil || !strings.Contains(line, " 100 ") {
		t.Fatalf("%q %v", line, err) // it waits for the body from here on
	}
	if got := s.interrupt(t, syscall.SIGTERM); !strings.Contains(got.errors, "requests were cut off") {
		t.Errorf("%+v", got)
	}
}
