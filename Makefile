SHELL := bash
.SHELLFLAGS := -euo pipefail -c
MAKEFLAGS += --no-builtin-rules
.DEFAULT_GOAL := help

FUZZTIME  ?= 30s
BENCH     ?= .
BENCHTIME ?= 1s
COUNT     ?= 1

.PHONY: help
help: ## this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "make %-12s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

# SQLite is C turned into Go, whose pointers the race detector's companion checks at great cost and to no purpose. It must stay
# under the race detector itself: what generic code it shares with everybody else is compiled once for all.
RACE := -race -gcflags='modernc.org/...=-d=checkptr=0'

.PHONY: test
test: ## every test, under the race detector where that can find something
	go test $(RACE) -timeout 30m $$(go list ./... | grep -v /internal/scan$$)
	go test $(RACE) ./internal/scan # by itself: it takes all of the machine, and the store's tests measure patience
	go test -run 'TestFlaws' ./internal/checklist

.PHONY: check
check: lint ## formatting, vet, linters, and that go.mod and go.sum are what they should be
	@bad=$$(gofmt -l .); [ -z "$$bad" ] || { echo "gofmt -w would change:"; echo "$$bad"; exit 1; }
	go vet ./...
	go mod tidy -diff
	go mod verify

.PHONY: lint
lint: bin/tools ## staticcheck and golangci-lint, at the versions of tools/go.mod
	bin/tools/staticcheck ./...
	bin/tools/golangci-lint run ./...

# The linters are a module of their own, so that what they need is not what Selo needs.
bin/tools: tools/go.mod tools/go.sum
	go build -C tools -o $(CURDIR)/bin/tools/ tool
	@touch bin/tools

.PHONY: fuzz
fuzz: ## every fuzz target for FUZZTIME (30s)
	FUZZTIME=$(FUZZTIME) .ci/fuzz

.PHONY: bench
bench: ## benchmarks, with each ratio to the floor of the same run
	go test -run '^$$' -bench '$(BENCH)' -benchmem -benchtime $(BENCHTIME) -count $(COUNT) ./... | .ci/ratios

.PHONY: scan-corpus
scan-corpus: ## selo scan over 250 MB of real packages, which it fetches: no false proof may come of it
	.ci/corpus

.PHONY: build
build: ## bin/selo, static
	CGO_ENABLED=0 go build -trimpath -o bin/selo ./cmd/selo
