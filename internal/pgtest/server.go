// Package pgtest gives tests and the demo a real PostgreSQL server: one that is named, one in a
// container, or a throwaway cluster of the server binaries on this machine.
package pgtest

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"os"
	"strings"

	"github.com/jackc/pgx/v5"

	"github.com/pgtide/pgtide/internal/cluster"
)

// Environment that decides which server is used.
const (
	// EnvURL names a server to use as it is, by the URL of a superuser.
	EnvURL = "PGTIDE_TEST_DATABASE_URL"
	// EnvServer describes that server, when a command that started it named it.
	EnvServer = "PGTIDE_TEST_SERVER"
	// EnvImage is the container image. Defaults to DefaultImage.
	EnvImage = "PGTIDE_TEST_IMAGE"
	// EnvBinDir is a directory with server binaries (initdb, postgres, pg_ctl); no container is tried then.
	EnvBinDir = cluster.EnvBinDir
)

// DefaultImage is used when EnvImage is not set.
const DefaultImage = "postgres:18"

// Cluster is a cluster of the server binaries on this machine.
type Cluster = cluster.Cluster

// ClusterConfig describes one. The zero value works.
type ClusterConfig = cluster.Config

// Server is a running PostgreSQL.
type Server struct {
	// URL connects a superuser to database postgres.
	URL string
	// Description says what it is, and why it was not something better.
	Description string
	stop        func()
}

// Stop ends the server if this process started it. A server is also ended when the process dies.
func (s *Server) Stop() {
	if s.stop != nil {
		s.stop()
		s.stop = nil
	}
}

// Start finds or starts a server. The error is one line that says what to install.
func Start(ctx context.Context) (*Server, error) {
	if address := os.Getenv(EnvURL); address != "" {
		return named(ctx, address)
	}
	var reasons []string
	if os.Getenv(EnvBinDir) == "" {
		server, err := startContainer(ctx)
		if err == nil {
			return server, nil
		}
		reasons = append(reasons, "no container: "+oneLine(err))
	}
	own, err := cluster.New(ctx, ClusterConfig{})
	if err != nil {
		reasons = append(reasons, "no cluster of our own: "+err.Error())
		return nil, errors.New("no PostgreSQL to test with; install the server (Debian: apt-get install postgresql), start Docker, or set " +
			EnvURL + " (" + strings.Join(reasons, "; ") + ")")
	}
	description := fmt.Sprintf("a throwaway cluster of %s", own.BinDir)
	if len(reasons) > 0 {
		description += " (" + strings.Join(reasons, "; ") + ")"
	}
	return &Server{URL: own.URL("postgres"), Description: description, stop: own.Remove}, nil
}

func named(ctx context.Context, address string) (*Server, error) {
	// Tests put other databases and roles into it.
	u, err := url.Parse(address)
	if err != nil || u.Scheme != "postgres" && u.Scheme != "postgresql" {
		return nil, fmt.Errorf("%s is not a URL: write it as postgres://user:password@host:port/database", EnvURL)
	}
	conn, err := pgx.Connect(ctx, address)
	if err != nil {
		return nil, fmt.Errorf("%s is set, but cannot be used: %s", EnvURL, oneLine(err))
	}
	description := os.Getenv(EnvServer)
	if description == "" {
		description = "the server that " + EnvURL + " names"
	}
	return &Server{URL: address, Description: description}, conn.Close(ctx)
}

// oneLine is the text of an error for use within a sentence.
func oneLine(err error) string {
	return strings.Join(strings.FieldsFunc(strings.ReplaceAll(err.Error(), "\t", ""), func(r rune) bool { return r == '\n' }), "; ")
}
