# SPDX-License-Identifier: Apache-2.0
"""Which engine for which need. Nothing here knows an engine: all follows from the numbers by these
rules, which the page prints too.

RULES, below, are printed with the table.
"""

import dataclasses
import math

TIE = 0.1
FASTER, LESS = "faster", "less"  # is better
# Below these, less of it is no gain.
FLOOR = {"write_amplification": 0.1, "read_amplification": 0.1, "space_amplification": 0.1,
         "p999_us": 10, "max_us": 1000, "anonymous_bytes": 1 << 20}


RULES = [
    "A need is a list of measurements of this page. In each of them an engine's share is its number "
    "as a part of the best engine's; where less is better, the best one's as a part of its own.",
    "An engine's score is the geometric mean of its shares, as a part of the highest such mean.",
    f"Chosen is the engine with the highest score, and beside it every other one that is within "
    f"{TIE * 100:.0f} % of it: two runs can differ by that.",
    "An engine that does not offer one of the measurements, or that failed in it, is out.",
    "Where less is better, differences below these do not count: 0.1 bytes for each byte, 10 µs of "
    "a 99.9th percentile, 1 ms of a longest pause, 1 MiB of memory.",
    "The engine for no need in particular is, of those that are in for the most needs, the one with "
    "the highest geometric mean of its scores.",
]


@dataclasses.dataclass
class Measurement:
    experiment: str
    workload: str
    value_bytes: int = None  # None: the experiment's only one


@dataclasses.dataclass
class Need:
    text: str
    measurements: list
    number: str = "ops_per_s"
    better: str = FASTER
    where: str = ""  # the section of the page that shows it


@dataclasses.dataclass
class Verdict:
    need: Need
    scores: dict   # by engine; None: out
    reasons: dict  # by engine that is out
    chosen: list   # the best first


def of(experiment, *workloads):
    return [Measurement(experiment, workload) for workload in workloads]


def sized(results, workloads, least, most):
    sizes = {row["value_bytes"] for row in results.rows if row["experiment"] == "sizes"}
    return [Measurement("sizes", workload, size)
            for size in sorted(sizes) if least <= size <= most for workload in workloads]


def needs(results):
    inside = [
        Need("Lookups by key", of("inside", "read_random", "read_zipf", "multi_get")),
        Need("Asking for keys that are not there", of("inside", "read_missing")),
        Need("Ranges and ordered walks", of("inside", "scan_100", "scan_full")),
        Need("Walks over everything, in any order", of("inside", "scan_full")),
        Need("Loading in key order", of("inside", "load_sequential")),
        Need("Loading in random order", of("inside", "load_random", "load_batch")),
        Need("Overwriting at random", of("inside", "overwrite_random")),
        Need("Reads and writes mixed, a few keys popular", of("inside", "ycsb_a", "ycsb_b",
                                                              "ycsb_f")),
        Need("Inserts, and reads of the newest", of("inside", "ycsb_d")),
        Need("Transactions over several keyspaces", of("inside", "txn_mixed")),
        Need("Each write on stable storage at once", of("inside", "write_durable")),
        Need("Deleting", of("inside", "delete_random")),
    ]
    threads = [Need("Lookups and mixed work on two threads",
                    of("threads", "read_random", "read_zipf", "ycsb_a", "ycsb_b"))]
    beyond = [
        Need("Lookups in data larger than memory", of("beyond", "read_random", "read_zipf")),
        Need("Ranges in data larger than memory", of("beyond", "scan_100", "scan_full")),
        Need("Writing to data larger than memory", of("beyond", "load_random",
                                                      "overwrite_random")),
        Need("Mixed work on data larger than memory", of("beyond", "ycsb_a", "ycsb_b")),
    ]
    moved = ["load_random", "read_random", "overwrite_random"]
    sizes = [Need("Values of a few bytes", sized(results, moved, 0, 64)),
             Need("Values of 1 to 8 KiB", sized(results, moved, 1 << 10, 8 << 10)),
             Need("Values of 64 KiB and more", sized(results, moved, 64 << 10, 1 << 40))]
    care = [
        Need("Fewest bytes written to the device",
             of("inside", "load_random", "overwrite_random")
             + of("beyond", "load_random", "overwrite_random"), "write_amplification", LESS),
        Need("Fewest bytes read for a lookup beyond memory", of("beyond", "read_random"),
             "read_amplification", LESS),
        Need("Least disk", of("inside", "load_random", "overwrite_random")
             + of("beyond", "load_random", "overwrite_random"), "space_amplification", LESS),
        Need("Least memory for lookups", of("inside", "read_random"), "anonymous_bytes", LESS),
        Need("Steady latency while writing", of("inside", "overwrite_random")
             + of("beyond", "load_random", "overwrite_random"), "p999_us", LESS),
        Need("No long pause while writing", of("inside", "overwrite_random")
             + of("beyond", "load_random", "overwrite_random"), "max_us", LESS),
    ]
    for group, where in ((inside, "throughput"), (threads, "threads"), (beyond, "beyond"),
                         (sizes, "sizes"), (care[:3], "amplification"), (care[3:4], "memory"),
                         (care[4:], "pauses")):
        for need in group:
            need.where = where
    return [need for need in inside + threads + beyond + sizes + care if need.measurements]


def values_of(results, need, measurement):
    """By engine; None where there is no number."""
    found = {}
    for engine in results.engines:
        value = results.number(measurement.experiment, engine, measurement.workload, need.number,
                               measurement.value_bytes)
        if value is not None and need.better == LESS:
            value = max(value, FLOOR[need.number])
        found[engine] = value
    return found


def decide(results, need):
    """None when no engine has all numbers."""
    logs = {engine: [] for engine in results.engines}
    reasons = {}
    for measurement in need.measurements:
        values = values_of(results, need, measurement)
        there = [value for value in values.values() if value]
        for engine, value in values.items():
            if not value:
                reasons.setdefault(engine, results.why_missing(
                    measurement.experiment, engine, measurement.workload))
                continue
            best = max(there) if need.better == FASTER else min(there)
            share = value / best if need.better == FASTER else best / value
            logs[engine].append(math.log(share))
    means = {engine: math.exp(sum(found) / len(found)) for engine, found in logs.items()
             if engine not in reasons}
    if not means:
        return None
    best = max(means.values())
    scores = {engine: means[engine] / best if engine in means else None
              for engine in results.engines}
    chosen = [engine for engine in sorted(means, key=lambda engine: -means[engine])
              if scores[engine] >= 1 - TIE]
    return Verdict(need, scores, reasons, chosen)


def verdicts(results):
    found = [decide(results, need) for need in needs(results)]
    return [verdict for verdict in found if verdict is not None]


def overall(found, engines):
    """The engine of the last rule, and by engine (needs that it is in for, geometric mean of scores)."""
    summary = {}
    for engine in engines:
        scores = [verdict.scores[engine] for verdict in found if verdict.scores[engine]]
        mean = math.exp(sum(math.log(score) for score in scores) / len(scores)) if scores else 0.0
        summary[engine] = (len(scores), mean)
    return max(summary, key=lambda engine: summary[engine]) if summary else None, summary
