# SPDX-License-Identifier: Apache-2.0
# Asks TERN for its man page and completions and keeps in SHARE those that it has.

file(MAKE_DIRECTORY ${SHARE})

function(keep_output file)
    execute_process(COMMAND ${TERN} ${ARGN}
        INPUT_FILE /dev/null OUTPUT_VARIABLE text ERROR_QUIET RESULT_VARIABLE result TIMEOUT 20)
    if(result EQUAL 0 AND NOT text STREQUAL "")
        file(WRITE ${SHARE}/${file} "${text}")
    else()
        file(REMOVE ${SHARE}/${file})
        message(STATUS "tern gives no ${file}: not installed")
    endif()
endfunction()

keep_output(tern.1 help --man)
keep_output(tern.bash completions bash)
keep_output(_tern completions zsh)
keep_output(tern.fish completions fish)
file(TOUCH ${SHARE}/stamp)
