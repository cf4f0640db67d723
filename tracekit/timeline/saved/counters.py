"""The kernel's own count of a CPU's events, saved while it recorded: ``per_cpu/cpuN/stats``."""

from __future__ import annotations

import re

import numpy as np

from tracekit.frozen import dataclass
from tracekit.ftrace.ring.page import Records

__all__ = ["Counters", "parse_stats", "read_counters"]

_STAT = re.compile(r"^([a-z ]+):\s*([0-9]{1,20})(?:\.([0-9]{1,9}))?\s*$")


@dataclass(frozen=True, slots=True)
class Counters:
    """What the kernel had counted at the stamp ``taken``, and how much of it is ``found``.

    ``entries`` events were in the buffer, ``overrun`` had been overwritten, ``read`` consumed by a
    reader, and ``dropped`` never got in. ``found`` recovered records bear a stamp up to ``taken``.
    """

    taken: int
    entries: int
    overrun: int
    read: int
    dropped: int
    found: int


def parse_stats(text: str) -> dict[str, int]:
    """The lines of ``tracing_stats_read()``: counts, and stamps in clock units.

    Stamps printed as ``seconds.microseconds`` become ns.
    """
    counts = {}
    for line in text.splitlines():
        if (m := _STAT.match(line)) is not None:
            ns = m[3] is not None
            counts[m[1]] = int(m[2]) * 10**9 + int(m[3].ljust(9, "0")[:9]) if ns else int(m[2])
    return counts


def read_counters(text: str, records: Records) -> Counters | None:
    """The counters in ``text`` beside the ``records`` of the same CPU; None where there are none.

    The kernel reads the clock last, so every event that it counted has a stamp up to then.
    """
    stats = parse_stats(text)
    if "now ts" not in stats or "entries" not in stats:
        return None
    cut = 999 if re.search(r"^now ts:\s*[0-9]+\.", text, re.M) else 0  # printed in whole us
    taken = stats["now ts"] + cut
    return Counters(
        taken,
        stats["entries"],
        stats.get("overrun", 0),
        stats.get("read events", 0),
        stats.get("commit overrun", 0) + stats.get("dropped events", 0),
        int(np.count_nonzero(np.frombuffer(records.ts, np.uint64) <= taken)),
    )
