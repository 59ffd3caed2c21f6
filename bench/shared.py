# SPDX-License-Identifier: Apache-2.0
"""What the scripts beside this file share: describing the machine, calling bench/compare, raw results.

Raw results are files of one JSON object a line: what bench/compare printed, and objects with the
single member "meta" that describe the run. The last of those counts, so that a run which was broken
off can be shown too.
"""

import datetime
import json
import os
import pathlib
import platform
import subprocess
import sys

HERE = pathlib.Path(__file__).resolve().parent
ROOT = HERE.parent
RESULTS = HERE / "results"


def command_output(*words):
    try:
        done = subprocess.run(words, capture_output=True, text=True, check=False)
        return done.stdout.strip()
    except OSError:
        return ""


def read_file(path):
    try:
        return pathlib.Path(path).read_text(encoding="utf-8").strip()
    except OSError:
        return ""


def first_value(path, name):
    """What follows the colon in the first line of a /proc file that begins with `name`."""
    for line in read_file(path).splitlines():
        if line.startswith(name):
            return line.split(":", 1)[1].strip()
    return ""


def describe_machine(directory):
    """`directory` is where the stores live."""
    memory_kib = int(first_value("/proc/meminfo", "MemTotal").split()[0])
    file_system = command_output("stat", "-f", "-c", "%T", str(directory))
    commit = command_output("git", "-C", str(ROOT), "rev-parse", "--short=12", "HEAD")
    dirty = command_output("git", "-C", str(ROOT), "status", "--porcelain", "--", "src", "include")
    return {
        "date": datetime.datetime.now(datetime.timezone.utc).strftime("%Y-%m-%d %H:%M UTC"),
        "processor": first_value("/proc/cpuinfo", "model name") or platform.machine(),
        "processors": os.cpu_count(),
        "memory_gib": round(memory_kib / 1024 / 1024, 1),
        "kernel": platform.release(),
        "file_system": file_system,
        "huge_pages": read_file("/sys/kernel/mm/transparent_hugepage/enabled"),
        "compiler": command_output("gcc", "-dumpfullversion"),
        "commit": commit + (" with changes" if dirty else ""),
    }


def find_compare():
    """The program, or a message and the end."""
    compare = pathlib.Path(os.environ.get("TERN_BENCH_COMPARE",
                                          ROOT / "build/release/bench/compare"))
    if not compare.exists():
        sys.exit(f"{compare} is not built: run `make bench-build` first")
    return compare


def find_convert(compare):
    """bench/convert, which is built beside bench/compare; or a message and the end."""
    convert = pathlib.Path(os.environ.get("TERN_BENCH_CONVERT", compare.with_name("convert")))
    if not convert.exists():
        sys.exit(f"{convert} is not built: run `make bench-build` first")
    return convert


def list_systems(compare):
    systems = []
    for line in command_output(str(compare), "--list").splitlines()[1:]:
        if line.startswith("workloads"):
            break
        if "not built in" in line:
            print(f"left out: {line.strip()}", file=sys.stderr)
        else:
            systems.append(line.split()[0])
    return systems


def new_results(name):
    """The path of a new file of raw results."""
    stamp = datetime.datetime.now(datetime.timezone.utc).strftime("%Y%m%d-%H%M%S")
    RESULTS.mkdir(exist_ok=True)
    return RESULTS / f"{stamp}-{name}.jsonl"


def load_results(path):
    """(the last meta object, the other rows in their order)"""
    meta, rows = {}, []
    with open(path, encoding="utf-8") as file:
        for line in file:
            entry = json.loads(line)
            if "meta" in entry:
                meta = entry["meta"]
            else:
                rows.append(entry)
    return meta, rows


def publish_results(raw, name):
    """Keeps the results that a page in docs/ was made from, with the last meta object alone."""
    published = RESULTS / name
    if pathlib.Path(raw).resolve() != published:
        meta, rows = load_results(raw)
        lines = [json.dumps(entry) + "\n" for entry in rows + [{"meta": meta}]]
        published.write_text("".join(lines), encoding="utf-8")


def short(number):
    for limit, unit in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if number >= limit:
            scaled = number / limit
            return f"{scaled:.2f} {unit}" if scaled < 10 else f"{scaled:.1f} {unit}"
    return f"{number:.0f}"


def ordered(names, order):
    known = [name for name in order if name in names]
    return known + sorted(set(names) - set(known))
