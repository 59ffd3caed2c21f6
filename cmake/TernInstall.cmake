# SPDX-License-Identifier: Apache-2.0
# Headers, libraries, tern.pc, the CMake package, and what the command line says about itself.

include(CMakePackageConfigHelpers)

set(TERN_CMAKE_DIR ${CMAKE_INSTALL_LIBDIR}/cmake/tern)

install(DIRECTORY ${PROJECT_SOURCE_DIR}/include/tern DESTINATION ${CMAKE_INSTALL_INCLUDEDIR}
    FILES_MATCHING PATTERN "*.h")
install(FILES ${PROJECT_SOURCE_DIR}/LICENSE ${PROJECT_SOURCE_DIR}/NOTICE
    DESTINATION ${CMAKE_INSTALL_DOCDIR})

get_target_property(shared_type tern_shared TYPE)
if(shared_type STREQUAL "SHARED_LIBRARY")
    install(TARGETS tern_shared LIBRARY DESTINATION ${CMAKE_INSTALL_LIBDIR})
    install(FILES ${TERN_STATIC_FILE} DESTINATION ${CMAKE_INSTALL_LIBDIR})

    # Both files find the prefix from their own place, so that the tree can be moved.
    cmake_path(SET pc_dir NORMALIZE /prefix/${CMAKE_INSTALL_LIBDIR}/pkgconfig)
    cmake_path(RELATIVE_PATH pc_dir BASE_DIRECTORY /prefix OUTPUT_VARIABLE pc_dir_in_prefix)
    string(REGEX REPLACE "[^/]+" ".." TERN_PREFIX_FROM_PC "${pc_dir_in_prefix}")
    set(TERN_PC_REQUIRES "libzstd liblz4 libxxhash")
    if(URING_FOUND)
        string(APPEND TERN_PC_REQUIRES " liburing")
    endif()
    configure_file(cmake/tern.pc.in ${PROJECT_BINARY_DIR}/package/tern.pc @ONLY)
    install(FILES ${PROJECT_BINARY_DIR}/package/tern.pc
        DESTINATION ${CMAKE_INSTALL_LIBDIR}/pkgconfig)

    configure_package_config_file(cmake/ternConfig.cmake.in
        ${PROJECT_BINARY_DIR}/package/ternConfig.cmake
        INSTALL_DESTINATION ${TERN_CMAKE_DIR}
        PATH_VARS CMAKE_INSTALL_INCLUDEDIR CMAKE_INSTALL_LIBDIR
        NO_CHECK_REQUIRED_COMPONENTS_MACRO)
    write_basic_package_version_file(${PROJECT_BINARY_DIR}/package/ternConfigVersion.cmake
        COMPATIBILITY SameMinorVersion)
    install(FILES ${PROJECT_BINARY_DIR}/package/ternConfig.cmake
        ${PROJECT_BINARY_DIR}/package/ternConfigVersion.cmake
        DESTINATION ${TERN_CMAKE_DIR})
endif()

# Man page and completions come out of the command itself.
if(TARGET tern AND CMAKE_BUILD_TYPE STREQUAL "Release" AND NOT CMAKE_CROSSCOMPILING)
    set(share ${PROJECT_BINARY_DIR}/share)
    add_custom_command(
        OUTPUT ${share}/stamp
        COMMAND ${CMAKE_COMMAND} -D TERN=$<TARGET_FILE:tern> -D SHARE=${share}
            -P ${PROJECT_SOURCE_DIR}/cmake/cli_docs.cmake
        DEPENDS tern ${PROJECT_SOURCE_DIR}/cmake/cli_docs.cmake
        VERBATIM
        COMMENT "Writing man page and completions")
    add_custom_target(tern_cli_docs ALL DEPENDS ${share}/stamp)
    install(FILES ${share}/tern.1 DESTINATION ${CMAKE_INSTALL_MANDIR}/man1 OPTIONAL)
    install(FILES ${share}/tern.bash OPTIONAL RENAME tern
        DESTINATION ${CMAKE_INSTALL_DATADIR}/bash-completion/completions)
    install(FILES ${share}/_tern OPTIONAL
        DESTINATION ${CMAKE_INSTALL_DATADIR}/zsh/site-functions)
    install(FILES ${share}/tern.fish OPTIONAL
        DESTINATION ${CMAKE_INSTALL_DATADIR}/fish/vendor_completions.d)
endif()
