"""Follows a task through a stretch of one boot: its calls, and in them what it did and waited for.

Where it slept until a task woke it, that task is followed through the time of the sleep, and so on:
the critical path as far as the events tell.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

from tracekit.report.critical.calls import Call, Calls
from tracekit.report.critical.links import Evidence, Facts, Link
from tracekit.report.critical.tasks import Stay, Tasks

__all__ = ["Followed"]

_DEEP = 8  # tasks that wait for one another
_MOST = 20_000  # links of a boot
_OTHERS = 6  # tasks that are named


class Followed:
    """One boot, its calls and its switches."""

    def __init__(self, facts: Facts, boot: int, calls: Calls, tasks: Tasks) -> None:
        self._facts, self._boot, self._calls, self._tasks = facts, boot, calls, tasks
        self._made = 0

    @property
    def cut(self) -> bool:
        """Whether there was more than is followed."""
        return self._made >= _MOST

    def inside(self, pid: int, start: int, end: int, deep: int = 0) -> tuple[Link, ...]:
        """What a task did in ``[start, end]``, ns on the axis: its calls and what is between."""
        calls = self._calls.within(pid, start, end) if pid >= 0 else []
        return tuple(self._partition(pid, start, end, calls, deep))

    def _partition(
        self, pid: int, start: int, end: int, calls: Sequence[Call], deep: int
    ) -> Iterator[Link]:
        at, position = start, 0
        while position < len(calls):
            call = calls[position]
            position += 1
            if call.end_ns is None or call.end_ns <= at:
                continue
            call = replace(call, start_ns=max(call.start_ns, at))  # two clocks may cross a little
            assert call.end_ns is not None
            nested = []
            while position < len(calls) and calls[position].start_ns < call.end_ns:
                if (calls[position].end_ns or 0) <= call.end_ns:
                    nested.append(calls[position])
                position += 1
            yield from self._between(pid, at, call.start_ns, deep)
            yield self._call(call, nested, deep)
            at = call.end_ns
        yield from self._between(pid, at, end, deep)

    def _call(self, call: Call, nested: Sequence[Call], deep: int) -> Link:
        assert call.end_ns is not None
        self._made += 1
        inside: tuple[Link, ...] = ()
        if nested or (self._tasks.recorded and not self.cut):
            inside = tuple(self._partition(call.pid, call.start_ns, call.end_ns, nested, deep))
        told = ", at most: up to what came next" if call.at_most else ""
        detail = f" ({call.detail})" if call.detail else ""
        return Link(
            "call", f"{call.kind} {call.name}{detail}{told}", self._boot, call.start_ns,
            call.end_ns - call.start_ns, call.pid, self._facts.comm(self._boot, call.pid),
            self._facts.evidence(call.rows), inside if _tells(inside) else (),
        )  # fmt: skip

    def _between(self, pid: int, start: int, end: int, deep: int) -> Iterator[Link]:
        """A stretch in which no call of the task was recorded."""
        if end <= start:
            return
        if self.cut or not self._tasks.recorded or pid < 0:
            self._made += 1
            yield Link(
                "unknown",
                "not followed: there are too many switches" if self.cut
                else "nothing was recorded here", self._boot,
                start, end - start, pid, self._facts.comm(self._boot, pid),
            )  # fmt: skip
            return
        for stay in self._tasks.stays(pid, start, end):
            self._made += 1
            yield self._stay(pid, stay, deep)

    def _stay(self, pid: int, stay: Stay, deep: int) -> Link:
        task, facts, boot = self._facts.task(self._boot, pid), self._facts, self._boot
        took = stay.end_ns - stay.start_ns
        told = facts.evidence(stay.rows)
        comm = facts.comm(boot, pid)
        if stay.state == "blocked":
            return self._blocked(pid, stay, told, deep)
        if stay.state == "runs":
            cpus = sorted({e.cpu for e in told})
            where = f" on CPU {cpus[0]}" if len(cpus) == 1 else ""
            return Link("runs", f"{task} runs{where}", boot, stay.start_ns, took, pid, comm, told)
        if stay.state == "ready":
            return Link("waits for a CPU", self._waited(task, pid, stay, told), boot,
                        stay.start_ns, took, pid, comm, told)  # fmt: skip
        why = "no switch tells whether it ran" if not stay.rows else "switches are missing here"
        if len(told) == 1 and (told[0].ts_ns or 0) >= stay.end_ns:
            why = "no earlier switch of it is recorded"
        if stay.lost:
            why = "events are lost here"
        return Link("unknown", f"{task}: {why}", boot, stay.start_ns, took, pid, comm, told)

    def _waited(self, task: str, pid: int, stay: Stay, told: Sequence[Evidence]) -> str:
        """Which CPU a task that could run waited for, and what ran there."""
        others = [o for o in self._tasks.others_on(pid, stay) if o > 0]
        names = [self._facts.task(self._boot, other) for other in others[:_OTHERS]]
        more = ", …" if len(others) > _OTHERS else ""
        ran = f"there ran {', '.join(names)}{more}" if names else "no other task ran there"
        switches = [e for e in told if e.event == "sched:sched_switch"]
        cpus = [e.cpu for e in switches]
        if not cpus:
            return f"{task} could run, and waited for a CPU"
        moved = f", moved from CPU {cpus[0]}" if len(set(cpus)) > 1 else ""
        return f"{task} could run, and waited for CPU {cpus[-1]}{moved}: {ran}"

    def _blocked(self, pid: int, stay: Stay, told: tuple[Evidence, ...], deep: int) -> Link:
        facts, boot, task = self._facts, self._boot, self._facts.task(self._boot, pid)
        took, comm = stay.end_ns - stay.start_ns, self._facts.comm(self._boot, pid)
        slept = f"{task} slept ({stay.letter})"
        if stay.waking is None:
            why = "no wakeup of it is in the record" if self._tasks.wakings_recorded else (
                "sched:sched_waking was not recorded, which tells what woke it"
            )  # fmt: skip
            return Link("unknown", f"{slept}; {why}", boot, stay.start_ns, took, pid, comm, told)
        told += facts.evidence([stay.waking])
        if stay.in_interrupt:
            by = "an interrupt that the record does not name"
            if stay.interrupt is not None:
                entry = facts.evidence([stay.interrupt])
                told += entry
                by = f"{entry[0].event.partition(':')[2]} {entry[0].args}".rstrip()
            return Link("blocked", f"{slept} until an interrupt on CPU {told[1].cpu} woke it: {by}",
                        boot, stay.start_ns, took, pid, comm, told)  # fmt: skip
        if stay.waker is None:
            what = f"{slept}; it was woken on the idle CPU {told[1].cpu}, by what is not recorded"
            return Link("unknown", what, boot, stay.start_ns, took, pid, comm, told)
        inside: tuple[Link, ...] = ()
        if deep < _DEEP and not self.cut:
            inside = self.inside(stay.waker, stay.start_ns, stay.end_ns, deep + 1)
        by = facts.task(boot, stay.waker)
        return Link("blocked", f"{slept} until {by} woke it", boot, stay.start_ns, took, pid, comm,
                    told, inside)  # fmt: skip


def _tells(inside: Sequence[Link]) -> bool:
    """Whether the inside of a call says more than that its task ran all along."""
    return len(inside) > 1 or any(link.kind not in ("runs", "unknown") for link in inside)
