# SPDX-License-Identifier: Apache-2.0
# One static library per row of src/LAYERS: tern_<layer>, linking the layers that it knows.
#
# TERN_LAYERS         every layer, low to high
# TERN_INSIDE_LAYERS  those that libtern is made of
# tern_inside         interface target: all of the inside, for tests that need the whole

function(tern_add_layer name folder kind)
    set(target tern_${name})
    # Not recursive: a folder below is a layer of its own.
    file(GLOB sources CONFIGURE_DEPENDS ${folder}/*.c)
    if(name STREQUAL "cli")
        # main() belongs to the executable, so that tests can link the rest.
        list(FILTER sources EXCLUDE REGEX "/main\\.c$")
    endif()
    tern_select_by_architecture(sources)

    set(below ${TERN_NEEDS_${name}})
    foreach(lower IN LISTS ARGN)
        list(APPEND below tern_${lower})
    endforeach()
    if(sources)
        set(scope PUBLIC)
        add_library(${target} STATIC ${sources})
        set_target_properties(${target} PROPERTIES
            ARCHIVE_OUTPUT_DIRECTORY ${PROJECT_BINARY_DIR}/layers)
        tern_configure_target(${target})
    else()
        set(scope INTERFACE)
        add_library(${target} INTERFACE)
    endif()
    target_include_directories(${target} ${scope}
        ${PROJECT_SOURCE_DIR}/include ${PROJECT_SOURCE_DIR}/src)
    if(kind STREQUAL "inside" AND URING_FOUND)
        target_compile_definitions(${target} ${scope} TERN_HAVE_LIBURING=1)
    endif()
    target_link_libraries(${target} ${scope} ${below})
endfunction()

function(tern_add_layers table)
    set_property(DIRECTORY APPEND PROPERTY CMAKE_CONFIGURE_DEPENDS ${PROJECT_SOURCE_DIR}/${table})
    file(STRINGS ${PROJECT_SOURCE_DIR}/${table} rows REGEX "^[a-z]")
    set(all)
    set(inside)
    set(inside_targets)
    foreach(row IN LISTS rows)
        string(REGEX REPLACE "[ \t]+" ";" fields "${row}")
        list(GET fields 0 name)
        list(GET fields 1 folder)
        list(GET fields 2 kind)
        list(SUBLIST fields 3 -1 knows)
        list(REMOVE_ITEM knows -)
        tern_add_layer(${name} ${folder} ${kind} ${knows})
        list(APPEND all ${name})
        if(kind STREQUAL "inside")
            list(APPEND inside ${name})
            list(PREPEND inside_targets tern_${name})
        endif()
    endforeach()
    add_library(tern_inside INTERFACE)
    target_link_libraries(tern_inside INTERFACE ${inside_targets})
    set(TERN_LAYERS ${all} PARENT_SCOPE)
    set(TERN_INSIDE_LAYERS ${inside} PARENT_SCOPE)
endfunction()
