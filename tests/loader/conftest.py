# SPDX-License-Identifier: Apache-2.0
# Copyright The Twain authors
"""Images with the loader and a kernel that only tells what it was told; QEMU to run them."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tools"))

from twainlib import pack  # noqa: E402

TARGET = Path(os.environ.get("TWAIN_TARGET") or ROOT / "build/cmake-release/target")
LIMIT = 60  # seconds of real time; a run takes less than one
TREE_OFFSET = 8 << 20
STUB = bytes.fromhex("80000058 a1000058 20001fd6 1f2003d5")  # ldr x0, tree; ldr x1, base; br x1; nop


class Machine:
    """Builds images in a directory and runs them."""

    def __init__(self, directory):
        self.directory = directory
        self.loader = TARGET / "loader.elf"
        self.kernel = TARGET / "test/fake-kernel.elf"
        self.root = TARGET / "bin/drv-pl011"

    def image(self, expect=None, kernels=None, files=None, **options):
        archive = None
        if files:
            listed = []
            for name, contents in files.items():
                (self.directory / name).write_bytes(contents)
                listed.append({"name": name, "path": name})
            archive = self.directory / "manifest.json"
            archive.write_text(json.dumps({"version": 1, "files": listed}))
        expectation = self.directory / "expect.json"
        expectation.write_text(json.dumps({"board": "qemu-virt", "uart_base": 0x9000000, **(expect or {})}))
        image = self.directory / "image.bin"
        pack.pack(self.loader, kernels or {1: self.kernel, 2: self.kernel}, self.root, archive, expectation, image,
                  pack.Options(**options))
        return image

    def run(self, image, machine="virtualization=on,gic-version=3", cpu="cortex-a57", cores=1, memory="512M", extra=(),
            kernel=True):
        """What the machine prints until it powers off."""
        command = ["qemu-system-aarch64", "-M", f"virt,{machine}", "-cpu", cpu, "-smp", str(cores), "-m", memory,
                   "-nodefaults", "-no-user-config", "-display", "none", "-serial", "stdio", *extra]
        if kernel:
            command += ["-kernel", str(image)]
        result = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=LIMIT)
        assert result.returncode == 0, result.stderr
        return result.stdout.replace("\r", "")

    def tree(self, options="virtualization=on,gic-version=3"):
        """QEMU's own device tree of a machine."""
        path = self.directory / "virt.dtb"
        subprocess.run(["qemu-system-aarch64", "-M", f"virt,{options},dumpdtb={path}", "-cpu", "cortex-a57", "-m", "512M",
                        "-nodefaults", "-display", "none"], check=True, capture_output=True, timeout=LIMIT)
        return path.read_bytes()

    def by_hand(self, image, base, tree):
        """Arguments that put the image at `base`, a tree behind it, and start it without QEMU's help."""
        tree_base, stub_base = base + TREE_OFFSET, 0x43000000
        (self.directory / "tree").write_bytes(tree)
        (self.directory / "stub").write_bytes(STUB + tree_base.to_bytes(8, "little") + base.to_bytes(8, "little"))
        placed = ((image, base), (self.directory / "tree", tree_base), (self.directory / "stub", stub_base))
        arguments = ["-device", f"loader,addr={stub_base:#x},cpu-num=0"]
        for file, address in placed:
            arguments += ["-device", f"loader,file={file},addr={address:#x},force-raw=on"]
        return arguments

    def until(self, expected, image, machine="virtualization=on,gic-version=3", extra=()):
        """Runs an image that never powers off, until it has printed a line with the expected text."""
        command = ["qemu-system-aarch64", "-M", f"virt,{machine}", "-cpu", "cortex-a57", "-m", "512M", "-nodefaults",
                   "-no-user-config", "-display", "none", "-serial", "stdio", *extra]
        with subprocess.Popen(["timeout", str(LIMIT), *command], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True) as qemu:
            try:
                for line in qemu.stdout:
                    if expected in line:
                        return line.strip()
            finally:
                qemu.terminate()
        raise AssertionError(f"never printed: {expected}")


@pytest.fixture
def machine(tmp_path):
    assert shutil.which("qemu-system-aarch64"), "qemu-system-arm is not installed"
    return Machine(tmp_path)


def facts(output):
    """{key: [fields of each line with that key]} of the fake kernel's lines; numbers as numbers."""
    found = {}
    for line in output.splitlines():
        if line.startswith("@"):
            key, *fields = line[1:].split()
            found.setdefault(key, []).append([int(f, 16) if f.startswith("0x") else f for f in fields])
    return found
