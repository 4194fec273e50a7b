# SPDX-License-Identifier: Apache-2.0
# Copyright The Twain authors
"""What a system description may say: sections, keys, types and defaults. docs/config.md is tested against this."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

SCHEMA_VERSION = 1
MAX_GUESTS = 8  # Ctrl-A 1 .. 8 choose a guest's console
MAX_VCPUS = 4
MAX_CLAIMS = 16
MAX_PROCESSES = 32  # system/init/builder.hpp
MIN_GUEST_RAM = 2 << 20


class Type(Enum):
    """What a value must look like; the text is how messages call it."""

    INT = "an integer"
    BOOL = "true or false"
    TEXT = "a string"
    NAME = "a name"
    SIZE = "a size"
    BUDGET = "a budget"
    CLASS = "a priority class"
    COLOR = "a colour"
    NAMES = "a list of names"
    NUMBERS = "a list of integers"
    TEXTS = "a string or a list of strings"


@dataclass(frozen=True)
class Key:
    name: str
    type: Type
    required: bool = False
    default: str = ""  # for the reader; "" means that nothing is supplied


@dataclass(frozen=True)
class Section:
    name: str
    keys: tuple[Key, ...]
    named: bool = False  # [section.NAME]
    repeated: bool = False  # [[section]]
    later: tuple[str, ...] = ()  # keys of later versions: refused by name

    def key(self, name: str) -> Key | None:
        return next((key for key in self.keys if key.name == name), None)


TOP = Section(
    "",
    (
        Key("schema", Type.INT, required=True),
        Key("name", Type.NAME, default="the file's name without .toml"),
        Key("board", Type.TEXT, required=True),
    ),
)
BOARD_ARGS = Section(
    "board_args", (Key("ram", Type.SIZE, default="the board's"), Key("cpus", Type.INT, default="the board's"))
)
GUEST = Section(
    "guest",
    (
        Key("image", Type.TEXT),
        Key("kernel", Type.TEXT),
        Key("initrd", Type.TEXT),
        Key("cmdline", Type.TEXT, default='"console=ttyAMA0 quiet"'),
        Key("ram", Type.SIZE, default='"256M"'),
        Key("vcpus", Type.INT, default="1"),
        Key("cores", Type.NUMBERS, default="all cores"),
        Key("budget", Type.BUDGET, default="an equal share of 90% of the core"),
        Key("class", Type.CLASS, default='"guest"'),
        Key("program", Type.TEXT, default='"vmm"'),
        Key("console", Type.TEXT, required=True),
        Key("ready", Type.TEXT, default='"NAME READY", as the tool\'s own initrd prints'),
        Key("log", Type.BOOL, default="false"),
    ),
    named=True,
    later=("disk", "net", "display", "input", "rtc", "sound", "sensors", "balloon", "snapshot", "vsock"),
)
DRIVER = Section(
    "driver",
    (
        Key("program", Type.TEXT, default="the built-in of the device's compatible"),
        Key("device", Type.TEXTS, required=True),
        Key("class", Type.CLASS, default='"driver"'),
        Key("log", Type.BOOL, default="false"),
    ),
    named=True,
    later=("dma", "trusts"),
)
SERVER = Section(
    "server",
    (
        Key("program", Type.TEXT, default="the built-in of the section's name"),
        Key("uses", Type.NAMES, default="[]"),
        Key("class", Type.CLASS, default='"server"'),
        Key("log", Type.BOOL, default="false"),
    ),
    named=True,
    later=("port", "secure_attention", "switch_key", "indicator_height"),
)
PERSONA = Section(
    "persona",
    (
        Key("guest", Type.NAME, required=True),
        Key("label", Type.TEXT, default="the guest's name"),
        Key("color", Type.COLOR, default="the next of a fixed palette"),
    ),
    named=True,
    later=("lock", "background", "wipe", "default"),
)
CLAIM = Section(
    "claim",
    (
        Key("isolate", Type.NAMES, required=True),
        Key("except", Type.NAMES, default="[]"),
        Key("shared_servers", Type.NAMES, default="[]"),
    ),
    repeated=True,
)

SECTIONS = {s.name: s for s in (BOARD_ARGS, GUEST, DRIVER, SERVER, PERSONA, CLAIM)}
LATER_SECTIONS = ("channel", "disk", "net", "display", "ui", "keystore", "sound", "power", "update")
# Where the kernel has no EL2, each guest's kernel runs from copies of its text (vmm/shadow/text.hpp).
TEXT_BYTES = 8 << 20
RESERVED_NAMES = ("init", "supervisor", "kernel", "system", "vmm")

# Priority classes, highest first (kernel priorities 0..63; 63 is left to the supervisor). A VMM's event loop
# runs one above its vCPUs.
CLASSES = {"driver": 48, "server": 40, "ui": 32, "guest": 16}

# Programs that come with Twain, and what they are for.
DRIVER_PROGRAMS = {"arm,pl011": "drv-pl011"}
SERVER_PROGRAMS = {"serial": "srv-console", "console": "srv-console"}
PROGRAM_VMM = "vmm"
IMAGES = ("debian",)

DEFAULT_GUEST_RAM = 256 << 20
DEFAULT_CONSOLE_CMDLINE = "console=ttyAMA0 quiet"
GUEST_CONSOLE = "ttyAMA0"
MAX_CMDLINE = 2047  # arm64 COMMAND_LINE_SIZE less the final zero

PERIOD_NS = 10_000_000  # of default budgets
MIN_BUDGET_NS = 50_000  # shorter ones only switch
MIN_PERIOD_NS = 1_000_000
MAX_PERIOD_NS = 1_000_000_000
GUEST_SHARE = 90  # percent of each core that guests may book
KEPT_RAM_PERCENT = 10  # of the board's RAM, for kernel, servers and drivers
PALETTE = ("#C62828", "#2E7D32", "#1565C0", "#F9A825", "#6A1B9A", "#00838F", "#D84315", "#546E7A")
MIN_COLOR_DISTANCE = 96  # Euclidean, of 8-bit RGB
