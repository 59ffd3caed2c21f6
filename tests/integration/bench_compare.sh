#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# ctest: timeout=300
#
# bench/compare runs every workload on every system that is built in, over a small data set, and
# each reads back what it wrote; the JSON has the shape that scripts rely on; bad usage is refused.
set -u

compare="${TERN_BENCH_COMPARE:-${TERN_BUILD_DIR:-build/release}/bench/compare}"
if [ ! -x "$compare" ]; then
    echo "skipped: $compare is not built (make bench-build)"
    exit 77
fi
name=compare program=$compare
. "$(dirname "$0")/_bench.sh"
export TMPDIR="$work"

refuses "--records" --records nought
refuses "--records" --records 0
refuses "--threads" --threads 1.5
refuses "--systems" --systems oracle
refuses "--workloads" --workloads read_minds
refuses "--durability" --durability hope
refuses "--compression" --compression arj
refuses "--seconds" --seconds
refuses "--json" --json=yes
refuses "--frobnicate" --frobnicate
refuses "--key-bytes" --key-bytes 8 --key-format hex
refuses "--timeline" --timeline -1
refuses "--check" --check nothing
refuses "stray" stray

"$compare" --help | grep -q -- --value-bytes || fail "--help does not list the options"
"$compare" --list | grep -q txn_mixed || fail "--list does not list the workloads"

# check <expected threads> <workloads or all>: what $work/json says
check() {
    python3 - "$1" "$work/json" "$work/list" "$2" <<'PYTHON'
import json, sys
threads, path, listing, chosen = int(sys.argv[1]), sys.argv[2], sys.argv[3], sys.argv[4]
order = ["system", "workload", "threads", "records", "ops_per_s", "p50_us", "p95_us", "p99_us",
         "p999_us", "peak_rss_bytes", "disk_bytes", "written_bytes", "logical_bytes"]
systems, workloads, unordered, volatile, target = [], [], [], [], None
for line in open(listing):
    if not line.startswith("  "):
        target = systems if line.startswith("systems") else workloads
    elif "not built in" not in line:
        target.append(line.split()[0])
        if "without order" in line:
            unordered.append(line.split()[0])
        if "keeps nothing" in line:
            volatile.append(line.split()[0])
if chosen != "all":
    workloads = chosen.split(",")
seen, bad = set(), []
for line in open(path):
    row = json.loads(line)
    name = f"{row.get('system')} {row.get('workload')}"
    if list(row)[:len(order)] != order:
        bad.append(f"{name}: members are {list(row)[:len(order)]}")
        continue
    seen.add((row["system"], row["workload"]))
    if row["threads"] != threads or row["records"] != 2000:
        bad.append(f"{name}: threads {row['threads']}, records {row['records']}")
    if not row["ops_per_s"] > 0 or not row["peak_rss_bytes"] > 1 << 20:
        bad.append(f"{name}: ops_per_s {row['ops_per_s']}, peak_rss_bytes {row['peak_rss_bytes']}")
    if not 0 <= row["p50_us"] <= row["p95_us"] <= row["p99_us"] <= row["p999_us"]:
        bad.append(f"{name}: percentiles are not in order")
    if row["verified"] is not True or row["errors"] != 0:
        bad.append(f"{name}: not verified")
    keeps = row["system"] not in volatile
    if keeps and row["disk_bytes"] < 2000 * 100 and row["workload"] != "delete_random":
        bad.append(f"{name}: {row['disk_bytes']} bytes of disk cannot hold the records")
    loads = row["workload"].startswith("load_")
    if loads and (row["logical_bytes"] != 2000 * 116 or row["operations"] != 2000):
        bad.append(f"{name}: {row['logical_bytes']} logical bytes, {row['operations']} operations")
    if keeps and loads and row["written_bytes"] < row["logical_bytes"]:
        bad.append(f"{name}: only {row['written_bytes']} bytes written through the final sync")
    live = 1000 * 116 if row["workload"] == "delete_random" else 2000 * 116
    if row["live_bytes"] < live or loads and row["live_bytes"] != live:
        bad.append(f"{name}: {row['live_bytes']} bytes of records are said to be there")
    if not all(row[m] >= 0 for m in ("fetched_bytes", "fetched_process_bytes")):
        bad.append(f"{name}: a negative number of bytes was read")
    if row["system"].startswith("tern") and loads and row["engine_written_bytes"] < 2000 * 100:
        bad.append(f"{name}: the engine says it wrote {row['engine_written_bytes']} bytes")
    if len(row["timeline_calls"]) != len(row["timeline_max_us"]) or \
            sum(row["timeline_calls"]) != row["samples"] or \
            abs(max(row["timeline_max_us"]) - row["max_us"]) > 0.002:
        bad.append(f"{name}: the timeline is not that of {row['samples']} samples, longest "
                   f"{row['max_us']} us")
    wanted = "full" if row["workload"] == "write_durable" else "none" if keeps else "volatile"
    if row["durability"] != wanted:
        bad.append(f"{name}: durability {row['durability']}")
ordered = ["scan_100", "ycsb_e"]
wanted = {(s, w) for s in systems for w in workloads if (s not in unordered or w not in ordered)
          and (s not in volatile or w != "write_durable")}
missing = wanted - seen
bad += [f"{s} {w}: not asked for" for s, w in sorted(seen - wanted)]
bad += [f"{s} {w}: no line" for s, w in sorted(missing)]
print(*bad, sep="\n", end="\n" if bad else "")
sys.exit(1 if bad or not seen else 0)
PYTHON
}

"$compare" --list >"$work/list"
# run_and_check <threads> <workloads or all>
run_and_check() {
    "$compare" --records 2000 --seconds 0.02 --warmup 0.01 --threads "$1" --workloads "$2" \
        --batch 100 --multi 16 --memory-bytes 64M --timeline 20 --json >"$work/json" 2>"$work/err"
    local status=$?
    [ "$status" -eq 0 ] || fail "$2 with $1 threads: $status: $(cat "$work/err")"
    check "$1" "$2" || fail "the lines above, of $2 with $1 threads"
}
run_and_check 1 all
run_and_check 2 load_random,read_random,ycsb_d,delete_random,txn_mixed

# Other shapes of data, and what systems do about compression and intervals.
for arguments in "--value-bytes 8 --key-bytes 8 --filter-bits 0" \
    "--value-bytes 5000 --value-entropy 0.5 --compression lz4" \
    "--key-format hex --key-bytes 24 --durability interval" "--check samples"; do
    # shellcheck disable=SC2086
    "$compare" --records 500 --seconds 0.02 --warmup 0 --batch 50 --memory-bytes 64M \
        --workloads load_random,read_random,overwrite_random,txn_mixed $arguments \
        >/dev/null 2>"$work/err" || fail "$arguments: $(cat "$work/err")"
done

# Nothing is left behind, except where that is asked for.
rm -f "$work/json" "$work/list" "$work/out" "$work/err"
left=$(ls -A "$work")
[ -z "$left" ] || fail "left behind: $left"
first=$("$compare" --list | sed -n '/not built in\|keeps nothing/d; s/^  \([a-z-]*\) .*/\1/p' | head -n 1)
"$compare" --systems "$first" --workloads load_random --records 100 \
    --dir "$work/kept" --keep >/dev/null 2>&1 || fail "--keep"
[ -d "$work/kept/$first" ] || fail "--keep did not keep $work/kept/$first"
"$compare" --systems "$first" --workloads load_random --records 100 --batch 10 \
    --dir "$work/kept" >/dev/null 2>"$work/err" && fail "an existing store was overwritten"
grep -q "exists already" "$work/err" || fail "no word about the existing store"

[ "$failures" -eq 0 ] && echo "all good"
exit $((failures > 0))
