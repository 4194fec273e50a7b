# SPDX-License-Identifier: Apache-2.0
# Copyright The Twain authors
"""Counts instructions: the TCG plugin and the bench images (docs/benchmarks.md)."""

import json
import os
import shlex
import shutil
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path

from . import build, qemu, symbols
from .broker import Broker
from .errors import Exit, TwainError
from .paths import ROOT, build_root, short
from .progress import stage
from .session import Session

SOURCE = ROOT / "tools" / "bench" / "counter.c"
GUEST = ROOT / "tools" / "bench" / "guest" / "guest.S"
DOCUMENT = ROOT / "docs" / "benchmarks.md"
MODEL = "cortex-a57"
LIMIT = 300.0


@dataclass(frozen=True)
class Measure:
    key: str
    title: str
    aim: int
    series: int = 0
    part: str = "kernel"  # of the counter's classes; guests' operations are gross: `all`
    unit: str = "instructions"


KERNEL = [
    Measure("ipc_roundtrip", "call + reply_wait round trip between two processes, no payload", 200, 1),
    Measure("ipc_roundtrip_6", "the same with six words", 200, 2),
    Measure("signal", "signal, nobody waits", 100, 3),
    Measure("signal_wake", "signal that wakes a thread of higher priority, until it runs", 250, 4),
    Measure("signal_pingpong", "signal and wait, there and back", 500, 5),
    Measure("map_page", "map one 4K page", 400, 6),
    Measure("unmap_page", "unmap one 4K page", 400, 7),
    Measure("cap_copy", "copy a capability", 300, 8),
    Measure("cap_remove", "remove a capability", 300, 9),
]
GUESTS = [
    Measure("vcpu_hypercall", "guest: PSCI_VERSION, answered by the VMM process", 500, 20, "all"),
    Measure("vcpu_mmio", "guest: read of the UART's flag register, emulated by the VMM process", 640, 21, "all"),
    Measure("vcpu_gicd", "guest: read of a distributor register", 600, 22, "all"),
    Measure("vcpu_gicr", "guest: read of a redistributor register", 600, 23, "all"),
    Measure("vcpu_hypercall_unknown", "guest: unknown hypercall", 500, 24, "all"),
]
BOOT = [
    Measure("guest_boot_exits", "exits of one vCPU while Debian's kernel boots to its shell", 900, unit="count"),
    Measure("guest_boot_exits_vmm", "of these, those that reach the VMM process", 500, unit="count"),
]


def build_plugin(directory):
    """Compiles the counter; returns the shared library."""
    library = Path(directory) / "counter.so"
    compiler = shutil.which("cc") or shutil.which("gcc")
    if not compiler:
        raise TwainError(Exit.MISSING, "no C compiler", hint="run `tools/twain setup`")
    library.parent.mkdir(parents=True, exist_ok=True)
    result = subprocess.run([compiler, "-std=gnu11", "-O2", "-fPIC", "-shared", "-Wall", "-Wextra", "-Wconversion", "-Werror",
                             "-fvisibility=hidden", "-o", library, SOURCE], capture_output=True, text=True)
    if result.returncode != 0:
        raise TwainError(Exit.BUILD, "the counter plugin does not compile", detail=result.stderr.splitlines()[-20:])
    return library


def plugin_problem(directory):
    """None if QEMU takes the counter, else why not."""
    if qemu.version() is None:
        return "QEMU is not installed"
    try:
        plugin = build_plugin(directory)
    except TwainError as error:
        return str(error)
    # The machine `none` ends at once: it is told to by the closed monitor-less command line.
    with subprocess.Popen([qemu.PROGRAM, "-M", "none", "-nodefaults", "-display", "none", "-S", "-plugin",
                           f"{plugin},out={Path(directory) / 'probe.json'}"], stdin=subprocess.DEVNULL,
                          stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        try:
            _, errors = process.communicate(timeout=1.5)
        except subprocess.TimeoutExpired:
            process.terminate()
            process.communicate()
            return None
    if "invalid option" in errors:
        return "this QEMU was built without plugins"
    if "version" in errors:
        return f"this QEMU does not support plugin interface version 1 any more ({errors.strip().splitlines()[-1]})"
    return errors.strip().splitlines()[-1] if errors.strip() else "QEMU ended"


def run(options):
    directory = build_root() / "bench"
    directory.mkdir(parents=True, exist_ok=True)
    with stage("counter plugin"):
        problem = plugin_problem(directory)
    if problem:
        raise TwainError(Exit.MISSING, f"cannot count instructions: {problem}", hint="QEMU 7.2 to 8.1 has the interface")
    figures = {}
    figures.update(_kernel(directory))
    figures.update(_guests(directory))
    figures.update(_boot(directory))
    print(table(figures))
    if options.json:
        Path(options.json).write_text(json.dumps(figures, indent=2) + "\n")
    if options.write_docs:
        write_document(figures)
    return Exit.OK


def table(figures):
    rows = [(measure.title, measure.key, figures[measure.key]) for measure in KERNEL + GUESTS + BOOT if measure.key in figures]
    lines = ["| what | key | value | aim | |", "|---|---|---:|---:|---|"]
    lines += [f"| {title} | `{key}` | {figure['value']} | {figure['aim']} | {'met' if figure['ok'] else 'not yet'} |"
              for title, key, figure in rows]
    return "\n".join(lines)


def write_document(figures):
    """Replaces the table between the two comment lines of docs/benchmarks.md."""
    begin, end = "<!-- table: begin -->", "<!-- table: end -->"
    text = DOCUMENT.read_text()
    head, rest = text.split(begin, 1)
    _, tail = rest.split(end, 1)
    DOCUMENT.write_text(f"{head}{begin}\n{table(figures)}\n{end}{tail}")


# ---------------------------------------------------------------------------------------------- inside


def _kernel(directory):
    log = directory / "build.log"
    with stage("building the kernel's bench"):
        build.configure(ROOT / "configs/two-guests.toml", None, False, log)
        build.compile_(False, log, ["target"])
    image = build.tree() / "target" / "test" / "bench.bin"
    if not image.is_file():
        raise TwainError(Exit.BUILD, f"the build made no {short(image)}", hint=f"the log is {short(log)}")
    return _figures(KERNEL, _count(directory, "kernel", image, lambda session: session.wait_for("", ".*bench done", LIMIT)))


def _guests(directory):
    guest = _bench_guest(directory)
    config = _config(directory, "bench-vcpu", f'kernel  = "{os.path.relpath(guest, directory)}"')
    built = build.make(config, cpus=1, warnings=False)
    return _figures(GUESTS, _count(directory, "guests", built.image,
                                   lambda session: session.wait_for("bench", "bench done", LIMIT), built))


def _boot(directory):
    config = _config(directory, "bench-boot", 'image   = "debian"')
    built = build.make(config, cpus=1, warnings=False)
    command = qemu.command(built.image, cpus=1, memory=f"{built.info.ram >> 20}M", cpu=MODEL, deterministic=True)
    guest = built.info.guests[0]
    with stage("booting a guest"), Broker(command, directory / "boot", [guest.name], built.info.labels) as machine:
        session = Session(machine)
        session.wait_for(guest.name, guest.ready, LIMIT)
        session.wait_for(guest.name, ".*Enter 'help'.*", LIMIT)
        counters = session.ask("stat", LIMIT)["vcpus"]
        machine.power_off()
    values = {"guest_boot_exits": sum(vcpu["exits"] for vcpu in counters),
              "guest_boot_exits_vmm": sum(vcpu["exits_vmm"] for vcpu in counters)}
    return {measure.key: _figure(measure, values[measure.key]) for measure in BOOT}


def _config(directory, name, kernel):
    """A system with one guest; the shorter the description, the less is measured that nobody asked for."""
    path = directory / f"{name}.toml"
    path.write_text(f"""schema = 1
board  = "qemu-virt"
[guest.bench]
{kernel}
console = "serial"
[server.serial]
uses = ["uart"]
[driver.uart]
device = "pl011"
""")
    return path


def _bench_guest(directory):
    elf, image = directory / "guest.elf", directory / "guest.bin"
    for command in ([symbols.tool("gcc"), "-nostdlib", "-static", "-Wl,-Ttext=0x40000000", "-Wl,--build-id=none", "-o", elf, GUEST],
                    [symbols.tool("objcopy"), "-O", "binary", elf, image]):
        result = subprocess.run(command, capture_output=True, text=True)
        if result.returncode != 0:
            raise TwainError(Exit.BUILD, "the bench guest does not assemble", detail=result.stderr.splitlines()[-20:])
    return image


def _count(directory, name, image, wait, built=None):
    """Runs an image under the counter until wait() is content; returns the counter's series."""
    low, high = symbols.text_range(build.tree() / "target" / "kernel-el2.elf")
    out = directory / f"{name}.json"
    out.unlink(missing_ok=True)
    plugin = f"{directory / 'counter.so'},kernel={low:x}-{high:x},out={out}"
    command = qemu.command(image, cpus=1, memory="1G", cpu=MODEL, extra=["-plugin", plugin])
    (directory / f"{name}.cmdline").write_text(shlex.join(command) + "\n")
    guests = [guest.name for guest in built.info.guests] if built else []
    with stage(f"counting: {name}"), Broker(command, directory / name, guests, built.info.labels if built else None) as machine:
        session = Session(machine)
        wait(session)
        deadline = time.monotonic() + 5
        while not guests and machine.running and time.monotonic() < deadline:
            machine.pump(0.1)  # the kernel's bench image switches itself off
        if machine.running:
            machine.power_off(5)
    try:
        return json.loads(out.read_text())["series"]
    except (OSError, ValueError, KeyError):
        raise TwainError(Exit.RUN, "the counter has written nothing", hint=f"the log is {short(directory / name)}") from None


def _figures(measures, series):
    figures = {}
    for measure in measures:
        found = series.get(str(measure.series))
        if found is None:
            raise TwainError(Exit.RUN, f"nothing was counted for {measure.key}")
        figures[measure.key] = _figure(measure, found[measure.part]["median"])
    return figures


def _figure(measure, value):
    return {"value": value, "unit": measure.unit, "aim": measure.aim, "ok": value <= measure.aim}
