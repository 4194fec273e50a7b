# SPDX-License-Identifier: Apache-2.0
# Copyright The Twain authors
"""Kernel primitives: a root task of ours (tools/bench/kernel) between markers. Only kernel instructions count."""

import re
import subprocess

from .. import build, symbols
from ..errors import Exit, TwainError
from ..paths import short
from ..progress import stage
from . import counter
from .figures import Measure, Table

MEASURES = (
    Measure("ipc_roundtrip", "call + reply_wait round trip between two processes, no payload", 200, series=1),
    Measure("ipc_roundtrip_6w", "the same with six words", 200, series=2),
    Measure("signal", "signal, nobody waits", 100, series=3),
    Measure("signal_wake", "signal that wakes a thread of higher priority, until it runs", 250, series=4),
    Measure("signal_pingpong", "signal and wait, there and back", 500, series=5),
    Measure("map_4k", "map one 4K page", 400, series=6),
    Measure("unmap_4k", "unmap one 4K page", 400, series=7),
    Measure("fault_roundtrip", "page fault to a handler in another process and back", 300, series=10),
    Measure("irq_to_thread", "device interrupt until a thread of higher priority runs", 300, series=11),
    Measure("cap_copy", "copy a capability", 300, series=8),
    Measure("cap_delete", "remove a capability", 300, series=9),
    Measure("boot_to_root", "start of the kernel until the root task runs, all cores", 1_000_000),
    Measure("text_bytes", "code of the kernel", 60 << 10, unit="bytes"),
    Measure("bytes_thread", "thread", 1024, unit="bytes"),
    Measure("bytes_endpoint", "endpoint", 64, unit="bytes"),
    Measure("bytes_slot", "capability slot", 32, unit="bytes"),
    Measure("bytes_vcpu", "vCPU (and a state page that it shares with its monitor)", 4096, unit="bytes"),
)
# Heiser's prototype for Armv7, with everything in the kernel, is what these compare with. Gross.
VCPU = (
    Measure("vcpu_entry_exit", "exit that the kernel handles itself (first use of FP registers after its monitor ran)", 100,
            series=12, part="all"),
    Measure("vcpu_irq", "interrupt that is not the guest's, guest running", 200, series=13, part="all"),
    Measure("vcpu_call", "hypercall to a monitor process that does nothing, and back", 500, series=15, part="all"),
    Measure("vcpu_abort", "stage-2 abort to a monitor process that steps over the instruction, and back", 500, series=17, part="all"),
    Measure("vcpu_fault", "fault that fills a second-stage entry, by a monitor process", 300, series=14, part="all"),
)
CORES = 4
OBJECTS = {"bytes_thread": "Thread", "bytes_endpoint": "Endpoint", "bytes_slot": "Slot", "bytes_vcpu": "Vcpu"}


def measure(directory):
    counted = run(directory)
    elf = counter.kernel_elf()
    return {**counter.medians(MEASURES + VCPU, counted), "boot_to_root": counted["start"]["kernel"], "text_bytes": code_bytes(elf),
            **object_bytes(elf)}


def code_bytes(elf):
    text = subprocess.run([symbols.tool("readelf"), "-SW", elf], capture_output=True, text=True, check=True).stdout
    return int(re.search(r"\] \.text +PROGBITS +\w+ \w+ (\w+)", text)[1], 16)


def object_bytes(elf):
    """Sizes of objects, from the debug information."""
    text = subprocess.run([symbols.tool("readelf"), "--debug-dump=info", elf], capture_output=True, text=True, check=True).stdout
    sizes = {}
    for entry in re.split(r"<1?\d><[0-9a-f]+>: Abbrev Number:", text):
        if "(DW_TAG_class_type)" in entry.split("\n", 1)[0]:
            name, size = re.search(r"DW_AT_name.*?([\w]+)$", entry, re.M), re.search(r"DW_AT_byte_size +: (\d+)", entry)
            if name and size:
                sizes.setdefault(name[1], int(size[1]))
    return {key: sizes[name] for key, name in OBJECTS.items()}


def run(directory, profile=0, cores=CORES):
    log = directory / "build.log"
    with stage("building the kernel's bench"):
        image = build.targets(["target"], log) / "target" / "test" / "bench.bin"
    if not image.is_file():
        raise TwainError(Exit.BUILD, f"the build made no {short(image)}", hint=f"the log is {short(log)}")
    return counter.count(directory, "kernel", image, cores=cores, profile=profile)


TABLE = Table("kernel", "Kernel primitives", MEASURES + VCPU, measure, run, lambda: None)
