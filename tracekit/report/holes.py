"""Holes: events that must have happened between two that were recorded, and are not there.

Each rule follows from what the kernel does, and needs nobody's count:

- ``sched_switch`` (``__schedule()``): a CPU switches from the task that it last switched to.
- ``softirq_entry``/``_exit`` (``handle_softirqs()``) take turns on a CPU.
- ``sys_enter_X`` (``syscall_enter_from_user_mode()``): a task is in one system call at a time; only
  exit, exit_group and rt_sigreturn have no exit event.

Where an event's filter or a pid filter hides some events, or recording was paused, the rules do not
hold; a rule that is broken by more than one event in a hundred is therefore not used.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import numpy.typing as npt

from tracekit.errors import Diagnostic
from tracekit.ftrace.columns import as_signed
from tracekit.timeline.events import Events
from tracekit.timeline.merge import BootPart
from tracekit.timeline.rows import grouped

__all__ = ["find_holes"]

_Array = npt.NDArray[Any]
_NO_EXIT = frozenset(("exit", "exit_group", "rt_sigreturn"))
#: Trace clocks that all CPUs share, so that a task's events are in order across CPUs.
_ONE_TIME = frozenset(("x86-tsc", "global", "mono", "mono_raw", "boot", "tai"))
_ENTER, _EXIT = "syscalls:sys_enter_", "syscalls:sys_exit_"


class _Buffer:
    """The rows of one buffer of a boot."""

    def __init__(self, events: Events, boot: int, at: _Array) -> None:
        self._events, self._boot, self.at = events, boot, at
        self._by_cpu = grouped(events.rows.cpu[at], at)

    def rows(self, cpu: int, *names: str) -> _Array:
        """The rows of those events on a CPU, in the order in which they were recorded."""
        mine, wanted = self._by_cpu[cpu], np.zeros(len(self._events.kinds) + 1, bool)
        wanted[list(self._events.codes(self._boot, *names))] = True
        chosen: _Array = mine[wanted[self._events.rows.kind[mine]]]
        return chosen

    def values(self, at: _Array, field: str) -> _Array:
        """An integer argument of the rows ``at``."""
        out = np.full(len(at), -1, np.int64)
        for part, values in self._events.values(at, field):
            numbers = as_signed(values, -1)
            if numbers is not None:
                out[part] = numbers
        return out

    # -- the rules: (rows before which something is missing, how many were looked at) -----------

    def switches(self, cpu: int) -> tuple[_Array, int]:
        """By ``sched_switch``."""
        at = self.rows(cpu, "sched:sched_switch")
        came, left = self.values(at, "next_pid"), self.values(at, "prev_pid")
        return at[1:][came[:-1] != left[1:]], len(at)

    def softirqs(self, cpu: int) -> tuple[_Array, int]:
        """By softirqs, where both their events were recorded."""
        at = self.rows(cpu, "irq:softirq_entry", "irq:softirq_exit")
        kinds = self._events.rows.kind[at]
        if len(np.unique(kinds)) < 2:
            return at[:0], 0
        return at[1:][kinds[1:] == kinds[:-1]], len(at)

    def syscalls(self) -> tuple[_Array, int]:
        """By system calls of all CPUs, those whose exits were recorded."""
        rows, kinds = self._events.rows, self._events.kinds
        names = {i: kinds[i].name for i in np.unique(rows.kind[self.at]).tolist()}
        enter = {i: n.removeprefix(_ENTER) for i, n in names.items() if n.startswith(_ENTER)}
        leave = {i: n.removeprefix(_EXIT) for i, n in names.items() if n.startswith(_EXIT)}
        paired = [i for i, n in enter.items() if n in leave.values() and n not in _NO_EXIT]
        if not paired:
            return self.at[:0], 0
        at = self.at[np.isin(rows.kind[self.at], [*enter, *leave])]
        at = at[np.argsort(rows.pid[at], kind="stable")]
        pid, kind = rows.pid[at], rows.kind[at]
        again = np.isin(kind[:-1], paired) & np.isin(kind[1:], list(enter))
        return at[1:][again & (pid[1:] == pid[:-1])], len(at)

    def holes(self, clock: str | None) -> Iterator[tuple[int, _Array, str]]:
        """(CPU, rows before which something is missing, why) by every rule that holds."""
        for cpu in self._by_cpu:
            for rule, what in (
                (self.switches, "the CPU switches from another task than it had switched to"),
                (self.softirqs, "softirq entries and exits do not take turns"),
            ):
                found, looked_at = rule(cpu)
                if len(found) * 100 <= looked_at:
                    yield cpu, found, what
        if clock not in _ONE_TIME:
            return
        found, looked_at = self.syscalls()
        if len(found) * 100 <= looked_at:
            cpu_of = self._events.rows.cpu[found]
            for cpu in np.unique(cpu_of).tolist():
                what = "a task enters a system call before it has left the last one"
                yield cpu, found[cpu_of == cpu], what


def find_holes(events: Events, part: BootPart) -> list[Diagnostic]:
    """A remark for each CPU and rule.

    What is missing from before the kernel's counters were read was not recorded, not lost, if the
    counters account for every event: it is not remarked on.
    """
    remarks = []
    mine = events.rows.indices(part.boot.index)
    by_buffer = grouped(events.rows.buffer[mine], mine)
    for number, buffer in enumerate(part.buffers, part.first):
        at = by_buffer.get(number, mine[:0])
        for cpu, found, what in _Buffer(events, part.boot.index, at).holes(buffer.clock):
            counters = buffer.counters.get(cpu)
            taken = counters.taken if counters is not None else -1
            late = found[events.rows.ts_raw[found] > taken]
            if len(late):
                message = (
                    f"events are missing in {len(late)} places, the first before the stamp "
                    f"{events.rows.ts_raw[late[0]]}, unless recording was paused there: {what}"
                )
                where = f"{part.boot.where} {buffer.name} cpu {cpu}"
                remarks.append(Diagnostic("buffer-hole", "warning", where, message))
    return remarks
