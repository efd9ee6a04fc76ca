# Everything a developer needs. `make help` lists it.
SHELL := /bin/bash
.DEFAULT_GOAL := help

GO      ?= go
PACKAGES ?= ./...
SQLC    := bin/sqlc
LINTER  := bin/golangci-lint

.PHONY: help
help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  %-10s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

.PHONY: demo
demo: server ## a fresh PostgreSQL, an example with existing rows, writers and readers; ends with the comparison
	@$(GO) build -o bin/demo ./examples/shop/demo
	@bin/demo

.PHONY: test
test: server bouncer ## every test, on a real PostgreSQL that is started for it
	@$(GO) run ./internal/pgtest/with $(GO) test -timeout 30m $(TESTFLAGS) $(PACKAGES)

.PHONY: test-race
test-race: server bouncer ## the same with the race detector
	@$(MAKE) test TESTFLAGS="-race $(TESTFLAGS)"

.PHONY: race
race: ## what strangers reach, with the race detector
	@$(MAKE) test-race PACKAGES="./internal/hostiletest ./runtime/..."

.PHONY: sim
sim: server ## simulate: SEEDS=6 fixed histories and fresh ones for FOR=2m; SEED=n or HISTORY=file replays one
	@$(GO) run ./internal/pgtest/with $(GO) test ./sim -count=1 -timeout 1h -run '$(or $(RUN),TestHistories)' -seed $(or $(SEED),0) -seeds $(or $(SEEDS),6) -for $(or $(FOR),2m) -history "$(abspath $(HISTORY))" $(ARGS)

.PHONY: soak
soak: server ## RULES=1000 random rule sets and histories of the workspace, then fresh histories until stopped, or until one fails
	@$(GO) run ./internal/pgtest/with $(GO) test ./internal/buckettest ./internal/workspacetest -count=1 -timeout 0 -run 'TestRandomRules|TestDevicesHold' -rapid.seed 0 -rapid.checks $(or $(RULES),1000)
	@$(MAKE) sim FOR=10000h ARGS="-timeout 0 $(ARGS)"

.PHONY: sim-mutations
sim-mutations: server ## break pgtide on purpose, piece by piece, and say which oracle sees it; ONLY=regexp for some
	@$(GO) run ./internal/pgtest/with $(GO) test -tags mutations ./sim -count=1 -timeout 4h -run TestMutations -only '$(ONLY)' $(ARGS)

.PHONY: conformance
conformance: server ## hold a client against client/conformance: CLIENT="command of its adapter" (default the Go client), ONLY=regexp
	@$(GO) run ./client/conformance/run -only '$(ONLY)' $(CLIENT)

.PHONY: bench
bench: ## measure it: CASE=1,2 for some cases, SIZE=small|default|large, SAVE=1 to make it the baseline
	@$(GO) run ./bench -case "$(CASE)" -size "$(or $(SIZE),default)" $(if $(SAVE),-save) $(ARGS)

.PHONY: generate
generate: $(SQLC) ## write what is made from sql/ and queries/
	@$(GO) run ./internal/sqlbundle
	@$(SQLC) generate

.PHONY: verify
verify: generate ## fail when generated files, formatting or go.mod are not as they should be
	@test -z "$$(git status --porcelain -- migrations db)" || { git status --short -- migrations db; echo "generated files were stale: commit what make generate wrote"; exit 1; }
	@test -z "$$(gofmt -l .)" || { gofmt -l .; echo "run gofmt -w on these"; exit 1; }
	@$(GO) mod tidy -diff

.PHONY: lint
lint: $(LINTER) ## go vet and golangci-lint
	@$(GO) vet ./...
	@$(LINTER) run ./...

.PHONY: cross
cross: ## build the client for other systems, without a C compiler
	@set -e; for target in windows/amd64 darwin/arm64; do echo "$$target"; \
		CGO_ENABLED=0 GOOS=$${target%/*} GOARCH=$${target#*/} $(GO) build ./client; done

.PHONY: build
build: ## bin/pgtide
	@$(GO) build -o bin/pgtide ./cmd/pgtide

# The tools are pinned in modules of their own, so that nobody who imports pgtide inherits them.
$(SQLC): internal/tools/go.mod internal/tools/go.sum
	@echo "building sqlc (some minutes, once)"
	@$(GO) -C internal/tools build -o $(CURDIR)/$@ github.com/sqlc-dev/sqlc/cmd/sqlc

$(LINTER): internal/tools/lint/go.mod internal/tools/lint/go.sum
	@echo "building golangci-lint (some minutes, once)"
	@$(GO) -C internal/tools/lint build -o $(CURDIR)/$@ github.com/golangci/golangci-lint/v2/cmd/golangci-lint

# A server to test with: named, in a container, or installed; on Debian and Ubuntu it is installed here.
.PHONY: server
server:
	@.ci/server

# One test puts it before a server.
.PHONY: bouncer
bouncer:
	@.ci/bouncer
