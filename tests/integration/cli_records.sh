#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# ctest: timeout=360
#
# Commands on single records from the outside: output, exit codes, JSON.
set -euo pipefail
exec python3 "$(dirname "$0")/cli/check_commands.py" Records
