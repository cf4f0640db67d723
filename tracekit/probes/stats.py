"""Counts of the trace ring buffer, read from tracefs while it records."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

from tracekit.probes.kernel import tracefs
from tracekit.probes.records import KINDS, RECORD
from tracekit.sysroot import Sysroot

__all__ = ["counter_records"]

_KIND = next(kind for kind in KINDS.values() if kind.event == "ring_buffer:counters")
_STAT = re.compile(r"^(entries|overrun|read events): (\d{1,19})$", re.M)
_CHOSEN = re.compile(r"\[([^\s\[\]]+)\]")
_UNKNOWN = (1 << 64) - 1  # -1, as the values are signed


def _state(root: Sysroot, base: str) -> str:
    """What may change while it records: on or off, its size per CPU, its clock."""
    on = "on" if root.text(f"{base}/tracing_on").strip() == "1" else "off"
    size = root.text(f"{base}/buffer_size_kb").split()
    clock = _CHOSEN.search(root.text(f"{base}/trace_clock"))
    return f"{on} {size[0] if size else '?'}K {clock[1] if clock else '?'}"


def counter_records(
    root: Sysroot, instance: str, now_ns: int, counted: Mapping[str, Sequence[int]]
) -> bytes:
    """``ring_buffer:counters`` records of one instance, one per CPU.

    written: events the CPU's buffer took so far; overrun: those overwritten before they were read
    (``per_cpu/cpuN/stats``, ``kernel/trace/trace.c``); state: ``on 1408K x86-tsc``. ``counted``:
    label -> counts by CPU of what only probes see, over all instances; -1 in the record where
    there is no such probe. Empty where there is no such instance.
    """
    top = f"{tracefs(root)}/instances/{instance}"
    if not root.exists(top):
        return b""
    base = f"{top}/per_cpu"
    state = _state(root, top).encode()
    records = []
    for name in root.names(base):
        number = name.removeprefix("cpu")
        if not number.isdecimal():
            continue
        cpu = int(number)
        stats = {k: int(v) for k, v in _STAT.findall(root.text(f"{base}/{name}/stats"))}
        overrun = stats.get("overrun", 0)
        written = stats.get("entries", 0) + overrun + stats.get("read events", 0)
        probed = [
            counted[label][cpu] if label in counted and cpu < len(counted[label]) else _UNKNOWN
            for label in ("page_crossings", "reader_swaps")
        ]
        records.append(
            RECORD.pack(
                now_ns, 0, written, overrun, *probed, 0, 0, cpu, _KIND.id, 0,
                b"", instance.encode(), state,
            )
        )  # fmt: skip
    return b"".join(records)
