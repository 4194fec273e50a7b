# SPDX-License-Identifier: Apache-2.0
# Copyright The Twain authors
#
# twain_packages(name arch package...): Debian packages of an architecture ("host": this machine's), unpacked in
# the build directory; sets TWAIN_PACKAGES_<name>. The first time this needs a network (tools/twainlib/aptroot.py).
function(twain_packages name arch)
    set(dir ${PROJECT_BINARY_DIR}/packages/${name})
    set(stamp ${dir}/.packages)
    set(content "")
    if(EXISTS ${stamp})
        file(READ ${stamp} content)
    endif()
    if(NOT content STREQUAL "${ARGN}")
        execute_process(
            COMMAND ${CMAKE_COMMAND} -E env PYTHONPATH=${PROJECT_SOURCE_DIR}/tools PYTHONDONTWRITEBYTECODE=1
                ${TWAIN_PYTHON} -m twainlib.aptroot --arch ${arch} --extract ${dir} ${ARGN}
            OUTPUT_QUIET COMMAND_ERROR_IS_FATAL ANY)
        file(WRITE ${stamp} "${ARGN}")
    endif()
    set(TWAIN_PACKAGES_${name} ${dir} PARENT_SCOPE)
endfunction()
