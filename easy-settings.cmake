# SPDX-License-Identifier: Apache-2.0
# Copyright The Twain authors
#
# The page of settings that a person changes. Each can also be given once on the command line:
#     cmake --preset release -DTWAIN_CONFIG=configs/dual-persona.toml
# or, for one command, to the tool (tools/twain build CONFIG, tools/twain run --cpus 4 --cpu cortex-a57).

# The system to build: guests, drivers, servers and who may reach whom. Relative to this directory.
setting(TWAIN_CONFIG configs/two-guests.toml)

# The board that test images are made for (configs/boards/); a system names its own board.
setting(TWAIN_BOARD qemu-virt)

# The machine that `tools/twain run` and `ninja simulate` start. Empty: as the system says ([board_args] cpus, ram).
setting(TWAIN_CORES "")   # 1 to 8; the system is lowered again for that many
setting(TWAIN_MEMORY "")  # for example 2G

# QEMU's core model: cortex-a57, cortex-a76, max ...
setting(TWAIN_CPU max)

# Version of its interrupt controller, 2 or 3. The image finds out by itself.
setting(TWAIN_GIC 3)

# release: optimized, -O2.   debug: -Og, more checks in the kernel.   Both keep symbols for `twain symbolize`.
# Presets choose it: cmake --preset release, cmake --preset debug.
setting(TWAIN_BUILD release)

# What the kernel and the loader tell on the UART before the driver has it: 0 only panics and refusals,
# 1 one line for each stage, 2 everything.
setting(TWAIN_LOG_LEVEL 1)
