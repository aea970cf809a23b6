#!/usr/bin/env bash
# Runs clang-tidy (.clang-tidy) over our sources, with the flags they were compiled with.
#
#   scripts/tidy.sh [build folder] [processes]     default: build/release, one per core
#
# Tests and benchmarks are left out: GoogleTest's macros make most of the noise and of the time. So
# are the Highway sources of src/kernels/cpu, which include themselves once per instruction set:
# clang-tidy sees only the first pass, reads everything again for each target, and takes longer for
# one of them than for a whole folder of others.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

build=${1:-build/release}
jobs=${2:-$(nproc)}
if [[ ! -f $build/compile_commands.json ]]; then
  echo "tidy: $build has no compile_commands.json; configure first: cmake --preset release" >&2
  exit 2
fi
tidy=$(command -v run-clang-tidy || compgen -c run-clang-tidy- | sort -Vr | head -1 || true)
if [[ -z $tidy ]]; then
  echo "tidy: run-clang-tidy is not installed; run scripts/install-deps.sh --dev" >&2
  exit 2
fi

mapfile -t files < <(
  python3 - "$build/compile_commands.json" "$PWD" <<'PYTHON'
import json, pathlib, sys

commands, root = sys.argv[1], pathlib.Path(sys.argv[2])
for entry in sorted({e["file"] for e in json.load(open(commands))}):
    path = pathlib.Path(entry)
    if not path.is_relative_to(root) or path.is_relative_to(root / "build") or not path.exists():
        continue
    name = path.relative_to(root).as_posix()
    if name.endswith(("_test.cc", "_bench.cc")) or "/testing/" in name:
        continue
    # Clang 14 cannot read libtorch 1.13's headers as C++20.
    if name.startswith(("src/train/", "src/trainer/", "tests/trainer/")):
        continue
    if "foreach_target.h" in path.read_text(encoding="utf-8"):
        continue
    print("^" + str(path).replace("+", r"\+").replace(".", r"\.") + "$")
PYTHON
)
if ((${#files[@]} == 0)); then
  echo "tidy: no sources found in $build/compile_commands.json" >&2
  exit 2
fi
echo "tidy: ${#files[@]} files"

# Findings as they come; what run-clang-tidy says about itself is left out.
noise='^(clang-tidy|[^ ]*/clang-tidy) |warnings? (generated|treated)|^$'
# GCC's names of warnings are none of clang-tidy's business.
if ! "$tidy" -quiet -p "$build" -j "$jobs" -extra-arg=-Wno-unknown-warning-option "${files[@]}" 2>&1 |
  { grep --line-buffered -vE "$noise" || true; }; then
  echo "tidy: found problems, see above"
  exit 1
fi
echo "tidy: clean"
