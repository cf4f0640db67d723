"""What each CPU did around a jump: what it ran, since when, seen up to when; its last events."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from tracekit.analysis.columns import ints
from tracekit.browse.lanes import SWITCH
from tracekit.frozen import dataclass
from tracekit.ftrace.columns import as_arrow
from tracekit.query.groups import Index
from tracekit.query.selection import among
from tracekit.recording import Recording
from tracekit.timeline.filter import Filter

__all__ = ["CpuRan", "LastEvents", "Turn", "last_events", "what_ran"]

_MOST = 400  # turns of a CPU: the longest are drawn


@dataclass(frozen=True, slots=True)
class Turn:
    """A task on a CPU, ns on the axis; ``inferred``: bounded by its first or last event."""

    start_ns: int
    end_ns: int
    task: str
    inferred: bool


@dataclass(frozen=True, slots=True)
class CpuRan:
    """A CPU of the kernel that is left: ``task`` ran last, since ``since_ns``.

    ``seen_ns``: its last event, of that task, or the switch to it; ``switched``: whether that was
    recorded, else it is inferred from its events; ``cut``: events were lost since. ``turns``: what
    ran in the stretch that was asked for, of both kernels.
    """

    cpu: int
    task: str
    since_ns: int
    seen_ns: int
    switched: bool
    cut: bool
    turns: tuple[Turn, ...]


@dataclass(frozen=True, slots=True)
class LastEvents:
    """The last events of a CPU before an instant: (ns on the axis, event, arguments)."""

    cpu: int
    events: tuple[tuple[int, str, str], ...]


def _named(comm: str | None, pid: int) -> str:
    return "idle" if pid == 0 else f"{comm or '<...>'}-{pid}"


def what_ran(recording: Recording, boots: tuple[int, int], span: tuple[int, int]) -> list[CpuRan]:
    """Of every CPU of ``boots`` (old, new) whose switches tell; turns are those in ``span``, ns."""
    table = recording.analysis.turns(Filter(boots=frozenset(boots)))
    boot, cpu = ints(table, "boot"), ints(table, "cpu")
    found = []
    for one in np.unique(cpu).tolist():
        mine = np.flatnonzero(cpu == one)
        old = mine[boot[mine] == boots[0]]
        if not len(old):
            continue
        ends = ints(table, "end_ns")[old]
        last = table.slice(int(old[int(np.argmax(ends))]), 1).to_pylist()[0]
        ran = _ran_last(recording, last)
        if ran is not None:
            found.append(CpuRan(one, *ran, _turns(table, mine, span)))
    return found


def _is_switch(recording: Recording, row: int) -> bool:
    code = int(recording.name_codes(np.array([row]))[0])
    return recording.event_names[code] == SWITCH


def _ran_last(
    recording: Recording, turn: dict[str, Any]
) -> tuple[str, int, int, bool, bool] | None:
    """(task, since, seen up to, whether a switch to it was recorded, whether events were lost).

    A turn that ends with a switch was followed by another, of which there is no event.
    """
    if _is_switch(recording, turn["end_row"]):
        fields = recording.fields(np.array([turn["end_row"]]))[0]
        if not isinstance(fields.get("next_pid"), int):
            return None
        comm, ns = fields.get("next_comm"), turn["end_ns"]
        return _named(comm, fields["next_pid"]), ns, ns, True, False
    if turn["pid"] is None:
        return None
    switched = _is_switch(recording, turn["row"])
    name = _named(turn["comm"], turn["pid"])
    return name, turn["start_ns"], turn["end_ns"], switched, turn["cut"]


def _turns(table: Any, mine: npt.NDArray[Any], span: tuple[int, int]) -> tuple[Turn, ...]:
    start, end = ints(table, "start_ns")[mine], ints(table, "end_ns")[mine]
    inside = mine[(start < span[1]) & (end > span[0])]
    if len(inside) > _MOST:
        took = ints(table, "duration_ns")[inside]
        inside = np.sort(inside[np.argpartition(took, -_MOST)[-_MOST:]])
    rows = table.take(as_arrow(inside)).to_pylist()
    known = [row for row in rows if row["pid"] is not None]
    return tuple(
        Turn(r["start_ns"], r["end_ns"], _named(r["comm"], r["pid"]), r["inferred"]) for r in known
    )


def last_events(recording: Recording, index: Index, ns: int, most: int) -> list[LastEvents]:
    """The last ``most`` events of every CPU up to an instant, and at it."""
    end = int(np.searchsorted(recording.axis.ts_ns, ns, "right"))
    found = []
    for cpu in sorted(index.cpus.keys):
        rows = index.cpus.of(cpu)
        last = int(among(rows, end))
        table = recording.table(rows[max(0, last - most) : last].astype(np.int64)).to_pylist()
        events = tuple((r["ts_ns"], r["event"], r["args"]) for r in table)
        if events:
            found.append(LastEvents(cpu, events))
    return found
