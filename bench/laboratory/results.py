# SPDX-License-Identifier: Apache-2.0
"""The rows of a run, and the numbers that are made of several members of a row."""

from laboratory import plan

# Value sizes are compared with data inside memory; its own size was measured there.
SIZED = ("inside", "sizes")


def per(row, count, base):
    return row[count] / row[base] if row[base] > 0 else None


# What a table, a plot or a rule can ask a row for besides its members.
DERIVED = {
    "write_amplification": lambda row: per(row, "written_bytes", "logical_bytes"),
    "read_amplification": lambda row: per(row, "fetched_bytes", "read_bytes"),
    "fetched_per_operation": lambda row: per(row, "fetched_bytes", "operations"),
    "space_amplification": lambda row: per(row, "disk_bytes", "live_bytes"),
    # Of keys and values, in MiB: comparable across sizes of values.
    "mib_per_s": lambda row: row["ops_per_s"] * (row["key_bytes"] + row["value_bytes"]) / 2**20,
    "pause_percent": lambda row: (100 * row["engine_pause_seconds"] / row["seconds"]
                                  if "engine_pause_seconds" in row else None),
    "silence_ms": lambda row: silence(row) if "timeline_calls" in row else None,
}


def silence(row):
    """The longest row of time slots in which no call ended, in ms."""
    longest = run = 0
    for calls in row["timeline_calls"]:
        run = 0 if calls > 0 else run + 1
        longest = max(longest, run)
    return longest * row["timeline_ms"]


def number(row, name):
    """None where the row does not have it."""
    return DERIVED[name](row) if name in DERIVED else row.get(name)


class Results:
    def __init__(self, meta, rows):
        self.meta, self.rows = meta, rows
        self.by_key = {(row["experiment"], row["system"], row["workload"], row["value_bytes"]): row
                       for row in rows}
        seen = {row["system"] for row in rows}
        self.systems = [name for name in plan.SYSTEMS if name in seen]
        self.engines = [name for name in plan.ENGINES if name in seen]

    def row(self, experiment, system, workload, value_bytes=None):
        if value_bytes is None:
            found = [row for (e, s, w, _), row in self.by_key.items()
                     if (e, s, w) == (experiment, system, workload)]
            return found[0] if found else None
        return self.by_key.get((experiment, system, workload, value_bytes))

    def number(self, experiment, system, workload, name, value_bytes=None):
        row = self.row(experiment, system, workload, value_bytes)
        return None if row is None else number(row, name)

    def workloads(self, experiment, value_bytes=None):
        seen = {row["workload"] for row in self.rows if row["experiment"] == experiment
                and value_bytes in (None, row["value_bytes"])}
        return [name for name in plan.WORKLOADS if name in seen]

    def sized_row(self, system, workload, value_bytes):
        """With one thread and all data in memory, whatever experiment it comes from."""
        for experiment in SIZED:
            row = self.row(experiment, system, workload, value_bytes)
            if row is not None:
                return row
        return None

    def sizes(self):
        return sorted({row["value_bytes"] for row in self.rows if row["experiment"] in SIZED})

    def first(self, experiment):
        """Any row of the experiment, for what all of them have in common."""
        return next((row for row in self.rows if row["experiment"] == experiment), None)

    def why_missing(self, experiment, system, workload):
        if workload in self.meta["not_offered"].get(system, []):
            return "not offered"
        prefix = f"{system}: {workload}: "
        if any(name == experiment and text.startswith(prefix)
               for name, _, text in self.meta["failures"]):
            return "failed"
        return "not run"
