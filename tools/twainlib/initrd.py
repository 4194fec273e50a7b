# SPDX-License-Identifier: Apache-2.0
# Copyright The Twain authors
"""Builds a persona's initial RAM file system: static busybox, links for its applets, and the scripts beside
this file in initrd/. Same busybox and same persona give the same bytes."""

from pathlib import Path

from .cpio import Tree
from .errors import Exit, TwainError

SCRIPTS = Path(__file__).parent / "initrd"
PROGRAMS = ("persona", "mem", "cpus", "count")


def applets(busybox):
    """Applet names from the binary's own table: zero-terminated, sorted, `[` first, ended by an empty name."""
    start = busybox.find(b"\0[\0[[\0")
    if start < 0:
        raise TwainError(Exit.RUN, "busybox holds no applet table",
                         hint="the package busybox-static has changed its layout; report this")
    names = []
    position = start + 1
    while (end := busybox.index(b"\0", position)) > position:
        names.append(busybox[position:end].decode("ascii"))
        position = end + 1
    return names


def build(persona, busybox):
    """Returns the gzip-compressed archive."""
    tree = Tree()
    for path in ("dev", "proc", "sys", "tmp", "root", "bin", "sbin", "etc", "usr/bin", "usr/sbin"):
        tree.directory(path)
    tree.directory("tmp", 0o1777)
    tree.character_device("dev/console", 5, 1)
    tree.file("bin/busybox", busybox, 0o755)
    for name in applets(busybox):
        if name != "busybox":
            tree.symlink(f"bin/{name}", "busybox")
    for name in ("init", "poweroff", "reboot", "halt"):
        tree.symlink(f"sbin/{name}", "../bin/busybox")
    tree.file("init", _script("init"), 0o755)
    tree.file("etc/ready", _script("ready"), 0o755)
    tree.file("etc/profile", _script("profile"))
    tree.file("etc/persona", persona + "\n")
    tree.file("etc/passwd", "root::0:0:root:/root:/bin/sh\n")
    tree.file("etc/group", "root:x:0:\n")
    for name in PROGRAMS:
        tree.file(f"usr/bin/{name}", _script(name), 0o755)
    return tree.compressed()


def _script(name):
    return (SCRIPTS / name).read_bytes()
