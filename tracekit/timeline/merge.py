"""Merges the events of all CPUs and boots, and of BPF probes that printed into a buffer.

The stamps of a CPU do not step back, but where its record is damaged. So the CPUs are merged a
window of time after the other, of about :data:`~tracekit.timeline.rows.PIECE` rows: what is sorted
is small, however much was recorded.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from tracekit.frozen import dataclass
from tracekit.ftrace.ring.page import Records
from tracekit.spill import Spill, release
from tracekit.timeline.boot import Boot, Buffer
from tracekit.timeline.bpf_records import with_probes
from tracekit.timeline.new_rows import NewColumn, NewRows
from tracekit.timeline.read_buffers import read_buffers
from tracekit.timeline.rows import (
    PIECE,
    EventKind,
    Kinds,
    Rows,
    numpy_columns,
    pieces,
    steps_back,
)
from tracekit.timeline.saved.bpf_format import ProbeRecords

__all__ = ["BootPart", "Merged", "merge", "windows"]

_Array = npt.NDArray[np.uint64]
_RUNS = 16  # between which memory is let go of
_ROOM = 64 << 20  # bytes of the disk, far more than the rows of a window take


@dataclass(frozen=True, slots=True)
class _Run:
    """Rows in the order of their stamps (u64), of which ``take`` gives a part."""

    stamps: _Array
    take: Callable[[slice], Rows]


@dataclass(frozen=True, slots=True)
class BootPart:
    """One boot's recorded buffers; ``first`` is the number of the first in the session."""

    boot: Boot
    first: int
    buffers: tuple[Buffer, ...]
    probes: ProbeRecords


@dataclass(frozen=True, slots=True)
class Merged:
    """The events of all boots, boot by boot, each boot in the order of its raw stamps."""

    rows: Rows
    kinds: Sequence[EventKind]
    parts: tuple[BootPart, ...]

    @property
    def buffers(self) -> list[Buffer]:
        """All buffers; ``rows.buffer`` is the index."""
        return [buffer for part in self.parts for buffer in part.buffers]


def _kept(spill: Spill, values: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """The values, where there is room for them."""
    column = NewColumn(spill, len(values), values.dtype)
    column.put(slice(0, len(values)), [values])
    return column.values


def _run(records: Records, boot: Boot, buffer: int, kinds: Kinds) -> _Run:
    """A CPU's records in buffer number ``buffer``."""
    raw = numpy_columns(records)
    kinds.number(boot, raw["type"])
    codes, stamps = kinds.codes(boot), raw["ts"]
    # others are copied, so that what they are from can be let go of
    held = {name for name in raw if isinstance(getattr(records, name), bytes)}
    order: npt.NDArray[Any] | None = None
    if steps_back(stamps):
        spill = boot.session.spill
        order = _kept(spill, np.argsort(stamps, kind="stable"))
        stamps = _kept(spill, stamps[order])

    def take(part: slice) -> Rows:
        at, n = part if order is None else order[part], part.stop - part.start
        some = {
            name: column[at] if name in held else np.array(column[at])
            for name, column in raw.items()
        }
        return Rows(
            ts_raw=some["ts"],
            boot=np.full(n, boot.index, np.uint8),
            cpu=np.full(n, records.cpu, np.uint16),
            pid=some["pid"],
            kind=codes[some["type"]],
            flags=some["flags"],
            preempt=some["preempt"],
            buffer=np.full(n, buffer, np.uint16),
            offset=some["offset"],
            length=some["length"],
        )

    release()
    return _Run(stamps, take)


def windows(every: list[_Array]) -> Iterator[dict[int, slice]]:
    """Windows of time that follow one another: of the sorted columns of stamps that have some in
    it (by number, ascending) the part that lies in it.

    A window has at most :data:`~.rows.PIECE` rows, and those that share the last one's stamp. A
    column that has ended is let go of.
    """
    done = [0] * len(every)
    ended = np.array([not len(stamps) for stamps in every])
    following = np.array([stamps[0] if len(stamps) else 0 for stamps in every], np.uint64)
    while not ended.all():
        last = following[~ended].min()
        open_, most = list[int](), PIECE
        while len(now := np.flatnonzero(~ended & (following <= last))) > len(open_):
            open_ = now.tolist()
            most = max(1, PIECE // len(open_))
            last = _end([every[i][done[i] :] for i in open_], most)
        parts = {}
        for i in open_:
            stop = _stop(every[i], done[i], last, most)
            parts[i], done[i] = slice(done[i], stop), stop
            ended[i] = stop == len(every[i])
            following[i] = 0 if ended[i] else every[i][stop]
            if ended[i]:
                done[i], every[i] = 0, every[i][:0].copy()
        yield parts


def _stop(stamps: _Array, start: int, last: np.uint64, most: int) -> int:
    """Where what is up to ``last`` ends, from ``start`` on: it is mostly no more than ``most``.

    To search all of the rest would bring as much of it into memory.
    """
    near = start + int(np.searchsorted(stamps[start : start + most], last, "right"))
    if near < min(start + most, len(stamps)):
        return near
    return near + int(np.searchsorted(stamps[near:], last, "right"))


def _end(every: Sequence[_Array], most: int) -> np.uint64:
    """Up to which stamp none of the sorted columns has more than ``most`` and its likes."""
    ends = [stamps[most - 1] for stamps in every if len(stamps) >= most]
    end: np.uint64 = min(ends) if ends else max(stamps[-1] for stamps in every)
    return end


def _sorted(runs: list[_Run], spill: Spill) -> Rows:
    """The rows of all runs, sorted by raw stamp; equal stamps keep the order of the runs.

    Empties ``runs``, each as its end is reached: its columns may take much of the disk.
    """
    ends, every = [len(run.stamps) for run in runs], [run.stamps for run in runs]
    whole, done = NewRows(spill, size := sum(ends)), 0
    left = dict(enumerate(runs))
    runs.clear()
    at_once = [{i: slice(0, end) for i, end in enumerate(ends) if end}] if size else []
    for parts in windows(every) if size > PIECE else at_once:
        taken = []
        for i, part in parts.items():
            taken.append(left[i].take(part))
            if len(taken) % _RUNS == 0:
                release()
            if part.stop == ends[i]:
                del left[i]
        whole.put(done, taken, _order(taken))
        done += sum(map(len, taken))
        if size > PIECE:
            spill.need(_ROOM)
        release()
    return whole.rows


def _order(parts: Sequence[Rows]) -> npt.NDArray[np.int64] | None:
    """By their stamps; each part is sorted, and a stable sort fast at merging. None: as it is."""
    if len(parts) == 1:
        return None
    stamps = np.concatenate([rows.ts_raw for rows in parts])
    return np.argsort(stamps, kind="stable")


def _read(boot: Boot, first: int, kinds: Kinds) -> tuple[Rows, list[Buffer]]:
    """The rows of all buffers of a boot, and the buffers without their columns."""
    buffers = read_buffers(boot)
    runs = [
        _run(records, boot, number, kinds)
        for number, buffer in enumerate(buffers, first)
        for records in buffer.records
    ]
    slim = [buffer.slim() for buffer in buffers]
    scratch = [buffer.scratch for buffer in buffers]
    del buffers
    rows = _sorted(runs, boot.session.spill)
    del scratch  # nothing is left of what lay in it
    return rows, slim


def _joined(parts: Sequence[Rows], spill: Spill) -> Rows:
    """The rows of one boot after the other."""
    some = [rows for rows in parts if len(rows)]
    size = sum(map(len, some))
    if len(some) == 1:
        return some[0]
    if size <= PIECE:
        return Rows.joined([Rows.none(), *some])
    whole, done = NewRows(spill, size), 0
    for rows in some:
        for piece in pieces(len(rows)):
            whole.put(done + piece.start, [rows.take(piece)])
            spill.need(_ROOM)
        done += len(rows)
    return whole.rows


def merge(boots: Sequence[Boot], *, probes: bool = True) -> Merged:
    """Read and decode everything that the boots recorded.

    Equal stamps keep the order of their CPUs, as the kernel's own ``trace`` file does
    (``__find_next_entry()``). With ``probes`` the BPF probes' records become events of their own;
    without, the text they printed stays as it is.
    """
    kinds = Kinds()
    parts, of_boots, first = list[BootPart](), list[Rows](), 0
    for boot in boots:
        spill = boot.session.spill
        rows, buffers = _read(boot, first, kinds)
        made, records = tuple[Buffer, ...](), ProbeRecords()
        if probes:
            found = with_probes(boot, buffers, rows, kinds, first)
            made, records = found.buffers, found.records
            if len(found.more):
                both = [_Run(one.ts_raw, one.take) for one in (rows, found.more)]
                rows = _sorted(both, spill)
        of_boots.append(rows)
        parts.append(BootPart(boot, first, (*buffers, *made), records))
        first += len(parts[-1].buffers)
    whole = _joined(of_boots, boots[0].session.spill) if boots else Rows.none()
    return Merged(whole, kinds.found, tuple(parts))
