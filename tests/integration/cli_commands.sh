#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# ctest: timeout=360
#
# Every command of tern from the outside: output, exit codes, JSON, files.
set -euo pipefail
exec python3 "$(dirname "$0")/cli/check_commands.py"
