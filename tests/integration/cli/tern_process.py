# SPDX-License-Identifier: Apache-2.0
"""Running the command tern in a directory of its own."""

import json
import os
import shutil
import subprocess
import tempfile
import unittest

BINARY = os.environ["TERN_BINARY"]


class TernTest(unittest.TestCase):
    def setUp(self):
        self.work = tempfile.mkdtemp(prefix="tern-cli-")
        self.db = os.path.join(self.work, "db")
        self.environment = {**os.environ, "HOME": self.work, "XDG_STATE_HOME": self.work}
        self.environment.pop("TERN_DIR", None)
        self.environment.pop("NO_COLOR", None)

    def tearDown(self):
        shutil.rmtree(self.work)

    def path(self, name):
        return os.path.join(self.work, name)

    def file(self, name, content):
        with open(self.path(name), "wb") as file:
            file.write(content if isinstance(content, bytes) else content.encode())
        return self.path(name)

    def run_tern(self, *arguments, stdin=b"", code=0, directory=None):
        """Runs with -d, checks the exit code, and returns (stdout, stderr) as bytes."""
        command = [BINARY, "-d", directory or self.db, *arguments]
        if isinstance(stdin, str):
            stdin = stdin.encode()
        result = subprocess.run(command, input=stdin, capture_output=True, timeout=60,
                                env=self.environment, cwd=self.work)
        self.assertEqual(result.returncode, code, (command, result.stdout, result.stderr))
        return result.stdout, result.stderr

    def out(self, *arguments, **named):
        return self.run_tern(*arguments, **named)[0].decode()

    def err(self, *arguments, **named):
        return self.run_tern(*arguments, **named)[1].decode()

    def json(self, *arguments, **named):
        lines = self.out("--json", *arguments, **named).splitlines()
        self.assertEqual(len(lines), 1, lines)
        return json.loads(lines[0])

    def json_error(self, *arguments, code):
        lines = self.err("--json", *arguments, code=code).splitlines()
        self.assertEqual(len(lines), 1, lines)
        return json.loads(lines[0])["error"]

    def create(self, *names):
        for name in names:
            self.run_tern("keyspace", "create", name)
