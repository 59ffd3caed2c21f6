#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# ctest: timeout=120
#
# bench/device measures both ways of a durable write, asleep and awake, its numbers agree with each
# other, it leaves no file behind, and bad usage is refused.
set -u

device="${TERN_BENCH_DEVICE:-${TERN_BUILD_DIR:-build/release}/bench/device}"
if [ ! -x "$device" ]; then
    echo "skipped: $device is not built (make bench-build)"
    exit 77
fi
name=device program=$device
. "$(dirname "$0")/_bench.sh"

refuses "--seconds" --seconds soon
refuses "--seconds" --seconds 0
refuses "--seconds" --seconds nan
refuses "--file-mib" --file-mib 0
refuses "--json" --json=yes
refuses "frobnicate" --frobnicate
refuses "stray" stray
refuses_with 1 "absent" --dir "$work/absent"
"$device" --help | grep -q -- --file-mib || fail "--help does not list the options"

mkdir "$work/here"
# A file system in memory has no direct writes: then there is nothing to measure.
if ! "$device" --dir "$work/here" --seconds 0.05 --file-mib 1 --json >"$work/json" 2>"$work/err"; then
    grep -q "direct writes" "$work/err" || fail "device ended badly: $(cat "$work/err")"
    [ -z "$(ls "$work/here")" ] || fail "a file is left after a failure"
    [ "$failures" -eq 0 ] || exit 1
    echo "skipped: $(cat "$work/err")"
    exit 77
fi
[ -z "$(ls "$work/here")" ] || fail "a file is left: $(ls "$work/here")"
python3 - "$work/json" <<'PYTHON' || failures=$((failures + 1))
import json, sys
rows = [json.loads(line) for line in open(sys.argv[1])]
wrong = []
if [(row["way"], row["is_awake"]) for row in rows] != [
        ("direct", False), ("direct", True), ("buffered", False), ("buffered", True)]:
    wrong.append(f"not the four measurements: {rows}")
for row in rows:
    latencies = [row[name] for name in ("p50_us", "p95_us", "p99_us", "p999_us", "max_us")]
    if latencies != sorted(latencies) or latencies[0] <= 0:
        wrong.append(f"percentiles out of order: {row}")
    if abs(row["ops_per_s"] - row["writes"] / row["seconds"]) > 0.01 * row["ops_per_s"] + 1:
        wrong.append(f"the rate is not writes over seconds: {row}")
    # Writes come one after the other, so their times make up the whole.
    if row["writes"] * row["p50_us"] * 1e-6 > 2.1 * row["seconds"]:
        wrong.append(f"more time in writes than there was: {row}")
    if (row["wakeful_threads"] > 0) != row["is_awake"] or row["system"] != "device":
        wrong.append(f"awake by nothing: {row}")
for line in wrong:
    print("FAIL:", line, file=sys.stderr)
sys.exit(bool(wrong))
PYTHON
"$device" --dir "$work/here" --seconds 0.02 --file-mib 1 | grep -q '^buffered *awake' ||
    fail "no table"

[ "$failures" -eq 0 ] || exit 1
echo "bench/device: all well"
