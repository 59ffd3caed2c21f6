# SPDX-License-Identifier: Apache-2.0
"""Random writes for the command tern, and a map of what they come to."""

import json
import os
import random

KEYSPACES = {
    "tree": ["--page-bytes", "4K", "--fan-out", "16", "--compression", "lz4"],
    "table": ["--engine", "hash"],
    "sorted": ["--engine", "lsm", "--page-bytes", "4K"],
    "tiered": ["--engine", "lsm", "--compaction", "tiered", "--filter-bits", "0",
               "--compression", "snappy"],
}
KEYS = 2500
REPEATS, LONG_REPEATS = 6, 40   # the latter for a table of several partitions
CHANGES = 500
COUNTERS = 20


class Workload:
    """Rounds of lines for the REPL. `content`: keyspace -> key -> value, once they have run."""

    def __init__(self, directory, seed):
        self.directory = directory
        self.random = random.Random(seed)
        self.content = {name: {} for name in KEYSPACES}
        self.doomed = []        # (keyspace, key) that will have expired when the next round begins
        self.expired = []       # those that have
        self.files = 0

    def first_round(self):
        lines = [f"keyspace create {name} {' '.join(options)}"
                 for name, options in KEYSPACES.items()]
        operations = [self._put(name, f"key {i:05}") for i in range(KEYS) for name in KEYSPACES]
        return lines + [self._batch(operations)] + self._large_values() + ["checkpoint"]

    def settle(self):
        """What was to expire has expired."""
        for name, key in self.doomed:
            self.content[name].pop(key, None)
        self.expired = self.doomed
        self.doomed = []

    def next_round(self):
        self.settle()
        operations = []
        for _ in range(CHANGES):
            for name in KEYSPACES:
                operations.append(self._change(name))
        return [self._batch(operations)] + self._range_deletes() + self._large_values()

    # ---- operations ----

    def _file(self, content):
        path = os.path.join(self.directory, f"input-{self.files}")
        self.files += 1
        with open(path, "wb") as file:
            file.write(content)
        return path

    def _batch(self, operations):
        path = self._file("\n".join(map(json.dumps, operations)).encode())
        return f"batch --every 300 {path}"

    def _key(self):
        return f"key {self.random.randrange(KEYS):05}"

    def _put(self, name, key, **more):
        repeats = self.random.randrange(LONG_REPEATS if name == "tiered" else REPEATS)
        value = f"{key} {self.random.random()} " * repeats
        self.content[name][key.encode()] = value.encode()
        return {"op": "put", "keyspace": name, "key": key, "value": value, **more}

    def _change(self, name):
        kind, key = self.random.randrange(10), self._key()
        content = self.content[name]
        if kind < 4:
            more = {}
            if kind == 0:
                key = f"{key} expires"
                more = {"ttl_ms": self.random.choice((1, 100 * 365 * 86400 * 1000))}
                if more["ttl_ms"] == 1:
                    self.doomed.append((name, key.encode()))
                else:
                    self.doomed = [entry for entry in self.doomed
                                   if entry != (name, key.encode())]
            return self._put(name, key, **more)
        if kind < 6:
            content.pop(key.encode(), None)
            return {"op": "delete", "keyspace": name, "key": key}
        return self._merge(name, content)

    def _merge(self, name, content):
        kind = self.random.choice(("add", "append", "max"))
        keys = [f"{kind} {self.random.randrange(COUNTERS)}", self._key()]
        keys += [key.decode() for owner, key in self.expired
                 if owner == name and (owner, key) not in self.doomed][:1]
        key = self.random.choice(keys)
        before = content.get(key.encode())
        text = str(self.random.randrange(100))
        if kind == "add":
            number = int.from_bytes(before, "little") if before and len(before) == 8 else 0
            after = (number + int(text) & (1 << 64) - 1).to_bytes(8, "little")
        elif kind == "append":
            after = (before or b"") + text.encode()
        else:
            after = max(before or b"", text.encode())
        content[key.encode()] = after
        return {"op": "merge", "keyspace": name, "key": key, "kind": kind, "operand": text}

    # ---- lines ----

    def _range_deletes(self):
        """In the middle, and in the end an open one, of keyspaces in turn."""
        lines = []
        for name, content in self.content.items():
            start = self.random.randrange(KEYS - 50)
            bounds = f"key {start:05}", f"key {start + 40:05}"
            lines.append(f"delete {name} --from '{bounds[0]}' --to '{bounds[1]}'")
            low, high = bounds[0].encode(), bounds[1].encode()
            if self.random.randrange(2):
                lines.append(f"delete {name} --from 'max 15'")
                content.update({key: None for key in content if key >= b"max 15"})
            for key in [key for key, value in content.items()
                        if value is None or low <= key < high]:
                del content[key]
        return lines

    def _large_values(self):
        lines = []
        for name, content in self.content.items():
            key = f"large {self.random.randrange(2)}"
            value = self.random.randbytes(1000) * self.random.randrange(150, 600)
            lines.append(f"put {name} '{key}' --value-file {self._file(value)}")
            content[key.encode()] = value
        return lines
