#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# ctest: timeout=180
#
# What `make run` shows works without a terminal, and what it imported is there and sound.
set -euo pipefail

tern=${TERN_BINARY:?}
source_dir=${TERN_SOURCE_DIR:?}
for needed in /usr/share/unicode/UnicodeData.txt /usr/share/zoneinfo/tzdata.zi; do
    if [ ! -r "$needed" ]; then
        echo "skipped: $needed is missing (tools/setup run)"
        exit 77
    fi
done
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

TERN=$tern "$source_dir/tools/quickstart" "$work/demo" </dev/null >"$work/out" 2>&1 || {
    cat "$work/out" >&2
    exit 1
}

fail() {
    cat "$work/out" >&2
    echo "FAIL: $*" >&2
    exit 1
}

grep -q 'LATIN SMALL LETTER E WITH ACUTE' "$work/out" || fail "no character was shown"
grep -q '03BB' "$work/out" || fail "no name was found"
grep -q 'Pacific/Apia' "$work/out" || fail "no zones were listed"
[ "$("$tern" -d "$work/demo" get countries CH)" = Switzerland ] || fail "a country is missing"
[ "$("$tern" -d "$work/demo" get names 'CAT FACE')" = 1F431 ] || fail "a name is missing"
count=$("$tern" -d "$work/demo" count characters)
[ "$count" -eq "$(wc -l </usr/share/unicode/UnicodeData.txt)" ] || fail "$count characters"
"$tern" -d "$work/demo" verify >/dev/null || fail "verify"
echo "quickstart: ok"
