# SPDX-License-Identifier: Apache-2.0
# Copyright The Twain authors
#
# cmake -DBUILD=<target's build directory> -DSOURCE=<checkout> -P tidy.cmake: clang-tidy over the code that runs on
# the machine, as the compiler was called for it, without the options that only GCC knows.
find_program(run NAMES run-clang-tidy run-clang-tidy-14 REQUIRED)
file(READ ${BUILD}/compile_commands.json commands)
string(REGEX REPLACE "-fno-tree-loop-distribute-patterns|-mno-outline-atomics|-fno-lifetime-dse|-f(no-)?align-[a-z]+(=[0-9]+)?" "" commands "${commands}")
string(REPLACE "-Werror" "--target=aarch64-linux-gnu -Wno-unknown-warning-option" commands "${commands}")
file(WRITE ${BUILD}/tidy/compile_commands.json "${commands}")
execute_process(
    COMMAND ${run} -quiet -p ${BUILD}/tidy -j 2 "^${SOURCE}/(kernel|libs|vmm|drivers|system)/.*\\.cpp$"
    COMMAND_ERROR_IS_FATAL ANY)
