# The one door: what a person does here, and CI too, is a target below.
# "make help" lists them.

SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DELETE_ON_ERROR:
.DEFAULT_GOAL := help

MODULE  := github.com/sentinel-secure-x/sentinel-secure-x
VERSION := $(patsubst v%,%,$(shell git describe --tags --match 'v[0-9]*' --dirty 2>/dev/null || echo 0.0.0-dev))

# The commit's time, so that two builds of it are the same bytes.
BUILD_TIME := $(shell TZ=UTC git log -1 --format=%cd --date=format-local:%Y-%m-%dT%H:%M:%SZ 2>/dev/null)

# Reproducible: no paths, no build stamp but the version and the commit's time.
BUILD   := CGO_ENABLED=0 go build -trimpath -buildvcs=false \
           -ldflags "-s -w -X $(MODULE)/shared/version.Version=$(VERSION) -X $(MODULE)/shared/version.BuildTime=$(BUILD_TIME)"
WITH_DB := test/postgres/with

# The race detector watches our code and every library, but not SQLite's C in Go's
# clothes, which takes no part in Go's concurrency: watching it was half of the tests.
RACE := -race -gcflags='modernc.org/sqlite/lib=-race=false' -gcflags='modernc.org/libc/...=-race=false'

GOLANGCI_LINT_VERSION := v2.15.0
GOLANGCI_LINT         := bin/tools/golangci-lint-$(GOLANGCI_LINT_VERSION)

# What may be set on the command line.
FUZZTIME     ?= 5s
FUZZSHARE    ?= 1
HEAVY_ROUNDS ?=
ONLY         ?=
VECTORS      ?=
SEEDS        ?= 2000
FROM         ?= 1
SEED         ?=
TRACE        ?=
BENCH        ?=
ROUNDS       ?= 5
DEVICES      ?= 10000
BENCH_FLAGS  ?=
MUTANT_FLAGS ?=
# SIGKILLs, and what else is told to test/torture.
TORTURE_KILLS ?= 1000
TORTURE_FLAGS ?=
export HEAVY_ROUNDS

.PHONY: help
help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  %-18s %s\n", $$1, $$2 }' $(firstword $(MAKEFILE_LIST))

.PHONY: build
build: ## build bin/sentinel-server and bin/sentinel-agent
	$(BUILD) -o bin/sentinel-server ./server
	$(BUILD) -o bin/sentinel-agent ./agent

.PHONY: pkcs11
pkcs11: ## build bin/sentinel-pkcs11, the signer for hardware security modules; needs a C compiler
	$(patsubst CGO_ENABLED=0,CGO_ENABLED=1,$(BUILD)) -o bin/sentinel-pkcs11 ./pkcs11

.PHONY: fleetsim
fleetsim: ## build bin/fleetsim, which simulates a fleet of devices; bin/fleetsim --help
	$(BUILD) -o bin/fleetsim ./agent/fleetsim

.PHONY: run
run: build ## build, then show the whole loop on this machine and stay up
	bin/sentinel-server demo

.PHONY: test
test: ## run all tests on SQLite and PostgreSQL with the race detector; installs what they need
	test/postgres/ensure postgresql pooler compiler swtpm judges
	timeout --foreground --kill-after=30s 12m $(WITH_DB) env CGO_ENABLED=1 go test $(RACE) -timeout 10m ./...

.PHONY: test-short
test-short: ## run the tests without the race detector, and the slow ones in short form
	test/postgres/ensure postgresql pooler swtpm judges
	$(WITH_DB) go test -short ./...

# The heavy suites' own tests: those beside them in a package are make test's.
HEAVY_TESTS = $(shell grep -rhoE '^func Test[A-Za-z0-9_]+' test/heavy server/internal/*/*_heavy_test.go | sed 's/^func /^/; s/$$/$$/' | paste -sd'|')

.PHONY: test-heavy
test-heavy: ## run the heavy suites; HEAVY_ROUNDS=N says how long
	test/postgres/ensure postgresql
	$(WITH_DB) go test -count=1 -tags heavy -timeout $(if $(filter-out 1,$(HEAVY_ROUNDS)),60m,15m) -run '$(HEAVY_TESTS)' ./test/heavy/... ./server/internal/pki ./server/internal/flow ./server/internal/admin

.PHONY: test-boundary
test-boundary: ## put a real NGINX before the server and attack it, and let OpenSSL and NSS judge its certificates; installs them
	test/postgres/ensure judges nginx
	go test -count=1 -tags boundary -timeout 5m ./test/boundary/...

.PHONY: test-signers
test-signers: ## have the server sign with keys that lie in a SoftHSM; installs it
	test/postgres/ensure compiler softhsm judges
	go test -count=1 -tags signers -timeout 5m ./test/signers

.PHONY: test-browser
test-browser: ## drive the console in a real Chromium; pictures stay in dist/screenshots
	test/postgres/ensure chromium
	go test -count=1 -tags browser -timeout 5m ./test/browser

.PHONY: bench
bench: build fleetsim ## measure against the goals, each beside a bare reference; BENCH=1,4 ROUNDS=5 DEVICES=10000 BENCH_FLAGS=-short
	test/postgres/ensure postgresql
	$(WITH_DB) go run ./test/bench -lines='$(BENCH)' -rounds='$(ROUNDS)' -devices='$(DEVICES)' $(BENCH_FLAGS)

.PHONY: torture
torture: ## kill everything again and again under load; TORTURE_KILLS=60 is short, TORTURE_FLAGS chooses what
	test/postgres/ensure postgresql
	go test -count=1 -tags failpoints ./shared/failpoint
	HEAVY_ROUNDS=$(or $(HEAVY_ROUNDS),$(if $(filter 1000,$(TORTURE_KILLS)),10,1)) $(WITH_DB) go test -count=1 -tags heavy -timeout $(if $(filter 1000,$(TORTURE_KILLS)),60m,15m) ./test/torture/...
	go run ./test/torture -kills $(TORTURE_KILLS) $(TORTURE_FLAGS)

.PHONY: simulate
simulate: ## run simulated fleets: SEEDS=10000 FROM=1 for many, SEED=123 TRACE=1 to replay one
	go test -count=1 -timeout 0 -v -run '^$(if $(SEED),TestOneSeed,TestSeeds)$$' ./test/simulation \
		$(if $(SEED),-seed=$(SEED) $(if $(TRACE),-tell),-seeds=$(SEEDS) -from=$(FROM))

.PHONY: year
year: ## live a year of a thousand devices in parts; YEAR_DIR=DIR keeps it, and going on takes the same
	HEAVY_ROUNDS=$(or $(HEAVY_ROUNDS),100) YEAR_DIR='$(abspath $(or $(YEAR_DIR),bin/year))' go test -count=1 -tags heavy -timeout 0 -v -run TestAYearOfShortCertificatesLosesNoDevice ./test/heavy

.PHONY: test-vectors
test-vectors: ## run published test vectors through our verifiers; VECTORS=DIR says where they are
	@test -n "$(VECTORS)" || { echo 'say where the vectors are: make test-vectors VECTORS=DIR' >&2; exit 2; }
	@test -d "$(VECTORS)" || { echo 'there is no folder $(VECTORS)' >&2; exit 2; }
	VECTORS="$(abspath $(VECTORS))" go test ./test/vectors -count=1 -v

.PHONY: fuzz
fuzz: ## fuzz each parser for a short while; FUZZTIME=5s says how long
	.ci/fuzz $(FUZZTIME) $(FUZZSHARE)

.PHONY: mutants
mutants: ## take each defence away and see a test fail; ONLY=REGEXP chooses patches
	test/postgres/ensure postgresql pooler swtpm judges
	$(WITH_DB) go run ./test/mutants -only='$(ONLY)' $(MUTANT_FLAGS)

.PHONY: vet
vet: ## run go vet, for Linux and for Windows
	go vet ./...
	go vet -tags heavy ./test/... ./server/internal/pki ./server/internal/flow ./server/internal/admin
	go vet -tags browser ./test/browser
	go vet -tags failpoints ./shared/failpoint
	go vet -tags boundary ./test/boundary/...
	go vet -tags signers ./test/signers
	GOOS=windows go vet ./agent/... ./server/... ./shared/...

.PHONY: lint
lint: $(GOLANGCI_LINT) ## run golangci-lint; the first time builds it, which takes minutes
	$(GOLANGCI_LINT) run ./...

$(GOLANGCI_LINT):
	GOBIN="$(abspath bin/tools)" GOFLAGS= go install github.com/golangci/golangci-lint/v2/cmd/golangci-lint@$(GOLANGCI_LINT_VERSION)
	mv bin/tools/golangci-lint $@

# The generated files, printed by the code itself into the folder that is named.
GENERATED := .env.example docs/openapi.json docs/production-profile.md
define print-generated
@mkdir -p "$(1)/docs"
go run ./server config example >"$(1)/.env.example"
go run ./server openapi >"$(1)/docs/openapi.json"
go run ./server preflight --explain >"$(1)/docs/production-profile.md"
endef

.PHONY: generate
generate: ## write the generated files again: .env.example, docs/openapi.json and docs/production-profile.md
	$(call print-generated,bin/generated)
	@mkdir -p docs
	@for file in $(GENERATED); do cp "bin/generated/$$file" "$$file"; done

.PHONY: check-generated
check-generated: ## see that the generated files are what the code says
	$(call print-generated,bin/generated)
	@for file in $(GENERATED); do diff -u "$$file" "bin/generated/$$file" || stale=1; done; \
	[ -z "$${stale:-}" ] || { echo 'generated files are not current: run "make generate" and commit what changes' >&2; exit 1; }

# What goreleaser does not find here it leaves out, and says so.
PACKAGE_SKIPS = publish,sign$(if $(shell command -v syft),,$(comma)sbom)
comma := ,

.PHONY: packages
packages: ## build archives, deb and rpm into dist/; needs goreleaser v2.15 on the PATH, and syft for the bills of materials
	@command -v goreleaser >/dev/null || { \
		echo 'goreleaser is not on the PATH; install it with' >&2; \
		echo '  go install github.com/goreleaser/goreleaser/v2@v2.15.0' >&2; exit 1; }
	@command -v syft >/dev/null || echo 'NOTE: syft is not on the PATH: no software bills of materials'
	goreleaser release --snapshot --clean --skip=$(PACKAGE_SKIPS)

.PHONY: ci
ci: ## run everything that CI runs
	.ci/run

.PHONY: clean
clean: ## remove what was built (bin/tools stays)
	rm -rf dist bin/generated bin/sentinel-server bin/sentinel-agent bin/sentinel-pkcs11 bin/fleetsim coverage.*
