# SPDX-License-Identifier: Apache-2.0
"""docs/format/commit.md: what log records hold."""

import struct
from dataclasses import dataclass, field

from . import log
from .manifest import ENGINE_BTREE, ENGINE_HASH, ENGINE_LSM, HashOptions, Keyspace
from .octets import Octets, met, require

CREATE, DROP, CONVERT = 0, 1, 2
PUT, DELETE, MERGE, LARGE, DELETE_RANGE = 1, 2, 3, 4, 5
ADD, APPEND, MAX = 1, 2, 3
IN_PARTS = (1 << 64) - 1


@dataclass
class CatalogChange:
    kind: int
    partition: int
    keyspace: int
    target: int = 0             # of a conversion
    created: Keyspace = None


@dataclass
class Change:
    kind: int
    key: bytes
    expires: int = 0            # 0: never
    value: bytes = None         # of a put, the operand of a merge
    merge_kind: int = 0
    token: int = 0              # of a large value
    size: int = 0
    end: bytes = None           # of a range; None: to the last key


@dataclass
class Part:
    partition: int
    keyspace: int
    changes: list


@dataclass
class Commit:
    seq: int
    time: int
    catalog: list = field(default_factory=list)
    parts: list = field(default_factory=list)


def _ids(fields):
    number = fields.varint()
    partition = number >> 1
    keyspace = fields.varint() if number & 1 else partition
    fields.require(partition != 0 and keyspace != 0, "ids are not 0")
    fields.require(not number & 1 or keyspace != partition, "the id of the keyspace is another")
    return partition, keyspace


def _created(fields, partition, keyspace, seq):
    engine, style, seed = fields.numbers("BBQ")
    page, fan_out, fill = fields.varint(), fields.varint(), fields.varint()
    fields.require(max(page, fan_out, fill) < 1 << 32, "numbers of at most 32 bits")
    name = fields.sized()
    fields.require(1 <= len(name) <= 255 and 0 not in name, "1 to 255 bytes of name")
    created = Keyspace(partition, seq, engine & 63, style & 15, style >> 4, fill, page, fan_out,
                       seed, name.decode("utf-8"), keyspace=keyspace)
    fields.require(created.engine in (ENGINE_BTREE, ENGINE_HASH, ENGINE_LSM), "engine is known")
    if created.engine == ENGINE_HASH:
        met("created hash")
        created.hash_options = HashOptions(fields.varint(), fields.varint(), fields.u8())
    if engine & 64:
        met("created lsm with options")
        created.filter_bits, created.level_compression = fields.varint(), fields.varint()
    return created


def _catalog_change(fields, seq):
    change = CatalogChange(fields.u8(), *_ids(fields))
    fields.require(change.kind in (CREATE, DROP, CONVERT), f"kind {change.kind} is known")
    met("catalog change", change.kind)
    if change.kind == CONVERT:
        change.target = fields.varint()
        fields.require(change.target != 0, "the target is not 0")
    if change.kind == CREATE:
        change.created = _created(fields, change.partition, change.keyspace, seq)
    return change


def _change(fields):
    tag = fields.u8()
    change = Change(tag & 7, fields.sized())
    fields.require(PUT <= change.kind <= DELETE_RANGE, f"kind {change.kind} is known")
    fields.require(change.key or change.kind == DELETE_RANGE, "no empty key")
    may_have = {PUT: 8, MERGE: 96, LARGE: 8, DELETE_RANGE: 16}.get(change.kind, 0)
    fields.require(tag & ~7 & ~may_have == 0, "bits of a tag")
    met("change tag", tag)
    if tag & 8:
        change.expires = fields.u64()
    if change.kind in (PUT, MERGE):
        change.value = fields.sized()
    if change.kind == MERGE:
        change.merge_kind = tag >> 5
        fields.require(ADD <= change.merge_kind <= MAX, "kind of a merge")
    if change.kind == LARGE:
        change.token, change.size = fields.u64(), fields.varint()
    if change.kind == DELETE_RANGE and tag & 16:
        change.end = fields.sized()
    return change


def decode_commit(data, where):
    fields = Octets(data, where)
    commit = Commit(fields.u64(), fields.u64())
    fields.require(commit.seq != 0, "seq is not 0")
    commit.catalog = [_catalog_change(fields, commit.seq) for _ in range(fields.varint())]
    for _ in range(fields.varint()):
        partition, keyspace = _ids(fields)
        changes = [_change(fields) for _ in range(fields.varint())]
        commit.parts.append(Part(partition, keyspace, changes))
    fields.end()
    return commit


class CommitReader:
    """Takes records in order, gives a commit where one ends, and keeps chunks."""

    def __init__(self):
        self.pieces = []        # (seq, piece) of the parts right before
        self.values = {}        # token -> (partition, bytes so far)
        self.time = 0

    def take(self, record):
        """A commit, or None. Copies are commits like others to whoever replays them."""
        where = log.show(record.position)
        if record.kind == log.PART:
            self.pieces.append((struct.unpack_from("<Q", record.payload)[0], record.payload[8:]))
        elif record.kind == log.CHUNK:
            self._take_chunk(Octets(record.payload, where))
        elif record.kind == log.TICK:
            fields = Octets(record.payload, where)
            self.time = max(self.time, fields.u64())
            fields.end()
        elif record.kind in (log.COMMIT, log.COPY):
            commit = self._take_commit(record.payload, where)
            self.time = max(self.time, commit.time)
            return commit
        return None

    def _take_chunk(self, fields):
        token, partition, offset = fields.numbers("QQQ")
        data = fields.take(len(fields.data) - fields.place)
        if offset == 0:
            self.values[token] = (partition, bytearray())
        elif token not in self.values:
            return      # it begins before the log does: some base holds it
        value = self.values[token][1]
        fields.require(len(value) == offset, "chunks of a token are contiguous")
        value += data

    def _take_commit(self, payload, where):
        pieces, self.pieces = self.pieces, []
        if struct.unpack_from("<Q", payload, 8)[0] != IN_PARTS:
            return decode_commit(payload, where)
        fields = Octets(payload, where)
        seq, _, count, size = fields.numbers("QQIQ")
        fields.end()
        require(count <= len(pieces), where, "its parts are right before it")
        pieces = pieces[len(pieces) - count:]
        require(all(piece_seq == seq for piece_seq, _ in pieces), where, "parts have its seq")
        data = b"".join(piece for _, piece in pieces)
        require(len(data) == size, where, "its parts are as long as it says")
        commit = decode_commit(data, where)
        require(commit.seq == seq, where, "seq of a commit in parts")
        return commit

    def large_value(self, change, where):
        require(change.token in self.values, where, "its chunks stand in the log")
        partition, value = self.values[change.token]
        require(len(value) == change.size, where, "its chunks hold the value")
        return partition, bytes(value)
