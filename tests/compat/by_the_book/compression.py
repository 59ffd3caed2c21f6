# SPDX-License-Identifier: Apache-2.0
"""LZ4 blocks and Snappy streams in plain Python; zstd frames by the system's libzstd.

`raw_size` is known beforehand and bounds what is made. Anything wrong raises ValueError.
"""

import ctypes
import ctypes.util


class MissingCodec(Exception):
    """Bytes are as they should be, but this machine has nothing to decompress them."""


def _copy_match(out, distance, size):
    if not 0 < distance <= len(out):
        raise ValueError("a match begins before the first byte")
    while size > 0:
        piece = out[-distance:][:size]
        out += piece
        size -= len(piece)


def _lz4_size(data, place, size):
    """The rest of a length whose four bits are all set."""
    if size == 15:
        while True:
            size += data[place]
            place += 1
            if data[place - 1] != 255:
                break
    return size, place


def _lz4(data, raw_size):
    out, place = bytearray(), 0
    while True:
        token = data[place]
        literals, place = _lz4_size(data, place + 1, token >> 4)
        out += data[place:place + literals]
        place += literals
        if place >= len(data):
            break
        distance = int.from_bytes(data[place:place + 2], "little")
        size, place = _lz4_size(data, place + 2, token & 15)
        if len(out) + size + 4 > raw_size:
            break
        _copy_match(out, distance, size + 4)
    if place != len(data):
        raise ValueError("the last sequence does not end with the bytes")
    return out


def _snappy_varint(data):
    value = shift = place = 0
    while True:
        value |= (data[place] & 127) << shift
        shift += 7
        place += 1
        if data[place - 1] < 128:
            return value, place


def _snappy(data, raw_size):
    out, (size, place) = bytearray(), _snappy_varint(data)
    if size != raw_size:
        raise ValueError("the stream is of another size")
    while place < len(data):
        tag, place = data[place], place + 1
        if tag & 3 == 0:
            size = tag >> 2
            if size >= 60:
                wide = size - 59
                size = int.from_bytes(data[place:place + wide], "little")
                place += wide
            out += data[place:place + size + 1]
            place += size + 1
            continue
        if tag & 3 == 1:
            size, distance, place = (tag >> 2 & 7) + 4, tag >> 5 << 8 | data[place], place + 1
        else:
            wide = 2 if tag & 3 == 2 else 4
            size = (tag >> 2) + 1
            distance = int.from_bytes(data[place:place + wide], "little")
            place += wide
        _copy_match(out, distance, size)
        if len(out) > raw_size:
            break
    if place != len(data):
        raise ValueError("the last element does not end with the bytes")
    return out


def _load_zstd():
    for name in ("libzstd.so.1", ctypes.util.find_library("zstd")):
        try:
            library = ctypes.CDLL(name) if name else None
        except OSError:
            continue
        if library is not None:
            library.ZSTD_decompress.restype = ctypes.c_size_t
            library.ZSTD_decompress.argtypes = [ctypes.c_void_p, ctypes.c_size_t,
                                                ctypes.c_char_p, ctypes.c_size_t]
            library.ZSTD_isError.argtypes = [ctypes.c_size_t]
            return library
    return None


_zstd_library = _load_zstd()


def _zstd(data, raw_size):
    if _zstd_library is None:
        raise MissingCodec("libzstd.so.1")
    out = ctypes.create_string_buffer(max(raw_size, 1))
    size = _zstd_library.ZSTD_decompress(out, raw_size, bytes(data), len(data))
    if _zstd_library.ZSTD_isError(size):
        raise ValueError("not a frame")
    return out.raw[:size]


NAMES = {0: "none", 1: "LZ4", 2: "zstd", 3: "Snappy"}
_CODECS = {1: _lz4, 2: _zstd, 3: _snappy}


def decompress(kind, data, raw_size):
    try:
        out = bytes(_CODECS[kind](data, raw_size))
    except IndexError:
        raise ValueError("cut off") from None
    if len(out) != raw_size:
        raise ValueError(f"{len(out)} bytes instead of {raw_size}")
    return out
