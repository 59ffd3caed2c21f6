# SPDX-License-Identifier: Apache-2.0
"""docs/format/hash.md: segments of records, their directories, hashes and bitmaps."""

import os
from dataclasses import dataclass

from . import values
from .base import Base, EngineFile, Record
from .block import read_block
from .checksum import crc32c, xxh3
from .octets import Octets, met, require

UNIT = 4096
PUT, LARGE, EXPIRES, FIRST = 1, 4, 8, 16
BLOCK_MAX = (1 << 32) - 1
XXH3, CRC32C, FNV1A = 0, 1, 2
_M64 = (1 << 64) - 1


def _spread(x):
    x = (x ^ x >> 32) * 0x9e3779b97f4a7c15 & _M64
    x = (x ^ x >> 29) * 0xbf58476d1ce4e5b9 & _M64
    return x ^ x >> 32


def _fnv1a(key, start):
    h = start
    for byte in key:
        h = (h ^ byte) * 0x100000001b3 & _M64
    return h


def key_hash(function, seed, key):
    if function == XXH3:
        return xxh3(key, seed)
    if function == CRC32C:
        return _spread(seed ^ crc32c(key, seed & 0xffffffff))
    return _spread(_fnv1a(key, 0xcbf29ce484222325 ^ seed))


@dataclass
class Entry:
    """A record as it stands in a segment."""
    key: bytes
    record: Record


class HashFile(EngineFile):
    def __init__(self, directory, keyspace):
        super().__init__(os.path.join(directory, f"p-{keyspace.partition:016x}.hash"))
        self.keyspace = keyspace
        fields = Octets(self.cut(0, UNIT), self.name)
        fields.constant(b"TERNHASH", "magic")
        require(fields.numbers("IIQ") == (1, UNIT, keyspace.partition), self.name, "header")
        fields.u32()
        fields.zeros(4)
        require(fields.u64() == xxh3(self.data[:32]), self.name, "checksum of the header")
        fields.zeros(UNIT - 40)

    def block(self, reference):
        """The payload, or None without units; and where it is."""
        place, units, checksum = reference
        where = self.at(place * UNIT)
        if units == 0:
            return None, where
        data = self.cut(place * UNIT, units * UNIT)
        require(place >= 1 and len(data) == units * UNIT, where, "block: in the file")
        payload = read_block(data, where, checksum, BLOCK_MAX)
        length = 16 + int.from_bytes(data[8:12], "little")
        require(-(-length // UNIT) == units, where, "block: as many units as it needs")
        require(not any(data[length:]), where, "block: padded with zeros")
        return payload, where

    # ---- a segment ----

    def segment(self, fields):
        """Its live records. Blocks without any are not read: their places may be in use again."""
        directory, hashes, bitmap = (fields.numbers("IIQ") for _ in range(3))
        count, live_count, lowest, highest = fields.numbers("IIQQ")
        fields.zeros(8)
        live = self._live(bitmap, count)
        fields.require(sum(live) == live_count, "live records")
        entries = self._directory(directory, live)
        self._check_hashes(hashes, entries)
        entries = [entry for entry in entries if entry is not None]
        fields.require(all(lowest <= e.record.seq <= highest for e in entries),
                       "lowest and highest seq")
        return entries

    def _directory(self, reference, live):
        """Entries by number: None for a record that is not live."""
        payload, where = self.block(reference)
        fields = Octets(payload, where)
        fields.constant(b"\1D", "version and type of a directory")
        function, block_count, records = fields.numbers("HII")
        fields.zeros(4)
        require(records == len(live), where, "directory: records")
        met("hash function", function, "index", self.keyspace.style)
        require(function == self.keyspace.hash_options.function, where, "directory: function")
        require(fields.u64() == self.keyspace.seed, where, "directory: seed")
        entries = []
        for _ in range(block_count):
            place, units, size, count, flags, checksum = fields.numbers("IIIHHQ")
            of_block = live[len(entries):len(entries) + count]
            found = [None] * count
            if any(of_block):
                found = self._records((place, units, checksum), size, flags, of_block)
            entries += found
        fields.end()
        require(len(entries) == len(live), where, "directory: records of all blocks")
        return entries

    def _records(self, reference, size, block_flags, live):
        payload, where = self.block(reference)
        require(len(payload) == size, where, "directory: bytes of payload")
        require(16 + size <= self.keyspace.page_bytes or len(live) == 1, where,
                "records: as many as fit into a page")
        fields = Octets(payload, where)
        require(fields.u16() == len(live), where, "directory: records of a block")
        fields.zeros(2)
        offsets = fields.numbers(f"{len(live)}H")
        entries, found_flags = [], 0
        for offset, is_live in zip(offsets, live):
            require(offset == fields.place, where, "records: one after the other")
            flags, entry = self._record(fields, is_live)
            found_flags |= (1 if flags & EXPIRES else 0) | (2 if flags & 7 == LARGE else 0)
            entries.append(entry)
        fields.end()
        require(block_flags == found_flags, where, "directory: flags of a block")
        return entries

    def _record(self, fields, is_live):
        flags = fields.u8()
        fields.require(flags & 7 in (PUT, LARGE) and flags < 32, "records: flags")
        met("hash record flags", flags & ~FIRST)
        key_size, value_size = fields.varint(), fields.varint()
        seq, _ = fields.varint(), fields.varint()
        expires = fields.varint() if flags & EXPIRES else 0
        whole_size = fields.varint() if flags & 7 == LARGE else None
        key, value = fields.take(key_size), fields.take(value_size)
        fields.require(key != b"", "records: no empty key")
        if not is_live:
            return flags, None
        if whole_size is not None:
            value = values.read_from_hash(self, value)
            fields.require(len(value) == whole_size, "records: whole size")
        return flags, Entry(key, Record(value, expires, seq))

    def _check_hashes(self, reference, entries):
        payload, where = self.block(reference)
        fields = Octets(payload, where)
        for entry in entries:
            found = fields.u64()
            expected = found if entry is None else key_hash(
                self.keyspace.hash_options.function, self.keyspace.seed, entry.key)
            require(found == expected, where, "hashes: that of a key")
        fields.end()

    def _live(self, reference, count):
        payload, where = self.block(reference)
        if payload is None:
            return [True] * count
        met("hash bitmap")
        require(len(payload) == (count + 63) // 64 * 8, where, "bitmap: whole words")
        bits = int.from_bytes(payload, "little")
        require(bits >> count == 0, where, "bitmap: no bit behind the last record")
        return [bool(bits >> i & 1) for i in range(count)]


def read_base(directory, keyspace):
    if not keyspace.state:
        return Base(0)
    fields = Octets(keyspace.state, f"tern.root, state of partition {keyspace.partition}")
    version, has_root, complete_seq, _, live_count = fields.numbers("BBQQQ")
    root = fields.numbers("IIQ")
    fields.zeros(8)
    fields.end()
    fields.require(version == 1 and has_root <= 1, "version of the state")
    base = Base(complete_seq)
    if not has_root:
        return base
    file = HashFile(directory, keyspace)
    payload, where = file.block(root)
    fields = Octets(payload, where)
    fields.constant(b"\1R\0\0", "version and type of a root")
    live = [entry for _ in range(fields.u32()) for entry in file.segment(fields)]
    fields.end()
    base.records = {entry.key: entry.record for entry in live}
    require(len(base.records) == len(live), where, "at most one record of a key is live")
    require(len(live) == live_count, where, "live records of the state")
    return base
