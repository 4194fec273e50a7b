# SPDX-License-Identifier: Apache-2.0
# Copyright The Twain authors
"""Panics get names only from the kernel that panicked."""

import json
import os
import subprocess

import pytest
from twainlib import symbols
from twainlib.errors import TwainError

SOURCE = """
extern "C" void _start();
namespace twain { [[gnu::noinline]] void culprit() { asm volatile("nop"); } }
extern "C" void _start() { twain::culprit(); for (;;) {} }
"""


@pytest.fixture
def built(tmp_path):
    source, kernel = tmp_path / "kernel.cpp", tmp_path / "kernel-el2.elf"
    source.write_text(SOURCE)
    subprocess.run([symbols.tool("g++"), "-g", "-O1", "-nostdlib", "-static", "-Wl,-Ttext=0x8000200000", "-o", kernel, source],
                   check=True)
    (tmp_path / "image.bin.json").write_text(json.dumps({"build_id": "0123456789abcdef0123", "kernels": {"el2": {"elf": str(kernel)}}}))
    return tmp_path


def panic(build_id="0123456789abcdef0123"):
    return (f"[business] some line\nkernel panic: test\n  build {build_id}\n"
            "x0 0000000000000001 x30 000000ffdeadbeef\npc 0000008000200000 lr 0x8000200004\n")


def test_addresses_get_names(built):
    text = symbols.symbolize(panic(), built)
    assert "twain::culprit()" in text and "kernel.cpp:3" in text
    assert "some line" not in text
    assert "deadbeef\n" in text  # not an address of the kernel: left alone


def test_other_build_is_refused(built):
    with pytest.raises(TwainError, match="no image of build ffff"):
        symbols.symbolize(panic("ffff456789abcdef0123"), built)


def test_kernel_built_again_is_refused(built):
    os.utime(built / "image.bin.json", (1, 1))
    with pytest.raises(TwainError, match="built again"):
        symbols.symbolize(panic(), built)


def test_log_without_panic_is_refused(built):
    with pytest.raises(TwainError, match="no panic"):
        symbols.symbolize("all is well", built)


def test_the_kernel_whose_addresses_they_are_names_them(built):
    """The image holds a kernel for each exception level."""
    other = built / "kernel-el1.elf"
    subprocess.run([symbols.tool("g++"), "-g", "-O1", "-nostdlib", "-static", "-Wl,-Ttext=0xffff000000200000", "-o", other,
                    built / "kernel.cpp"], check=True)
    facts = {"build_id": "0123456789abcdef0123", "kernels": {"el1": {"elf": str(other)}, "el2": {"elf": str(built / "kernel-el2.elf")}}}
    (built / "image.bin.json").write_text(json.dumps(facts))
    assert "kernel-el2.elf" in symbols.symbolize(panic(), built)
    assert "kernel-el1.elf" in symbols.symbolize(panic().replace("0x8000200004", "0xffff000000200004")
                                                 .replace("0000008000200000", "ffff000000200000"), built)
