# SPDX-License-Identifier: Apache-2.0
# A thin front for CMake and tools/: `make help` lists what there is.

PREFIX ?= /usr/local
DESTDIR ?=
JOBS ?= $(shell nproc 2>/dev/null || echo 2)
FUZZ_SECONDS ?= 60
SOAK_SECONDS ?= 1200

RELEASE = build/release
configure = cmake --preset $(1) $(2) >build/configure-$(1).log 2>&1 || \
	{ cat build/configure-$(1).log; exit 1; }

.DEFAULT_GOAL := all
.PHONY: all help setup run test test-long bench-build bench lab install uninstall tidy format \
	docs fuzz coverage mutants instructions soak aarch64 clean

all: ## Build build/release/tern, libtern.so and libtern.a
	@tools/setup build
	@mkdir -p build
	@$(call configure,release,-DCMAKE_INSTALL_PREFIX=$(PREFIX))
	@ninja -C $(RELEASE) -j$(JOBS) tern libtern.so libtern.a

help: ## List the targets
	@sed -n 's/^\([a-z][a-z0-9-]*\):.*## \(.*\)/  make \1|\2/p' $(MAKEFILE_LIST) | \
		awk -F'|' '{ printf "%-20s %s\n", $$1, $$2 }'

setup: ## Install what building, running and testing need (Debian packages)
	@tools/setup build run test

run: ## Build, import real data, show queries and their cost, and leave you in the REPL
	@tools/setup build run
	@$(MAKE) --no-print-directory all
	@tools/quickstart

test: ## Run the tests in the release and asan builds (under 15 minutes on 2 cores)
	@tools/setup build run test
	@tools/test

test-long: ## Run everything: long tests, sanitizers, Valgrind, fuzzing, a soak, mutants
	@tools/setup build run test long
	@tools/test --long

bench-build: ## Build build/release/bench/: compare, convert, device, simd
	@tools/setup build bench
	@mkdir -p build
	@$(call configure,release,-DTERN_BENCH=ON)
	@ninja -C $(RELEASE) -j$(JOBS) tern libtern.so libtern.a bench/all

bench: bench-build ## Run the standard benchmarks, write docs/performance.md
	@bench/run $(if $(RECORDS),--records $(RECORDS))

lab: bench-build ## Run hash, B+tree and LSM over the same work, write docs/engines.html
	@bench/lab $(LAB)

install: all ## Install below PREFIX (/usr/local), staged into DESTDIR if set
	@ninja -C $(RELEASE) -j$(JOBS) tern_cli_docs
	@DESTDIR="$(DESTDIR)" cmake --install $(RELEASE) --prefix "$(PREFIX)"
	@if [ -z "$(DESTDIR)" ] && [ "$$(id -u)" -eq 0 ]; then ldconfig || true; fi

uninstall: ## Remove what `make install` of this build directory installed
	@test -f $(RELEASE)/install_manifest.txt || { echo "nothing installed from here"; exit 1; }
	@sed 's|^|$(DESTDIR)|' $(RELEASE)/install_manifest.txt | xargs -d '\n' rm -fv

tidy: ## Check layers, banned functions, sizes, headers, formatting
	@python3 tools/tidy

format: ## Format the C sources with clang-format
	@tools/setup format
	@tools/format

docs: ## Make the API reference in docs/html (doxygen)
	@tools/setup docs
	@doxygen docs/Doxyfile

fuzz: ## Fuzz every target for FUZZ_SECONDS (60) each
	@tools/setup build test long
	@tools/fuzz $(FUZZ_SECONDS)

soak: ## Mixed work for SOAK_SECONDS (1200); memory and disk must stay flat
	@tools/setup build test
	@mkdir -p build
	@$(call configure,release,)
	@ninja -C $(RELEASE) -j$(JOBS) test_integration_soak
	@SOAK_SECONDS=$(SOAK_SECONDS) $(RELEASE)/tests/integration/test_soak

coverage: ## Report the line and branch coverage of the tests
	@tools/setup build run test long
	@tools/coverage

instructions: ## Record anew the instruction counts of the hot paths that test-long compares with
	@tools/setup build test long
	@mkdir -p build
	@$(call configure,release,)
	@ninja -C $(RELEASE) -j$(JOBS) test_integration_instructions_long
	@TERN_RECORD=1 ctest --test-dir $(RELEASE) -R 'integration.instructions_long$$' --verbose | \
		sed -n 's/^[0-9]*: //p'

mutants: ## Plant known bugs one by one and show which test catches each
	@tools/setup build test
	@tools/mutants

aarch64: ## Cross build for 64-bit ARM; unit, contract and model tests under qemu, NEON and scalar
	@tools/setup build test aarch64
	@tools/test --aarch64

clean: ## Remove build/
	rm -rf build
