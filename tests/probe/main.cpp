// SPDX-License-Identifier: Apache-2.0
// Copyright The Twain authors
#include "probe.hpp"

extern "C" void probe_main(const void* tree);

using namespace probe;

void probe_main(const void* tree) {
    print("\nPROBE BEGIN\n");
    read_device_tree(tree);
    probe_firmware();
    probe_memory();
    probe_registers();
    probe_gic();
    probe_instructions();
    probe_timers();
    probe_smp();
    if (failures == 0) {
        print("PROBE PASS\n");
    } else {
        print("PROBE FAIL\n");
    }
    (void)hvc(0x8400'0008);
}
