# SPDX-License-Identifier: Apache-2.0
# Finds what is taken from others. `tools/setup build` installs it on Debian.

set(THREADS_PREFER_PTHREAD_FLAG ON)
find_package(Threads REQUIRED)
find_package(PkgConfig REQUIRED)

pkg_check_modules(ZSTD REQUIRED IMPORTED_TARGET libzstd)
pkg_check_modules(LZ4 REQUIRED IMPORTED_TARGET liblz4)
pkg_check_modules(XXHASH REQUIRED IMPORTED_TARGET libxxhash)
pkg_check_modules(EDIT REQUIRED IMPORTED_TARGET libedit)
pkg_check_modules(URING IMPORTED_TARGET liburing)
pkg_check_modules(CMOCKA IMPORTED_TARGET cmocka)

# Snappy ships no .pc file.
find_path(SNAPPY_INCLUDE_DIR snappy-c.h REQUIRED)
find_library(SNAPPY_LIBRARY snappy REQUIRED)
mark_as_advanced(SNAPPY_INCLUDE_DIR SNAPPY_LIBRARY)
add_library(tern_snappy INTERFACE)
target_include_directories(tern_snappy SYSTEM INTERFACE ${SNAPPY_INCLUDE_DIR})
target_link_libraries(tern_snappy INTERFACE ${SNAPPY_LIBRARY})

# Which layer needs what; a layer above gets it through the layer below.
set(TERN_NEEDS_base Threads::Threads PkgConfig::XXHASH)
set(TERN_NEEDS_block PkgConfig::ZSTD PkgConfig::LZ4 tern_snappy)
set(TERN_NEEDS_cli PkgConfig::EDIT Threads::Threads)
if(URING_FOUND)
    set(TERN_NEEDS_os PkgConfig::URING)
endif()
