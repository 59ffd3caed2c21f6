# SPDX-License-Identifier: Apache-2.0
# Language, warnings, sanitizers and per-file instruction sets: everything that becomes a flag.

set(CMAKE_C_STANDARD 17)
set(CMAKE_C_STANDARD_REQUIRED ON)
set(CMAKE_C_EXTENSIONS ON)
set(CMAKE_POSITION_INDEPENDENT_CODE ON)
set(CMAKE_C_VISIBILITY_PRESET hidden)
set(CMAKE_EXPORT_COMPILE_COMMANDS ON)

if(NOT CMAKE_BUILD_TYPE AND NOT CMAKE_CONFIGURATION_TYPES)
    set(CMAKE_BUILD_TYPE Release CACHE STRING "Debug, Release" FORCE)
endif()
# NDEBUG drops only the expensive assertions; ASSERT (src/base/assert.h) stays in every build.
set(CMAKE_C_FLAGS_RELEASE "-O2 -g -DNDEBUG")
set(CMAKE_C_FLAGS_DEBUG "-Og -g")

set(TERN_WARNINGS -Wall -Wextra -Wpedantic -Wshadow -Wconversion -Wstrict-prototypes
    -Wmissing-prototypes -Wvla -Wundef -Wformat=2)
if(TERN_WERROR)
    list(APPEND TERN_WARNINGS -Werror)
endif()
if(CMAKE_C_COMPILER_ID MATCHES Clang)
    # gcc does not have this one, and our status codes pass through int on purpose.
    list(APPEND TERN_WARNINGS -Wno-gnu-statement-expression)
endif()

set(TERN_COMPILE_OPTIONS -fno-omit-frame-pointer -ffunction-sections -fdata-sections)
set(TERN_LINK_OPTIONS -Wl,--as-needed -Wl,--gc-sections)

if(TERN_SANITIZE)
    list(APPEND TERN_COMPILE_OPTIONS -fsanitize=${TERN_SANITIZE} -fno-sanitize-recover=all)
    list(APPEND TERN_LINK_OPTIONS -fsanitize=${TERN_SANITIZE})
endif()
if(TERN_VALGRIND)
    list(APPEND TERN_COMPILE_OPTIONS -DTERN_VALGRIND=1)
endif()
if(TERN_FUZZ)
    if(NOT CMAKE_C_COMPILER_ID MATCHES Clang)
        message(FATAL_ERROR "TERN_FUZZ needs clang (use the preset `fuzz`)")
    endif()
    list(APPEND TERN_COMPILE_OPTIONS -fsanitize=fuzzer-no-link)
endif()
if(TERN_COVERAGE)
    list(APPEND TERN_COMPILE_OPTIONS --coverage -fprofile-update=atomic)
    list(APPEND TERN_LINK_OPTIONS --coverage)
endif()
if(TERN_LTO)
    # Fat objects, so that libtern.a can still be made from them with ld -r.
    list(APPEND TERN_COMPILE_OPTIONS -flto=auto -ffat-lto-objects)
    list(APPEND TERN_LINK_OPTIONS -flto=auto)
endif()

# The build is for the oldest machine of the architecture; kernels that need more live in files
# named after it, are compiled for it alone, and are chosen at run time.
if(CMAKE_SYSTEM_PROCESSOR MATCHES "x86_64|AMD64")
    set(TERN_ARCH_SUFFIXES sse42 avx2 avx512)
    set(TERN_FOREIGN_SUFFIXES neon)
    set(TERN_FLAGS_sse42 -msse4.2 -mpopcnt -mpclmul)
    set(TERN_FLAGS_avx2 ${TERN_FLAGS_sse42} -mavx2 -mbmi -mbmi2 -mlzcnt)
    set(TERN_FLAGS_avx512 ${TERN_FLAGS_avx2} -mavx512f -mavx512bw -mavx512dq -mavx512vl)
elseif(CMAKE_SYSTEM_PROCESSOR MATCHES "aarch64|arm64")
    set(TERN_ARCH_SUFFIXES neon)
    set(TERN_FOREIGN_SUFFIXES sse42 avx2 avx512)
    set(TERN_FLAGS_neon -march=armv8-a+crc)
else()
    set(TERN_ARCH_SUFFIXES)
    set(TERN_FOREIGN_SUFFIXES neon sse42 avx2 avx512)
endif()

# Drops from the list of that name what is for another architecture, and gives each of the
# others the instruction set that its name asks for.
function(tern_select_by_architecture list_name)
    set(kept ${${list_name}})
    foreach(suffix IN LISTS TERN_FOREIGN_SUFFIXES)
        list(FILTER kept EXCLUDE REGEX "_${suffix}\\.c$")
    endforeach()
    foreach(suffix IN LISTS TERN_ARCH_SUFFIXES)
        set(special ${kept})
        list(FILTER special INCLUDE REGEX "_${suffix}\\.c$")
        if(special)
            set_source_files_properties(${special} PROPERTIES
                COMPILE_OPTIONS "${TERN_FLAGS_${suffix}}")
        endif()
    endforeach()
    set(${list_name} ${kept} PARENT_SCOPE)
endfunction()

# What every C target of the project has in common.
function(tern_configure_target target)
    target_compile_options(${target} PRIVATE ${TERN_WARNINGS} ${TERN_COMPILE_OPTIONS})
    # Empty, so that a source that says `#define _GNU_SOURCE` for itself does not collide.
    target_compile_options(${target} PRIVATE -D_GNU_SOURCE=)
    target_link_options(${target} PRIVATE ${TERN_LINK_OPTIONS})
endfunction()
