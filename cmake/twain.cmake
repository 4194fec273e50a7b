# SPDX-License-Identifier: Apache-2.0
# Copyright The Twain authors
#
# What a directory's CMakeLists.txt is made of. Each function takes all *.cpp and *.S below the directory.
#
#   twain_library(name [LIBS ...])                      static library of user code
#   twain_program(name HEAP bytes [LIBS ...])           bin/<name>, linked by libs/rt/program.ld
#   twain_kernel(name LINKER_SCRIPT file [DEFINES ...]) <name>.elf and <name>.bin
#
# Include paths, everywhere: the checkout ("kernel/api/abi.hpp"), libs/ ("sys/sys.hpp"), system/ ("console/line.hpp").

# twain_sources(result [dir]): a new file is picked up by the next build.
function(twain_sources result)
    set(dir ${CMAKE_CURRENT_SOURCE_DIR})
    if(ARGC GREATER 1)
        set(dir ${ARGV1})
    endif()
    file(GLOB_RECURSE found CONFIGURE_DEPENDS ${dir}/*.cpp ${dir}/*.S)
    set(${result} ${found} PARENT_SCOPE)
endfunction()

function(twain_user_code name)
    get_target_property(kind ${name} TYPE)
    if(kind STREQUAL "INTERFACE_LIBRARY")
        return()
    endif()
    target_compile_options(${name} PRIVATE ${TWAIN_USER_FLAGS})
    target_compile_definitions(${name} PRIVATE ${TWAIN_DEFINES})
    target_include_directories(${name} PRIVATE ${PROJECT_SOURCE_DIR} ${PROJECT_SOURCE_DIR}/libs ${PROJECT_SOURCE_DIR}/system)
endfunction()

function(twain_library name)
    cmake_parse_arguments(PARSE_ARGV 1 arg "" "" "LIBS")
    twain_sources(sources)
    if(sources)
        add_library(${name} STATIC ${sources})
        twain_user_code(${name})
        target_link_libraries(${name} PUBLIC ${arg_LIBS})
    else()
        add_library(${name} INTERFACE)
        target_link_libraries(${name} INTERFACE ${arg_LIBS})
    endif()
endfunction()

# twain_executable(name SOURCES ... HEAP bytes OUTPUT file LIBS ...): a program from a list of files
function(twain_executable name)
    cmake_parse_arguments(PARSE_ARGV 1 arg "" "HEAP;OUTPUT;DIRECTORY" "SOURCES;LIBS")
    if(NOT arg_HEAP)
        set(arg_HEAP 0)
    endif()
    if(NOT arg_OUTPUT)
        set(arg_OUTPUT ${name})
    endif()
    if(NOT arg_DIRECTORY)
        set(arg_DIRECTORY ${PROJECT_BINARY_DIR}/bin)
    endif()
    set(script ${PROJECT_SOURCE_DIR}/libs/rt/program.ld)
    add_executable(program-${name} ${arg_SOURCES})
    twain_user_code(program-${name})
    # The C library and the start-up code need each other.
    target_link_libraries(program-${name} PRIVATE
        ${arg_LIBS} -Wl,--start-group rt -lc -lgcc -lstdc++ -Wl,--end-group)
    target_link_options(program-${name} PRIVATE
        -nostdlib -nostartfiles -static -no-pie -L${TWAIN_PICOLIBC}/lib -T${script} -Wl,--gc-sections
        -Wl,-z,max-page-size=4096 -Wl,-z,noexecstack -Wl,--build-id=none -Wl,--fatal-warnings
        -Wl,--defsym=__heap_bytes=${arg_HEAP} -Wl,--undefined=_start -Wl,--undefined=main)
    set_target_properties(program-${name} PROPERTIES
        OUTPUT_NAME ${arg_OUTPUT} RUNTIME_OUTPUT_DIRECTORY ${arg_DIRECTORY} LINK_DEPENDS ${script})
endfunction()

function(twain_program name)
    twain_sources(sources)
    if(NOT sources MATCHES "/main.cpp")
        message(STATUS "${name}: no main.cpp yet")
        return()
    endif()
    twain_executable(${name} SOURCES ${sources} ${ARGN})
    set_property(GLOBAL APPEND PROPERTY TWAIN_PROGRAMS program-${name})
endfunction()

function(twain_kernel name)
    cmake_parse_arguments(PARSE_ARGV 1 arg "" "LINKER_SCRIPT" "DEFINES")
    twain_sources(sources)
    if(NOT sources OR NOT EXISTS ${arg_LINKER_SCRIPT})
        message(STATUS "${name}: no sources yet")
        return()
    endif()
    add_executable(${name} ${sources})
    target_compile_options(${name} PRIVATE ${TWAIN_KERNEL_FLAGS})
    target_compile_definitions(${name} PRIVATE ${TWAIN_DEFINES} ${arg_DEFINES})
    target_include_directories(${name} PRIVATE ${PROJECT_SOURCE_DIR})
    target_link_options(${name} PRIVATE
        -nostdlib -nostartfiles -static -no-pie -T${arg_LINKER_SCRIPT} -Wl,--gc-sections -Wl,-z,max-page-size=4096
        -Wl,-z,noexecstack -Wl,--build-id=none -Wl,--fatal-warnings)
    target_link_libraries(${name} PRIVATE -lgcc)
    set_target_properties(${name} PROPERTIES
        OUTPUT_NAME ${name}.elf RUNTIME_OUTPUT_DIRECTORY ${PROJECT_BINARY_DIR} LINK_DEPENDS ${arg_LINKER_SCRIPT})
    add_custom_command(TARGET ${name} POST_BUILD
        COMMAND ${CMAKE_OBJCOPY} -O binary $<TARGET_FILE:${name}> ${PROJECT_BINARY_DIR}/${name}.bin
        BYPRODUCTS ${PROJECT_BINARY_DIR}/${name}.bin VERBATIM)
endfunction()
