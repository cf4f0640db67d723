"""What each CPU had begun and not ended when its record stops: why a kernel never came back.

Only what has an end of its own is asked: a begin counts where its end was recorded too, in the
buffer or by the list of enabled events (``set_event``). Per CPU that are interrupts, softirqs and
timers; per task initcalls, work items, probed functions with a return, the system call and the
graph-traced functions of the task that runs. The last step of the way down has no end.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from tracekit.analysis.pairs import Pair, enabled_events, pairs_of
from tracekit.analysis.rows_of_events import EventRows
from tracekit.frozen import dataclass
from tracekit.ftrace.columns import as_signed
from tracekit.report.ways import Down
from tracekit.timeline.boot import Boot
from tracekit.timeline.events import Events

__all__ = ["CpuUnfinished", "Unfinished", "unfinished"]

_Array = npt.NDArray[Any]
_ENTER, _EXIT = "syscalls:sys_enter_", "syscalls:sys_exit_"
_SWITCH = "sched:sched_switch"
_DEEP = 20_000  # events of the function graph that are looked at, the newest


@dataclass(frozen=True, slots=True)
class Unfinished:
    """One thing that was begun: what it is, and the event that tells; ns on the axis or None."""

    what: str
    event: str
    args: str
    since_ns: int | None
    pid: int
    comm: str | None


@dataclass(frozen=True, slots=True)
class CpuUnfinished:
    """One CPU: the task that runs, since when, its last event, and what is open, oldest first.

    Times are ns on the axis, None where no clock tells or, of ``since_ns``, no switch was recorded.
    """

    cpu: int
    pid: int
    comm: str | None
    since_ns: int | None
    last_ns: int | None
    open: tuple[Unfinished, ...]


class _Record(EventRows):
    """The rows of one boot."""

    def __init__(self, events: Events, boot: Boot) -> None:
        super().__init__(events, boot.index)
        self.boot, self.rows = boot, events.rows
        self.enabled = frozenset(enabled_events(boot))

    def value(self, row: int, field: str) -> Any:
        """One argument of one event; None where it has none of that name."""
        for _, values in self.events.values(np.array([row]), field):
            return values[0].as_py()
        return None

    def open_rows(self, pair: Pair) -> _Array:
        """The begins of a pair that no end follows, one for each CPU or task."""
        begins, ends = self.of(pair.begin), self.of(pair.end)
        if not len(begins):
            return begins
        column = self.rows.pid if pair.context == "task" else self.rows.cpu
        _, at = np.unique(column[begins][::-1], return_index=True)
        last = begins[len(begins) - 1 - at]  # of each CPU or task
        ended = dict(zip(column[ends].tolist(), ends.tolist(), strict=True))  # the last wins
        still = [row for row in last.tolist() if ended.get(int(column[row]), -1) < row]
        return np.array(still, np.int64)


def _running(record: _Record, row: int) -> tuple[int, str | None]:
    """(pid, name) of the task that runs after the CPU's last event."""
    if record.names.get(int(record.rows.kind[row])) == _SWITCH:
        pid = record.value(row, "next_pid")
        if isinstance(pid, int):
            return pid, record.value(row, "next_comm")
    comm = record.events.table(np.array([row]), args=False)["comm"][0].as_py()
    return int(record.rows.pid[row]), comm


def _open_syscall(record: _Record, pid: int) -> list[int]:
    """The system call that a task is in."""
    kinds = [i for i, n in record.names.items() if n.startswith((_ENTER, _EXIT))]
    mine = record.rows.of_kinds(record.boot.index, kinds)
    mine = mine[record.rows.pid[mine] == pid]
    if not len(mine):
        return []
    name = record.names[int(record.rows.kind[mine[-1]])]
    leaves = f"{_EXIT}{name.removeprefix(_ENTER)}"
    known = leaves in record.names.values() or leaves in record.enabled
    never = name.removeprefix(_ENTER) == "reboot"  # it returns only where it fails
    return [int(mine[-1])] if name.startswith(_ENTER) and (known or never) else []


def _open_graph(record: _Record, pid: int) -> list[int]:
    """The functions that a task is in, by the function graph."""
    at = record.of("ftrace:funcgraph_entry", "ftrace:funcgraph_exit")
    at = at[record.rows.pid[at] == pid][-_DEEP:]
    exits = record.of("ftrace:funcgraph_exit")
    depths = np.full(len(at), -1, np.int64)
    for part, values in record.events.values(at, "depth"):
        numbers = as_signed(values, -1)
        if numbers is not None:
            depths[part] = numbers
    leaves = np.isin(at, exits).tolist()
    found: list[int] = []
    limit = 1 << 31
    for row, depth, left in zip(
        at[::-1].tolist(), depths[::-1].tolist(), leaves[::-1], strict=True
    ):
        if not left and depth < limit:
            found.append(row)
        limit = min(limit, depth)
        if limit <= 0:
            break
    return found


def unfinished(events: Events, boot: Boot, down: Down) -> tuple[CpuUnfinished, ...]:
    """What each CPU of a boot had begun and not ended, by CPU; ``down`` is the boot's way down."""
    record = _Record(events, boot)
    found: dict[int, str] = {}
    for pair in (pair for pair in pairs_of(events, boot) if pair.what):
        found |= dict.fromkeys(record.open_rows(pair).tolist(), pair.what)
    ends = record.rows.cpu_ends(boot.index)
    last_of = {cpu: int(last[-1]) for cpu, (_, last) in ends.items()}
    tasks = {cpu: _running(record, row) for cpu, row in last_of.items()}
    for pid, _ in tasks.values():
        if pid > 0:
            found |= dict.fromkeys(_open_syscall(record, pid), "system call")
            found |= dict.fromkeys(_open_graph(record, pid), "function")
    if down.last:
        found[down.marks[down.last]] = "last step of the way down"
    return tuple(_of_cpu(record, cpu, last_of[cpu], tasks[cpu], found) for cpu in last_of)


def _of_cpu(
    record: _Record, cpu: int, last: int, task: tuple[int, str | None], found: dict[int, str]
) -> CpuUnfinished:
    rows, axis = record.rows, record.events.axis
    timed = axis.timed(record.boot.index)

    def ns(row: int) -> int | None:
        return int(axis.ts_ns[row]) if timed else None

    mine = sorted(row for row in found if int(rows.cpu[row]) == cpu)
    table = record.events.table(np.array(mine, np.int64)).select(["pid", "comm", "event", "args"])
    things = tuple(
        Unfinished(found[row], one["event"], one["args"], ns(row), one["pid"], one["comm"])
        for row, one in zip(mine, table.to_pylist(), strict=True)
    )
    switches = record.of(_SWITCH)
    switches = switches[rows.cpu[switches] == cpu]
    since = ns(int(switches[-1])) if len(switches) else None
    return CpuUnfinished(cpu, *task, since, ns(last), things)
