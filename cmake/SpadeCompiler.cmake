# Language level, warnings, hardening, sanitizers: the same for every target of ours.
set(CMAKE_CXX_STANDARD 20)
set(CMAKE_CXX_STANDARD_REQUIRED ON)
set(CMAKE_CXX_EXTENSIONS OFF)
set(CMAKE_EXPORT_COMPILE_COMMANDS ON)
set(CMAKE_POSITION_INDEPENDENT_CODE ON)
if(NOT CMAKE_BUILD_TYPE)
  set(CMAKE_BUILD_TYPE Release CACHE STRING "" FORCE)
endif()
set(CMAKE_CXX_FLAGS_RELEASE "-O3 -DNDEBUG")
if(NOT CMAKE_CXX_COMPILER_LAUNCHER)
  find_program(SPADE_CCACHE ccache)
  if(SPADE_CCACHE)
    set(CMAKE_CXX_COMPILER_LAUNCHER ${SPADE_CCACHE})
  endif()
endif()

# Binaries are position-independent too, whatever the compiler's default is.
include(CheckPIESupported)
check_pie_supported(LANGUAGES CXX)

# Interface target that every library and binary of ours links.
add_library(spade_options INTERFACE)
target_include_directories(spade_options INTERFACE ${CMAKE_SOURCE_DIR})
target_compile_options(spade_options INTERFACE
  $<$<COMPILE_LANGUAGE:CXX>:-Wall;-Wextra;-Werror;-Wnon-virtual-dtor;-fstack-protector-strong>)
if(CMAKE_BUILD_TYPE STREQUAL "Release" AND NOT SPADE_SANITIZE)
  target_compile_definitions(spade_options INTERFACE _FORTIFY_SOURCE=2)
endif()
target_link_options(spade_options INTERFACE -Wl,-z,relro,-z,now,-z,noexecstack)
if(SPADE_SANITIZE)
  target_compile_options(spade_options INTERFACE -fsanitize=${SPADE_SANITIZE} -g1 -O1
                         -fno-omit-frame-pointer -fno-sanitize-recover=all)
  target_link_options(spade_options INTERFACE -fsanitize=${SPADE_SANITIZE})
endif()
if(SPADE_FUZZ)
  # Coverage of every library, or the fuzzers would be blind.
  target_compile_options(spade_options INTERFACE -fsanitize=fuzzer-no-link)
  target_link_options(spade_options INTERFACE -fsanitize=fuzzer-no-link)
endif()

if(SPADE_CUDA)
  include(SpadeCuda)
endif()

# spade_library(NAME SRCS ... DEPS ...): one static library per folder; the link graph is the
# dependency order of engine/README.md.
function(spade_library name)
  cmake_parse_arguments(arg "" "" "SRCS;DEPS" ${ARGN})
  add_library(${name} STATIC ${arg_SRCS})
  target_link_libraries(${name} PUBLIC spade_options ${arg_DEPS})
endfunction()

# What the sanitizer runs build: the tests with these labels.
add_custom_target(threads_tests)
add_custom_target(memory_tests)

# spade_test(NAME SRCS ... DEPS ... LABELS ... [SHARDS N]): one gtest binary, registered with ctest
# as one test, or as N that run side by side. Labels: `slow` (not in the sanitizer runs); `memory` (in CI's ASan run: what reads memory by
# hand, or what others sent); `threads` (in the TSan run, which is without the server: Debian's gRPC
# is not instrumented, so TSan cannot see how it synchronises).
function(spade_test name)
  cmake_parse_arguments(arg "" "TIMEOUT;SHARDS" "SRCS;DEPS;LABELS" ${ARGN})
  add_executable(${name} ${arg_SRCS})
  target_link_libraries(${name} PRIVATE spade_options ${arg_DEPS} GTest::gtest GTest::gmock
                        GTest::gtest_main)
  target_compile_definitions(${name} PRIVATE SPADE_SOURCE_DIR="${CMAKE_SOURCE_DIR}")
  if(NOT arg_TIMEOUT)
    set(arg_TIMEOUT 300)
  endif()
  if(SPADE_SANITIZE)
    math(EXPR arg_TIMEOUT "4 * ${arg_TIMEOUT}")
  endif()
  if(NOT arg_SHARDS)
    set(arg_SHARDS 1)
  endif()
  foreach(shard RANGE 1 ${arg_SHARDS})
    set(test ${name})
    if(arg_SHARDS GREATER 1)
      set(test ${name}_${shard})
    endif()
    math(EXPR index "${shard} - 1")
    add_test(NAME ${test} COMMAND ${name})
    set_tests_properties(${test} PROPERTIES
      TIMEOUT ${arg_TIMEOUT} LABELS "${arg_LABELS}"
      ENVIRONMENT "GTEST_TOTAL_SHARDS=${arg_SHARDS};GTEST_SHARD_INDEX=${index}")
  endforeach()
  foreach(label threads memory)
    if(label IN_LIST arg_LABELS)
      add_dependencies(${label}_tests ${name})
    endif()
  endforeach()
endfunction()
