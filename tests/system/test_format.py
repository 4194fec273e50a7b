# SPDX-License-Identifier: Apache-2.0
# Copyright The Twain authors
"""All C++ is as clang-format writes it."""

import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
FOLDERS = ("kernel", "libs", "vmm", "drivers", "system", "tools", "tests")


@pytest.mark.skipif(shutil.which("clang-format") is None, reason="no clang-format")
def test_format():
    files = sorted(path for folder in FOLDERS for path in (ROOT / folder).rglob("*.[ch]pp"))
    assert len(files) > 300
    done = subprocess.run(["clang-format", "--dry-run", "-Werror", *files], capture_output=True, text=True)
    assert done.returncode == 0, "run: ninja -C build/cmake-release format\n" + done.stderr[-2000:]
