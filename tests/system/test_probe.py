# SPDX-License-Identifier: Apache-2.0
# Copyright The Twain authors
"""The probing guest (tests/probe) beside a Linux guest: it must find its machine as it should be, and do no harm."""

import argparse
import os

import pytest
from twainlib import build, machine
from twainlib.paths import build_root
from twainlib.session import Session
from twainlib.system import describe

pytestmark = pytest.mark.machine
LIMIT = 240


@pytest.fixture(scope="module")
def probe():
    log = build_root() / "tests" / "probe-build.log"
    return build.targets(["target"], log) / "target" / "test" / "probe.bin"


@pytest.mark.parametrize("vcpus, cores, model, gic, level",
                         [(1, 1, "cortex-a57", 3, 2), (2, 2, "max", 3, 2), (4, 4, "cortex-a76", 3, 2), (1, 1, "cortex-a72", 2, 2),
                          (4, 2, "cortex-a53", 2, 2), (1, 1, "cortex-a72", 3, 1), (4, 2, "max", 3, 1)])
def test_probe_passes_and_harms_nobody(probe, vcpus, cores, model, gic, level):
    name = f"probe-{vcpus}"
    config = build_root() / "tests" / f"{name}.toml"
    config.write_text(describe({
        "probe": {"kernel": os.path.relpath(probe, config.parent), "ram": "64M", "vcpus": vcpus, "ready": "PROBE PASS"},
        "witness": {"image": "debian"}}, isolate=True))
    built = build.make(str(config), cpus=cores)
    with machine.boot(built, argparse.Namespace(cpus=cores, cpu=model, gic=gic, el1=level == 1, extra=[])) as broker:
        session = Session(broker)
        session.wait_for("probe", "PROBE (PASS|FAIL.*)", LIMIT, what="the verdict of the probing guest")
        said = [line.text for line in broker.lines if line.tag == "probe"]
        assert not [text for text in said if text.startswith("FAIL")] and "PROBE PASS" in said
        assert sum(text.startswith("ok ") for text in said) > 20
        session.wait_for("witness", "witness READY", LIMIT)
        session.wait_for("witness", ".*Enter 'help'.*", LIMIT)
        assert session.run("witness", "persona", 60)[0] == 0
        processes = session.ask("ps")["processes"]
        assert sum(process["faults"] for process in processes) == 0
        assert {process["state"] for process in processes} == {"running"}
        assert broker.power_off(30)
