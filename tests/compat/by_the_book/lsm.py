# SPDX-License-Identifier: Apache-2.0
"""docs/format/lsm.md: sorted tables, their runs, and what they come to.

Everything in a run is newer than everything in the runs after it; so runs are played oldest
first onto a map, as commits are.
"""

import os
from dataclasses import dataclass, field

from . import merge, values
from .base import Base, EngineFile, Record
from .block import read_block
from .checksum import xxh3
from .octets import Octets, met, require

DATA, INDEX, FILTER, META = 0x21, 0x22, 0x23, 0x24
PUT, DELETE, MERGE, LARGE, EXPIRES = 1, 2, 3, 4, 8
HAS_LARGE = 1
RESTART_EVERY = 8
BLOCKS_MAX = 128
NO_RESTART, SEVERAL_RESTARTS = 254, 255
PAYLOAD_MAX = (1 << 24) - 1
SALTS = (0x47b6137b, 0x44974d91, 0x8824ad5b, 0xa2b7289d, 0x705495c7, 0x2df1424b, 0x9efc4947,
         0x5c6bfb31)


def place_of(packed):
    """(byte offset, stored size)."""
    return packed >> 24, packed & 0xffffff


@dataclass
class Entry:
    key: bytes
    kind: int
    value: bytes
    expires: int
    use: tuple      # of a value apart: number of its file, bytes taken there


@dataclass
class Meta:
    """Of a table; partitions as (lower key, index, filter, first block, blocks, records)."""
    seed: int
    age_seq: int
    records: int
    deletes: int
    merges: int
    expiring: int
    lowest_expiry: int
    highest_expiry: int
    bytes: int
    blocks: int
    first_key: bytes
    last_key: bytes
    partitions: list = field(default_factory=list)
    range_deletes: list = field(default_factory=list)
    value_files: list = field(default_factory=list)


class Table(EngineFile):
    def __init__(self, directory, keyspace, number, meta_checksum):
        super().__init__(os.path.join(directory, f"p-{keyspace.partition:016x}.{number}.lsm"))
        self.directory = directory
        self.keyspace = keyspace
        fields = Octets(self.data[-64:], self.name + ", footer")
        fields.constant(b"TERNSST1", "magic")
        require(fields.numbers("QQ") == (keyspace.partition, number), self.name, "footer: ids")
        packed, checksum = fields.numbers("QQ")
        fields.zeros(16)
        require(fields.u64() == xxh3(self.data[-64:-8]), self.name, "footer: checksum")
        require(checksum == meta_checksum, self.name, "the checksum that the manifest keeps")
        self.meta = self._meta(packed, checksum)

    def block(self, packed, checksum, kind):
        place, size = place_of(packed)
        where = self.at(place)
        payload = read_block(self.cut(place, size), where, checksum, PAYLOAD_MAX, size)
        fields = Octets(payload, where)
        require(fields.u8() == kind, where, f"type {kind:#x}")
        return fields

    def _meta(self, packed, checksum):
        fields = self.block(packed, checksum, META)
        version, level, compression, seed = fields.numbers("BBBQ")
        fields.require(version == 1 and level <= 7 and compression <= 3, "meta: head")
        fields.require(seed == self.keyspace.seed, "meta: seed of the partition")
        met("lsm table level", level, "style", self.keyspace.style)
        meta = Meta(seed, *(fields.varint() for _ in range(9)), fields.sized(), fields.sized())
        for _ in range(fields.varint()):
            meta.partitions.append((fields.sized(), fields.numbers("QQ"), fields.numbers("QQ"),
                                    *(fields.varint() for _ in range(3))))
        for _ in range(fields.varint()):
            begin, has_end, end = fields.sized(), fields.u8(), fields.sized()
            fields.require(has_end <= 1 and (has_end or not end), "meta: an end or none")
            met("lsm range delete", "with an end" if has_end else "to the last key")
            meta.range_deletes.append((begin, end if has_end else None))
        meta.value_files = [tuple(fields.varint() for _ in range(3))
                            for _ in range(fields.varint())]
        fields.end()
        for (_, end), (begin, _) in zip(meta.range_deletes, meta.range_deletes[1:]):
            fields.require(end is not None and end <= begin, "meta: ranges ascend, disjoint")
        numbers = [number for number, _, _ in meta.value_files]
        fields.require(numbers == sorted(set(numbers)), "meta: value files ascend")
        return meta

    def ends_before(self, other):
        """By extents: of all records and range deletes."""
        ranges = self.meta.range_deletes
        others = other.meta.range_deletes
        firsts = [other.meta.first_key] if other.meta.records else []
        first = min(firsts + [begin for begin, _ in others])
        return (not self.meta.records or self.meta.last_key < first) and \
            (not ranges or ranges[-1][1] is not None and ranges[-1][1] <= first)

    # ---- records ----

    def entries(self):
        """All of them, after a look at what counts and filters say."""
        meta, found, blocks = self.meta, [], 0
        for lower, index, filter_, first_block, block_count, record_count in meta.partitions:
            require(first_block == blocks, self.name, "meta: first block of a partition")
            require(1 <= block_count <= BLOCKS_MAX, self.name, "meta: blocks of a partition")
            of_partition = self._partition(index, block_count)
            require(len(of_partition) == record_count, self.name, "meta: records of a partition")
            keys = [entry.key for entry in of_partition]
            require(not found or found[-1].key < lower, self.name, "meta: lower key")
            require(not keys or lower <= keys[0], self.name, "meta: lower key")
            self._check_filter(filter_, keys)
            found += of_partition
            blocks += block_count
        require(blocks == meta.blocks and len(found) == meta.records, self.name, "meta: counts")
        self._check_counts(found)
        return found

    def _check_counts(self, found):
        meta, where = self.meta, self.name + ", meta"
        keys = [entry.key for entry in found]
        require(all(a < b for a, b in zip(keys, keys[1:])), where, "records ascend")
        require(sum(e.kind == DELETE for e in found) == meta.deletes, where, "deletes")
        require(sum(e.kind == MERGE for e in found) == meta.merges, where, "merges")
        expiries = [e.expires for e in found if e.expires]
        require(len(expiries) == meta.expiring, where, "expiring records")
        bounds = (min(expiries), max(expiries)) if expiries else (0, 0)
        require((meta.lowest_expiry, meta.highest_expiry) == bounds, where,
                "lowest and highest expiry")
        ends = (keys[0], keys[-1]) if keys else (b"", b"")
        require((meta.first_key, meta.last_key) == ends, where, "first and last key")
        require(sum(len(e.key) + len(e.value) for e in found) == meta.bytes, where,
                "bytes of keys and values")
        uses = {}
        for use in (e.use for e in found if e.use):
            references, taken = uses.get(use[0], (0, 0))
            uses[use[0]] = (references + 1, taken + use[1])
        require(sorted((n, *use) for n, use in uses.items()) == meta.value_files, where,
                "value files")

    def _partition(self, index, block_count):
        fields = self.block(*index, INDEX)
        fields.zeros(1)
        count, prefix_size, prefix_place = fields.numbers("HII")
        fields.zeros(4)
        heads = fields.numbers(f"{count}I")
        blocks = [fields.numbers("QQ") for _ in range(count)]
        ends = fields.numbers(f"{count}I")
        fields.require(count == block_count, "index: data blocks")
        fields.require(fields.place == prefix_place, "index: where the prefix begins")
        prefix = fields.take(prefix_size)
        rests, first = [], 0
        for end in ends:
            rests.append(fields.take(end - first))
            first = end
        fields.zeros(64)
        fields.end()
        found = []
        for head, rest, block in zip(heads, rests, blocks):
            fields.require(head == int.from_bytes(rest[:4].ljust(4, b"\0"), "big"), "index: heads")
            entries = self._data_block(block)
            separator = prefix + rest
            fields.require(not found or found[-1].key < separator, "index: separators")
            fields.require(separator <= entries[0].key, "index: separators")
            found += entries
        return found

    def _data_block(self, block):
        fields = self.block(*block, DATA)
        flags, count, restarts, buckets, restarts_place, key_bytes = fields.numbers("BHHHII")
        entries, offsets, key = [], [], b""
        for i in range(count):
            if i % RESTART_EVERY == 0:
                offsets.append(fields.place)
            kind, shared = fields.u8(), fields.varint()
            fields.require(i % RESTART_EVERY != 0 or shared == 0, "data: restart points")
            fields.require(shared <= len(key), "data: shared bytes")
            entry = self._entry(fields, kind, key[:shared])
            key = entry.key
            entries.append(entry)
        fields.require(fields.place == restarts_place, "data: where the restart points begin")
        fields.require(list(fields.numbers(f"{restarts}H")) == offsets, "data: restart points")
        self._check_buckets(fields, buckets, entries)
        fields.end()
        fields.require(sum(len(e.key) for e in entries) == key_bytes, "data: sum of key sizes")
        fields.require(flags == (HAS_LARGE if any(e.kind == LARGE for e in entries) else 0),
                       "data: flags")
        return entries

    def _entry(self, fields, kind, shared_key):
        key_size, value_size = fields.varint(), fields.varint()
        expires = fields.varint() if kind & EXPIRES else 0
        kind &= ~EXPIRES
        fields.require(kind in (PUT, DELETE, MERGE, LARGE), "data: kind of a record")
        fields.require(not expires or kind in (PUT, LARGE), "data: only values expire")
        met("lsm record kind", kind, "expires" if expires else "stays")
        whole_size = fields.varint() if kind == LARGE else None
        key, value = shared_key + fields.take(key_size), fields.take(value_size)
        use = None
        if whole_size is not None:
            value, use = values.read_from_lsm(self.directory, self.keyspace, value)
            fields.require(len(value) == whole_size, "data: whole size")
        return Entry(key, kind, value, expires, use)

    def _check_buckets(self, fields, count, entries):
        expected = [NO_RESTART] * count
        for i, entry in enumerate(entries if count else ()):
            bucket = (xxh3(entry.key, self.keyspace.seed) >> 32) * count >> 32
            restart = i // RESTART_EVERY
            is_first = expected[bucket] in (NO_RESTART, restart)
            expected[bucket] = restart if is_first else SEVERAL_RESTARTS
        fields.require(list(fields.take(count)) == expected, "data: buckets")

    def _check_filter(self, filter_, keys):
        if filter_ == (0, 0):
            met("lsm no filter")
            require(self.keyspace.filter_bits == 0, self.name, "a filter is there")
            return
        fields = self.block(*filter_, FILTER)
        fields.zeros(3)
        count = fields.u32()
        fields.zeros(8)
        lines = [fields.numbers("8I") for _ in range(count)]
        fields.end()
        for key in keys:
            h = xxh3(key, self.keyspace.seed)
            line = lines[(h >> 32) * count >> 32]
            fields.require(all(word >> ((h * salt & 0xffffffff) >> 27) & 1
                               for word, salt in zip(line, SALTS)), "filter: knows every key")


# ---- all runs of a partition ----


def _operands(value, where):
    """(merge kind, logged time, operand), newest first."""
    fields = Octets(value, where)
    found = []
    while fields.has_more():
        found.append((fields.u8(), fields.varint(), fields.sized()))
    return found


def _play(records, table, entries):
    for entry in entries:
        if entry.kind in (PUT, LARGE):
            records[entry.key] = Record(entry.value, entry.expires)
        elif entry.kind == DELETE:
            records.pop(entry.key, None)
        else:
            for kind, time, operand in reversed(_operands(entry.value, table.name)):
                records[entry.key] = merge.apply(records.get(entry.key), kind, operand, time)


def _read_runs(directory, keyspace, fields):
    runs, last_level = [], 0
    for _ in range(fields.varint()):
        level = fields.varint()
        fields.require(last_level <= level <= 7, "levels of runs")
        last_level = level
        runs.append([Table(directory, keyspace, fields.varint(), fields.u64())
                     for _ in range(fields.varint())])
    return runs


def read_base(directory, keyspace):
    if not keyspace.state:
        return Base(0)
    fields = Octets(keyspace.state, f"tern.root, state of partition {keyspace.partition}")
    fields.constant(b"\1", "version of the state")
    base = Base(fields.varint())
    _base_time, next_number = fields.varint(), fields.varint()
    runs = _read_runs(directory, keyspace, fields)
    fields.end()
    for run in reversed(runs):
        tables = [(table, table.entries()) for table in run]
        for table, _ in tables:
            require(table.meta.age_seq <= base.complete_seq, table.name, "age seq")
            for begin, end in table.meta.range_deletes:
                merge.delete_range(base.records, begin, end)
        for (before, _), (after, _) in zip(tables, tables[1:]):
            require(before.ends_before(after), after.name, "tables of a run ascend")
        for table, entries in tables:
            _play(base.records, table, entries)
    return base
