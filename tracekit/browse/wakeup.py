"""The wakeup that one event belongs to: who woke a task, and when it ran because of that.

Looked for around the event only, so that an answer takes no longer in a long recording: so many
wakeups and switches away as :data:`_PIECES` adds up to.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import numpy.typing as npt

from tracekit.analysis.arguments import integers
from tracekit.browse.lanes import SWITCH
from tracekit.frozen import dataclass
from tracekit.query.groups import Index
from tracekit.query.selection import among
from tracekit.recording import Recording

__all__ = ["Wakeup", "wakeup_of"]

_Array = npt.NDArray[Any]
_WAKING, _WAKEUPS = "sched:sched_waking", ("sched:sched_wakeup", "sched:sched_wakeup_new")
_PIECES = (1 << 7, 1 << 11, 1 << 15)  # events looked at, one piece after the other


@dataclass(frozen=True, slots=True)
class Wakeup:
    """``row``: the event that woke task ``pid``; ``end_row``: the switch to it, -1 if not found."""

    pid: int
    row: int
    end_row: int


def _rows(recording: Recording, index: Index, name: str) -> _Array:
    names = recording.event_names
    return index.events.rows(names.index(name)) if name in names else np.empty(0, np.uint32)


def _pieces(rows: _Array, row: int, forward: bool) -> Iterator[_Array]:
    """``rows`` after ``row``, or those before it, the nearest piece first."""
    at = int(among(rows, row, "right" if forward else "left"))
    for size in _PIECES:
        piece = rows[at : at + size] if forward else rows[max(0, at - size) : at]
        at += size if forward else -size
        if len(piece):
            yield piece.astype(np.int64)
        if at <= 0 or at >= len(rows):
            return


def _found(
    recording: Recording, rows: _Array, field: str, pid: int, row: int, forward: bool
) -> int | None:
    """The nearest of ``rows`` on that side of ``row``, of its boot, whose ``field`` is ``pid``."""
    boots = recording.rows.boot
    for piece in _pieces(rows, row, forward):
        values, has = integers(recording, piece, field)
        hits = piece[has & (values == pid) & (boots[piece] == boots[row])]
        if len(hits):
            return int(hits[0 if forward else -1])
    return None


def _argument(recording: Recording, row: int, field: str) -> int:
    """A pid among an event's arguments; 0 where there is none, as of the idle task."""
    values, _ = integers(recording, np.array([row]), field)
    return int(values[0])


def _began(recording: Recording, index: Index, pid: int, row: int) -> int | None:
    """The event before a switch to a task that woke it; None if it was not woken, but preempted."""
    ran = _found(recording, _rows(recording, index, SWITCH), "next_pid", pid, row, False)
    for name in (_WAKING, *_WAKEUPS):
        woke = _found(recording, _rows(recording, index, name), "pid", pid, row, False)
        if woke is not None and (ran is None or woke > ran):
            return woke
    return None


def wakeup_of(recording: Recording, index: Index, row: int) -> Wakeup | None:
    """The wakeup that the event at ``row`` is, follows from, or led to; None if there is none."""
    name = recording.event_names[int(recording.name_codes(np.array([row]))[0])]
    if name == SWITCH:
        pid = _argument(recording, row, "next_pid")
        woke = _began(recording, index, pid, row) if pid > 0 else None
        return None if woke is None else Wakeup(pid, woke, row)
    if name != _WAKING and name not in _WAKEUPS:
        return None
    pid = _argument(recording, row, "pid")
    if pid <= 0:
        return None
    woke = row if name == _WAKING else _began(recording, index, pid, row)
    switches = _rows(recording, index, SWITCH)
    ran = _found(recording, switches, "next_pid", pid, row, True)
    woke = row if woke is None else woke
    if ran is not None and _began(recording, index, pid, ran) != woke:
        ran = None  # it ran already, or was woken once more
    return Wakeup(pid, woke, -1 if ran is None else ran)
