# SPDX-License-Identifier: Apache-2.0
# Copyright The Twain authors
"""The lowered table: what it must contain, what holds for every configuration, what the C++ tables say."""

from __future__ import annotations

import json
import random
import re
import shutil
import subprocess
from pathlib import Path

import pytest
import sysgen
from sysgen import abi, cli, emit, expand, schema
from sysgen.table import INIT, SYSTEM, System

ROOT = Path(__file__).resolve().parents[2]
CONFIGS = sorted((ROOT / "configs").glob("*.toml"))
PAGE, BLOCK = 4096, 2 << 20


def lowered(config: Path, **options: object) -> System:
    result = sysgen.check(config, sysgen.Options(**options))  # type: ignore[arg-type]
    assert result.system is not None and not result.diagnostics, [sysgen.render(d) for d in result.diagnostics]
    return result.system


# The mirrored constants


def constants(path: str) -> dict[str, int]:
    text = (ROOT / path).read_text().replace("'", "")
    found = {}
    for statement in re.findall(r"inline constexpr [\w:]+ ([^;{}]*);", text):
        for name, value in re.findall(r"(\w+) = (0x[0-9a-fA-F]+|\d+)(?=\s*(?:,|$))", statement):
            found[name] = int(value, 0)
    return found


def test_rights_are_the_kernels() -> None:
    found = constants("kernel/api/abi.hpp")
    for kind, prefix in abi.ABI_PREFIX.items():
        for right, bit in abi.RIGHTS[kind].items():
            assert found[f"{prefix}_{right}"] == bit, (kind, right)
        names = {n.removeprefix(prefix + "_") for n in found if n.startswith(prefix + "_")}
        assert names == set(abi.RIGHTS[kind]), kind
    assert (found["kPriorities"], found["kMaxCores"], found["kMaxModules"], found["kSlots"]) == (
        abi.PRIORITIES,
        abi.MAX_CORES,
        abi.MAX_MODULES,
        abi.SLOTS,
    )


def test_claim_checker_knows_the_same_rights() -> None:
    from sysgen import claims

    assert claims.KNOWN_RIGHTS == {kind: set(rights) for kind, rights in abi.RIGHTS.items()}


def test_kinds_and_addresses_are_inits() -> None:
    text = (ROOT / "system/init/tables.hpp").read_text()
    kinds = re.search(r"enum class Kind[^{]*\{(.*?)\n\};", text, re.DOTALL)
    assert kinds is not None
    assert re.findall(r"^    (\w+),", kinds[1], re.MULTILINE) == list(abi.KINDS)
    found = constants("system/init/tables.hpp")
    assert (found["kStackTop"], found["kProgramBase"], found["kMapBase"], found["kFirstSlot"]) == (
        abi.STACK_TOP,
        abi.PROGRAM_BASE,
        abi.MAP_BASE,
        abi.FIRST_SLOT,
    )


# What every process finds in its environment


def names(system: System, holder: str) -> tuple[set[str], set[str], set[str]]:
    process = next((p for p in system.processes if p.name == holder), None)
    return (
        {c.name for c in system.capabilities if c.holder == holder},
        {m.name for m in system.mappings if m.holder == holder},
        {key for key, _ in process.settings} if process else set(),
    )


def ring(*rings: str) -> tuple[set[str], set[str], set[str]]:
    return (
        {f"{r}.bell" for r in rings},
        {f"{r}.{p}" for r in rings for p in ("data", "head")},
        {f"{r}.event" for r in rings},
    )


def test_environment_names() -> None:
    system = lowered(ROOT / "configs" / "dual-persona.toml")
    always = ({"events", "timer"}, set(), {"name", "timer.event"})

    def joined(*parts: tuple[set[str], set[str], set[str]]) -> tuple[set[str], ...]:
        return tuple(set().union(*(p[i] for p in parts)) for i in range(3))

    assert names(system, "uart") == joined(always, ring("rx", "tx"), ({"irq", "irq.note"}, {"regs"}, {"irq.event"}))
    assert names(system, "serial") == joined(
        always,
        ring(
            "uart.rx",
            "uart.tx",
            "supervisor.out",
            "supervisor.in",
            "business.out",
            "business.in",
            "personal.out",
            "personal.in",
        ),
        (set(), set(), {"guests", "system", "business.color", "business.label", "personal.color", "personal.label"}),
    )
    for guest, vcpus in (("business", 1), ("personal", 2)):
        per_vcpu = [f"vcpu{n}" for n in range(vcpus)]
        assert names(system, f"vmm.{guest}") == joined(
            always,
            ring("console.out", "console.in"),
            (
                {"guest.ram", "guest.text", "guest.space"} | {v + s for v in per_vcpu for s in ("", ".page", ".thread", ".wake")},
                {"guest.ram", "guest.text", "kernel", "initrd", "stats"} | {v + s for v in per_vcpu for s in (".page", ".stack")},
                {
                    "guest",
                    "vcpus",
                    "ram",
                    "cmdline",
                    "ready",
                    "stacks",
                    "slots.free",
                    "kernel.bytes",
                    "initrd.bytes",
                    "control.event",
                },
            ),
        )
    capabilities, maps, _ = names(system, INIT)
    assert maps == ring("supervisor.out", "supervisor.in")[1]
    assert capabilities == {
        "events",
        "timer",
        "supervisor.out.bell",
        "supervisor.in.bell",
        "vmm.business.control",
        "vmm.personal.control",
    } | {f"{p.name}.cspace" for p in system.processes}
    settings = dict(next(p for p in system.processes if p.name == "serial").settings)
    assert settings["guests"] == "business personal" and settings["business.color"] == "#C62828"


def test_smallest_system_is_small() -> None:
    assert len((ROOT / "configs" / "two-guests.toml").read_text().splitlines()) <= 15


# What holds for every table


def check_table(system: System) -> None:
    order = {o.name: i for i, o in enumerate(system.objects)}
    assert len(order) == len(system.objects)
    for o in system.objects:
        assert not o.sched or order[o.sched] < order[o.name]
        assert not o.space or order[o.space] < order[o.name]
        if o.kind == "ram":
            assert o.bytes and o.bytes % PAGE == 0 and o.bytes % o.align == 0
        if o.kind == "sched":
            assert 0 <= o.core < system.cpus and 0 < o.priority < abi.PRIORITIES - 1
            assert 0 < o.budget_ns <= o.period_ns
    holders = [p.name for p in system.processes] + [INIT]
    for holder in holders:
        slots = [c.slot for c in system.capabilities if c.holder == holder]
        assert (
            slots == [0] * len(slots)
            if holder == INIT
            else slots == list(range(abi.FIRST_SLOT, abi.FIRST_SLOT + len(slots)))
        )
        seen = [c.name for c in system.capabilities if c.holder == holder]
        assert len(set(seen)) == len(seen)
        maps = sorted((m for m in system.mappings if m.holder == holder), key=lambda m: m.address)
        for low, high in zip(maps, maps[1:]):
            assert low.address + low.bytes + PAGE <= high.address, "an unmapped page separates regions"
        for m in maps:
            assert abi.MAP_BASE <= m.address and m.address + m.bytes <= abi.SPACE_END
            assert m.address % (BLOCK if m.name == "guest.ram" else PAGE) == 0
            assert not {"write", "exec"} <= set(m.rights)
    roles = [p.role for p in system.processes]
    assert roles == sorted(roles, key=["driver", "server", "vmm"].index), "start order"
    check_processor_time(system)
    for p in system.processes:
        assert 64 << 10 <= p.pool_bytes <= 16 << 20
        bits = [int(v) for k, v in p.settings if k.endswith(".event")]
        assert sorted(bits) == list(range(len(bits))) and len(bits) <= abi.NOTE_BITS
        assert system.object(p.thread).owner == p.name
    assert not [f for f in sysgen.verify(system.to_json()) if f.code.startswith("E")]


def check_processor_time(system: System) -> None:
    """No core is promised more than it has; whoever is called is above its callers."""
    scheds = {o.name: o for o in system.objects if o.kind == "sched"}
    for core in range(system.cpus):
        assert sum(s.budget_ns / s.period_ns for s in scheds.values() if s.core == core) <= 1.0 + 1e-9
    top = {p.name: scheds[system.object(p.thread).sched].priority for p in system.processes}
    for link in system.links:
        if link.kind == "uses":
            assert top[link.other] > top[link.one]
        if link.kind == "console":
            assert top[link.other] > top[link.one]
    for p in system.processes:
        if p.role == "vmm":
            vcpus = [
                scheds[o.sched]
                for o in system.objects
                if o.kind == "thread" and o.owner == p.name and o.name != p.thread
            ]
            assert all(top[p.name] == s.priority + 1 for s in vcpus)


@pytest.mark.parametrize("config", CONFIGS, ids=lambda p: p.stem)
@pytest.mark.parametrize("cpus", range(1, 9))
def test_shipped_configurations(config: Path, cpus: int) -> None:
    system = lowered(config, cpus=cpus)
    assert system.cpus == cpus
    check_table(system)
    for process in (p for p in system.processes if p.role == "vmm"):
        cores = [
            system.object(o.sched).core
            for o in system.objects
            if o.kind == "thread" and o.owner == process.name and o.name != process.thread
        ]
        assert len(set(cores)) == min(len(cores), cpus), "vCPUs of a guest run on different cores"


def random_config(chance: random.Random) -> str:
    cpus, count = chance.randrange(1, 9), chance.randrange(1, 9)
    out = [
        "schema = 1",
        'board = "qemu-virt"',
        "[board_args]",
        'ram = "4G"',
        f"cpus = {cpus}",
        "[driver.tty]",
        'device = "pl011"',
        "[server.serial]",
        'uses = ["tty"]',
    ]
    for number in range(count):
        out += [f"[guest.g{number}]", 'image = "debian"', 'console = "serial"']
        if chance.random() < 0.7:
            out.append(f'ram = "{chance.randrange(1, 200) * 2}M"')
        if chance.random() < 0.7:
            out.append(f"vcpus = {chance.randrange(1, 5)}")
        if chance.random() < 0.4:
            out.append(f"cores = {sorted(chance.sample(range(cpus), chance.randrange(1, cpus + 1)))}")
        if chance.random() < 0.3:
            out.append(f'budget = "{chance.randrange(1, 4) * 100}us/{chance.randrange(4, 30)}ms"')
        if chance.random() < 0.1:
            out.append("log = true")
    guests = [f"g{n}" for n in range(count)]
    if count > 1:
        out += [
            "[[claim]]",
            f"isolate = {json.dumps(chance.sample(guests, chance.randrange(2, count + 1)))}",
            'shared_servers = ["serial"]',
        ]
    return "\n".join(out) + "\n"


def test_random_configurations(tmp_path: Path) -> None:
    chance = random.Random(3)
    good = leaks = 0
    for _ in range(300):
        path = tmp_path / "random.toml"
        path.write_text(random_config(chance))
        result = sysgen.check(path)
        codes = {d.code for d in result.errors}
        assert codes <= {"E154", "E185"}, [sysgen.render(d) for d in result.errors]
        if "E185" in codes:
            leaks += 1
            assert path.read_text().count("log = true") >= 2
        elif result.system is not None:
            good += 1
            check_table(result.system)
            isolate_all(path, result)
    assert good > 150 and leaks > 0


def isolate_all(path: Path, result: sysgen.Result) -> None:
    """Without licence, a claim fails: both guests have the console."""
    config = result.config
    assert config is not None
    if len(config.guests) < 2 or any(g.log for g in config.guests):
        return
    one, other = config.guests[:2]
    text = path.read_text().split("[[claim]]")[0]
    path.write_text(text + f'[[claim]]\nisolate = ["{one.name}", "{other.name}"]\n')
    failed = {d.code for d in sysgen.check(path).errors}
    assert failed == {"E181"}


def test_expanded_means_the_same(tmp_path: Path) -> None:
    """--expand's output is a description of the same system."""
    for config in CONFIGS:
        result = sysgen.check(config)
        assert result.config is not None and result.system is not None
        path = tmp_path / config.name
        path.write_text(expand.text(result.config))
        again = sysgen.check(path)
        assert again.system is not None and not again.diagnostics

        def bare(system: System) -> object:
            data = json.loads(system.to_json())
            for key in ("config", "config_sha256"):
                del data[key]
            return json.loads(re.sub(r'"(line|col)": \d+', r'"\1": 0', json.dumps(data)))

        assert bare(again.system) == bare(result.system)


def test_expand_marks_each_default(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["check", "--expand", str(ROOT / "configs" / "two-guests.toml")]) == 0
    text = capsys.readouterr().out
    assert 'ram = "256M"  # default' in text and 'program = "drv-pl011"  # default' in text
    assert 'console = "serial"\n' in text


def test_claims_hash_depends_on_claims_alone(tmp_path: Path) -> None:
    text = (ROOT / "configs" / "two-guests.toml").read_text()
    variants = [
        text,
        "# a comment\n" + text,
        text.replace('shared_servers = ["serial"]', 'shared_servers = ["serial", "console"]') + "[server.console]\n",
    ]
    hashes = []
    for variant in variants:
        path = tmp_path / "x.toml"
        path.write_text(variant)
        system = sysgen.check(path).system
        assert system is not None
        hashes.append((system.config_sha256, system.claims_sha256))
    assert hashes[0][0] != hashes[1][0] and hashes[0][1] == hashes[1][1] != hashes[2][1]


# Generated files


def test_generate(built: tuple[Path, Path], tmp_path: Path) -> None:
    programs, files = built
    arguments = [
        "generate",
        str(ROOT / "configs" / "two-guests.toml"),
        "--programs",
        str(programs),
        "--files",
        str(files),
        "--out",
        str(tmp_path),
    ]
    assert cli.main(arguments) == 0
    before = {p.name: (p.read_bytes(), p.stat().st_mtime_ns) for p in tmp_path.iterdir()}
    assert set(before) == set(emit.FILES)
    assert cli.main(arguments) == 0
    assert {
        p.name: (p.read_bytes(), p.stat().st_mtime_ns) for p in tmp_path.iterdir()
    } == before, "same input, same files"
    manifest = json.loads(before["manifest.json"][0])["files"]
    assert [f["name"] for f in manifest] == [
        "drv-pl011",
        "srv-console",
        "vmm",
        "debian/vmlinux",
        "business.cpio.gz",
        "personal.cpio.gz",
    ]
    assert all(Path(f["path"]).is_file() and len(f["name"]) <= abi.MODULE_NAME for f in manifest)
    expect = json.loads(before["expect.json"][0])
    assert (expect["compatible"], expect["gic_versions"], expect["cores"]) == ("linux,dummy-virt", [2, 3], 2)
    assert 512 << 20 <= expect["min_ram"] <= expect["ram"] == 1 << 30
    system = json.loads(before["system.json"][0])
    assert system["complete"]
    for process in system["processes"]:
        assert [s["rights"] for s in process["segments"]] == [["read", "exec"], ["read"], ["read", "write"]]
        assert process["entry"] == 0x400000


def test_missing_build_is_an_error(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    config = str(ROOT / "configs" / "two-guests.toml")
    assert (
        cli.main(
            ["generate", config, "--programs", str(tmp_path), "--files", str(tmp_path), "--out", str(tmp_path / "o")]
        )
        == 1
    )
    text = capsys.readouterr().err
    assert text.count("error[E190]") == 8 and not (tmp_path / "o").exists()


def test_check_does_not_wait_for_the_build(tmp_path: Path) -> None:
    """What the build or the tool will make may be missing until something is generated."""
    result = sysgen.check(ROOT / "configs" / "two-guests.toml", sysgen.Options(tmp_path, tmp_path))
    assert result.exit_code == 0 and result.system is not None and not result.system.complete


def test_failed_claim_generates_nothing(tmp_path: Path) -> None:
    config = tmp_path / "leak.toml"
    config.write_text((ROOT / "configs" / "two-guests.toml").read_text().replace('shared_servers = ["serial"]', ""))
    assert cli.main(["generate", str(config), "--out", str(tmp_path / "o")]) == 3
    assert not (tmp_path / "o").exists()


@pytest.mark.skipif(shutil.which("g++") is None, reason="no host compiler")
def test_compiled_tables_are_the_judged_ones(built: tuple[Path, Path], tmp_path: Path) -> None:
    """tables.cpp, compiled with all warnings, says what system.json says."""
    programs, files = built
    config = tmp_path / "x.toml"
    text = (ROOT / "configs" / "dual-persona.toml").read_text()
    text = text.replace('ram     = "384M"', 'ram     = "384M"\ncmdline = "console=ttyAMA0 a=\\"b\\\\c\\" ??= é"')
    config.write_text(text)
    system = lowered(config, programs=programs, files=files, cpus=4)
    emit.write(system, tmp_path)
    here = Path(__file__).resolve().parent
    subprocess.run(
        [
            "g++",
            "-std=c++20",
            "-Wall",
            "-Wextra",
            "-Wconversion",
            "-Werror",
            "-pedantic",
            f"-I{ROOT}",
            str(tmp_path / "tables.cpp"),
            str(here / "dump_tables.cpp"),
            "-o",
            str(tmp_path / "dump"),
        ],
        check=True,
    )
    dump = json.loads(subprocess.run([tmp_path / "dump"], capture_output=True, check=True).stdout)
    data = json.loads(system.to_json())
    index = {o["name"]: i for i, o in enumerate(data["objects"])}
    kind = {o["name"]: o["kind"] for o in data["objects"]}
    process = [p["name"] for p in data["processes"]]

    def mask(name: str, rights: list[str]) -> int:
        return sum(abi.RIGHTS[kind[name]][r] for r in rights)

    def capabilities(holder: str) -> list[object]:
        return [
            [c["slot"], index[c["object"]], mask(c["object"], c["rights"]), c["badge"], c["name"], c["line"]]
            for c in data["capabilities"]
            if c["holder"] == holder
        ]

    def maps(holder: str) -> list[object]:
        return [
            [index[m["object"]], m["offset"], m["bytes"], m["address"], mask(m["object"], m["rights"]), m["name"]]
            for m in data["mappings"]
            if m["holder"] == holder
        ]

    ab = {
        "ram": ("bytes", "align"),
        "device": ("base", "bytes"),
        "irq": ("intid", "edge"),
        "sched": ("budget_ns", "period_ns"),
    }
    for o, row in zip(data["objects"], dump["objects"], strict=True):
        a, b = (int(o[f]) for f in ab[o["kind"]]) if o["kind"] in ab else (0, 0)
        if o["kind"] == "vcpu":
            a, b = o["affinity"], index[o["space"]]
        if o["kind"] == "thread":
            a = index[o["sched"]]
        owner = abi.SYSTEM_OWNER if o["owner"] == SYSTEM else process.index(o["owner"])
        assert row == [
            o["name"],
            abi.KINDS.index(o["kind"]),
            o["priority"],
            o["core"],
            int(o["hard"]),
            owner,
            o["line"],
            a,
            b,
            o["module"],
        ]
    for p, row in zip(data["processes"], dump["processes"], strict=True):
        assert row == {
            "name": p["name"],
            "role": ["driver", "server", "vmm"].index(p["role"]),
            "guest": p["guest"],
            "program": p["program"],
            "entry": p["entry"],
            "stack": p["stack_bytes"],
            "pool": p["pool_bytes"],
            "thread": index[p["thread"]],
            "settings": p["settings"],
            "segments": [
                [
                    s["file_offset"],
                    s["file_bytes"],
                    s["address"],
                    s["bytes"],
                    sum(abi.RIGHTS["ram"][r] for r in s["rights"]),
                ]
                for s in p["segments"]
            ],
            "capabilities": capabilities(p["name"]),
            "maps": maps(p["name"]),
        }
    assert (dump["init"], dump["init_maps"]) == (capabilities(INIT), maps(INIT))
    assert (dump["name"], dump["config"], dump["claims"]) == (
        data["name"],
        data["config_sha256"],
        data["claims_sha256"],
    )


def test_explicit_files(built: tuple[Path, Path], tmp_path: Path) -> None:
    """Paths are relative to the description; one file that two guests name is one archive file."""
    programs, files = built
    shutil.copy(files / "debian" / "vmlinux", tmp_path / "Image")
    shutil.copy(files / "business.cpio.gz", tmp_path / "a very long name of an initial ram disk, too long.cpio.gz")
    config = tmp_path / "x.toml"
    config.write_text(
        """schema = 1
board = "qemu-virt"
[guest.a]
kernel = "Image"
initrd = "a very long name of an initial ram disk, too long.cpio.gz"
console = "serial"
[guest.b]
kernel = "./Image"
initrd = "a very long name of an initial ram disk, too long.cpio.gz"
console = "serial"
[server.serial]
uses = ["uart"]
[driver.uart]
device = "pl011"
[[claim]]
isolate = ["a", "b"]
shared_servers = ["serial"]
"""
    )
    system = lowered(config, programs=programs)
    assert [m.name for m in system.modules][3:] == [
        "Image",
        "a_very_long_name_of_an_initial_ram_disk__too_long.cpio.gz"[-43:],
    ]
    assert [o.parties for o in system.objects if o.kind == "file"] == [("vmm.a", "vmm.b")] * 2


# Board facts


@pytest.mark.skipif(shutil.which("qemu-system-aarch64") is None, reason="no QEMU")
def test_board_is_qemus(tmp_path: Path) -> None:
    from sysgen import board

    path = tmp_path / "virt.dtb"
    subprocess.run(
        [
            "qemu-system-aarch64",
            "-M",
            f"virt,virtualization=on,gic-version=3,dtb-randomness=off,dumpdtb={path}",
            "-cpu",
            "max",
            "-smp",
            "4",
            "-m",
            "2G",
            "-nodefaults",
            "-display",
            "none",
        ],
        check=True,
        timeout=30,
        capture_output=True,
    )
    stored = board.builtin_directory() / "qemu-virt.toml"
    copy = tmp_path / "qemu-virt.toml"
    copy.write_text(stored.read_text().replace("qemu-virt.dtb", str(path)))
    assert board.load(copy) == board.load(stored)


def test_priority_classes_fit_the_kernel() -> None:
    ordered = [schema.CLASSES[c] for c in ("driver", "server", "ui", "guest")]
    assert ordered == sorted(ordered, reverse=True) and max(ordered) < abi.PRIORITIES - 1 and min(ordered) > 0
    assert all(high - low > 1 for high, low in zip(ordered, ordered[1:])), "room for the VMM's event loop"
