# SPDX-License-Identifier: Apache-2.0
# Copyright The Twain authors
#
# Compiler options for code that runs on the machine.
set(TWAIN_WARNINGS -Wall -Wextra -Wconversion -Werror)

# The C library is picolibc, also beside a compiler that was built for Linux and glibc: the compiler's own C++
# headers stay, its C headers go, and libs/rt/include bridges the gap.
set(TWAIN_PICOLIBC /usr/lib/picolibc/aarch64-linux-gnu CACHE PATH "picolibc: include/ and lib/ below it")
if(NOT EXISTS ${TWAIN_PICOLIBC}/include/picolibc.h)
    message(FATAL_ERROR "picolibc is missing: run tools/twain setup, or install picolibc-aarch64-linux-gnu")
endif()
if(TWAIN_CROSS MATCHES "none-elf")
    set(TWAIN_INCLUDES "SHELL:-isystem ${TWAIN_PICOLIBC}/include")
else()
    set(TWAIN_INCLUDES -nostdinc "SHELL:-isystem ${PROJECT_SOURCE_DIR}/libs/rt/include")
    foreach(dir IN LISTS CMAKE_CXX_IMPLICIT_INCLUDE_DIRECTORIES)
        if(dir MATCHES "/c\\+\\+/")
            list(APPEND TWAIN_INCLUDES "SHELL:-isystem ${dir}")
        endif()
    endforeach()
    list(APPEND TWAIN_INCLUDES "SHELL:-isystem ${TWAIN_PICOLIBC}/include")
    foreach(dir IN LISTS CMAKE_CXX_IMPLICIT_INCLUDE_DIRECTORIES)
        if(dir MATCHES "/gcc(-cross)?/")
            list(APPEND TWAIN_INCLUDES "SHELL:-isystem ${dir}")
        endif()
    endforeach()
endif()

set(TWAIN_COMMON_FLAGS
    ${TWAIN_WARNINGS} -g -march=armv8-a -mno-outline-atomics -fno-stack-protector -ffunction-sections
    -fdata-sections -fno-strict-aliasing -fno-asynchronous-unwind-tables -fno-omit-frame-pointer
    "-ffile-prefix-map=${PROJECT_SOURCE_DIR}/=" ${TWAIN_INCLUDES}
    $<$<COMPILE_LANGUAGE:CXX>:-fno-exceptions> $<$<COMPILE_LANGUAGE:CXX>:-fno-rtti>
    $<$<COMPILE_LANGUAGE:CXX>:-fno-threadsafe-statics> $<$<CONFIG:Debug>:-Og> $<$<CONFIG:Release>:-O2>)

# Programs: hosted by picolibc, linked at a fixed address.
set(TWAIN_USER_FLAGS ${TWAIN_COMMON_FLAGS} -fno-pic -ftls-model=local-exec)

# Kernel and loader: nothing below them, no FP registers, no access that alignment checking would catch; a loop
# that is memset must not become a call of memset.
set(TWAIN_BARE_FLAGS ${TWAIN_COMMON_FLAGS} -ffreestanding -mgeneral-regs-only -mstrict-align
    -fno-tree-loop-distribute-patterns)
# A new object keeps the zeroes that its pool gave it.
set(TWAIN_KERNEL_FLAGS ${TWAIN_BARE_FLAGS} -fno-pic -fno-lifetime-dse -momit-leaf-frame-pointer -falign-functions=4 -fno-align-jumps -fno-align-loops -fno-align-labels)
set(TWAIN_LOADER_FLAGS ${TWAIN_BARE_FLAGS} -fpie)

# The build type's own flags (-O3 -DNDEBUG) are not wanted.
set(CMAKE_CXX_FLAGS_RELEASE "")
set(CMAKE_CXX_FLAGS_DEBUG "")
set(CMAKE_C_FLAGS_RELEASE "")
set(CMAKE_C_FLAGS_DEBUG "")
set(CMAKE_ASM_FLAGS_RELEASE "")
set(CMAKE_ASM_FLAGS_DEBUG "")

set(TWAIN_DEFINES TWAIN_DEBUG=$<IF:$<CONFIG:Debug>,1,0> TWAIN_LOG_LEVEL=${TWAIN_LOG_LEVEL})
