# SPDX-License-Identifier: Apache-2.0
# libtern.so and libtern.a from the objects of all inside layers; both export tern_* alone.

set(objects)
set(external)
foreach(layer IN LISTS TERN_INSIDE_LAYERS)
    get_target_property(type tern_${layer} TYPE)
    if(NOT type STREQUAL "INTERFACE_LIBRARY")
        list(APPEND objects $<TARGET_OBJECTS:tern_${layer}>)
    endif()
    list(APPEND external ${TERN_NEEDS_${layer}})
endforeach()
list(REMOVE_DUPLICATES external)

# Before the first layer has a source there is nothing to make a library of.
if(NOT objects)
    add_library(tern_shared INTERFACE)
    add_library(tern_static INTERFACE)
    return()
endif()

set(version_script ${PROJECT_SOURCE_DIR}/cmake/libtern.map)
add_library(tern_shared SHARED ${objects})
set_target_properties(tern_shared PROPERTIES
    OUTPUT_NAME tern
    EXPORT_NAME tern
    LINKER_LANGUAGE C
    VERSION ${PROJECT_VERSION}
    SOVERSION ${TERN_SOVERSION}
    LINK_DEPENDS ${version_script})
target_include_directories(tern_shared PUBLIC
    $<BUILD_INTERFACE:${PROJECT_SOURCE_DIR}/include>
    $<INSTALL_INTERFACE:${CMAKE_INSTALL_INCLUDEDIR}>)
target_link_libraries(tern_shared PRIVATE ${external})
target_link_options(tern_shared PRIVATE ${TERN_LINK_OPTIONS}
    -Wl,--version-script=${version_script})
if(NOT TERN_SANITIZE)
    target_link_options(tern_shared PRIVATE -Wl,-z,defs)
endif()

# The archive holds one object in which every hidden symbol has become local: a program can link
# libtern.a beside anything without a clash of names.
set(TERN_STATIC_FILE ${PROJECT_BINARY_DIR}/libtern.a)
set(combined ${PROJECT_BINARY_DIR}/layers/libtern.o)
set(combine ${CMAKE_LINKER} -r)
if(TERN_LTO)
    # Code must be generated here, or there would be no symbols to make local.
    set(combine ${CMAKE_C_COMPILER} -O2 -fPIC -r -nostdlib -flto=auto -flinker-output=nolto-rel)
endif()
add_custom_command(
    OUTPUT ${TERN_STATIC_FILE}
    COMMAND ${CMAKE_COMMAND} -E make_directory ${PROJECT_BINARY_DIR}/layers
    COMMAND ${combine} -o ${combined} ${objects}
    COMMAND ${CMAKE_OBJCOPY} --localize-hidden ${combined}
    COMMAND ${CMAKE_COMMAND} -E rm -f ${TERN_STATIC_FILE}
    COMMAND ${CMAKE_AR} qcs ${TERN_STATIC_FILE} ${combined}
    COMMAND ${CMAKE_COMMAND} -E rm -f ${combined}
    DEPENDS ${objects}
    COMMAND_EXPAND_LISTS
    VERBATIM
    COMMENT "Making libtern.a of one object with local internals")
add_custom_target(tern_static_file ALL DEPENDS ${TERN_STATIC_FILE})
add_library(tern_static INTERFACE)
add_dependencies(tern_static tern_static_file)
target_include_directories(tern_static INTERFACE ${PROJECT_SOURCE_DIR}/include)
target_link_libraries(tern_static INTERFACE ${TERN_STATIC_FILE} ${external})
# An executable that links the file is linked again when it changes.
target_link_options(tern_static INTERFACE ${TERN_LINK_OPTIONS})
set_property(TARGET tern_static PROPERTY INTERFACE_LINK_DEPENDS ${TERN_STATIC_FILE})

add_library(tern::tern ALIAS tern_shared)
add_library(tern::static ALIAS tern_static)
