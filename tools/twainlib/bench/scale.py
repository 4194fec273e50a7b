# SPDX-License-Identifier: Apache-2.0
# Copyright The Twain authors
"""Cost does not grow: the same figures with more cores, address spaces and guests."""

from . import kernel, vm
from .figures import Measure, Table

ROUND_TRIP, SPACES, HYPERCALL, GICD = 1, 16, 24, 22  # series
GUESTS, CORES = (2, 8), (1, 4)

MEASURES = (
    *(Measure(f"scale_ipc_{cores}_cores", f"call + reply_wait round trip, {cores} core{'s' * (cores > 1)} online", 200) for cores in CORES),
    Measure("scale_ipc_8_spaces", "the same by turns to eight servers, each in its own space", 200),
    *(Measure(f"scale_{key}_{guests}_guests_{cores}_cores", f"{title}, {guests} guests at work on {cores} core{'s' * (cores > 1)}", aim)
      for key, title, aim in (("hypercall", "unknown hypercall", 500), ("gicd", "read of a distributor register", 600))
      for guests in GUESTS for cores in CORES),
)


def measure(directory):
    values = {}
    for cores in CORES:
        series = kernel.run(directory, cores=cores)["series"]
        values[f"scale_ipc_{cores}_cores"] = series[str(ROUND_TRIP)]["kernel"]["median"]
    values["scale_ipc_8_spaces"] = series[str(SPACES)]["kernel"]["median"]
    for guests in GUESTS:
        for cores in CORES:
            series = vm.count_guests(directory, guests, cores)["series"]
            values[f"scale_hypercall_{guests}_guests_{cores}_cores"] = series[str(HYPERCALL)]["all"]["median"]
            values[f"scale_gicd_{guests}_guests_{cores}_cores"] = series[str(GICD)]["all"]["median"]
    return values


TABLE = Table("scale", "Cost does not grow", MEASURES, measure, kernel.run, lambda: None)
