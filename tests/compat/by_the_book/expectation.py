# SPDX-License-Identifier: Apache-2.0
"""What golden databases hold, by the rules of golden.c: rules that are added to, never changed."""

EMPTY, FIRST, LAST = 0, 1, 2
KEYS, SLICES, LARGE_VALUES, MERGED_KEYS, MANY_KEYS = 300, 3, 3, 8, 3600
MANY_PREFIX = b"what all keys of a page begin with is in it once, and cut off: /"

# Name -> (engine, whether it has large values).
KEYSPACES = {
    "btree": (1, True), "btree lz4": (1, False), "btree zstd": (1, True),
    "btree snappy": (1, False), "btree of small pages": (1, False),
    "hash": (2, True), "hash crc32c": (2, False), "hash fnv1a": (2, False),
    "lsm": (3, True), "lsm tiered": (3, False), "lsm fifo": (3, False),
    "lsm of levels": (3, False), "converted": (2, True), "dropped": (1, False),
}


def keyspaces(stage):
    """Those of a stage, as above."""
    found = {} if stage == EMPTY else dict(KEYSPACES)
    if stage == LAST:
        del found["dropped"]
        found["converted"] = (1, True)
        found["late"] = (3, True)
    return found


def key(number):
    text = f"{number:05}/".encode()
    text += bytes(ord("a") + (number + i) % 26 for i in range(number * 7 % 39))
    return text + (b"\0\xff" if number % 5 == 0 else b"")


def value(number, version):
    size = 0 if number % 23 == 0 else 1 + (number * 31 + version * 17) % 190
    return (f"{number}:{version} ".encode() * 190)[:size]


def large_value(number, version):
    size = 140000 + 260000 * number + version
    pattern = bytes(i % 251 for i in range(65536 + 251))
    pieces, add = [], number * 7 + version * 13
    for place in range(0, size, 65536):
        shift = bytes((byte + place // 65536 + add) & 255 for byte in range(256))
        start = place % 251
        pieces.append(pattern[start:start + 65536].translate(shift))
    return b"".join(pieces)[:size]


def version(number, stage):
    """That stands at the end of a stage; 0: the key is missing."""
    found = 1
    found = 2 if number % 7 == 0 else found
    found = 3 if number % 13 == 0 else found
    if number % 11 == 0 or 100 <= number < 115 or number % 17 == 0:
        found = 0
    if stage == LAST:
        found = 4 if number % 3 == 1 else found
        if number % 19 == 0 or 200 <= number < 210:
            found = 0
    return found


def merged(rounds):
    content = {}
    for i in range(MERGED_KEYS):
        total = sum(i + r for r in range(rounds))
        content[f"add {i}".encode()] = total.to_bytes(8, "little")
        content[f"append {i}".encode()] = "".join(f"{r}," for r in range(rounds)).encode()
        first = 2 if rounds > 2 and i >= 6 else 0   # a range delete without an end came before
        greatest = max(f"{(r * 37 + i) % 100:02}" for r in range(first, rounds))
        content[f"max {i}".encode()] = greatest.encode()
    return content


def many():
    """What is in the keyspace of that name: a tree whose second round was cut off amid a drain."""
    found = {}
    for i in range(MANY_KEYS):
        word = f"{i}:{1 if i % 2 else 2} ".encode()
        size = 1100 if i % 500 == 3 else 700 - i % 300
        found[MANY_PREFIX + key(i)] = (word * 1100)[:size]
    return found


def content(name, stage):
    """Key -> value of a keyspace at the end of a stage."""
    is_late = name == "late"
    found = merged(1 if is_late else SLICES + (stage == LAST))
    for i in range(KEYS):
        stands = 5 if is_late else version(i, stage)
        if stands != 0:
            found[key(i)] = value(i, stands)
    if keyspaces(stage)[name][1]:
        for i in range(LARGE_VALUES):
            stands = 2 if stage == LAST and not is_late and i == 1 else 1
            found[f"large {i}".encode()] = large_value(i, stands)
    return found
