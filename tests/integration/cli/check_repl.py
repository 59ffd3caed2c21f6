# SPDX-License-Identifier: Apache-2.0
"""The REPL, from a pipe and on a pseudo-terminal."""

import os
import pty
import re
import select
import time
import unittest

from tern_process import BINARY, TernTest


class Piped(TernTest):
    def test_commands_are_read_line_by_line(self):
        out = self.out(stdin="keyspace create a\nput a k 'v w'\nget a k\n# comment\n\nexit\nget a x\n")
        self.assertEqual(out, "v w\n")

    def test_the_first_error_ends_it_with_its_exit_code(self):
        script = "keyspace create a\nget a none\nput a k v\n"
        self.run_tern(stdin=script, code=1)
        self.run_tern("get", "a", "k", code=1)
        self.run_tern("--keep-going", stdin="get a none\nput a k v\nnonsense\n", code=1)
        self.assertEqual(self.out("get", "a", "k"), "v\n")
        self.run_tern(stdin="nonsense\n", code=2)
        self.run_tern(stdin="put a 'open\n", code=2)

    def test_a_transaction_over_several_lines(self):
        self.create("a", "b")
        self.run_tern(stdin="begin\nput a k 1\nput b k 2\nget a k\ncommit\n")
        self.assertEqual(self.out("get", "b", "k"), "2\n")
        self.run_tern(stdin="begin\nput a k 9\nrollback\n")
        self.run_tern(stdin="begin\nput a k 9\n")
        self.assertEqual(self.out("get", "a", "k"), "1\n")
        out = self.out(stdin="begin\nkeyspace create c\nput c k v\nget c k\nmerge c n add 1\n"
                             "cas c k v w\nscan c --keys-only\ncommit\n")
        self.assertEqual(out, "v\nk\nn\n")
        self.assertEqual(self.out("get", "c", "k"), "w\n")
        self.run_tern(stdin="commit\n", code=2)

    def test_options_of_a_line_hold_for_that_line(self):
        self.create("a")
        out, err = self.run_tern(stdin="put a k v\nget a k --json\nget a k\nget a k --timing\n")
        self.assertEqual(out, b'{"keyspace":"a","key":"k","value":"v","size_bytes":1}\nv\nv\n')
        self.assertEqual(err.count(b"time:"), 1)
        self.assertEqual(self.err("-q", stdin=".timing on\nget a k\nget a k\n").count("time:"), 2)

    def test_verify_runs_on_the_open_database(self):
        self.create("a")
        self.assertIn("sound", self.out(stdin="put a k v\nverify\n"))


class Terminal(TernTest):
    def setUp(self):
        super().setUp()
        self.create("people", "prices")
        self.start()

    def start(self):
        self.child, self.terminal = pty.fork()
        if self.child == 0:
            environment = {**self.environment, "TERM": "xterm", "LC_ALL": "C.UTF-8"}
            os.execve(BINARY, [BINARY, "-d", self.db], environment)
        self.seen = ""
        self.expect("tern> ")

    def tearDown(self):
        try:
            os.kill(self.child, 9)
            os.waitpid(self.child, 0)
        except (ProcessLookupError, ChildProcessError):
            pass
        os.close(self.terminal)
        super().tearDown()

    def send(self, text):
        time.sleep(0.2)  # the prompt shows before the terminal is ready for single keys
        os.write(self.terminal, text.encode())

    def expect(self, text, seconds=20):
        """Reads until `text` shows, and forgets what stands before it."""
        deadline = time.monotonic() + seconds
        while text not in self.seen:
            ready, _, _ = select.select([self.terminal], [], [], deadline - time.monotonic())
            self.assertTrue(ready, f"expected {text!r}, saw {self.seen!r}")
            try:
                chunk = os.read(self.terminal, 4096)
            except OSError:
                chunk = b""
            self.assertTrue(chunk, f"expected {text!r}, saw {self.seen!r}")
            plain = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]|\x1b[()][A-Z0-9]|\x1b[=>]", "",
                           chunk.decode("utf-8", "replace"))
            self.seen += plain
        self.seen = self.seen[self.seen.index(text) + len(text):]

    def leave(self):
        self.send("\x04")
        _, status = os.waitpid(self.child, 0)
        self.assertEqual(os.waitstatus_to_exitcode(status), 0)

    def test_commands_history_and_leaving(self):
        self.send("put prices apple 120\r")
        self.expect("tern> ")
        self.send("get prices apple\r")
        self.expect("\n120")
        self.expect("tern> ")
        self.send("\x1b[A\r")
        self.expect("\n120")
        self.expect("tern> ")
        self.leave()
        with open(os.path.join(self.work, "tern", "history"), encoding="utf-8") as file:
            self.assertIn("apple", file.read())
        self.start()
        self.send("\x10\r")
        self.expect("\n120")

    def test_the_tab_key_completes(self):
        self.send("cou\tpr\t\r")
        self.expect("\n0")
        self.expect("tern> ")
        self.send("get p\t")
        time.sleep(0.1)
        self.send("\t")
        self.expect("people")
        self.expect("prices")

    def test_lines_go_on_behind_a_backslash_and_an_open_quote(self):
        self.send("put prices pear \\\r")
        self.expect("-> ")
        self.send("'two\r")
        self.expect("-> ")
        self.send("lines'\r")
        self.expect("tern> ")
        self.send("get prices pear --value-format escaped\r")
        self.expect("two\\nlines")

    def test_a_command_of_several_lines_is_recalled_whole(self):
        self.send("put prices fig 'two\r")
        self.expect("-> ")
        self.send("lines'\r")
        self.expect("tern> ")
        self.send("delete prices fig\r")
        self.expect("tern> ")
        self.send("\x1b[A\x1b[A\r")
        self.expect("tern> ")
        self.send("get prices fig --value-format escaped\r")
        self.expect("two\\nlines")

    def test_control_c_cancels_the_line(self):
        self.send("put prices x 'open\r")
        self.expect("-> ")
        self.send("\x03")
        self.expect("tern> ")
        self.send("nonsense \x03")
        self.expect("^C")
        self.expect("tern> ")
        self.send("count prices\r")
        self.expect("\n0")

    def test_the_prompt_tells_of_an_open_transaction(self):
        self.send("begin\r")
        self.expect("tern*> ")
        self.send("rollback\r")
        self.expect("tern> ")

    def test_control_c_stops_a_long_command_and_the_database_stays_open(self):
        self.send("bench --seconds 60 --records 1000\r")
        time.sleep(2)
        self.send("\x03")
        self.expect("cancelled")
        self.expect("tern> ")
        self.send("count prices\r")
        self.expect("\n0")

    def test_values_that_would_disturb_the_terminal_are_escaped(self):
        self.send("put prices evil \"\\e[31m\"\r")
        self.expect("tern> ")
        self.send("get prices evil\r")
        self.expect('"\\e[31m"')


if __name__ == "__main__":
    unittest.main()
