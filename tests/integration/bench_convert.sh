#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# ctest: timeout=120
#
# bench/convert converts from each engine to each other one beside two kinds of writer, its numbers
# agree with each other, it leaves nothing behind, and bad usage is refused.
set -u

convert="${TERN_BENCH_CONVERT:-${TERN_BUILD_DIR:-build/release}/bench/convert}"
if [ ! -x "$convert" ]; then
    echo "skipped: $convert is not built (make bench-build)"
    exit 77
fi
name=convert program=$convert
. "$(dirname "$0")/_bench.sh"

refuses "--records" --records 0
refuses "--records" --records many
refuses "--value-bytes" --value-bytes 7
refuses "--memory-bytes" --memory-bytes 1000
refuses "--rate" --rate 0
refuses "--seconds" --seconds nan
refuses "--json" --json=yes
refuses "frobnicate" --frobnicate
refuses "stray" stray
refuses_with 1 "absent" --dir "$work/absent"
"$convert" --help | grep -q -- --rate || fail "--help does not list the options"

mkdir "$work/here"
"$convert" --dir "$work/here" --records 3000 --rate 5000 --seconds 0.1 --json >"$work/json" ||
    fail "convert ended with $?"
[ -z "$(ls "$work/here")" ] || fail "left behind: $(ls "$work/here")"
python3 - "$work/json" <<'PYTHON' || failures=$((failures + 1))
import json, sys
rows = [json.loads(line) for line in open(sys.argv[1])]
wrong = []
pairs = {(row["from"], row["to"], row["writer_rate"] > 0) for row in rows}
if len(rows) != 12 or len(pairs) != 12 or any(a == b for a, b, _ in pairs):
    wrong.append(f"not each pair beside each writer: {sorted(pairs)}")
for row in rows:
    for prefix, names in (("", ("p50_us", "p95_us", "p99_us", "p999_us", "max_us")),
                          ("alone_", ("p50_us", "p999_us", "max_us"))):
        latencies = [row[prefix + name] for name in names]
        if latencies != sorted(latencies) or latencies[-1] <= 0:
            wrong.append(f"latencies out of order: {row}")
    if row["operations"] < row["records"] or not row["verified"]:
        wrong.append(f"not all converted: {row}")
    rate = row["operations"] / row["seconds"]
    if abs(row["ops_per_s"] - rate) > 0.01 * rate + 1:
        wrong.append(f"the rate is not records over seconds: {row}")
    if row["writer_rate"] and not 0.5 * 5000 < row["alone_ops_per_s"] < 1.2 * 5000:
        wrong.append(f"the steady writer was not steady: {row}")
for line in wrong[:20]:
    print("FAIL:", line, file=sys.stderr)
sys.exit(bool(wrong))
PYTHON

[ "$failures" -eq 0 ] || exit 1
echo "bench/convert: all well"
