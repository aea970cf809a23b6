#!/usr/bin/env bash
# Installs everything msa.cpp needs, from the distribution's packages: Debian 12 and later, Ubuntu
# 22.04 and later. Safe to run again: it asks dpkg first, and touches neither network nor system
# when nothing is missing.
#
#   scripts/install-deps.sh         to build, test and run
#   scripts/install-deps.sh --dev   also clang, clang-format and clang-tidy
#   scripts/install-deps.sh --train also what the trainer needs (libtorch)
#   scripts/install-deps.sh --index also what approximate routing needs (FAISS)
set -euo pipefail

usage() {
  sed -n '2,9s/^# \{0,1\}//p' "${BASH_SOURCE[0]}"
}

packages=(
  build-essential cmake ninja-build pkg-config ccache                   # build
  libdnnl-dev libhwy-dev                                                # kernels
  libsqlite3-dev libxxhash-dev libarchive-dev                           # memory bank
  libpcre2-dev libutf8proc-dev nlohmann-json3-dev libzstd-dev zlib1g-dev # text and files
  libfmt-dev libcli11-dev libedit-dev                                   # command line
  libgtest-dev libgmock-dev libbenchmark-dev                            # tests and benchmarks
  python3 zstd                                                          # scripts
)
# ocl-icd-opencl-dev: oneDNN's CMake config asks for OpenCL, which Debian's package only recommends.
packages+=(ocl-icd-opencl-dev)
# libomp-dev: clang-tidy reads sources that GCC compiles with -fopenmp and needs an omp.h of its own.
dev_packages=(clang clang-format clang-tidy libomp-dev)
# OpenBLAS: libtorch's float32 products; the reference BLAS it would otherwise find is 30 times slower.
train_packages=(libtorch-dev libopenblas0-openmp)
# FAISS's centres are found with BLAS products, for which the same holds.
index_packages=(libfaiss-dev libopenblas0-openmp)

for argument in "$@"; do
  case "$argument" in
    --dev) packages+=("${dev_packages[@]}") ;;
    --train) packages+=("${train_packages[@]}") ;;
    --index) packages+=("${index_packages[@]}") ;;
    -h | --help) usage; exit 0 ;;
    *)
      echo "install-deps: unknown option '$argument'; see scripts/install-deps.sh --help" >&2
      exit 2
      ;;
  esac
done

if ! command -v apt-get >/dev/null || ! command -v dpkg-query >/dev/null; then
  cat >&2 <<MESSAGE
install-deps: this system has no apt-get, so the libraries must be installed by hand:
  a C++20 compiler (GCC 12 or Clang 14, or later) with OpenMP, CMake 3.22 or later, Ninja, pkg-config,
  oneDNN, Highway, SQLite 3, xxHash, libarchive with zstd, PCRE2, utf8proc, nlohmann-json, zstd, zlib, fmt, CLI11, libedit,
  GoogleTest with GoogleMock, Google Benchmark, Python 3.
Their Debian names: ${packages[*]}
Then run 'make build', which installs nothing.
MESSAGE
  exit 1
fi

# shellcheck source=/dev/null
. /etc/os-release
case "${ID:-unknown} ${VERSION_ID:-0}" in
  "debian "*) oldest=12 ;;
  "ubuntu "*) oldest=22.04 ;;
  *) oldest=0 ;;
esac
if [[ $oldest == 0 ]]; then
  echo "install-deps: ${PRETTY_NAME:-this system} is untested; trying the package names of Debian 12" >&2
elif [[ -n ${VERSION_ID:-} ]] && dpkg --compare-versions "$VERSION_ID" lt "$oldest"; then
  echo "install-deps: ${PRETTY_NAME:-$ID} is too old (its packages are); use $ID $oldest or later" >&2
  exit 1
fi
# The default compiler of Ubuntu 22.04 is GCC 11; the Makefile picks g++-12 where it is installed.
if [[ ${ID:-} == ubuntu && ${VERSION_ID:-} == 22.04 ]]; then
  packages+=(g++-12)
fi

missing=()
for package in "${packages[@]}"; do
  status=$(dpkg-query -W -f='${db:Status-Status}' "$package" 2>/dev/null || true)
  [[ $status == installed ]] || missing+=("$package")
done
if ((${#missing[@]} == 0)); then
  echo "install-deps: all ${#packages[@]} packages are installed"
  exit 0
fi

as_root=()
if ((EUID != 0)); then
  if ! command -v sudo >/dev/null; then
    echo "install-deps: needs root to install packages and there is no sudo; as root, run:" >&2
    echo "  apt-get install -y ${missing[*]}" >&2
    exit 1
  fi
  as_root=(sudo)
fi
apt() {
  "${as_root[@]}" env DEBIAN_FRONTEND=noninteractive \
    apt-get -y -qq -o DPkg::Lock::Timeout=300 -o Acquire::Retries=3 "$@" </dev/null
}

echo "install-deps: installing ${#missing[@]} packages: ${missing[*]}"
apt update
apt install --no-install-recommends "${missing[@]}"
echo "install-deps: done"
