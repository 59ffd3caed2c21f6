# SPDX-License-Identifier: Apache-2.0
"""Every command of tern from the outside."""

import base64
import csv
import io
import json
import os
import random
import re
import resource
import signal
import subprocess
import time
import unittest

from tern_process import BINARY, TernTest


class Records(TernTest):
    def test_the_four_commands_that_scripts_rely_on(self):
        self.assertEqual(self.run_tern("keyspace", "create", "shop"), (b"", b""))
        self.assertEqual(self.run_tern("put", "shop", "apple", "120"), (b"", b""))
        self.assertEqual(self.run_tern("get", "shop", "apple"), (b"120\n", b""))
        self.run_tern("verify")

    def test_a_missing_key_is_exit_code_1_with_nothing_on_standard_output(self):
        self.create("a")
        out, err = self.run_tern("get", "a", "nothing", code=1)
        self.assertEqual(out, b"")
        self.assertIn(b"nothing", err)
        self.assertEqual(self.run_tern("get", "a", "nothing", "-q", code=1), (b"", b""))

    def test_put_into_no_database_says_how_to_create_one_and_creates_nothing(self):
        self.assertIn("keyspace create", self.err("put", "a", "k", "v", code=1))
        self.assertFalse(os.path.exists(self.db))
        for command in (["get", "a", "k"], ["scan", "a"], ["stats"], ["checkpoint"]):
            self.run_tern(*command, code=1)
        self.assertFalse(os.path.exists(self.db))

    def test_a_path_that_can_be_no_database_is_named(self):
        path = self.file("file", "text")
        self.assertIn("not a directory", self.err("get", "a", "k", code=2, directory=path))
        self.assertIn("directory", self.err("keyspace", "create", "a", code=2, directory=path))
        path = self.path("none/below")
        self.assertIn("none/below", self.err("keyspace", "create", "a", code=1, directory=path))
        self.assertNotIn("to create", self.err("import", "a", "-", code=1, directory=path))

    def test_a_keyspace_is_converted_and_keeps_what_is_not_said(self):
        self.run_tern("keyspace", "create", "a", "--compression", "zstd")
        for i in range(20):
            self.run_tern("put", "a", f"k{i}", f"v{i}")
        self.assertIn(b"converted from btree to hash",
                      self.run_tern("keyspace", "convert", "a", "--engine", "hash")[1])
        self.assertEqual(self.out("get", "a", "k7"), "v7\n")
        report = self.json("keyspace", "convert", "a", "--engine", "lsm", "--page-bytes", "16K")
        self.assertEqual([report[name] for name in ("status", "from", "engine", "records")],
                         ["OK", "hash", "lsm", 20])
        info = self.json("keyspace", "info", "a")
        self.assertEqual([info[name] for name in ("engine", "compression", "page_bytes")],
                         ["lsm", "zstd", 16384])
        self.assertEqual(self.out("count", "a"), "20\n")
        self.run_tern("put", "a", "k" * 6000, "v")
        self.assertIn("6000", self.err("keyspace", "convert", "a", "--page-bytes", "8K", code=13))
        self.run_tern("keyspace", "convert", "b", "--engine", "lsm", code=1)
        self.run_tern("keyspace", "convert", "a", "--max-load", "50", code=2)
        self.run_tern("keyspace", "convert", "a", "--hash-function", "crc32c", code=2)
        self.run_tern("verify")

    def test_the_hash_function_is_chosen_changed_and_shown(self):
        self.run_tern("keyspace", "create", "a", "--engine", "hash", "--hash-function", "crc32c")
        self.run_tern("keyspace", "create", "b", "--engine", "hash")
        self.run_tern("keyspace", "create", "c", "--engine", "hash", "--hash-function", "md5",
                      code=2)
        self.run_tern("keyspace", "create", "c", "--hash-function", "fnv1a", code=2)
        for i in range(20):
            self.run_tern("put", "a", f"k{i}", f"v{i}")
        functions = {k["name"]: k["hash_function"] for k in self.json("keyspace", "list")["keyspaces"]}
        self.assertEqual(functions, {"a": "crc32c", "b": "xxh3"})
        self.assertIn("hash/crc32c", self.out("keyspace", "list"))
        self.assertIn("hashed by crc32c", self.out("keyspace", "info", "a"))
        self.run_tern("keyspace", "convert", "a", "--hash-function", "fnv1a")
        self.assertEqual(self.json("keyspace", "info", "a")["hash_function"], "fnv1a")
        self.assertEqual(self.out("get", "a", "k7"), "v7\n")
        self.run_tern("export", "--all", self.path("all.dump"))
        other = self.path("other")
        self.run_tern("import", "--all", self.path("all.dump"), directory=other)
        self.assertEqual(self.json("keyspace", "info", "a", directory=other)["hash_function"],
                         "fnv1a")
        self.assertEqual(self.out("count", "a", directory=other), "20\n")
        self.run_tern("clone", self.path("copy"))
        self.assertEqual(self.json("keyspace", "info", "a",
                                   directory=self.path("copy"))["hash_function"], "fnv1a")
        self.run_tern("repair", "--to", self.path("mended"))
        self.assertEqual(self.json("keyspace", "info", "a",
                                   directory=self.path("mended"))["hash_function"], "fnv1a")
        self.run_tern("keyspace", "convert", "a", "--engine", "btree")
        self.assertEqual(self.out("get", "a", "k7"), "v7\n")
        self.run_tern("verify")

    def test_options_of_sorted_tables_are_given_shown_and_changed(self):
        self.run_tern("keyspace", "create", "a", "--engine", "lsm", "--filter-bits", "0",
                      "--compaction", "tiered", "--level-compression", "none,default,lz4",
                      "--compression", "zstd")
        info = self.json("keyspace", "info", "a")
        self.assertEqual([info[name] for name in ("compaction", "filter_bits")], ["tiered", 0])
        self.assertEqual(info["level_compression"], ["none", "default", "lz4"] + ["default"] * 5)
        self.assertIn("tiered compaction, filters of 0 bits", self.out("keyspace", "info", "a"))
        self.run_tern("keyspace", "convert", "a", "--filter-bits", "12", "--compaction", "leveled")
        info = self.json("keyspace", "info", "a")
        self.assertEqual([info[name] for name in ("compaction", "filter_bits")], ["leveled", 12])
        self.assertEqual(info["level_compression"][0], "none")
        for wrong in (("--filter-bits", "65"), ("--level-compression", "gzip"),
                      ("--level-compression", ",".join(["lz4"] * 9))):
            self.run_tern("keyspace", "convert", "a", *wrong, code=2)
        self.run_tern("keyspace", "create", "b", "--compaction", "fifo", code=2)

    def test_values_of_any_bytes_come_back(self):
        self.create("a")
        for value in ("", "two\nlines", "\ttab", '"quoted"', "é漢", "-", "--json"):
            self.run_tern("put", "a", "k", "--", value)
            self.assertEqual(self.out("get", "a", "k"), value + "\n")

    def test_keys_and_values_in_every_form(self):
        self.create("a")
        self.run_tern("put", "a", "00ff", "/w==", "--key-format", "hex", "--value-format", "base64")
        self.run_tern("put", "a", "\\x01\\n", "\\xfe", "--key-format", "escaped",
                      "--value-format", "escaped")
        self.assertEqual(self.out("scan", "a"), '"\\x00\\xff"\t"\\xff"\n"\\x01\\n"\t"\\xfe"\n')
        self.assertEqual(self.out("scan", "a", "--key-format", "hex", "--value-format", "base64"),
                         "00ff\t/w==\n010a\t/g==\n")
        self.assertEqual(self.run_tern("get", "a", "00ff", "--key-format", "hex")[0], b"\xff\n")
        self.assertEqual(self.json("get", "a", "00ff", "--key-format", "hex"),
                         {"keyspace": "a", "key_hex": "00ff", "value_base64": "/w==",
                          "size_bytes": 1})
        self.run_tern("get", "a", "xyz", "--key-format", "hex", code=2)

    def test_scan_takes_prefix_range_limit_and_both_directions(self):
        self.create("a")
        self.run_tern("batch", stdin="".join(f"put a k{i:02} v{i}\n" for i in range(20)))
        keys = lambda *more: self.out("scan", "a", "--keys-only", *more).split()
        everything = [f"k{i:02}" for i in range(20)]
        self.assertEqual(keys(), everything)
        self.assertEqual(keys("--reverse"), everything[::-1])
        self.assertEqual(keys("--prefix", "k1"), everything[10:])
        self.assertEqual(keys("--prefix", "k1", "-r", "-n", "2"), ["k19", "k18"])
        self.assertEqual(keys("--from", "k05", "--to", "k07"), ["k05", "k06"])
        self.assertEqual(keys("--from", "k05", "--to", "k07", "--reverse"), ["k06", "k05"])
        self.assertEqual(keys("--limit", "0"), [])
        self.assertEqual(keys("--prefix", "x"), [])
        self.assertEqual(self.out("scan", "a", "--count", "--prefix", "k0"), "10\n")
        self.assertEqual(self.out("scan", "a", "--values-only", "--from", "k18"), "v18\nv19\n")
        self.assertEqual(self.json("scan", "a", "--from", "k19"), {"key": "k19", "value": "v19"})
        self.run_tern("scan", "a", "--prefix", "k", "--from", "k", code=2)

    def test_a_prefix_of_the_greatest_bytes_is_a_range_without_end(self):
        self.create("a")
        for key in ("fe", "ff", "ffff", "ffff01"):
            self.run_tern("put", "a", key, "v", "--key-format", "hex")
        self.assertEqual(self.out("scan", "a", "--prefix", "ff", "--keys-only",
                                  "--key-format", "hex").split(), ["ff", "ffff", "ffff01"])

    def test_count_is_exact_and_an_estimate_says_so(self):
        self.create("a")
        self.run_tern("batch", stdin="".join(f"put a {i} v\n" for i in range(500)))
        self.assertEqual(self.out("count", "a"), "500\n")
        self.assertEqual(self.json("count", "a"), {"keyspace": "a", "count": 500, "is_exact": True})
        estimate = self.json("count", "a", "--estimate")
        self.assertFalse(estimate["is_exact"])
        self.assertIn("size_bytes", estimate)

    def test_delete_takes_keys_ranges_and_everything(self):
        self.create("a")
        self.run_tern("batch", stdin="".join(f"put a {c} v\n" for c in "abcdefgh"))
        self.run_tern("delete", "a", "a", "b", "nothing")
        self.assertEqual(self.out("scan", "a", "--keys-only").split(), list("cdefgh"))
        self.run_tern("delete", "a", "--from", "d", "--to", "f")
        self.assertEqual(self.out("scan", "a", "--keys-only").split(), list("cfgh"))
        self.run_tern("delete", "a", code=2)
        self.run_tern("delete", "a", "c", "--all", code=2)
        self.run_tern("delete", "a", "--all")
        self.assertEqual(self.out("count", "a"), "0\n")

    def test_merge_adds_appends_and_raises(self):
        self.create("a")
        for operand in ("5", "-7", "+3"):
            self.run_tern("merge", "a", "n", "add", operand)
        self.assertEqual(self.out("get", "a", "n", "--value-format", "integer"), "1\n")
        self.assertEqual(self.json("get", "a", "n", "--value-format", "integer")["value_integer"], 1)
        self.run_tern("merge", "a", "s", "append", "ab")
        self.run_tern("merge", "a", "s", "append", "c")
        self.assertEqual(self.out("get", "a", "s"), "abc\n")
        self.run_tern("merge", "a", "n", "add", "one", code=2)

    def test_cas_stores_only_what_was_expected(self):
        self.create("a")
        self.run_tern("cas", "--missing", "a", "k", "1")
        self.assertIn("value is 1", self.err("cas", "--missing", "a", "k", "2", code=5))
        self.run_tern("cas", "a", "k", "0", "2", code=5)
        self.run_tern("cas", "a", "k", "1", "2")
        self.assertEqual(self.out("get", "a", "k"), "2\n")
        self.run_tern("cas", "a", "k", "2")
        self.run_tern("get", "a", "k", code=1)
        self.assertIn("missing", self.err("cas", "a", "k", "2", "3", code=5))
        answer = self.json("cas", "a", "k", "2", "3", code=5)
        self.assertEqual(answer, {"status": "CONFLICT", "current": None})

    def test_a_value_is_printed_chunk_by_chunk_as_in_one_piece(self):
        self.create("a")
        for size in (0, 1, 1048575, 1048576, 3 * 1048576 + 5):
            content = random.Random(size).randbytes(size)
            self.run_tern("put", "a", "k", "--value-file", self.file("source", content))
            self.assertEqual(self.run_tern("get", "a", "k")[0], content + b"\n")
            self.assertEqual(self.out("get", "a", "k", "--value-format", "hex"),
                             content.hex() + "\n")
            self.assertEqual(self.run_tern("get", "a", "k", "--value-format", "base64")[0],
                             base64.b64encode(content) + b"\n")
        self.assertEqual(self.json("get", "a", "k")["size_bytes"], 3 * 1048576 + 5)

    @unittest.skipIf(os.environ.get("TERN_PRESET") in ("asan", "tsan", "valgrind"),
                     "their memory is not the command's")
    def test_printing_a_large_value_takes_little_memory(self):
        self.create("a")
        size = 150 * 1024 * 1024
        with open(self.path("source"), "wb") as file:
            file.truncate(size)
        self.run_tern("put", "a", "k", "--value-file", self.path("source"))
        with subprocess.Popen([BINARY, "-d", self.db, "--memory", "16M", "get", "a", "k"],
                              stdout=subprocess.PIPE, env=self.environment) as process:
            printed = 0
            peak = 0
            while chunk := process.stdout.read(1 << 20):
                printed += len(chunk)
                with open(f"/proc/{process.pid}/status", encoding="ascii") as status:
                    peaks = [line.split()[1] for line in status if line.startswith("VmHWM")]
                    peak = max(peak, *(int(kib) for kib in peaks)) if peaks else peak
            self.assertEqual(process.wait(60), 0)
        self.assertEqual(printed, size + 1)
        self.assertLess(peak, 64 * 1024)

    def test_what_cannot_be_a_keyspace_makes_no_database(self):
        for arguments in (["--page-bytes", "5000"], ["--engine", "lsm", "--max-load", "50"],
                          ["--fill", "3"]):
            self.run_tern("keyspace", "create", "a", *arguments, code=2)
            self.assertFalse(os.path.exists(self.db), arguments)
        self.run_tern("keyspace", "create", "n" * 1000, code=2)
        self.run_tern("keyspace", "create", "", code=2)
        self.assertFalse(os.path.exists(self.db))

    def test_an_option_that_the_engine_has_no_use_for_is_refused(self):
        of_btree = [["--fill", "70"]]
        of_hash = [["--hash-index", "buckets"], ["--hash-function", "xxh3"],
                   ["--expected-keys", "9"], ["--max-load", "75"]]
        of_lsm = [["--compaction", "leveled"], ["--filter-bits", "10"],
                  ["--level-compression", "lz4"]]
        fan_out = [["--fan-out", "64"]]
        useless = {"btree": of_hash + of_lsm, "hash": of_btree + of_lsm + fan_out,
                   "lsm": of_btree + of_hash}
        useful = {"btree": of_btree + fan_out, "hash": of_hash, "lsm": of_lsm + fan_out}
        for engine, options in useless.items():
            for option in options:
                message = self.err("keyspace", "create", "a", "--engine", engine, *option, code=2)
                self.assertIn(option[0] + " needs --engine", message)
                self.assertIn(engine + " has no use for it", message)
                self.assertFalse(os.path.exists(self.db), option)
        for engine, options in useful.items():
            self.run_tern("keyspace", "create", engine, "--engine", engine,
                          *[word for option in options for word in option])
        for engine, options in useless.items():
            for option in options:
                message = self.err("keyspace", "convert", engine, *option, code=2)
                self.assertIn(option[0] + " needs --engine", message)
                other = "btree" if engine != "btree" else "lsm"
                self.assertIn(option[0], self.err("keyspace", "convert", other, "--engine", engine,
                                                  *option, code=2))
        for source in useful:
            for target in useful:
                self.run_tern("keyspace", "convert", source, "--engine", target)
            self.run_tern("keyspace", "convert", source, "--engine", source)
        self.run_tern("verify")

    def test_a_number_that_would_count_as_another_is_refused(self):
        for option in ("--page-bytes", "--fan-out", "--fill"):
            self.assertIn("0", self.err("keyspace", "create", "a", option, "0", code=2))
        self.err("keyspace", "create", "a", "--engine", "hash", "--max-load", "0", code=2)
        self.assertIn("from 1", self.err("batch", "--every", "0", stdin="put a k v\n", code=2))
        self.assertIn("from 1", self.err("import", "a", "-", "--batch", "0", stdin="", code=2))
        self.err("bench", "--seconds", "0", code=2)
        self.err("--memory", "0", "import", "a", "-", stdin="", code=2)
        self.assertFalse(os.path.exists(self.db))

    def test_a_reader_takes_no_locks(self):
        self.create("a")
        self.assertIn("--pessimistic", self.err("--read-only", stdin="begin --pessimistic\n",
                                                code=2))

    def test_a_value_streams_from_and_to_files(self):
        self.create("a")
        content = random.Random(1).randbytes(5 * 1024 * 1024 + 17)
        source = self.file("source", content)
        self.run_tern("put", "a", "k", "--value-file", source)
        self.run_tern("get", "a", "k", "--to-file", self.path("target"))
        with open(self.path("target"), "rb") as file:
            self.assertEqual(file.read(), content)
        self.assertEqual(self.run_tern("get", "a", "k", "-o", "-")[0], content)
        self.assertEqual(self.run_tern("get", "a", "k", "-o", "-", "--json")[0], content)
        self.assertEqual(self.json("get", "a", "k", "-o", self.path("target")),
                         {"keyspace": "a", "key": "k", "file": self.path("target"),
                          "size_bytes": len(content)})
        self.assertEqual(self.run_tern("get", "a", "k")[0], content + b"\n")
        self.assertEqual(self.out("get", "a", "k", "--value-format", "hex"), content.hex() + "\n")
        self.assertEqual(self.run_tern("get", "a", "k", "--value-format", "base64")[0],
                         base64.b64encode(content) + b"\n")
        self.run_tern("put", "a", "k", "--value-file", "-", stdin=b"from\0stdin")
        self.assertEqual(self.run_tern("get", "a", "k", "-o", "-")[0], b"from\0stdin")
        self.run_tern("put", "a", "e", "--value-file", "/dev/null")
        self.assertEqual(self.run_tern("get", "a", "e", "-o", "-")[0], b"")
        self.run_tern("get", "a", "none", "--to-file", self.path("none"), code=1)
        self.assertFalse(os.path.exists(self.path("none")))
        self.run_tern("put", "a", "k", "v", "--value-file", source, code=2)
        self.assertIn("nowhere", self.err("put", "a", "k", "-f", self.path("nowhere"), code=1))

    def test_a_value_larger_than_memory_passes_through_64_MiB(self):
        self.create("a")
        source = self.path("source")
        size = 100 << 20
        with open(source, "wb") as file:
            file.truncate(size)
        for command in (["put", "a", "k", "--value-file", source], ["get", "a", "k"],
                        ["get", "a", "k", "--to-file", self.path("target")], ["checkpoint"],
                        ["get", "a", "k", "--value-format", "base64"]):
            with subprocess.Popen([BINARY, "-q", "-d", self.db, *command], env=self.environment,
                                  stdout=subprocess.DEVNULL) as process:
                _, status, usage = os.wait4(process.pid, 0)
                process.returncode = status
            self.assertEqual(status, 0)
            if os.environ.get("TERN_PRESET") == "release":
                self.assertLess(usage.ru_maxrss, 64 << 10, command)
        self.assertEqual(os.path.getsize(self.path("target")), size)

    def test_a_key_with_time_to_live_expires(self):
        self.create("a")
        self.run_tern("put", "a", "k", "v", "--ttl", "1h")
        self.assertEqual(self.out("get", "a", "k"), "v\n")
        self.run_tern("put", "a", "short", "v", "--ttl", "1ms")
        deadline = time.monotonic() + 10
        while subprocess.run([BINARY, "-q", "-d", self.db, "get", "a", "short"],
                             capture_output=True, check=False).returncode == 0:
            self.assertLess(time.monotonic(), deadline)
            time.sleep(0.05)


class Batches(TernTest):
    def test_all_operations_or_none(self):
        self.create("a", "b")
        self.run_tern("batch", stdin="put a k 'v 1'\n# a comment\n\nput b k \"v\\n2\"\n")
        self.assertEqual(self.out("get", "a", "k"), "v 1\n")
        self.assertEqual(self.out("get", "b", "k"), "v\n2\n")
        error = self.err("batch", stdin="put a x 1\nput nowhere x 1\n", code=1)
        self.assertIn("line 2", error)
        self.run_tern("get", "a", "x", code=1)

    def test_keyspaces_are_created_within(self):
        self.run_tern("batch", stdin="keyspace create a\nput a k v\n")
        self.run_tern("batch", "--create", stdin="put b k v\n")
        self.assertEqual(self.out("get", "a", "k") + self.out("get", "b", "k"), "v\nv\n")

    def test_bad_lines_are_skipped_when_asked(self):
        self.create("a")
        report = self.json("batch", "--on-error", "skip", stdin=(
            "put a 1 v\nput a\nfrobnicate\nput nowhere k v\nput a 2 \"\\q\"\nput a 3 v\n"))
        self.assertEqual(report["operations"], 2)
        self.assertEqual(report["skipped"], 4)
        self.assertEqual(self.out("scan", "a", "--keys-only").split(), ["1", "3"])

    def test_json_operations(self):
        self.create("a")
        operations = [
            {"op": "put", "keyspace": "a", "key": "k", "value": "v \"x\"\n"},
            {"op": "put", "keyspace": "a", "key_hex": "00ff", "value_base64": "AAE="},
            {"op": "merge", "keyspace": "a", "key": "n", "kind": "add", "value": 41},
            {"op": "merge", "keyspace": "a", "key": "n", "kind": "add", "operand": 1},
            {"op": "put", "keyspace": "a", "key": "gone", "value": ""},
            {"op": "delete", "keyspace": "a", "key": "gone"},
            {"op": "put", "keyspace": "a", "key": "t", "value": "v", "ttl_ms": 3600000},
        ]
        report = self.json("batch", stdin="".join(json.dumps(o) + "\n" for o in operations))
        self.assertEqual((report["operations"], report["transactions"]), (7, 1))
        self.assertEqual(self.out("get", "a", "k"), 'v "x"\n\n')
        self.assertEqual(self.out("get", "a", "n", "--value-format", "integer"), "42\n")
        self.assertEqual(self.out("scan", "a", "--keys-only", "--key-format", "hex", "-n", "1"),
                         "00ff\n")
        self.assertEqual(self.out("count", "a"), "4\n")
        self.assertIn("line 1", self.err("batch", stdin='{"op":"put","keyspace":"a"}', code=2))

    def test_every_n_operations_a_commit(self):
        self.create("a")
        report = self.json("batch", "--every", "10",
                           stdin="".join(f"put a {i} v\n" for i in range(35)))
        self.assertEqual(report["transactions"], 4)

    def test_lines_may_go_on(self):
        self.create("a")
        self.run_tern("batch", stdin="put a k \\\nv\nput a m 'one\ntwo'\n")
        self.assertEqual(self.out("get", "a", "k"), "v\n")
        self.assertEqual(self.out("get", "a", "m"), "one\ntwo\n")
        self.run_tern("batch", stdin="put a k 'open\n", code=2)


class Transfers(TernTest):
    def fill(self, count=3000):
        """A keyspace of random bytes; returns its records."""
        generator = random.Random(7)
        records = {}
        for _ in range(count):
            key = generator.randbytes(generator.randint(1, 30))
            records[key] = generator.randbytes(generator.choice([0, 1, 50, 300]))
        records[b"large"] = generator.randbytes(3 * 1024 * 1024 + 5)
        records[b"middle"] = generator.randbytes(100_000)
        lines = "".join(json.dumps({"key_hex": k.hex(), "value_base64":
                                    base64.b64encode(v).decode()}) + "\n"
                        for k, v in records.items())
        self.run_tern("import", "a", self.file("in.jsonl", lines))
        return records

    def records(self, keyspace, directory=None):
        lines = self.out("scan", keyspace, "--json", "--key-format", "hex", "--value-format", "hex",
                         directory=directory).splitlines()
        parsed = [json.loads(line) for line in lines]
        return {bytes.fromhex(r["key_hex"]): bytes.fromhex(r["value_hex"]) for r in parsed}

    def test_every_format_keeps_every_byte(self):
        records = self.fill()
        self.assertEqual(self.records("a"), records)
        for name in ("x.jsonl", "x.csv", "x.dump"):
            report = self.json("export", "a", self.path(name))
            self.assertEqual(report["records"], len(records))
            keyspace = "copy-" + name[2:]
            report = self.json("import", keyspace, self.path(name))
            self.assertEqual((report["records"], report["skipped"]), (len(records), 0))
            self.assertEqual(self.records(keyspace), records)

    def test_a_dump_of_everything_makes_a_second_database(self):
        records = self.fill(200)
        self.run_tern("keyspace", "create", "empty", "--compression", "zstd",
                      "--page-bytes", "16K")
        self.run_tern("export", "--all", self.path("all.dump"))
        other = self.path("other")
        self.run_tern("import", "--all", self.path("all.dump"), directory=other)
        self.assertEqual(self.records("a", directory=other), records)
        info = self.json("keyspace", "info", "empty", directory=other)
        self.assertEqual((info["compression"], info["page_bytes"]), ("zstd", 16384))
        self.run_tern("export", "--all", self.path("all.jsonl"))
        third = self.path("third")
        self.run_tern("import", "--all", self.path("all.jsonl"), directory=third)
        self.assertEqual(self.records("a", directory=third), records)

    def test_a_damaged_dump_is_refused(self):
        self.fill(200)
        self.run_tern("export", "a", self.path("a.dump"))
        with open(self.path("a.dump"), "rb") as file:
            dump = bytearray(file.read())
        error = self.err("import", "b", self.file("cut.dump", bytes(dump[:-9])), code=4)
        self.assertIn("cut", error)
        dump[len(dump) // 2] ^= 4
        error = self.json_error("import", "c", self.file("bad.dump", bytes(dump)), code=4)
        self.assertEqual(error["status"], "CORRUPTION")
        self.assertIn("bad.dump", error["file"])
        self.assertIsInstance(error["offset"], int)

    def test_csv_by_the_book(self):
        text = io.StringIO()
        rows = [("ann", "a,b", 'say "hi"'), ("bob", "line 1\r\nline 2", ""), ("cé", "x", "ü")]
        writer = csv.writer(text)
        writer.writerow(("user", "note", "remark"))
        writer.writerows(rows)
        path = self.file("t.csv", text.getvalue())
        self.run_tern("import", "all", path)
        self.assertEqual(json.loads(self.out("get", "all", "bob")),
                         {"note": "line 1\r\nline 2", "remark": ""})
        self.run_tern("import", "one", path, "--key-column", "remark,user", "--value-column", "2",
                      "--key-separator", ":", "--on-error", "skip")
        self.assertEqual(self.out("get", "one", 'say "hi":ann'), "a,b\n")
        error = self.err("import", "x", path, "--key-column", "usr", code=2)
        self.assertIn("'user'", error)

    def test_exported_csv_is_read_by_others(self):
        self.run_tern("import", "a", stdin='{"key":"k\\n,\\"","value":"v\\r\\n"}\n')
        text = self.out("export", "a", "--format", "csv")
        self.assertEqual(list(csv.reader(io.StringIO(text, newline=""))),
                         [["key", "value"], ['k\n,"', "v\r\n"]])

    def test_bad_records_are_named_and_may_be_skipped(self):
        lines = '{"key":"a","value":"1"}\nnonsense\n{"key":"","value":"1"}\n{"key":"b","value":"2"}\n'
        path = self.file("bad.jsonl", lines)
        self.assertIn("line 2", self.err("import", "a", path, code=2))
        out, err = self.run_tern("import", "a", path, "--on-error", "skip")
        self.assertIn(b"line 2", err)
        self.assertIn(b"line 3", err)
        self.assertEqual(self.out("count", "a"), "2\n")

    def test_json_lines_of_any_shape(self):
        lines = '{"id": 7, "name": "x", "tags": [1, 2]}\n{"id": "b", "name": "y"}\n'
        self.run_tern("import", "a", "-", "--key-field", "id", stdin=lines)
        self.assertEqual(json.loads(self.out("get", "a", "7"))["tags"], [1, 2])
        self.run_tern("import", "b", "-", "--key-field", "id", "--value-field", "name",
                      "--key-prefix", "p/", stdin=lines)
        self.assertEqual(self.out("scan", "b"), "p/7\tx\np/b\ty\n")

    def test_a_range_is_exported(self):
        self.create("a")
        self.run_tern("batch", stdin="".join(f"put a {c} v\n" for c in "abcd"))
        lines = self.out("export", "a", "-", "--from", "b", "--to", "d").splitlines()
        self.assertEqual([json.loads(line)["key"] for line in lines], ["b", "c"])

    def test_an_export_goes_into_pipes_and_leaves_no_part_behind(self):
        self.create("a")
        self.run_tern("put", "a", "k", "v")
        self.assertEqual(self.run_tern("export", "a", "/dev/stdout", "-q")[0],
                         b'{"key":"k","value":"v"}\n')
        self.run_tern("export", "a", self.path("x.jsonl"))
        self.run_tern("export", "a", self.work, code=2)
        self.run_tern("export", "none", self.path("y.jsonl"), code=1)
        self.assertEqual(sorted(n for n in os.listdir(self.work) if "jsonl" in n), ["x.jsonl"])

    def test_a_mark_before_the_text_is_left_out(self):
        self.run_tern("import", "a", self.file("x.csv", b"\xef\xbb\xbfname,age\r\nann,3\r\n"),
                      "--key-column", "name", "--value-column", "age")
        self.assertEqual(self.out("get", "a", "ann"), "3\n")
        self.run_tern("import", "b", self.file("x.jsonl", b'\xef\xbb\xbf{"key":"k","value":"v"}\n'))
        self.run_tern("batch", stdin=b"\xef\xbb\xbfput b m w\n")
        self.assertEqual(self.out("scan", "b"), "k\tv\nm\tw\n")

    def test_an_import_fits_into_a_small_budget(self):
        path = self.file("in.csv", "".join(f"{i:06},{'v' * 400}\n" for i in range(20000)))
        self.run_tern("--memory", "8M", "import", "a", path, "--no-header", "--value-column", "2",
                      "--batch", "100000")
        self.assertEqual(self.out("count", "a"), "20000\n")

    def test_a_large_value_under_a_key_that_is_too_long_may_be_skipped(self):
        self.run_tern("keyspace", "create", "wide", "--page-bytes", "64K")
        large = self.file("large", b"x" * (3 << 20))
        for key in ("a", "b" * 9000, "c"):
            self.run_tern("put", "wide", key, "--value-file", large)
        self.run_tern("export", "wide", self.path("x.dump"))
        self.create("narrow")
        self.assertIn("longer", self.err("import", "narrow", self.path("x.dump"), code=4))
        report = self.json("import", "narrow", self.path("x.dump"), "--on-error", "skip")
        self.assertEqual((report["records"], report["skipped"]), (2, 1))
        self.assertEqual(self.out("scan", "narrow", "--keys-only").split(), ["a", "c"])

    def test_a_file_that_cannot_be_read_is_not_a_bad_record(self):
        self.assertIn("reading failed", self.err("import", "a", "/proc/self/mem", code=3))

    def test_progress_is_shown_when_asked(self):
        path = self.file("in.csv", "".join(f"{i},x\n" for i in range(1000)))
        self.assertIn("imported 1,000 records",
                      self.err("import", "a", path, "--no-header", "--progress"))
        self.assertEqual(self.err("import", "a", path, "--no-header", "--quiet"), "")


class Care(TernTest):
    def test_the_compaction_of_a_keyspace_is_chosen_shown_and_kept_in_dumps(self):
        self.run_tern("keyspace", "create", "t", "--engine", "lsm", "--compaction", "tiered")
        self.assertEqual(self.json("keyspace", "info", "t")["compaction"], "tiered")
        self.assertIn("tiered compaction", self.out("keyspace", "info", "t"))
        self.run_tern("export", "--all", self.path("x.dump"))
        other = self.path("other")
        self.run_tern("import", "--all", self.path("x.dump"), directory=other)
        self.assertEqual(self.json("keyspace", "info", "t", directory=other)["compaction"], "tiered")
        self.run_tern("keyspace", "convert", "t", "--compaction", "fifo")
        self.assertEqual(self.json("keyspace", "list")["keyspaces"][0]["compaction"], "fifo")
        self.run_tern("keyspace", "convert", "t", "--engine", "btree")
        self.assertNotIn("compaction", self.json("keyspace", "info", "t"))
        self.run_tern("keyspace", "create", "u", "--compaction", "tiered", code=2)
        self.run_tern("keyspace", "convert", "t", "--compaction", "tiered", code=2)

    def test_what_was_not_committed_has_no_number(self):
        self.assertIn("seq", self.json("keyspace", "create", "a"))
        self.assertEqual(self.json("keyspace", "create", "a", "--if-missing"), {"status": "OK"})
        self.assertEqual(self.json("keyspace", "drop", "b", "--if-exists"), {"status": "OK"})

    def test_a_database_without_its_root_file_is_repaired_and_not_made_anew(self):
        self.create("a")
        self.run_tern("batch", stdin="".join(f"put a {i:05} v\n" for i in range(1000)))
        self.run_tern("checkpoint")
        os.remove(os.path.join(self.db, "tern.root"))
        self.assertIn("repair", self.err("get", "a", "00001", code=4))
        self.run_tern("keyspace", "create", "a", code=4)
        self.run_tern("import", "a", "-", stdin=b"", code=4)
        self.assertFalse(self.json("verify", code=4)["is_sound"])
        report = self.json("repair", "--to", self.path("rescued"), code=4)
        self.assertEqual(report["records"], 1000)
        self.assertIn("recovered-", self.out("keyspace", "list", directory=self.path("rescued")))

    def test_a_directory_that_may_only_be_read_can_be_read(self):
        self.create("a")
        self.run_tern("batch", stdin="put a k v\nput a l w\n")
        os.chmod(self.work, 0o755)
        for path in [self.db, *(os.path.join(self.db, name) for name in os.listdir(self.db))]:
            os.chmod(path, 0o555 if os.path.isdir(path) else 0o444)
        other = {"user": 65534, "group": 65534, "extra_groups": []} if os.geteuid() == 0 else {}
        def run(*arguments):
            return subprocess.run([BINARY, "-d", self.db, *arguments], capture_output=True,
                                  cwd="/", env=self.environment, check=False, **other)
        try:
            if run("--version").returncode != 0:
                self.skipTest("another user cannot run the command here")
        except PermissionError:
            self.skipTest("another user cannot run the command here")
        result = run("--read-only", "scan", "a")
        self.assertEqual((result.returncode, result.stdout), (0, b"k\tv\nl\tw\n"), result)
        self.assertEqual(run("verify").returncode, 0)
        result = run("put", "a", "k", "x")
        self.assertEqual(result.returncode, 3, result)
        self.assertIn(b"permission", result.stderr)
        os.chmod(self.db, 0o755)

    def test_keyspaces_are_listed_described_and_dropped(self):
        self.create("b", "a")
        listed = self.json("keyspace", "list")["keyspaces"]
        self.assertEqual(sorted(k["name"] for k in listed), ["a", "b"])
        self.assertIn("page_bytes", listed[0])
        self.run_tern("keyspace", "create", "a", code=11)
        self.run_tern("keyspace", "create", "a", "--if-missing")
        self.assertIn("stats", self.json("keyspace", "info", "a"))
        self.assertIn("compression none", self.out("keyspace", "info", "a"))
        self.run_tern("keyspace", "drop", "a")
        self.run_tern("keyspace", "drop", "a", code=1)
        self.run_tern("keyspace", "drop", "a", "--if-exists")
        self.run_tern("put", "a", "k", "v", code=1)
        self.assertIn("'b'", self.err("get", "bb", "k", code=1))

    def test_stats_have_units(self):
        self.create("a")
        stats = self.json("stats")["stats"]
        self.assertTrue(stats)
        for number in stats.values():
            self.assertEqual(set(number), {"value", "unit", "kind", "meaning"})
            self.assertIn(number["kind"], ("counter", "gauge"))
        self.assertEqual(self.json("stats", "a")["keyspace"], "a")
        self.out("stats", "--all")

    def test_checkpoint_compact_and_clone_keep_everything(self):
        self.create("a")
        self.run_tern("batch", stdin="".join(f"put a {i:05} {'v' * 100}\n" for i in range(5000)))
        before = self.out("scan", "a")
        self.run_tern("checkpoint")
        self.run_tern("compact")
        self.assertEqual(self.out("scan", "a"), before)
        self.run_tern("clone", self.path("copy"))
        self.assertEqual(self.out("scan", "a", directory=self.path("copy")), before)
        self.run_tern("clone", self.path("copy"), code=11)
        self.run_tern("verify")
        self.run_tern("verify", directory=self.path("copy"))

    def test_verify_of_a_sound_database_changes_nothing(self):
        self.create("a")
        self.run_tern("put", "a", "k", "v")
        state = lambda: {name: (os.stat(os.path.join(self.db, name)).st_mtime_ns,
                                os.stat(os.path.join(self.db, name)).st_size)
                         for name in os.listdir(self.db) if name != "LOCK"}
        before = state()
        report = self.json("verify")
        self.assertTrue(report["is_sound"])
        self.assertEqual(report["findings"], [])
        self.assertEqual(state(), before)
        self.run_tern("verify", self.path("nowhere"), code=1)

    def test_damage_is_found_with_file_and_offset_and_repaired(self):
        self.create("a")
        self.run_tern("batch", stdin="".join(f"put a {i:06} {'v' * 200}\n" for i in range(20000)))
        self.run_tern("checkpoint")
        names = [name for name in os.listdir(self.db)
                 if os.path.isfile(os.path.join(self.db, name))]
        largest = max(names, key=lambda name: self.content(name).count(b"v" * 50))
        path = os.path.join(self.db, largest)
        with open(path, "r+b") as file:
            content = file.read()
            place = content.index(b"v" * 200, len(content) // 2)
            file.seek(place + 20)
            file.write(b"DAMAGED")
        report = self.json("verify", code=4)
        self.assertFalse(report["is_sound"])
        self.assertTrue(any(finding["file"] and largest in finding["file"] and
                            finding["offset"] is not None and finding["invariant"]
                            for finding in report["findings"]), report)
        self.assertIn(largest, self.out("verify", code=4))
        repaired = self.path("repaired")
        report = self.json("repair", "--to", repaired, code=4)
        self.assertGreater(report["records"], 15000)
        # What is lost is told by number and keys.
        told = re.search(r'of its (\d+) records, from (the first|"\d+") to before (the end|"\d+")',
                         "".join(finding["message"] for finding in report["findings"]))
        self.assertEqual(int(told.group(1)), 20000 - report["records"])
        self.assertNotIn("/", "".join(finding["file"] for finding in report["findings"]))
        self.run_tern("verify", directory=repaired)
        saved = int(self.out("count", "a", directory=repaired))
        self.assertEqual(saved, report["records"])
        self.run_tern("repair", code=2)

    def test_blocks_lost_with_their_index_are_told_of_once(self):
        self.run_tern("keyspace", "create", "a", "--engine", "lsm")
        self.run_tern("batch", stdin="".join(f"put a {i:06} {'v' * 50}\n" for i in range(20000)))
        self.run_tern("checkpoint")
        name = max((n for n in os.listdir(self.db) if n.endswith(".lsm")),
                   key=lambda name: len(self.content(name)))
        content = self.content(name)
        path = os.path.join(self.db, name)
        for place in range(len(content) - 100, 0, -300):
            self.file(path, content[:place] + bytes([content[place] ^ 1]) + content[place + 1:])
            report = json.loads(subprocess.run([BINARY, "-d", self.db, "verify", "--json"],
                                               capture_output=True, env=self.environment,
                                               check=False).stdout)
            if any(f["invariant"] == "index.block" for f in report["findings"]):
                break
        else:
            self.fail("there is no index")
        report = self.json("repair", "--to", self.path("rescued"), code=4)
        self.assertGreater(report["lost_pages"], 10)
        self.assertLess(len(report["findings"]), 5)

    def test_a_lost_value_is_told_with_its_key_and_place(self):
        self.create("a")
        self.run_tern("put", "a", "big key", "--value-file", self.file("big", b"V" * (1 << 20)))
        self.run_tern("checkpoint")
        name = next(name for name in os.listdir(self.db) if name.endswith(".btree"))
        content = self.content(name)
        place = content.index(b"V" * 1000) + 10
        self.file(os.path.join(self.db, name), content[:place] + b"W" + content[place + 1:])
        report = self.json("repair", "--to", self.path("rescued"), code=4)
        self.assertEqual(report["lost_records"], 1)
        finding = next(f for f in report["findings"] if f["invariant"] == "value")
        self.assertIn("1048576 bytes of key \"big key\" in keyspace 'a'", finding["message"])
        self.assertEqual(finding["file"], name)
        self.assertGreater(finding["offset"], 0)

    def test_a_directory_that_may_not_be_looked_into_is_not_an_empty_one(self):
        self.create("a")
        os.chmod(self.work, 0o755)
        os.chmod(self.db, 0)
        as_nobody = {"user": 65534, "group": 65534, "extra_groups": []} if os.geteuid() == 0 else {}
        try:
            result = subprocess.run([BINARY, "verify", self.db], capture_output=True, timeout=60,
                                    env=self.environment, check=False, **as_nobody)
        except PermissionError:
            self.skipTest("the command cannot be reached by another user")
        finally:
            os.chmod(self.db, 0o755)
        self.assertEqual(result.returncode, 3, result.stderr)
        self.assertIn(b"permissions", result.stderr)

    def test_a_commit_lost_with_the_log_is_told(self):
        self.create("a")
        for i in range(5):
            self.run_tern("put", "a", f"key-{i}", "v")
        for name in (n for n in os.listdir(self.db) if n.startswith("log-")):
            with open(os.path.join(self.db, name), "r+b") as file:
                place = file.read().find(b"key-2")
                if place >= 0:
                    file.seek(place)
                    file.write(b"K")
        self.assertIn("repair", self.err("get", "a", "key-1", code=4))
        self.assertIn("log", self.out("verify", code=4))
        report = self.json("repair", "--to", self.path("rescued"), code=4)
        self.assertEqual(report["lost_records"], 1)
        self.assertEqual(self.out("scan", "a", "--keys-only", directory=self.path("rescued")).split(),
                         ["key-0", "key-1", "key-3", "key-4"])

    def content(self, name):
        with open(os.path.join(self.db, name), "rb") as file:
            return file.read()

    def test_doctor_says_ok_warn_or_fail_for_each_check(self):
        for arguments in (["doctor"], ["-d", self.work, "doctor"]):
            result = subprocess.run([BINARY, *arguments, "--json"], capture_output=True,
                                    env=self.environment, timeout=60, check=False)
            self.assertIn(result.returncode, (0, 3))
            report = json.loads(result.stdout)
            names = {check["name"] for check in report["checks"]}
            self.assertLessEqual({"open files", "memory", "free space", "file system", "sync",
                                  "direct I/O", "huge pages", "clock", "swap"}, names)
            for check in report["checks"]:
                self.assertIn(check["level"], ("ok", "warn", "fail"))
                self.assertEqual(check["remedy"] is None, check["level"] == "ok", check)
            self.assertEqual(result.returncode == 3, report["fail"] > 0)
        self.assertFalse([name for name in os.listdir(self.work) if "doctor" in name])

    def test_a_limit_on_the_size_of_files_is_a_finding_and_an_error(self):
        def limited(*arguments):
            return subprocess.run(
                [BINARY, "-d", self.db, "--json", *arguments], capture_output=True, timeout=60,
                env=self.environment, check=False,
                preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (500000, 500000)))

        result = limited("doctor")
        self.assertEqual(result.returncode, 3, result)
        levels = {check["name"]: check["level"] for check in json.loads(result.stdout)["checks"]}
        self.assertEqual(levels["file size"], "fail")
        result = limited("keyspace", "create", "a")
        self.assertEqual(result.returncode, 13, result)
        self.assertIn(b"ulimit", result.stderr)

    def test_bench_measures_and_cleans_up(self):
        report = self.json("bench", "--records", "2000", "--seconds", "1", "--in", self.work)
        self.assertEqual([r["name"] for r in report["results"]][0], "load (batch of 1000)")
        for result in report["results"]:
            self.assertGreater(result["ops"], 0)
            self.assertLessEqual(result["p50_us"], result["max_us"])
        self.assertEqual([n for n in os.listdir(self.work) if "bench" in n], [])

    def test_bench_cleans_up_when_it_is_ended(self):
        for number in (signal.SIGTERM, signal.SIGHUP, signal.SIGINT):
            with subprocess.Popen([BINARY, "bench", "--seconds", "60", "--in", self.work],
                                  env=self.environment, stdout=subprocess.PIPE,
                                  stderr=subprocess.PIPE) as process:
                deadline = time.monotonic() + 30
                while not any("bench" in name for name in os.listdir(self.work)):
                    self.assertLess(time.monotonic(), deadline)
                    time.sleep(0.01)
                process.send_signal(number)
                process.communicate(timeout=60)
            self.assertEqual(process.returncode, 21 if number == signal.SIGINT else -number)
            self.assertEqual([n for n in os.listdir(self.work) if "bench" in n], [])

    def test_a_database_that_is_open_elsewhere_names_the_process(self):
        self.create("a")
        with subprocess.Popen([BINARY, "-d", self.db], stdin=subprocess.PIPE,
                              stdout=subprocess.PIPE, env=self.environment) as other:
            other.stdin.write(b"put a k v\nget a k\n")
            other.stdin.flush()
            self.assertEqual(other.stdout.readline(), b"v\n")
            self.assertIn(str(other.pid), self.err("get", "a", "k", code=6))
            error = self.json_error("get", "a", "k", code=6)
            self.assertEqual((error["status"], error["code"], error["exit"]), ("LOCKED", -6, 6))
            doctor = subprocess.run([BINARY, "-d", self.db, "doctor"], capture_output=True,
                                    env=self.environment, check=False)
            self.assertIn(str(other.pid).encode(), doctor.stdout)
            other.stdin.close()
            self.assertEqual(other.wait(30), 0)
        self.assertEqual(self.out("get", "a", "k"), "v\n")

    def test_read_only_refuses_writes(self):
        self.create("a")
        self.run_tern("put", "a", "k", "v")
        self.assertEqual(self.out("--read-only", "get", "a", "k"), "v\n")
        self.run_tern("--read-only", "put", "a", "k", "w", code=15)

    def test_every_durability_stores(self):
        self.create("a")
        for level in ("full", "interval", "none"):
            self.run_tern("--durability", level, "put", "a", "k", level)
            self.assertEqual(self.out("get", "a", "k"), level + "\n")
        self.run_tern("--durability", "maybe", "put", "a", "k", "v", code=2)


class Shell(TernTest):
    def tern(self, *arguments, code=0):
        result = subprocess.run([BINARY, *arguments], capture_output=True, timeout=60,
                                env=self.environment, cwd=self.work, check=False)
        self.assertEqual(result.returncode, code, result)
        return result.stdout.decode(), result.stderr.decode()

    def test_mistakes_are_exit_code_2_with_a_suggestion(self):
        for line, hint in ((["scna"], "scan"), (["scan", "a", "--limmit", "1"], "--limit"),
                           (["keyspace"], "create"), (["get", "a"], "tern help get")):
            out, err = self.tern("-d", self.db, *line, code=2)
            self.assertEqual(out, "")
            self.assertIn(hint, err)
        self.assertFalse(os.path.exists(self.db))
        error = json.loads(self.tern("--json", "scna", code=2)[1])["error"]
        self.assertEqual((error["status"], error["exit"]), ("INVALID", 2))

    def test_a_mistake_is_told_in_json_wherever_the_option_stands(self):
        for line in (["scna", "--json"], ["get", "--nonsense", "--json"], ["get", "--json", "a"]):
            error = json.loads(self.tern("-d", self.db, *line, code=2)[1])["error"]
            self.assertEqual(error["status"], "INVALID")
        out, err = self.run_tern(stdin="get --nonsense --json\n", code=2)
        self.assertEqual(json.loads(err)["error"]["exit"], 2)

    def test_help_is_there_for_programs(self):
        help_of = lambda *words: json.loads(self.tern("help", *words, "--json")[0])["commands"]
        commands = {command["name"]: command for command in help_of()}
        self.assertLessEqual({"put", "get", "keyspace create", "verify", "begin"}, set(commands))
        self.assertEqual([command["name"] for command in help_of("scan")], ["scan"])
        self.assertEqual([command["name"] for command in help_of("keyspace")],
                         [name for name in commands if name.startswith("keyspace ")])
        engine = [o for o in commands["keyspace create"]["options"] if o["name"] == "engine"][0]
        self.assertEqual(engine["choices"], ["btree", "lsm", "hash"])
        self.tern("help", "nothing", "--json", code=2)
        self.assertEqual(self.tern("scan", "--help", "--json"), self.tern("help", "scan", "--json"))
        self.assertEqual(self.tern("--help", "--json"), self.tern("help", "--json"))
        self.assertEqual(json.loads(self.tern("--version", "--json")[0]),
                         json.loads(self.tern("version", "--json")[0]))

    def test_help_explains(self):
        self.assertIn("keyspace create", self.tern("help")[0])
        self.assertEqual(self.tern("help", "scan")[0], self.tern("scan", "--help")[0])
        self.assertIn("Examples", self.tern("help", "keyspace", "create")[0])
        self.assertIn("keyspace drop", self.tern("help", "keyspace")[0])
        self.tern("help", "nothing", code=2)
        self.assertIn("'scan'", self.tern("help", "scna", code=2)[1])
        self.assertIn("tern -d DIR", self.tern(code=2)[1])
        self.assertTrue(self.tern("--version")[0].startswith("tern "))
        self.assertEqual(self.tern("--version")[0], self.tern("version")[0])

    def test_the_directory_may_come_from_the_environment(self):
        self.environment["TERN_DIR"] = self.db
        self.tern("keyspace", "create", "a")
        self.tern("put", "a", "k", "v")
        self.assertEqual(self.tern("get", "a", "k")[0], "v\n")
        del self.environment["TERN_DIR"]
        self.assertIn("TERN_DIR", self.tern("get", "a", "k", code=2)[1])

    def test_no_colours_where_there_is_no_terminal(self):
        for arguments in (["help"], ["doctor"], ["nothing"]):
            result = subprocess.run([BINARY, *arguments], capture_output=True,
                                    env=self.environment, check=False)
            self.assertNotIn(b"\x1b", result.stdout + result.stderr)
        result = subprocess.run([BINARY, "--color", "always", "help"], capture_output=True,
                                env=self.environment, check=False)
        self.assertIn(b"\x1b", result.stdout)

    def test_output_that_cannot_be_written_is_an_error(self):
        self.create("a")
        self.run_tern("put", "a", "k", "v")
        with open("/dev/full", "wb") as full:
            result = subprocess.run([BINARY, "-d", self.db, "get", "a", "k"], stdout=full,
                                    stderr=subprocess.PIPE, env=self.environment, check=False)
            for arguments in (["--version"], ["--help"], ["help"], ["completions", "bash"]):
                other = subprocess.run([BINARY, *arguments], stdout=full, stderr=subprocess.PIPE,
                                       env=self.environment, check=False)
                self.assertEqual(other.returncode, 8, arguments)
        self.assertIn(result.returncode, (3, 8))
        self.assertIn(b"output", result.stderr)

    def test_closed_streams_harm_nobody(self):
        self.create("a")
        self.run_tern("put", "a", "k", "v")
        def run(closed, *arguments):
            command = 'exec "$0" "$@" ' + " ".join(closed)
            return subprocess.run(["sh", "-c", command, BINARY, "-d", self.db, *arguments],
                                  stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                                  stderr=subprocess.PIPE, env=self.environment,
                                  check=False).returncode
        for closed in ([">&-"], [">&-", "2>&-"], ["<&-", ">&-", "2>&-"]):
            self.assertEqual(run(closed, "get", "a", "k"), 3)
            self.assertEqual(run(closed, "put", "a", "", "v"), 2)
            self.assertEqual(run(closed, "put", "a", "k", "w"), 0)
            self.run_tern("verify")
        self.assertEqual(run(["<&-"], "put", "a", "k", "--value-file", "-"), 3)
        self.assertEqual(self.out("get", "a", "k"), "w\n")

    def test_a_reader_that_leaves_ends_a_scan(self):
        self.run_tern("import", "a", "-", "--format", "csv", "--no-header",
                      stdin="".join(f"{i:06},x\n" for i in range(50000)))
        reader, writer = os.pipe()
        os.close(reader)
        for restore in (True, False):
            result = subprocess.run([BINARY, "-d", self.db, "scan", "a"], stdout=writer,
                                    stderr=subprocess.PIPE, env=self.environment,
                                    restore_signals=restore, check=False)
            # Ended by the signal, or where that is ignored by the failure to write.
            self.assertEqual(result.returncode, -signal.SIGPIPE if restore else 3, result)
        os.close(writer)
        self.run_tern("verify")

    def test_an_interrupted_import_keeps_what_was_committed(self):
        with subprocess.Popen([BINARY, "-d", self.db, "import", "a", "-", "--batch", "10"],
                              stdin=subprocess.PIPE, stderr=subprocess.PIPE,
                              env=self.environment) as process:
            lines = "".join(f'{{"key":"{i}","value":"v"}}\n' for i in range(5000))
            process.stdin.write(lines.encode())
            process.stdin.flush()
            time.sleep(1)
            process.send_signal(signal.SIGINT)
            error = process.stderr.read()  # nothing more has to come for it to notice
            self.assertEqual(process.wait(30), 21, error)
        self.assertGreater(int(self.out("count", "a")), 0)
        self.run_tern("verify")


if __name__ == "__main__":
    unittest.main()
