# SPDX-License-Identifier: Apache-2.0
"""What the laboratory runs: experiments, and the calls of bench/compare and bench/convert that they
consist of."""

import dataclasses

KIB, MIB, GIB = 1 << 10, 1 << 20, 1 << 30

ENGINES = ["tern-hash", "tern-btree", "tern-lsm"]
BOUND = "map"  # what a hash could do at most: a map in memory, without log, without disk
SYSTEMS = ENGINES + [BOUND]

LOADS = ["load_sequential", "load_random", "load_batch"]
READS = ["read_random", "read_zipf", "read_missing", "multi_get"]
SCANS = ["scan_100", "scan_full"]
# Those that add records or remove them come last, so that the others all see the same data.
MIXES = ["ycsb_a", "ycsb_b", "ycsb_f", "txn_mixed"]
GROWING = ["ycsb_d", "ycsb_e"]
WRITES = ["overwrite_random", "write_durable"]
WORKLOADS = LOADS + READS + SCANS + WRITES + MIXES + GROWING + ["delete_random"]
# They run to their end, whatever --seconds says.
UNTIMED = LOADS + ["delete_random"]

KEY_BYTES = 16
SIZES = [16, 1 * KIB, 8 * KIB, 64 * KIB, 1 * MIB]
SIZES_BYTES = 256 * MIB  # of data with each value size
WARMUP_SECONDS = 0.5
TIMELINE_MS = 100
BATCH_BYTES = 4 * MIB
# What a process has beside the budget of its engine: the program, requests, some page cache.
BESIDE_BYTES = 96 * MIB


@dataclasses.dataclass
class Experiment:
    name: str
    records: int
    value_bytes: int
    memory_bytes: int
    seconds: float
    workloads: list
    bound_workloads: list = dataclasses.field(default_factory=list)
    threads: int = 1
    # Reading all of it back again and again would take longer than the work itself.
    is_beyond: bool = False
    memory_limit_bytes: int = 0

    def workloads_of(self, system, not_offered):
        """In the order of this plan; without what the system does not offer."""
        wanted = self.bound_workloads if system == BOUND else self.workloads
        return [name for name in wanted if name not in not_offered.get(system, [])]

    def batch(self):
        most = max(1, BATCH_BYTES // (KEY_BYTES + self.value_bytes))
        return min(1000, most, self.records)

    def arguments(self):
        """For bench/compare; systems and workloads are put before them."""
        words = ["--records", self.records, "--value-bytes", self.value_bytes, "--threads",
                 self.threads, "--seconds", f"{self.seconds:g}", "--warmup",
                 f"{min(WARMUP_SECONDS, self.seconds):g}", "--memory-bytes", self.memory_bytes,
                 "--batch", self.batch(), "--timeline", TIMELINE_MS]
        if self.value_bytes > 64 * KIB // 4:
            words += ["--multi", 1]
        if self.memory_limit_bytes > 0:
            words += ["--memory-limit", self.memory_limit_bytes]
        if self.is_beyond:
            words += ["--check", "samples"]
        return [str(word) for word in words] + ["--json", "--progress"]

    def seconds_of(self, system, workload):
        """A guess, in the proportions that matter for the time left."""
        raw_bytes = self.records * (KEY_BYTES + self.value_bytes)
        check = self.records / 2e6 + raw_bytes / 4e8
        if self.is_beyond and workload == "scan_full":
            # A hash has no order in which its records lie one after another.
            return 3 + self.seconds + self.records * (6e-5 if system == ENGINES[0] else 1e-6)
        if workload in UNTIMED:
            share = 0.5 if workload == "delete_random" else 1
            return 0.3 + check + share * (self.records / 4e5 + raw_bytes / 2e8)
        writes = 2 if workload in WRITES + MIXES + GROWING else 1
        return 0.5 + self.seconds + min(WARMUP_SECONDS, self.seconds) + check * writes


@dataclasses.dataclass
class Conversions:
    """From each engine to each other one beside a writer: one call of bench/convert."""
    records: int
    memory_bytes: int
    seconds: float
    name: str = "convert"
    value_bytes: int = 100
    count: int = 12  # each of the six pairs beside two writers

    def arguments(self):
        words = ["--records", self.records, "--value-bytes", self.value_bytes, "--memory-bytes",
                 self.memory_bytes, "--seconds", f"{self.seconds:g}"]
        return [str(word) for word in words] + ["--json"]

    def seconds_of_one(self):
        """A guess: the writer alone, the conversion, and the check of all records."""
        return 0.5 + self.seconds + self.records / 1e5


def conversions(scale, seconds):
    return Conversions(max(2000, int(300_000 * scale)), GIB, seconds / 2)


def experiments(scale, seconds, sizes, has_limit):
    """`scale` is for records and memory, `seconds` the length of a timed workload inside memory."""
    def scaled(count, least):
        return max(least, int(count * scale))

    raw = scaled(1_500_000, 4000) * (KEY_BYTES + 100)
    memory = max(16 * MIB, raw // 4 // MIB * MIB)
    plan = [
        Experiment("inside", scaled(1_000_000, 2000), 100, GIB, seconds, WORKLOADS, READS),
        Experiment("threads", scaled(1_000_000, 2000), 100, GIB, seconds * 0.75,
                   ["read_random", "read_zipf", "scan_100", "overwrite_random", "ycsb_a",
                    "ycsb_b"], ["read_random", "read_zipf"], threads=2),
        Experiment("beyond", scaled(1_500_000, 4000), 100, memory, seconds * 1.5,
                   ["load_random", "read_random", "read_zipf", "read_missing", "scan_100",
                    "scan_full", "overwrite_random", "ycsb_a", "ycsb_b", "ycsb_e",
                    "delete_random"],
                   is_beyond=True,
                   memory_limit_bytes=memory + BESIDE_BYTES if has_limit else 0),
    ]
    for size in sizes:
        records = min(1_000_000, SIZES_BYTES // (KEY_BYTES + size))
        plan.append(Experiment("sizes", scaled(records, 32), size, GIB, seconds * 0.75,
                               ["load_random", "read_random", "scan_full", "overwrite_random"],
                               ["read_random"]))
    return plan
