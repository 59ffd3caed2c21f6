# SPDX-License-Identifier: Apache-2.0
"""The claims: golden databases, dumps and databases of today read as the pages say."""

import os
import random
import shutil
import subprocess
import sys
import tarfile
import tempfile
import unittest

from . import expectation
from .base import EngineFile
from .cache_hot import read_cache_hot
from .database import Database, read_partition
from .dump import read_dump
from .hash import CRC32C, FNV1A, XXH3, key_hash
from .log import Log, show
from .manifest import read_manifest
from .octets import MET, Damage
from .workload import Workload

GOLDEN = os.path.join(os.path.dirname(os.path.dirname(os.path.abspath(__file__))), "golden")
TERN = os.environ.get("TERN_BINARY")
STAGES = {"v1/empty": expectation.EMPTY, "v1/closed": expectation.FIRST,
          "v1/compacted": expectation.LAST, "v1/unfinished": expectation.LAST,
          "v1/log": expectation.LAST, "v1/converting": expectation.FIRST}
CLOSED = ("v1/empty", "v1/closed", "v1/compacted")
# After all that expires soon has expired, and before all that expires late: years are left.
LATER_MS = 365 * 86400 * 1000


# What golden databases are to hold, as the readers name it. Not there: blocks of lists of values
# (.val) and indexes of them with several levels, which take values above 1 GiB; compressed blocks
# that do not pay.
EVERY_KIND = [
    *(f"block btree compression {i}" for i in (0, 1, 2, 3)),
    *(f"block hash compression {i}" for i in (0, 1, 2)),
    *(f"block lsm compression {i}" for i in (0, 1, 2, 3)),
    "block val compression 0",
    *(f"btree leaf flags {i}" for i in (0, 1, 2, 3)),
    *(f"btree record flags {i}" for i in (0, 1, 2)),
    "btree inner level 1", "btree inner level 2", "btree marks",
    "btree value levels 0", "btree value levels 1",
    *(f"hash record flags {i}" for i in (1, 4, 9)),
    "hash function 0 index 0", "hash function 1 index 1", "hash function 2 index 2",
    "hash bitmap", "hash value of one piece", "hash value of several pieces",
    *(f"lsm table level 0 style {i}" for i in (0, 1, 2)), "lsm table level 7 style 0",
    "lsm range delete with an end", "lsm range delete to the last key",
    *(f"lsm record kind {i} stays" for i in (1, 2, 3, 4)), "lsm record kind 1 expires",
    "lsm no filter", "lsm value with an index", "lsm value of one piece",
    *(f"log kind {i}" for i in (1, 2, 3, 4, 5, 6, 32)),
    *(f"catalog change {i}" for i in (0, 1, 2)), "created hash", "created lsm with options",
    *(f"change tag {i}" for i in (1, 1 + 8, 2, 3 + 32, 3 + 64, 3 + 96, 4, 5, 5 + 16)),
    "manifest being built", "manifest converted", "manifest lsm options",
]


def seed():
    found = int(os.environ.get("TERN_SEED") or random.randrange(1 << 32))
    print(f"TERN_SEED={found}", file=sys.stderr)
    return found


class Directory(unittest.TestCase):
    def setUp(self):
        self.directory = tempfile.mkdtemp(prefix="tern-by-the-book-")
        self.addCleanup(shutil.rmtree, self.directory)
        self.db = os.path.join(self.directory, "db")

    def unpack(self, name):
        with tarfile.open(os.path.join(GOLDEN, f"{name}.tar.gz")) as archive:
            archive.extractall(self.directory)

    def tern(self, *arguments, **named):
        named = {"check": True, "timeout": 60, "stdout": subprocess.DEVNULL, **named}
        return subprocess.run([TERN, "-d", self.db, "-q", *arguments], **named)

    def assert_content(self, found, expected, what):
        missing = [key for key in expected if key not in found]
        other = [key for key in found if found[key] != expected.get(key)]
        if missing or other:
            self.fail(f"{what}: {len(missing)} missing, {len(other)} other: "
                      f"{missing[:3]}, {other[:3]}")


class Golden(Directory):
    def test_golden_databases_hold_what_their_rules_say(self):
        for name, stage in STAGES.items():
            with self.subTest(name):
                self.unpack(name)
                database = Database(self.db)
                found, expected = database.keyspaces(), expectation.keyspaces(stage)
                self.assertEqual(set(found), set(expected))
                for keyspace, (engine, _) in expected.items():
                    self.assertEqual(found[keyspace].keyspace.engine, engine)
                    if found[keyspace].is_readable:
                        self.assert_content(database.content(keyspace, database.time + LATER_MS),
                                            expectation.content(keyspace, stage), keyspace)
                self.assertEqual(database.log.was_closed(), name in CLOSED)
                shutil.rmtree(self.db)

    def test_golden_tree_that_was_cut_amid_a_drain(self):
        self.unpack("v1/cut")
        database = Database(self.db)
        self.assertEqual(list(database.keyspaces()), ["many"])
        self.assertTrue(database.keyspaces()["many"].base.marks)
        self.assert_content(database.content("many", database.time), expectation.many(), "many")

    def test_golden_databases_hold_every_kind(self):
        MET.clear()
        for name in [*STAGES, "v1/cut"]:
            self.unpack(name)
            database = Database(self.db)
            if not all(found.is_readable for found in database.partitions.values()):
                self.skipTest("a codec is missing")
            shutil.rmtree(self.db)
        self.assertEqual(sorted(set(EVERY_KIND) - MET), [])

    def test_list_of_cached_pages_names_leaves(self):
        self.unpack("v1/closed")
        database = Database(self.db)
        lists = read_cache_hot(os.path.join(self.db, "cache.hot"))
        self.assertTrue(any(lists.values()))
        for partition, places in lists.items():
            self.assertLessEqual(set(places), database.partitions[partition].tree.leaf_places)

    def test_golden_dump_holds_what_the_rules_say(self):
        self.unpack("v1/dumps")
        self.assert_dump(os.path.join(self.directory, "dumps", "all.dump"))

    @unittest.skipUnless(TERN, "TERN_BINARY is not set")
    def test_dumps_hold_what_the_rules_say(self):
        self.unpack("v1/closed")
        path = os.path.join(self.directory, "all.dump")
        self.tern("export", "--all", path)
        self.assert_dump(path)

    def assert_dump(self, path):
        dumped = read_dump(path)
        expected = expectation.keyspaces(expectation.FIRST)
        self.assertEqual(set(dumped), set(expected))
        for name, keyspace in dumped.items():
            self.assertEqual(keyspace.engine, expected[name][0])
            self.assert_content(keyspace.content, expectation.content(name, expectation.FIRST),
                                name)


class Hashes(unittest.TestCase):
    def test_hashes_of_a_key_are_those_of_the_page(self):
        self.assertEqual([key_hash(function, 7, b"tern") for function in (XXH3, CRC32C, FNV1A)],
                         [0x5e95e86414ac46bd, 0x38b098162fc8742a, 0x7673c0231040d275])


class Session:
    """A REPL that is told lines, waits for what they do, and is killed."""

    def __init__(self, db):
        command = [TERN, "-d", db, "-q", "--durability", "none"]
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)

    def run(self, lines):
        self.process.stdin.write(("\n".join([*lines, "version"]) + "\n").encode())
        self.process.stdin.flush()
        while not self.process.stdout.readline().startswith(b"tern "):
            if self.process.poll() is not None:
                raise AssertionError("tern has ended")

    def kill(self):
        self.process.kill()
        self.process.communicate()


@unittest.skipUnless(TERN, "TERN_BINARY is not set")
class Today(Directory):
    """Databases as they are written now, and left by a process that was killed."""

    def assert_is(self, workload, what):
        database = Database(self.db)
        self.assertEqual(set(database.keyspaces()), set(workload.content))
        for name, content in workload.content.items():
            if database.keyspaces()[name].is_readable:
                self.assert_content(database.content(name, database.time + LATER_MS), content,
                                    f"{what}, {name}")

    def test_databases_of_today_hold_what_was_written(self):
        workload = Workload(self.directory, seed())
        session = Session(self.db)
        session.run(workload.first_round())
        session.run(workload.next_round() + ["checkpoint"])
        session.run(workload.next_round() + ["checkpoint", "compact"])
        session.run(workload.next_round() + ["checkpoint"])
        session.run(workload.next_round())
        session.run(["keyspace convert table --engine lsm",
                     "keyspace convert sorted --engine hash"])
        session.run(workload.next_round())
        session.kill()
        workload.settle()
        self.assert_is(workload, "killed")
        self.tern("get", "tree", "large 0", "--value-format", "base64")
        self.assert_is(workload, "recovered and closed")


class Damaged(Directory):
    """A flipped bit in what a page gives a meaning is noticed."""

    def flip(self, name, place):
        path = os.path.join(self.db, name)
        with open(path, "r+b") as file:
            file.seek(place)
            byte = file.read(1)[0]
            file.seek(place)
            file.write(bytes([byte ^ 1 << self.random.randrange(8)]))
        return path, place, byte

    def assert_notices(self, name, place, read):
        path, place, byte = self.flip(name, place)
        with self.subTest(f"{name}+{place}"), self.assertRaises(Damage):
            read()
        with open(path, "r+b") as file:
            file.seek(place)
            file.write(bytes([byte]))

    def setUp(self):
        super().setUp()
        self.random = random.Random(seed())
        self.unpack("v1/unfinished")

    def test_flipped_bits_in_files_of_partitions_are_noticed(self):
        for keyspace in read_manifest(os.path.join(self.db, "tern.root")).keyspaces:
            EngineFile.cuts.clear()
            partition = read_partition(self.db, keyspace)
            if not partition.is_readable:
                continue
            for name, cuts in list(EngineFile.cuts.items()):
                place, size = self.random.choice(cuts)
                with open(os.path.join(self.db, name), "rb") as file:
                    file.seek(place)
                    data = file.read(size)
                # Behind the block there may be the rest of a unit, which means nothing.
                length = 16 + int.from_bytes(data[8:12], "little") if place else size
                self.assert_notices(name, place + self.random.randrange(min(length, size)),
                                    lambda: read_partition(self.db, keyspace))

    def test_flipped_bits_in_root_and_log_are_noticed(self):
        database = Database(self.db)
        root = os.path.join(self.db, "tern.root")
        for place in (self.random.randrange(4096), 4096 + self.random.randrange(4096),
                      self.random.choice(database.manifest.bytes)):
            self.assert_notices("tern.root", place, lambda: read_manifest(root))
        durable = [record for record in database.log.records if record.end <= database.log.durable]
        for record in self.random.sample(durable, 3):
            first, end = record.position & 0xffffffff, record.end & 0xffffffff
            self.assert_notices(show(record.position).split("+")[0],
                                self.random.randrange(first, end),
                                lambda: Log(self.db, database.manifest.log_start))

    @unittest.skipUnless(TERN, "TERN_BINARY is not set")
    def test_flipped_bits_in_a_dump_are_noticed(self):
        path = os.path.join(self.db, "small.dump")
        self.tern("export", "btree lz4", path)
        for _ in range(8):
            self.assert_notices("small.dump", self.random.randrange(os.path.getsize(path)),
                                lambda: read_dump(path))


if __name__ == "__main__":
    unittest.main(verbosity=2)
