#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Runs its arguments in a new directory, and once more in what that has left; then removes it.
set -eu
directory=$(mktemp -d)
trap 'rm -rf "$directory"' EXIT
cd "$directory"
"$@"
"$@"
