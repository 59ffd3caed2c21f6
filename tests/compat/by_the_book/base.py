# SPDX-License-Identifier: Apache-2.0
"""What all engines' readers give: the records of a partition's durable state."""

from dataclasses import dataclass, field


@dataclass
class Record:
    value: bytes
    expires: int = 0    # ms of logged time from which the key is gone; 0: never
    seq: int = 0        # of the newest change in it, where the engine keeps that


@dataclass
class Base:
    """`records` by key; every change up to `complete_seq` is in them."""
    complete_seq: int
    records: dict = field(default_factory=dict)
    marks: list = field(default_factory=list)   # of B+trees: (key, seq)

    def held_seq(self, key):
        """Changes to the key up to this one are in the base."""
        for mark, seq in self.marks:
            if key < mark:
                return seq
        return self.complete_seq


class EngineFile:
    """A file of a partition, read whole; blocks are cut out of it by place and size.

    `cuts` remembers them by the file's name, for whoever wants to break one.
    """
    cuts = {}

    def __init__(self, path):
        self.name = path.rsplit("/", 1)[-1]
        with open(path, "rb") as file:
            self.data = file.read()

    def at(self, place):
        return f"{self.name}+{place}"

    def cut(self, place, size):
        EngineFile.cuts.setdefault(self.name, []).append((place, size))
        return self.data[place:place + size]
