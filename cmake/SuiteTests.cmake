# pfc_suite_tests(TARGET [-FILTER]): a test of ctest for each suite of a program with GoogleTest. gtest_discover_tests makes
# one for each test, and a thousand tests then spend more time on loading LibTorch than on what they show. FILTER leaves
# tests out, as in --gtest_filter.

if(NOT CMAKE_SCRIPT_MODE_FILE)
  set(PFC_SUITE_TESTS ${CMAKE_CURRENT_LIST_FILE})

  function(pfc_suite_tests target)
    set(list ${CMAKE_CURRENT_BINARY_DIR}/${target}_suites.cmake)
    add_custom_command(TARGET ${target} POST_BUILD VERBATIM
                       COMMAND ${CMAKE_COMMAND} -DPROGRAM=$<TARGET_FILE:${target}> "-DFILTER=${ARGN}" -DLIST=${list}
                               -P ${PFC_SUITE_TESTS})
    set(include ${CMAKE_CURRENT_BINARY_DIR}/${target}_include.cmake)
    file(WRITE ${include} "if(EXISTS \"${list}\")\n  include(\"${list}\")\nelse()\n  add_test(${target}_NOT_BUILT ${target})\nendif()\n")
    set_property(DIRECTORY APPEND PROPERTY TEST_INCLUDE_FILES ${include})
  endfunction()
  return()
endif()

execute_process(COMMAND ${PROGRAM} --gtest_list_tests --gtest_filter=*${FILTER} OUTPUT_VARIABLE listed TIMEOUT 120
                COMMAND_ERROR_IS_FATAL ANY)
string(REGEX MATCHALL "(^|\n)[^ \n]+\\.[^\n]*" suites "${listed}")
set(tests "")
foreach(suite IN LISTS suites)
  string(REGEX REPLACE "^\n?([^ ]+)\\..*" "\\1" suite "${suite}")
  string(APPEND tests "add_test([==[${suite}]==] [==[${PROGRAM}]==] [==[--gtest_filter=${suite}.*${FILTER}]==])\n"
                      "set_tests_properties([==[${suite}]==] PROPERTIES TIMEOUT 600)\n")
endforeach()
if(tests STREQUAL "")
  message(FATAL_ERROR "${PROGRAM} lists no tests")
endif()
file(WRITE ${LIST} "${tests}")
