# A short way to the usual commands; CMake does the work (CMakePresets.json). `make help` lists them.
#
#   JOBS=4                        compile with so many processes (default: one per core)
#   CMAKE_ARGS=-DMSA_WERROR=ON    handed to CMake when configuring

JOBS ?= $(shell nproc)
TEST_JOBS ?= 2
CMAKE_ARGS ?=
PRESET ?= release

# GCC 12 is the oldest that is supported. Where the default is older and g++-12 is there, take that.
ifeq ($(origin CXX),default)
  ifeq ($(shell major=$$(g++ -dumpversion 2>/dev/null | cut -d. -f1); \
          test "$${major:-0}" -lt 12 && command -v g++-12 >/dev/null && echo old),old)
    export CXX := g++-12
  endif
endif

CXX_FILES = $(shell git ls-files -co --exclude-standard '*.cc' '*.h')

.DEFAULT_GOAL := help
.PHONY: help deps build test demo asan tsan format format-check tidy clean

help:  ## this list
	@sed -n 's/^\([a-z-]*\):.*##/\1\t/p' $(firstword $(MAKEFILE_LIST)) | expand -t 16

deps:  ## install the packages needed (Debian, Ubuntu)
	scripts/install-deps.sh

build:  ## configure and compile: build/release/bin/msa
	cmake --preset $(PRESET) $(CMAKE_ARGS)
	cmake --build --preset $(PRESET) -j $(JOBS)

test: deps build  ## install, compile, run every test
	ctest --preset $(PRESET) -j $(TEST_JOBS)

demo: deps build  ## install, compile, encode a real corpus and ask it questions
	scripts/demo.sh

asan:  ## compile with address and undefined-behaviour sanitizers, run the unit tests
	$(MAKE) build PRESET=asan
	ctest --preset asan -j $(TEST_JOBS)

tsan:  ## compile with the thread sanitizer, run the unit tests
	$(MAKE) build PRESET=tsan
	ctest --preset tsan -j $(TEST_JOBS)

format:  ## format every C++ file in place
	@clang-format -i $(CXX_FILES)

format-check:  ## fail if a C++ file is not formatted
	@clang-format --dry-run -Werror $(CXX_FILES) && echo "formatted: $(words $(CXX_FILES)) files"

tidy: build  ## run clang-tidy over the sources
	scripts/tidy.sh build/$(PRESET) $(JOBS)

clean:  ## remove build/
	rm -rf build
