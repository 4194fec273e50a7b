# SPDX-License-Identifier: Apache-2.0
# Copyright The Twain authors
"""Writes cpio archives in the `newc` format that Linux unpacks as its initial RAM file system
(Linux Documentation/driver-api/early-userspace/buffer-format.rst). The same tree gives the same bytes:
entries are sorted, inode numbers counted, times zero, everything owned by root."""

import gzip
import io
import stat
from dataclasses import dataclass


@dataclass
class Entry:
    mode: int
    data: bytes = b""
    device: tuple = (0, 0)


class Tree:
    def __init__(self):
        self.entries = {}

    def directory(self, path, mode=0o755):
        self._add(path, Entry(stat.S_IFDIR | mode))

    def file(self, path, data, mode=0o644):
        self._parents(path)
        self._add(path, Entry(stat.S_IFREG | mode, data.encode() if isinstance(data, str) else data))

    def symlink(self, path, target):
        self._parents(path)
        self._add(path, Entry(stat.S_IFLNK | 0o777, target.encode()))

    def character_device(self, path, major, minor, mode=0o600):
        self._parents(path)
        self._add(path, Entry(stat.S_IFCHR | mode, device=(major, minor)))

    def _parents(self, path):
        parts = path.strip("/").split("/")[:-1]
        for depth in range(1, len(parts) + 1):
            parent = "/".join(parts[:depth])
            if parent not in self.entries:
                self.directory(parent)

    def _add(self, path, entry):
        self.entries[path.strip("/")] = entry

    def archive(self):
        out = io.BytesIO()
        for inode, (path, entry) in enumerate(sorted(self.entries.items()), start=1):
            _write(out, path, entry, inode)
        _write(out, "TRAILER!!!", Entry(0), 0)
        return out.getvalue()

    def compressed(self):
        return gzip.compress(self.archive(), compresslevel=9, mtime=0)


def _write(out, path, entry, inode):
    name = path.encode() + b"\0"
    links = 2 if stat.S_ISDIR(entry.mode) else 1
    fields = [inode, entry.mode, 0, 0, links, 0, len(entry.data), 0, 0, *entry.device, len(name), 0]
    out.write(b"070701" + b"".join(b"%08X" % field for field in fields))
    out.write(name)
    _pad(out)
    out.write(entry.data)
    _pad(out)


def _pad(out):
    out.write(b"\0" * (-out.tell() % 4))
