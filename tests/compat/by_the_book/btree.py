# SPDX-License-Identifier: Apache-2.0
"""docs/format/btree.md: a B+tree from its root down, with every invariant of its pages."""

import os
from dataclasses import dataclass

from . import values
from .base import Base, EngineFile, Record
from .block import read_block
from .checksum import xxh3
from .octets import Octets, met, require

UNIT = 512
FIRST_UNIT = 8
LARGE, EXPIRES = 1, 2
HAS_LARGE, WHOLE_KEYS = 1, 2


@dataclass
class Reference:
    place: int          # in units
    units: int
    flags: int
    checksum: int
    records: int = 0
    size: int = 0       # stored bytes below

    @staticmethod
    def of(packed, checksum, records=0, size=0):
        return Reference(packed >> 24, packed >> 8 & 0xffff, packed & 255, checksum, records, size)

    def is_possible(self):
        return (self.place >= FIRST_UNIT and self.units >= 1 and self.flags <= 1
                and self.place + self.units <= 1 << 40)


class Tree(EngineFile):
    def __init__(self, directory, keyspace):
        super().__init__(os.path.join(directory, f"p-{keyspace.partition:016x}.btree"))
        self.used = []          # (first unit, end) of blocks
        self.leaf_places = set()
        self.records = {}
        self._header(keyspace)

    def _header(self, keyspace):
        fields = Octets(self.cut(0, FIRST_UNIT * UNIT), self.at(0))
        fields.constant(b"TERNBTRE", "magic")
        version, self.page_bytes, partition, self.granule, _ = fields.numbers("IIQII")
        require(fields.u64() == xxh3(self.data[:32]), self.name, "checksum of the header")
        fields.zeros(FIRST_UNIT * UNIT - 40)
        require(version == 1 and partition == keyspace.partition, self.name, "header")
        require(self.page_bytes == keyspace.page_bytes and 8 % self.granule == 0, self.name,
                "page size and granule")

    def block(self, reference, payload_max):
        """The payload and where it is; each block is in use once (space.overlap)."""
        where = self.at(reference.place * UNIT)
        require(reference.is_possible(), where, "inner.children: a possible reference")
        require(reference.place % self.granule == 0 and reference.units % self.granule == 0, where,
                "places and lengths are multiples of the granule")
        data = self.cut(reference.place * UNIT, reference.units * UNIT)
        require(len(data) == reference.units * UNIT, where, "space.end")
        payload = read_block(data, where, reference.checksum, payload_max)
        length = 16 + int.from_bytes(data[8:12], "little")
        units = -(-length // (UNIT * self.granule)) * self.granule
        require(units == reference.units, where, "a block takes as many units as it needs")
        self.used.append((reference.place, reference.place + reference.units))
        return payload, where

    # ---- leaves ----

    def leaf(self, reference, low, high):
        payload, where = self.block(reference, self.page_bytes - 16)
        fields = Octets(payload, where)
        kind, flags, count, prefix_size, data_size, _ = fields.numbers("BBHHHQ")
        require(kind == 1 and flags <= 3, where, "leaf.header")
        met("btree leaf flags", flags)
        require(1 <= count <= 8191, where, "leaf.count")
        heads = fields.numbers(f"{count}I")
        slots = fields.numbers(f"{count}H")
        require(fields.place + data_size == len(payload), where, "leaf.data")
        prefix = fields.take(prefix_size)
        self.leaf_places.add(reference.place)
        size, last, large = reference.units * UNIT, None, False
        for head, slot in zip(heads, slots):
            require(slot == fields.place, where, "leaf.slots")
            key, record, size_apart = self._record(fields, prefix, flags & WHOLE_KEYS)
            rest = key[prefix_size:]
            require(head == int.from_bytes(rest[:4].ljust(4, b"\0"), "big"), where, "leaf.heads")
            require(last is None or last < key, where, "leaf.order")
            require(low <= key and (high is None or key < high), where, "tree.fences")
            large = large or size_apart is not None
            size += size_apart or 0
            last = key
            self.records[key] = record
        fields.end()
        require(not large or flags & HAS_LARGE, where, "leaf.large")
        return count, size, large

    def _record(self, fields, prefix, has_whole_keys):
        flags = fields.u8()
        fields.require(flags <= 3, "leaf.records: flags")
        key_size, value_size = fields.varint(), fields.varint()
        expires = fields.u64() if flags & EXPIRES else 0
        met("btree record flags", flags)
        whole_size = fields.varint() if flags & LARGE else None
        key, value = fields.take(key_size), fields.take(value_size)
        if has_whole_keys:
            fields.require(key.startswith(prefix), "leaf.prefix")
        else:
            key = prefix + key
        fields.require(key != b"", "leaf.key")
        if flags & LARGE:
            fields.require(value_size <= 64 and self.page_bytes // 4 < whole_size <= 1 << 40,
                           "leaf.records: sizes")
            value = values.read_from_btree(self, value)
            fields.require(len(value) == whole_size, "value.pieces: the whole size")
        else:
            fields.require(value_size <= self.page_bytes // 4, "a longer value lies apart")
        return key, Record(value, expires), whole_size

    # ---- inner pages ----

    def inner(self, reference, level, low, high):
        payload, where = self.block(reference, 1 << 20)
        fields = Octets(payload, where)
        kind, own_level, zero, count, _ = fields.numbers("BBHIQ")
        require(kind == 2 and own_level == level and zero == 0, where, "inner.header")
        require(1 <= count <= 4096, where, "inner.count")
        met("btree inner level", level)
        children = [Reference.of(*fields.numbers("QQQQ")) for _ in range(count)]
        fences = [low] + [fields.sized() for _ in range(count - 1)] + [high]
        fields.end()
        separators = fences[1:-1]
        require(all(separators) and separators == sorted(set(separators)), where, "inner.order")
        require(all(low <= s and (high is None or s < high) for s in separators), where,
                "tree.fences")
        records, size, large = 0, 0, False
        for i, child in enumerate(children):
            require(1 <= child.records <= 1 << 48 and child.size <= 1 << 52, where,
                    "inner.children: counts")
            found = self.page(child, level - 1, fences[i], fences[i + 1])
            records, size, large = records + found[0], size + found[1], large or found[2]
        return records, size, large

    def page(self, reference, level, low=b"", high=None):
        """Records, stored bytes, and whether some value is apart: all as the parent says."""
        if level > 0:
            found = self.inner(reference, level, low, high)
        else:
            found = self.leaf(reference, low, high)
        where = self.at(reference.place * UNIT)
        require(found[0] == reference.records, where, "tree.records")
        require(found[1] == reference.size, where, "tree.bytes")
        require(not found[2] or reference.flags & HAS_LARGE, where, "tree.large")
        return found


def read_base(directory, keyspace):
    if not keyspace.state:
        return Base(0), None
    fields = Octets(keyspace.state, f"tern.root, state of partition {keyspace.partition}")
    fields.constant(b"\1", "version of the state")
    height, _ = fields.varint(), fields.varint()
    root = None
    if height > 0:
        packed, checksum = fields.numbers("QQ")
        root = Reference.of(packed, checksum, fields.varint(), fields.varint())
    base = Base(fields.varint())
    base.marks = [(fields.sized(), fields.varint()) for _ in range(fields.varint())]
    fields.end()
    keys, seqs = [m[0] for m in base.marks], [m[1] for m in base.marks]
    fields.require(keys == sorted(set(keys)) and seqs == sorted(seqs, reverse=True),
                   "marks ascend by key and descend by seq")
    if base.marks:
        met("btree marks")
    if root is None:
        return base, None
    tree = Tree(directory, keyspace)
    tree.page(root, height - 1)
    tree.used.sort()
    for (_, end), (start, _) in zip(tree.used, tree.used[1:]):
        require(end <= start, tree.at(start * UNIT), "space.overlap")
    base.records = tree.records
    return base, tree
