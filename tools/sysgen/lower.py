# SPDX-License-Identifier: Apache-2.0
# Copyright The Twain authors
"""Lowers a checked configuration to the flat table: who holds what, and nothing else."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict

from . import abi, schema, table
from .model import BootFile, Config, Driver, Guest, Placement, Process, Server
from .table import INIT, SYSTEM, Claim, Link, Mapping, Object, System
from .units import BLOCK, PAGE, round_up

RING_DATA_BYTES = 20 << 10  # a header page and 16 KiB of bytes
RING_HEAD_BYTES = PAGE
STACK_BYTES = 32 << 10
VMM_STACK_BYTES = 64 << 10
VCPU_STACK_BYTES = 64 << 10
_SERVER_PORT = "uart"  # what a console server calls its driver's rings
_SUPERVISOR = "supervisor"

# Kernel memory of each object, generously (kernel/api/abi.hpp leaves sizes open).
_OBJECT_BYTES = {"thread": 4096, "vcpu": 8192, "guest_space": 8192, "sched": 1024}
_OBJECT_DEFAULT = 512
_MAPPING_BYTES = 64
_LEAF_SLOTS = 64  # capabilities of one 4 KiB leaf of a capability space
_POOL_SLACK = 64 << 10
_SHADOW_BYTES = 4 << 20  # where the kernel has no EL2: a guest's shadow translations


def lower(config: Config) -> System:
    """The table of `config`. Deterministic: the same configuration gives the same table."""
    return _Lowering(config).run()


class _Holder:
    """A process (or init) while its capabilities, mappings and settings are collected."""

    def __init__(self, system: System, name: str, line: int) -> None:
        self.system, self.name, self.line = system, name, line
        self.slot = 0 if name == INIT else abi.FIRST_SLOT
        self.address = abi.MAP_BASE
        self.bits = 0
        self.settings: dict[str, str] = {}
        self.events: Object | None = None

    def capability(self, name: str, obj: Object, rights: tuple[str, ...], line: int, badge: int = 0) -> None:
        self.system.capabilities.append(table.Capability(self.name, self.slot, obj.name, rights, badge, name, line))
        if self.slot:
            self.slot += 1

    def region(self, name: str, obj: Object, rights: tuple[str, ...], line: int, count: int = 0) -> None:
        """Maps the whole object at the next address; an unmapped page follows each region."""
        size = round_up(count or obj.bytes, PAGE)
        address = round_up(self.address, BLOCK if size >= BLOCK else PAGE)
        self.system.mappings.append(Mapping(self.name, obj.name, 0, size, address, rights, name, line))
        self.address = address + size + PAGE

    def bit(self, name: str) -> int:
        """A new bit of the process's events, known to it as NAME.event; returns its badge."""
        number = self.bits
        self.bits += 1
        if self.name != INIT:
            self.settings[f"{name}.event"] = str(number)
        return 1 << number


class _Lowering:
    def __init__(self, config: Config) -> None:
        claims = [asdict(c) | {"line": 0, "col": 0} for c in config.claims]
        board = config.board
        self.config = config
        self.system = System(
            name=config.name,
            config=config.shown_path,
            config_sha256=config.sha256,
            claims_sha256=hashlib.sha256(json.dumps(claims, sort_keys=True).encode()).hexdigest(),
            board={
                "name": board.name,
                "compatible": board.compatible,
                "gic": board.gic,
                "gic_versions": list(board.gic_versions),
                "uart_base": board.uart_base,
                "psci": board.psci,
                "ram_base": board.ram_base,
                "dma_isolation": board.dma_isolation,
            },
            cpus=config.cpus,
            ram=config.ram,
            complete=config.files_known,
        )
        self.holders: dict[str, _Holder] = {}
        self.init = _Holder(self.system, INIT, 1)

    def run(self) -> System:
        config = self.config
        if self._supervised() is not None:
            self.init.capability("events", self._events(self.init), ("wait",), 1)
            self.init.capability("timer", self._events(self.init), ("arm",), 1, self.init.bit("timer"))
        for process in [*config.drivers, *config.servers]:
            self._start(process, process.name)
        for guest in config.guests:
            self._start(guest, f"vmm.{guest.name}")
        for driver in config.drivers:
            self._driver(driver)
        for server in config.servers:
            self._server(server)
        for guest in config.guests:
            self._guest(guest)
        for claim in config.claims:
            self.system.claims.append(
                Claim(tuple(claim.isolate), tuple(claim.exceptions), tuple(claim.shared_servers), claim.line, claim.col)
            )
        self._modules()
        return self.system

    # Building blocks

    def _object(
        self, name: str, kind: str, owner: str, line: int, parties: tuple[str, ...], **values: object
    ) -> Object:
        obj = Object(name, kind, owner, line, tuple(dict.fromkeys(parties)), **values)  # type: ignore[arg-type]
        self.system.objects.append(obj)
        return obj

    def _start(self, process: Process, name: str) -> None:
        """What every process has: its name, its events, a timer on them; the kernel log only if declared."""
        holder = self.holders[name] = _Holder(self.system, name, process.line)
        events = self._events(holder)
        holder.settings["name"] = name
        holder.capability("events", events, ("wait",), holder.line)
        holder.capability("timer", events, ("arm",), holder.line, holder.bit("timer"))
        if process.log:
            line = process.entry.line_of("log")
            holder.capability("klog", self._log(line), ("log",), line)

    def _log(self, line: int) -> Object:
        """The kernel log: whoever holds it reads what all others wrote, so it counts as shared."""
        config = self.config
        users = [p.name for p in [*config.drivers, *config.servers] if p.log]
        users += [f"vmm.{g.name}" for g in config.guests if g.log]
        known = next((o for o in self.system.objects if o.kind == "log"), None)
        return known or self._object("kernel.log", "log", SYSTEM, line, tuple(users))

    def _supervised(self) -> Server | None:
        """The console server that the supervisor talks through: the first that has a driver."""
        return next((s for s in self.config.servers if s.uses), None)

    def _peers(self, name: str) -> tuple[str, ...]:
        """Processes that the description connects with `name`: they may signal it."""
        config = self.config
        found: list[str] = []
        for server in config.servers:
            pairs = [(server.name, d) for d in server.uses]
            pairs += [(server.name, f"vmm.{g.name}") for g in config.guests if g.console == server.name]
            if server is self._supervised():
                pairs.append((server.name, INIT))
            found += [b if a == name else a for a, b in pairs if name in (a, b)]
        if name.startswith("vmm."):
            found.append(INIT)
        return tuple(found)

    def _events(self, holder: _Holder) -> Object:
        if holder.events is None:
            holder.events = self._object(
                f"{holder.name}.events", "notification", SYSTEM, holder.line, (holder.name, *self._peers(holder.name))
            )
        return holder.events

    def _ring(
        self, name: str, line: int, producer: _Holder, producer_name: str, consumer: _Holder, consumer_name: str
    ) -> None:
        """A byte ring: what one side writes the other can only read, and each rings the other's bell."""
        parties = (producer.name, consumer.name)
        data = self._object(f"ring.{name}.data", "ram", SYSTEM, line, parties, bytes=RING_DATA_BYTES, align=PAGE)
        head = self._object(f"ring.{name}.head", "ram", SYSTEM, line, parties, bytes=RING_HEAD_BYTES, align=PAGE)
        producer.region(f"{producer_name}.data", data, ("read", "write"), line)
        producer.region(f"{producer_name}.head", head, ("read",), line)
        consumer.region(f"{consumer_name}.data", data, ("read",), line)
        consumer.region(f"{consumer_name}.head", head, ("read", "write"), line)
        to_consumer, to_producer = consumer.bit(consumer_name), producer.bit(producer_name)
        producer.capability(f"{producer_name}.bell", self._events(consumer), ("signal",), line, to_consumer)
        consumer.capability(f"{consumer_name}.bell", self._events(producer), ("signal",), line, to_producer)

    def _thread(self, owner: str, name: str, line: int, placement: Placement, priority: int) -> Object:
        sched = self._object(
            f"{name}.sched",
            "sched",
            owner,
            line,
            (owner,),
            core=placement.core,
            priority=priority,
            budget_ns=placement.budget_ns,
            period_ns=placement.period_ns,
        )
        return self._object(f"{name}.thread", "thread", owner, line, (owner,), sched=sched.name)

    def _finish(self, holder: _Holder, role: str, guest: str, program: BootFile, thread: Object, stack: int) -> None:
        elf = self.config.programs.get(program.module)
        segments = elf.segments if elf else ()
        if role == "vmm":
            holder.settings["slots.free"] = str(holder.slot)
        cspace = self._object(f"{holder.name}.cspace", "cspace", holder.name, holder.line, (INIT,))
        self.init.capability(cspace.name, cspace, ("inspect",), holder.line)
        self.system.processes.append(
            table.Process(
                holder.name,
                role,
                guest,
                program.module,
                holder.line,
                thread.name,
                stack,
                self._pool_bytes(holder, segments, stack),
                elf.entry if elf else 0,
                segments,
                tuple(holder.settings.items()),
            )
        )

    def _pool_bytes(self, holder: _Holder, segments: tuple[table.Segment, ...], stack: int) -> int:
        """Kernel memory for the process's objects, capability space, page tables and mapping nodes."""
        owned = [o for o in self.system.objects if o.owner == holder.name and o.kind not in ("ram", "device", "file")]
        total = sum(_OBJECT_BYTES.get(o.kind, _OBJECT_DEFAULT) for o in owned)
        ranges = [(m.address, m.bytes) for m in self.system.mappings if m.holder == holder.name]
        ranges += [(s.address, s.bytes) for s in segments] or [(abi.PROGRAM_BASE, 4 << 20)]
        ranges += [(0, 2 * PAGE), (abi.STACK_TOP - stack, stack)]
        tables = {(2, at // (1 << 30)) for base, size in ranges for at in range(base, base + size, 1 << 30)}
        tables |= {(2, (base + size - 1) // (1 << 30)) for base, size in ranges}
        tables |= {(3, at // BLOCK) for base, size in ranges for at in _table_blocks(base, size)}
        guest_ram = sum(o.bytes for o in self.system.objects if o.name == f"{holder.name.removeprefix('vmm.')}.ram")
        shadow = 0
        if holder.name.startswith("vmm."):
            # Guest RAM is mapped by blocks; the root of the guest space and a table for each GiB, twice over.
            total += PAGE * (4 + 2 * (guest_ram // (1 << 30) + 2))
            shadow = _SHADOW_BYTES
        total += 2 * PAGE + PAGE * len(tables)
        total += 1024 + PAGE * ((holder.slot + 256) // _LEAF_SLOTS + 1)
        total += _MAPPING_BYTES * (len(ranges) + 64)
        return round_up(total + total // 2 + _POOL_SLACK + shadow, 64 << 10)

    # Processes

    def _driver(self, driver: Driver) -> None:
        holder, entry = self.holders[driver.name], driver.entry
        line = entry.line_of("device")
        regs = [reg for device in driver.devices for reg in device.regs]
        for number, (base, size) in enumerate(_pages(regs)):
            suffix = str(number) if number else ""
            obj = self._object(
                f"{driver.name}.regs{suffix}", "device", driver.name, line, (driver.name,), base=base, bytes=size
            )
            holder.region(f"regs{suffix}", obj, ("read", "write"), line)
        irqs = [irq for device in driver.devices for irq in device.irqs]
        for number, irq in enumerate(irqs):
            name = f"irq{number if number else ''}"
            obj = self._object(
                f"{driver.name}.{name}",
                "irq",
                driver.name,
                line,
                (driver.name,),
                intid=irq.intid,
                edge=irq.edge,
                core=driver.placement.core,
            )
            holder.capability(name, obj, ("bind", "ack"), line)
            holder.capability(f"{name}.note", self._events(holder), ("signal",), line, holder.bit(name))
        for server in self.config.servers:
            for index, used in enumerate(server.uses):
                if used == driver.name:
                    self._attach(server, driver, server.entry.value_pos("uses", index).line)
        thread = self._thread(driver.name, driver.name, driver.line, driver.placement, schema.CLASSES[driver.klass])
        self._finish(holder, "driver", "", driver.program, thread, STACK_BYTES)

    def _attach(self, server: Server, driver: Driver, line: int) -> None:
        """The rings between a driver and the server that uses it."""
        one, other = self.holders[driver.name], self.holders[server.name]
        port = _SERVER_PORT if len(server.uses) == 1 else driver.name
        self.system.links.append(Link(server.name, driver.name, "uses", line))
        self._ring(f"{driver.name}.rx", line, one, "rx", other, f"{port}.rx")
        self._ring(f"{driver.name}.tx", line, other, f"{port}.tx", one, "tx")

    def _server(self, server: Server) -> None:
        holder = self.holders[server.name]
        guests = [g for g in self.config.guests if g.console == server.name]
        if server is self._supervised():
            self.system.links.append(Link(server.name, INIT, _SUPERVISOR, server.line))
            self._ring("supervisor.out", server.line, self.init, "supervisor.out", holder, "supervisor.out")
            self._ring("supervisor.in", server.line, holder, "supervisor.in", self.init, "supervisor.in")
        for guest in guests:
            vmm = self.holders[f"vmm.{guest.name}"]
            line = guest.entry.line_of("console")
            self.system.links.append(Link(vmm.name, server.name, "console", line))
            self._ring(f"{guest.name}.out", line, vmm, "console.out", holder, f"{guest.name}.out")
            self._ring(f"{guest.name}.in", line, holder, f"{guest.name}.in", vmm, "console.in")
            holder.settings[f"{guest.name}.color"] = guest.color
            holder.settings[f"{guest.name}.label"] = guest.label
        holder.settings["guests"] = " ".join(g.name for g in guests)
        holder.settings["system"] = self.config.name
        thread = self._thread(server.name, server.name, server.line, server.placement, schema.CLASSES[server.klass])
        self._finish(holder, "server", "", server.program, thread, STACK_BYTES)

    def _guest(self, guest: Guest) -> None:
        name = f"vmm.{guest.name}"
        holder = self.holders[name]
        holder.settings |= {
            "guest": guest.name,
            "vcpus": str(guest.vcpus),
            "ram": str(guest.ram),
            "cmdline": guest.cmdline,
            "ready": guest.ready,
        }
        self._guest_memory(guest, holder)
        self.system.links.append(Link(name, INIT, "control", guest.line))
        self.init.capability(f"{name}.control", self._events(holder), ("signal",), guest.line, holder.bit("control"))
        priority = schema.CLASSES[guest.klass]
        thread = self._thread(name, name, guest.line, guest.loop, priority + 1)
        space = self._object(f"{guest.name}.space", "guest_space", name, guest.line, (name,))
        holder.capability("guest.space", space, ("map", "use"), guest.line)
        for number in range(guest.vcpus):
            self._vcpu(guest, holder, number, space, priority)
        holder.settings["stacks"] = " ".join(f"vcpu{n}.stack" for n in range(guest.vcpus))
        self._finish(holder, "vmm", guest.name, guest.program, thread, VMM_STACK_BYTES)

    def _guest_memory(self, guest: Guest, holder: _Holder) -> None:
        line = guest.entry.line_of("ram")
        ram = self._object(f"{guest.name}.ram", "ram", holder.name, line, (holder.name,), bytes=guest.ram, align=BLOCK)
        holder.region("guest.ram", ram, ("read", "write"), line)
        holder.capability("guest.ram", ram, ("read", "write", "exec"), line)
        text = self._object(
            f"{guest.name}.text", "ram", holder.name, line, (holder.name,), bytes=schema.TEXT_BYTES, align=BLOCK
        )
        holder.region("guest.text", text, ("read", "write"), line)
        holder.capability("guest.text", text, ("read", "exec"), line)
        stats = self._object(
            f"{guest.name}.stats", "ram", holder.name, guest.line, (holder.name,), bytes=PAGE, align=PAGE
        )
        holder.region("stats", stats, ("read", "write"), guest.line)
        for key, boot in (("kernel", guest.kernel), ("initrd", guest.initrd)):
            if boot is None:
                continue
            line = guest.entry.line_of(key if key in guest.entry.present else "image")
            obj = self._file(boot, line)
            holder.region(key, obj, ("read",), line, round_up(max(boot.bytes, 1), PAGE))
            holder.settings[f"{key}.bytes"] = str(boot.bytes)

    def _file(self, boot: BootFile, line: int) -> Object:
        name = f"file.{boot.module}"
        known = next((o for o in self.system.objects if o.name == name), None)
        users = tuple(
            f"vmm.{g.name}"
            for g in self.config.guests
            if boot.module in (g.kernel.module, g.initrd.module if g.initrd else "")
        )
        return known or self._object(name, "file", SYSTEM, line, users, module=boot.module, bytes=boot.bytes)

    def _vcpu(self, guest: Guest, holder: _Holder, number: int, space: Object, priority: int) -> None:
        line = guest.entry.line_of("vcpus")
        local, full = f"vcpu{number}", f"{guest.name}.vcpu{number}"
        mine = (holder.name,)
        page = self._object(f"{full}.page", "ram", holder.name, line, mine, bytes=2 * PAGE, align=PAGE)
        stack = self._object(f"{full}.stack", "ram", holder.name, line, mine, bytes=VCPU_STACK_BYTES, align=PAGE)
        wake = self._object(f"{full}.wake", "notification", holder.name, line, mine)
        vcpu = self._object(full, "vcpu", holder.name, line, mine, affinity=number, space=space.name)
        thread = self._thread(holder.name, full, line, guest.placements[number], priority)
        holder.capability(local, vcpu, ("run", "kick", "configure"), line)
        holder.capability(f"{local}.page", page, ("read", "write"), line)
        holder.capability(f"{local}.thread", thread, ("control",), line)
        holder.capability(f"{local}.wake", wake, ("signal", "wait", "arm"), line, 1)
        holder.region(f"{local}.page", page, ("read", "write"), line)
        holder.region(f"{local}.stack", stack, ("read", "write"), line)

    def _modules(self) -> None:
        config = self.config
        found: dict[str, table.Module] = {}
        processes = [*config.drivers, *config.servers, *config.guests]
        boot = [p.program for p in processes]
        boot += [f for g in config.guests for f in (g.kernel, g.initrd) if f]
        for item in boot:
            path = str(item.path.resolve()) if item.path else ""
            size = item.path.stat().st_size if item.path and item.path.is_file() else item.bytes
            found.setdefault(item.module, table.Module(item.module, path, size, item.is_program))
        self.system.modules = list(found.values())


def _table_blocks(base: int, size: int) -> list[int]:
    """The 2M blocks of a range that need a page table: those it does not fill, and all if it is not aligned."""
    if base % BLOCK == 0 and size % BLOCK == 0:
        return []
    return list(range(base // BLOCK * BLOCK, base + size, BLOCK))


def _pages(regs: list[tuple[int, int]]) -> list[tuple[int, int]]:
    """Page-aligned, merged ranges that cover the registers."""
    merged: list[tuple[int, int]] = []
    for base, size in sorted(regs):
        low, high = base // PAGE * PAGE, round_up(base + max(size, 1), PAGE)
        if merged and low <= merged[-1][0] + merged[-1][1]:
            first = merged[-1][0]
            merged[-1] = (first, max(merged[-1][0] + merged[-1][1], high) - first)
        else:
            merged.append((low, high - low))
    return merged
