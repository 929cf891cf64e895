#!/usr/bin/env bash
# Fetches what the examples need beside Python: npm packages, a browser for their tests, and the
# headers of onnxruntime for C++. Each part that can't be had is named and skipped; the tests that
# need it then skip themselves. Run it from anywhere: bash examples/setup.sh [PYTHON]
set -uo pipefail
cd "$(dirname "$0")"
python=${1:-python3}

as_root() { if [ "$(id -u)" = 0 ]; then "$@"; else sudo -n "$@"; fi; }
missing() { echo "examples/setup.sh: $1" >&2; }

npm_packages() {
  command -v npm >/dev/null || return 1
  npm ci --no-audit --no-fund >/dev/null
}

browser() {
  command -v chromium >/dev/null && return
  as_root apt-get -qq update && as_root apt-get -qq install -y --no-install-recommends chromium >/dev/null
}

# The library lies in onnxruntime's Python package, without headers. Debian has those in its suite
# trixie; they are unpacked here, and nothing is installed. The C API is versioned: a program built
# with older headers runs with every newer library.
cpp_headers() {
  [ -f cpp/onnxruntime/include/onnxruntime_cxx_api.h ] && return
  local sources=/etc/apt/sources.list.d/debian.sources work
  [ -f "$sources" ] || return 1
  work=$(mktemp -d) || return 1
  mkdir -p "$work/parts" "$work/lists/partial" "$work/cache/archives/partial"
  # The first entry of the list, for another suite.
  sed '/^$/,$d; s/^Suites:.*/Suites: trixie/' "$sources" >"$work/parts/trixie.sources"
  local options=(-qq -o Dir::Etc::SourceList=/dev/null -o "Dir::Etc::SourceParts=$work/parts"
    -o "Dir::State::Lists=$work/lists" -o "Dir::Cache=$work/cache" -o Acquire::Languages=none)
  [ "$(id -u)" = 0 ] && options+=(-o APT::Sandbox::User=root)
  (cd "$work" && apt-get "${options[@]}" update && apt-get "${options[@]}" download libonnxruntime-dev \
    && dpkg -x libonnxruntime-dev_*.deb unpacked) \
    && mkdir -p cpp/onnxruntime && cp -r "$work/unpacked/usr/include/onnxruntime" cpp/onnxruntime/include
  local result=$?
  rm -rf "$work"
  return $result
}

cpp_library() {
  local library
  library=$("$python" -c 'import onnxruntime, pathlib
print(*pathlib.Path(onnxruntime.__file__).parent.glob("capi/libonnxruntime.so.*"))') || return 1
  [ -f "$library" ] || return 1
  mkdir -p cpp/onnxruntime/lib
  ln -sf "$library" cpp/onnxruntime/lib/libonnxruntime.so.1
  ln -sf libonnxruntime.so.1 cpp/onnxruntime/lib/libonnxruntime.so
}

npm_packages || missing "no npm packages: the page and the Node example will not be tested"
browser || missing "no Chromium: the page will not be tested"
cpp_headers || missing "no C++ headers of onnxruntime: the C++ example will not be tested"
cpp_library || missing "no onnxruntime in $python: make in examples/cpp has nothing to link to"
