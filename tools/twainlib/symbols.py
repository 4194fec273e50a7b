# SPDX-License-Identifier: Apache-2.0
# Copyright The Twain authors
"""Names the functions behind the addresses of a kernel panic, with the symbols of exactly that build."""

import json
import re
import shutil
import subprocess
from pathlib import Path

from .errors import Exit, TwainError
from .lines import END_OF_PANIC

_BUILD_ID = re.compile(r"build(?:[ -]id)?[ :=]+([0-9a-f]{12,64})", re.IGNORECASE)
_ADDRESS = re.compile(r"\b(?:0x)?([0-9a-f]{8,16})\b", re.IGNORECASE)


def symbolize(text, build_root):
    """Returns the text's panic with a name behind each address that lies in the kernel."""
    starts = [match.start() for match in re.finditer(r"panic: ", text)]
    if not starts:
        raise TwainError(Exit.USAGE, "there is no panic in it")
    begin = text.rfind("\n", 0, starts[-1]) + 1
    lines = text[begin:].split(END_OF_PANIC)[0].splitlines()
    identity = _BUILD_ID.search(text, begin) or _BUILD_ID.search(text)
    numbers = {int(match[1], 16) for line in lines for match in _ADDRESS.finditer(line)}
    kernel, wanted = None, []
    for candidate in find_kernels(build_root, identity[1] if identity else None):  # one for each exception level
        low, high = text_range(candidate)
        inside = sorted(number for number in numbers if low <= number < high)
        if kernel is None or len(inside) > len(wanted):
            kernel, wanted = candidate, inside
    names = _resolve(kernel, wanted)
    result = [f"symbols: {kernel}" + (f" (build {identity[1]})" if identity else " (the panic names no build)")]
    for line in lines:
        found = [names[address] for match in _ADDRESS.finditer(line) if (address := int(match[1], 16)) in names]
        result.append(line.rstrip() + (f"    <- {'; '.join(found)}" if found else ""))
    return "\n".join(result)


def find_kernels(build_root, identity):
    """The kernels' ELF files of the image with this build id (the packer notes both beside the image)."""
    notes = sorted(build_root.rglob("*.bin.json"), key=lambda path: -path.stat().st_mtime)
    for note in notes:
        try:
            facts = json.loads(note.read_text())
            kernels = [Path(kernel["elf"]) for kernel in facts["kernels"].values()]
        except (OSError, ValueError, KeyError, TypeError):
            continue
        if identity is None or facts.get("build_id", "").startswith(identity):
            if kernels and all(path.is_file() and path.stat().st_mtime <= note.stat().st_mtime for path in kernels):
                return kernels
            raise TwainError(Exit.USAGE, f"the kernel has been built again since the image of build {facts.get('build_id')}",
                             hint="its addresses would get wrong names")
    raise TwainError(Exit.USAGE, f"there is no image of build {identity} here" if identity else "nothing has been built here")


def tool(name):
    for prefix in ("aarch64-linux-gnu-", "aarch64-none-elf-", ""):
        if shutil.which(prefix + name):
            return prefix + name
    raise TwainError(Exit.MISSING, f"{name} is not installed", hint="run `tools/twain setup`")


def text_range(kernel):
    text = subprocess.run([tool("readelf"), "-lW", kernel], capture_output=True, text=True, check=True).stdout
    loads = [line.split() for line in text.splitlines() if line.strip().startswith("LOAD") and "E" in line.split()[6:-1]]
    if not loads:
        raise TwainError(Exit.RUN, f"{kernel} has no code")
    return (min(int(load[2], 16) for load in loads), max(int(load[2], 16) + int(load[5], 16) for load in loads))


def _resolve(kernel, addresses):
    if not addresses:
        return {}
    output = subprocess.run([tool("addr2line"), "-f", "-C", "-e", kernel, *(hex(address) for address in addresses)],
                            capture_output=True, text=True, check=True).stdout.splitlines()
    return {address: f"{output[2 * i]} at {output[2 * i + 1]}" for i, address in enumerate(addresses)}
