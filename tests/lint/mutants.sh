#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Every planted bug still applies to the sources; `make mutants` then shows what catches it.
set -euo pipefail
command -v git >/dev/null 2>&1 || exit 77
exec python3 "$TERN_SOURCE_DIR/tools/mutants" --check
