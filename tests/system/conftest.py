# SPDX-License-Identifier: Apache-2.0
# Copyright The Twain authors
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tools"))


def pytest_configure(config):
    config.addinivalue_line("markers", "machine: boots the real system in QEMU")
