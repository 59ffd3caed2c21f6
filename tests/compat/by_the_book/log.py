# SPDX-License-Identifier: Apache-2.0
"""docs/format/log.md: segments, their chain, records, and where the log ends.

A position is an int: the id of a segment in the high 32 bits, an offset in the low 32.
"""

import os
import re
import struct
from dataclasses import dataclass

from .checksum import crc32c
from .octets import Octets, met, require

HEADER_BYTES = 4096
RECORD_HEADER_BYTES = 24
SEAL_BYTES = 32
COMMIT, PART, CHUNK, MARK, TICK, COPY, SEAL = 1, 2, 3, 4, 5, 6, 32
KNOWN_KINDS = (COMMIT, PART, CHUNK, MARK, TICK, COPY, SEAL)


def show(position):
    return f"log-{position >> 32:016x}+{position & 0xffffffff}"


@dataclass
class Segment:
    id: int
    data: bytes
    salt_checksum: int
    incarnation: int
    left_at: int        # where the chain left the segment before
    left_chain: int     # None: not known
    durable: int
    checksum: int       # of the header

    @property
    def first(self):
        return self.id << 32


@dataclass
class Record:
    position: int
    end: int
    checksum: int
    chain: int
    durable: int
    incarnation: int
    kind: int
    payload: bytes


def _header(copy, where):
    fields = Octets(copy, where)
    fields.constant(b"TERNLOG1", "magic")
    version, segment_id, size, salt, incarnation, flags, left_at, left_chain = \
        fields.numbers("IIQ8sIIQI")
    fields.zeros(4)
    durable = fields.u64()
    fields.zeros(444)
    checksum = fields.u32()
    require(checksum == crc32c(copy[:508]), where, "log.header: checksum")
    require(version == 1, where, "format version 1")
    require(flags <= 1, where, "log.header: flags")
    require(64 << 10 <= size <= 1 << 30 and size % 4096 == 0, where, "log.header: size")
    return segment_id, size, salt, incarnation, left_at, left_chain if flags & 1 else None, \
        durable, checksum


def _read_segment(path, name):
    """The segment, or None for a spare. Both copies are to be whole: nothing here was cut off."""
    with open(path, "rb") as file:
        data = file.read()
    copies = data[:512], data[2048:2560]
    if len(data) < HEADER_BYTES or not any(copies[0] + copies[1]):
        return None
    require(copies[0] == copies[1], name, "log.header: both copies are equal")
    segment_id, size, salt, incarnation, left_at, left_chain, durable, checksum = \
        _header(copies[0], name)
    if segment_id != int(name[4:], 16):
        return None
    require(size == len(data), name, "log.header: size of the file")
    return Segment(segment_id, data, crc32c(salt), incarnation, left_at, left_chain, durable,
                   checksum)


def read_segments(directory):
    segments = {}
    for name in sorted(os.listdir(directory)):
        if re.fullmatch(r"log-[0-9a-f]{16}", name):
            segment = _read_segment(os.path.join(directory, name), name)
            if segment is not None:
                segments[segment.id] = segment
    return segments


def parse_record(segment, offset):
    """The record that validates alone at the offset, or None."""
    data = segment.data
    if offset + RECORD_HEADER_BYTES > len(data):
        return None
    checksum, size, chain, mark, incarnation, kind, back, short = \
        struct.unpack_from("<IIIIIBBH", data, offset)
    end = offset + (RECORD_HEADER_BYTES + size + 7) // 8 * 8
    room = len(data) - (0 if kind == SEAL else SEAL_BYTES)
    if not 1 <= kind <= 63 or size > len(data) // 4 - RECORD_HEADER_BYTES or end > room:
        return None
    start = segment.salt_checksum ^ offset
    if crc32c(data[offset + 4:offset + 22], start) & 0xffff != short:
        return None
    if crc32c(data[offset + 4:end], start) != checksum or back > segment.id or mark % 8 != 0:
        return None
    payload_end = offset + RECORD_HEADER_BYTES + size
    if any(data[payload_end:end]):
        return None
    return Record(segment.first + offset, segment.first + end, checksum, chain,
                  (segment.id - back << 32) + mark, incarnation, kind,
                  data[offset + RECORD_HEADER_BYTES:payload_end])


class Log:
    """All records on the chain from the segment of `start`; `end` is the torn end or the last."""

    def __init__(self, directory, start):
        self.start = start
        self.segments = read_segments(directory)
        self.records = []
        self.durable = start
        require(start >> 32 in self.segments, show(start), "log.start: the segment is there")
        self._follow()
        require(start <= self.end, show(start), "log.start: is on the chain")
        self._search_behind()

    def replayed(self):
        return [record for record in self.records if record.position >= self.start]

    def was_closed(self):
        """It ends with a mark, and all before that is durable."""
        last = self.records[-1] if self.records else None
        return last is not None and last.kind == MARK and self.durable == last.position

    def _successor(self, segment):
        ids = [other.id for other in self.segments.values()
               if other.left_at >> 32 == segment.id]
        return self.segments[max(ids)] if ids else None

    def _follow(self):
        segment = self.segments[self.start >> 32]
        while segment is not None:
            offset, chain = HEADER_BYTES, segment.checksum
            successor = self._successor(segment)
            limit = successor.left_at & 0xffffffff if successor else len(segment.data)
            while offset < limit:
                record = parse_record(segment, offset)
                if record is None or record.chain != chain or record.end & 0xffffffff > limit:
                    break
                self._accept(record)
                offset, chain = record.end & 0xffffffff, record.checksum
            self.end = segment.first + offset
            if offset < limit:
                break
            if successor is None:
                break
            require(successor.left_chain in (None, chain), show(self.end), "log.chain")
            segment = successor

    def _accept(self, record):
        where = show(record.position)
        require(record.durable <= record.position, where, "a mark is not above its record")
        require(record.kind in KNOWN_KINDS, where, f"kind {record.kind} is known")
        met("log kind", record.kind)
        if record.kind == MARK:
            require(record.payload == b"", where, "a mark has no payload")
        self.durable = max(self.durable, record.durable)
        self.records.append(record)

    def _search_behind(self):
        """Nothing behind the end says that something at the end was durable."""
        last = self.end >> 32
        for segment in self.segments.values():
            if segment.id > last:
                require(segment.durable <= self.end, show(segment.first), "log.record")
            if segment.id >= last:
                first = self.end & 0xffffffff if segment.id == last else HEADER_BYTES
                for offset in range(first, len(segment.data) - RECORD_HEADER_BYTES, 8):
                    if segment.data[offset + 20] == 0:
                        continue
                    record = parse_record(segment, offset)
                    require(record is None or record.durable <= self.end, show(self.end),
                            "log.record: a durable record is damaged or missing")
