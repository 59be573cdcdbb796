# SPDX-License-Identifier: GPL-2.0-or-later
# The README's two commands are `make demo` and `make test`; each does all of its own set-up.

BUILD ?= build
PYTHON := /usr/bin/python3
export FREM_BUILD := $(abspath $(BUILD))
# what Meson says is of interest only where it fails
COMMA := ,
QUIET = out=$$($(1) 2>&1) || { printf '%s\n' "$$out" >&2; exit 1; }

all: build

setup:
	@scripts/setup $(BUILD)/criu $(SETUP)

$(BUILD)/build.ninja: | setup
	@$(call QUIET,meson setup $(BUILD) $(MESON_OPTIONS))

build: setup $(BUILD)/build.ninja
	@ninja -C $(BUILD) --quiet

# The unit tests once more under ASan and UBSan, and the fuzzers' corpora replayed there.
build-asan/build.ninja: | setup
	@$(call QUIET,meson setup build-asan -Db_sanitize=address$(COMMA)undefined -Db_lundef=false)

sanitize: setup build-asan/build.ninja
	@ninja -C build-asan --quiet

# A second compiler: gcc and clang both build without a warning.
build-clang/build.ninja: | setup
	@$(call QUIET,CC=clang meson setup build-clang -Dwerror=true -Dfuzz=true)

clang: setup build-clang/build.ninja
	@ninja -C build-clang --quiet

test: SETUP := deb
test: build sanitize clang
	@$(PYTHON) tests/run.py $(PYTEST_OPTIONS)

demo: build
	@$(PYTHON) bench/demo.py

# What tracking finds and what it costs, what restarts cost, and real programs against all that a user
# could run instead, in tables: some hours, or minutes with QUICK=1. RESUME=1 goes on with the real
# programs where a run was interrupted.
bench: SETUP := bench
bench: build
	@bench/tracking $(if $(QUICK),--quick)
	@bench/restart $(if $(QUICK),--quick)
	@bench/pager_kill $(if $(QUICK),--quick)
	@bench/evaluate $(if $(QUICK),--quick) $(if $(RESUME),--resume)
	@bench/run_kills $(if $(QUICK),--quick)

# A Debian package of this version, build/deb/frem_*.deb.
deb: SETUP := deb
deb: setup
	@$(call QUIET,scripts/deb $(BUILD)/deb)
	@ls $(BUILD)/deb/*.deb

# The sources that the host's compiler is given, by the very commands it is given: no BPF, nothing
# generated. Headers are looked at where they are included.
tidy: build
	@run-clang-tidy -quiet -p $(BUILD) '^$(CURDIR)/(src|bench|tests)/' >$(BUILD)/tidy.log 2>&1 && \
		grep -q '^clang-tidy' $(BUILD)/tidy.log || { \
		sed -E 's/\x1b\[[0-9;]*m//g' $(BUILD)/tidy.log | \
		grep -vE '^(clang-tidy|Suppressed|Use -header|[0-9]+ warning)' >&2; exit 1; }
	@echo 'clang-tidy: clean'

format:
	@git ls-files 'src/*.[ch]' 'tests/*.[ch]' 'bench/*.[ch]' | xargs clang-format -i

clean:
	rm -rf build build-asan build-clang

.PHONY: all setup build sanitize clang test demo bench deb tidy format clean
