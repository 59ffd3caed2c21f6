#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Every public header compiles by itself, as strict C17 and as C++17, without a warning.
set -euo pipefail
cd "${TERN_SOURCE_DIR:-$(dirname "$0")/../..}"

[ -d include/tern ] || {
    echo "no public headers yet"
    exit 77
}
warnings=(-Wall -Wextra -Wpedantic -Werror -Wundef -Wshadow)
failed=0
count=0
while IFS= read -r header; do
    name=${header#include/}
    count=$((count + 1))
    # Twice, so that a missing include guard shows.
    printf '#include <%s>\n#include <%s>\nextern int unused;\n' "$name" "$name" |
        "${CC:-cc}" -std=c17 "${warnings[@]}" -Wstrict-prototypes -Wconversion \
            -Iinclude -fsyntax-only -x c - || { echo "C17: $header"; failed=1; }
    printf '#include <%s>\n#include <%s>\nextern int unused;\n' "$name" "$name" |
        "${CXX:-c++}" -std=c++17 "${warnings[@]}" -Wold-style-cast \
            -Iinclude -fsyntax-only -x c++ - || { echo "C++17: $header"; failed=1; }
done < <(find include/tern -name '*.h' | sort)
# Each struct of options has its initialiser, which no strict program has to complain of.
program=$(mktemp)
trap 'rm -f "$program"' EXIT
{
    echo '#include <tern/tern.h>'
    echo 'int main(void) {'
    grep -rhoE '^} tern_[a-z]*_options;' include/tern | tr -d '};' | while read -r type; do
        echo "    $type of_$type = $(tr '[:lower:]' '[:upper:]' <<<"$type")_INIT;"
        echo "    if (of_$type.size != sizeof of_$type) return 1;"
    done
    echo '    tern_error error = TERN_ERROR_INIT;'
    echo '    tern_value value = TERN_VALUE_INIT;'
    echo '    return error.offset != -1 || value.bytes.size != 0;'
    echo '}'
} >"$program"
"${CC:-cc}" -std=c17 "${warnings[@]}" -Iinclude -fsyntax-only -x c "$program" ||
    { echo "C17: initialisers"; failed=1; }
"${CXX:-c++}" -std=c++17 "${warnings[@]}" -Wold-style-cast -Wzero-as-null-pointer-constant \
    -Iinclude -fsyntax-only -x c++ "$program" || { echo "C++17: initialisers"; failed=1; }
echo "$count headers"
exit $failed
