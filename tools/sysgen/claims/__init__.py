# SPDX-License-Identifier: Apache-2.0
# Copyright The Twain authors
"""Proves isolation claims, independently of how the table was made.

Reads the lowered table (system.json) and nothing else: neither the system description nor the code that
lowers it. Two rules decide:

  1. Reachability: from one guest of a claim no information flows to another, over any chain of objects and
     processes, except through the servers that the claim lists (and the supervisor, which is trusted).
  2. Parties: every object is held by its declared parties only, each of them connected by the description;
     what two parties share has exactly one writer; address ranges are compared as numbers.

Rule 1 alone would miss a fault that goes through a licensed server (a ring attached under the wrong guest's
name); rule 2 alone would miss a description that itself connects two guests.
"""

from __future__ import annotations

from typing import Any

from .flow import reachability_rule
from .parties import parties_rule
from .ranges import guest_memory_rule, ranges_rule
from .rings import rings_rule
from .table import KNOWN_RIGHTS, Finding, Malformed, Table

__all__ = ["Finding", "KNOWN_RIGHTS", "verify"]


def verify(system: Any) -> list[Finding]:
    """All faults of a lowered table, given as parsed JSON. Never raises."""
    try:
        table = Table(system)
        if table.findings:
            return sorted(set(table.findings))
        rules = (parties_rule, rings_rule, ranges_rule, guest_memory_rule, reachability_rule)
        return sorted({finding for rule in rules for finding in rule(table)})
    except Malformed as error:
        return [Finding(1, "E189", f"the table is malformed: {error}")]
