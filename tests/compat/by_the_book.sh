#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# ctest: only=release
# ctest: timeout=600
#
# A reader in Python, written from docs/format/*.md alone, finds in databases what the rules of the
# golden ones and the library itself say is in them.
set -euo pipefail
cd "$(dirname "$0")"
exec python3 -B -m by_the_book
