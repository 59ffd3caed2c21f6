# SPDX-License-Identifier: Apache-2.0
"""Bytes read from front to back, and what is raised when they are not as a page says."""

import struct


class Damage(Exception):
    """Bytes that break a rule: where (file and offset), and which rule."""

    def __init__(self, where, rule):
        super().__init__(f"{where}: {rule}")


# What has been met, in words of the readers: so that a test can tell that files hold every kind.
MET = set()


def met(*words):
    MET.add(" ".join(map(str, words)))


def require(condition, where, rule):
    if not condition:
        raise Damage(where, rule)


class Octets:
    """Little-endian numbers one after the other; `where` names the bytes in errors."""

    def __init__(self, data, where):
        self.data = data
        self.where = where
        self.place = 0

    def require(self, condition, rule):
        require(condition, f"{self.where}, byte {self.place}", rule)

    def take(self, size):
        self.require(size <= len(self.data) - self.place, f"ends before {size} bytes")
        taken = self.data[self.place:self.place + size]
        self.place += size
        return taken

    def numbers(self, form):
        return struct.unpack("<" + form, self.take(struct.calcsize("<" + form)))

    def u8(self):
        return self.take(1)[0]

    def u16(self):
        return self.numbers("H")[0]

    def u32(self):
        return self.numbers("I")[0]

    def u64(self):
        return self.numbers("Q")[0]

    def varint(self):
        """LEB128, at most 10 bytes, no longer than it needs to be."""
        value = shift = 0
        while True:
            byte = self.u8()
            value |= (byte & 0x7f) << shift
            shift += 7
            if byte < 0x80:
                break
            self.require(shift < 70, "a varint of more than 10 bytes")
        self.require(byte != 0 or shift == 7, "a varint longer than it needs to be")
        self.require(value < 1 << 64, "a varint above 64 bits")
        return value

    def sized(self):
        """A varint, and as many bytes as it says."""
        return self.take(self.varint())

    def zeros(self, size):
        self.require(not any(self.take(size)), "reserved bytes are zeros")

    def constant(self, expected, what):
        found = self.take(len(expected))
        self.require(found == expected, f"{what} is {expected!r}, not {found!r}")

    def has_more(self):
        return self.place < len(self.data)

    def end(self):
        self.require(not self.has_more(), "something follows the last field")
