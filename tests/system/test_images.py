# SPDX-License-Identifier: Apache-2.0
# Copyright The Twain authors
"""Guest images: where they come from, that they are reproducible, and that Linux boots with them."""

import gzip
import hashlib
import json
import re
import shutil
import subprocess

import pytest
from twainlib import images, initrd, qemu
from twainlib.aptroot import AptRoot
from twainlib.broker import Broker
from twainlib.cpio import Tree
from twainlib.errors import TwainError
from twainlib.session import Session

BUSYBOX = b"\x7fELF...\0[\0[[\0ash\0busybox\0cat\0zcat\0\0rest"


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """The images, from the cache that `setup` has filled, in a build directory of their own."""
    directory = tmp_path_factory.mktemp("build")
    patch = pytest.MonkeyPatch()
    patch.setenv("TWAIN_OUTPUT", str(directory))
    yield directory / "images", images.make(["business", "personal"])
    patch.undo()


def test_cpio_matches_what_cpio_reads(tmp_path):
    tree = Tree()
    tree.file("etc/deep/file", "text\n", 0o640)
    tree.symlink("bin/sh", "busybox")
    tree.character_device("dev/console", 5, 1)
    archive = tree.archive()
    assert archive.startswith(b"070701") and len(archive) % 4 == 0
    names = re.findall(rb"070701[0-9A-F]{104}([^\0]+)\0", archive)
    assert names == [b"bin", b"bin/sh", b"dev", b"dev/console", b"etc", b"etc/deep", b"etc/deep/file", b"TRAILER!!!"]
    if shutil.which("cpio"):
        listing = subprocess.run(["cpio", "-tv"], input=archive, capture_output=True).stdout.decode()
        assert "sh -> busybox" in listing and "5,   1" in listing


def test_initrd_is_reproducible_and_personal():
    one = initrd.build("business", BUSYBOX)
    assert one == initrd.build("business", BUSYBOX)
    assert one != initrd.build("personal", BUSYBOX)
    assert b"business\n" in gzip.decompress(one)


def test_busybox_without_table_is_an_error():
    with pytest.raises(TwainError, match="applet table"):
        initrd.build("business", b"\x7fELF nothing")


def test_kernel_is_the_one_that_the_archive_has_signed(made):
    """InRelease's signature -> Packages -> .deb -> the file that boots; each link checked here once more."""
    directory, records = made
    root = AptRoot()
    kernel = records["debian/vmlinux"]
    assert hashlib.sha256((directory / "debian/vmlinux").read_bytes()).hexdigest() == kernel["sha256"]
    name, version = kernel["package"].split()
    (package,) = root.fetch([name])
    assert (package.version, package.sha256) == (version, kernel["package_sha256"])
    assert images.file_sha256(package.path) == package.sha256
    inside = subprocess.run(f"dpkg-deb --fsys-tarfile '{package.path}' | tar -xOf - ./{kernel['member']} | sha256sum",
                            shell=True, capture_output=True, text=True, check=True).stdout.split()[0]
    assert inside == kernel["member_sha256"]
    lists = next(path for path in root.directory.rglob("lists") if path.is_dir())
    stanza = re.compile(rf"^Package: {re.escape(name)}\n(?:[^\n]+\n)*?Version: {re.escape(version)}\n(?:[^\n]+\n)*?SHA256: "
                        rf"{package.sha256}$", re.MULTILINE)
    for index in lists.glob("*_Packages*"):
        text = subprocess.run(["/usr/lib/apt/apt-helper", "cat-file", index], capture_output=True, check=True).stdout
        if not stanza.search(text.decode()):
            continue
        release = next(path for path in lists.glob("*InRelease") if index.name.startswith(path.name.removesuffix("InRelease")))
        signed = subprocess.run(["gpgv", "--keyring", "/usr/share/keyrings/debian-archive-keyring.gpg", release],
                                capture_output=True, text=True)
        assert "Good signature" in signed.stderr
        assert f" {hashlib.sha256(text).hexdigest()} " in release.read_text()
        return
    pytest.fail("no signed index names this package")


def test_kernel_is_an_uncompressed_arm64_image(made):
    data = (made[0] / "debian/vmlinux").read_bytes()
    assert data[56:60] == images.ARM64_MAGIC
    with pytest.raises(TwainError):
        images.check_arm64_image(b"MZ" + bytes(100), "x86")


def test_nothing_is_made_twice(made):
    directory, records = made
    before = {path: path.stat().st_mtime_ns for path in directory.rglob("*.gz")}
    assert images.make(["business", "personal"]) == records
    assert before == {path: path.stat().st_mtime_ns for path in directory.rglob("*.gz")}
    assert json.loads((directory / "images.json").read_text()) == records


def test_a_changed_image_is_made_again(made):
    directory, records = made
    (directory / "business.cpio.gz").write_bytes(b"broken")
    (directory / "debian/vmlinux").write_bytes(b"broken")
    assert images.make(["business"])["business.cpio.gz"] == records["business.cpio.gz"]
    assert images.file_sha256(directory / "debian/vmlinux") == records["debian/vmlinux"]["sha256"]


def test_linux_boots_natively_with_them(made, tmp_path):
    """Without Twain: if this fails, the image is at fault."""
    directory, _ = made
    command = [qemu.PROGRAM, "-M", "virt,gic-version=3", "-cpu", qemu.DEFAULT_CPU, "-m", "256M", "-smp", "2", "-nodefaults",
               "-display", "none", "-chardev", "stdio,id=console,mux=off,signal=off", "-serial", "chardev:console",
               "-kernel", str(directory / "debian/vmlinux"), "-initrd", str(directory / "business.cpio.gz"),
               "-append", "console=ttyAMA0 quiet"]
    with Broker(command, tmp_path, []) as machine:
        session = Session(machine)

        def answer(command, pattern):
            start = session.mark()
            machine.raw(command.encode() + b"\n")
            return session.wait_for("", pattern, 20, start)[0]

        session.wait_for("", "business READY", 60)
        session.wait_prompt("", "business#", 20)
        assert answer("persona", r"persona (\w+) on Linux.*")[1] == "business"
        assert int(answer("mem", r"mem (\d+) kB")[1]) > 180_000
        assert answer("cpus", r"cpus (\d+) online.*")[1] == "2"
        answer("count 2", "business tick 2")
        start = session.mark()
        machine.raw(b"sleep 1000\n")
        session.wait_for("", ".*sleep 1000", 20, start)
        machine.raw(b"\x03")
        answer("echo $((6 * 7))", "42")
        start = session.mark()
        machine.raw(b"reboot\n")
        session.wait_for("", "business READY", 60, start)
        session.wait_prompt("", "business#", 20)
        machine.raw(b"poweroff\n")
        assert session.ended(30) == 0
