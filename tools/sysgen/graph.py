# SPDX-License-Identifier: Apache-2.0
# Copyright The Twain authors
"""A picture of who is connected with whom, for Graphviz."""

from __future__ import annotations

import subprocess

from .table import INIT, System

_COLORS = {"driver": "#ECEFF1", "server": "#FFF3E0", "vmm": "#E3F2FD"}


class GraphvizMissing(Exception):
    """Graphviz' dot is not installed, or failed."""


def dot(system: System) -> str:
    lines = [
        "digraph system {",
        "  rankdir=TB;",
        "  bgcolor=white;",
        '  node [shape=box, style="rounded,filled", fontname="Helvetica", fillcolor=white];',
        '  edge [fontname="Helvetica", fontsize=10];',
        f'  label={_q(system.name)}; labelloc=t; fontname="Helvetica";',
    ]
    for process in system.processes:
        text = f"{process.name}\n{process.program}"
        lines.append(f"  {_q(process.name)} [label={_q(text)}, fillcolor={_q(_COLORS[process.role])}];")
        if process.role == "vmm":
            settings = dict(process.settings)
            guest = f"{process.guest}\n{settings['vcpus']} vCPU, {int(settings['ram']) >> 20} MiB"
            node = f"guest {process.guest}"
            lines.append(f'  {_q(node)} [label={_q(guest)}, shape=box, fillcolor="#E8F5E9"];')
            lines.append(f'  {_q(node)} -> {_q(process.name)} [label="exits", dir=both, style=dashed];')
    lines.append(f'  {_q(INIT)} [label="init\\nsupervisor", fillcolor="#F3E5F5"];')
    for obj in system.objects:
        if obj.kind == "device":
            text = f"{obj.name}\n0x{obj.base:x}"
            lines.append(f"  {_q(obj.name)} [label={_q(text)}, shape=component, style=filled];")
            lines.append(f'  {_q(obj.owner)} -> {_q(obj.name)} [label="registers"];')
        if obj.kind == "file":
            lines.append(f"  {_q(obj.name)} [label={_q(obj.module)}, shape=note, style=filled];")
            for user in sorted({m.holder for m in system.mappings if m.object == obj.name}):
                lines.append(f'  {_q(user)} -> {_q(obj.name)} [label="reads", style=dotted];')
    for link in system.links:
        direction = "back" if link.kind == "control" else "both"  # init signals a VMM, never the other way round
        label = _q(f"{link.kind} (line {link.line})")
        lines.append(f"  {_q(link.one)} -> {_q(link.other)} [label={label}, dir={direction}];")
    lines.append("}")
    return "\n".join(lines) + "\n"


def svg(system: System) -> str:
    """Raises GraphvizMissing."""
    try:
        done = subprocess.run(
            ["dot", "-Tsvg"], input=dot(system), capture_output=True, text=True, timeout=60, check=True
        )
    except FileNotFoundError as error:
        raise GraphvizMissing("Graphviz is not installed (package graphviz)") from error
    except (subprocess.SubprocessError, OSError) as error:
        raise GraphvizMissing(f"dot failed: {error}") from error
    return done.stdout


def _q(text: str) -> str:
    escaped = text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
    return f'"{escaped}"'
