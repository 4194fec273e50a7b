# SPDX-License-Identifier: Apache-2.0
# Copyright The Twain authors
#
# Everything that runs on the machine. Configured by cmake/host.cmake with the cross toolchain.
#
#   TWAIN_CONFIG   the system (absolute path)
#   TWAIN_OUTPUT   systems are built in TWAIN_OUTPUT/<name>/
#   TWAIN_FILES    guest images made by the tool
include(cmake/flags.cmake)
include(cmake/twain.cmake)
include(cmake/packages.cmake)
include(cmake/image.cmake)

# Libraries from Debian, built for arm64.
twain_packages(arm64 arm64 libfdt-dev zlib1g-dev)
add_library(fdt STATIC IMPORTED)
set_target_properties(fdt PROPERTIES IMPORTED_LOCATION ${TWAIN_PACKAGES_arm64}/usr/lib/aarch64-linux-gnu/libfdt.a)
target_include_directories(fdt SYSTEM INTERFACE ${TWAIN_PACKAGES_arm64}/usr/include)
add_library(z STATIC IMPORTED)
set_target_properties(z PROPERTIES IMPORTED_LOCATION ${TWAIN_PACKAGES_arm64}/usr/lib/aarch64-linux-gnu/libz.a)
target_include_directories(z SYSTEM INTERFACE ${TWAIN_PACKAGES_arm64}/usr/include)

foreach(dir IN ITEMS
        kernel libs/rt libs/sys libs/ring libs/random drivers/pl011 system/loader system/console system/init vmm
        tests/kernel tests/fuzz/root tests/loader tests/probe tests/hostile tools/bench/kernel)
    if(EXISTS ${PROJECT_SOURCE_DIR}/${dir}/CMakeLists.txt)
        add_subdirectory(${dir})
    endif()
endforeach()

twain_system_image()
