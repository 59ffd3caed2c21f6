#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# ctest: timeout=300
#
# bench/simd measures every variant of every kernel beside plain code, each agrees with it, the JSON
# has the shape that scripts rely on, and bad usage is refused.
set -u

simd="${TERN_BENCH_SIMD:-${TERN_BUILD_DIR:-build/release}/bench/simd}"
if [ ! -x "$simd" ]; then
    echo "skipped: $simd is not built (make bench-build)"
    exit 77
fi
name=simd program=$simd
. "$(dirname "$0")/_bench.sh"

refuses "--kernels" --kernels compare,minds
refuses "--kernels" --kernels ""
refuses "--kernels" --kernels compare,
refuses "--seconds" --seconds soon
refuses "--seconds" --seconds 0
refuses "--seconds" --seconds nan
refuses "--memory-bytes" --memory-bytes 64K
refuses "--memory-bytes" --memory-bytes -1
refuses "--memory-bytes" --memory-bytes 1T
refuses "--memory-bytes" --memory-bytes 99999999999999999999G
refuses "--json" --json=yes
refuses "frobnicate" --frobnicate
refuses "stray" stray

"$simd" --help | grep -q -- --memory-bytes || fail "--help does not list the options"
"$simd" --list | grep -q '^bloom_probe' || fail "--list does not list the kernels"

# check <environment>: every kernel of the list has rows that make sense
check() {
    env $1 "$simd" --json --seconds 0.001 --memory-bytes 2M >"$work/json" ||
        fail "$1 simd --json ended with $?"
    "$simd" --list >"$work/list"
    python3 - "$work/json" "$work/list" "$1" <<'PYTHON' || failures=$((failures + 1))
import json, sys
rows = [json.loads(line) for line in open(sys.argv[1])]
kernels = [line.split()[0] for line in open(sys.argv[2])]
wrong = []
groups = {}
for row in rows:
    groups.setdefault((row["kernel"], row["length"], row["in_memory"]), []).append(row)
    if not (row["ns"] > 0 and row["gb_per_s"] > 0 and row["factor"] > 0):
        wrong.append(f"not positive: {row}")
    if row["plain_vectorised"] == "":
        wrong.append(f"nothing said of the compiler's vectors: {row}")
    if row["in_memory"] and (row["memory_gb_per_s"] <= 0 or row["limit"] not in
                             ("bandwidth", "not bandwidth", "latency")):
        wrong.append(f"no limit: {row}")
for (kernel, length, _), group in groups.items():
    names = [row["variant"] for row in group]
    if names[0] != "plain" or group[0]["factor"] != 1:
        wrong.append(f"{kernel} {length}: begins with {group[0]}")
    if sum(row["is_chosen"] for row in group) != 1:
        wrong.append(f"{kernel} {length}: not one chosen: {names}")
    if "scalar" in sys.argv[3] and kernel != "tags" and names != ["plain", "scalar"]:
        wrong.append(f"{kernel} {length}: other than scalar: {names}")
if sorted({row["kernel"] for row in rows}) != sorted(kernels):
    wrong.append("kernels differ from --list")
if {row["kernel"] for row in rows if row["in_memory"]} < {"compare", "crc32c", "xxh3"}:
    wrong.append("no rows for what lies in memory")
for line in wrong[:20]:
    print("FAIL:", line, file=sys.stderr)
sys.exit(bool(wrong))
PYTHON
}

check TERN_SIMD=best
check TERN_SIMD=scalar

NO_COLOR=1 "$simd" --kernels tags,varint --seconds 0.001 --memory-bytes 1M >"$work/table" ||
    fail "the table ended with $?"
grep -q '^varint: .*vectorised by the compiler' "$work/table" || fail "no word on vectorisation"
grep -q '^tags .*inline' "$work/table" || fail "no row of tags"

[ "$failures" -eq 0 ] || exit 1
echo "bench/simd: all well"
