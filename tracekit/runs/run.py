"""A handover as figures: its totals, phases, devices, initcalls and units, each with its error.

A name means the same thing in every run, so that runs can be laid beside one another: calls of one
name are added up, and the dark is one phase, whether or not the session tells where the new kernel
began to run.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict
from functools import partial
from os import PathLike
from typing import Any, Literal

import tracekit
from tracekit.clocks.model import ClockModel
from tracekit.errors import Diagnostic, SessionError
from tracekit.frozen import dataclass
from tracekit.recording import Recording
from tracekit.report.devices import Device
from tracekit.report.make import BootReport, HandoverReport, Report
from tracekit.session import Session

__all__ = ["KINDS", "Figure", "Kind", "Run", "open_runs", "runs_of"]

Kind = Literal["total", "phase", "device", "initcall", "unit"]
KINDS: tuple[Kind, ...] = ("total", "phase", "device", "initcall", "unit")
UNKNOWN = "unknown"
_STAMP_NS = 1000  # systemd's stamps are whole microseconds
_MODEL = "model name"  # of /proc/cpuinfo on x86


@dataclass(frozen=True, slots=True)
class Figure:
    """How long something of a handover took, ns.

    ``detail`` is a device's driver or an initcall's level. ``start_ns`` counts from the jump.
    ``ns`` is None where it is unknown: not observed, never returned (``finished`` false), or no
    clock tells. ``error_ns`` bounds the error of ``ns``, None where nothing bounds it. ``count``
    calls are added up.
    """

    kind: Kind
    name: str
    detail: str
    start_ns: int | None
    ns: int | None
    error_ns: int | None
    count: int = 1
    finished: bool = True


@dataclass(frozen=True, slots=True)
class Run:
    """One handover of a session (``number``, from 0), and what it was measured with.

    ``kernel`` is the one that was entered, ``old_kernel`` the one that was left. ``host`` and
    ``host_type`` (machine, CPUs, model) are "unknown" where the session does not say.  ``time`` is
    when the jump was, UTC, None if no wall clock tells; ``jump_ns`` is the jump on the session's
    axis. ``lost`` and the like count both kernels' events. ``dma_left`` names the PCI devices that
    could still do DMA after their shutdown, None where that was not recorded.
    """

    session: str
    fingerprint: str
    number: int
    old_kernel: str
    kernel: str
    way: str
    started_by: str
    host: str
    host_type: str
    clock: str
    clock_error_ns: int | None
    time: str | None
    jump_ns: int | None
    jump_seen: bool
    verdict: str
    events: int
    lost: int | None
    lost_at_least: bool
    unreadable: int
    undecodable: int
    dma_left: tuple[str, ...] | None
    figures: tuple[Figure, ...]
    remarks: tuple[Diagnostic, ...] = ()

    @property
    def title(self) -> str:
        """What it is called beside others."""
        return self.session if self.number == 0 else f"{self.session}, handover {self.number}"

    def figure(self, kind: Kind, name: str) -> Figure | None:
        """One of the figures; None where there is none of that name."""
        return next((f for f in self.figures if f.kind == kind and f.name == name), None)

    def as_dict(self) -> dict[str, Any]:
        """The ``--json`` form, without the figures."""
        document = asdict(self)
        del document["figures"]
        return document


# -- figures ----------------------------------------------------------------------------------


def _error(clocks: Mapping[int, ClockModel], boot: int, ns: int | None) -> int | None:
    """The bound that a boot's clock gives for a duration within it."""
    model = clocks.get(boot)
    if model is None or ns is None:
        return None
    rate = model.ns_per_unit
    return model.duration_error(ns * rate.denominator // rate.numerator)


def _summed(figures: Iterable[Figure]) -> list[Figure]:
    """Those of one kind and name as one: durations and errors added up, unknown if one is."""
    made: dict[tuple[str, str], Figure] = {}
    for one in figures:
        key = one.kind, one.name
        before = made.get(key)
        made[key] = one if before is None else _both(before, one)
    return list(made.values())


def _both(a: Figure, b: Figure) -> Figure:
    starts = [s for s in (a.start_ns, b.start_ns) if s is not None]
    ns = None if a.ns is None or b.ns is None else a.ns + b.ns
    known = ns is not None and a.error_ns is not None and b.error_ns is not None
    return Figure(
        a.kind, a.name, a.detail if a.detail == b.detail else "", min(starts, default=None), ns,
        (a.error_ns or 0) + (b.error_ns or 0) if known else None,
        a.count + b.count, a.finished and b.finished,
    )  # fmt: skip


def _phases(report: Report, number: int, clocks: Mapping[int, ClockModel]) -> Iterator[Figure]:
    h = report.handovers[number]
    for p in report.phases:
        if p.handover != number:
            continue
        dark = p.name.startswith("dark")
        error = _error(clocks, p.boot, p.duration_ns)
        if dark:  # the whole of it is the gap; what splits it is less sure
            error = None
        yield Figure("phase", "dark" if dark else p.name, "", h.from_jump(p.start_ns),
                     p.duration_ns if p.observed else None, error)  # fmt: skip


def _figures(report: Report, number: int, clocks: Mapping[int, ClockModel]) -> Iterator[Figure]:
    h = report.handovers[number]
    error = partial(_error, clocks)
    yield Figure("total", "blackout", "", None, h.blackout_ns, h.blackout_error_ns)
    yield Figure("total", "gap", "", h.from_jump(h.jump_ns), h.gap_ns, h.gap_error_ns)
    for one in _summed(_phases(report, number, clocks)):
        if one.name == "dark" and one.ns is not None:
            one = Figure("phase", "dark", "", one.start_ns, one.ns, h.gap_error_ns)
        yield one
    yield from _summed(
        Figure("device", d.name or d.function or "?", d.driver, h.from_jump(d.start_ns),
               d.duration_ns if d.finished else None,
               error(d.boot, d.duration_ns if d.finished else None), 1, d.finished)
        for d in report.devices if d.boot == h.old
    )  # fmt: skip
    yield from _summed(
        Figure("initcall", c.function, c.level, h.from_jump(c.start_ns), c.duration_ns,
               error(c.boot, c.duration_ns))
        for c in report.initcalls if c.boot == h.new
    )  # fmt: skip
    yield from _summed(
        Figure("unit", u.name, "", h.from_jump(u.start_ns), u.duration_ns, _STAMP_NS)
        for u in report.units if u.boot == h.new
    )  # fmt: skip


# -- what it was measured with ----------------------------------------------------------------


def _kernel_facts(session: Session, boot: int) -> Mapping[str, Any]:
    try:
        return session.kernel(boot)
    except SessionError:
        return {}


def _host_type(session: Session, boot: int, kernel: Mapping[str, Any]) -> str:
    """``x86_64, 2 CPUs, Intel(R) Xeon(R) ...``; "unknown" if nothing of it was saved."""
    model = ""
    try:
        text = session.read(f"boots/{boot}/cpuinfo").decode("utf-8", "backslashreplace")
    except SessionError:
        text = ""
    for line in text.splitlines():
        name, _, value = line.partition(":")
        if name.strip() == _MODEL:
            model = " ".join(value.split())
            break
    machine, cpus = kernel.get("machine"), kernel.get("cpus")
    words = [str(machine or ""), f"{cpus} CPUs" if isinstance(cpus, int) else "", model]
    return ", ".join(word for word in words if word) or UNKNOWN


def _host(kernel: Mapping[str, Any]) -> str:
    name = kernel.get("hostname")
    return name if isinstance(name, str) and name and name != "(none)" else UNKNOWN


def _dma_left(devices: Iterable[Device]) -> tuple[str, ...] | None:
    """By the last call of each device that tells."""
    told = [d for d in devices if d.bus_master is not None]
    last = {d.name: d for d in sorted(told, key=lambda d: d.start_ns or 0)}
    able = sorted(name for name, d in last.items() if d.bus_master)
    return tuple(able) if told else None


def _both_clocks(old: BootReport, new: BootReport) -> str:
    return old.clock if old.clock == new.clock else f"{old.clock} → {new.clock}"


def _worst_error(boots: Iterable[BootReport]) -> int | None:
    errors = [b.clock_error_ns for b in boots]
    known = [e for e in errors if e is not None]
    return max(known) if known and len(known) == len(errors) else None


def _run(recording: Recording, report: Report, number: int, mark: str) -> Run:
    h: HandoverReport = report.handovers[number]
    old, new = (next(b for b in report.boots if b.index == i) for i in (h.old, h.new))
    facts = _kernel_facts(recording.session, new.index)
    before = _kernel_facts(recording.session, old.index)
    lost = [b.lost for b in (old, new)]
    hosts = [name for name in (_host(facts), _host(before)) if name != UNKNOWN]
    time = next((t.at(h.jump_ns) for t in report.times if t.boot == h.old), None)
    return Run(
        session=report.session,
        fingerprint=mark,
        number=number,
        old_kernel=old.release,
        kernel=new.release,
        way=h.way.name,
        started_by=str(h.way.started_by),
        host=hosts[0] if hosts else UNKNOWN,
        host_type=_host_type(recording.session, new.index, facts or before),
        clock=_both_clocks(old, new),
        clock_error_ns=_worst_error((old, new)),
        time=time,
        jump_ns=h.jump_ns,
        jump_seen=h.jump_seen,
        verdict=report.verdict,
        events=old.events + new.events,
        lost=None if None in lost else sum(n or 0 for n in lost),
        lost_at_least=old.lost_at_least or new.lost_at_least,
        unreadable=old.unreadable + new.unreadable,
        undecodable=old.undecodable + new.undecodable,
        dma_left=_dma_left(d for d in report.devices if d.boot == h.old),
        figures=tuple(_figures(report, number, recording.axis.clocks)),
        remarks=report.diagnostics,
    )


def runs_of(recording: Recording, report: Report | None = None) -> list[Run]:
    """The handovers of a session, in order; none where it has only one boot."""
    made = report or recording.report(last_events=False)
    mark = recording.session.fingerprint
    return [_run(recording, made, number, mark) for number in range(len(made.handovers))]


def open_runs(path: str | PathLike[str]) -> list[Run]:
    """The handovers of the session at ``path``.

    Raises :class:`~tracekit.errors.SessionError` where it has none.
    """
    runs = runs_of(tracekit.open(path))
    if not runs:
        raise SessionError(
            f"{path}: one boot only, so there is no handover: 'tracekit recover' under the new "
            "kernel adds it"
        )
    return runs
