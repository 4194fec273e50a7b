// SPDX-License-Identifier: Apache-2.0
// Copyright The Twain authors
//
// TCG plugin: how many instructions a core spends in the kernel at a stretch, interrupts masked.
//
// A path begins with the first instruction in the kernel after user mode, after WFI, or after a preemption point, and ends
// with ERET, WFI or a preemption point. These are known by what they are, so the kernel needs no marks:
//
//   ERET, WFI
//   MRS Xt, ISR_EL1   a preemption point: the kernel asks whether an interrupt waits
//   YIELD             a turn of a loop that waits for another core: what lies between two of them is counted apart,
//                     as long as it is short; work that is done for the other core meanwhile is work
//
// Arguments: kernel=LO-HI (hexadecimal program counters, HI exclusive), out=FILE. At exit FILE gets one JSON object:
// {"paths", "above": {"1000": N, ...}, "worst": {"instructions", "spin", "blocks": [[address, instructions, times], ...]},
// "spin": {...}}.
#include "plugin_api.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

__attribute__((visibility("default"))) int qemu_plugin_version = 1;

enum { MAX_CORES = 16, MAX_BLOCKS = 1 << 16, SPIN_TURN = 64 };
enum kind { ERET, WFI, CHECK, TURN };

struct block {
    uint64_t address;
    unsigned instructions;
};

struct event {
    unsigned behind;  // instructions of its block that come after it
    enum kind kind;
};

struct core {
    bool started;  // the core has left the kernel once: starting it is no path
    bool open;
    uint64_t count, spin;
    uint64_t turn;  // value of `count` at the last YIELD; 0: none
    size_t used;
    const struct block *blocks[MAX_BLOCKS];
};

struct path {
    uint64_t count, spin;
    size_t used;
    const struct block **blocks;
};

static const unsigned limits[] = {500, 1000, 2000, 3000, 4000, 5000, 10000};
enum { LIMITS = sizeof limits / sizeof limits[0] };

static struct core cores[MAX_CORES];
static struct path worst, worst_spin;
static uint64_t paths, above[LIMITS];
static uint64_t low, high;
static int lock;
static const char *out_path = "paths.json";

static void keep(struct path *path, const struct core *core, uint64_t count) {
    path->count = count;
    path->spin = core->spin;
    path->used = core->used;
    free(path->blocks);
    path->blocks = malloc((core->used ? core->used : 1) * sizeof *path->blocks);
    if (path->blocks) {
        memcpy(path->blocks, core->blocks, core->used * sizeof *path->blocks);
    } else {
        path->used = 0;
    }
}

static void end_path(struct core *core, unsigned behind) {
    uint64_t count = core->started ? core->count - behind - core->spin : 0;
    core->started = true;
    while (__atomic_exchange_n(&lock, 1, __ATOMIC_ACQUIRE)) {
    }
    paths++;
    for (unsigned i = 0; i < LIMITS; i++) {
        above[i] += count > limits[i];
    }
    if (count > worst.count) {
        keep(&worst, core, count);
    }
    if (core->spin > worst_spin.spin) {
        keep(&worst_spin, core, count);
    }
    __atomic_store_n(&lock, 0, __ATOMIC_RELEASE);
    core->count = behind;
    core->spin = 0;
    core->turn = 0;
    core->used = 0;
}

static void on_block(unsigned vcpu, void *data) {
    const struct block *block = data;
    struct core *core = &cores[vcpu % MAX_CORES];
    if (!core->open) {
        core->open = true;
        core->count = core->spin = core->turn = 0;
        core->used = 0;
    }
    core->count += block->instructions;
    if (core->used < MAX_BLOCKS) {
        core->blocks[core->used++] = block;
    }
}

static void on_event(unsigned vcpu, void *data) {
    const struct event *event = data;
    struct core *core = &cores[vcpu % MAX_CORES];
    if (event->kind == TURN) {
        uint64_t now = core->count - event->behind;
        if (core->turn && now - core->turn <= SPIN_TURN) {
            core->spin += now - core->turn;
        }
        core->turn = now;
        return;
    }
    end_path(core, event->behind);
    core->open = event->kind == CHECK;
}

static bool is_event(uint32_t word, enum kind *kind) {
    if (word == 0xd69f03e0u) {
        *kind = ERET;
    } else if (word == 0xd503207fu) {
        *kind = WFI;
    } else if ((word & ~0x1fu) == 0xd538c100u) {
        *kind = CHECK;
    } else if (word == 0xd503203fu) {
        *kind = TURN;
    } else {
        return false;
    }
    return true;
}

// What a translation's callbacks get lives as long as QEMU: it may still be running when it is translated anew.
static void on_translate(qemu_plugin_id_t id, struct qemu_plugin_tb *tb) {
    (void)id;
    size_t n = qemu_plugin_tb_n_insns(tb);
    uint64_t address = qemu_plugin_tb_vaddr(tb);
    if (address - low >= high - low) {
        return;
    }
    struct block *block = malloc(sizeof *block);
    if (!block) {
        return;
    }
    block->address = address;
    block->instructions = (unsigned)n;
    qemu_plugin_register_vcpu_tb_exec_cb(tb, on_block, QEMU_PLUGIN_CB_NO_REGS, block);
    for (size_t i = 0; i < n; i++) {
        struct qemu_plugin_insn *insn = qemu_plugin_tb_get_insn(tb, i);
        uint32_t word;
        enum kind kind;
        if (qemu_plugin_insn_size(insn) != sizeof word) {
            continue;
        }
        memcpy(&word, qemu_plugin_insn_data(insn), sizeof word);
        struct event *event = is_event(word, &kind) ? malloc(sizeof *event) : NULL;
        if (event) {
            event->behind = (unsigned)(n - i - 1);
            event->kind = kind;
            qemu_plugin_register_vcpu_insn_exec_cb(insn, on_event, QEMU_PLUGIN_CB_NO_REGS, event);
        }
    }
}

static int by_address(const void *left, const void *right) {
    uint64_t a = (*(const struct block *const *)left)->address, b = (*(const struct block *const *)right)->address;
    return a < b ? -1 : a > b;
}

static void write_path(FILE *file, const char *name, struct path *path) {
    fprintf(file, ", \"%s\": {\"instructions\": %" PRIu64 ", \"spin\": %" PRIu64 ", \"blocks\": [", name, path->count, path->spin);
    if (path->used) {
        qsort(path->blocks, path->used, sizeof *path->blocks, by_address);
    }
    const char *comma = "";
    for (size_t i = 0; i < path->used;) {
        size_t times = 1;
        while (i + times < path->used && path->blocks[i + times]->address == path->blocks[i]->address) {
            times++;
        }
        fprintf(file, "%s[%" PRIu64 ", %u, %zu]", comma, path->blocks[i]->address, path->blocks[i]->instructions, times);
        comma = ", ";
        i += times;
    }
    fprintf(file, "]}");
}

static void on_exit_write(qemu_plugin_id_t id, void *unused) {
    (void)id;
    (void)unused;
    FILE *file = fopen(out_path, "w");
    if (!file) {
        qemu_plugin_outs("twain paths: cannot write the result\n");
        return;
    }
    fprintf(file, "{\"paths\": %" PRIu64 ", \"above\": {", paths);
    for (unsigned i = 0; i < LIMITS; i++) {
        fprintf(file, "%s\"%u\": %" PRIu64, i ? ", " : "", limits[i], above[i]);
    }
    fprintf(file, "}");
    write_path(file, "worst", &worst);
    write_path(file, "spin", &worst_spin);
    fprintf(file, "}\n");
    fclose(file);
}

__attribute__((visibility("default"))) int qemu_plugin_install(qemu_plugin_id_t id, const qemu_info_t *info, int argc,
                                                                char **argv) {
    if (strcmp(info->target_name, "aarch64") != 0 || !info->system_emulation) {
        qemu_plugin_outs("twain paths: only for qemu-system-aarch64\n");
        return -1;
    }
    for (int i = 0; i < argc; i++) {
        if (strncmp(argv[i], "kernel=", 7) == 0) {
            char *end;
            low = strtoull(argv[i] + 7, &end, 16);
            high = *end == '-' ? strtoull(end + 1, NULL, 16) : 0;
        } else if (strncmp(argv[i], "out=", 4) == 0) {
            out_path = strdup(argv[i] + 4);
        }
    }
    if (high <= low) {
        qemu_plugin_outs("twain paths: kernel=LO-HI is missing\n");
        return -1;
    }
    qemu_plugin_register_vcpu_tb_trans_cb(id, on_translate);
    qemu_plugin_register_atexit_cb(id, on_exit_write, NULL);
    return 0;
}
