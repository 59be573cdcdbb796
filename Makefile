# SPDX-License-Identifier: GPL-2.0-or-later
# The README's two commands are `make demo` and `make test`; each does all of its own set-up.

BUILD ?= build
PYTHON := /usr/bin/python3
export FREM_BUILD := $(abspath $(BUILD))

all: build

setup:
	@scripts/setup $(BUILD)/criu

$(BUILD)/build.ninja: | setup
	@meson setup $(BUILD) $(MESON_OPTIONS) >/dev/null

build: setup $(BUILD)/build.ninja
	@ninja -C $(BUILD) --quiet

# The unit tests once more under ASan and UBSan, and the fuzzers' corpora replayed there.
build-asan/build.ninja: | setup
	@meson setup build-asan -Db_sanitize=address,undefined -Db_lundef=false >/dev/null

sanitize: setup build-asan/build.ninja
	@ninja -C build-asan --quiet

# A second compiler: gcc and clang both build without a warning.
build-clang/build.ninja: | setup
	@CC=clang meson setup build-clang -Dwerror=true -Dfuzz=true >/dev/null

clang: setup build-clang/build.ninja
	@ninja -C build-clang --quiet

test: build sanitize clang
	@$(PYTHON) -m pytest -p no:cacheprovider tests $(PYTEST_OPTIONS)

demo: build
	@$(PYTHON) bench/demo.py

tidy: build
	@ninja -C $(BUILD) --quiet clang-tidy

format:
	@git ls-files 'src/*.[ch]' 'tests/*.[ch]' 'bench/*.[ch]' | xargs clang-format -i

clean:
	rm -rf build build-asan build-clang

.PHONY: all setup build sanitize clang test demo tidy format clean
