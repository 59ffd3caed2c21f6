# SPDX-License-Identifier: Apache-2.0
# How a test program is started, and how long it may take, in this build.

set(TERN_TEST_TIMEOUT 120)
if(TERN_SANITIZE)
    set(TERN_TEST_TIMEOUT 300)
endif()
if(TERN_VALGRIND OR CMAKE_CROSSCOMPILING)
    set(TERN_TEST_TIMEOUT 1800)
endif()

set(TERN_TEST_ENVIRONMENT
    "ASAN_OPTIONS=detect_leaks=1:strict_string_checks=1:detect_stack_use_after_return=1"
    "UBSAN_OPTIONS=print_stacktrace=1:halt_on_error=1"
    "TSAN_OPTIONS=halt_on_error=1:second_deadlock_stack=1:suppressions=${PROJECT_SOURCE_DIR}/tests/tsan.supp")

set(TERN_TEST_LAUNCHER)
if(TERN_VALGRIND)
    set(TERN_TEST_LAUNCHER valgrind --quiet --error-exitcode=99 --leak-check=full
        --errors-for-leak-kinds=definite,possible --num-callers=30
        --suppressions=${PROJECT_SOURCE_DIR}/tests/valgrind.supp)
elseif(TERN_SANITIZE MATCHES "thread")
    # ThreadSanitizer of gcc 12 cannot live with 32 bits of address space randomisation.
    execute_process(COMMAND setarch -R true RESULT_VARIABLE failed OUTPUT_QUIET ERROR_QUIET)
    if(NOT failed)
        set(TERN_TEST_LAUNCHER setarch -R)
    endif()
elseif(CMAKE_CROSSCOMPILING)
    set(TERN_TEST_LAUNCHER ${CMAKE_CROSSCOMPILING_EMULATOR})
endif()
