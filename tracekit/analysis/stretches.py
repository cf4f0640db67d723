"""Stretches of a CPU's time in which no event does not mean that nothing happened.

Where there is no stretch, the CPU was recorded: no event there means that it was quiet.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import cached_property
from itertools import groupby
from typing import Any, Literal, get_args

import numpy as np
import numpy.typing as npt

from tracekit.frozen import dataclass

__all__ = ["ENDLESS", "KINDS", "LOSSES", "Kind", "Stretch", "Stretches", "layered", "together"]

_Array = npt.NDArray[Any]
#: ``quiet``: recorded. ``stopping``: recorded, while the CPU was being stopped: what it ran is not
#: known. ``unknown``: nothing tells. ``ended``: the record of this CPU ended before that of its
#: kernel. ``stopped``: the CPU did not run. ``overwritten``: there were events, newer ones took
#: their place or they were dropped. ``unreadable``: sub-buffers are damaged or missing.
Kind = Literal[
    "quiet", "stopping", "stopped", "ended", "unknown", "overwritten", "unreadable"
]  # fmt: skip
KINDS: tuple[Kind, ...] = get_args(Kind)  #: the ones further on are drawn over those before
LOSSES: tuple[Kind, ...] = ("overwritten", "unreadable")  #: there were events
ENDLESS = 1 << 62  # ns: before and after everything
#: When several CPUs differ, the first that one of them is.
_WORST: tuple[Kind, ...] = ("unreadable", "overwritten", "unknown", "ended")


@dataclass(frozen=True, slots=True)
class Stretch:
    """``[start_ns, end_ns)`` on the session's axis; ``note`` says why, in words."""

    start_ns: int
    end_ns: int
    kind: Kind
    note: str = ""


def layered(layers: Sequence[Stretch]) -> tuple[Stretch, ...]:
    """The layers as stretches that do not overlap, by start, without the quiet ones.

    A later layer covers those before it.
    """
    layers = [layer for layer in layers if layer.end_ns > layer.start_ns]
    if not layers:
        return ()
    edges = np.array([(layer.start_ns, layer.end_ns) for layer in layers], np.int64)
    cuts, place = np.unique(edges, return_inverse=True)
    top = np.full(len(cuts), -1)
    for number, (first, last) in enumerate(place.reshape(-1, 2).tolist()):
        top[first:last] = number
    times = cuts.tolist()
    pieces = [
        (times[i], times[i + 1], layers[number].kind, layers[number].note)
        for i, number in enumerate(top[:-1].tolist()) if number >= 0
    ]  # fmt: skip
    return _joined(pieces)


def _joined(pieces: Sequence[tuple[int, int, Kind, str]]) -> tuple[Stretch, ...]:
    """Pieces that follow one another and are alike, as one stretch; none of the quiet ones."""
    made: list[Stretch] = []
    for (kind, note), run in groupby(pieces, lambda piece: piece[2:]):
        for start, end, *_ in run if kind != "quiet" else ():
            if made and made[-1].end_ns == start and (made[-1].kind, made[-1].note) == (kind, note):
                start = made.pop().start_ns
            made.append(Stretch(start, end, kind, note))
    return tuple(made)


def together(cpus: Sequence[Sequence[Stretch]]) -> tuple[Stretch, ...]:
    """The stretches of several CPUs as one: what is missing of any of them is missing.

    Stopped only where all are: while one of them runs, no event means that it was quiet.
    """
    every = [stretch for stretches in cpus for stretch in stretches]
    if not every:
        return ()
    edges = np.array([(s.start_ns, s.end_ns) for s in every], np.int64)
    cuts, place = np.unique(edges, return_inverse=True)
    place = place.reshape(-1, 2)
    chosen = np.full(len(cuts) - 1, "quiet", "<U11")
    for kind, least in (("stopped", len(cpus)), *((kind, 1) for kind in reversed(_WORST))):
        mine = np.array([s.kind == kind for s in every], bool)
        steps = np.zeros(len(cuts), np.int64)
        np.add.at(steps, place[mine, 0], 1)
        np.add.at(steps, place[mine, 1], -1)
        chosen[np.cumsum(steps)[:-1] >= least] = kind
    times = cuts.tolist()
    return _joined([(times[i], times[i + 1], k, "") for i, k in enumerate(chosen.tolist())])


class Stretches:
    """Stretches that do not overlap, by their start, to be looked up and drawn."""

    def __init__(self, stretches: Sequence[Stretch] = ()) -> None:
        self._all = stretches

    def __len__(self) -> int:
        return len(self._all)

    def __iter__(self) -> Iterator[Stretch]:
        return iter(self._all)

    @cached_property
    def starts(self) -> _Array:
        """When each begins, ns."""
        return np.array([s.start_ns for s in self._all], np.int64)

    @cached_property
    def ends(self) -> _Array:
        """When each ends, ns."""
        return np.array([s.end_ns for s in self._all], np.int64)

    @cached_property
    def _codes(self) -> _Array:
        return np.array([KINDS.index(s.kind) for s in self._all], np.int8)

    def at(self, ns: int) -> Stretch | None:
        """The one that an instant lies in."""
        i = int(np.searchsorted(self.ends, ns, "right"))
        return self._all[i] if i < len(self._all) and self._all[i].start_ns <= ns else None

    def after(self, ns: int) -> Stretch | None:
        """The first that begins at an instant or later."""
        i = int(np.searchsorted(self.starts, ns))
        return self._all[i] if i < len(self._all) else None

    def kinds(self, start: int, end: int, least_ns: float) -> set[Kind]:
        """The kinds in ``[start, end]``: of losses, and of others that last so long there."""
        first, last = np.searchsorted(self.ends, start), np.searchsorted(self.starts, end)
        begins, stops = np.maximum(self.starts[first:last], start), self.ends[first:last]
        lost = np.isin(self._codes[first:last], [KINDS.index(kind) for kind in LOSSES])
        seen = lost | (np.minimum(stops, end) - begins >= least_ns)
        return {KINDS[code] for code in np.unique(self._codes[first:last][seen]).tolist()}

    def cells(self, start: int, end: int, cells: int) -> tuple[_Array, _Array]:
        """(what each of so many cells of the time ``[start, end)`` is, losses shorter than a cell).

        Both int8, indices into :data:`KINDS`; 0 where there is none. A cell is what more than half
        of it is, or any stopped CPU shorter than that.
        """
        drawn, short = np.zeros(cells, np.int8), np.zeros(cells, np.int8)
        first = np.searchsorted(self.ends, start, "right")  # what ends there is not in it
        last = np.searchsorted(self.starts, end)
        codes = self._codes[first:last]
        scale = cells / (end - start)
        begins = (np.maximum(self.starts[first:last], start) - start) * scale
        stops = (np.minimum(self.ends[first:last], end) - start) * scale
        edges = np.rint(begins).astype(np.int64), np.rint(stops).astype(np.int64)
        slim = np.minimum(begins.astype(np.int64), cells - 1), edges[0] == edges[1]
        for code, kind in enumerate(KINDS):
            mine, steps = codes == code, np.zeros(cells + 1, np.int64)
            np.add.at(steps, edges[0][mine], 1)
            np.add.at(steps, edges[1][mine], -1)
            drawn[np.cumsum(steps)[:-1] > 0] = code
            here = slim[0][mine & slim[1]]
            if kind in LOSSES:
                short[here] = code
            elif kind == "stopped":
                drawn[here] = np.where(drawn[here] == 0, code, drawn[here])
        return drawn, short
