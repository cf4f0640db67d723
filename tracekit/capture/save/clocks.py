"""Clock samples: a kernel clock read between two readings of the TSC.

A sample is ``{"clock", "tsc_before", "ns", "tsc_after"}``: cycles, nanoseconds, cycles. A saved
tree brings its own in ``clocks.json`` and ``clocks-last.json``; on the live machine they are taken
here. Where no counter can be read there are only readings, ``{"clock", "ns"}``. The trace clock
itself is sampled by writing a marker: ``{"text", "tsc_before", "tsc_after"}`` says when, and the
event with that text has the clock's own timestamp.
"""

from __future__ import annotations

import json
import os
import re
import time
from collections.abc import Iterable, Mapping
from typing import Any

from tracekit.remarks import Remarks
from tracekit.sysroot import Sysroot

__all__ = [
    "clock_readings",
    "clock_samples",
    "last_count",
    "live_samples",
    "marker_sample",
    "merge_markers",
    "merge_samples",
    "sample_trace_clock",
    "valid_sample",
]

Sample = Mapping[str, Any]

_TREE_FILES = ("clocks.json", "clocks-last.json")
_NUMBERS = ("tsc_before", "ns", "tsc_after")
_MAX_SAMPLES = 1 << 16
_MAX_MARKERS = 1 << 10
_MAX_OF_CLOCK = 1 << 9  # samples of one clock that are kept
_BRACKETS = 3  # samples of a clock taken at a time
_TRIES = 16  # brackets tried for a sample; the narrowest is taken
_LIVE = {
    "mono": time.CLOCK_MONOTONIC,
    "mono_raw": time.CLOCK_MONOTONIC_RAW,
    "boot": time.CLOCK_BOOTTIME,
    "realtime": time.CLOCK_REALTIME,
    "tai": time.CLOCK_TAI,
}


def last_count(document: bytes | None) -> int | None:
    """The highest count of the TSC in the samples of a ``clocks.json``; None without any."""
    try:
        samples = json.loads(document or b"{}")["samples"]
    except (ValueError, TypeError, KeyError, RecursionError):
        return None
    listed = samples if isinstance(samples, list) else []
    return max((entry["tsc_after"] for entry in listed if valid_sample(entry)), default=None)


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


def live_samples() -> list[Sample]:
    """Samples of every clock of this machine, taken now; none where no counter can be read."""
    try:
        from tracekit._native import counter

        taken = [
            (name, *counter.counter_sample(clock, _TRIES))
            for _ in range(_BRACKETS)
            for name, clock in _LIVE.items()
        ]
    except (ImportError, NotImplementedError, OSError):
        return []
    keys = ("clock", *_NUMBERS, "source")
    return [dict(zip(keys, (*sample, "live"), strict=True)) for sample in taken]


def marker_sample(fd: int, text: str) -> Mapping[str, Any] | None:
    """Write ``text`` to an open ``trace_marker``; returns when, None if no counter can be read.

    Raises OSError when it cannot be written.
    """
    try:
        from tracekit._native import counter

        before, after = counter.counter_write(fd, text.encode())
    except (ImportError, NotImplementedError):
        return None
    return {"text": text, "tsc_before": before, "tsc_after": after}


def sample_trace_clock(root: Sysroot, place: str) -> list[Mapping[str, Any]]:
    """Sample the trace clock of a live tracefs or instance at ``place`` by writing markers.

    None are written where the clock is the counter itself, or where nothing has been recorded.
    """
    clock = root.get(f"{place}/trace_clock") or b""
    stats = [root.get(rel) or b"" for rel in root.glob(f"{place}/per_cpu/cpu[0-9]*/stats")]
    on = (root.get(f"{place}/tracing_on") or b"").strip() == b"1"
    used = any(re.search(rb"^entries: [1-9]", text, re.M) for text in stats)
    if not (root.live and on and used) or b"[x86-tsc]" in clock:
        return []
    markers = []
    try:
        fd = os.open(root.where(f"{place}/trace_marker"), os.O_WRONLY | os.O_CLOEXEC)
        try:
            for _ in range(_BRACKETS):
                markers.append(marker_sample(fd, f"tracekit-clock {time.monotonic_ns()}"))
        finally:
            os.close(fd)
    except OSError:
        pass  # no marker, no sample: the other evidence stands
    return [marker for marker in markers if marker is not None]


def clock_samples(root: Sysroot, remarks: Remarks) -> list[Sample]:
    """The samples in a saved tree, or new ones of the live machine, each with its ``source``."""
    if root.live:
        samples = live_samples()
    else:
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
    """Both in the order of the TSC, which is that of sampling, without duplicates.

    Of a clock with more samples than are useful, the first and the last are kept, and the
    narrowest of each stretch in between: a recorder may sample for months.
    """
    once = {json.dumps({**s, "source": ""}, sort_keys=True): s for s in (*new, *old)}
    by_clock: dict[str, list[Sample]] = {}
    for sample in sorted(once.values(), key=lambda s: (s["tsc_before"], s["ns"])):
        by_clock.setdefault(str(sample["clock"]), []).append(sample)
    kept = [sample for samples in by_clock.values() for sample in _thinned(samples)]
    return sorted(kept, key=lambda s: (s["tsc_before"], str(s["clock"]), s["ns"]))


def _thinned(samples: list[Sample]) -> list[Sample]:
    """At most the useful number of samples of one clock, spread evenly over their time."""
    if len(samples) <= _MAX_OF_CLOCK:
        return samples
    first, last = samples[0], samples[-1]
    span = last["tsc_before"] - first["tsc_before"] + 1
    best: dict[int, Sample] = {}
    for s in samples[1:-1]:
        stretch = (s["tsc_before"] - first["tsc_before"]) * (_MAX_OF_CLOCK - 2) // span
        narrowest = best.get(stretch)
        if narrowest is None or _width(s) < _width(narrowest):
            best[stretch] = s
    return [first, *best.values(), last]


def _width(sample: Sample) -> int:
    return int(sample["tsc_after"] - sample["tsc_before"])


def merge_markers(document: Mapping[str, Any], new: Iterable[Mapping[str, Any]]) -> list[Any]:
    """The markers of a ``clocks.json`` and new ones, the newest last, cut to the useful number."""
    earlier = document.get("markers")
    kept = earlier if isinstance(earlier, list) else []
    return [*kept, *(m for m in new if m not in kept)][-_MAX_MARKERS:]
