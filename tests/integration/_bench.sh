# SPDX-License-Identifier: Apache-2.0
#
# For tests of programs of bench/: a folder of their own, `fail`, `refuses`. Whoever sources it has
# set `name` (for messages and the folder) and `program`. Skips where there is no python3.

if ! command -v python3 >/dev/null; then
    echo "skipped: no python3"
    exit 77
fi

work=$(mktemp -d "${TMPDIR:-.}/bench-$name-test-XXXXXX") || exit 1
trap 'rm -rf "$work"' EXIT
failures=0

fail() {
    echo "FAIL: $*" >&2
    failures=$((failures + 1))
}

# refuses_with <status> <text that the message names> <arguments...>
refuses_with() {
    local wanted="$1" expected="$2" status
    shift 2
    "$program" "$@" >"$work/out" 2>"$work/err"
    status=$?
    [ "$status" -eq "$wanted" ] || fail "$name $* ended with $status, not $wanted"
    grep -qF -- "$expected" "$work/err" || fail "$name $*: no '$expected' in: $(cat "$work/err")"
    ! grep -q Traceback "$work/err" || fail "$name $*: $(cat "$work/err")"
    [ ! -s "$work/out" ] || fail "$name $* wrote to standard output"
}

# refuses <text that the message names> <arguments...>: arguments that are wrong
refuses() {
    refuses_with 2 "$@"
}
