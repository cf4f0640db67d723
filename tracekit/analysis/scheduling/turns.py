"""What each CPU ran: from a switch to the next one, and where the record begins and ends.

A switch says who comes, and the next one who leaves: between two that agree, that task ran. Where
they do not, switches are missing, and the time is nobody's. Before a CPU's first switch its events
are those of the task that the switch names as leaving; after its last they are those of the one
that came. That is inferred, up to the CPU's first and last event, and not further.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from tracekit.analysis.losses import Losses
from tracekit.analysis.match import combined
from tracekit.analysis.scheduling.switches import Switches
from tracekit.frozen import dataclass
from tracekit.query.groups import stable_order
from tracekit.timeline.events import Events

__all__ = ["NOBODY", "Turns", "find_turns"]

_Array = npt.NDArray[Any]
NOBODY = -1 << 40  #: in the place of a pid: switches are missing here


@dataclass(frozen=True, slots=True)
class Turns:
    """Parallel arrays, one entry a turn, by CPU and time.

    ``boot``, ``cpu``, ``pid`` (int64, :data:`NOBODY` where it is not known), ``start`` and ``end``
    (ns on the axis), ``row`` and ``end_row``: the events that bound it (int64), ``inferred``: one
    of them is no switch, and ``cut``: events of the CPU were lost in it.
    """

    boot: _Array
    cpu: _Array
    pid: _Array
    start: _Array
    end: _Array
    row: _Array
    end_row: _Array
    inferred: _Array
    cut: _Array


def _edges(events: Events, s: Switches, ends: _Array, firsts: bool) -> _Array:
    """For each switch at ``ends`` the row of its CPU's first or last event, if everything between
    happened in the one task that then ran; else the switch's own row.

    ``ends`` are the first switches of each CPU, or the last ones.
    """
    found = s.rows[ends].copy()
    for i, at in enumerate(ends.tolist()):
        rows, boot = events.rows, s.boot[at]
        part = slice(0, int(s.rows[at])) if firsts else slice(int(s.rows[at]) + 1, None)
        mine = np.flatnonzero((rows.cpu[part] == s.cpu[at]) & (rows.boot[part] == boot))
        mine += part.start
        pid = s.prev[at] if firsts else s.next[at]
        if len(mine) and (rows.pid[mine] == pid).all():
            found[i] = mine[0] if firsts else mine[-1]
    return found


def find_turns(events: Events, s: Switches, losses: Losses) -> Turns:
    """The turns of all CPUs whose boot's clock counts time."""
    key = combined(s.boot, s.cpu)
    order = stable_order(key)
    order = order[np.isin(s.boot[order], events.timed_boots)]
    same = key[order][1:] == key[order][:-1]
    one, other = order[:-1][same], order[1:][same]
    pid = np.where(s.next[one] == s.prev[other], s.next[one], NOBODY)
    first = order[np.append(True, ~same)[: len(order)]]
    last = order[np.append(~same, True)[: len(order)]]
    begins, stops = _edges(events, s, first, True), _edges(events, s, last, False)
    early, late = begins < s.rows[first], stops > s.rows[last]
    row = np.concatenate([s.rows[one], begins[early], s.rows[last[late]]])
    end_row = np.concatenate([s.rows[other], s.rows[first[early]], stops[late]])
    pid = np.concatenate([pid, s.prev[first[early]], s.next[last[late]]])
    inferred = np.append(np.zeros(len(one), bool), np.ones(len(row) - len(one), bool))
    ts, columns = events.axis.ts_ns, events.rows
    by = stable_order(combined(columns.boot[row], columns.cpu[row], row))
    row, end_row = row[by], end_row[by]
    cpu, start, end = columns.cpu[row], ts[row], ts[end_row]
    cut = losses.within(cpu.astype(np.int64), start, end)
    return Turns(
        columns.boot[row], cpu, pid[by], start, end, row, end_row, inferred[by], cut
    )  # fmt: skip
