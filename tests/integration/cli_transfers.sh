#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# ctest: timeout=360
#
# Batches, import and export from the outside: formats, exit codes, files.
set -euo pipefail
exec python3 "$(dirname "$0")/cli/check_commands.py" Batches Transfers
