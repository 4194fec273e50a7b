# SPDX-License-Identifier: Apache-2.0
# Copyright The Twain authors
"""A board: what its device tree says and what a system description may choose."""

from __future__ import annotations

import tomllib
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from . import fdt
from .units import parse_size

# Nodes that the kernel owns; no driver may have them.
_KERNEL_OWNED = {
    "arm,gic-v3",
    "arm,cortex-a15-gic",
    "arm,gic-400",
    "arm,gic-v3-its",
    "arm,gic-v2m-frame",
    "arm,armv8-timer",
    "arm,armv7-timer",
    "arm,psci-1.0",
    "arm,psci-0.2",
    "arm,psci",
}
_GIC_PPI_BASE, _GIC_SPI_BASE = 16, 32


class BoardError(Exception):
    """The board's files are missing or wrong."""


@dataclass(frozen=True)
class Irq:
    intid: int
    edge: bool


@dataclass(frozen=True)
class Device:
    path: str
    compatible: tuple[str, ...]
    regs: tuple[tuple[int, int], ...]  # (physical address, bytes)
    irqs: tuple[Irq, ...]
    kernel_owned: bool
    dma: bool


@dataclass(frozen=True)
class Board:
    name: str
    description: str
    compatible: str
    devices: tuple[Device, ...]
    min_cpus: int
    max_cpus: int
    default_cpus: int
    min_ram: int
    max_ram: int
    default_ram: int
    ram_base: int
    gic_versions: tuple[int, ...]  # with any of them an image starts
    uart_base: int
    psci: str
    dma_isolation: bool
    dtb: Path = field(compare=False, default=Path())

    @property
    def gic(self) -> str:
        return "GIC" + " or ".join(f"v{version}" for version in self.gic_versions)

    def device(self, path: str) -> Device | None:
        return next((d for d in self.devices if d.path == path), None)

    def matching(self, what: str) -> list[Device]:
        """Devices that `what` may mean: a path, a compatible string, or the part of one after the comma."""
        if what.startswith("/"):
            return [d for d in self.devices if d.path == what]
        return [d for d in self.devices if what in d.compatible or any(c.split(",")[-1] == what for c in d.compatible)]


def builtin_directory() -> Path:
    return Path(__file__).resolve().parents[2] / "configs" / "boards"


def directories(config: Path | None) -> list[Path]:
    """Where boards are looked for: beside the system description first, then Twain's own."""
    found = [config.parent / "boards"] if config is not None else []
    if builtin_directory() not in [d.resolve() for d in found]:
        found.append(builtin_directory())
    return found


def available(where: Sequence[Path]) -> dict[str, Path]:
    boards: dict[str, Path] = {}
    for directory in where:
        if directory.is_dir():
            for path in sorted(directory.glob("*.toml")):
                boards.setdefault(path.stem, path)
    return boards


def load(path: Path) -> Board:
    """Reads a board. Raises BoardError with the file and the reason."""
    try:
        facts = tomllib.loads(path.read_text(encoding="utf-8"))
        dtb = path.parent / facts["dtb"]
        root = fdt.parse(dtb.read_bytes())
        return _board(path.stem, facts, dtb, root)
    except BoardError:
        raise
    except KeyError as error:
        raise BoardError(f"{path.name}: missing {error}") from error
    except (OSError, ValueError, TypeError, AttributeError, fdt.FdtError) as error:
        raise BoardError(f"{path.name}: {error}") from error


def _board(name: str, facts: dict[str, object], dtb: Path, root: fdt.Node) -> Board:
    cpus, ram = facts["cpus"], facts["ram"]
    assert isinstance(cpus, dict) and isinstance(ram, dict)
    sizes = {key: parse_size(str(ram[key])) for key in ("min", "max", "default")}
    memory = [node for node in root.children if node.strings("device_type") == ["memory"]]
    if not memory or not memory[0].reg():
        raise BoardError(f"{dtb.name}: no memory node")
    gic_version = 0
    psci = "none"
    for node in root.walk():
        compatible = node.strings("compatible")
        if "arm,gic-v3" in compatible:
            gic_version = 3
        elif gic_version == 0 and {"arm,cortex-a15-gic", "arm,gic-400"} & set(compatible):
            gic_version = 2
        if any(c.startswith("arm,psci") for c in compatible):
            psci = (node.strings("method") or ["none"])[0]
    if gic_version == 0:
        raise BoardError(f"{dtb.name}: no interrupt controller that Twain knows")
    gic_versions = facts.get("gic", [gic_version])
    if not isinstance(gic_versions, list) or gic_version not in gic_versions or set(gic_versions) - {2, 3}:
        raise BoardError(f"gic must be a list of the versions 2 and 3, among them the {gic_version} of {dtb.name}")
    devices = tuple(_devices(root))
    return Board(
        name=name,
        description=str(facts.get("description", "")),
        compatible=(root.strings("compatible") or [""])[0],
        devices=devices,
        min_cpus=int(cpus["min"]),
        max_cpus=int(cpus["max"]),
        default_cpus=int(cpus["default"]),
        min_ram=sizes["min"],
        max_ram=sizes["max"],
        default_ram=sizes["default"],
        ram_base=memory[0].reg()[0][0],
        gic_versions=tuple(sorted(set(gic_versions))),
        uart_base=_console(root),
        psci=psci,
        dma_isolation=bool(facts.get("dma_isolation", False)),
        dtb=dtb,
    )


def _devices(root: fdt.Node) -> list[Device]:
    """Nodes with registers in the CPU's own address space (directly below the root)."""
    found = []
    for node in root.children:
        compatible = tuple(node.strings("compatible"))
        regs = node.reg() if "reg" in node.properties else []
        if not compatible or not regs or node.strings("device_type") in (["memory"], ["cpu"], ["pci"]):
            continue
        found.append(
            Device(
                node.path,
                compatible,
                tuple(regs),
                tuple(_irqs(node)),
                bool(_KERNEL_OWNED & set(compatible)),
                "dma-coherent" in node.properties,
            )
        )
    return sorted(found, key=lambda d: d.regs[0][0])


def _irqs(node: fdt.Node) -> list[Irq]:
    """GIC bindings: three cells each; type 0 is an SPI, 1 a PPI; flags 1 and 2 are edge-triggered."""
    cells = node.cells("interrupts") if "interrupts" in node.properties else []
    if len(cells) % 3:
        return []
    found = []
    for start in range(0, len(cells), 3):
        kind, number, flags = cells[start : start + 3]
        base = _GIC_SPI_BASE if kind == 0 else _GIC_PPI_BASE
        found.append(Irq(base + number, bool(flags & 3)))
    return found


def _console(root: fdt.Node) -> int:
    chosen = next((n for n in root.children if n.name == "chosen"), None)
    path = (chosen.strings("stdout-path") or [""])[0].split(":")[0] if chosen else ""
    node = next((n for n in root.walk() if n.path == path), None)
    regs = node.reg() if node is not None else []
    return regs[0][0] if regs else 0
