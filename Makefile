# Everything a newcomer needs is `make demo` and `make test`; `make help` lists the rest.

SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help

BIN   := $(CURDIR)/bin
TOOLS := $(CURDIR)/.tools/bin
GO    ?= go

GOLANGCI_LINT := github.com/golangci/golangci-lint/v2/cmd/golangci-lint@v2.15.0
VERSITYGW     := github.com/versity/versitygw/cmd/versitygw@v1.8.0
GRPCURL       := github.com/fullstorydev/grpcurl/cmd/grpcurl@v1.9.4

FUZZTIME ?= 10s
GOSRC    := $(shell find . -name '*.go' -not -path './.tools/*' -not -path './node_modules/*')

.PHONY: help
help: ## list the targets
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 16

.PHONY: demo
demo: build ## import the bundled packages into a new local database and query it
	@examples/packages/demo.sh bin/stele

.PHONY: packages
packages: build ## import this Debian machine's whole package index and hold every answer against a plain program
	@mkdir -p .demo
	examples/packages/all.sh .demo/packages.ndjson
	examples/packages/check.sh bin/stele .demo/packages.ndjson

.PHONY: build
build: $(BIN)/stele ## build the command line into bin/

$(BIN)/stele: $(GOSRC) go.mod go.sum
	@mkdir -p $(BIN)
	CGO_ENABLED=0 $(GO) build -trimpath -o $@ ./cmd/stele

.PHONY: test
test: tools vet lint unit race interop ## everything: vet, lint, unit, race, fuzz seeds, examples, golden, interop, real servers

.PHONY: vet
vet: ## go vet over all packages
	$(GO) vet ./...

.PHONY: lint
lint: $(TOOLS)/golangci-lint ## golangci-lint, go.mod tidy, formatting
	$(TOOLS)/golangci-lint run --allow-parallel-runners ./...
	$(GO) mod tidy -diff

.PHONY: unit
unit: $(TOOLS)/versitygw $(TOOLS)/grpcurl build ## all tests, examples and fuzz seeds, without the race detector and interop
	CGO_ENABLED=0 $(GO) test $$($(GO) list ./... | grep -v '/interop$$')

.PHONY: race
race: $(TOOLS)/versitygw $(TOOLS)/grpcurl ## tests of the packages that run goroutines, with the race detector
	$(GO) test -race -short ./kv/... ./record/... ./server/... ./slate/... .

.PHONY: interop
interop: interop/node_modules/.package-lock.json ## the real SlateDB against ours, both ways
	cd interop && $(GO) test -count=1 -timeout=10m

# The package's native library comes ready made inside: no install script is run.
interop/node_modules/.package-lock.json: interop/package-lock.json
	@if command -v npm >/dev/null; then cd interop && npm ci --ignore-scripts --no-audit --no-fund --loglevel=error; \
	elif [ -n "$${CI:-}" ]; then echo "interop: npm is missing" >&2; exit 1; \
	else echo "interop: npm is missing, the interop tests will be skipped"; fi

.PHONY: interop-latest
interop-latest: ## the same against the newest SlateDB, built from crates.io: needs Rust and Python
	interop/latest.sh
	cd interop && STELE_INTEROP=latest $(GO) test -count=1 -timeout=20m

.PHONY: fuzz
fuzz: ## run every fuzz target for FUZZTIME (default 10s)
	@for pkg in $$($(GO) list ./...); do \
	  dir=$$($(GO) list -f '{{.Dir}}' $$pkg); \
	  for f in $$(grep -hoE '^func Fuzz[A-Za-z0-9_]+' $$dir/*_test.go 2>/dev/null | sed 's/^func //' | sort -u); do \
	    echo "$$pkg $$f"; $(GO) test -run '^$$' -fuzz "^$$f\$$" -fuzztime $(FUZZTIME) $$pkg; \
	  done; \
	done

.PHONY: damage
damage: ## flip every byte of a small database, cut and exchange its objects; prints what stays undetectable
	STELE_DAMAGE=all $(GO) test ./slate -count=1 -run 'Flipped|Mangled' -v

# The fuzzer runs one worker, so that time is nearly processor time; what it took is printed.
DECODERTIME ?= 10m
.PHONY: fuzz-decoders
fuzz-decoders: ## fuzz what reads bytes from the bucket, each decoder for DECODERTIME (default 10m): block, SST, log, manifest, compactions
	@for f in format/FuzzBlock sst/FuzzSST sst/FuzzWAL format/FuzzManifest format/FuzzCompactions; do \
	  echo "$$f"; time $(GO) test -run '^$$' -fuzz "^$${f#*/}\$$" -fuzztime $(DECODERTIME) -fuzzminimizetime 10x -parallel 1 ./slate/internal/$${f%/*}; \
	done

HISTORIES ?= 2000
.PHONY: model
model: ## HISTORIES (default 2000) random histories of the engine against a sorted map, and a tenth of them under each of its settings
	$(GO) test ./slate -count=1 -timeout 30m -run 'TestEngineIsASortedMap|TestHastyHistories' -rapid.checks=$(HISTORIES) -v
	$(GO) test ./slate -count=1 -timeout 30m -run 'TestSettingsDoNotMatter' -rapid.checks=$$(( $(HISTORIES) / 10 )) -v

SEEDS ?= 1000
.PHONY: writers
writers: ## SEEDS (default 1000) races of two writers under faults and collections; STELE_SEED=n runs one
	$(GO) test ./slate -count=1 -timeout 30m -run TestTwoWritersUnderFaults -rapid.checks=$(SEEDS) -v

.PHONY: bench
bench: ## the benchmarks beside the code
	$(GO) test -run '^$$' -bench . -benchmem ./...

# bench/engine is a module of its own, so that the peers stay out of the library's; building it the first time takes minutes.
.PHONY: bench-engine
bench-engine: ## our engine beside Pebble, Badger and bbolt, some ten minutes; ARGS='-engines stele,pebble -rounds 1 -json' and more, see ARGS=-h
	@mkdir -p $(BIN)
	cd bench/engine && CGO_ENABLED=0 $(GO) build -o $(BIN)/bench-engine .
	@$(BIN)/bench-engine $(ARGS)

.PHONY: bench-smoke
bench-smoke: ## vet and tests of bench/engine: every engine, every workload, few rows
	cd bench/engine && CGO_ENABLED=0 $(GO) vet ./... && CGO_ENABLED=0 $(GO) test ./... && $(GO) mod tidy -diff

.PHONY: memory
memory: ## 10 million rows under a limit of resident memory; ARGS='-rows N' for fewer (writes some 15 GB to the temporary folder)
	@mkdir -p $(BIN)
	CGO_ENABLED=0 $(GO) build -o $(BIN)/ ./bench/memory ./bench/memory/empty
	@$(BIN)/memory -empty $(BIN)/empty $(ARGS)

.PHONY: generate
generate: ## regenerate what is generated
	$(GO) generate ./...

.PHONY: tools
tools: $(TOOLS)/golangci-lint $(TOOLS)/versitygw $(TOOLS)/grpcurl ## install the pinned test tools into .tools/

# A tool is installed again when its pinned version changes.
$(TOOLS)/golangci-lint: Makefile
	@$(call install,golangci-lint,$(GOLANGCI_LINT))
$(TOOLS)/versitygw: Makefile
	@$(call install,versitygw,$(VERSITYGW))
$(TOOLS)/grpcurl: Makefile
	@$(call install,grpcurl,$(GRPCURL))

define install
mkdir -p $(TOOLS); \
if [ "$$(cat $(TOOLS)/$(1).version 2>/dev/null)" != "$(2)" ] || [ ! -x $(TOOLS)/$(1) ]; then \
  echo "installing $(2)"; GOBIN=$(TOOLS) GOFLAGS= CGO_ENABLED=0 $(GO) install $(2); echo "$(2)" > $(TOOLS)/$(1).version; \
fi; touch $(TOOLS)/$(1)
endef

.PHONY: clean
clean: ## remove what was built, tools included
	rm -rf $(BIN) .tools .demo interop/node_modules interop/.venv
