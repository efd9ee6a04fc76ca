package pgtest

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/testcontainers/testcontainers-go"
	"github.com/testcontainers/testcontainers-go/wait"
)

// An engine that does not answer within this time is taken as absent.
const engineTimeout = 3 * time.Second

// Pulling an image and starting it must not hold up who has server binaries at hand.
const containerTimeout = 2 * time.Minute

func startContainer(ctx context.Context) (*Server, error) {
	if err := engineAnswers(ctx); err != nil {
		return nil, err
	}
	image := os.Getenv(EnvImage)
	if image == "" {
		image = DefaultImage
	}
	ctx, cancel := context.WithTimeout(ctx, containerTimeout)
	defer cancel()
	container, err := testcontainers.Run(ctx, image,
		testcontainers.WithEnv(map[string]string{"POSTGRES_PASSWORD": "pgtide"}),
		testcontainers.WithExposedPorts("5432/tcp"),
		testcontainers.WithCmd(append([]string{"postgres"}, settingFlags()...)...),
		testcontainers.WithWaitStrategy(wait.ForMappedPort("5432/tcp").WithStartupTimeout(time.Minute)),
	)
	remove := func() {
		if err := testcontainers.TerminateContainer(container); err != nil {
			fmt.Fprintf(os.Stderr, "pgtest: remove container: %v\n", err)
		}
	}
	if err != nil {
		remove()
		return nil, fmt.Errorf("image %s: %w", image, err)
	}
	endpoint, err := container.PortEndpoint(ctx, "5432/tcp", "")
	if err != nil {
		remove()
		return nil, fmt.Errorf("find its port: %w", err)
	}
	url := "postgres://postgres:pgtide@" + endpoint + "/postgres?sslmode=disable"
	// The port is open before the server is, and the official image restarts its server once while it sets itself up.
	if err := waitReady(ctx, url); err != nil {
		remove()
		return nil, err
	}
	return &Server{URL: url, Description: "a container of " + image, stop: remove}, nil
}

func engineAnswers(ctx context.Context) error {
	if os.Getenv("DOCKER_HOST") == "" && !socketExists() {
		return errors.New("no Docker engine runs here")
	}
	answered := make(chan error, 1)
	go func() {
		provider, err := testcontainers.NewDockerProvider()
		if err == nil {
			err = provider.Health(ctx)
		}
		answered <- err
	}()
	select {
	case err := <-answered:
		if err != nil {
			return fmt.Errorf("the Docker engine does not work: %w", err)
		}
		return nil
	case <-time.After(engineTimeout):
		return fmt.Errorf("the Docker engine did not answer within %s", engineTimeout)
	}
}

func socketExists() bool {
	for _, path := range []string{"/var/run/docker.sock", filepath.Join(os.Getenv("XDG_RUNTIME_DIR"), "docker.sock")} {
		if _, err := os.Stat(path); err == nil {
			return true
		}
	}
	return false
}
