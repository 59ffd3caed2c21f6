#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# ctest: timeout=120
#
# The REPL, from a pipe and on a pseudo-terminal: editing, history, completion, Ctrl-C, Ctrl-D.
set -euo pipefail
exec python3 "$(dirname "$0")/cli/check_repl.py"
