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
    parts += [text for guest in answer.get("guests", []) for text in _guest(guest, second)]
    return "\n\n".join(parts)


def _guest(guest, second):
    """What a guest's time goes to, and what it leaves its vCPUs for."""
    vcpus = {f"vcpu{vcpu['vcpu']}": vcpu for vcpu in guest.get("vcpus", [])}
    lost = f", {guest['console_dropped']} characters of its console lost" if guest.get("console_dropped") else ""
    yield f"guest {guest.get('guest')}: booted {'once' if guest.get('boots') == 1 else str(guest.get('boots')) + ' times'}{lost}"
    times = next((list(vcpu["time"]) for vcpu in vcpus.values()), [])
    yield table([{"time": part, **{name: _share(vcpu["time"], part, second) for name, vcpu in vcpus.items()}} for part in times],
                ["time", *vcpus])
    rows = [{"exits": title, **{name: f"{vcpu[key]:>8}" for name, vcpu in vcpus.items()}} for key, title in _EXITS.items()]
    causes = {cause: each["part"] for vcpu in vcpus.values() for cause, each in vcpu["causes"].items() if each["exits"]}
    rows += [{"exits": f"  {cause}", "part": part, **{name: _cost(vcpu["causes"][cause], second) for name, vcpu in vcpus.items()}}
             for cause, part in causes.items()]
    rows += [{"exits": event, **{name: f"{vcpu['events'][event]:>8}" for name, vcpu in vcpus.items()}}
             for event in dict.fromkeys(event for vcpu in vcpus.values() for event, n in vcpu["events"].items() if n)]
    yield table(rows, ["exits", "part", *vcpus])


_EXITS = {"exits": "all", "exits_irq": "interrupts", "exits_wfi": "waits", "exits_vmm": "to the VMM, for"}


def _share(time, part, second):
    return f"{time[part] / second:>10.3f} s {100 * time[part] / (time['wall'] or 1):>5.1f} %"


def _cost(cause, second):
    """How often, and how long each."""
    return f"{cause['exits']:>8} x {cause['ticks'] / (cause['exits'] or 1) / second * 1e6:>8.2f} us"


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
