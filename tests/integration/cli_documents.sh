#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
#
# docs/cli.md is what `tern help --markdown` prints, the manual page is free of roff errors, and
# the completions are scripts that their shells can parse.
set -euo pipefail

tern=${TERN_BINARY:?}
source_dir=${TERN_SOURCE_DIR:?}
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

"$tern" help --markdown >"$work/cli.md"
if ! diff -u "$source_dir/docs/cli.md" "$work/cli.md"; then
    echo "docs/cli.md is old: build/release/tern help --markdown > docs/cli.md" >&2
    exit 1
fi

"$tern" help --man >"$work/tern.1"
if command -v groff >/dev/null; then
    warnings=$(groff -K utf8 -man -Tutf8 -ww -z "$work/tern.1" 2>&1 | grep -v 'cannot adjust line\|can.t break line' || true)
    if [ -n "$warnings" ]; then
        echo "$warnings" >&2
        exit 1
    fi
fi

for shell in bash zsh fish; do
    "$tern" completions "$shell" >"$work/completions.$shell"
    if command -v "$shell" >/dev/null; then
        "$shell" -n "$work/completions.$shell"
    fi
done

# What bash offers, asked as bash would.
offers() {
    COMP_WORDS=("$@")
    COMP_CWORD=$((${#COMP_WORDS[@]} - 1))
    COMPREPLY=()
    _tern
    echo "${COMPREPLY[*]}"
}
# shellcheck disable=SC1091
source "$work/completions.bash"
expect() {
    if [ "$1" != "$2" ]; then
        echo "completion gave '$1' instead of '$2'" >&2
        exit 1
    fi
}
expect "$(offers tern sca)" "scan"
expect "$(offers tern keyspace cr)" "create"
expect "$(offers tern -d x scan --rev)" "--reverse"
expect "$(offers tern --durability f)" "full"
expect "$(offers tern import --format c)" "csv"
expect "$(offers tern completions z)" "zsh"
expect "$(offers tern keyspace conv)" "convert"
expect "$(offers tern --cache-policy lru --memory 8M sca)" "scan"
expect "$(offers tern --cache-policy = l)" "lru"
expect "$(offers tern --durability = full merge a k ad)" "add"
expect "$(offers tern keyspace convert a --engine h)" "hash"
expect "$(offers tern keyspace create --compr)" "--compression"
expect "$(offers tern help keys)" "keyspace"
mkdir "$work/bin"
ln -s "$(realpath "$tern")" "$work/bin/tern"
PATH=$work/bin:$PATH
printf 'keyspace create birds\nkeyspace create bats\n' | tern -d "$work/db"
expect "$(offers tern -d "$work/db" scan --limit 5 bi)" "birds"
expect "$(offers tern --directory = "$work/db" keyspace drop ba)" "bats"
expect "$(offers tern -d "$work/db" keyspace create bi)" ""
expect "$(offers tern -d "$work/db" get birds bi)" ""
echo "documents: ok"
