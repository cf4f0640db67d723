"""The story of a panic: what the kernel said, when, and what each CPU was doing then.

From a boot whose memory was read after it (``crash.json``), or whose log has the panic.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from tracekit.errors import SessionError
from tracekit.frozen import dataclass
from tracekit.report.milestones import PANICKED
from tracekit.report.unfinished import CpuUnfinished, Unfinished
from tracekit.text import duration, error_bound, on_one_line
from tracekit.timeline.boot import Boot
from tracekit.timeline.events import Events

__all__ = ["LAST_NS", "PanicCpu", "PanicReport", "panic_reports", "panicked"]

LAST_NS = 10_000_000  #: what a CPU's last milliseconds are
_APART_NS = 60 * 10**9  # alarms further apart than this are not of one story
_MOST_LINES = 400
_MOST_KINDS = 6
_LINE = re.compile(r"(?:<\d+>)?\[ *(\d{1,10})\.(\d{6})\](?:\[ *[TC]\d+\])? ?(.*)")
#: The first words of what ends in a panic: die(), panic(), watchdogs, page_fault_oops(), NMIs
#: (arch/x86/kernel/nmi.c), machine checks, stalls of RCU and so on.
_ALARM = re.compile(
    rf"BUG: |kernel BUG at |Oops|{PANICKED}|[Gg]eneral protection fault|.*hard LOCKUP"
    r"|Unable to handle kernel |double fault: |stack segment: |invalid opcode: "
    r"|INFO: task .* blocked for more than|Internal error: |Unhandled fault: "
    r"|watchdog: BUG: |Uhhuh\. NMI received|NMI: |mce: \[Hardware Error\]"
    r"|rcu: INFO: rcu_\w+ (?:self-)?detected"
)


@dataclass(frozen=True, slots=True)
class PanicCpu:
    """What one CPU was doing.

    ``pid`` and ``comm`` are the task it ran when it stopped, by the kernel's memory, None where
    that is not known. ``events`` counts those of its last :data:`LAST_NS`, ``did`` the most
    frequent of them by name; ``open`` is the last thing that it had begun and not ended.
    """

    cpu: int
    panicked: bool
    pid: int | None
    comm: str | None
    last_ns: int | None
    events: int
    did: tuple[tuple[str, int], ...]
    open: Unfinished | None

    @property
    def task(self) -> str:
        """The task, in words."""
        if self.pid is None:
            return "unknown"
        return f"{self.comm}-{self.pid}" if self.pid else "idle"

    @property
    def most_frequent(self) -> str:
        """What ``did`` has, in words."""
        return ", ".join(f"{name} {count}" for name, count in self.did)


@dataclass(frozen=True, slots=True)
class PanicReport:
    """The panic of a boot; ``reason`` '' and ``cpu`` None where nothing tells.

    ``text`` is the kernel log from the first alarm (``first``: BUG, Oops, the panic itself) on.
    ``first_ns`` and ``panic_ns`` are when the first alarm and the panic were printed, ns on the
    axis within ``error_ns``, None where no clock tells; ``last_ns`` is the last event of any CPU
    and ``went_on_ns`` how long after the first alarm that was.
    """

    boot: int
    cpu: int | None
    reason: str
    first: str
    text: tuple[str, ...]
    first_ns: int | None
    panic_ns: int | None
    error_ns: int | None
    last_ns: int | None
    went_on_ns: int | None
    cpus: tuple[PanicCpu, ...]

    def told(self, begun: str) -> str:
        """The first alarm and when it was, a sentence; ``begun`` is ``first_ns`` in words."""
        if not self.first:
            return "the kernel log does not say why"
        said = f"'{on_one_line(self.first)}'"
        if self.first_ns is None:
            return f"{said}: no clock tells when"
        text = f"{said} at {begun} ({error_bound(self.error_ns)})"
        if self.went_on_ns is None:
            return text
        if self.went_on_ns < 0:
            return f"{text}, {duration(-self.went_on_ns)} after the last event"
        return f"{text}; events went on for {duration(self.went_on_ns)}"


@dataclass(frozen=True, slots=True)
class _Said:
    """The log from the first alarm on; stamps are printk's ns."""

    lines: tuple[str, ...] = ()
    first: str = ""
    first_stamp: int | None = None
    panic_stamp: int | None = None
    reason: str = ""


def _crash(boot: Boot) -> Mapping[str, Any]:
    rel = f"boots/{boot.index}/crash.json"
    if not boot.session.has(rel):
        return {}
    try:
        return boot.session.json(rel)
    except SessionError:
        return {}


def panicked(boot: Boot) -> bool:
    """Whether the boot's memory or its log tells of a panic."""
    return isinstance(_crash(boot).get("panic_cpu"), int) or PANICKED in boot.text("dmesg")


def _said(log: str) -> _Said:
    """What the log has of the last panic in it."""
    lines = log.splitlines()
    found: list[tuple[int, int, str]] = []  # (line, stamp, text) of each alarm
    for number, line in enumerate(lines):
        match = _LINE.match(line)
        if match and _ALARM.match(match[3]):
            found.append((number, int(match[1]) * 10**9 + int(match[2]) * 1000, match[3]))
    panics = [n for n, (_, _, text) in enumerate(found) if text.startswith(PANICKED)]
    if not panics:
        return _Said()
    first = panics[-1]
    while first and found[first][1] - found[first - 1][1] <= _APART_NS:
        first -= 1
    # a dump's log has one panic; of an earlier one nothing was told afterwards
    begin, stamp, text = found[first]
    _, panic_stamp, words = found[panics[-1]]
    told = tuple(lines[begin : begin + _MOST_LINES])
    reason = words.removeprefix(PANICKED).removeprefix(":").strip()
    return _Said(told, text, stamp, panic_stamp, reason)


def _tasks(crash: Mapping[str, Any]) -> dict[int, tuple[int | None, str | None]]:
    """CPU -> (pid, name) as the dead kernel's memory has them."""
    tasks: dict[int, tuple[int | None, str | None]] = {}
    running = crash.get("running")
    for entry in running if isinstance(running, list) else ():
        if isinstance(entry, dict) and isinstance(entry.get("cpu"), int):
            pid, comm = entry.get("pid"), entry.get("comm")
            tasks[entry["cpu"]] = (
                pid if isinstance(pid, int) else None, comm if isinstance(comm, str) else None,
            )  # fmt: skip
    return tasks


def _did(
    events: Events, boot: int, cpu: int, row: int | None
) -> tuple[int | None, int, tuple[tuple[str, int], ...]]:
    """(time of the last event, how many in the last milliseconds, which) of a CPU.

    ``row`` is that of its last event.
    """
    rows, ts = events.rows, events.axis.ts_ns
    if row is None or not events.axis.timed(boot):
        return None, 0, ()
    last = int(ts[row])
    part = slice(int(np.searchsorted(ts, last - LAST_NS)), row + 1)
    mine = (rows.boot[part] == boot) & (rows.cpu[part] == cpu)
    recent = np.flatnonzero(mine) + part.start
    kinds, counts = np.unique(rows.kind[recent], return_counts=True)
    names: dict[str, int] = {}
    for kind, count in zip(kinds.tolist(), counts.tolist(), strict=True):
        names[events.kinds[kind].name] = names.get(events.kinds[kind].name, 0) + count
    most = sorted(names.items(), key=lambda pair: (-pair[1], pair[0]))[:_MOST_KINDS]
    return last, len(recent), tuple(most)


def panic_reports(
    events: Events, begun: Mapping[int, Sequence[CpuUnfinished]]
) -> tuple[PanicReport, ...]:
    """The panics of all boots that had one; ``begun``: what each boot's CPUs had not ended."""
    return tuple(
        _report(events, boot, begun.get(boot.index, ())) for boot in events.boots if panicked(boot)
    )


def _report(events: Events, boot: Boot, unfinished: Sequence[CpuUnfinished]) -> PanicReport:
    crash, said = _crash(boot), _said(boot.text("dmesg"))
    cpu = crash.get("panic_cpu")
    panic_cpu = cpu if isinstance(cpu, int) else None
    tasks = _tasks(crash)
    rows = {cpu: int(last[-1]) for cpu, (_, last) in events.rows.cpu_ends(boot.index).items()}
    opened = {one.cpu: one.open[-1] for one in unfinished if one.open}
    cpus = []
    for number in sorted({*tasks, *rows}):
        pid, comm = tasks.get(number, (None, None))
        last, count, did = _did(events, boot.index, number, rows.get(number))
        cpus.append(
            PanicCpu(number, number == panic_cpu, pid, comm, last, count, did, opened.get(number))
        )
    stamps = [s for s in (said.first_stamp, said.panic_stamp) if s is not None]
    placed = events.axis.printed(boot.index, stamps)
    first, panic = placed[0] if placed else (None, None)
    last_ns = max((c.last_ns for c in cpus if c.last_ns is not None), default=None)
    return PanicReport(
        boot=boot.index,
        cpu=panic_cpu,
        reason=said.reason,
        first=said.first,
        text=said.lines,
        first_ns=first,
        panic_ns=panic,
        error_ns=placed[1] if placed else None,
        last_ns=last_ns,
        went_on_ns=last_ns - first if last_ns is not None and first is not None else None,
        cpus=tuple(cpus),
    )
