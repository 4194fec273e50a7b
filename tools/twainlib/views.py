# SPDX-License-Identifier: Apache-2.0
# Copyright The Twain authors
"""The supervisor's answers for people. What is not known here is shown as it came."""

import json


def render(answer):
    kind = answer.get("cmd") if isinstance(answer, dict) else None
    if kind in _VIEWS:
        return _VIEWS[kind](answer)
    return _plain(answer)


def table(rows, columns):
    """Rows (dictionaries) as aligned columns; columns that nobody fills are left out."""
    columns = [name for name in columns if any(row.get(name) not in (None, "") for row in rows)]
    cells = [columns] + [[_cell(row.get(name, "")) for name in columns] for row in rows]
    widths = [max(len(row[i]) for row in cells) for i in range(len(columns))]
    return "\n".join("  ".join(cell.ljust(width) for cell, width in zip(row, widths)).rstrip() for row in cells)


def _ps(answer):
    rows = [{**process, "memory": _size(process.get("memory", 0)), "threads": len(process.get("threads", []))}
            for process in answer.get("processes", [])]
    text = table(rows, ["name", "role", "guest", "program", "state", "faults", "restarts", "memory", "threads"])
    for process in answer.get("processes", []):
        if fault := process.get("fault"):
            text += f"\n{process['name']}: {fault.get('reason')} fault at {fault.get('address')}, pc {fault.get('pc')}"
    return text


def _caps(answer):
    parts = []
    for process in answer.get("processes", []):
        parts.append(f"{process['name']} ({process.get('state', '')})")
        rows = [{**cap, "rights": ",".join(cap.get("rights", [])), "badge": hex(cap["badge"]) if cap.get("badge") else ""}
                for cap in process.get("caps", [])]
        parts.append(table(rows, ["slot", "type", "object", "rights", "badge", "base", "bytes"]))
        rows = [{**mapping, "rights": ",".join(mapping.get("rights", []))} for mapping in process.get("maps", [])]
        parts.append(table(rows, ["address", "bytes", "object", "rights", "base"]) + "\n")
    return "\n".join(parts).rstrip()


def _stat(answer):
    second = answer.get("ticks_per_second") or 1
    parts = [f"up {answer.get('ticks', 0) / second:.1f} s, {_size(answer.get('free_memory', 0))} of memory free"]
    cores = [{**core, "idle": _seconds(core.get("idle_ticks", 0), second)} for core in answer.get("cores", [])]
    threads = [{**thread, "used": _seconds(thread.get("ticks", 0), second)} for thread in answer.get("threads", [])]
    parts.append(table(cores, ["core", "idle"]))
    parts.append(table(threads, ["name", "process", "used", "core", "priority"]))
    if answer.get("vcpus"):
        parts.append(table(answer["vcpus"], ["name", "exits", "exits_vmm", "exits_irq", "exits_wfi"]))
    rows = [{"guest": machine.get("guest"), **vcpu} for machine in answer.get("machines", []) for vcpu in machine.get("vcpus", [])]
    if rows:
        parts.append(table(rows, ["guest", *(key for key in rows[0] if key != "guest" and any(row.get(key) for row in rows))]))
    return "\n\n".join(parts)


def _changed(answer):
    again = f", made again in {answer['restart_ms']} ms" if "restart_ms" in answer else ""
    return f"{answer.get('process', '')}: {answer.get('state', 'done')}{again}"


def _plain(answer):
    if not isinstance(answer, dict):
        return json.dumps(answer)
    return "\n".join(f"{key}: {_cell(value)}" for key, value in answer.items() if key not in ("ok", "cmd")) or "ok"


_VIEWS = {"ps": _ps, "caps": _caps, "stat": _stat, "kill": _changed, "reboot": _changed}


def _cell(value):
    return json.dumps(value) if isinstance(value, (dict, list)) else str(value)


def _size(count):
    for unit, size in (("G", 1 << 30), ("M", 1 << 20), ("K", 1 << 10)):
        if count >= size:
            return f"{count / size:.1f}{unit}".replace(".0", "")
    return str(count)


def _seconds(ticks, second):
    return f"{ticks / second:.3f} s"
