# SPDX-License-Identifier: Apache-2.0
# Copyright The Twain authors
"""The instruction counter against a program whose counts are known."""

import json
import subprocess
from pathlib import Path

import pytest
from twainlib import bench

PROGRAM = Path(__file__).parent / "plugin" / "markers.S"


@pytest.mark.parametrize("cores", [1, 2])
def test_counts_are_exact(tmp_path, cores):
    plugin = bench.build_plugin(tmp_path)
    elf, out = tmp_path / "markers.elf", tmp_path / "out.json"
    subprocess.run(["aarch64-linux-gnu-gcc", "-nostdlib", "-static", "-Wl,-Ttext=0x40100000", "-o", elf, PROGRAM], check=True)
    subprocess.run(["qemu-system-aarch64", "-M", "virt", "-cpu", "cortex-a57", "-smp", str(cores), "-nodefaults",
                    "-display", "none", "-semihosting", "-kernel", elf, "-plugin",
                    f"{plugin},kernel=40100000-40101000,user=40101000-40102000,out={out}"], check=True, timeout=60)
    counted = json.loads(out.read_text())
    series = counted["series"]
    # Up to the first marker; QEMU's own boot code of three instructions is `other`.
    assert counted["start"]["kernel"] == counted["start"]["user"] == 0 and counted["profile"] == {}
    assert series["0"]["samples"] == 1 and series["0"]["all"]["max"] == 0
    assert series["3"]["samples"] == 10
    for part, count in (("kernel", 202), ("user", 5), ("other", 0), ("all", 207)):
        assert series["3"][part]["min"] == series["3"][part]["max"] == count


def test_profile_counts_each_instruction_of_its_series(tmp_path):
    plugin = bench.build_plugin(tmp_path)
    elf, out = tmp_path / "markers.elf", tmp_path / "out.json"
    subprocess.run(["aarch64-linux-gnu-gcc", "-nostdlib", "-static", "-Wl,-Ttext=0x40100000", "-o", elf, PROGRAM], check=True)
    subprocess.run(["qemu-system-aarch64", "-M", "virt", "-cpu", "cortex-a57", "-nodefaults", "-display", "none", "-semihosting",
                    "-kernel", elf, "-plugin", f"{plugin},profile=3,kernel=40100000-40101000,out={out}"], check=True, timeout=60)
    counted = json.loads(out.read_text())
    assert sorted(counted["profile"].values()) == [10] * 7 + [1000] * 2
    assert counted["series"]["3"]["kernel"]["median"] == 202


@pytest.mark.parametrize("argument", ["profile=x", "profile=62", "profile=", "kernel=5", "kernel=9-5", "user=x-y", "nonsense=1"])
def test_bad_arguments_are_refused(tmp_path, argument):
    plugin = bench.build_plugin(tmp_path)
    run = subprocess.run(["qemu-system-aarch64", "-M", "none", "-nodefaults", "-display", "none", "-plugin",
                          f"{plugin},{argument}"], capture_output=True, text=True, timeout=60)
    assert run.returncode != 0 and f'bad argument "{argument}"' in run.stderr
