# SPDX-License-Identifier: Apache-2.0
# Copyright The Twain authors
"""What came of a campaign of random system calls."""

from dataclasses import dataclass, field


@dataclass
class Outcome:
    calls: int  # system calls made
    refused: int  # of these, answered with an error at once
    failure: str = ""  # what broke; empty: nothing did
    reproducer: str = ""  # a file, or a command
    log: str = ""
    seconds: float = 0.0
    seed: int = 0
    details: dict = field(default_factory=dict)  # what this back end alone counts
