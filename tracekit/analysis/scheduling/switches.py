"""Task switches as arrays: who left a CPU, how, and who came."""

from __future__ import annotations

import re
from typing import Any

import numpy as np
import numpy.typing as npt

from tracekit.analysis.arguments import integers
from tracekit.analysis.columns import pairs_of
from tracekit.frozen import dataclass
from tracekit.ftrace.columns import as_numpy
from tracekit.spill import release
from tracekit.timeline.events import Events

__all__ = ["NOT_PREV", "SWITCH", "Switches", "decode_switches"]

_Array = npt.NDArray[Any]
SWITCH = "sched:sched_switch"
#: Where a record does not tell who left, and who came: no pid is either, and they differ.
NOT_PREV, _NOT_NEXT = -1 << 40, -1 << 41
_SOME = 1 << 11  # rows
_STATE = re.compile(r"prev_state=(\S+)")


@dataclass(frozen=True, slots=True)
class Switches:
    """Switches in the order of time; ``prev`` and ``next`` are pids (int64).

    ``letter`` is the index into ``letters`` of the state that the task left in, as the kernel
    prints it: ``R``, ``R+`` (preempted), ``S``, ``D``, ...; ``?`` where it does not say.
    """

    rows: _Array
    boot: _Array
    cpu: _Array
    ts: _Array
    prev: _Array
    next: _Array
    letter: _Array
    letters: list[str]


def _letters(events: Events, rows: _Array) -> tuple[_Array, list[str]]:
    """The printed state of each: each kernel prints its own bits, so it is asked to."""
    states, has = integers(events, rows, "prev_state")
    *_, first, which = pairs_of(events.rows.kind[rows], np.where(has, states, -1))
    letters: dict[str, int] = {"?": 0}
    table, by = np.zeros(len(first), np.int32), np.argsort(first)
    for start in range(0, len(first), _SOME):
        some = by[start : start + _SOME]
        rendered = events.render(events.rows.take(rows[first[some]]))
        release()  # these lie anywhere: each may have a page mapped of every column
        texts, indices = rendered.dictionary.to_pylist(), as_numpy(rendered.indices)
        for i, text in zip(some.tolist(), indices.tolist(), strict=True):
            found = _STATE.search(texts[text])
            table[i] = letters.setdefault(found[1] if found else "?", len(letters))
    return table[which], list(letters)


def decode_switches(events: Events, rows: _Array) -> Switches:
    """The switches at ``rows`` (indices of ``sched:sched_switch``, ascending)."""
    prev, has_prev = integers(events, rows, "prev_pid")
    come, has_next = integers(events, rows, "next_pid")
    letter, letters = _letters(events, rows)
    columns = events.rows
    return Switches(
        rows, columns.boot[rows], columns.cpu[rows], events.axis.ts_ns[rows],
        np.where(has_prev, prev, NOT_PREV), np.where(has_next, come, _NOT_NEXT), letter, letters,
    )  # fmt: skip
