# SPDX-License-Identifier: Apache-2.0
# Copyright The Twain authors
"""The loader on QEMU's machines: what it tells the kernel, and which machines it refuses with which words."""

import pytest
from conftest import facts
from twainlib import pack

MB = 1 << 20


def checksum(data):
    padded = data + bytes(-len(data) % 4096)
    return sum(byte * (i % 251 + 1) for i, byte in enumerate(padded)) & (1 << 64) - 1


@pytest.mark.parametrize("level,conduit", [(2, 1), (1, 2)])
@pytest.mark.parametrize("gic", [2, 3])
@pytest.mark.parametrize("cores,memory,cpu", [(1, 512, "cortex-a57"), (4, 2048, "max,pauth-impdef=on")])
def test_machines(machine, level, conduit, gic, cores, memory, cpu):
    image = machine.image(expect={"compatible": "linux,dummy-virt", "cores": cores, "gic_versions": [gic], "min_ram": memory * MB})
    switch = "on" if level == 2 else "off"
    told = facts(machine.run(image, f"virtualization={switch},gic-version={gic}", cpu, cores, f"{memory}M"))
    assert told["magic"] == [[0x3149424E49415754]]
    assert told["el"] == [[level]]
    assert told["mmu_caches"] == [[0]]
    assert told["ram"] == [[0x40000000, memory * MB]]
    assert told["core"] == [[n] for n in range(cores)]
    assert told["gic"] == [[gic]]
    assert told["psci"] == [[conduit]]
    assert told["seed_bytes"] == [[32]]
    assert told["gicd"] == [[0x8000000, 0x10000]]
    assert told["uart"] == [[0x9000000, 0x1000]] and told["uart_intid"] == [[33]]
    assert (told["timer_virt"], told["timer_phys"], told["timer_hyp"]) == ([[27]], [[30]], [[26]])
    if gic == 3:
        assert told["gicr"] == [[0x80A0000, 0xF60000]]
    else:
        assert told["gicr"] == [[0x8010000, 0x10000]]
        assert told["gicv"] == [[0x8040000, 0x10000] if level == 2 else [0, 0]]
    assert told["maintenance"] == [[25 if level == 2 else 0]]
    assert told["place"][0][0] % (2 * MB) == 0 and told["place"][0][0] == told["kernel"][0][0]


def test_what_the_image_holds(machine):
    files = {"hello": b"hello", "page": bytes(range(256)) * 16, "odd": b"\xff" * 10001}
    image = machine.image(files=files, verbose=True, test=True, build_id="0123456789abcdef")
    told = facts(machine.run(image))
    assert told["build_id"] == [["0123456789abcdef"]]
    assert told["flags"] == [[3]]
    assert told["module"] == [[name, len(data), checksum(data), 0] for name, data in files.items()]
    entry, segments = pack.read_root(machine.root)
    assert told["root_entry"] == [[entry]]
    assert told["root"] == [[s.address, s.bytes, s.rights, checksum(s.data.ljust(s.bytes, b"\0"))] for s in segments]
    base, size = told["image"][0]
    assert base <= told["info"][0][0] < base + size
    for key in ("kernel", "archive"):
        start, length = told[key][0]
        assert base <= start and start + length <= base + size


def test_equal_inputs_make_equal_images(machine):
    first = machine.image(files={"a": b"a"}).read_bytes()
    assert machine.image(files={"a": b"a"}).read_bytes() == first
    assert machine.image(files={"a": b"b"}).read_bytes() != first


@pytest.mark.parametrize("base", [0x48000000, 0x5FC00000 - 16 * MB])
def test_runs_anywhere(machine, base):
    image = machine.image()
    told = facts(machine.run(image, kernel=False, extra=machine.by_hand(image, base, machine.tree())))
    assert told["image"][0][0] == base
    assert told["kernel"][0][0] == told["place"][0][0]


def test_another_machine_is_refused_with_every_difference(machine):
    image = machine.image(expect={"board": "rpi4", "compatible": "raspberrypi,4-model-b", "min_ram": 1 << 30, "cores": 4,
                                  "gic_versions": [2], "uart_base": 0xFE201000})
    lines = machine.run(image).splitlines()
    assert lines[1:] == [
        "twain: this image was built for rpi4; this machine is another:",
        'twain:   board: expected "raspberrypi,4-model-b", found "linux,dummy-virt"',
        "twain:   GIC version: expected 2, found 3",
        "twain:   console (PL011): expected 0xfe201000, found 0x9000000",
        "twain:   cores, at least: expected 4, found 1",
        "twain:   RAM, at least: expected 1024 MB, found 512 MB"]


def test_one_image_for_several_controllers(machine):
    image = machine.image(expect={"gic_versions": [2, 3]})
    for gic in (2, 3):
        assert facts(machine.run(image, f"virtualization=on,gic-version={gic}"))["gic"] == [[gic]]
    lines = machine.run(machine.image(expect={"gic_versions": [1, 3]}), "virtualization=on,gic-version=2").splitlines()
    assert lines[2:] == ["twain:   GIC version: expected 1 or 3, found 2"]


@pytest.mark.parametrize("only,switch,found", [(2, "off", "entered at EL1, but the image holds a kernel for EL2 only"),
                                               (1, "on", "entered at EL2, but the image holds a kernel for EL1 only")])
def test_no_kernel_for_the_exception_level(machine, only, switch, found):
    output = machine.run(machine.image(kernels={only: machine.kernel}), f"virtualization={switch},gic-version=3")
    assert f"twain: cannot start: {found}" in output and "@" not in output


def test_no_device_tree(machine):
    image = machine.image()
    base = "0x48000000"
    line = machine.until("cannot start", image, extra=["-device", f"loader,file={image},addr={base},force-raw=on",
                                                      "-device", f"loader,addr={base},cpu-num=0"])
    assert line == "twain: cannot start: there is no device tree (x0 is 0)"


@pytest.mark.parametrize("damage,words", [
    (lambda tree: b"\0\0\0\0" + tree[4:], "what x0 points at is not a device tree (bad magic)"),
    (lambda tree: tree[:4] + (64 * MB).to_bytes(4, "big") + tree[8:], "the device tree is too large"),
    (lambda tree: tree[:8] + (0x40000).to_bytes(4, "big") + tree[12:], "the device tree is damaged"),
    (lambda tree: tree[:8] + (58).to_bytes(4, "big") + tree[12:], "the device tree is damaged (misaligned blocks)"),
])
def test_damaged_device_tree(machine, damage, words):
    image = machine.image()
    line = machine.until("cannot start", image, extra=machine.by_hand(image, 0x48000000, damage(machine.tree())))
    assert line == f"twain: cannot start: {words}"
