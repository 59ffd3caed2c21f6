#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# The source keeps the house rules, and the tool that says so notices a broken one.
set -euo pipefail
cd "${TERN_SOURCE_DIR:-$(dirname "$0")/../..}"
python3 tools/tidy --self-test
exec python3 tools/tidy
