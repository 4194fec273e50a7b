# SPDX-License-Identifier: Apache-2.0
# Copyright The Twain authors
"""What the tool needs to know of a configured system, and the way to the system generator (tools/sysgen)."""

import json
import re
import sys
from dataclasses import dataclass, field
from pathlib import Path

from .errors import Exit, TwainError
from .paths import ROOT, images_dir, short


@dataclass
class GuestInfo:
    name: str
    ram: int  # bytes
    vcpus: int
    ready: str = ""
    label: str = ""  # the tag of its lines
    kernel: str = ""  # its name in the archive
    kernel_path: str = ""
    initrd: str = ""
    made_initrd: bool = True  # by the tool, so it has the tool's programs

    def __post_init__(self):
        self.ready = self.ready or f"{self.name} READY"
        self.label = re.sub(r"[^!-Z\\^-~]", "?", self.label or self.name)[:24]  # as the console server shows it
        self.persona = f"persona {self.name}"


@dataclass
class SystemInfo:
    name: str
    guests: list = field(default_factory=list)  # in keyboard order
    cpus: int = 2
    ram: int = 1 << 30
    config: str = ""
    table: dict = None  # the lowered system (system.json), once it is built

    @property
    def labels(self):
        return {guest.label: guest.name for guest in self.guests}


def settings():
    """The values of easy-settings.cmake: {"TWAIN_CONFIG": "configs/...", ...}."""
    try:
        text = (ROOT / "easy-settings.cmake").read_text()
    except OSError:
        return {}
    found = re.findall(r'^\s*setting\(\s*(\w+)\s+(?:"([^"]*)"|([^\s")]+))', text, re.MULTILINE)
    return {name: quoted or bare for name, quoted, bare in found}


def cores(asked=None):
    """How many the system is lowered for: as asked, as easy-settings.cmake says, or None: as the description says."""
    text = settings().get("TWAIN_CORES")
    if asked or not text:
        return asked
    if text not in map(str, range(1, 9)):
        raise TwainError(Exit.USAGE, f'easy-settings.cmake: TWAIN_CORES is "{text}"', hint="1 to 8, or empty")
    return int(text)


def default_config():
    return str(ROOT / (settings().get("TWAIN_CONFIG") or "configs/dual-persona.toml"))


def config_path(text):
    """The configuration that an argument means: a path, or the name of a file in configs/."""
    if text is None:
        return short(default_config())
    candidates = (Path(text), ROOT / text, ROOT / "configs" / f"{text}.toml")
    for path in candidates:
        if path.is_file():
            return short(path)
    known = sorted(path.stem for path in (ROOT / "configs").glob("*.toml"))
    what = f"{text} is no file" if Path(text).exists() else f'there is no system description "{text}"'
    raise TwainError(Exit.USAGE, what, hint="known: " + ", ".join(known))


def describe(guests, isolate=False):
    """The text of a system of the tool's own: guests ({name: {key: value}}) whose consoles share the board's UART.
    isolate: that they share nothing else is claimed."""
    lines = ["schema = 1", 'board = "qemu-virt"']
    for name, keys in guests.items():
        # Strings, numbers and lists are written alike in JSON and in TOML.
        lines += [f"[guest.{name}]", *(f"{key} = {json.dumps(value)}" for key, value in keys.items()), 'console = "serial"']
    lines += ["[server.serial]", 'uses = ["uart"]', "[driver.uart]", 'device = "pl011"']
    if isolate:
        lines += ["[[claim]]", f"isolate = {json.dumps(list(guests))}", 'shared_servers = ["serial"]']
    return "\n".join(lines) + "\n"


def shown(path):
    """Configurations of this checkout are named as they are in the documentation."""
    path = Path(path).resolve()
    return str(path.relative_to(ROOT)) if path.is_relative_to(ROOT) else str(path)


def load(config, cpus=None, with_files=False, programs=None, warnings=True):
    """Checks a configuration and returns its SystemInfo; messages go to stderr, errors end the command."""
    sysgen = generator()
    result = sysgen.check(config, sysgen.Options(programs, images_dir() if with_files else None, cores(cpus)))
    for item in result.diagnostics if warnings else result.errors:
        print(sysgen.render(item), file=sys.stderr)
    if result.errors or result.config is None:
        count = len(result.errors)
        raise TwainError(Exit(result.exit_code), f"{shown(config)} has {count} error{'s' if count != 1 else ''}",
                         hint="`tools/twain explain CODE` tells more about a message")
    return from_config(result.config)


def from_config(config):
    guests = [GuestInfo(name=guest.name, ram=guest.ram, vcpus=guest.vcpus, ready=guest.ready, label=guest.label,
                        kernel=guest.kernel.module, kernel_path=str(guest.kernel.path or ""), initrd=guest.initrd.module if guest.initrd else "",
                        made_initrd="image" in guest.entry.present and "initrd" not in guest.entry.present)
              for guest in config.guests]
    return SystemInfo(name=config.name, guests=guests, cpus=config.cpus, ram=config.ram, config=str(config.path))


def differences(table, answer):
    """What the supervisor's answer to `caps` has that the table has not, and the other way round."""
    generator()
    from sysgen import live

    return live.differences(table, answer)


def generator():
    """The package tools/sysgen; what it needs comes with `setup`."""
    sys.path.insert(0, str(ROOT / "tools")) if str(ROOT / "tools") not in sys.path else None
    try:
        import sysgen
        import sysgen.cli
    except ModuleNotFoundError as error:
        raise TwainError(Exit.MISSING, f"the Python module {error.name} is missing", hint="run `tools/twain setup`") from None
    return sysgen


def delegate(command, config, arguments=()):
    """Runs one of the generator's own commands with the tool's images at hand; returns its exit code."""
    sysgen = generator()
    files = ["--files", str(images_dir())] if (images_dir() / "images.json").is_file() else []
    line = [command, *([config, *files] if config is not None else []), *arguments]
    try:
        return Exit(sysgen.cli.run(line))
    except sysgen.cli.Refused as error:
        raise TwainError(error.code, str(error), hint=error.hint or None) from None
    except SystemExit as stop:
        return Exit(stop.code or 0)
