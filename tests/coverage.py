#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
# Copyright The Twain authors
"""Which check covers what: every method and system call of the kernel × its documented errors × the hard cases listed
here, and every numbered message of the configuration checker.

    tests/coverage.py            compares tests/coverage.md with the sources; exit 1 on a gap or if it is out of date
    tests/coverage.py --write    writes it; exit 1 on a gap

What a method is comes from kernel/api/abi.hpp, its documented errors from docs/kernel-api.md; the table below must hold
at least those. A check is a literal METHOD/ERROR or METHOD/CASE in tests/kernel, which prints it when the check was made
(test_kernel.py sees to that); `unit:TITLE` names a test case of tests/unit/kernel."""

import argparse
import re
import sys
from dataclasses import dataclass, field
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
ABI = ROOT / "kernel/api/abi.hpp"
DOCS = ROOT / "docs/kernel-api.md"
KERNEL_TESTS = ROOT / "tests/kernel"
UNIT_TESTS = ROOT / "tests/unit/kernel"
BAD_CONFIGS = ROOT / "tests/config/bad"
CODE_PAGES = ROOT / "tools/sysgen/explain"
OUTPUT = ROOT / "tests/coverage.md"


@dataclass
class Entry:
    errors: str = ""
    cases: str = ""
    impossible: dict = field(default_factory=dict)  # error: why nothing can provoke it
    unit: tuple = ()  # titles of host tests for further hard cases


ROOT_ONLY = "exclusive memory is a root of the derivation tree or split from one: level 0, and nothing revokes it"
SAME_MAPPING = "mapping capabilities cannot be copied, so all have all rights"

TABLE = {
    # ---- system calls
    "call": Entry(
        "bad_slot bad_type rights no_server cancelled",
        "passive_server passive_waits_for_budget six_words badge forged_tag queued queue_order answered nested donates_priority donates_time budget_ends_in_service "
        "server_goes_on_with_its_own caller_waits_for_its_budget caller_goes_on_with_new_budget budget_ends_two_calls_deep passes_capability "
        "receive_slot_taken no_receive_slot passes_nothing mapping_stays passed_is_derived remote remote_uses_the_servers_time "
        "from_all_cores remote_passes_capability remote_queued remote_served remote_again other_space thread_pointer server_waits "
        "served",
        {},
        ("calls from other cores are delivered in the order in which they were made",
         "a passive server refuses calls from other cores, a few at once",
         "call and reply_wait: six words and the badge, and the time goes along",
         "random calls, replies, stops and removals leave every thread in exactly one place")),
    "reply_wait": Entry("bad_slot bad_type rights no_server cancelled", "label_only bound_notification passes_capability "
                        "other_space thread_pointer signal_meanwhile"),
    "wait": Entry("bad_slot bad_type rights busy no_server timeout cancelled",
                  "sleeps takes_all_bits bound_finds_bits not_before_the_deadline past_deadline bits_before_deadline timers_in_order free_again"),
    "signal": Entry("bad_slot bad_type rights", "passive_server_sleeps bits_gather wakes unbadged_is_one remote from_all_cores"),
    "vcpu_run": Entry(
        "bad_slot bad_type rights busy cancelled bad_arg",
        "hvc smc registers_go_in counts_exits says_when_it_was_left says_how_long_it_was_away mmio_load mmio_store fetch_abort "
        "trapped_registers set_way_traps unknown_hvc "
        "pstate_sanitized pstate_kept wfi_ends_by_timer wfi_counts timer_in_the_past sleeps_in_wfi busy_while_it_sleeps two_guests "
        "timer_of_unloaded_vcpu again_after_stop fp_registers_apart hostile_el1_registers hostile_mdscr hostile_has_its_own "
        "hostile_offset moves_between_cores page_goes_meanwhile shadow "
        "steps_user steps_kernel steps_nobody"),
    "invoke": Entry("bad_slot"),
    "yield": Entry("", "takes_turns not_to_lower keeps_fp_registers"),
    "log": Entry("bad_slot rights bad_arg", "nothing"),
    # ---- methods
    "pool.create": Entry("rights dying depth bad_slot no_memory occupied bad_arg bad_type",
                         "cycles ten_thousand_cycles many nothing_left_behind revoke_gives_back again_after_revoke no_smmu dma_guest",
                         unit=("blocks never overlap, and buddies merge",
                               "every kind of object comes and goes, 1000 times, without a trace")),
    "pool.stat": Entry("", "all_bytes"),
    "pool.split": Entry("rights dying depth bad_slot no_memory occupied bad_arg",
                        "failure_takes_nothing bounds of_a_part comes_back goes_with_the_whole",
                        {},
                        ("pools that are split and taken back in any order have exactly what they had",
                         "a pool whose parts have come back is wiped as a whole")),
    "cspace.copy": Entry("rights bad_slot no_memory occupied dying depth busy bad_type bad_arg",
                         "keeps_badge rights_only_shrink beside_no_memory failure_takes_nothing",
                         unit=("capability spaces, memory and references behave as the naive model says",)),
    "cspace.remove": Entry("rights bad_slot busy",
                           "copy takes_children object_lives_on first_capability holds_itself takes_what_is_inside no_leak "
                           "of_running_thread from_all_cores in_steps dma_mapping dma_nothing_stale dma_space dma_pool dma_all_streams"),
    "cspace.revoke": Entry("rights bad_slot",
                           "deep_tree wide_tree itself_stays derive_again no_leak nothing_to_do preempted copied_meanwhile dma_memory"),
    "cspace.inspect": Entry("rights bad_slot", "empty badge exclusive memory mapping device"),
    "memory.split": Entry("rights busy bad_arg bad_slot no_memory occupied", "two_parts siblings_apart",
                          {"dying": ROOT_ONLY, "depth": ROOT_ONLY}),
    "memory.derive": Entry("bad_arg dying depth busy bad_slot no_memory occupied",
                           "sum_wraps rights_only_shrink place never_exclusive"),
    "memory.make_pool": Entry("rights busy bad_slot no_memory occupied bad_arg", "free_again wiped_after device any_size",
                              {"dying": ROOT_ONLY, "depth": ROOT_ONLY,
                               "bad_type": "device memory is never exclusive, so it lacks the right first: "
                                           "see memory.make_pool/device"}),
    "space.map": Entry("rights bad_slot bad_type bad_arg dying depth busy no_memory occupied unsupported",
                       "sum_wraps write_or_execute device_never_runs nothing_left_behind partial_taken_back no_leak read "
                       "read_only no_execute block_over_empty_table page_in_block unaligned_is_pages preempted guest_read_only "
                       "other_space_is_empty interface interface_of_process taken_back_in_steps into_dying_space gigabyte dma_device dma_exec "
                       "dma_block_over_pages",
                       unit=("descriptors are as large as alignment and length allow", "a page table is a map from pages to pages")),
    "mapping.protect": Entry("bad_arg rights", "more less execute inspect block gigabyte preempted remote dma dma_exec",
                             {}, ("rights change in place",)),
    "thread.configure": Entry("rights busy bad_slot bad_type dying depth bad_arg occupied", "all_or_nothing exhausted_sched passive_server dma_space"),
    "thread.start": Entry("rights busy bad_arg", "runs registers_zero fp_registers_zero remote"),
    "thread.stop": Entry("rights", "stops twice queued_caller served_caller caller_of_passive_server server waiter runs_guest remote remote_caller "
                                   "remote_server hundreds_of_loans", unit=("stop undoes whatever a thread waits for",)),
    "thread.resume": Entry("rights busy bad_arg", "goes_on faulted remote call_is_over wait_is_over call_is_made_again"),
    "thread.read": Entry("rights bad_arg", "general past_the_end faulted"),
    "thread.write": Entry("rights busy bad_arg", "general pstate_sanitized thread_pointer redirects faulted"),
    "thread.receive": Entry("rights bad_slot", "none"),
    "thread.state": Entry("rights", "ready used fault no_fault_any_more"),
    "sched.configure": Entry("rights bad_arg busy",
                             "higher_goes_first raised_while_ready equals_take_turns bad_changes_nothing new_budget other_core "
                             "remote moves_fp_registers"),
    "sched.stat": Entry("rights", "values"),
    "reply.capture": Entry("rights busy no_server", "caller next_caller from_two_cores"),
    "reply.send": Entry("rights busy", "five_words sixth_is_zero other_waits caller_stopped remote",
                        unit=("two cores answer through one reply object: the first wins",)),
    "notification.arm": Entry("rights busy", "signals disarm past again_replaces many hundreds_at_once hundreds_in_order remote from_all_cores",
                              unit=("timers behave like a sorted map",)),
    "irq.bind": Entry("rights bad_slot bad_type occupied dying depth",
                      "binds unbinds signals unbound_is_silent again remote_core"),
    "irq.ack": Entry("rights", "not_before level_comes_again quiet next nothing_there"),
    "vcpu.page": Entry("rights busy occupied bad_slot bad_type bad_arg dying depth", "version affinity"),
    "vcpu.kick": Entry("rights bad_arg",
                       "nobody_runs_it sleeping look exit_from_sleep exit_from_loop kept_for_the_next_run remote remote_look"),
    "vcpu.sync": Entry("rights bad_arg busy", "el1 changes_go_in fp remote"),
    "vcpu.fill": Entry("rights unsupported busy bad_arg no_memory", "installs translates reuses"),
    "vcpu.view": Entry("rights unsupported busy bad_arg no_memory", "makes while_entering"),
    "vcpu.drop": Entry("rights unsupported busy bad_arg", "nothing_there page root fragments in_steps"),
    "system.make_sched": Entry("rights bad_slot bad_type dying depth no_memory occupied bad_arg", "no_leak"),
    "system.make_irq": Entry("rights bad_slot bad_type dying depth no_memory occupied bad_arg"),
    "system.make_memory": Entry("rights bad_slot no_memory occupied bad_arg dying depth",
                                "sum_wraps never_ram never_gic never_smmu never_runs rights_of_devices"),
    "system.power": Entry("rights unsupported"),
    "system.log_read": Entry("rights", "reads_back end future"),
    "system.uart": Entry("rights bad_arg", "silent"),
    "system.attach": Entry("rights bad_slot bad_type bad_arg occupied", "reaches_what_is_mapped and_nothing_else again two_spaces "
                           "detached many all_streams no_smmu",
                           {"unsupported": "only without an SMMU: see system.attach/no_smmu",
                            "timeout": "QEMU's SMMU always answers: see the host test"},
                           ("an SMMU that does not answer makes a removal fail, and what it may use stays where it is",)),
    "system.dma_fault": Entry("rights", "of_unattached of_unmapped of_read_only after_the_space flood no_smmu",
                              {"unsupported": "only without an SMMU: see system.dma_fault/no_smmu"}),
    "system.firmware": Entry("rights bad_arg", "unknown hypervisor",
                             {"unsupported": "every machine of the tests has firmware that answers: see the host test"},
                             ("a firmware call is passed on, but none that would take the machine from the kernel",)),
    "system.info": Entry("rights bad_arg", "values idle_counts idle_of_other_core"),
    # ---- what is no method
    "registers": Entry("", "between_processes between_guests from_guest_to_process from_process_to_guest"),
    "tags.host": Entry("", "many_at_once in_use"),
    "tags.guest": Entry("", "many one_after_the_other"),
    "fault": Entry("", "kind badge syndrome address thread_id pc_sp is_a_call deferred_reply reply_goes_on reply_stops no_handler "
                       "queued handler_gone keeps_registers", unit=("faults are calls; the answer decides",)),
    "vcpu.posted": Entry("", "delivered retired priority many all_urgencies more_than_entries notify notify_no_more "
                              "sender ends_unloaded no_such_interrupt "
                             "picture core_sleeps",
                         unit=("no posted interrupt is lost, doubled or reordered against priority",
                               "however many wait, the most urgent are in the registers, each of which was touched at most twice")),
    "vcpu.recalled": Entry("", "pending", unit=("recall takes back what is pending, not what is active",)),
    "sched.budget": Entry("", "hard_limit rest_for_others background background_is_lowest remote in_any_window all_of_it tiny"),
    # removing an object while it is in use
    "thread.remove": Entry("", "running caller remote remote_server",
                           unit=("a thread that is removed is gone from every queue",)),
    "sched.remove": Entry("", "of_running_thread another_one of_receiver remote"),
    "endpoint.remove": Entry("", "queued_caller receiver queued_fault remote remote_callers in_steps hundreds_of_callers hundreds_on_their_way"),
    "reply.remove": Entry("", "caller_waits remote"),
    "notification.remove": Entry("", "waiter bound armed bound_to_irq remote_waiter"),
    "irq.remove": Entry("", "line_free_again unacknowledged"),
    "mapping.remove": Entry("", "unmaps block gigabyte preempted guest remote shadow while_filling"),
    "memory.revoke": Entry("", "unmaps takes_state_page"),
    "space.remove": Entry("", "with_mappings of_faulted_thread of_vcpu remote_runs_in_it in_steps"),
    "vcpu.remove": Entry("", "running remote_running"),
}

# Sections of docs/kernel-api.md and what abi.hpp calls them.
SECTIONS = {"Pool": "pool", "Capability space": "cspace", "Memory": "memory", "Space": "space", "Mapping": "mapping",
            "Thread": "thread", "Scheduling context": "sched", "Reply": "reply", "Notification": "notification",
            "Interrupt": "irq", "vCPU": "vcpu", "System": "system"}


# ---------------------------------------------------------------------------------------------- what there is


def methods():
    """Every method of abi.hpp as TYPE.METHOD, and every system call."""
    text = ABI.read_text()
    found = re.findall(r"(\w+) = \d+,\s+//", re.search(r"enum class Sys .*?\};", text, re.DOTALL)[0])
    for type_name, body in re.findall(r"namespace (\w+) \{(.*?)\n\}  // namespace", text, re.DOTALL):
        if match := re.search(r"enum Method : std::uint32_t \{(.*?)\}", body, re.DOTALL):
            found += [f"{type_name}.{name}" for name in re.findall(r"(\w+)(?: = \d+)?,?", match[1])]
    return found


def errors():
    return set(re.findall(r"^    (\w+) = \d+", re.search(r"enum class Error .*?\};", ABI.read_text(), re.DOTALL)[0], re.MULTILINE))


def documented():
    """{method: errors} as far as docs/kernel-api.md's tables say them."""
    known, result, section = errors(), {}, None
    for line in DOCS.read_text().splitlines():
        if line.startswith("## "):
            section = "sys" if line == "## System calls" else None
            if line.startswith("## Guests without EL2"):
                section = "vcpu"
        elif line.startswith("### "):
            section = SECTIONS.get(line[4:])
        if section is None or not line.startswith("| `"):
            continue
        cells = [cell.strip() for cell in line.strip("|").split("|")]
        names = re.findall(r"`(\w+)` \d", cells[0])
        cell = cells[4] if section == "sys" else cells[2] if len(cells) > 2 else ""
        said = {word for word in re.findall(r"`(\w+)`", cell) if word in known}
        said |= {"dying", "depth"} if re.search(r"\bparent\b", cell) else set()
        said |= {"bad_slot", "no_memory", "occupied"} if re.search(r"\bslot \d", cell) else set()
        said |= {"bad_slot", "bad_type", "rights"} if re.search(r"\bsource [\dn]", cell) else set()
        said |= {"rights"} if "(`" in cells[0] and section != "sys" else set()
        for name in names:
            key = name if section == "sys" else f"{section}.{name}"
            result.setdefault(key, set()).update(said)
    return result


def kernel_checks():
    """{ID: [place]} of the literals in tests/kernel."""
    found = {}
    for path in sorted(KERNEL_TESTS.glob("*.cpp")):
        for number, line in enumerate(path.read_text().splitlines(), 1):
            for check in re.findall(r'"([a-z_]+(?:\.[a-z_]+)?/[a-z0-9_]+)"', line):
                found.setdefault(check, []).append(f"{path.relative_to(ROOT)}:{number}")
    return found


def unit_checks():
    found = {}
    for path in sorted(UNIT_TESTS.glob("test_*.cpp")):
        for number, line in enumerate(path.read_text().splitlines(), 1):
            if match := re.match(r'TEST_CASE(?:_METHOD)?\((?:\w+, )?"([^"]+)"', line):
                found[match[1]] = f"{path.relative_to(ROOT)}:{number}"
    return found


# ---------------------------------------------------------------------------------------------- the comparison


def compare():
    """The Markdown text, and the gaps."""
    gaps, lines = [], []
    checks, units, said = kernel_checks(), unit_checks(), documented()
    used = set()
    known = methods()
    types = sorted({name.split(".")[0] for name in known if "." in name} | {"endpoint"})

    def places(check):
        used.add(check)
        found = checks.get(check, [])
        if not found:
            gaps.append(f"{check}: no check")
        files = {}
        for place in found:
            name, number = place.rsplit(":", 1)
            files.setdefault(name, []).append(number)
        return ", ".join(f"`{name.removeprefix('tests/')}:{','.join(dict.fromkeys(numbers))}`" for name, numbers in files.items()) or "**none**"

    def row(what, kind, where):
        lines.append(f"| {what} | {kind} | {where} |")

    gaps += [f"{name}: a method without an entry in tests/coverage.py" for name in known if name not in TABLE]
    lines += ["# What is checked, and where", "",
              "Written by `tests/coverage.py --write`; a test fails if it is out of date or has a gap. Paths are below `tests/`.", "",
              "## The kernel's methods and calls", "", "| method | error or case | checks |", "|---|---|---|"]
    for type_name in types:
        row(f"`{type_name}.*`", "`bad_method`", places(f"{type_name}.method/bad_method"))
    for name, entry in TABLE.items():
        listed = entry.errors.split()
        for error in sorted(said.get(name, set()) - set(listed) - set(entry.impossible)):
            gaps.append(f"{name}: docs/kernel-api.md says `{error}`, tests/coverage.py does not")
        for error in listed:
            row(f"`{name}`", f"`{error}`", places(f"{name}/{error}"))
        for error, why in entry.impossible.items():
            row(f"`{name}`", f"`{error}`", f"cannot happen: {why}")
        for case in entry.cases.split():
            row(f"`{name}`", case.replace("_", " "), places(f"{name}/{case}"))
        for title in entry.unit:
            if title not in units:
                gaps.append(f"{name}: no host test {title!r}")
            row(f"`{name}`", title, f"`{units.get(title, '**none**').removeprefix('tests/')}`")
    gaps += [f"{check}: checked at {', '.join(where)} but not in tests/coverage.py's table"
             for check, where in checks.items() if check not in used]

    lines += ["", "## The configuration's messages", "", "| code | bad descriptions |", "|---|---|"]
    for page in sorted(CODE_PAGES.glob("*.md"), key=lambda path: (path.stem[1:], path.stem[0])):
        files = sorted(path.name for path in BAD_CONFIGS.glob(f"{page.stem}-*") if path.suffix != ".txt")
        if not files:
            gaps.append(f"{page.stem}: no bad description in tests/config/bad")
        lines.append(f"| {page.stem} | {', '.join(f'`config/bad/{name}`' for name in files) or '**none**'} |")
    return "\n".join(lines) + "\n", gaps


def without_lines(text):
    """Line numbers move with every edit: they are there for the reader, and only --write brings them up to date."""
    return re.sub(r":[0-9,]+`", "`", text)


def up_to_date(text):
    return OUTPUT.exists() and without_lines(OUTPUT.read_text()) == without_lines(text)


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--write", action="store_true", help="write tests/coverage.md")
    options = parser.parse_args()
    text, gaps = compare()
    for gap in gaps:
        print(f"gap: {gap}", file=sys.stderr)
    if options.write:
        OUTPUT.write_text(text)
    elif not up_to_date(text):
        gaps.append("out of date")
        print(f"{OUTPUT.relative_to(ROOT)} is out of date: run tests/coverage.py --write", file=sys.stderr)
    rows = sum(line.startswith("| ") for line in text.splitlines()) - 2
    print(f"{rows} rows, {len(gaps)} gaps")
    return 1 if gaps else 0


if __name__ == "__main__":
    sys.exit(main())
