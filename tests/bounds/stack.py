# SPDX-License-Identifier: Apache-2.0
# Copyright The Twain authors
"""How deep the stack gets, from the instructions themselves: every path from every entry is followed with what it has done
to SP, so that the depth of each call is exact, tail calls and assembly included, and no compiler option is needed.

Assembly takes a stack by writing SP: that of a panic if it is panic_frame, else the core's, at its top. (Where it writes the
address of a thread's registers, it calls nobody.) Compiled code may only move SP by constants. Whatever else writes SP, and
an indirect branch that neither `targets` nor a switch's table explains, is an error.
"""

import fnmatch
import re
from dataclasses import dataclass, field

from machine_code import BoundError

ENDS = {"ret", "eret", "brk", "udf", "retaa", "eretaa"}
CONDITIONAL = {"cbz", "cbnz", "tbz", "tbnz"}
WRITES = ("add", "adr", "and", "asr", "cs", "eor", "ldr", "lsl", "lsr", "mov", "mrs", "mul", "orr", "sbfiz", "sub",
          "sxt", "ubf", "uxt")  # instructions that write their first operand, and it whole
PAGE = 4096
TOO_DEEP = 1 << 20
CALLER = "caller"  # the stack of who called
NO_STACK = ("none", 0)


@dataclass
class Body:
    """What is called from an entry: callee -> most bytes below the entry's SP then; and its own most."""
    own: int = 0
    calls: dict = field(default_factory=dict)


class Stacks:
    def __init__(self, program, targets):
        self.program = program
        self.targets = targets
        self.bodies = {}
        self.begun = {}  # (stack, callee) -> (depth, from where): calls on a stack that assembly has taken
        self.worst_of = {}
        self.used = set()  # patterns of `targets` that name something

    # ------------------------------------------------------------------------------------------ one function

    def body(self, entry, state):
        if entry in self.bodies:
            return self.bodies[entry]
        body = self.bodies[entry] = Body()
        program = self.program
        seen, todo = set(), [(entry, state)]
        while todo:
            at, (stack, depth) = todo.pop()
            if (at, stack, depth) in seen:
                continue
            seen.add((at, stack, depth))
            if at not in program.index:
                raise BoundError(f"{program.name(entry)} runs into {at:#x}, where no code is")
            one = program.code[program.index[at]]
            stack, depth = self._moved(one, stack, depth)
            if not 0 <= depth < TOO_DEEP:
                raise BoundError(f"{program.name(at)}: the stack is at {depth} bytes, and there may be no end")
            if stack == CALLER:
                body.own = max(body.own, depth)
            elif stack != NO_STACK[0]:
                self._note(stack, None, depth, at)
            if one.name in ("bl", "blr"):
                for callee in [int(one.operands, 16)] if one.name == "bl" else self._indirect(at):
                    self._call(body, callee, stack, depth, at)
                home = program.function(at)
                if home is None or at + 4 < program.functions[home]:  # else the callee does not return
                    todo.append((at + 4, (stack, depth)))
                continue
            if one.name in ENDS:
                if one.name.startswith("ret") and (stack, depth) != (CALLER, 0):
                    raise BoundError(f"{program.name(at)} returns with {depth} bytes on the stack")
                continue
            following = []
            if one.name == "br":
                following = self._switch(at) or self._indirect(at)
            elif one.name == "b" or one.name.startswith("b.") or one.name in CONDITIONAL:
                following = [int(one.operands.split(",")[-1].strip(), 16)]
            if one.name not in ("b", "br"):
                following.append(at + 4)
            for to in following:
                if to in program.functions and program.function(at) != to:
                    self._call(body, to, stack, depth, at)
                else:
                    todo.append((to, (stack, depth)))
        return body

    def _moved(self, one, stack, depth):
        operands = one.operands
        first = operands.split(",")[0].strip()
        if match := re.search(r"\[sp, #(-?\d+)\]!$", operands):
            return stack, depth - int(match[1])
        if match := re.search(r"\[sp\], #(-?\d+)$", operands):
            return stack, depth - int(match[1])
        if first != "sp" or one.name in ("cmp", "cmn", "tst"):
            if "[sp" in operands and operands.endswith("!") or re.search(r"\[sp\],", operands):
                raise BoundError(f"{self.program.name(one.at)}: {one.name} {operands} moves SP by an unknown number")
            return stack, depth
        if match := re.fullmatch(r"sp, sp, #(0x[0-9a-f]+)(, lsl #12)?", operands):
            by = int(match[1], 16) << (12 if match[2] else 0)
            if one.name in ("add", "sub"):
                return stack, depth + (by if one.name == "sub" else -by)
        if match := re.fullmatch(r"sp, sp, (x\d+)", operands):  # a large frame: mov xN, #bytes just before
            before = self.program.code[self.program.index[one.at] - 1]
            number = re.fullmatch(rf"{match[1]}, #0x([0-9a-f]+)", before.operands)
            if before.name == "mov" and number and one.name in ("add", "sub"):
                by = int(number[1], 16)
                return stack, depth + (by if one.name == "sub" else -by)
            raise BoundError(f"{self.program.name(one.at)}: {one.name} {one.operands} gives SP an unknown value")
        if self.program.function(one.at) is None:
            return self._stack_of(one, operands), 0
        raise BoundError(f"{self.program.name(one.at)}: {one.name} {operands} gives SP an unknown value")

    def _stack_of(self, one, operands):
        """The stack that assembly takes; `add sp, xN, #0` reads `mov sp, xN`."""
        source = re.fullmatch(r"sp, (x\d+)(?:, #0x[0-9a-f]+)?", operands)
        if not source or one.name not in ("mov", "add"):
            raise BoundError(f"{self.program.name(one.at)}: {one.name} {operands} gives SP an unknown value")
        before = self.program.code[self.program.index[one.at] - 1]
        panic = self.program.address.get("panic_frame", -1) // PAGE * PAGE
        return "panic" if before.name == "adrp" and before.operands == f"{source[1]}, {panic:x}" else "core"

    def _call(self, body, callee, stack, depth, at):
        if stack == NO_STACK[0]:
            raise BoundError(f"{self.program.name(at)} calls {self.program.name(callee)} without a stack")
        if stack == CALLER:
            body.calls[callee] = max(body.calls.get(callee, 0), depth)
        else:
            self._note(stack, callee, depth, at)

    def _note(self, stack, callee, depth, at):
        if depth >= self.begun.get((stack, callee), (-1, 0))[0]:
            self.begun[stack, callee] = depth, at

    # ------------------------------------------------------------------------------------------ indirect branches

    def _indirect(self, at):
        function = self.program.function(at)
        where = self.program.name(at if function is None else function).split("+")[0]
        patterns = [p for site, list_ in self.targets.items() if fnmatch.fnmatchcase(where, site) for p in list_]
        found = self.named(patterns)
        if not found:
            raise BoundError(f"{self.program.name(at)}: an indirect branch that is not in the table of targets")
        return found

    def named(self, patterns):
        found = []
        for pattern in patterns:
            hits = [at for at in self.program.labels if fnmatch.fnmatchcase(self.program.name(at), pattern)]
            if hits:
                self.used.add(pattern)
            found += hits
        return found

    def _switch(self, at):
        """Where the compiler's switch at `at` goes: adr + table[index] * 4, or None if it is none."""
        program = self.program
        i = program.index[at]
        before = program.code[max(0, i - 20):i][::-1]

        def last(name, pattern):
            return next((m for one in before if one.name in name and (m := re.fullmatch(pattern, one.operands))), None)

        target = program.code[i].operands
        total = last(("add",), rf"{target}, (x\d+), w(\d+), sxt([bhw]) #2")
        base = total and last(("adr",), rf"{total[1]}, (?:0x)?([0-9a-f]+)")
        load = total and last(("ldrb", "ldrh", "ldr"), rf"w{total[2]}, \[(x\d+), w(\d+), uxtw(?: #\d)?\]")
        low = load and last(("add",), rf"{load[1]}, {load[1]}, #0x([0-9a-f]+)")
        high = load and last(("adrp",), rf"{load[1]}, (?:0x)?([0-9a-f]+)")
        bound = load and last(("cmp",), rf"w{load[2]}, #0x([0-9a-f]+)")
        if not (base and high and bound):
            return None
        size = {"b": 1, "h": 2, "w": 4}[total[3]]
        table = int(high[1], 16) + (int(low[1], 16) if low else 0)
        found = {int(base[1], 16) + 4 * int.from_bytes(program.read(table + size * n, size), "little", signed=True)
                 for n in range(int(bound[1], 16) + 1)}
        if any(program.function(to) != program.function(at) for to in found):
            raise BoundError(f"{program.name(at)}: a switch that leaves its function")
        return sorted(found)

    def taken(self):
        """Functions whose address somebody takes: what an indirect call may reach at all."""
        program = self.program
        words = [int.from_bytes(data[i:i + 8], "little") for *_, data in program.sections for i in range(0, len(data) - 7, 4)]
        found = {word for word in words if word in program.functions}
        sources = self._sources()
        for i, one in enumerate(program.code):
            if one.name == "adr":
                found.add(int(one.operands.split(",")[1], 16))
            elif one.name == "add" and (match := re.fullmatch(r"x\d+, (x\d+), #0x([0-9a-f]+)", one.operands)):
                found.update(page + int(match[2], 16) for page in self._pages(i, match[1], sources))
        return {at for at in found if at in program.functions}

    def _sources(self):
        """index -> indices of the instructions of the same function that may run just before it."""
        program, sources = self.program, {}
        for i, one in enumerate(program.code):
            following = [] if one.name in ENDS or one.name == "b" else [one.at + 4]
            if one.name == "br":
                following = self._switch(one.at) or []
            elif one.name == "b" or one.name.startswith("b.") or one.name in CONDITIONAL:
                following.append(int(one.operands.split(",")[-1].strip(), 16))
            for to in following:
                if to in program.index and program.function(to) == program.function(one.at):
                    sources.setdefault(program.index[to], []).append(i)
        return sources

    def _pages(self, i, register, sources):
        """What `adrp` may have left in the register before instruction `i`. Where it is unclear whether an instruction
        writes the register, it does not: that gives a page too many, never one too few."""
        pages, seen, todo = set(), set(), [*sources.get(i, ())]
        while todo:
            if (i := todo.pop()) in seen:
                continue
            seen.add(i)
            one = self.program.code[i]
            first = one.operands.split(",")[0].strip()
            if first == register and one.name == "adrp":
                pages.add(int(one.operands.split(",")[1], 16))
            elif first[1:] != register[1:] or first[:1] not in ("x", "w") or not one.name.startswith(WRITES):
                todo += sources.get(i, ())
        return pages

    # ------------------------------------------------------------------------------------------ all

    def worst(self, entry, way=()):
        """(bytes, [(function, bytes below its caller's SP)]) below `entry`."""
        if entry in way:
            cycle = [*way[way.index(entry):], entry]
            raise BoundError("recursion: " + " -> ".join(self.program.name(at) for at in cycle))
        if entry not in self.worst_of:
            body = self.body(entry, (CALLER, 0))
            best = body.own, [(entry, body.own)]
            for callee, depth in body.calls.items():
                below, path = self.worst(callee, (*way, entry))
                if depth + below > best[0]:
                    best = depth + below, [(entry, depth), *path]
            self.worst_of[entry] = best
        return self.worst_of[entry]

    def run(self, roots):
        """stack -> (bytes, path) of the worst that follows from `roots`, where no stack is there yet."""
        for one in self.program.code:
            if re.fullmatch(r"blr.*|br(?!k).*", one.name) and not (one.name == "br" and self._switch(one.at)):
                self._indirect(one.at)
        listed = set(self.named([p for list_ in self.targets.values() for p in list_]))
        if missing := self.taken() - listed:
            names = ", ".join(map(self.program.name, sorted(missing)))
            raise BoundError(f"not in the table of targets, but its address is taken: {names}")
        for root in roots:
            self.body(root, NO_STACK)
        result, done = {}, set()
        while todo := set(self.begun) - done:
            for stack, callee in sorted(todo, key=lambda one: (one[0], one[1] or 0)):
                done.add((stack, callee))
                depth, at = self.begun[stack, callee]
                below, path = self.worst(callee) if callee is not None else (0, [])
                if depth + below > result.get(stack, (-1,))[0]:
                    result[stack] = depth + below, [(at, depth), *path]
        return result
