# SPDX-License-Identifier: Apache-2.0
# Copyright The Twain authors
"""The kernel's rights by name, mirrored from kernel/api/abi.hpp (a test compares them)."""

from __future__ import annotations

from collections.abc import Iterable

# For each object kind of the lowered table: right name -> bit.
_MEMORY = {"read": 1, "write": 2, "exec": 4, "own": 8}
RIGHTS: dict[str, dict[str, int]] = {
    "ram": _MEMORY,
    "file": _MEMORY,
    "device": _MEMORY,
    "endpoint": {"call": 1, "receive": 2, "pass": 4},
    "notification": {"signal": 1, "wait": 2, "arm": 4},
    "reply": {"use": 1},
    "irq": {"bind": 1, "ack": 2},
    "sched": {"bind": 1, "configure": 2},
    "guest_space": {"map": 1, "use": 2},
    "vcpu": {"run": 1, "kick": 2, "configure": 4},
    "thread": {"control": 1, "regs": 2},
    "cspace": {"insert": 1, "remove": 2, "inspect": 4},
    "log": {"mint": 1, "power": 2, "log": 4, "info": 8, "firmware": 16},
}
# abi.hpp's namespace rights uses these prefixes.
ABI_PREFIX = {
    "ram": "mem",
    "endpoint": "ep",
    "notification": "note",
    "reply": "reply",
    "irq": "irq",
    "sched": "sched",
    "guest_space": "space",
    "vcpu": "vcpu",
    "thread": "thread",
    "cspace": "cspace",
    "log": "sys",
}
PRIORITIES = 64
MAX_CORES = 8
MAX_MODULES = 32
MODULE_NAME = 47  # characters
SLOTS = 8192
SPACE_END = 1 << 39
# system/init/tables.hpp
SYSTEM_OWNER = 0xFFFF
NONE = 0xFFFF
KINDS = (
    "ram",
    "file",
    "device",
    "endpoint",
    "notification",
    "reply",
    "irq",
    "sched",
    "guest_space",
    "vcpu",
    "thread",
    "cspace",
    "log",
)
STACK_TOP = 0x3FFF_F000
PROGRAM_BASE = 0x40_0000
MAP_BASE = 0x1_0000_0000
FIRST_SLOT = 16
NOTE_BITS = 64


def mask(kind: str, rights: Iterable[str]) -> int:
    return sum(RIGHTS[kind][right] for right in set(rights))
