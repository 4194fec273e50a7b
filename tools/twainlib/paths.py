# SPDX-License-Identifier: Apache-2.0
# Copyright The Twain authors
"""Where things lie: the checkout, its build directory, the download cache."""

import os
import shutil
from pathlib import Path

from .errors import Exit, TwainError

ROOT = Path(__file__).resolve().parents[2]


def build_root():
    """`build/` of the checkout, or $TWAIN_OUTPUT (e.g. where the checkout is read-only)."""
    return Path(os.environ.get("TWAIN_OUTPUT") or ROOT / "build")


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


_TAG = "CACHEDIR.TAG"  # bford.info/cachedir: backup programs skip such a directory, and we remove no other
_SIGNATURE = "Signature: 8a477f597d28d172789f06886806bc55\n"


def own_directory(path):
    """Makes a directory (the build's, the cache's) and marks it as one that can be removed as a whole."""
    path.mkdir(parents=True, exist_ok=True)
    tag = path / _TAG
    if not tag.is_file() and not any(path.iterdir()):
        tag.write_text(_SIGNATURE + "# Made by tools/twain; `tools/twain clean` removes it.\n")
    return path


def remove_tree(path):
    """Removes such a directory; whatever else a variable may name by mistake stays."""
    if not path.exists():
        return
    tag = path / _TAG
    ours = path in (ROOT / "build", Path.home() / ".cache" / "twain")
    if not ours and not (tag.is_file() and tag.read_text(errors="replace").startswith(_SIGNATURE)):
        raise TwainError(Exit.USAGE, f"{path} is not a directory of ours", hint=f"there is no {_TAG} in it")
    shutil.rmtree(path)
