#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# ctest: timeout=360
#
# Commands that look after a database, and what is common to all of them, from the outside.
set -euo pipefail
exec python3 "$(dirname "$0")/cli/check_commands.py" Care Shell
