"""The tables' definitions: their columns, and how values are formatted."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from tracekit.browse.stats import (
    CpuCount,
    CpuTime,
    TaskCount,
    TaskTime,
    Times,
)
from tracekit.frozen import dataclass
from tracekit.report.devices import Device, slowness
from tracekit.report.initcalls import Initcall
from tracekit.report.make import Report
from tracekit.report.systemd import Unit
from tracekit.text import count_lost, duration
from tui.sorted_table import Column, Sheet

__all__ = [
    "CpuRow",
    "TaskRow",
    "counted_sheets",
    "cpu_rows",
    "record_of",
    "reported_sheets",
    "task_rows",
]

_NEVER = 1 << 63  # sorts a call that never returned above all that did


@dataclass(frozen=True, slots=True)
class CpuRow:
    """A CPU; ``time`` is None if it is not known, or not yet."""

    count: CpuCount
    time: CpuTime | None
    idle: str


@dataclass(frozen=True, slots=True)
class TaskRow:
    """A task; ``share``: of the longest time that a task of its boot, but for the idle one, ran."""

    count: TaskCount
    time: TaskTime | None
    took: str
    share: float | None


def _lost(row: CpuRow) -> str:
    account = row.count.account
    return count_lost(account.lost, account.lost_at_least, "≥ ")


def _rate(value: float | None) -> str:
    return "unknown" if value is None else f"{value:,.{0 if value >= 10 else 1}f}/s"


def _when(ns: int | None) -> str:
    return duration(ns)


def _boot(width: int = 4) -> Column:
    return Column("boot", lambda r: str(r.boot), lambda r: r.boot, width, falling=False)


def cpu_rows(counts: Sequence[CpuCount], times: Times | None) -> list[CpuRow]:
    """The rows of the CPUs; without ``times`` these are still being computed."""
    rows = []
    for count in counts:
        time = times.cpus.get((count.boot, count.account.cpu)) if times else None
        idle = time.idle if time else None
        idle_text = f"{idle:.1%}" if idle is not None else "unknown" if times else "…"
        rows.append(CpuRow(count, time, idle_text))
    return rows


def task_rows(counts: Sequence[TaskCount], times: Times | None) -> list[TaskRow]:
    """The rows of the tasks; without ``times`` these are still being computed."""
    by_task = times.tasks if times else {}
    most: dict[int, int] = {}
    for (boot, pid), time in by_task.items():
        most[boot] = max(most.get(boot, 1), time.ns if pid else 1)
    rows = []
    for count in counts:
        on_cpu = by_task.get((count.boot, count.pid))
        share = on_cpu.ns / most[count.boot] if on_cpu and count.pid else None
        took = duration(on_cpu.ns) if on_cpu else "unknown" if times else "…"
        rows.append(TaskRow(count, on_cpu, took, share))
    return rows


def _cpus() -> Sheet:
    return Sheet(
        "CPUs",
        (
            Column("boot", lambda r: str(r.count.boot),
                   lambda r: (r.count.boot, r.count.account.cpu), falling=False),
            Column("CPU", lambda r: str(r.count.account.cpu), lambda r: r.count.account.cpu,
                   falling=False),
            Column("events", lambda r: f"{r.count.account.events:,}",
                   lambda r: r.count.account.events, 10),
            Column("lost", _lost, lambda r: r.count.account.lost, 9),
            Column("unread", lambda r: f"{r.count.account.unreadable:,}",
                   lambda r: r.count.account.unreadable, rank=2),
            Column("rate", lambda r: _rate(r.count.rate), lambda r: r.count.rate, 9, rank=3),
            Column("first", lambda r: _when(r.count.account.first_ns),
                   lambda r: r.count.account.first_ns, 8, rank=4, falling=False),
            Column("last", lambda r: _when(r.count.account.last_ns),
                   lambda r: r.count.account.last_ns, 8, rank=4),
            Column("idle", lambda r: r.idle, lambda r: r.time.idle if r.time else None, 7),
            Column("busy", lambda r: "", lambda r: 1 - r.time.idle if r.time and r.time.idle
                   is not None else None,
                   rank=1, bar=lambda r: 1 - r.time.idle if r.time and r.time.idle is not None
                   else None),
        ),
        falling=False,
        empty="no CPU recorded anything",
        style=lambda r: "warn" if r.count.account.lost or r.count.account.unreadable else "",
    )  # fmt: skip


def _tasks() -> Sheet:
    return Sheet(
        "Tasks",
        (
            Column("task", lambda r: r.count.comm or "unknown", lambda r: r.count.comm or "", 15,
                   right=False, falling=False),
            Column("pid", lambda r: str(r.count.pid), lambda r: r.count.pid, 7, falling=False),
            Column("boot", lambda r: str(r.count.boot), lambda r: r.count.boot, falling=False),
            Column("events", lambda r: f"{r.count.events:,}", lambda r: r.count.events, 9),
            Column("switches", lambda r: f"{r.time.switches:,}" if r.time else r.took,
                   lambda r: r.time.switches if r.time else None, 8, rank=2),
            Column("on CPU", lambda r: r.took, lambda r: r.time.ns if r.time else None, 9),
            Column("", lambda r: "", lambda r: r.share, 8, rank=1, bar=lambda r: r.share),
        ),
        sort=3,
        empty="counting …",
        style=lambda r: "" if r.count.pid else "dim",
    )  # fmt: skip


def _events() -> Sheet:
    return Sheet(
        "Events",
        (
            Column("event", lambda r: r.name, lambda r: r.name, 26, right=False, falling=False),
            _boot(),
            Column("count", lambda r: f"{r.events:,}", lambda r: r.events, 10),
            Column("share", lambda r: f"{r.share:.1%}", lambda r: r.share, 6),
            Column("", lambda r: "", lambda r: r.share, rank=1, bar=lambda r: r.share),
            Column("rate", lambda r: _rate(r.rate), lambda r: r.rate, 9),
            Column("CPUs", lambda r: str(r.cpus), lambda r: r.cpus, rank=2),
        ),
        sort=2,
        empty="counting …",
    )


def record_of(row: Any) -> dict[str, object]:
    """A row of a table as plain values, under the report's names; times in ns."""
    if isinstance(row, CpuRow):
        time = row.time
        return {
            "boot": row.count.boot,
            **asdict(row.count.account),
            "idle_ns": time.idle_ns if time else None,
            "switching_ns": time.last_ns - time.first_ns if time else None,
        }
    if isinstance(row, TaskRow):
        on_cpu = (row.time.ns, row.time.switches) if row.time else (None, None)
        task = row.count
        plain = {"boot": task.boot, "pid": task.pid, "comm": task.comm, "events": task.events}
        return {**plain, "on_cpu_ns": on_cpu[0], "switches": on_cpu[1]}
    values = asdict(row)
    for inner in ("first_row", "histogram", "number", "place", "sign"):
        values.pop(inner, None)
    return {**values, **values.pop("call", {})}


def counted_sheets() -> tuple[Sheet, Sheet, Sheet]:
    """The tables of CPUs, tasks and events, to be filled."""
    return _cpus(), _tasks(), _events()


def _took(device: Device) -> str:
    if device.finished:
        return duration(device.duration_ns)
    return "never returned"


def _took_key(device: Device) -> int | None:
    return device.duration_ns if device.finished else _NEVER


def _master(device: Device) -> str:
    return "unknown" if device.bus_master is None else ("no", "yes")[device.bus_master]


def _longest(values: Sequence[int | None]) -> int:
    return max((value for value in values if value is not None), default=0) or 1


def _devices(devices: Sequence[Device]) -> Sheet:
    most = _longest([d.duration_ns for d in devices])
    sheet = Sheet(
        "Devices",
        (
            Column("device", lambda d: d.name or "unknown", lambda d: d.name, 16, right=False,
                   falling=False),
            Column("driver", lambda d: d.driver or "-", lambda d: d.driver, 10, 2, right=False,
                   falling=False),
            Column("callback", lambda d: d.function or "unknown", lambda d: d.function, 14, 3,
                   right=False, falling=False),
            Column("boot", lambda d: str(d.boot), lambda d: d.boot, rank=4, falling=False),
            Column("start", lambda d: _when(d.start_ns), lambda d: d.start_ns, 8, 3,
                   falling=False),
            Column("took", _took, _took_key, 9 if all(d.finished for d in devices) else 14),
            Column("", lambda d: "", _took_key, rank=1, bar=lambda d: d.duration_ns / most
                   if d.duration_ns is not None else None if d.finished else 1.0),
            Column("DMA after", _master, lambda d: d.bus_master, 9),
        ),
        sort=5,
        empty="no device's shutdown was recorded",
        style=lambda d: "" if d.finished and not d.bus_master else "warn" if d.finished else "bad",
    )  # fmt: skip
    sheet.fill(sorted(devices, key=slowness))
    return sheet


def _initcalls(calls: Sequence[Initcall]) -> Sheet:
    most = _longest([c.duration_ns for c in calls])
    sheet = Sheet(
        "Initcalls",
        (
            Column("function", lambda c: c.function, lambda c: c.function, 24, right=False,
                   falling=False),
            Column("level", lambda c: c.level, lambda c: c.level, 9, 2, right=False,
                   falling=False),
            Column("boot", lambda c: str(c.boot), lambda c: c.boot, rank=3, falling=False),
            Column("start", lambda c: _when(c.start_ns), lambda c: c.start_ns, 8, falling=False),
            Column("took", lambda c: duration(c.duration_ns), lambda c: c.duration_ns, 8),
            Column("", lambda c: "", lambda c: c.duration_ns, rank=1,
                   bar=lambda c: c.duration_ns / most),
            Column("returned", lambda c: "unknown" if c.ret is None else str(c.ret),
                   lambda c: c.ret, 8, rank=2),
        ),
        sort=4,
        empty="no initcall was recorded: the new kernel traces them where it boots with tracekit's "
        "command line",
        style=lambda c: "warn" if c.ret else "",
    )  # fmt: skip
    sheet.fill(calls)
    return sheet


def _units(units: Sequence[Unit]) -> Sheet:
    most = _longest([u.duration_ns for u in units])
    sheet = Sheet(
        "Units",
        (
            Column("unit", lambda u: u.name, lambda u: u.name, 30, right=False, falling=False),
            _boot(),
            Column("start", lambda u: _when(u.start_ns), lambda u: u.start_ns, 9, falling=False),
            Column("took", lambda u: duration(u.duration_ns), lambda u: u.duration_ns, 9),
            Column("", lambda u: "", lambda u: u.duration_ns, rank=1,
                   bar=lambda u: u.duration_ns / most),
        ),
        sort=3,
    )  # fmt: skip
    sheet.fill(units)
    return sheet


def reported_sheets(report: Report) -> tuple[Sheet, ...]:
    """The tables that the report has all rows of: devices, initcalls, units where there are any."""
    units = (_units(report.units),) if report.units else ()
    return _devices(report.devices), _initcalls(report.initcalls), *units
