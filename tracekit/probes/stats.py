"""Counts of the trace ring buffers, read from tracefs while it records."""

from __future__ import annotations

import re
import time
from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

from tracekit.probes.kernel import tracefs
from tracekit.probes.records import KINDS, RECORD, unpack
from tracekit.sysroot import Sysroot

__all__ = ["Counters"]

_IDS = {kind.event: kind.id for kind in KINDS.values()}
_TOTALS, _DELTAS = _IDS["ring_buffer:counters"], _IDS["ring_buffer:deltas"]
_CONTROL = frozenset(n for event, n in _IDS.items() if event.startswith("tracefs:"))
_STAT = re.compile(r"^(entries|overrun|read events): (\d{1,19})$", re.M)
_CHOSEN = re.compile(r"\[([^\s\[\]]+)\]")
_MASK = (1 << 64) - 1
_UNKNOWN = _MASK  # -1, as the values are signed
_PAUSE = 1.0  # seconds between two readings for changes; more in a long recording


class _Counts(NamedTuple):
    """Of one CPU's buffer: events it took so far, and those overwritten before they were read."""

    written: int
    overrun: int


class Counters:
    """Reads ``per_cpu/cpuN/stats`` (``kernel/trace/trace.c``) of an instance and of the top one.

    Not of others: they cannot be removed while somebody has a file of theirs open. ``begun``: when
    this was made (CLOCK_MONOTONIC, seconds).
    """

    def __init__(self, root: Sysroot, instance: str) -> None:
        self._root = root
        self._instance = instance
        self._tracefs = tracefs(root)
        # By instance, by CPU: what was reported last, or was there when the recording began.
        self._last = {name: dict(self._counts(name)) for name in (instance, "")}
        self.begun = time.monotonic()
        self._pending: dict[str, None] = {}  # instances that were changed since they were read
        self._next = self.begun

    def _top(self, instance: str) -> str:
        return f"{self._tracefs}/instances/{instance}" if instance else self._tracefs

    def _text(self, rel: str) -> str:
        return (self._root.get(rel) or b"").decode("utf-8", "backslashreplace")

    def _state(self, instance: str) -> bytes:
        """What may change while it records: on or off, its size per CPU, its clock."""
        top = self._top(instance)
        on = "on" if self._text(f"{top}/tracing_on").strip() == "1" else "off"
        size = self._text(f"{top}/buffer_size_kb").split()
        clock = _CHOSEN.search(self._text(f"{top}/trace_clock"))
        return f"{on} {size[0] if size else '?'}K {clock[1] if clock else '?'}".encode()

    def _counts(self, instance: str) -> Iterator[tuple[int, _Counts]]:
        base = f"{self._top(instance)}/per_cpu"
        for name in self._root.names(base):
            number = name.removeprefix("cpu")
            text = self._text(f"{base}/{name}/stats") if number.isdecimal() else ""
            stats = {key: int(value) for key, value in _STAT.findall(text)}
            if stats:
                overrun = stats.get("overrun", 0)
                written = stats.get("entries", 0) + overrun + stats.get("read events", 0)
                yield int(number), _Counts(written, overrun)

    def _records(
        self, kind: int, instance: str, values: Mapping[int, tuple[int, int, int, int]]
    ) -> bytes:
        now, state = time.monotonic_ns(), self._state(instance) if values else b""
        return b"".join(
            RECORD.pack(now, 0, *row, 0, 0, cpu, kind, 0, b"", instance.encode(), state)
            for cpu, row in values.items()
        )

    def totals(self, counted: Mapping[str, Sequence[int]]) -> bytes:
        """``ring_buffer:counters`` records of the instance, one per CPU; empty without it.

        written: events the CPU's buffer took so far; overrun: those overwritten before they were
        read; state: ``on 1408K x86-tsc``. ``counted``: label -> counts by CPU of what only probes
        see, over all instances; -1 in the record where there is no such probe.
        """
        values = {}
        for cpu, counts in self._counts(self._instance):
            pages, swaps = (
                counted[label][cpu] if label in counted and cpu < len(counted[label]) else _UNKNOWN
                for label in ("page_crossings", "reader_swaps")
            )
            values[cpu] = (*counts, pages, swaps)
        return self._records(_TOTALS, self._instance, values)

    def note(self, records: bytes) -> None:
        """Remember which instances' control files ``records`` tell of."""
        for at in range(0, len(records), RECORD.size):
            record = unpack(records, at)
            if record.kind in _CONTROL and record.driver in self._last:
                self._pending[record.driver] = None

    def due(self, now: float) -> bytes:
        """:meth:`deltas`, but for a second after the last ones (CLOCK_MONOTONIC, seconds) none.

        Somebody who changes the tracers all the time must not fill the session with counts.
        """
        if not self._pending or now < self._next:
            return b""
        self._next = now + max(_PAUSE, (now - self.begun) / 1000)
        return self.deltas()

    def deltas(self) -> bytes:
        """``ring_buffer:deltas`` records of the instances that were changed since they were read.

        One per CPU: written and overrun, each as it is now and by how much it grew since such a
        record of the instance came last, or since the recording began. Negative where the buffer
        was emptied in between.
        """
        pending, self._pending = self._pending, {}
        return b"".join(self._deltas(name) for name in pending)

    def _deltas(self, instance: str) -> bytes:
        values, last = {}, self._last[instance]
        for cpu, now in self._counts(instance):
            before = last.get(cpu, _Counts(0, 0))
            last[cpu] = now
            values[cpu] = (
                now.written, now.written - before.written & _MASK,
                now.overrun, now.overrun - before.overrun & _MASK,
            )  # fmt: skip
        return self._records(_DELTAS, instance, values)
