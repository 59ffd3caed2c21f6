# SPDX-License-Identifier: Apache-2.0
# Compiles each plain kernel once more and writes down what the compiler says it made vectors of:
#   cmake -DCOMPILER=... -DCOMPILER_ID=GNU -DFLAGS=a;b;c -DSOURCES=... -DOUT=... -P vectorised.cmake
# "no", "unknown" (only gcc is asked), or which loops and straight-line blocks of which file.
set(text "/* What the compiler made vectors of, see bench/plain/vectorised.cmake. */\n")
string(APPEND text "static const struct vectorised vectorised[] = {\n")
foreach(source IN LISTS SOURCES)
    get_filename_component(name ${source} NAME_WE)
    execute_process(COMMAND ${COMPILER} ${FLAGS} -fopt-info-vec-optimized -c ${source} -o ${OUT}.o
        RESULT_VARIABLE failed ERROR_VARIABLE said OUTPUT_QUIET)
    string(REGEX MATCHALL "[^/\n]+:[0-9]+:[0-9]+: optimized:[^\n]*vectorized" lines "${said}")
    if(failed OR NOT COMPILER_ID STREQUAL "GNU")
        set(answer unknown)
    elseif(lines)
        list(TRANSFORM lines REPLACE "^([^:]+:[0-9]+):.*: *(loop|basic block).*" "\\2 \\1")
        list(REMOVE_DUPLICATES lines)
        list(JOIN lines ", " answer)
    else()
        set(answer no)
    endif()
    string(APPEND text "    {\"${name}\", \"${answer}\"},\n")
endforeach()
string(APPEND text "};\n")
file(REMOVE ${OUT}.o)
file(WRITE ${OUT} "${text}")
