#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# ctest: only=release
# What `make install` leaves behind is enough to build and run a program, by pkg-config and by
# find_package, against either library; and the libraries show nothing but tern_*.
set -euo pipefail
source_dir=${TERN_SOURCE_DIR:?}
build_dir=${TERN_BUILD_DIR:?}
cc=${CC:-cc}
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

fail() {
    echo "FAILED: $*" >&2
    exit 1
}

# runs_well PROGRAM: it stores a bird and gives it back.
runs_well() {
    local out
    out=$("$1" "$work/db.$RANDOM") || fail "$1 exits with $?"
    [ "$out" = "sterna paradisaea" ] || fail "$1 says '$out'"
}

exports_only_ours() {
    local foreign
    foreign=$(nm "$@" --defined-only --extern-only -P | grep -v '^$' | grep -v ':$' |
        grep -v '^tern_' || true)
    [ -z "$foreign" ] || fail "exported by ${*: -1}: $foreign"
    nm "$@" --defined-only --extern-only -P | grep -q '^tern_open ' || fail "no tern_open in ${*: -1}"
}

DESTDIR=$work/stage cmake --install "$build_dir" --prefix /opt/tern >/dev/null
# Moved, to show that nothing inside depends on where it was.
mv "$work/stage/opt/tern" "$work/tern"
prefix=$work/tern
library_dir=$(dirname "$(find "$prefix" -name libtern.a)")

(cd "$source_dir/include" && find tern -name '*.h') | while read -r header; do
    [ -f "$prefix/include/$header" ] || fail "not installed: $header"
done
[ -x "$prefix/bin/tern" ] || fail "no bin/tern"
[ -L "$library_dir/libtern.so" ] || fail "no libtern.so"

exports_only_ours --dynamic "$library_dir/libtern.so"
exports_only_ours "$library_dir/libtern.a"
readelf -d "$library_dir/libtern.so" | grep -q 'SONAME.*libtern\.so\.[0-9]' || fail "no soname"

export PKG_CONFIG_PATH=$library_dir/pkgconfig
consumer=$source_dir/tests/integration/install/consumer.c
# shellcheck disable=SC2046
"$cc" -std=c17 -Wall -Werror "$consumer" -o "$work/by_pkg_config" \
    $(pkg-config --cflags --libs tern) -Wl,-rpath,"$library_dir"
runs_well "$work/by_pkg_config"

# The same program is C++, too.
# shellcheck disable=SC2046
"${CXX:-c++}" -std=c++17 -Wall -Wextra -Werror -x c++ "$consumer" -x none -o "$work/as_cxx" \
    $(pkg-config --cflags --libs tern) -Wl,-rpath,"$library_dir"
runs_well "$work/as_cxx"

# shellcheck disable=SC2046
"$cc" -std=c17 -Wall -Werror "$consumer" -o "$work/by_pkg_config_static" \
    $(pkg-config --cflags tern) "$library_dir/libtern.a" \
    $(pkg-config --libs --static tern | sed 's/-ltern\b//')
! readelf -d "$work/by_pkg_config_static" | grep -q 'NEEDED.*libtern' || fail "linked the shared one"
runs_well "$work/by_pkg_config_static"

# With nothing shared at all, where what libtern needs has archives, too.
# shellcheck disable=SC2046
if echo 'int main(void) { return 0; }' | "$cc" -static -x c - -o "$work/static" \
    $(pkg-config --libs --static tern | sed 's/-ltern\b//') 2>/dev/null; then
    "$cc" -static "$consumer" -o "$work/all_static" $(pkg-config --static --cflags --libs tern) ||
        fail "static link"
    runs_well "$work/all_static"
fi

cmake -S "$source_dir/tests/integration/install" -B "$work/build" -G Ninja \
    -DCMAKE_PREFIX_PATH="$prefix" -DCMAKE_C_COMPILER="$cc" >"$work/cmake.log" 2>&1 ||
    { cat "$work/cmake.log"; fail "find_package"; }
cmake --build "$work/build" >"$work/cmake.log" 2>&1 || { cat "$work/cmake.log"; fail "build"; }
runs_well "$work/build/with_shared"
runs_well "$work/build/with_static"
"$prefix/bin/tern" --version >/dev/null || fail "bin/tern --version"
echo "installed tree builds and runs five programs"
