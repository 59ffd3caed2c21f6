# SPDX-License-Identifier: Apache-2.0
"""docs/format/dump.md: what `tern export --format dump` writes."""

from dataclasses import dataclass, field

from .checksum import crc32c
from .manifest import ENGINE_HASH, ENGINE_LSM
from .octets import Octets

KEYSPACE, RECORDS, LARGE, CHUNK, END = 1, 2, 3, 4, 5
PAYLOAD_MAX = 16 << 20
NO_FILTER = (1 << 32) - 1


@dataclass
class DumpedKeyspace:
    name: str
    engine: int
    compression: int
    page_bytes: int
    fan_out: int
    fill_percent: int
    style: int = 0
    max_load_percent: int = 0
    expected_keys: int = 0
    function: int = 0
    filter_bits: int = 0
    level_compression: int = 0
    content: dict = field(default_factory=dict)
    last_key: bytes = b""

    def add(self, fields, key, value):
        fields.require(self.engine == ENGINE_HASH or self.last_key < key, "order of keys")
        fields.require(key not in self.content, "no key is there twice")
        self.content[key] = value
        self.last_key = key


def _blocks(fields):
    """(kind, count, payload): the chain of checksums leads from one to the next."""
    fields.constant(b"TERNDUMP", "magic")
    fields.require(fields.u32() == 1, "version 1")
    last = fields.u32()
    fields.require(last == crc32c(fields.data[:12]), "checksum of the header")
    while fields.has_more():
        head = fields.data[fields.place:fields.place + 12]
        kind, size, count, checksum = fields.numbers("IIII")
        fields.require(size <= PAYLOAD_MAX, "at most 16 MiB of payload")
        payload = fields.take(size)
        expected = crc32c(last.to_bytes(4, "little") + head + payload)
        fields.require(checksum == expected, "checksum of a block")
        last = checksum
        yield kind, count, Octets(payload, f"{fields.where}, block that ends at {fields.place}")


def _keyspace(fields):
    engine, *numbers = fields.numbers("IIIII")
    found = DumpedKeyspace("", engine, *numbers)
    if engine == ENGINE_HASH:
        found.style, found.max_load_percent, found.expected_keys, found.function = \
            fields.numbers("IIQI")
    elif engine == ENGINE_LSM:
        found.style, found.filter_bits, found.level_compression = fields.numbers("III")
        found.filter_bits = 0 if found.filter_bits == NO_FILTER else found.filter_bits
    name = fields.take(len(fields.data) - fields.place)
    fields.require(1 <= len(name) <= 255, "1 to 255 bytes of name")
    found.name = name.decode("utf-8")
    return found


def read_dump(path):
    """Name -> DumpedKeyspace."""
    with open(path, "rb") as file:
        fields = Octets(file.read(), "the dump")
    found, current, large, totals = {}, None, None, None
    for kind, count, payload in _blocks(fields):
        payload.require(totals is None, "nothing follows the end")
        payload.require(current is not None or kind in (KEYSPACE, END), "records have a keyspace")
        payload.require(kind == CHUNK or not large or len(large[1]) == large[2],
                        "a large value is complete before anything else")
        payload.require(kind == RECORDS or count == (1 if kind == LARGE else 0), "count")
        if kind == KEYSPACE:
            current = _keyspace(payload)
            found[current.name] = current
        elif kind == RECORDS:
            for _ in range(count):
                key_size, value_size = payload.numbers("II")
                key = payload.take(key_size)
                current.add(payload, key, payload.take(value_size))
            payload.end()
        elif kind == LARGE:
            size = payload.u64()
            large = (payload.take(len(payload.data) - 8), bytearray(), size)
            current.add(payload, *large[:2])
        elif kind == CHUNK:
            payload.require(payload.data and large, "at least a byte, of a large value")
            large[1].extend(payload.data)
            payload.require(len(large[1]) <= large[2], "a chunk ends within its value")
        else:
            payload.require(kind == END, f"kind {kind} is known")
            totals = payload.numbers("QQQ")
            payload.end()
    contents = [keyspace.content for keyspace in found.values()]
    fields.require(totals == (len(found), sum(map(len, contents)), sum(
        len(key) + len(value) for content in contents for key, value in content.items())),
        "totals of the end")
    return found
