# SPDX-License-Identifier: Apache-2.0
# Copyright The Twain authors
"""What Linux pays for being a guest: the same kernel and initrd natively in QEMU, with EL2, and without it. Virtual time is
instructions (`-icount`), so a ratio of times is a ratio of instructions. Beside them, how often an operation leaves the
guest for its VMM, and what its time goes to (docs/stat.md)."""

from collections import Counter
from dataclasses import dataclass, replace

from .. import linuxguest
from ..paths import ROOT
from .counter import MODEL
from .figures import Measure, Table

SOURCES = ROOT / "tools" / "bench" / "linux"
LIMIT = 900.0
TICK = 16  # instructions to a tick of QEMU's counter, 62.5 MHz
EL2_AIM = 1.01


@dataclass(frozen=True)
class Operation:
    key: str
    title: str
    count: int
    el1: float | None = None  # what it may cost without EL2,
    el2: float = EL2_AIM      # and with it


OPERATIONS = (
    Operation("null", "null system call", 20000, 1.35),
    Operation("read", "read of a byte of /dev/zero", 10000),
    Operation("open", "open and close", 4000),
    Operation("stat", "stat", 5000),
    Operation("pipe", "pipe, there and back", 2000, 1.6),
    Operation("unix", "AF_UNIX stream, there and back", 2000),
    Operation("signal", "signal to oneself", 5000, 1.1),
    Operation("page", "first touch of an anonymous page", 8000, 2.0),
    Operation("mmap", "mmap, touch and munmap 16 pages", 500),
    Operation("fork_exit", "fork, exit, wait", 200, 2.0),
    Operation("fork_exec", "fork, exec of a do-nothing program, wait", 50, 1.6),
    Operation("sh_c", "`sh -c` of the same", 20),
    Operation("select", "select of 100 files", 2000),
    Operation("switch", "context switch, in a ring of 8 processes", 8000),
    Operation("sha256", "sha256 of 4 MB", 1),
    Operation("gzip", "gzip of 4 MB", 1),
    Operation("lines", "100 lines of 64 characters on the console", 2, el2=4.4),
)
BOOT = Operation("boot", "boot, until the first process", 1, 2.0)
ALL = (*OPERATIONS, BOOT)
SYSTEMS = ("el2", "el1", "naive")  # naive: without EL2, by trapping every privileged instruction,
NAIVE_SHARE = 20                   # and so slow that it does this many times fewer of each operation
PARTS = {"native": "the guest's own", "cpu": "CPU", "memory": "memory", "io": "I/O"}


def _measures():
    yield from (Measure(f"native_{o.key}", f"{o.title}: natively", None) for o in ALL)
    yield from (Measure(f"el2_{o.key}", f"{o.title}: with EL2, to native", o.el2, unit="ratio") for o in ALL)
    yield from (Measure(f"el1_{o.key}", f"{o.title}: without EL2, to native", o.el1, unit="ratio") for o in ALL)
    yield from (Measure(f"naive_{o.key}", f"{o.title}: without EL2, naively, to native", None, unit="ratio") for o in ALL)
    for name in SYSTEMS:
        yield from (Measure(f"{name}_{o.key}_exits", f"{o.title}: exits to the VMM", None, unit="count") for o in ALL)
        yield from (Measure(f"{name}_{o.key}_{part}", f"{o.title}: {title}, to native", None, unit="ratio")
                    for o in ALL for part, title in PARTS.items())
        yield Measure(f"{name}_boot_suspended", "boot: not running, to native", None, unit="ratio")
    yield Measure("el2_two_boots", "two guests booted on one core, with EL2, to one native boot", 2.02, unit="ratio")
    yield Measure("el1_nothing_traps", "traps of a do-nothing program, without EL2", 143, unit="count")
    yield Measure("el1_boot_traps", "traps of a boot, without EL2", 150_000, unit="count")


@dataclass
class Counts:
    """Of one system; of each operation."""

    instructions: dict
    exits: dict  # to the VMM
    traps: dict  # all that leave the guest
    parts: dict  # what its time goes to: instructions of each part


def measure(directory):
    guest = make_guest(directory)
    with linuxguest.native(guest, directory / "guest-native", MODEL) as line:
        native = run(line)
    values = {f"native_{key}": round(count) for key, count in native.instructions.items()}
    for name in SYSTEMS:
        with linuxguest.system(guest, directory / f"guest-{name}", MODEL, el2=name == "el2", naive=name == "naive") as line:
            counts = run(line, share=NAIVE_SHARE if name == "naive" else 1)
        if name == "el1":
            values["el1_nothing_traps"] = round(counts.traps["fork_exec"])
            values["el1_boot_traps"] = counts.traps["boot"]
        for operation in ALL:
            values[f"{name}_{operation.key}"] = round(counts.instructions[operation.key] / native.instructions[operation.key], 3)
            values[f"{name}_{operation.key}_exits"] = round(max(counts.exits[operation.key], 0.0), 1)
            for part, count in counts.parts[operation.key].items():
                values[f"{name}_{operation.key}_{part}"] = round(max(count, 0.0) / native.instructions[operation.key], 3)
    values["el2_two_boots"] = round(two_boots(guest, directory) / native.instructions["boot"], 3)
    return values


def two_boots(guest, directory):
    """Instructions until both guests have booted; with two there is hardly ever nothing to do."""
    with linuxguest.several([guest, replace(guest, name="second")], directory / "guest-two", MODEL, el2=True) as lines:
        return max(_boot(line)[0] for line in lines)


def _boot(line):
    """When a guest's first process began, in instructions, and for how many the guest had been idle."""
    began, idle = line.wait_for(r"bench READY (\d+) (\d+)", LIMIT).groups()
    return int(began) * TICK, int(idle)


def make_guest(directory):
    tree = linuxguest.base_tree()
    for name, source, path in (("bench-linux", "main.cpp", "init"), ("nothing", "nothing.cpp", "bin/nothing")):
        tree.file(path, linuxguest.compile_program([SOURCES / source, linuxguest.FIRST], directory / name).read_bytes(), 0o755)
    return linuxguest.LinuxGuest("bench", linuxguest.write_initrd(tree, directory / "bench-linux.cpio.gz"))


def run(line, operations=OPERATIONS, share=1):
    """Has a guest do the operations, or every share-th of them; returns Counts."""
    began, idle = _boot(line)
    before = _count(line)
    counts = Counts({"boot": began - idle}, {"boot": before["exits_vmm"]}, {"boot": before["exits"]},
                    {"boot": {part: before[part] * TICK for part in (*PARTS, "suspended")}})
    line.ask("files 1", r"files 1 \d+", LIMIT)
    before = _count(line)
    for operation in operations:
        n = operation.count if operation.count == 1 else max(operation.count // share, 2)
        sizes = (1, 1, n, n, 2 * n) if n > 1 else (1,)
        ticks, counted = [], []
        for count in sizes:
            ticks.append(int(line.ask(f"{operation.key} {count}", rf"{operation.key} {count} (\d+)", LIMIT)[1]))
            after = _count(line)
            counted.append(Counter({key: after[key] - before[key] for key in after}))
            before = after
        # The first round pays for what comes once. The second says what preparing costs, which is in every round.
        used = slice(2, None) if n > 1 else slice(None)
        done, rounds = sum(sizes[used]), counted[used]
        counts.instructions[operation.key] = sum(ticks[used]) * TICK / done
        base, more = (counted[1], done - len(rounds)) if n > 1 else (Counter(), done)
        each = {key: sum(one[key] - base[key] for one in rounds) / more for key in before}
        counts.traps[operation.key], counts.exits[operation.key] = each.get("exits", 0), each.get("exits_vmm", 0)
        counts.parts[operation.key] = {part: each.get(part, 0) * TICK for part in PARTS}
    line.type("off\n")
    return counts


def _count(line):
    """Exits and times since the guest began; nothing for one that is none."""
    count = Counter()
    for guest in line.session.ask("stat", LIMIT)["guests"] if line.tag else ():
        for vcpu in guest["vcpus"]:
            count.update({"exits": vcpu["exits"], "exits_vmm": vcpu["exits_vmm"], **vcpu["time"]})
    return count


def text(figures):
    lines = ["| operation | native | EL2 | | EL1 | aim at EL1 | | EL1, naive | exits to the VMM, EL2 | EL1 | EL1, naive |",
             "|---|---:|---:|---|---:|---:|---|---:|---:|---:|---:|"]
    for o in ALL:
        value = {key: figures[f"{key}_{o.key}"].value for key in ("native", *SYSTEMS)}
        exits = " | ".join(f"{figures[f'{name}_{o.key}_exits'].value:.1f}" for name in SYSTEMS)
        el2, el1 = (_verdict(figures[f"{name}_{o.key}"]) for name in ("el2", "el1"))
        lines.append(f"| {o.title} | {value['native']} | {value['el2']:.3f} | {el2} | {value['el1']:.2f} | {o.el1 or ''} | {el1} | "
                     f"{value['naive']:.2f} | {exits} |")
    for name, title in (("el2", "EL2"), ("el1", "EL1")):
        lines += ["", f"| what the time goes to, {title} | in all | {' | '.join(PARTS.values())} | suspended |",
                  f"|---|---:|{'---:|' * len(PARTS)}---:|"]
        for o in ALL:
            parts = " | ".join(f"{figures[f'{name}_{o.key}_{part}'].value:.3f}" for part in PARTS)
            suspended = figures.get(f"{name}_{o.key}_suspended")
            lines.append(f"| {o.title} | {figures[f'{name}_{o.key}'].value:.3f} | {parts} | "
                         f"{f'{suspended.value:.3f}' if suspended else ''} |")
    rest = [figures[key] for key in ("el2_two_boots", "el1_nothing_traps", "el1_boot_traps")]
    lines += ["", "| what | key | value | aim | |", "|---|---|---:|---:|---|"]
    lines += [f"| {f.measure.title} | `{f.measure.key}` | {f.value} | {f.measure.aim} | {_verdict(f)} |" for f in rest]
    return "\n".join(lines)


def _verdict(figure):
    return "" if figure.measure.aim is None else "met" if figure.ok else "not yet"


TABLE = Table("guest", "Linux as a guest, relative to native", tuple(_measures()), measure, text=text)
