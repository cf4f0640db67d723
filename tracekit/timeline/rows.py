"""The events of a session as plain arrays, before they are placed on a time axis."""

from __future__ import annotations

import functools
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import fields
from typing import Any, Self
from weakref import WeakKeyDictionary

import numpy as np
import numpy.typing as npt

from tracekit.frozen import dataclass
from tracekit.ftrace.ring.page import Records
from tracekit.spill import Spill, release
from tracekit.timeline.boot import Boot

__all__ = [
    "PID_LIMIT",
    "PIECE",
    "ROW_TYPES",
    "EventKind",
    "Kinds",
    "Rows",
    "different",
    "distinct",
    "grouped",
    "in_batches",
    "length_of",
    "numbers",
    "numpy_columns",
    "one_of",
    "pieces",
    "row_column",
    "steps_back",
]

_Array = npt.NDArray[Any]
_ID_LIMIT = 1 << 17  # of the kernel's events and, above them, the BPF probes'
_SMALL, _ROOMY = 1 << 12, 16  # entries of a table; and a value
PIECE = 1 << 18  #: rows that are looked at together
#: Of the columns of rows.
ROW_TYPES = ("u8", "u1", "u2", "i4", "i4", "u1", "u1", "u2", "u8", "u4")
_FEW = 4  # comparisons that take less time than one isin()
PID_LIMIT = 1 << 22  #: PID_MAX_LIMIT, include/linux/threads.h


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
    def joined(cls, parts: Sequence[Self], order: _Array | slice = slice(None)) -> Self:
        """The parts one after the other, or in ``order``; one column at a time to save memory."""
        return cls(
            *(np.concatenate([getattr(p, f.name) for p in parts])[order] for f in fields(cls))
        )

    @classmethod
    def none(cls) -> Self:
        """No rows at all."""
        return cls(*(np.empty(0, t) for t in ROW_TYPES))

    def within(self, boot: int) -> slice:
        """From a boot's first row to its last; others' may be between."""
        if self not in _SPANS:
            _SPANS[self] = _spans(self.boot)
        return _SPANS[self].get(boot, slice(0, 0))

    def each_of_boot(self, boot: int) -> Iterator[_Array | slice]:
        """The indices of a boot's rows, ascending, some at a time; a slice of contiguous ones."""
        part, mixed = self.within(boot), self._mixed()
        for piece in pieces(part.stop, part.start):
            yield np.flatnonzero(self.boot[piece] == boot) + piece.start if mixed else piece

    def count(self, boot: int) -> int:
        """How many rows a boot has."""
        part = self.within(boot)
        if not self._mixed():
            return int(part.stop - part.start)
        mine = (self.boot[piece] == boot for piece in pieces(part.stop, part.start))
        return sum(int(np.count_nonzero(some)) for some in mine)

    def cpu_ends(self, boot: int, last: int = 1) -> dict[int, tuple[int, _Array]]:
        """CPU -> (its first row, its ``last`` last ones, ascending) of a boot, by CPU."""
        found: dict[int, tuple[int, _Array]] = {}
        for some in self.each_of_boot(boot):
            for cpu, mine in grouped(self.cpu[some], numbers(some)).items():
                first, before = found.get(cpu, (int(mine[0]), mine[:0]))
                found[cpu] = first, np.concatenate([before, mine[-last:]])[-last:]
        return dict(sorted(found.items()))

    def of_kinds(self, boot: int, codes: Collection[int]) -> _Array:
        """The indices of the rows of a boot's events of these kinds, ascending, int64."""
        part = self.within(boot)
        found = (
            np.flatnonzero(one_of(self.kind[piece], codes)) + piece.start
            for piece in pieces(part.stop, part.start)
        )
        return np.concatenate([np.empty(0, np.int64), *found])

    def from_the_last(self, boot: int, codes: Iterable[int]) -> Iterator[dict[int, _Array]]:
        """Kind -> indices (ascending) of a boot's rows of these kinds, the last rows first."""
        part = self.within(boot)
        for piece in reversed([*pieces(part.stop, part.start)]):
            kind = self.kind[piece]
            there = np.bincount(kind, minlength=1)
            yield {
                code: np.flatnonzero(kind == code) + piece.start
                for code in codes
                if code < len(there) and there[code]
            }
            release()

    def of_boot(self, boot: int) -> _Array | slice:
        """The indices of a boot's rows, as a slice if they are contiguous."""
        part = self.within(boot)
        if not self._mixed():
            return part
        return np.concatenate([np.empty(0, np.int64), *self.each_of_boot(boot)])

    def _mixed(self) -> bool:
        """Whether rows of one boot lie between those of another."""
        self.within(0)
        together: int = sum(span.stop - span.start for span in _SPANS[self].values())
        return together != len(self)


_SPANS: WeakKeyDictionary[Rows, Mapping[int, slice]] = WeakKeyDictionary()


def _spans(boot: _Array) -> Mapping[int, slice]:
    """Boot -> from its first row to its last: rows mostly come boot by boot."""
    if not len(boot):
        return {}
    other = (
        np.flatnonzero(boot[p.start + 1 : p.stop + 1] != boot[p.start : p.stop]) + p.start + 1
        for p in pieces(len(boot) - 1)
    )
    starts = np.concatenate([[0], *other]).astype(np.int64)
    ends = np.append(starts[1:], len(boot))
    numbers, first = np.unique(boot[starts], return_index=True)
    last = len(starts) - 1 - np.unique(boot[starts][::-1], return_index=True)[1]
    return {
        int(number): slice(int(starts[a]), int(ends[b]))
        for number, a, b in zip(numbers, first, last, strict=True)
    }


def one_of(values: _Array, some: Collection[int]) -> _Array:
    """A mask: which values are among ``some``; a comparison is far faster than isin()."""
    if not len(values) or not some:
        return np.zeros(len(values), bool)
    if len(some) > _FEW:
        small = min(some) >= 0 and max(some) < _ID_LIMIT  # a table of them is, too
        return np.isin(values, list(some), kind="table" if small else None)
    return functools.reduce(np.logical_or, (values == one for one in some))


def different(values: _Array) -> list[Any]:
    """The distinct values, ascending."""
    unique = np.flatnonzero(_counted(values)) if _small(values) else distinct(values)[0]
    found: list[Any] = unique.tolist()
    return found


def distinct(values: _Array) -> tuple[_Array, _Array]:
    """(the distinct values; for every value its index among them), of integers."""
    if not _small(values):
        unique, which = np.unique(values, return_inverse=True)
        return unique, which
    unique = np.flatnonzero(_counted(values))
    table = np.empty(int(values.max()) + 1, np.int32)
    table[unique] = np.arange(len(unique), dtype=np.int32)
    return unique, table[values]


def _small(values: _Array) -> bool:
    """Whether a table of numbers is faster than to sort the values.

    So it is where they are small, as pids are, or no larger than the values are many. Damaged
    records may hold others.
    """
    if not len(values):
        return False
    large = min(PID_LIMIT, _ROOMY * len(values) + _SMALL)
    return bool(values.min() >= 0 and values.max() < large)


def _counted(values: _Array) -> _Array:
    counts: _Array = np.bincount(values.astype(np.intp, copy=False))
    return counts


def grouping(key: _Array, order: _Array | None = None) -> tuple[_Array, _Array, _Array]:
    """(order by key, else as they come; where each key starts; how many of each)."""
    if order is None:
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
        self.number(boot, ids)
        numbers: _Array = self.codes(boot)[ids]
        return numbers

    def number(self, boot: Boot, ids: _Array) -> None:
        """Give numbers to a boot's events of these ids that have none yet."""
        occur = np.zeros(_ID_LIMIT, bool)
        for piece in pieces(len(ids)):
            occur[ids[piece]] = True
        codes = self.codes(boot)
        for event_id in np.flatnonzero(occur & (codes < 0)).tolist():
            codes[event_id] = len(self.found)
            self.found.append(EventKind(boot.index, event_id, boot.event_name(event_id)))

    def codes(self, boot: Boot) -> _Array:
        """Id -> number of a boot's events, int32; -1 of those that did not occur."""
        return self._codes.setdefault(boot.index, np.full(_ID_LIMIT, -1, np.int32))

    def find(self, boot: Boot, name: str) -> int | None:
        """The number of a boot's event ``system:name``, None where it does not occur."""
        numbers = (n for n, k in enumerate(self.found) if k.boot == boot.index and k.name == name)
        return next(numbers, None)


class _Passed:
    rows = 0  # since mapped memory was let go of, in this process


def pieces(stop: int, start: int = 0) -> Iterator[slice]:
    """Slices of so many rows, one after the other; mapped memory is let go of after as many."""
    for first in range(start, stop, PIECE):
        piece = slice(first, min(first + PIECE, stop))
        yield piece
        _Passed.rows += piece.stop - piece.start
        if _Passed.rows >= PIECE:
            _Passed.rows = 0
            release()


def in_batches(parts: Iterable[_Array | slice], size: int) -> Iterator[_Array | slice]:
    """Rows (indices, ascending) of which some come at a time, ``size`` at a time, as do the last.

    Adjacent ones are a slice, which needs no copy.
    """
    held: list[_Array | slice] = []
    room = size
    for part in parts:
        rest = part
        while (length := length_of(rest)) >= room:
            yield _together([*held, _part(rest, 0, room)])
            held, rest, room = [], _part(rest, room, length), size
        if length:
            held.append(rest)
            room -= length
    if held:
        yield _together(held)


def numbers(rows: _Array | slice) -> _Array:
    """The rows as indices, where they may be a slice."""
    return np.arange(rows.start, rows.stop) if isinstance(rows, slice) else rows


def row_column(parts: Iterable[_Array | slice], most: int, spill: Spill) -> _Array:
    """Rows of which some come at a time, ``most`` in all, as one column, int64."""
    chunks = (numbers(part).astype(np.int64).tobytes() for part in parts)
    return np.frombuffer(spill.collected(chunks, 8 * most), np.int64)


def length_of(rows: _Array | slice) -> int:
    """How many rows there are."""
    return rows.stop - rows.start if isinstance(rows, slice) else len(rows)


def _part(rows: _Array | slice, start: int, stop: int) -> _Array | slice:
    return (
        slice(rows.start + start, rows.start + stop)
        if isinstance(rows, slice)
        else rows[start:stop]
    )


def _together(parts: Sequence[_Array | slice]) -> _Array | slice:
    """One slice, if the rows are adjacent, else all indices."""
    ends = [
        (p.start, p.stop - 1) if isinstance(p, slice) else (int(p[0]), int(p[-1])) for p in parts
    ]
    size, (first, last) = sum(map(length_of, parts)), (ends[0][0], ends[-1][1])
    if last - first == size - 1:
        return slice(first, last + 1)
    return np.concatenate([numbers(part) for part in parts])


def steps_back(values: _Array) -> bool:
    """Whether one of the values is smaller than the one before."""
    parts = pieces(len(values) - 1)
    return any(bool((values[p.start + 1 : p.stop + 1] < values[p]).any()) for p in parts)
