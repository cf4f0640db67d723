"""The events of a selection by system (``sched``, ``irq``): a window's are quick to count."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from tracekit.query.groups import Index
from tracekit.query.selection import Selection, among
from tracekit.recording import Recording

__all__ = ["by_system", "count_systems"]

_Array = npt.NDArray[Any]
_PIECE = 1 << 17  # rows between two pauses


def by_system(
    recording: Recording, index: Index, selection: Selection, pause: Callable[[], None]
) -> dict[str, list[_Array]]:
    """System -> its rows in the selection, in arrays that ascend one by one."""
    names = [name.partition(":")[0] for name in recording.event_names]
    found: dict[str, list[_Array]] = {name: [] for name in names}
    if selection.rows is None:
        for code, name in enumerate(names):
            found[name].append(index.events.rows(code))
        return found
    systems = list(found)
    of_name = np.array([systems.index(name) for name in names] or [0])
    for start in range(0, len(selection.rows), _PIECE):
        rows = selection.rows[start : start + _PIECE]
        codes = of_name[recording.name_codes(rows)]
        for code in np.unique(codes).tolist():
            found[systems[code]].append(rows[codes == code])
        pause()
    return {name: [np.concatenate(parts)] for name, parts in found.items() if parts}


def count_systems(groups: Mapping[str, Sequence[_Array]], first: int, last: int) -> dict[str, int]:
    """How many of the rows ``[first, last)`` each system has, the most first."""
    counts: dict[str, int] = {}
    for name, parts in groups.items():
        for rows in parts:
            start, stop = among(rows, [first, last]).tolist()
            counts[name] = counts.get(name, 0) + stop - start
    return {name: counts[name] for name in sorted(counts, key=lambda n: -counts[n]) if counts[name]}
