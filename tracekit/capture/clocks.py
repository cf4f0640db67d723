"""Clock samples: a kernel clock read between two readings of the TSC.

A sample is ``{"clock", "tsc_before", "ns", "tsc_after"}``: cycles, nanoseconds, cycles. A saved
tree brings its own in ``clocks.json`` and ``clocks-last.json``. On the live machine the TSC cannot
be read from here; there are only readings, ``{"clock", "ns"}``.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterable, Mapping
from typing import Any

from tracekit.capture.remarks import Remarks
from tracekit.sysroot import Sysroot

__all__ = ["clock_readings", "clock_samples", "merge_samples", "valid_sample"]

Sample = Mapping[str, Any]

_TREE_FILES = ("clocks.json", "clocks-last.json")
_NUMBERS = ("tsc_before", "ns", "tsc_after")
_MAX_SAMPLES = 1 << 16
_LIVE = {
    "mono": time.CLOCK_MONOTONIC,
    "mono_raw": time.CLOCK_MONOTONIC_RAW,
    "boot": time.CLOCK_BOOTTIME,
    "realtime": time.CLOCK_REALTIME,
    "tai": time.CLOCK_TAI,
}


def valid_sample(entry: object) -> bool:
    """True for a sample of the form this module describes."""
    return (
        isinstance(entry, Mapping)
        and isinstance(entry.get("clock"), str)
        and len(entry["clock"]) < 64
        and all(type(entry.get(key)) is int and 0 <= entry[key] < 1 << 64 for key in _NUMBERS)
        and entry["tsc_before"] <= entry["tsc_after"]
    )


def _from_tree(root: Sysroot, name: str, remarks: Remarks) -> list[Sample]:
    data = remarks.get(root, name, None)
    if data is None:
        return []
    try:
        document: Any = json.loads(data)
    except (ValueError, RecursionError) as error:
        remarks.add("clocks-invalid", "warning", name, f"not JSON: {error}")
        return []
    entries = document.get("samples") if isinstance(document, Mapping) else document
    if not isinstance(entries, list):
        remarks.add("clocks-invalid", "warning", name, "not a list of samples")
        return []
    good = [entry for entry in entries[:_MAX_SAMPLES] if valid_sample(entry)]
    if len(good) < len(entries):
        left_out = len(entries) - len(good)
        remarks.add(
            "clocks-invalid", "warning", name, f"{left_out} entries are no samples; left out"
        )
    return [{key: entry[key] for key in ("clock", *_NUMBERS)} | {"source": name} for entry in good]


def clock_readings(root: Sysroot) -> list[Sample]:
    """Every clock of the live machine, read now; a saved tree has none."""
    if not root.live:
        return []
    return [
        {"clock": name, "ns": time.clock_gettime_ns(clock), "source": "live"}
        for name, clock in _LIVE.items()
    ]


def clock_samples(root: Sysroot, remarks: Remarks) -> list[Sample]:
    """The samples a saved tree brings, each with its ``source``."""
    samples = [s for name in _TREE_FILES for s in _from_tree(root, name, remarks)]
    if not samples:
        remarks.add(
            "clocks-without-tsc",
            "warning",
            "clocks.json",
            "no clock was sampled beside the TSC: this boot's clocks can be joined with another's "
            "only by what its kernel log says",
        )
    return samples


def merge_samples(old: Iterable[Sample], new: Iterable[Sample]) -> list[Sample]:
    """Both in the order they were taken, which is that of the TSC, each once."""
    once = {json.dumps({**s, "source": ""}, sort_keys=True): s for s in (*new, *old)}
    return sorted(once.values(), key=lambda s: (s["tsc_before"], str(s["clock"]), s["ns"]))
