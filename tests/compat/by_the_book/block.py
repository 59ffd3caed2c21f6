# SPDX-License-Identifier: Apache-2.0
"""docs/format/block.md: the block that all engines' files are made of."""

from .checksum import xxh3
from .compression import decompress
from .octets import Octets, met, require

HEADER_BYTES = 16


def read_block(data, where, checksum, raw_size_max, length=None):
    """The payload of the block that `data` begins with.

    `length` is that of the block where its pointer keeps it; without, `data` may be longer, as
    where a pointer counts units.
    """
    header = Octets(data, where)
    version, compression, key_id, raw_size, stored_size, _ = header.numbers("BBHIII")
    end = HEADER_BYTES + stored_size
    require(end <= len(data), where, "block: ends behind the place of its pointer")
    require(length is None or end == length, where, "block: its length is another")
    require(xxh3(data[:end]) == checksum, where, "block.checksum")
    require(version == 1, where, "block: version 1")
    require(compression <= 3, where, "block: compression is known")
    require(key_id == 0, where, "block: key id 0")
    require(raw_size <= raw_size_max, where, f"block: more than {raw_size_max} bytes of payload")
    met("block", where.split("+")[0].split(".")[-1], "compression", compression)
    payload = data[HEADER_BYTES:end]
    if compression == 0:
        require(raw_size == stored_size, where, "block: sizes are equal without compression")
        return payload
    require(stored_size <= raw_size - (raw_size + 7) // 8, where,
            "block: compression saves an eighth")
    try:
        return decompress(compression, payload, raw_size)
    except ValueError as error:
        require(False, where, f"block: the payload does not decompress: {error}")
