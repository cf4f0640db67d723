"""The report: where the blackout went, what every CPU did at the jump, and what is missing."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, fields, replace
from typing import Any

import numpy as np

from tracekit.capture.kho.arrival import Arrival
from tracekit.errors import Diagnostic
from tracekit.frozen import dataclass
from tracekit.notebook import ShownReport
from tracekit.report.canary import CanaryReport, canary_report
from tracekit.report.control import ControlChange, control_changes
from tracekit.report.devices import Device, call_ends, device_shutdowns, slowness
from tracekit.report.holes import find_holes
from tracekit.report.initcalls import Initcall
from tracekit.report.jump.handed_over import handed_over
from tracekit.report.jump.kho_steps import KhoStep, kho_steps
from tracekit.report.jump.left_running import LeftDevice
from tracekit.report.jump.observed import observed_jumps
from tracekit.report.losses import CpuAccount, account
from tracekit.report.panic import PanicReport, panic_reports
from tracekit.report.phases import Handover, Phase
from tracekit.report.probes import ProbeReport, probe_report
from tracekit.report.systemd import Unit, read_systemd, unit_starts
from tracekit.report.unfinished import CpuUnfinished, unfinished
from tracekit.report.verdict import Verdict, judge
from tracekit.report.way_words import EndingReport, WayReport, ending, way_report
from tracekit.text import count_lost
from tracekit.timeline.boot import Boot
from tracekit.timeline.events import Events
from tracekit.timeline.started_by import StartedBy, started_by
from tracekit.timeline.undecodable import undecodable
from tracekit.timeline.when.boot_times import BootTime, boot_times

__all__ = ["BootReport", "CpuReport", "LastEvent", "Report", "make_report"]

_LAST = 10  # events of every CPU shown before the jump


@dataclass(frozen=True, slots=True)
class CpuReport:
    """One CPU of one boot. Times are ns on the session's axis; None if there are no events.

    ``lost`` is None if it is not known; ``lost_at_least`` says that it is a lower bound.
    ``counted`` says that the kernel counted the events, and that each is recovered or lost;
    ``unreadable`` counts sub-buffers and single records.
    """

    cpu: int
    events: int
    lost: int | None
    lost_at_least: bool
    unreadable: int
    counted: bool
    first_ns: int | None
    last_ns: int | None


@dataclass(frozen=True, slots=True)
class BootReport:
    """One boot; ``events``, ``lost`` and ``unreadable`` are the sums over its CPUs.

    ``undecodable`` of the events have no format, or fewer bytes than it says.
    """

    index: int
    release: str
    clock: str
    clock_method: str
    clock_error_ns: int | None
    clock_residual_ns: float | None
    events: int
    lost: int | None
    lost_at_least: bool
    unreadable: int
    undecodable: int
    counted: bool
    cpus: tuple[CpuReport, ...]


@dataclass(frozen=True, slots=True)
class LastEvent:
    """One of the last events before the jump; ``ts_ns`` is None if no clock tells."""

    ts_ns: int | None
    cpu: int
    pid: int
    comm: str | None
    event: str
    args: str


@dataclass(frozen=True, slots=True)
class HandoverReport:
    """One jump. ``gap``: last event of the old kernel to the first of the new one; ``blackout``:
    ``way.begin`` to the first user-space process. None if it was not observed. ``gap_earliest_ns``
    and ``gap_latest_ns`` bound the gap, and ``gap_method`` says what they rest on. ``jump_seen``:
    the old kernel was recorded up to the last function of its way down, so that its last event is
    the jump. ``unfinished``: what each CPU had begun and not ended, where the way down was a panic
    or was not seen to its end.
    """

    old: int
    new: int
    jump_ns: int | None
    jump_seen: bool
    way: WayReport
    unfinished: tuple[CpuUnfinished, ...]
    gap_ns: int | None
    gap_error_ns: int | None
    gap_raw: int | None
    gap_earliest_ns: int | None
    gap_latest_ns: int | None
    gap_method: str
    blackout_ns: int | None
    blackout_error_ns: int | None

    def from_jump(self, ns: int | None) -> int | None:
        """A time of the session's axis relative to ``jump_ns``, where there is one."""
        return ns if ns is None or self.jump_ns is None else ns - self.jump_ns

    @property
    def zero(self) -> str:
        """What stands at ``jump_ns``."""
        if not self.jump_seen:
            return "the old kernel's last recorded event"
        return "the jump" if self.way.name in ("kexec", "panic") else f"the {self.way.name}"


@dataclass(frozen=True, slots=True)
class Report(ShownReport):
    """Everything ``tracekit report`` shows. Times in ns from ``zero``, the last jump if it is seen.

    ``verdict`` is what may be said of the record (:mod:`tracekit.report.verdict`), ``complete``
    whether that is "complete".
    ``ending`` is how the record of the last boot ends, where another boot or another machine read
    it: None where that boot is the one that recovered the others.
    ``devices`` are the shutdowns of every boot, those that never returned first, then the slowest;
    ``initcalls`` are all, the slowest first, and so are ``units``, those that systemd started;
    ``control`` is what was done to the tracers, in order; ``canaries`` are what became of memory
    that boots left filled with a pattern; ``times`` are when each boot was, by the wall clock;
    ``panics`` tell what each boot that panicked said and did at its end.
    """

    session: str
    complete: bool
    verdict: Verdict
    common_clock: bool
    boots: tuple[BootReport, ...]
    handovers: tuple[HandoverReport, ...]
    ending: EndingReport | None
    phases: tuple[Phase, ...]
    initcalls: tuple[Initcall, ...]
    devices: tuple[Device, ...]
    units: tuple[Unit, ...]
    control: tuple[ControlChange, ...]
    probes: tuple[ProbeReport, ...]
    last_events: tuple[LastEvent, ...]
    diagnostics: tuple[Diagnostic, ...]
    canaries: tuple[CanaryReport, ...] = ()
    handed_over: tuple[Arrival, ...] = ()
    kho_steps: tuple[KhoStep, ...] = ()
    left_running: tuple[LeftDevice, ...] = ()
    times: tuple[BootTime, ...] = ()
    panics: tuple[PanicReport, ...] = ()

    @property
    def zero(self) -> str:
        """What stands at 0 of the session's axis."""
        return self.handovers[-1].zero if self.handovers else "the last event"

    @property
    def events(self) -> int:
        """Of all boots."""
        return sum(b.events for b in self.boots)

    @property
    def lost(self) -> int | None:
        """Of all boots; None if it is not known of one of them."""
        return _total([b.lost for b in self.boots])

    @property
    def lost_at_least(self) -> bool:
        """Whether ``lost`` is a lower bound."""
        return any(b.lost_at_least for b in self.boots)

    @property
    def unreadable(self) -> int:
        """Of all boots."""
        return sum(b.unreadable for b in self.boots)

    @property
    def undecodable(self) -> int:
        """Of all boots."""
        return sum(b.undecodable for b in self.boots)

    @property
    def account(self) -> str:
        """What the verdict rests on, in words."""
        if self.verdict == "complete":
            return "all that the kernel counted"
        if self.verdict == "no loss seen" and self.lost is not None:
            return "and no counters that could prove it"
        leaving = self.boots[:-1] or self.boots
        absent = [str(b.index) for b in leaving if not b.cpus]
        if absent:
            return f"nothing of boot {', '.join(absent)}"
        if self.lost == 0 and not self.unreadable and not self.undecodable:
            return "how many are lost is not known: see the remarks"
        counts = ((self.unreadable, "unreadable"), (self.undecodable, "undecodable"))
        words = [f"{count_lost(self.lost, self.lost_at_least)} lost"]
        return ", ".join([*words, *(f"{count:,} {what}" for count, what in counts if count)])

    def from_jump(self, boot: int, ns: int | None, *, leaving: bool) -> int | None:
        """A time relative to the jump out of (``leaving``) or into a boot, where there is one."""
        jumps = (h.jump_ns for h in self.handovers if (h.old if leaving else h.new) == boot)
        jump = next(jumps, None)
        return ns if ns is None or jump is None else ns - jump

    def as_dict(self) -> dict[str, Any]:
        """The ``--json`` form; the last jump's gap and blackout also stand at the top."""
        document = {**asdict(self), "zero": self.zero}
        for h, one in zip(self.handovers, document["handovers"], strict=True):
            one["jump_time"] = next((t.at(h.jump_ns) for t in self.times if t.boot == h.old), None)
        last = document["handovers"][-1] if self.handovers else {}
        for key in ("jump_ns", "gap_ns", "gap_error_ns", "blackout_ns", "blackout_error_ns"):
            document[key] = last.get(key)
        document["diagnostics"] = [d.as_dict() for d in self.diagnostics]
        return document


def _total(values: Sequence[int | None]) -> int | None:
    """The sum, or None if one of them is not known."""
    known = [v for v in values if v is not None]
    return sum(known) if len(known) == len(values) else None


def _cpu_report(
    events: Events, boot: int, ends: tuple[int, Any] | None, accounts: Sequence[CpuAccount]
) -> CpuReport:
    """``ends``: the CPU's, as of :meth:`~tracekit.timeline.rows.Rows.cpu_ends`."""
    ts = events.axis.ts_ns
    known = ends if ends is not None and events.axis.placed(boot) else None
    return CpuReport(
        cpu=accounts[0].cpu,
        events=sum(a.events for a in accounts),
        lost=_total([a.lost for a in accounts]),
        lost_at_least=any(a.at_least for a in accounts),
        unreadable=sum(a.unreadable for a in accounts),
        counted=all(a.counted for a in accounts),
        first_ns=int(ts[known[0]]) if known else None,
        last_ns=int(ts[known[1][-1]]) if known else None,
    )


def _boot_report(events: Events, boot: Boot) -> tuple[BootReport, list[Diagnostic]]:
    model = events.axis.clocks.get(boot.index)
    part = events.part(boot.index)
    accounts, remarks = account(part)
    remarks += find_holes(events, part)
    undecoded, about = undecodable(boot, events.rows, events.kinds, events.buffers)
    remarks += about
    by_cpu: dict[int, list[CpuAccount]] = {}
    for one in accounts:
        by_cpu.setdefault(one.cpu, []).append(one)
    ends = events.rows.cpu_ends(boot.index)
    cpus = tuple(_cpu_report(events, boot.index, ends.get(n), by_cpu[n]) for n in sorted(by_cpu))
    return BootReport(
        index=boot.index,
        release=boot.release,
        clock=model.trace_clock if model else "unknown",
        clock_method=model.method if model else "no events",
        clock_error_ns=model.error_ns if model else None,
        clock_residual_ns=model.residual_ns if model and events.axis.timed(boot.index) else None,
        events=sum(c.events for c in cpus),
        lost=_total([c.lost for c in cpus]),
        lost_at_least=any(c.lost_at_least for c in cpus),
        unreadable=sum(c.unreadable for c in cpus),
        undecodable=undecoded,
        counted=all(c.counted for c in cpus),
        cpus=cpus,
    ), remarks


def _cycles(events: Events, h: Handover) -> int | None:
    """The gap in raw units of the counter that stamped both its ends."""
    if h.last_old is None or h.first_new is None or not events.axis.counts_on(h.old, h.new):
        return None
    rows, ends = events.rows, [h.last_old, h.first_new]
    last, first = rows.ts_raw[ends].tolist()
    return first - last if events.axis.native(rows.buffer[ends]).all() else None


def _handover_report(events: Events, h: Handover, starter: StartedBy) -> HandoverReport:
    axis, rows = events.axis, events.rows
    way = way_report(events, h.old, h.down, starter, recorded=h.last_old is not None)
    gap: tuple[int | None, int | None] = (None, None)
    blackout = gap
    if h.last_old is not None and h.first_new is not None:
        gap = axis.interval(rows, h.last_old, h.first_new)
    if h.begun is not None and h.user is not None:
        blackout = axis.interval(rows, h.begun, h.user)
    bounds = next((g for g in axis.clock.gaps if g.boot == h.old), None)
    return HandoverReport(
        old=h.old,
        new=h.new,
        jump_ns=int(axis.ts_ns[h.last_old]) if h.last_old is not None else None,
        jump_seen=way.left,
        way=way,
        unfinished=() if way.usual else unfinished(events, events.boot(h.old), h.down),
        gap_ns=gap[0],
        gap_error_ns=gap[1],
        gap_raw=_cycles(events, h) if gap[0] is not None else None,
        gap_earliest_ns=bounds.earliest_ns if bounds else None,
        gap_latest_ns=bounds.latest_ns if bounds else None,
        gap_method=bounds.method if bounds else "",
        blackout_ns=blackout[0],
        blackout_error_ns=blackout[1],
    )


def _last_events(events: Events, boot: int) -> list[LastEvent]:
    last = [rows for _, rows in events.rows.cpu_ends(boot, _LAST).values()]
    table = events.table(np.concatenate([np.empty(0, np.int64), *last]))
    table = table.select([f.name for f in fields(LastEvent)])
    timed = events.axis.timed(boot)
    return [
        LastEvent(**{**row, "ts_ns": row["ts_ns"] if timed else None}) for row in table.to_pylist()
    ]


def make_report(events: Events, *, last: bool = True) -> Report:
    """Compute the report of a session; see :class:`Report`. ``last``: with the last events."""
    axis, boots = events.axis, list[BootReport]()
    probes, boot_remarks = list[ProbeReport](), list[Diagnostic]()
    for boot in events.boots:
        one, remarks = _boot_report(events, boot)
        boots.append(one)
        boot_remarks += remarks
        probed, remarks = probe_report(boot)
        probes += [probed] if probed else []
        boot_remarks += remarks
    systemd = {boot.index: read_systemd(boot) for boot in events.boots}
    starters = {boot.index: started_by(boot) for boot in events.boots}
    jumps = [jump.handover for jump in observed_jumps(events, systemd, starters)]
    ends = {boot.index: call_ends(events, boot) for boot in events.boots}
    devices = [
        device
        for boot in events.boots
        for device in device_shutdowns(ends[boot.index], timed=axis.timed(boot.index))
    ]
    arrivals, left = handed_over(events, ends)
    units = [unit for boot in events.boots for unit in unit_starts(axis, systemd[boot.index])]
    control = [
        change
        for boot in events.boots
        for change in control_changes(events, boot, timed=axis.timed(boot.index))
    ]
    handovers = tuple(_handover_report(events, h, starters[h.new]) for h in jumps)
    phases = tuple(replace(p, handover=n) for n, h in enumerate(jumps) for p in h.phases)
    gaps = {h.old: h.gap_ns for h in handovers}
    canaries = [canary_report(boot, gaps.get(boot.index), devices) for boot in events.boots]
    at_jump = events.boots[-2:][0].index if events.boots else 0
    remarks = [*events.diagnostics, *boot_remarks, *(d for h in jumps for d in h.notes)]
    diagnostics = tuple(dict.fromkeys(remarks))
    verdict = judge(boots, diagnostics)
    end = ending(events)
    begun = {one.boot: one.unfinished for one in (end,) if one}
    begun |= {h.old: h.unfinished for h in handovers}
    return Report(
        session=str(events.session.path),
        complete=verdict == "complete",
        verdict=verdict,
        common_clock=axis.common,
        boots=tuple(boots),
        handovers=handovers,
        ending=end,
        phases=phases,
        initcalls=tuple(
            sorted((c for h in jumps for c in h.initcalls), key=lambda c: -c.duration_ns)
        ),
        devices=tuple(sorted(devices, key=slowness)),
        control=tuple(control),
        units=tuple(sorted(units, key=lambda u: -u.duration_ns)),
        probes=tuple(probes),
        last_events=tuple(_last_events(events, at_jump)) if last else (),
        diagnostics=diagnostics,
        canaries=tuple(canary for canary in canaries if canary is not None),
        handed_over=arrivals,
        kho_steps=kho_steps(events, phases),
        left_running=left,
        times=boot_times(axis, events.boots, events.rows),
        panics=panic_reports(events, begun),
    )
