#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# ctest: timeout=300
#
# bench/lab: the page that it makes of recorded results shows those numbers and no others, needs
# nothing from anywhere, and its advice follows from them; bad usage is refused; and where
# bench/compare is built, a small run goes through.
set -u

source_dir="${TERN_SOURCE_DIR:-.}"
lab="$source_dir/bench/lab"
recorded="$source_dir/bench/tests/engines.jsonl"
compare="${TERN_BENCH_COMPARE:-${TERN_BUILD_DIR:-build/release}/bench/compare}"
name=lab program=$lab
. "$(dirname "$0")/_bench.sh"
export TMPDIR="$work" PYTHONDONTWRITEBYTECODE=1

refuses "--scale" --scale nought
refuses "--scale" --scale 0
refuses "--seconds" --seconds -1
refuses "--seconds" --seconds nan
refuses "'fame'" --only inside,fame
refuses "no such file" --render "$work/absent"
refuses "no such directory" --dir "$work/absent"
refuses "no such directory" --page "$work/absent/page.html"
refuses "--quick" --render "$recorded" --quick
refuses "--frobnicate" --frobnicate
refuses "stray" stray
: >"$work/empty"
refuses_with 1 "no results" --render "$work/empty"
echo 'not json' >"$work/garbage"
refuses_with 1 "garbage" --render "$work/garbage"
sed 's/"experiment": "[a-z]*", //' "$recorded" >"$work/others"
refuses_with 1 "not results of bench/lab" --render "$work/others"
TERN_BENCH_COMPARE="$work/absent" refuses_with 1 "is not built" --quick --raw "$work/raw"

# check <results> <page>: what the page says
check() {
    python3 - "$1" "$2" <<'PYTHON'
import html.parser, json, math, re, sys
text = open(sys.argv[2], encoding="utf-8").read()
rows, meta, wrong = {}, {}, []
for line in open(sys.argv[1], encoding="utf-8"):
    row = json.loads(line)
    if "meta" in row:
        meta = row["meta"]
    else:
        rows["|".join(str(row[m]) for m in ("experiment", "system", "workload",
                                            "value_bytes"))] = row
RATIOS = {"write_amplification": ("written_bytes", "logical_bytes"),
          "read_amplification": ("fetched_bytes", "read_bytes"),
          "fetched_per_operation": ("fetched_bytes", "operations"),
          "space_amplification": ("disk_bytes", "live_bytes")}
MADE = {"mib_per_s", "pause_percent", "silence_ms"}
VOID = {"meta", "br"}

class Page(html.parser.HTMLParser):
    def __init__(self):
        super().__init__()
        self.open, self.row, self.need, self.seen, self.cells = [], None, None, set(), 0
        self.ids, self.links, self.scores, self.svg = set(), set(), {}, 0
        self.labels = 0

    def handle_starttag(self, tag, pairs):
        given = dict(pairs)
        if tag not in VOID:
            self.open.append(tag)
        for name in ("src", "srcset", "data", "action", "xlink:href"):
            if name in given:
                wrong.append(f"<{tag} {name}=...> fetches something")
        if tag in ("script", "link", "iframe", "img", "object", "embed", "base"):
            wrong.append(f"<{tag}>")
        if "href" in given:
            self.links.add(given["href"])
        self.ids.add(given.get("id"))
        if tag == "svg" and given.get("role") == "img":
            self.svg += 1
            if not given.get("aria-label"):
                wrong.append("a plot without a name")
        if tag == "text" and given.get("class") == "axis":
            self.labels += 1
        if tag == "tr":
            self.row, self.need = given.get("data-row"), given.get("data-need")
        if "data-n" in given:
            self.cell(given["data-n"], float(given["data-v"]))
        if self.need and (tag == "td") and ("n" in given.get("class", "").split()):
            score = given.get("data-score")
            self.scores.setdefault(self.need, []).append(None if score is None else float(score))

    def handle_startendtag(self, tag, pairs):
        self.handle_starttag(tag, pairs)
        if tag not in VOID:
            self.open.pop()

    def handle_endtag(self, tag):
        if not self.open or self.open.pop() != tag:
            wrong.append(f"</{tag}> at {self.getpos()} closes nothing")

    def cell(self, name, value):
        row = rows.get(self.row)
        if row is None:
            wrong.append(f"no result for {self.row}")
            return
        self.cells += 1
        self.seen.add((self.row, name))
        if name in RATIOS:
            wanted = row[RATIOS[name][0]] / row[RATIOS[name][1]]
        elif name == "mib_per_s":
            wanted = row["ops_per_s"] * (16 + row["value_bytes"]) / 1048576
        elif name in MADE:
            return
        else:
            wanted = row[name]
        if not math.isclose(value, wanted, rel_tol=1e-12):
            wrong.append(f"{self.row} {name}: {value} on the page, {wanted} in the results")

page = Page()
page.feed(text)
if page.open:
    wrong.append(f"never closed: {page.open}")
for pattern in (r"https?:", r"\burl\(", r"@import", r"//[a-z]+\.", r"\bon[a-z]+="):
    if re.search(pattern, text):
        wrong.append(f"the page has {pattern}: {re.search(pattern + '.{0,40}', text).group(0)}")
for link in page.links:
    if not link.startswith("#") or link[1:] not in page.ids:
        wrong.append(f"a link leads to {link}")
missing = [key for key in rows if (key, "ops_per_s") not in page.seen]
wrong += [f"{key} is in no table" for key in missing]
if page.svg < (20 if len(rows) > 100 else 1) or page.labels < page.svg:
    wrong.append(f"{page.svg} plots, {page.labels} labels of axes")

def measured(experiment, system, workload):
    return rows.get(f"{experiment}|{system}|{workload}|100", {}).get("ops_per_s")

engines = ["tern-hash", "tern-btree", "tern-lsm"]
checked = 0
for need, experiment, workloads in (("Deleting", "inside", ["delete_random"]),
                                    ("Loading in random order", "inside",
                                     ["load_random", "load_batch"]),
                                    ("Ranges and ordered walks", "inside",
                                     ["scan_100", "scan_full"]),
                                    ("Lookups and mixed work on two threads", "threads",
                                     ["read_random", "read_zipf", "ycsb_a", "ycsb_b"])):
    found = [[measured(experiment, engine, w) for w in workloads] for engine in engines]
    if not any(all(numbers) for numbers in found):
        continue
    means = [math.prod(numbers) ** (1 / len(numbers)) if all(numbers) else None
             for numbers in found]
    best = max(mean for mean in means if mean)
    wanted = [mean and mean / best for mean in means]
    got = page.scores.get(need)
    checked += 1
    if got is None or len(got) != 3 or any((g is None) != (w is None) or (w and abs(g - w) > 1e-9)
                                           for g, w in zip(got, wanted)):
        wrong.append(f"{need}: scores {got}, not {wanted}")
if not checked and {"inside", "threads"} & {row["experiment"] for row in rows.values()}:
    wrong.append("no advice was checked")
if "Ranges and ordered walks" in page.scores and "not offered" not in text:
    wrong.append("nothing says that the hash engine has no ranges")
for part in ("prefers-color-scheme: dark", "width=device-width"):
    if part not in text:
        wrong.append(f"the page has no {part}")
for line in wrong[:20]:
    print(line, file=sys.stderr)
sys.exit(bool(wrong))
PYTHON
}

"$lab" --render "$recorded" --page "$work/page.html" 2>"$work/err" ||
    fail "--render: $(cat "$work/err")"
check "$recorded" "$work/page.html" || fail "the page of the recorded results"

# Who was best at deleting is made the worst: the advice changes.
python3 - "$recorded" "$work/turned" <<'PYTHON' || fail "cannot turn the results round"
import json, sys
rows = [json.loads(line) for line in open(sys.argv[1])]
mine = [row for row in rows if row.get("workload") == "delete_random"
        and row["experiment"] == "inside" and row["system"].startswith("tern")]
mine.sort(key=lambda row: row["ops_per_s"])
mine[-1]["ops_per_s"], mine[0]["ops_per_s"] = mine[0]["ops_per_s"] / 9, mine[-1]["ops_per_s"] * 9
open(sys.argv[2], "w").writelines(json.dumps(row) + "\n" for row in rows)
PYTHON
"$lab" --render "$work/turned" --page "$work/turned.html" 2>/dev/null || fail "--render, again"
check "$work/turned" "$work/turned.html" || fail "the page of changed results"
check "$recorded" "$work/turned.html" 2>/dev/null && fail "a page with other numbers was believed"
choice() {
    sed -n 's/.*data-need="Deleting".*class="choice">\([a-z-]*\)[< ].*/\1/p' "$1"
}
[ "$(choice "$work/page.html")" != "$(choice "$work/turned.html")" ] ||
    fail "the advice did not follow the numbers: $(choice "$work/page.html")"

# In place of compare: recorded rows, but one that does not keep within the limit on memory.
cat >"$work/compare" <<'PYTHON'
#!/usr/bin/env python3
import json, os, sys
words = sys.argv[1:]
if words == ["--list"]:
    print("systems:\n  tern-btree 1\n  tern-hash 1 (without order: no scan_100, no ycsb_e)\n"
          "  tern-lsm 1\n  map 1\nworkloads:")
    sys.exit()
options = dict(zip(words, words[1:]))
rows = [json.loads(line) for line in open(os.environ["RECORDED"])]
killed = False
for workload in options["--workloads"].split(","):
    found = [row for row in rows if row.get("workload") == workload
             and row["experiment"] == "beyond" and row["system"] == options["--systems"]]
    if options["--systems"] == "tern-hash" and workload == "ycsb_a" and "--memory-limit" in words:
        print("compare: tern-hash: ycsb_a: killed by signal 9 (Killed)", file=sys.stderr)
        killed = True
    elif found:
        found[0]["memory_limit_bytes"] = int(options.get("--memory-limit", 0))
        print(json.dumps(found[0]))
sys.exit(killed)
PYTHON
chmod +x "$work/compare"
RECORDED="$recorded" TERN_BENCH_COMPARE="$work/compare" "$lab" --only beyond --dir "$work" \
    --raw "$work/killed.jsonl" --page "$work/killed.html" 2>"$work/err"
[ $? -eq 1 ] || fail "a run with a failure: $(cat "$work/err")"
check "$work/killed.jsonl" "$work/killed.html" || fail "the page of a run with a failure"
grep -q 'tern-hash needed more memory than that in <code>ycsb_a</code>, was killed' \
    "$work/killed.html" || fail "the page does not say who needed more memory"

# Each conversion is in the table and in both plots.
python3 - "$recorded" "$work/page.html" <<'PYTHON' || fail "conversions on the page"
import json, re, sys
rows = [row for row in map(json.loads, open(sys.argv[1])) if row.get("experiment") == "convert"]
text = open(sys.argv[2], encoding="utf-8").read()
part = text[text.index('<section id="convert">'):]
part = part[:part.index("</section>")]
figures = re.findall(r"<svg [^>]*role=\"img\".*?</svg>", part, re.S)
wrong = []
if len(rows) != 12 or len({row["workload"] + row["system"] for row in rows}) != 12:
    wrong.append(f"{len(rows)} conversions recorded, not each pair beside two writers")
if part.count("<tr data-row=") != len(rows):
    wrong.append(f"{part.count('<tr data-row=')} rows of {len(rows)} conversions")
for name, figure in zip(("speed", "pauses"), figures):
    marks = figure.count('class="mark')
    if marks != 6:
        wrong.append(f"the plot of {name} has {marks} marks, not one for each pair")
if len(figures) != 2:
    wrong.append(f"{len(figures)} plots")
for line in wrong:
    print(line, file=sys.stderr)
sys.exit(bool(wrong))
PYTHON

if [ -x "$compare" ]; then
    TERN_BENCH_COMPARE="$(realpath "$compare")" timeout 200 "$lab" --scale 0.002 --seconds 0.02 \
        --only threads --raw "$work/run.jsonl" --page "$work/run.html" --dir "$work" \
        >"$work/out" 2>"$work/err" || fail "a small run: $(cat "$work/err")"
    check "$work/run.jsonl" "$work/run.html" || fail "the page of a small run"
    grep -q "left" "$work/err" || fail "no word on the time left"
    grep -q '"system": "map"' "$work/run.jsonl" || fail "the map did not run"
    TERN_BENCH_COMPARE="$(realpath "$compare")" timeout 200 "$lab" --scale 0.002 --seconds 0.02 \
        --only convert --raw "$work/converted.jsonl" --page "$work/converted.html" --dir "$work" \
        >"$work/out" 2>"$work/err" || fail "small conversions: $(cat "$work/err")"
    check "$work/converted.jsonl" "$work/converted.html" || fail "the page of small conversions"
else
    echo "a run was left out: $compare is not built (make bench-build)"
fi

[ "$failures" -eq 0 ] && echo "all good"
exit $((failures > 0))
