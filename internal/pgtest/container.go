package pgtest

import (
	"context"
	"fmt"
	"os"
	"time"

	"github.com/testcontainers/testcontainers-go"
	tclog "github.com/testcontainers/testcontainers-go/log"
	"github.com/testcontainers/testcontainers-go/wait"

	"github.com/pgtide/pgtide/internal/cluster"
)

// An engine that does not answer within this time is taken as absent.
const engineTimeout = 3 * time.Second

// Pulling an image and starting it must not hold up who has server binaries at hand.
const containerTimeout = time.Minute

func startContainer(ctx context.Context) (*Server, error) {
	// Its lines say what it does; what came of it is in the description or the error.
	tclog.SetDefault(tclog.NewNoopLogger())
	if err := engineAnswers(ctx); err != nil {
		return nil, err
	}
	image := os.Getenv(EnvImage)
	if image == "" {
		image = DefaultImage
	}
	limited, cancel := context.WithTimeoutCause(ctx, containerTimeout,
		fmt.Errorf("not pulled and started within %s; docker pull %s, then try again", containerTimeout, image))
	defer cancel()
	container, err := testcontainers.Run(limited, image,
		testcontainers.WithEnv(map[string]string{
			"POSTGRES_PASSWORD":    "pgtide",
			"POSTGRES_INITDB_ARGS": "--locale=C --encoding=UTF8", // as a cluster of our own has it
		}),
		testcontainers.WithExposedPorts("5432/tcp"),
		testcontainers.WithCmd(append([]string{"postgres"}, settingFlags()...)...),
		testcontainers.WithWaitStrategy(wait.ForMappedPort("5432/tcp").WithStartupTimeout(containerTimeout)),
	)
	remove := func() {
		if err := testcontainers.TerminateContainer(container); err != nil {
			fmt.Fprintf(os.Stderr, "pgtest: remove container: %v\n", err)
		}
	}
	if err != nil {
		remove()
		if limited.Err() != nil {
			err = context.Cause(limited)
		}
		return nil, fmt.Errorf("image %s: %w", image, err)
	}
	endpoint, err := container.PortEndpoint(limited, "5432/tcp", "")
	if err != nil {
		remove()
		return nil, fmt.Errorf("find its port: %w", err)
	}
	url := "postgres://postgres:pgtide@" + endpoint + "/postgres?sslmode=disable"
	// The port is open before the server is, and the official image restarts its server once while it sets itself up.
	if err := cluster.WaitReady(limited, url); err != nil {
		remove()
		return nil, err
	}
	return &Server{URL: url, Description: "a container of " + image, stop: remove}, nil
}

// engineAnswers looks where the docker command looks: DOCKER_HOST, its current context, the usual sockets.
func engineAnswers(ctx context.Context) error {
	answered := make(chan error, 1)
	go func() {
		provider, err := testcontainers.NewDockerProvider()
		if err != nil {
			answered <- fmt.Errorf("no Docker engine found: %w", err)
			return
		}
		if err := provider.Health(ctx); err != nil {
			answered <- fmt.Errorf("no Docker engine answers: %w", err)
			return
		}
		answered <- nil
	}()
	select {
	case err := <-answered:
		return err
	case <-time.After(engineTimeout):
		return fmt.Errorf("the Docker engine did not answer within %s", engineTimeout)
	}
}

func settingFlags() []string {
	var flags []string
	for name, value := range cluster.Settings {
		flags = append(flags, "-c", name+"="+value)
	}
	return flags
}
