# SPDX-License-Identifier: Apache-2.0
# Copyright The Twain authors
#
# From a system description to a bootable image, in two steps, because the tables of init hold what the
# programs' ELF files say:
#
#   programs ─┐
#   config ───┴─ sysgen ─ tables.cpp, manifest.json, expect.json ─ init ─┐
#                                     kernel, loader, files of the manifest ─┴─ pack ─ image.bin
set(TWAIN_TOOL ${CMAKE_COMMAND} -E env PYTHONPATH=${PROJECT_SOURCE_DIR}/tools PYTHONDONTWRITEBYTECODE=1
    ${TWAIN_PYTHON} -m)
file(GLOB TWAIN_PACK_SOURCES CONFIGURE_DEPENDS ${PROJECT_SOURCE_DIR}/tools/twainlib/pack.py)

# twain_pack(image ROOT target EXPECT file [MANIFEST file] [TEST]): the command that writes an image
function(twain_pack image)
    cmake_parse_arguments(PARSE_ARGV 1 arg "TEST" "ROOT;EXPECT;MANIFEST" "DEPENDS")
    set(options "")
    if(arg_MANIFEST)
        list(APPEND options --archive ${arg_MANIFEST})
    endif()
    if(arg_TEST)
        list(APPEND options --test)
    endif()
    if(TWAIN_LOG_LEVEL GREATER 1)
        list(APPEND options --verbose)
    endif()
    set(kernels "")
    foreach(level IN ITEMS el1 el2)
        if(TARGET kernel-${level})
            string(REPLACE el "" number ${level})
            list(APPEND options --kernel ${number}=$<TARGET_FILE:kernel-${level}>)
            list(APPEND kernels kernel-${level})
        endif()
    endforeach()
    add_custom_command(
        OUTPUT ${image}
        COMMAND ${TWAIN_TOOL} twainlib.pack pack --loader $<TARGET_FILE:loader> ${options}
            --root $<TARGET_FILE:${arg_ROOT}> --expect ${arg_EXPECT} --depfile ${image}.d -o ${image}
        DEPENDS loader ${kernels} ${arg_ROOT} ${arg_EXPECT} ${arg_MANIFEST} ${arg_DEPENDS} ${TWAIN_PACK_SOURCES}
        DEPFILE ${image}.d
        COMMENT "Packing ${image}" VERBATIM)
endfunction()

# The system of TWAIN_CONFIG: target `image`.
function(twain_system_image)
    get_filename_component(name "${TWAIN_CONFIG}" NAME_WE)
    set(out ${TWAIN_OUTPUT}/${name})
    if(NOT TARGET loader OR NOT TARGET system-init)
        return()
    endif()
    get_property(programs GLOBAL PROPERTY TWAIN_PROGRAMS)
    set(options "")
    if(NOT TWAIN_FILES STREQUAL "")
        list(APPEND options --files ${TWAIN_FILES})
    endif()
    if(NOT TWAIN_CORES STREQUAL "")
        list(APPEND options --cpus ${TWAIN_CORES})
    endif()
    # Runs each time: only the generator knows which files a description leads to. It leaves a file alone that
    # would not change, so nothing is built again for it.
    set(generated ${out}/tables.cpp ${out}/manifest.json ${out}/expect.json)
    add_custom_target(tables
        COMMAND ${TWAIN_TOOL} sysgen generate ${TWAIN_CONFIG} --programs ${PROJECT_BINARY_DIR}/bin ${options} --out ${out}
        BYPRODUCTS ${generated}
        DEPENDS ${programs}
        COMMENT "Generating ${name}" VERBATIM)
    twain_executable(init
        SOURCES ${out}/tables.cpp
        LIBS system-init sys ring rt
        HEAP ${TWAIN_INIT_HEAP} OUTPUT init DIRECTORY ${out})
    add_dependencies(program-init tables)
    set_target_properties(program-init PROPERTIES EXCLUDE_FROM_ALL ON)
    twain_pack(${out}/image.bin ROOT program-init EXPECT ${out}/expect.json MANIFEST ${out}/manifest.json DEPENDS tables)
    add_custom_target(image DEPENDS ${out}/image.bin)
endfunction()

# twain_test_image(name [HEAP bytes] [LIBS ...]): the directory's program as root task, without an archive:
# test/<name>.bin
function(twain_test_image name)
    twain_sources(sources)
    if(NOT sources)
        message(STATUS "test image ${name}: no sources yet")
        return()
    endif()
    twain_executable(${name} SOURCES ${sources} ${ARGN} DIRECTORY ${PROJECT_BINARY_DIR}/test)
    set(image ${PROJECT_BINARY_DIR}/test/${name}.bin)
    if(TARGET loader)
        twain_pack(${image} ROOT program-${name} EXPECT ${PROJECT_SOURCE_DIR}/cmake/boards/${TWAIN_BOARD}.json TEST)
        add_custom_target(image-${name} ALL DEPENDS ${image})
    endif()
endfunction()

# twain_bare_guest(name SCRIPT linker-script SOURCES ...): a guest without an operating system, an arm64 Image:
# test/<name>.bin
function(twain_bare_guest name)
    cmake_parse_arguments(PARSE_ARGV 1 arg "" "SCRIPT" "SOURCES")
    add_executable(${name} ${arg_SOURCES})
    target_compile_options(${name} PRIVATE ${TWAIN_KERNEL_FLAGS})
    target_include_directories(${name} PRIVATE ${CMAKE_CURRENT_SOURCE_DIR} ${PROJECT_SOURCE_DIR}/tests/probe)
    target_link_options(${name} PRIVATE -nostdlib -nostartfiles -static -no-pie -T${arg_SCRIPT} -Wl,--gc-sections
        -Wl,-z,noexecstack -Wl,--build-id=none -Wl,--no-warn-rwx-segments)
    set_target_properties(${name} PROPERTIES OUTPUT_NAME ${name}.elf RUNTIME_OUTPUT_DIRECTORY ${PROJECT_BINARY_DIR}/test
        LINK_DEPENDS ${arg_SCRIPT})
    add_custom_command(TARGET ${name} POST_BUILD
        COMMAND ${CMAKE_OBJCOPY} -O binary $<TARGET_FILE:${name}> ${PROJECT_BINARY_DIR}/test/${name}.bin
        BYPRODUCTS ${PROJECT_BINARY_DIR}/test/${name}.bin VERBATIM)
endfunction()
