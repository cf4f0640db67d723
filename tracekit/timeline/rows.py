"""The events of a session as plain arrays, before they are placed on a time axis."""

from __future__ import annotations

import functools
from collections.abc import Collection, Mapping, Sequence
from dataclasses import fields
from typing import Any, Self
from weakref import WeakKeyDictionary

import numpy as np
import numpy.typing as npt

from tracekit.frozen import dataclass
from tracekit.ftrace.ring.page import Records
from tracekit.timeline.boot import Boot

__all__ = [
    "EventKind",
    "Kinds",
    "Rows",
    "distinct",
    "in_order",
    "numpy_columns",
    "of_cpu",
    "one_of",
]

_Array = npt.NDArray[Any]
_ID_LIMIT = 1 << 17  # of the kernel's events and, above them, the BPF probes'
_SMALL, _ROOMY = 1 << 12, 16  # entries of a table; and a value
_FEW = 4  # comparisons that take less time than one isin()
_PID_LIMIT = 1 << 22  # PID_MAX_LIMIT, include/linux/threads.h


@dataclass(frozen=True, slots=True)
class EventKind:
    """One event of one boot: ids are per kernel, names are what the timeline shows."""

    boot: int
    id: int
    name: str


@dataclass(frozen=True, slots=True, weakref_slot=True, eq=False)
class Rows:
    """Parallel arrays, one entry per event.

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

    @classmethod
    def joined(cls, parts: Sequence[Self], order: _Array | None = None) -> Self:
        """The parts one after the other, or in ``order``; one column at a time to save memory."""
        columns = []
        for f in fields(cls):
            column = np.concatenate([getattr(p, f.name) for p in parts])
            columns.append(column if order is None else column[order])
        return cls(*columns)

    @classmethod
    def none(cls) -> Self:
        """No rows at all."""
        types = ("u8", "u1", "u2", "i4", "i4", "u1", "u1", "u2", "u8", "u4")
        return cls(*(np.empty(0, t) for t in types))

    def within(self, boot: int) -> slice:
        """From a boot's first row to its last; others' may be between."""
        if self not in _SPANS:
            _SPANS[self] = _spans(self.boot)
        return _SPANS[self].get(boot, slice(0, 0))

    def indices(self, boot: int) -> _Array:
        """The indices of a boot's rows, ascending, int64."""
        part = self.within(boot)
        mine: _Array = np.flatnonzero(self.boot[part] == boot) + part.start
        return mine

    def by_cpu(self, boot: int) -> dict[int, _Array]:
        """The indices of the rows of each CPU of a boot, ascending, int64."""
        mine = self.indices(boot)
        return grouped(self.cpu[mine], mine)

    def of_kinds(self, boot: int, codes: Collection[int]) -> _Array:
        """The indices of the rows of a boot's events of these kinds, ascending, int64."""
        part = self.within(boot)
        kind = self.kind[part]
        mine: _Array = np.flatnonzero(one_of(kind, codes)) + part.start
        return mine

    def of_boot(self, boot: int) -> _Array | slice:
        """The indices of a boot's rows, as a slice if they are contiguous."""
        part = self.within(boot)
        spans = _SPANS[self].values()
        together = sum(span.stop - span.start for span in spans) == len(self)
        return part if together else self.indices(boot)


_SPANS: WeakKeyDictionary[Rows, Mapping[int, slice]] = WeakKeyDictionary()


def _spans(boot: _Array) -> Mapping[int, slice]:
    """Boot -> from its first row to its last: rows mostly come boot by boot."""
    if not len(boot):
        return {}
    starts = np.concatenate([[0], np.flatnonzero(boot[1:] != boot[:-1]) + 1])
    ends = np.append(starts[1:], len(boot))
    numbers, first = np.unique(boot[starts], return_index=True)
    last = len(starts) - 1 - np.unique(boot[starts][::-1], return_index=True)[1]
    return {
        int(number): slice(int(starts[a]), int(ends[b]))
        for number, a, b in zip(numbers, first, last, strict=True)
    }


def one_of(values: _Array, some: Collection[int]) -> _Array:
    """A mask: which values are among ``some``; a comparison is far faster than isin()."""
    if not 0 < len(some) <= _FEW:
        return np.isin(values, list(some))
    return functools.reduce(np.logical_or, (values == one for one in some))


def distinct(values: _Array) -> tuple[_Array, _Array]:
    """(the distinct values; for every value its index among them), of integers.

    A table is faster than sorting where numbers are small, as pids are, or no larger than the
    values are many. Damaged records may hold others.
    """
    large = min(_PID_LIMIT, _ROOMY * len(values) + _SMALL)
    if not len(values) or values.min() < 0 or values.max() >= large:
        unique, which = np.unique(values, return_inverse=True)
        return unique, which
    unique = np.flatnonzero(np.bincount(values))
    table = np.empty(int(values.max()) + 1, np.int32)
    table[unique] = np.arange(len(unique), dtype=np.int32)
    return unique, table[values]


def grouping(key: _Array) -> tuple[_Array, _Array, _Array]:
    """(order by key, else as they come; where each key starts; how many of each)."""
    small = key.astype(np.uint16) if len(key) and int(key.max()) < 1 << 16 else key
    order = np.argsort(small, kind="stable")  # numpy sorts 16 bits by radix
    ordered = key[order]
    starts = np.flatnonzero(np.append(True, ordered[1:] != ordered[:-1])[: len(ordered)])
    return order, starts, np.diff(np.append(starts, len(ordered)))


def grouped(key: _Array, rows: _Array) -> dict[int, _Array]:
    """The rows of each key, in the order that they have; keys ascending."""
    order, starts, counts = grouping(key)
    ordered = rows[order]
    ends = (starts + counts).tolist()
    return {
        int(key[order[start]]): ordered[start:end]
        for start, end in zip(starts.tolist(), ends, strict=True)
    }


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


class Kinds:
    """The events that occur, numbered in order of appearance."""

    def __init__(self) -> None:
        self.found: list[EventKind] = []
        self._codes: dict[int, _Array] = {}

    def of(self, boot: Boot, ids: _Array) -> _Array:
        """The numbers of a boot's events of these ids, int32."""
        codes = self._codes.setdefault(boot.index, np.full(_ID_LIMIT, -1, np.int32))
        for event_id in np.flatnonzero(np.bincount(ids, minlength=1)).tolist():
            if codes[event_id] < 0:
                codes[event_id] = len(self.found)
                self.found.append(EventKind(boot.index, event_id, boot.event_name(event_id)))
        numbers: _Array = codes[ids]
        return numbers

    def find(self, boot: Boot, name: str) -> int | None:
        """The number of a boot's event ``system:name``, None where it does not occur."""
        numbers = (n for n, k in enumerate(self.found) if k.boot == boot.index and k.name == name)
        return next(numbers, None)


def of_cpu(records: Records, boot: Boot, buffer: int, kinds: Kinds) -> Rows:
    """The rows of a CPU's records in buffer number ``buffer``."""
    n, raw = len(records), numpy_columns(records)
    return Rows(
        ts_raw=raw["ts"],
        boot=np.full(n, boot.index, np.uint8),
        cpu=np.full(n, records.cpu, np.uint16),
        pid=raw["pid"],
        kind=kinds.of(boot, raw["type"]),
        flags=raw["flags"],
        preempt=raw["preempt"],
        buffer=np.full(n, buffer, np.uint16),
        offset=raw["offset"],
        length=raw["length"],
    )


def in_order(parts: Sequence[Rows]) -> Rows:
    """The parts, sorted by raw stamp; equal stamps keep their order."""
    # each part is sorted unless damaged, and a stable sort is fast at merging sorted runs
    stamps = [p.ts_raw for p in parts]
    return Rows.joined(parts, np.argsort(np.concatenate(stamps), kind="stable"))
