# SPDX-License-Identifier: Apache-2.0
# Copyright The Twain authors
#
# Compiler for everything that runs on the machine: kernel, loader, programs.
#
# TWAIN_CROSS  prefix of the compiler (default: the first of aarch64-linux-gnu-, aarch64-none-elf- that is
#              installed; on an arm64 host the native g++)
set(CMAKE_SYSTEM_NAME Generic)
set(CMAKE_SYSTEM_PROCESSOR aarch64)

if(NOT DEFINED TWAIN_CROSS)
    find_program(_twain_linux_gnu aarch64-linux-gnu-g++)
    find_program(_twain_none_elf aarch64-none-elf-g++)
    if(_twain_linux_gnu)
        set(TWAIN_CROSS aarch64-linux-gnu-)
    elseif(_twain_none_elf)
        set(TWAIN_CROSS aarch64-none-elf-)
    elseif(CMAKE_HOST_SYSTEM_PROCESSOR MATCHES "^(aarch64|arm64)$")
        set(TWAIN_CROSS "")
    else()
        message(FATAL_ERROR "no compiler for AArch64: run tools/twain setup, or install g++-aarch64-linux-gnu")
    endif()
endif()

set(CMAKE_CXX_COMPILER ${TWAIN_CROSS}g++)
set(CMAKE_C_COMPILER ${TWAIN_CROSS}gcc)
set(CMAKE_ASM_COMPILER ${TWAIN_CROSS}gcc)
find_program(CMAKE_OBJCOPY ${TWAIN_CROSS}objcopy REQUIRED)

# No program can be linked before our start-up code exists.
set(CMAKE_TRY_COMPILE_TARGET_TYPE STATIC_LIBRARY)
set(CMAKE_FIND_ROOT_PATH_MODE_LIBRARY NEVER)
set(CMAKE_FIND_ROOT_PATH_MODE_INCLUDE NEVER)
