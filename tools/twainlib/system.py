# SPDX-License-Identifier: Apache-2.0
# Copyright The Twain authors
"""What the tool needs to know of a configured system."""

from dataclasses import dataclass, field


@dataclass
class GuestInfo:
    name: str
    ram: int  # bytes
    vcpus: int
    ready: str = ""
    kernel: str = ""
    initrd: str = ""

    def __post_init__(self):
        self.ready = self.ready or f"{self.name} READY"
        self.persona = f"persona {self.name}"


@dataclass
class SystemInfo:
    name: str
    guests: list = field(default_factory=list)
    cpus: int = 2
    ram: int = 1 << 30
