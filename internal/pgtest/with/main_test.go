package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/pgtide/pgtide/internal/pgtest"
)

// The test binary is the command as well.
func TestMain(m *testing.M) {
	if os.Getenv("PGTIDE_TEST_AS_WITH") != "" {
		main()
	}
	os.Exit(m.Run())
}

// command runs with, in an environment that names no server but the ones given.
func command(t *testing.T, env []string, args ...string) (*exec.Cmd, *bytes.Buffer, *bytes.Buffer) {
	t.Helper()
	cmd := exec.Command(os.Args[0], args...)
	cmd.Env = append(os.Environ(), "PGTIDE_TEST_AS_WITH=1", pgtest.EnvURL+"=", pgtest.EnvServer+"=", pgtest.EnvBinDir+"=", pgtest.EnvImage+"=",
		"TMPDIR="+openDirectory(t))
	cmd.Env = append(cmd.Env, env...)
	var out, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errs
	return cmd, &out, &errs
}

// openDirectory is one that the server's user may enter, and that must be empty in the end.
func openDirectory(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "pgtide-with-")
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(dir, 0o777); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if left, err := filepath.Glob(filepath.Join(dir, "pgtide-*")); err != nil || len(left) > 0 {
			t.Errorf("left behind: %q, %v", left, err)
		}
		if err := os.RemoveAll(dir); err != nil {
			t.Error(err)
		}
	})
	return dir
}

func TestTheServerIsTheNamedOneElseAContainerElseBinaries(t *testing.T) {
	t.Parallel()
	binaries := "PATH=" + os.Getenv("PATH")
	silent, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = silent.Close() }) // the end of the test
	engine := engineWithoutImages(t)
	for name, example := range map[string]struct {
		env  []string
		want []string
	}{
		"named": {
			env:  []string{pgtest.EnvURL + "=" + pgtest.Empty(t).URL, "DOCKER_HOST=" + engine},
			want: []string{"the server that " + pgtest.EnvURL + " names"},
		},
		"named by a command around it": {
			env:  []string{pgtest.EnvURL + "=" + pgtest.Empty(t).URL, pgtest.EnvServer + "=a server of another run"},
			want: []string{"a server of another run"},
		},
		"no engine": {
			env:  []string{binaries, "DOCKER_HOST=unix:///nowhere/docker.sock"},
			want: []string{"a throwaway cluster of /", "(no container: no Docker engine"},
		},
		"an engine that does not answer": {
			env:  []string{binaries, "DOCKER_HOST=tcp://" + silent.Addr().String()},
			want: []string{"a throwaway cluster of /", "(no container: the Docker engine did not answer within"},
		},
		"an image that cannot be had": {
			env:  []string{binaries, "DOCKER_HOST=" + engine, pgtest.EnvImage + "=postgres:none", "TESTCONTAINERS_RYUK_DISABLED=true"},
			want: []string{"a throwaway cluster of /", "(no container: image postgres:none: ", "pull access denied"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			cmd, _, errs := command(t, example.env, "true")
			if err := cmd.Run(); err != nil {
				t.Fatalf("%v\n%s", err, errs)
			}
			if strings.Count(errs.String(), "\n") != 1 {
				t.Errorf("not one line: %s", errs)
			}
			for _, want := range example.want {
				if !strings.Contains(errs.String(), want) {
					t.Errorf("it said %q, and nothing of %q", errs, want)
				}
			}
		})
	}
}

// engineWithoutImages answers as a Docker engine that has no image and gets none.
func engineWithoutImages(t *testing.T) string {
	t.Helper()
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Api-Version", "1.44")
		w.Header().Set("Content-Type", "application/json")
		var answer any
		switch path := r.URL.Path; {
		case strings.Contains(path, "/images/"), strings.Contains(path, "/containers/"):
			w.WriteHeader(http.StatusNotFound)
			answer = map[string]string{"message": "pull access denied"}
		case strings.HasSuffix(path, "/networks"):
			answer = []string{}
		default:
			answer = map[string]string{"OperatingSystem": "none", "ServerVersion": "1", "OSType": "linux"}
		}
		if err := json.NewEncoder(w).Encode(answer); err != nil {
			t.Errorf("answer %s: %v", r.URL, err)
		}
	}))
	t.Cleanup(server.Close)
	return "tcp://" + server.Listener.Addr().String()
}

func TestTheCommandGetsTheServerAndGivesItsExitCode(t *testing.T) {
	t.Parallel()
	cmd, out, errs := command(t, []string{"DOCKER_HOST=unix:///nowhere/docker.sock"},
		"sh", "-c", `echo "$PGTIDE_TEST_DATABASE_URL $PGTIDE_TEST_SERVER"; exit 7`)
	var exit *exec.ExitError
	if err := cmd.Run(); !errors.As(err, &exit) || exit.ExitCode() != 7 {
		t.Errorf("got %v, want exit code 7\n%s", err, errs)
	}
	if !strings.HasPrefix(out.String(), "postgres://postgres@127.0.0.1:") || !strings.Contains(out.String(), " a throwaway cluster of ") {
		t.Errorf("the command was told %q", out)
	}
}

func TestNothingToRunAndNothingToStart(t *testing.T) {
	t.Parallel()
	for name, example := range map[string]struct {
		args []string
		env  string
		code int
		want string
	}{
		"no command":   {code: 2, want: "usage: "},
		"no server":    {args: []string{"true"}, env: pgtest.EnvBinDir + "=" + t.TempDir(), code: 1, want: "apt-get install postgresql"},
		"not a URL":    {args: []string{"true"}, env: pgtest.EnvURL + "=host=localhost", code: 1, want: "is not a URL"},
		"nobody there": {args: []string{"true"}, env: pgtest.EnvURL + "=postgres://127.0.0.1:1/x", code: 1, want: pgtest.EnvURL + " is set, but cannot be used"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			cmd, _, errs := command(t, []string{example.env}, example.args...)
			var exit *exec.ExitError
			if err := cmd.Run(); !errors.As(err, &exit) || exit.ExitCode() != example.code {
				t.Errorf("got %v, want exit code %d", err, example.code)
			}
			if !strings.Contains(errs.String(), example.want) || strings.Count(errs.String(), "\n") != 1 {
				t.Errorf("it said %q, want one line with %q", errs, example.want)
			}
		})
	}
}

func TestSignalsReachTheCommandAndTheServerIsRemoved(t *testing.T) {
	t.Parallel()
	for _, signal := range []syscall.Signal{syscall.SIGINT, syscall.SIGHUP, syscall.SIGTERM} {
		t.Run(signal.String(), func(t *testing.T) {
			t.Parallel()
			cmd, _, errs := command(t, []string{"DOCKER_HOST=unix:///nowhere/docker.sock"},
				"sh", "-c", `trap 'exit 5' INT HUP TERM; echo ready; while :; do sleep 0.05; done`)
			cmd.Stdout = nil
			out, err := cmd.StdoutPipe()
			if err != nil {
				t.Fatal(err)
			}
			if err := cmd.Start(); err != nil {
				t.Fatal(err)
			}
			time.AfterFunc(time.Minute, func() { _ = cmd.Process.Kill() }) // nothing to kill when all is well
			if _, err := out.Read(make([]byte, 5)); err != nil {
				t.Fatalf("wait for the command: %v\n%s", err, errs)
			}
			if err := cmd.Process.Signal(signal); err != nil {
				t.Fatal(err)
			}
			var exit *exec.ExitError
			if err := cmd.Wait(); !errors.As(err, &exit) || exit.ExitCode() != 5 {
				t.Errorf("got %v, want the command's exit code 5\n%s", err, errs)
			}
		})
	}
}
