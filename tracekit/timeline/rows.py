"""All recorded events of a session as plain arrays: the timeline before it has a time axis."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields
from typing import Any

import numpy as np
import numpy.typing as npt

from tracekit.ftrace.page import Records
from tracekit.timeline.boot import Boot, Buffer

__all__ = ["EventKind", "Rows", "collect", "distinct", "numpy_columns"]

_Array = npt.NDArray[Any]
_PID_LIMIT = 1 << 22  # PID_MAX_LIMIT, include/linux/threads.h


@dataclass(frozen=True, slots=True)
class EventKind:
    """One event of one boot: ids are per kernel, names are what the timeline shows."""

    boot: int
    id: int
    name: str


@dataclass(frozen=True, slots=True)
class Rows:
    """Parallel arrays, one entry an event.

    ``ts_raw`` u64, ``boot`` u8, ``cpu`` u16, ``pid`` i32, ``kind`` i32 (index of the
    :class:`EventKind`), ``flags`` and ``preempt`` u8, ``buffer`` u16 (index of the buffer that
    holds the payload), ``offset`` u64 and ``length`` u32 of the payload in it.
    """

    ts_raw: _Array
    boot: _Array
    cpu: _Array
    pid: _Array
    kind: _Array
    flags: _Array
    preempt: _Array
    buffer: _Array
    offset: _Array
    length: _Array

    def __len__(self) -> int:
        return len(self.ts_raw)

    def take(self, order: _Array | slice) -> Rows:
        """The rows at ``order`` (indices, a mask or a slice)."""
        return Rows(*(getattr(self, f.name)[order] for f in fields(self)))

    def of_boot(self, boot: int) -> _Array | slice:
        """Where the rows of a boot are: a slice where they lie together."""
        at = np.flatnonzero(self.boot == boot)
        together = len(at) and at[-1] - at[0] == len(at) - 1
        return slice(int(at[0]), int(at[-1]) + 1) if together else at


def distinct(values: _Array) -> tuple[_Array, _Array]:
    """(the distinct values, for every value its index among them), of int32 values.

    Pids are small numbers: a table beats sorting. Damaged records may hold others.
    """
    if not len(values) or values.min() < 0 or values.max() >= _PID_LIMIT:
        found, which = np.unique(values, return_inverse=True)
        return found, which
    found = np.flatnonzero(np.bincount(values))
    table = np.empty(int(values.max()) + 1, np.int32)
    table[found] = np.arange(len(found), dtype=np.int32)
    return found, table[values]


def numpy_columns(records: Records) -> dict[str, _Array]:
    """A CPU's records as arrays, without a copy, by the names of :class:`Records`."""
    return {
        "ts": np.frombuffer(records.ts, np.uint64),
        "offset": np.frombuffer(records.offset, np.uint64),
        "length": np.frombuffer(records.length, np.uint32),
        "type": np.frombuffer(records.type, np.uint16),
        "flags": np.frombuffer(records.flags, np.uint8),
        "preempt": np.frombuffer(records.preempt, np.uint8),
        "pid": np.frombuffer(records.pid, np.int32),
    }


def _of_cpu(records: Records, boot: int, buffer: int, kind_of: Callable[[_Array], _Array]) -> Rows:
    n, raw = len(records), numpy_columns(records)
    return Rows(
        ts_raw=raw["ts"],
        boot=np.full(n, boot, np.uint8),
        cpu=np.full(n, records.cpu, np.uint16),
        pid=raw["pid"],
        kind=kind_of(raw["type"]),
        flags=raw["flags"],
        preempt=raw["preempt"],
        buffer=np.full(n, buffer, np.uint16),
        offset=raw["offset"],
        length=raw["length"],
    )


def _joined(parts: Sequence[Rows], order: _Array | None = None) -> Rows:
    """The parts one after the other, or in ``order``; one column at a time, to spare memory."""
    columns = []
    for f in fields(Rows):
        column = np.concatenate([getattr(p, f.name) for p in parts])
        columns.append(column if order is None else column[order])
    return Rows(*columns)


def _in_order(parts: Sequence[Rows]) -> Rows:
    """The parts, sorted by raw stamp; equal stamps keep their order."""
    # each part is sorted but for damage, and merging sorted runs is what a stable sort does well
    return _joined(parts, np.argsort(np.concatenate([p.ts_raw for p in parts]), kind="stable"))


_EMPTY = Records(0, b"", b"", b"", b"", b"", b"", b"", 0, (), b"", 0, 0, 0, ())


def collect(boots: Sequence[Boot]) -> tuple[Rows, list[EventKind], list[Buffer]]:
    """The events of all boots, boot by boot, each boot in the order of its raw stamps.

    Equal stamps keep the order of their CPUs, as the kernel's own ``trace`` file does
    (``__find_next_entry()``).
    """
    kinds: list[EventKind] = []
    buffers: list[Buffer] = []
    parts: list[Rows] = []
    for boot in boots:
        table = np.full(1 << 16, -1, np.int32)  # this boot's event id -> index in kinds

        def kind_of(types: _Array, boot: Boot = boot, table: _Array = table) -> _Array:
            for event_id in np.flatnonzero(np.bincount(types, minlength=1)).tolist():
                if table[event_id] < 0:
                    table[event_id] = len(kinds)
                    kinds.append(EventKind(boot.index, event_id, boot.event_name(event_id)))
            return table[types]

        of_boot = [_of_cpu(_EMPTY, boot.index, 0, kind_of)]
        for n, buffer in enumerate(boot.buffers):
            of_boot += [_of_cpu(r, boot.index, len(buffers) + n, kind_of) for r in buffer.records]
        parts.append(_in_order(of_boot))
        boot.slim()
        buffers += boot.buffers
    if not parts:
        parts = [_of_cpu(_EMPTY, 0, 0, lambda types: types.astype(np.int32))]
    return (parts[0] if len(parts) == 1 else _joined(parts)), kinds, buffers
