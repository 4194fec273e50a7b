# SPDX-License-Identifier: Apache-2.0
# Copyright The Twain authors
"""Where things lie: the checkout, its build directory, the download cache."""

import os
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


def build_root():
    """`build/` of the checkout, or $TWAIN_BUILD (e.g. where the checkout is read-only)."""
    return Path(os.environ.get("TWAIN_BUILD") or ROOT / "build")


def system_dir(name):
    """What belongs to one system: image, logs, command line, control socket."""
    return build_root() / name


def cache_dir():
    """Downloaded packages; shared by all checkouts of a user."""
    base = os.environ.get("TWAIN_CACHE")
    if base:
        return Path(base)
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "twain"


def images_dir():
    return build_root() / "images"


def short(path):
    """The path as a user would type it from where he stands."""
    try:
        return os.path.relpath(path) if os.path.relpath(path).count("..") < 2 else str(path)
    except ValueError:
        return str(path)
