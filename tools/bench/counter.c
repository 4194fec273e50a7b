// SPDX-License-Identifier: Apache-2.0
// Copyright The Twain authors
//
// TCG plugin: counts the instructions that a core executes between two marker instructions.
//
//   hint #64        begin an interval on this core
//   hint #65        end it: one sample
//   hint #(66 + n)  following samples of this core belong to series n (0..61; 0 at start)
//
// Arguments: kernel=LO-HI, user=LO-HI (hexadecimal program counters, HI exclusive; user may be given several
// times), out=FILE, profile=N (of series N, how often each instruction was executed inside an interval). Everything outside both ranges counts as `other` (guests). Markers are not counted. An
// instruction that faults counts each time it is tried. The plugin interface does not show exception
// levels, so a guest that runs at addresses inside a range is counted there.
//
// At exit FILE gets one JSON object: {"total": {...}, "series": {"0": {"samples": N, "kernel": {"min", "median",
// "max", "mean"}, "user": ..., "other": ..., "all": ...}, ...}, "start": {...}, "profile": {"HEX PC": N, ...}}; `start` is
// what all cores had executed when the first marker came.
#include "plugin_api.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

__attribute__((visibility("default"))) int qemu_plugin_version = 1;

enum { KERNEL, USER, OTHER, CLASSES };
static const char *const class_names[CLASSES] = {"kernel", "user", "other"};

enum { MAX_CORES = 64, MAX_RANGES = 16, MAX_SERIES = 62, MAX_SAMPLES = 1 << 20 };
enum { HINT_BEGIN = 64, HINT_END = 65, HINT_SERIES = 66, HINT_LAST = 127 };

struct range {
    uint64_t low, high;
    unsigned class;
};

struct core {
    uint64_t count[CLASSES];
    uint64_t begin[CLASSES];
    unsigned series;
    bool open;
    char pad[64];  // cores count on different cache lines
};

struct sample {
    uint64_t count[CLASSES];
};

struct series {
    struct sample *samples;
    size_t used, size;
};

// An instruction of which the profile counts how often it is executed.
struct site {
    uint64_t address, count;
    unsigned class;
    struct site *next;
};
enum { SITE_BUCKETS = 1 << 14, NO_PROFILE = MAX_SERIES };

static struct core cores[MAX_CORES];
static struct site *sites[SITE_BUCKETS];
static unsigned profiled = NO_PROFILE;
static uint64_t start_count[CLASSES];
static bool started;
static struct series all_series[MAX_SERIES];
static struct range ranges[MAX_RANGES];
static unsigned range_count;
static bool single_core;
static int lock;
static const char *out_path = "bench.json";

static unsigned classify(uint64_t address) {
    for (unsigned i = 0; i < range_count; i++) {
        if (address - ranges[i].low < ranges[i].high - ranges[i].low) {
            return ranges[i].class;
        }
    }
    return OTHER;
}

static void count_one(unsigned vcpu, void *class) {
    cores[vcpu % MAX_CORES].count[(uintptr_t)class]++;
}

static void count_site(unsigned vcpu, void *at) {
    struct site *site = at;
    struct core *core = &cores[vcpu % MAX_CORES];
    core->count[site->class]++;
    if (core->open && core->series == profiled) {
        __atomic_fetch_add(&site->count, 1, __ATOMIC_RELAXED);
    }
}

// Translation happens under QEMU's lock for plugins.
static struct site *site_of(uint64_t address) {
    struct site **at = &sites[(address >> 2) % SITE_BUCKETS];
    while (*at && (*at)->address != address) {
        at = &(*at)->next;
    }
    if (!*at) {
        *at = calloc(1, sizeof **at);
        if (!*at) {
            abort();
        }
        (*at)->address = address;
        (*at)->class = classify(address);
    }
    return *at;
}

static void note_start(void) {
    if (!started) {
        started = true;
        for (unsigned class = 0; class < CLASSES; class++) {
            for (unsigned i = 0; i < MAX_CORES; i++) {
                start_count[class] += cores[i].count[class];
            }
        }
    }
}

static void on_begin(unsigned vcpu, void *unused) {
    (void)unused;
    note_start();
    struct core *core = &cores[vcpu % MAX_CORES];
    memcpy(core->begin, core->count, sizeof core->begin);
    core->open = true;
}

static void on_end(unsigned vcpu, void *unused) {
    (void)unused;
    struct core *core = &cores[vcpu % MAX_CORES];
    if (!core->open) {
        return;
    }
    core->open = false;
    while (__atomic_exchange_n(&lock, 1, __ATOMIC_ACQUIRE)) {
    }
    struct series *series = &all_series[core->series];
    if (series->used == series->size && series->size < MAX_SAMPLES) {
        size_t size = series->size ? series->size * 2 : 256;
        struct sample *samples = realloc(series->samples, size * sizeof *samples);
        if (samples) {
            series->samples = samples;
            series->size = size;
        }
    }
    if (series->used < series->size) {
        struct sample *sample = &series->samples[series->used++];
        for (unsigned i = 0; i < CLASSES; i++) {
            sample->count[i] = core->count[i] - core->begin[i];
        }
    }
    __atomic_store_n(&lock, 0, __ATOMIC_RELEASE);
}

static void on_series(unsigned vcpu, void *number) {
    note_start();
    cores[vcpu % MAX_CORES].series = (unsigned)(uintptr_t)number;
}

// HINT #imm is 0xd503201f with imm in bits [11:5] (Arm ARM C6.2.92).
static int hint_number(const struct qemu_plugin_insn *insn) {
    uint32_t word;
    if (qemu_plugin_insn_size(insn) != sizeof word) {
        return -1;
    }
    memcpy(&word, qemu_plugin_insn_data(insn), sizeof word);
    return (word & 0xfffff01fu) == 0xd503201fu ? (int)((word >> 5) & 0x7f) : -1;
}

static void on_translate(qemu_plugin_id_t id, struct qemu_plugin_tb *tb) {
    (void)id;
    size_t n = qemu_plugin_tb_n_insns(tb);
    for (size_t i = 0; i < n; i++) {
        struct qemu_plugin_insn *insn = qemu_plugin_tb_get_insn(tb, i);
        int hint = hint_number(insn);
        if (hint == HINT_BEGIN) {
            qemu_plugin_register_vcpu_insn_exec_cb(insn, on_begin, QEMU_PLUGIN_CB_NO_REGS, NULL);
        } else if (hint == HINT_END) {
            qemu_plugin_register_vcpu_insn_exec_cb(insn, on_end, QEMU_PLUGIN_CB_NO_REGS, NULL);
        } else if (hint >= HINT_SERIES && hint <= HINT_LAST) {
            qemu_plugin_register_vcpu_insn_exec_cb(insn, on_series, QEMU_PLUGIN_CB_NO_REGS,
                                                   (void *)(uintptr_t)(hint - HINT_SERIES));
        } else if (profiled != NO_PROFILE) {
            qemu_plugin_register_vcpu_insn_exec_cb(insn, count_site, QEMU_PLUGIN_CB_NO_REGS,
                                                   site_of(qemu_plugin_insn_vaddr(insn)));
        } else {
            unsigned class = classify(qemu_plugin_insn_vaddr(insn));
            if (single_core) {  // an inline addition has no core number, and costs a tenth of a callback
                qemu_plugin_register_vcpu_insn_exec_inline(insn, QEMU_PLUGIN_INLINE_ADD_U64, &cores[0].count[class], 1);
            } else {
                qemu_plugin_register_vcpu_insn_exec_cb(insn, count_one, QEMU_PLUGIN_CB_NO_REGS, (void *)(uintptr_t)class);
            }
        }
    }
}

static uint64_t value(const struct sample *sample, int class) {
    return class < CLASSES ? sample->count[class] : sample->count[KERNEL] + sample->count[USER] + sample->count[OTHER];
}

static int sort_class;
static int compare(const void *left, const void *right) {
    uint64_t a = value(left, sort_class), b = value(right, sort_class);
    return a < b ? -1 : a > b;
}

static void write_class(FILE *file, struct series *series, int class, const char *name) {
    sort_class = class;
    qsort(series->samples, series->used, sizeof *series->samples, compare);
    uint64_t sum = 0;
    for (size_t i = 0; i < series->used; i++) {
        sum += value(&series->samples[i], class);
    }
    fprintf(file, ", \"%s\": {\"min\": %" PRIu64 ", \"median\": %" PRIu64 ", \"max\": %" PRIu64 ", \"mean\": %.2f}", name,
            value(&series->samples[0], class), value(&series->samples[series->used / 2], class),
            value(&series->samples[series->used - 1], class), (double)sum / (double)series->used);
}

static void on_exit_write(qemu_plugin_id_t id, void *unused) {
    (void)id;
    (void)unused;
    FILE *file = fopen(out_path, "w");
    if (!file) {
        qemu_plugin_outs("twain counter: cannot write the result\n");
        return;
    }
    fprintf(file, "{\"total\": {");
    for (unsigned class = 0; class < CLASSES; class++) {
        uint64_t sum = 0;
        for (unsigned i = 0; i < MAX_CORES; i++) {
            sum += cores[i].count[class];
        }
        fprintf(file, "%s\"%s\": %" PRIu64, class ? ", " : "", class_names[class], sum);
    }
    fprintf(file, "}, \"series\": {");
    const char *comma = "";
    for (unsigned i = 0; i < MAX_SERIES; i++) {
        if (all_series[i].used) {
            fprintf(file, "%s\"%u\": {\"samples\": %zu", comma, i, all_series[i].used);
            for (int class = 0; class < CLASSES; class++) {
                write_class(file, &all_series[i], class, class_names[class]);
            }
            write_class(file, &all_series[i], CLASSES, "all");
            fprintf(file, "}");
            comma = ", ";
        }
    }
    fprintf(file, "}, \"start\": {");
    for (unsigned class = 0; class < CLASSES; class++) {
        fprintf(file, "%s\"%s\": %" PRIu64, class ? ", " : "", class_names[class], start_count[class]);
    }
    fprintf(file, "}, \"profile\": {");
    comma = "";
    for (unsigned i = 0; i < SITE_BUCKETS; i++) {
        for (const struct site *site = sites[i]; site; site = site->next) {
            if (site->count) {
                fprintf(file, "%s\"%" PRIx64 "\": %" PRIu64, comma, site->address, site->count);
                comma = ", ";
            }
        }
    }
    fprintf(file, "}}\n");
    fclose(file);
}

static bool parse_range(const char *text, unsigned class) {
    char *end;
    if (range_count == MAX_RANGES) {
        return false;
    }
    struct range range = {.class = class};
    range.low = strtoull(text, &end, 16);
    if (*end != '-') {
        return false;
    }
    range.high = strtoull(end + 1, &end, 16);
    if (*end || range.high <= range.low) {
        return false;
    }
    ranges[range_count++] = range;
    return true;
}

__attribute__((visibility("default"))) int qemu_plugin_install(qemu_plugin_id_t id, const qemu_info_t *info, int argc,
                                                                char **argv) {
    if (strcmp(info->target_name, "aarch64") != 0 || !info->system_emulation) {
        qemu_plugin_outs("twain counter: only for qemu-system-aarch64\n");
        return -1;
    }
    for (int i = 0; i < argc; i++) {
        bool good = true;
        if (strncmp(argv[i], "kernel=", 7) == 0) {
            good = parse_range(argv[i] + 7, KERNEL);
        } else if (strncmp(argv[i], "user=", 5) == 0) {
            good = parse_range(argv[i] + 5, USER);
        } else if (strncmp(argv[i], "profile=", 8) == 0) {
            char *end;
            profiled = (unsigned)strtoul(argv[i] + 8, &end, 10);
            good = argv[i][8] && !*end && profiled < MAX_SERIES;
        } else if (strncmp(argv[i], "out=", 4) == 0) {
            out_path = strdup(argv[i] + 4);
        } else {
            good = false;
        }
        if (!good) {
            fprintf(stderr, "twain counter: bad argument \"%s\"\n", argv[i]);
            return -1;
        }
    }
    single_core = info->system.max_vcpus == 1;
    qemu_plugin_register_vcpu_tb_trans_cb(id, on_translate);
    qemu_plugin_register_atexit_cb(id, on_exit_write, NULL);
    return 0;
}
