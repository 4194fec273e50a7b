# SPDX-License-Identifier: Apache-2.0
# Copyright The Twain authors
#
# The host project: unit tests under sanitizers, and the target as an external project of its own toolchain.
include(ExternalProject)

get_filename_component(TWAIN_CONFIG "${TWAIN_CONFIG}" ABSOLUTE BASE_DIR ${PROJECT_SOURCE_DIR})
get_filename_component(_default_output ${PROJECT_BINARY_DIR} DIRECTORY)
setting(TWAIN_OUTPUT ${_default_output})
set(make_images FALSE)
if(NOT DEFINED TWAIN_FILES)  # the tool makes them before it calls CMake, and says where they are
    set(TWAIN_FILES ${TWAIN_OUTPUT}/images)
    set(make_images TRUE)
endif()

set(target_arguments
    -DTWAIN_TARGET=ON
    -DCMAKE_TOOLCHAIN_FILE=${PROJECT_SOURCE_DIR}/cmake/toolchain-aarch64.cmake
    -DCMAKE_BUILD_TYPE=${CMAKE_BUILD_TYPE}
    -DTWAIN_PYTHON=${TWAIN_PYTHON})
foreach(name IN ITEMS TWAIN_CONFIG TWAIN_BOARD TWAIN_CORES TWAIN_LOG_LEVEL TWAIN_OUTPUT TWAIN_FILES)
    list(APPEND target_arguments "-D${name}=${${name}}")
endforeach()
if(DEFINED TWAIN_CROSS)
    list(APPEND target_arguments "-DTWAIN_CROSS=${TWAIN_CROSS}")
endif()

ExternalProject_Add(target
    SOURCE_DIR ${PROJECT_SOURCE_DIR}
    BINARY_DIR ${PROJECT_BINARY_DIR}/target
    STAMP_DIR ${PROJECT_BINARY_DIR}/target-stamp
    TMP_DIR ${PROJECT_BINARY_DIR}/target-tmp
    CMAKE_ARGS ${target_arguments}
    BUILD_ALWAYS ON
    INSTALL_COMMAND ""
    USES_TERMINAL_BUILD ON)

# The system's image: only on demand, because it needs the guests' images (Debian packages; the network, once).
if(make_images)
    add_custom_target(guest-images
        COMMAND ${CMAKE_COMMAND} -E env PYTHONPATH=${PROJECT_SOURCE_DIR}/tools PYTHONDONTWRITEBYTECODE=1
            TWAIN_OUTPUT=${TWAIN_OUTPUT} ${TWAIN_PYTHON} -c
            "import sys; from twainlib import build, system; build.make_images(system.load(sys.argv[1]))" ${TWAIN_CONFIG}
        USES_TERMINAL VERBATIM)
endif()
ExternalProject_Add_Step(target image
    COMMAND ${CMAKE_COMMAND} --build <BINARY_DIR> --target image
    DEPENDEES configure
    EXCLUDE_FROM_MAIN ON
    ALWAYS ON
    USES_TERMINAL ON)
ExternalProject_Add_StepTargets(target image)
if(make_images)
    ExternalProject_Add_StepDependencies(target image guest-images)
endif()
add_custom_target(image DEPENDS target-image)

set(simulate_options --cpu ${TWAIN_CPU} --gic ${TWAIN_GIC})
if(NOT TWAIN_CORES STREQUAL "")
    list(APPEND simulate_options --cpus ${TWAIN_CORES})
endif()
if(CMAKE_BUILD_TYPE STREQUAL "Debug")
    list(APPEND simulate_options --debug)
endif()
if(NOT TWAIN_MEMORY STREQUAL "")
    list(APPEND simulate_arguments -- -m ${TWAIN_MEMORY})
endif()
add_custom_target(simulate
    COMMAND ${PROJECT_SOURCE_DIR}/tools/twain run ${TWAIN_CONFIG} ${simulate_options} ${simulate_arguments}
    USES_TERMINAL VERBATIM)

# Unit tests. The build type's own flags (-O3 -DNDEBUG) are not wanted.
set(CMAKE_CXX_FLAGS_RELEASE "")
set(CMAKE_CXX_FLAGS_DEBUG "")
enable_testing()
include(cmake/packages.cmake)
find_package(Catch2 2 REQUIRED)

# The library that target code uses, for this machine.
twain_packages(host host libfdt-dev)
file(GLOB host_fdt ${TWAIN_PACKAGES_host}/usr/lib/*/libfdt.a)
add_library(fdt STATIC IMPORTED GLOBAL)
set_target_properties(fdt PROPERTIES IMPORTED_LOCATION "${host_fdt}")
target_include_directories(fdt SYSTEM INTERFACE ${TWAIN_PACKAGES_host}/usr/include)

# What the host tests are built to show, each in a build directory (a preset) of its own: errors of memory and undefined
# behaviour; which branches they take.
setting(TWAIN_SHOW memory)
set(show_memory -O1 -fno-omit-frame-pointer -fsanitize=address,undefined -fno-sanitize-recover=all)
set(show_branches -O0 --coverage)
set(TWAIN_HOST_SHOWS ${show_${TWAIN_SHOW}})
set(TWAIN_HOST_FLAGS -Wall -Wextra -Wconversion -Werror -g ${TWAIN_HOST_SHOWS})

# Catch2's main is compiled once.
file(WRITE ${PROJECT_BINARY_DIR}/catch_main.cpp.new "#define CATCH_CONFIG_MAIN\n#include <catch2/catch.hpp>\n")
file(COPY_FILE ${PROJECT_BINARY_DIR}/catch_main.cpp.new ${PROJECT_BINARY_DIR}/catch_main.cpp ONLY_IF_DIFFERENT)
add_library(catch_main STATIC ${PROJECT_BINARY_DIR}/catch_main.cpp)
target_link_libraries(catch_main PUBLIC Catch2::Catch2)

# twain_test(name [SOURCES file...] [INCLUDES dir...] [LIBS ...]): a host test program: all *.cpp of the directory
# and SOURCES of the product (relative to the checkout). INCLUDES go first, so that a test can put its own
# sys/svc.hpp in front of the product's.
function(twain_test name)
    cmake_parse_arguments(PARSE_ARGV 1 arg "" "" "SOURCES;INCLUDES;LIBS")
    file(GLOB own CONFIGURE_DEPENDS ${CMAKE_CURRENT_SOURCE_DIR}/*.cpp)
    list(TRANSFORM arg_SOURCES PREPEND ${PROJECT_SOURCE_DIR}/)
    add_executable(test-${name} ${own} ${arg_SOURCES})
    target_compile_options(test-${name} PRIVATE ${TWAIN_HOST_FLAGS})
    target_link_options(test-${name} PRIVATE ${TWAIN_HOST_SHOWS})
    target_include_directories(test-${name} PRIVATE ${arg_INCLUDES} ${PROJECT_SOURCE_DIR} ${PROJECT_SOURCE_DIR}/libs ${PROJECT_SOURCE_DIR}/system)
    target_link_libraries(test-${name} PRIVATE ${arg_LIBS} catch_main)
    add_test(NAME unit-${name} COMMAND test-${name})
    set_tests_properties(unit-${name} PROPERTIES TIMEOUT 300)
endfunction()

# The loader in QEMU, with a kernel that only tells what it was told.
add_test(NAME loader-qemu
    COMMAND ${CMAKE_COMMAND} -E env TWAIN_TARGET=${PROJECT_BINARY_DIR}/target PYTHONDONTWRITEBYTECODE=1
        ${TWAIN_PYTHON} -m pytest -q -p no:cacheprovider ${PROJECT_SOURCE_DIR}/tests/loader)
set_tests_properties(loader-qemu PROPERTIES TIMEOUT 300)

file(GLOB unit_tests CONFIGURE_DEPENDS ${PROJECT_SOURCE_DIR}/tests/unit/*/CMakeLists.txt)
foreach(file IN LISTS unit_tests)
    get_filename_component(dir ${file} DIRECTORY)
    add_subdirectory(${dir})
endforeach()
add_subdirectory(${PROJECT_SOURCE_DIR}/tests/fuzz)
add_subdirectory(${PROJECT_SOURCE_DIR}/tests/search)

# What CI looks at besides the tests.
add_custom_target(tidy
    COMMAND ${CMAKE_COMMAND} -DBUILD=${PROJECT_BINARY_DIR}/target -DSOURCE=${PROJECT_SOURCE_DIR}
        -P ${PROJECT_SOURCE_DIR}/cmake/tidy.cmake
    DEPENDS target USES_TERMINAL VERBATIM)
find_program(CLANG_FORMAT clang-format)
if(CLANG_FORMAT)
    add_custom_target(format
        COMMAND git ls-files -z *.cpp *.hpp | xargs -0 ${CLANG_FORMAT} -i
        WORKING_DIRECTORY ${PROJECT_SOURCE_DIR} COMMENT "Formatting all C++ files" VERBATIM)
endif()
