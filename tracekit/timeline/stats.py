"""The counters of a ring buffer that the kernel shows: ``per_cpu/cpuN/stats``."""

from __future__ import annotations

import re

__all__ = ["parse_stats"]

_STAT = re.compile(r"^([a-z ]+):\s*([0-9]{1,20})(?:\.([0-9]{1,9}))?\s*$")


def parse_stats(text: str) -> dict[str, int]:
    """``per_cpu/cpuN/stats`` (``tracing_stats_read()``): counts, and stamps in clock units.

    Stamps printed as ``seconds.microseconds`` become ns.
    """
    counts = {}
    for line in text.splitlines():
        if (m := _STAT.match(line)) is not None:
            ns = m[3] is not None
            counts[m[1]] = int(m[2]) * 10**9 + int(m[3].ljust(9, "0")[:9]) if ns else int(m[2])
    return counts
