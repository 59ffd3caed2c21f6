# SPDX-License-Identifier: Apache-2.0
"""Values stored apart: each engine keeps them in pieces of its own kind."""

import os

from .base import EngineFile
from .block import read_block
from .octets import Octets, met, require

BTREE_PIECE_BLOCK = 256 << 10
BTREE_INDEX_BLOCK = 64 << 10


# ---- B+tree ----


def _btree_piece(tree, reference, number, generation):
    payload, where = tree.block(reference, BTREE_PIECE_BLOCK - 16)
    fields = Octets(payload, where)
    fields.constant(b"\3\0\0\0", "value.pieces: type of a piece")
    require(fields.numbers("IQ") == (number, generation), where,
            "value.pieces: number and generation")
    return fields.take(len(payload) - fields.place)


def _btree_entries(tree, reference, level, generation):
    """References of the pieces below an index block, in order."""
    payload, where = tree.block(reference, BTREE_INDEX_BLOCK - 16)
    fields = Octets(payload, where)
    require(fields.numbers("BBH") == (4, level, 0), where, "value.pieces: header of an index")
    count = fields.u32()
    require(fields.u64() == generation, where, "value.pieces: generation")
    entries = [type(reference).of(*fields.numbers("QQ")) for _ in range(count)]
    fields.end()
    if level == 1:
        return entries
    return [piece for entry in entries
            for piece in _btree_entries(tree, entry, level - 1, generation)]


def read_from_btree(tree, reference_bytes):
    from .btree import Reference
    fields = Octets(reference_bytes, tree.name + ", a reference to a value")
    levels, size, generation = fields.u8(), fields.varint(), fields.varint()
    reference = Reference.of(*fields.numbers("QQ"))
    fields.end()
    fields.require(levels <= 2, "value.pieces: at most 2 levels")
    met("btree value levels", levels)
    pieces = [reference]
    if levels > 0:
        pieces = _btree_entries(tree, reference, levels, generation)
    parts = [_btree_piece(tree, piece, i, generation) for i, piece in enumerate(pieces)]
    full = BTREE_PIECE_BLOCK - 16 - 16
    fields.require(all(len(part) == full for part in parts[:-1]), "value.pieces: pieces are full")
    value = b"".join(parts)
    fields.require(len(value) == size, "value.pieces: size of the value")
    return value


# ---- hash ----

HASH_PIECE = 262144


def read_from_hash(file, reference_bytes):
    fields = Octets(reference_bytes, file.name + ", a reference to a value")
    fields.constant(b"\1", "version of a reference")
    size = fields.u64()
    listed, where = file.block(fields.numbers("IIQ"))
    fields.end()
    entries = Octets(listed, where)
    parts = []
    while entries.has_more():
        parts.append(file.block(entries.numbers("IIQ"))[0])
    met("hash value", "of several pieces" if len(parts) > 1 else "of one piece")
    require(all(len(part) == HASH_PIECE for part in parts[:-1]), where, "pieces are full")
    value = b"".join(parts)
    require(len(value) == size, where, "size of the value")
    return value


# ---- LSM ----

LSM_PIECE = 262120


def read_from_lsm(directory, keyspace, reference_bytes):
    """The value, and (number of its file, bytes taken there)."""
    fields = Octets(reference_bytes, f"partition {keyspace.partition}, a reference to a value")
    has_index, number, size, taken = fields.u8(), fields.varint(), fields.varint(), fields.varint()
    top = fields.numbers("QQ")
    fields.end()
    file = EngineFile(os.path.join(directory, f"p-{keyspace.partition:016x}.{number}.val"))
    lengths = []

    def block(reference):
        packed, checksum = reference
        place, length = packed >> 24, packed & 0xffffff
        lengths.append(length)
        return Octets(read_block(file.cut(place, length), file.at(place), checksum,
                                 LSM_PIECE + 8, length), file.at(place))

    pieces = [top]
    met("lsm value", "with an index" if has_index else "of one piece")
    if has_index:
        index = block(top)
        index.constant(b"\x26\0\0\0", "type of an index")
        pieces = [index.numbers("QQ") for _ in range(index.u32())]
        index.end()
    value = b""
    for i, piece in enumerate(pieces):
        found = block(piece)
        found.constant(b"\x25\0\0\0" + i.to_bytes(4, "little"), "type and number of a piece")
        part = found.take(len(found.data) - found.place)
        found.require(len(part) == LSM_PIECE or i == len(pieces) - 1, "pieces are full")
        value += part
    fields.require(has_index == (len(pieces) > 1), "an index where there are several pieces")
    fields.require(len(value) == size, "size of the value")
    fields.require(sum(lengths) == taken, "bytes taken in the file")
    return value, (number, taken)
