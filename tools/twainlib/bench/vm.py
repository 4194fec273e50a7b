# SPDX-License-Identifier: Apache-2.0
# Copyright The Twain authors
"""Virtual machines: a bare-metal guest of ours (tools/bench/guest) under the monitor that runs Linux, and the exits of
a Linux boot. Counts are gross: everything from the guest's instruction to its next one, kernel and monitor."""

import os
import subprocess

from .. import build, qemu, symbols
from ..broker import Broker
from ..errors import Exit, TwainError
from ..paths import ROOT
from ..progress import stage
from ..session import Session
from ..system import describe
from . import counter
from .figures import Measure, Table

SOURCE = ROOT / "tools" / "bench" / "guest" / "guest.S"

MEASURES = (
    Measure("vcpu_hypercall", "unknown hypercall, answered by the VMM process", 500, series=24, part="all"),
    Measure("vcpu_mmio", "read of the UART's flag register, emulated by the VMM process", 640, series=21, part="all"),
    Measure("guest_psci_version", "PSCI_VERSION", 500, series=20, part="all"),
    Measure("guest_idreg", "read of an ID register", 500, series=25, part="all"),
    Measure("guest_gicd", "read of a distributor register", 600, series=22, part="all"),
    Measure("guest_gicr", "read of a redistributor register", 600, series=23, part="all"),
    Measure("guest_eoi", "end of an interrupt", 15, series=26, part="all"),
    Measure("guest_self_sgi", "SGI to itself, until its handler has returned", 1200, series=27, part="all"),
    Measure("guest_vtimer", "virtual timer, expired, until its handler has returned", 700, series=28, part="all"),
    Measure("guest_timer_wfi_late", "how late a timer of 1 ms ends WFI", 2000, series=29, part="all"),
    Measure("guest_ipi_wfi", "SGI until the handler of a vCPU in WFI runs, one core", 3000, series=30, part="all"),
    Measure("world_switch", "WFI until another vCPU of the core, which an interrupt has woken, handles that", 700, series=31, part="all"),
    Measure("guest_first_touch", "first touch of a page", 15, series=32, part="all"),
    Measure("guest_boot_exits", "exits of one vCPU while Debian boots, until it has said READY", 900, unit="count", exact=False),
    Measure("guest_boot_exits_vmm", "of these, those that reach the VMM process", 500, unit="count"),
)


CORES = 4


def measure(directory):
    values = counter.medians(MEASURES, run(directory))
    values.update(_boot(directory))
    return values


def run(directory, profile=0):
    guest = _assemble(directory)
    config = _config(directory, "bench-vcpu", {"kernel": os.path.relpath(guest, directory), "vcpus": 2, "cores": [0]})
    built = build.make(config, cpus=CORES, warnings=False)
    return counter.count(directory, "guests", built.image, built, wait="bench", cores=CORES, profile=profile)


def count_guests(directory, guests, cores):
    """The bench guest in several machines at once, spread over the cores."""
    guest = os.path.relpath(_assemble(directory), directory)
    path = _config(directory, f"bench-{guests}-guests", *({"kernel": guest, "ram": "32M", "vcpus": 2, "cores": [n % cores]}
                                                          for n in range(guests)))
    built = build.make(path, cpus=cores, warnings=False)
    names = [each.name for each in built.info.guests]
    return counter.count(directory, f"{guests}-guests-{cores}-cores", built.image, built, wait=names, cores=cores)


# Debian's boot as far as its READY line, then a busy processor: an idle one would go on leaving its guest, for as long as it
# takes this process to ask.
BOOT = "mount -t proc proc /proc; /etc/ready; while :; do :; done"


def _boot(directory):
    keys = {"image": "debian", "cmdline": f'console=ttyAMA0 quiet rdinit=/bin/sh -- -c "{BOOT}"'}
    built = build.make(_config(directory, "bench-boot", keys), cpus=1, warnings=False)
    command = qemu.command(built.image, cpus=1, memory=f"{built.info.ram >> 20}M", cpu=counter.MODEL, deterministic=True)
    guest = built.info.guests[0]
    with stage("booting a guest"), Broker(command, directory / "boot", [guest.name], built.info.labels) as machine:
        session = Session(machine)
        session.wait_for(guest.name, guest.ready, counter.LIMIT)
        exits = session.until(lambda: _settled(session), counter.LIMIT, f"{guest.name} to leave its VMM alone")
        machine.power_off()
    return exits


def _settled(session):
    """The exits, once two answers agree in those to the VMM; interrupts go on, as the questions themselves are some."""
    first, second = (session.ask("stat", counter.LIMIT)["guests"][0]["vcpus"][0] for _ in range(2))
    return first["exits_vmm"] == second["exits_vmm"] and {"guest_boot_exits": first["exits"], "guest_boot_exits_vmm": first["exits_vmm"]}


def _config(directory, name, *guests):
    """A system with these guests; the shorter the description, the less is measured that nobody asked for."""
    path = directory / f"{name}.toml"
    path.write_text(describe({f"bench{number or ''}": keys for number, keys in enumerate(guests)}))
    return path


def _assemble(directory):
    elf, image = directory / "guest.elf", directory / "guest.bin"
    for command in ([symbols.tool("gcc"), "-nostdlib", "-static", "-Wl,-Ttext=0x40000000", "-Wl,--build-id=none", "-o", elf, SOURCE],
                    [symbols.tool("objcopy"), "-O", "binary", elf, image]):
        result = subprocess.run(command, capture_output=True, text=True)
        if result.returncode != 0:
            raise TwainError(Exit.BUILD, "the bench guest does not assemble", detail=result.stderr.splitlines()[-20:])
    return image


TABLE = Table("vm", "Virtual machines", MEASURES, measure, run, counter.monitor_elf)
