# SPDX-License-Identifier: Apache-2.0
"""The page: one file, nothing fetched from anywhere, light and dark, for phones too.

A cell of a table of results names the row it comes from (data-row) and the number it shows (data-n,
data-v: the member of the row, or what results.DERIVED calls it, and its value unrounded).
"""

import pathlib

from laboratory import advice, plan, plots
from laboratory.plots import escape
from laboratory.results import Results, number
from shared import short

STYLE = pathlib.Path(__file__).with_name("page.css")
MIB = 1 << 20


def grouped(value):
    return f"{value:,.0f}".replace(",", " ")


def in_mib(value):
    return f"{value / MIB:.0f}"


def decimal(value):
    return f"{value:.2f}" if value < 100 else grouped(value)


# Columns of tables: what it is called, how it is shown, its heading.
SPEED = [("ops_per_s", short, "operations/s"), ("p50_us", decimal, "p50 µs"),
         ("p95_us", decimal, "p95 µs"), ("p99_us", decimal, "p99 µs"), ("p999_us", decimal, "p99.9 µs"),
         ("max_us", decimal, "longest µs")]
AMPLIFICATION = [("write_amplification", decimal, "written / logical"),
                 ("read_amplification", decimal, "fetched / read"),
                 ("fetched_per_operation", decimal, "bytes fetched / operation"),
                 ("space_amplification", decimal, "disk / live data")]
MEMORY = [("peak_rss_bytes", in_mib, "peak RSS MiB"), ("anonymous_bytes", in_mib, "private MiB"),
          ("index_memory_bytes", in_mib, "index MiB"), ("cache_memory_bytes", in_mib, "cache MiB")]
PAUSES = [("p999_us", decimal, "p99.9 µs"), ("max_us", decimal, "longest µs"),
          ("silence_ms", short, "longest without a call ended, ms"),
          ("engine_pauses", short, "engine: pauses"),
          ("engine_pause_max_us", decimal, "engine: longest µs"),
          ("pause_percent", decimal, "engine: % of time"),
          ("settle_seconds", decimal, "settling s")]
SIZE = [("mib_per_s", decimal, "MiB/s"), ("ops_per_s", short, "operations/s"),
        ("p50_us", decimal, "p50 µs"), ("p999_us", decimal, "p99.9 µs"),
        ("write_amplification", decimal, "written / logical"),
        ("space_amplification", decimal, "disk / live data")]

# The writer beside a conversion, and before it.
CONVERSION = [("ops_per_s", short, "records/s"), ("seconds", decimal, "seconds"),
              ("writer_ops_per_s", short, "writes/s"), ("p50_us", decimal, "p50 µs"),
              ("p999_us", decimal, "p99.9 µs"), ("max_us", grouped, "longest µs"),
              ("alone_ops_per_s", short, "before"), ("alone_p999_us", decimal, "p99.9 µs"),
              ("alone_max_us", grouped, "longest µs")]


def row_key(row):
    return "|".join(str(row[name]) for name in ("experiment", "system", "workload", "value_bytes"))


def cell(row, name, show):
    value = number(row, name)
    if value is None:
        return '<td class="n">–</td>'
    return f'<td class="n" data-n="{name}" data-v="{value!r}">{show(value)}</td>'


def table(rows, columns, first=("workload", lambda row: row["workload"])):
    head = f"<th>{first[0]}</th><th>system</th>"
    head += "".join(f'<th class="n">{escape(heading)}</th>' for _, _, heading in columns)
    lines = []
    for row in rows:
        cells = "".join(cell(row, name, show) for name, show, _ in columns)
        lines.append(f'<tr data-row="{escape(row_key(row))}"><td>{escape(first[1](row))}</td>'
                     f"<td>{escape(row['system'])}</td>{cells}</tr>")
    return (f'<div class="scroll"><table><thead><tr>{head}</tr></thead><tbody>'
            + "\n".join(lines) + "</tbody></table></div>")


def numbers(rows, columns, first=("workload", lambda row: row["workload"])):
    """A table that opens on demand; nothing without rows."""
    rows = [row for row in rows if any(number(row, name) is not None for name, _, _ in columns)]
    if not rows:
        return ""
    return ("<details><summary>The numbers</summary>" + table(rows, columns, first) + "</details>")


def rows_of(results, experiment, workloads=None):
    """By workload, then by system."""
    return [row for workload in workloads or results.workloads(experiment)
            for system in results.systems
            for row in [results.row(experiment, system, workload)] if row is not None]


def values(results, experiment, workloads, name):
    """For plots.dots."""
    return [(workload, {system: results.number(experiment, system, workload, name)
                        for system in results.systems}) for workload in workloads]


def latencies(results, experiment, workloads):
    """For plots.ranges."""
    found = []
    for workload in workloads:
        by_system = {}
        for system in results.systems:
            row = results.row(experiment, system, workload)
            if row is not None:
                by_system[system] = [row[name] for name in ("p50_us", "p99_us", "p999_us",
                                                            "max_us")]
        if by_system:
            found.append((workload, by_system))
    return found


def section(name, title, systems, words, figures, after):
    figures = [figure for figure in figures if figure]
    if not figures:
        return ""
    return (f'<section id="{name}"><h2>{escape(title)}</h2>{words}{plots.legend(systems)}'
            f'<div class="plots">{"".join(figures)}</div>{after}</section>')


def left_out(results, experiment):
    """A sentence on what an engine does not offer, or failed in."""
    offered = results.workloads(experiment)
    words = []
    for engine in results.engines:
        missing = [w for w in offered if results.row(experiment, engine, w) is None]
        for why in ("not offered", "failed"):
            names = [w for w in missing if results.why_missing(experiment, engine, w) == why]
            if names:
                words.append(f"{escape(engine)}: {', '.join(f'<code>{w}</code>' for w in names)} "
                             f"{why}.")
    return f"<p>{' '.join(words)}</p>" if words else ""


def data_bytes(row):
    """Of keys and values, in words; small data in KiB."""
    unit = MIB if row["raw_bytes"] >= MIB else 1 << 10
    return plots.of_bytes(round(row["raw_bytes"] / unit) * unit)


def data_words(results, experiment):
    row = results.first(experiment)
    threads = "one thread" if row["threads"] == 1 else f"{row['threads']} threads"
    return (f"{grouped(row['records'])} records of {row['key_bytes']} + {row['value_bytes']} bytes "
            f"({data_bytes(row)}), a budget of {plots.of_bytes(row['memory_bytes'])}, {threads}")


def throughput_section(results):
    if results.first("inside") is None:
        return ""
    groups = [("Insertion", plan.LOADS), ("Lookup", plan.READS), ("Range", plan.SCANS),
              ("Overwrite and delete", plan.WRITES + ["delete_random"]),
              ("Mixed and skewed", plan.MIXES + plan.GROWING)]
    figures = [plots.dots(title, values(results, "inside", workloads, "ops_per_s"),
                          "operations a second (log scale)") for title, workloads in groups]
    words = (f"<p>Data inside memory: {data_words(results, 'inside')}. An operation is a key (of a "
             "lookup, a multi-get, a load), an entry of <code>scan_full</code>, a scan of 100 of "
             "<code>scan_100</code>, a transaction of <code>txn_mixed</code>. <code>map</code> is a "
             "hash map in the process, without log or disk: what a hash could do at most. The hash "
             "engine walks in no order in <code>scan_full</code>.</p>"
             + left_out(results, "inside"))
    return section("throughput", "Operations a second, data inside memory", results.systems, words,
                   figures, numbers(rows_of(results, "inside"), SPEED))


def latency_section(results):
    groups = [("Lookups", plan.READS), ("Writes", plan.LOADS + plan.WRITES + ["delete_random"]),
              ("Ranges and mixes", ["scan_100"] + plan.MIXES + plan.GROWING)]
    figures = [plots.ranges(title, latencies(results, "inside", workloads),
                            "latency of a call (log scale)") for title, workloads in groups]
    words = ("<p>The mark is the median, the thick line ends at the 99th percentile, the stroke is "
             "the 99.9th, the dotted line ends at the longest call. A call is a batch, a multi-get, "
             "a scan, a transaction where the workload consists of them. Data inside memory.</p>")
    return section("latency", "Latency", results.systems, words, figures, "")


def needing_more(results):
    """Who did not keep within the limit, and was measured again without it."""
    if not results.meta["has_memory_limit"]:
        return ""
    words = []
    for engine in results.engines:
        names = [row["workload"] for row in rows_of(results, "beyond")
                 if row["system"] == engine and row["memory_limit_bytes"] == 0]
        if names:
            words.append(f"{escape(engine)} needed more memory than that in "
                         f"{', '.join(f'<code>{escape(name)}</code>' for name in names)}, was "
                         "killed, and was measured again without the limit.")
    return f"<p><strong>{' '.join(words)}</strong></p>" if words else ""


def beyond_section(results):
    first = results.first("beyond")
    if first is None:
        return ""
    workloads = results.workloads("beyond")
    figures = [
        plots.dots("Throughput", values(results, "beyond", workloads, "ops_per_s"),
                   "operations a second (log scale)"),
        plots.ranges("Latency", latencies(results, "beyond", [w for w in workloads
                                                             if w != "scan_full"]),
                     "latency of a call (log scale)")]
    if first["memory_limit_bytes"] > 0:
        limit = ("A control group holds each process, the page cache included, to "
                 f"{plots.of_bytes(first['memory_limit_bytes'])}, and the cached pages of its files "
                 "are dropped before each workload.")
    else:
        limit = ("<strong>No control group was to be had: the kernel may have kept the files in "
                 "its page cache, so the device was spared.</strong>")
    words = (f"<p>{data_words(results, 'beyond')}. {limit} What was written is checked by samples "
             f"here.</p>{needing_more(results)}{left_out(results, 'beyond')}")
    return section("beyond", "Data larger than memory", results.engines, words, figures,
                   numbers(rows_of(results, "beyond"), SPEED))


def sizes_section(results):
    sizes = results.sizes()
    if len(sizes) < 2:
        return ""
    figures, shown = [], []
    for title, workload in (("Loading in random order", "load_random"),
                            ("Lookups", "read_random"), ("Walks over everything", "scan_full"),
                            ("Overwriting at random", "overwrite_random")):
        by_system = {}
        for system in results.systems:
            rows = [row for row in (results.sized_row(system, workload, size) for size in sizes)
                    if row is not None]
            if rows:
                by_system[system] = [(row["value_bytes"], number(row, "mib_per_s"))
                                     for row in rows]
                shown += rows
        figures.append(plots.lines(title, by_system, "bytes of a value (log scale)",
                                   "MiB of keys and values a second (log scale)"))
    words = ("<p>Data inside memory, one thread. Where values are large, copying them is the work: "
             "so in bytes, not in operations.</p>")
    shown.sort(key=lambda row: (plan.WORKLOADS.index(row["workload"]), row["value_bytes"],
                                plan.SYSTEMS.index(row["system"])))
    label = ("workload, value", lambda row: f"{row['workload']}, "
             f"{plots.of_bytes(row['value_bytes'])}")
    return section("sizes", "Value sizes", results.systems, words, figures,
                   numbers(shown, SIZE, label))


def amplification_section(results):
    writing = [w for w in plan.WORKLOADS if w not in plan.READS + plan.SCANS]
    figures = []
    for experiment, where in (("inside", "inside memory"), ("beyond", "beyond memory")):
        there = results.workloads(experiment)
        figures.append(plots.dots(
            f"Write amplification, {where}",
            values(results, experiment, [w for w in writing if w in there],
                   "write_amplification"),
            "bytes written / bytes of the work (log scale)", reference=1))
        reading = [w for w in there if w in plan.READS + plan.SCANS + plan.MIXES + plan.GROWING]
        if experiment == "beyond":
            figures.append(plots.dots(
                f"Read amplification, {where}",
                values(results, experiment, reading, "read_amplification"),
                "bytes fetched / bytes read (log scale)", reference=1))
        figures.append(plots.dots(
            f"Space amplification, {where}",
            values(results, experiment, [w for w in writing if w in there],
                   "space_amplification"),
            "bytes on disk / bytes of live records", is_log=False, reference=1))
    words = ("<p>Written: all bytes that the device got from the start of the work until compaction "
             "and checkpoint had come to rest and all was synced, log and journal of the file "
             "system included, over the keys and values that were written (keys alone for deletes). "
             "Fetched: all bytes that the device gave meanwhile, over the keys and values that "
             "reads returned; inside memory that is nothing. Disk: blocks that the files occupy at "
             "rest, the prepared segments of the log included, over the records alive. A short run that writes little pays for its "
             "checkpoint with few bytes: such ratios are high.</p>")
    engines = set(results.engines)
    rows = [row for experiment in ("inside", "beyond") for row in rows_of(results, experiment)
            if row["system"] in engines]
    label = ("workload", lambda row: f"{row['workload']}, {row['experiment']} memory")
    return section("amplification", "Write, read and space amplification", results.engines, words,
                   figures, numbers(rows, AMPLIFICATION, label))


def in_mib_values(results, experiment, workloads, name):
    return [(workload, {system: None if value is None else value / MIB
                        for system, value in by_system.items()})
            for workload, by_system in values(results, experiment, workloads, name)]


def memory_section(results):
    figures, shown = [], []
    for experiment, where in (("inside", "inside memory"), ("beyond", "beyond memory")):
        row = results.first(experiment)
        if row is None:
            continue
        chosen = [w for w in ("load_random", "read_random", "scan_full", "overwrite_random",
                              "ycsb_a", "delete_random") if w in results.workloads(experiment)]
        figures.append(plots.dots(
            f"Private memory at the end, {where}",
            in_mib_values(results, experiment, chosen, "anonymous_bytes"), "MiB", is_log=False,
            reference=row["memory_bytes"] / MIB if experiment == "beyond" else None))
        figures.append(plots.dots(
            f"Peak of the process, {where}",
            in_mib_values(results, experiment, chosen, "peak_rss_bytes"), "MiB", is_log=False,
            reference=row["memory_bytes"] / MIB if experiment == "beyond" else None))
        shown += rows_of(results, experiment, chosen)
    words = ("<p>Private memory is what no file stands behind; the peak also counts mapped files "
             "and what checks and warm-up took. Beyond memory the dashed line is the budget that "
             "the engine was given. Index and cache are what the engine itself reports.</p>")
    label = ("workload", lambda row: f"{row['workload']}, {row['experiment']} memory")
    return section("memory", "Memory", results.systems, words, figures,
                   numbers(shown, MEMORY, label))


def pauses_section(results):
    figures, shown = [], []
    for experiment, where in (("inside", "inside memory"), ("beyond", "beyond memory")):
        for workload, title in (("load_random", "Loading at random"),
                                ("overwrite_random", "Overwriting at random")):
            by_system, slot_ms = {}, plan.TIMELINE_MS
            for engine in results.engines:
                row = results.row(experiment, engine, workload)
                if row is not None and "timeline_max_us" in row:
                    by_system[engine], slot_ms = row["timeline_max_us"], row["timeline_ms"]
                    shown.append(row)
            figures.append(plots.moments(f"{title}, {where}: longest write in each "
                                         f"{slot_ms} ms", by_system, slot_ms))
    words = ("<p>What compaction and checkpoints do to a writer. A slot without a stroke is one in "
             "which no write ended. The engines' own pauses are those in which a writer had to pay "
             "for background work. Settling is what was left to do when the writer stopped.</p>")
    label = ("workload", lambda row: f"{row['workload']}, {row['experiment']} memory")
    return section("pauses", "Compaction pauses", results.engines, words, figures,
                   numbers(shown, PAUSES, label))


def threads_section(results):
    workloads = results.workloads("threads")
    if not workloads:
        return ""
    gains, rows = [], []
    for workload in workloads:
        by_system = {}
        for system in results.systems:
            two = results.row("threads", system, workload)
            one = results.number("inside", system, workload, "ops_per_s")
            by_system[system] = two["ops_per_s"] / one if two and one else None
            rows += [two] if two else []
        gains.append((workload, by_system))
    first = results.first("threads")
    figures = [plots.dots("Throughput", values(results, "threads", workloads, "ops_per_s"),
                          "operations a second (log scale)"),
               plots.dots("Gain over one thread", gains, "times the operations of one thread",
                          is_log=False, reference=first["threads"])]
    words = (f"<p>{data_words(results, 'threads')}. Background work takes its share of the "
             f"machine's {results.meta['processors']} processors.</p>")
    return section("threads", "Two threads", results.systems, words, figures,
                   numbers(rows, SPEED))


def conversion_figure(results, title, rows, name, words, factor=1):
    """A line for each engine that is left, a mark for each that is gone to."""
    groups = [(f"from {engine.removeprefix('tern-')}",
               {f"tern-{row['to']}": row[name] * factor for row in rows if row["system"] == engine})
              for engine in results.engines]
    groups = [group for group in groups if group[1]]
    return plots.dots(title, groups, words) if groups else ""


def convert_section(results):
    rows = [row for row in results.rows if row["experiment"] == "convert"]
    if not rows:
        return ""
    first = rows[0]
    steady = [row for row in rows if row["writer_rate"] > 0]
    figures = [conversion_figure(results, "Records converted", steady, "ops_per_s",
                                 "records a second (log scale)"),
               conversion_figure(results, "Longest write meanwhile", steady, "max_us",
                                 "ms (log scale)", 1e-3)]
    words = (f"<p><code>tern keyspace convert</code>, from each engine to each other one, while the "
             f"keyspace is written to: {grouped(first['records'])} records of "
             f"{first['key_bytes']} + {first['value_bytes']} bytes "
             f"({data_bytes(first)}), a budget of {plots.of_bytes(first['memory_bytes'])}. The steady writer puts "
             f"{grouped(max(row['writer_rate'] for row in rows))} single records a second and counts "
             "from when a write is due, so that all writes that a pause delays count; the plots are "
             "of it. The ceaseless one puts as many as it can, and is held back where it outruns "
             "the copying. Before each conversion the same writer is measured alone. Marks are the "
             "engine that is converted to. Every record was checked afterwards.</p>")
    label = ("to, beside", lambda row: f"{row['to']}, a "
             f"{'steady' if row['writer_rate'] > 0 else 'ceaseless'} writer")
    return section("convert", "Conversions between engines", results.engines, words, figures,
                   table(rows, CONVERSION, label).replace("<th>system</th>", "<th>from</th>", 1))


def advice_cells(verdict, engines):
    cells = []
    for engine in engines:
        score = verdict.scores[engine]
        if score is None:
            cells.append(f'<td class="n soft">{escape(verdict.reasons[engine])}</td>')
            continue
        name = "n chosen" if engine in verdict.chosen else "n"
        cells.append(f'<td class="{name}" data-score="{score!r}">{score * 100:.0f} %</td>')
    return "".join(cells)


def advice_section(results):
    found = advice.verdicts(results)
    if not found:
        return ""
    engines = results.engines
    usual, summary = advice.overall(found, engines)
    head = "<th>What matters</th><th>Choose</th>" + "".join(
        f'<th class="n">{escape(engine)}</th>' for engine in engines) + "<th>Measured by</th>"
    lines = []
    for verdict in found:
        need = verdict.need
        choice = escape(verdict.chosen[0])
        if len(verdict.chosen) > 1:
            choice += " <span class=\"soft\">or " + escape(" or ".join(verdict.chosen[1:]))
            choice += "</span>"
        used = ", ".join(dict.fromkeys(measurement.workload for measurement in need.measurements))
        lines.append(f'<tr data-need="{escape(need.text)}"><th scope="row">'
                     f'<a href="#{need.where}">{escape(need.text)}</a></th>'
                     f'<td class="choice">{choice}</td>{advice_cells(verdict, engines)}'
                     f'<td class="soft">{escape(used)}</td></tr>')
    cells = "".join(f'<td class="n{" chosen" if engine == usual else ""}">{summary[engine][1] * 100:.0f}'
                    f" % of {summary[engine][0]}</td>" for engine in engines)
    lines.append(f'<tr data-need="none"><th scope="row">No need in particular</th><td '
                 f'class="choice">{escape(usual)}</td>{cells}<td class="soft">mean of the needs '
                 "that it is in for</td></tr>")
    rules = "".join(f"<li>{escape(rule)}</li>" for rule in advice.RULES)
    return ('<section id="advice"><h2>Which engine for what</h2><p>A score of 100 % is the best of '
            "the engines; 50 % is half as fast, or twice as much of what should be little. All of "
            "this table is computed from the results below, by these rules:</p>"
            f'<details><summary>The rules</summary><ol>{rules}</ol></details>'
            f'<div class="scroll"><table class="advice"><thead><tr>{head}</tr></thead><tbody>'
            + "\n".join(lines) + "</tbody></table></div>"
            + in_short(found, engines) + "</section>")


def in_short(found, engines):
    """What each engine is ahead in, alone."""
    parts = []
    for engine in engines:
        alone = [v.need.text[0].lower() + v.need.text[1:] for v in found if v.chosen == [engine]]
        if alone:
            parts.append(f"<dt>{escape(engine)} is ahead of the others in</dt>"
                         f"<dd>{escape('; '.join(alone))}.</dd>")
    return f"<dl>{''.join(parts)}</dl>" if parts else ""


def method_section(results):
    meta = results.meta
    failures = "".join(f"<li>{escape(name)}, values of {size} bytes: {escape(words)}</li>"
                       for name, size, words in meta["failures"])
    failures = f"<p>What failed:</p><ul>{failures}</ul>" if failures else ""
    versions = ", ".join(f"{escape(name)} {escape(version)}"
                         for name, version in meta["versions"].items())
    commands = escape("\n".join(meta["commands"]))
    return ('<section id="method"><h2>How it was measured</h2>'
            f"<p>Each line is one run of <code>bench/compare</code>, conversions of "
            f"<code>bench/convert</code>, in {meta['seconds'] / 60:.0f} "
            "minutes altogether; each workload had a process of its own, which read everything "
            "back and checked it before and, where something was written, after a new open (data "
            "larger than memory by samples). "
            "Durability <code>none</code> survives the end of the process; "
            "<code>write_durable</code> is on stable storage before the next write begins. Values "
            "are random bytes, without compression. A single run: differences of a few percent "
            "mean nothing. What each number is: <code>bench/README.md</code>. <code>make lab</code> "
            "makes this page anew.</p>"
            f"{failures}<p>Versions: {versions}.</p>"
            f"<details><summary>Commands</summary><pre>{commands}</pre></details></section>")


def machine_words(meta):
    words = (f"Measured {meta['date']} at commit {meta['commit']}: {meta['processor']}, "
             f"{meta['processors']} processors, {meta['memory_gib']} GiB, Linux {meta['kernel']}, "
             f"{meta['file_system']}, gcc {meta['compiler']}.")
    if not meta["is_standard"]:
        words += " Not the standard run: with less data or time, or in part."
    return words


def render(meta, rows):
    results = Results(meta, rows)
    sections = [("advice", "Advice", advice_section(results)),
                ("throughput", "Throughput", throughput_section(results)),
                ("latency", "Latency", latency_section(results)),
                ("beyond", "Beyond memory", beyond_section(results)),
                ("sizes", "Value sizes", sizes_section(results)),
                ("amplification", "Amplification", amplification_section(results)),
                ("memory", "Memory", memory_section(results)),
                ("pauses", "Pauses", pauses_section(results)),
                ("threads", "Two threads", threads_section(results)),
                ("convert", "Conversions", convert_section(results)),
                ("method", "Method", method_section(results))]
    links = "".join(f'<li><a href="#{name}">{title}</a></li>'
                    for name, title, body in sections if body)
    style = STYLE.read_text(encoding="utf-8")
    return ('<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
            '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
            "<title>Tern: hash, B+tree and LSM, measured</title>\n"
            f"<style>\n{style}</style>\n</head>\n<body>\n<h1>Hash, B+tree, LSM: which engine for "
            "which work</h1>\n<p>The three engines of Tern over the same work, on one machine. "
            f'</p>\n<p class="soft">{escape(machine_words(meta))}</p>\n<nav><ul>{links}</ul></nav>\n'
            + "\n".join(body for _, _, body in sections if body) + "\n</body>\n</html>\n")
