# SPDX-License-Identifier: Apache-2.0
"""CRC-32C and XXH3 with 64 bits, in plain Python: from their specifications, and no library."""

import struct

# ---- CRC-32C (Castagnoli) ----


def _byte_table():
    table = []
    for byte in range(256):
        for _ in range(8):
            byte = byte >> 1 ^ (0x82f63b78 if byte & 1 else 0)
        table.append(byte)
    return table


_BYTE = _byte_table()
# What the low and the high half of a word come to, 4 bytes and 2 bytes further on.
_HIGH = [_BYTE[n & 255] >> 8 ^ _BYTE[_BYTE[n & 255] & 255 ^ n >> 8] for n in range(65536)]
_LOW = [_HIGH[n & 65535] ^ n >> 16 for n in _HIGH]


def crc32c(data, start=0):
    """Of `data`, as if it followed bytes whose CRC-32C is `start`."""
    crc = start ^ 0xffffffff
    whole = len(data) & ~3
    low, high = _LOW, _HIGH
    for word in struct.unpack(f"<{whole // 4}I", data[:whole]):
        crc ^= word
        crc = low[crc & 0xffff] ^ high[crc >> 16]
    for byte in data[whole:]:
        crc = crc >> 8 ^ _BYTE[crc & 255 ^ byte]
    return crc ^ 0xffffffff


# ---- XXH3 ----

_M32 = (1 << 32) - 1
_M64 = (1 << 64) - 1
_P32 = (0x9e3779b1, 0x85ebca77, 0xc2b2ae3d)
_P64 = (0x9e3779b185ebca87, 0xc2b2ae3d27d4eb4f, 0x165667b19e3779f9, 0x85ebca77c2b2ae63,
        0x27d4eb2f165667c5)
_MIX = (0x165667919e3779f9, 0x9fb21c651e98df25)
_SECRET = bytes.fromhex(
    "b8fe6c3923a44bbe7c01812cf721ad1cded46de9839097db7240a4a4b7b3671f"
    "cb79e64eccc0e578825ad07dccff7221b8084674f743248ee03590e6813a264c"
    "3c2852bb91c300cb88d0658b1b532ea371644897a20df94e3819ef46a9deacd8"
    "a8fa763fe39c343ff9dcbbc7c70b4f1d8a51e04bcdb45931c89f7ec9d9787364"
    "eac5ac8334d3ebc3c581a0fffa1363eb170ddd51b7f0da49d316552629d4689e"
    "2b16be587d47a1fc8ff8b8d17ad031ce45cb3a8f95160428afd7fbcabb4b407e")


def _u64(data, place):
    return int.from_bytes(data[place:place + 8], "little")


def _fold(a, b):
    product = a * b
    return (product ^ product >> 64) & _M64


def _avalanche(h):
    h &= _M64
    h = (h ^ h >> 37) * _MIX[0] & _M64
    return h ^ h >> 32


def _avalanche_64(h):
    h = (h ^ h >> 33) * _P64[1] & _M64
    h = (h ^ h >> 29) * _P64[2] & _M64
    return h ^ h >> 32


def _rotate(value, by):
    return (value << by | value >> 64 - by) & _M64


def _swap(value, size):
    return int.from_bytes(value.to_bytes(size, "little"), "big")


def _upto_16(data, seed):
    size = len(data)
    if size == 0:
        return _avalanche_64(seed ^ _u64(_SECRET, 56) ^ _u64(_SECRET, 64))
    if size < 4:
        joined = data[-1] | size << 8 | data[0] << 16 | data[size >> 1] << 24
        key = (_u64(_SECRET, 0) ^ _u64(_SECRET, 4)) & _M32
        return _avalanche_64((key + seed & _M64) ^ joined)
    if size <= 8:
        seed ^= _swap(seed & _M32, 4) << 32
        first, last = int.from_bytes(data[:4], "little"), int.from_bytes(data[-4:], "little")
        h = (_u64(_SECRET, 8) ^ _u64(_SECRET, 16)) - seed & _M64 ^ last + (first << 32)
        h = (h ^ _rotate(h, 49) ^ _rotate(h, 24)) * _MIX[1] & _M64
        h = (h ^ (h >> 35) + size) * _MIX[1] & _M64
        return h ^ h >> 28
    low = (_u64(_SECRET, 24) ^ _u64(_SECRET, 32)) + seed & _M64 ^ _u64(data, 0)
    high = (_u64(_SECRET, 40) ^ _u64(_SECRET, 48)) - seed & _M64 ^ _u64(data, size - 8)
    return _avalanche(size + _swap(low, 8) + high + _fold(low, high))


def _mix_16(data, place, secret_place, seed):
    return _fold(_u64(data, place) ^ _u64(_SECRET, secret_place) + seed & _M64,
                 _u64(data, place + 8) ^ _u64(_SECRET, secret_place + 8) - seed & _M64)


def _upto_240(data, seed):
    size = len(data)
    h = size * _P64[0]
    if size <= 128:
        for i in range((size - 1) // 32 + 1):
            h += _mix_16(data, 16 * i, 32 * i, seed)
            h += _mix_16(data, size - 16 * (i + 1), 32 * i + 16, seed)
        return _avalanche(h)
    for i in range(8):
        h += _mix_16(data, 16 * i, 16 * i, seed)
    h = _avalanche(h)
    for i in range(8, size // 16):
        h += _mix_16(data, 16 * i, 16 * (i - 8) + 3, seed)
    return _avalanche(h + _mix_16(data, size - 16, 136 - 17, seed))


def _accumulate(sums, words, keys):
    """Any number of stripes of 8 words; `keys` has a word for each of theirs."""
    products = [(word & _M32) * (word >> 32) for word in map(int.__xor__, words, keys)]
    for lane in range(8):
        sums[lane] = sums[lane] + sum(products[lane::8]) + sum(words[lane ^ 1::8]) & _M64


def _long(data, seed):
    secret = b"".join(
        (_u64(_SECRET, i) + (-seed if i & 8 else seed) & _M64).to_bytes(8, "little")
        for i in range(0, 192, 8))
    keys = [_u64(secret, 8 * (stripe + lane)) for stripe in range(16) for lane in range(8)]
    sums = [_P32[2], *_P64[:4], _P32[1], _P64[4], _P32[0]]
    size = len(data)
    blocks = (size - 1) // 1024
    for block in range(blocks):
        _accumulate(sums, struct.unpack_from("<128Q", data, block * 1024), keys)
        sums = [(s ^ s >> 47 ^ _u64(secret, 128 + 8 * lane)) * _P32[0] & _M64
                for lane, s in enumerate(sums)]
    words = (size - 1 - blocks * 1024) // 64 * 8
    _accumulate(sums, struct.unpack_from(f"<{words}Q", data, blocks * 1024), keys[:words])
    _accumulate(sums, struct.unpack_from("<8Q", data, size - 64),
                [_u64(secret, 192 - 64 - 7 + 8 * lane) for lane in range(8)])
    return _avalanche(size * _P64[0] + sum(
        _fold(sums[i] ^ _u64(secret, 11 + 8 * i), sums[i + 1] ^ _u64(secret, 19 + 8 * i))
        for i in range(0, 8, 2)))


def xxh3(data, seed=0):
    if len(data) <= 16:
        return _upto_16(data, seed)
    return _upto_240(data, seed) if len(data) <= 240 else _long(data, seed)
