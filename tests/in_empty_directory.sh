#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Runs its arguments in a new directory and removes that afterwards.
set -eu
directory=$(mktemp -d)
trap 'rm -rf "$directory"' EXIT
cd "$directory"
"$@"
