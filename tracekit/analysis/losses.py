"""When events of a CPU were lost, so that what was derived across it is marked."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from tracekit.analysis.ring_record import ring_records
from tracekit.analysis.stretches import LOSSES, Stretch
from tracekit.timeline.events import Events

__all__ = ["Losses", "losses_of"]

_Array = npt.NDArray[Any]
_Edges = tuple[_Array, _Array]


class Losses:
    """The stretches of time (ns on the axis) in which events of a CPU were lost."""

    def __init__(self, of_cpu: Mapping[int, Sequence[tuple[int, int]]]) -> None:
        """``of_cpu``: CPU -> (begin, end) of each."""
        self._cpus = {cpu: _edges(mine) for cpu, mine in of_cpu.items() if mine}
        self._all = _edges([one for mine in of_cpu.values() for one in mine])

    @classmethod
    def of_stretches(cls, stretches: Mapping[int, Iterable[Stretch]]) -> Losses:
        """Of what a picture says of each CPU."""
        return cls({
            cpu: [(s.start_ns, s.end_ns) for s in mine if s.kind in LOSSES]
            for cpu, mine in stretches.items()
        })  # fmt: skip

    def __bool__(self) -> bool:
        return bool(self._cpus)

    def within(self, cpu: _Array, start: _Array, end: _Array) -> _Array:
        """Which intervals (ns) have a loss of their CPU in them, or of any where that is -1."""
        cut = np.zeros(len(cpu), bool)
        if not self._cpus:
            return cut
        for one in np.unique(cpu).tolist():
            edges = self._all if one < 0 else self._cpus.get(one)
            if edges is not None:
                mine = np.flatnonzero(cpu == one)
                begun = np.searchsorted(edges[0], end[mine])
                over = np.searchsorted(edges[1], start[mine], "right")
                cut[mine] = begun > over
        return cut


def _edges(stretches: Sequence[tuple[int, int]]) -> _Edges:
    starts, ends = (np.sort(np.array(edge, np.int64)) for edge in zip(*stretches, strict=True)) \
        if stretches else (np.empty(0, np.int64), np.empty(0, np.int64))  # fmt: skip
    return starts, ends


def _holes(events: Events) -> Iterator[tuple[int, int, int]]:
    for boot in events.boots:
        if not events.rows.count(boot.index):
            continue
        for ring in ring_records(events, boot, boot is not events.boots[-1]):
            yield from ((ring.cpu, hole.start_ns, hole.end_ns) for hole in ring.holes)


def losses_of(events: Events) -> Losses:
    """The holes in the record of each CPU; for events that are not from an index."""
    of_cpu: dict[int, list[tuple[int, int]]] = {}
    for cpu, start, end in _holes(events):
        of_cpu.setdefault(cpu, []).append((start, end))
    return Losses(of_cpu)
