# SPDX-License-Identifier: Apache-2.0
"""docs/format/cache_hot.md: which pages were cached."""

from .checksum import xxh3
from .octets import Octets

HEADER_BYTES = 24


def read_cache_hot(path):
    """Partition id -> places of leaf pages, ascending."""
    with open(path, "rb") as file:
        fields = Octets(file.read(), "cache.hot")
    fields.constant(b"TERNHOT1", "magic")
    body_size, checksum = fields.numbers("QQ")
    fields.require(len(fields.data) == HEADER_BYTES + body_size, "body size")
    fields.require(xxh3(fields.data[HEADER_BYTES:]) == checksum, "checksum")
    found = {}
    while fields.has_more():
        partition, count = fields.numbers("QQ")
        places = fields.numbers(f"{count}Q")
        fields.require(list(places) == sorted(set(places)), "places ascend")
        found[partition] = places
    return found
