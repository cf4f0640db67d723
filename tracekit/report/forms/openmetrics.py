"""The report as metrics: for node_exporter's textfile collector, Prometheus, OpenMetrics.

Gauges alone, in seconds and counts, so that the text is valid OpenMetrics 1.0 and the older text
format that node_exporter reads. What is not known is absent, never 0.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from tracekit.frozen import dataclass, field
from tracekit.report.make import Report
from tracekit.text import printable

__all__ = ["openmetrics"]

_SLOWEST = 20  # devices, initcalls, units that get a series each
_NS = 10**9
_Labels = tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True)
class _Family:
    """One metric: samples by their labels; those of the same labels are added up."""

    name: str
    help: str
    samples: dict[_Labels, float] = field(default_factory=dict)

    def put(self, value: float | None, **labels: object) -> None:
        """Add a sample; nothing where the value is not known."""
        if value is not None:
            key = tuple((name, str(label)) for name, label in labels.items())
            self.samples[key] = self.samples.get(key, 0.0) + value


def _seconds(ns: int | None) -> float | None:
    return None if ns is None else ns / _NS


def _escaped(text: str) -> str:
    return printable(text).replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")


def _lines(families: Iterable[_Family]) -> Iterator[str]:
    for family in families:
        if not family.samples:
            continue
        yield f"# HELP {family.name} {family.help}"
        yield f"# TYPE {family.name} gauge"
        for labels, value in family.samples.items():
            inside = ",".join(f'{name}="{_escaped(label)}"' for name, label in labels)
            number = f"{value:.9f}".rstrip("0").rstrip(".")
            yield f"{family.name}{{{inside}}} {number}" if inside else f"{family.name} {number}"
    yield "# EOF"


def _handovers(report: Report) -> Iterator[_Family]:
    about = _Family("tracekit_handover_info", "A jump of the session: its kernels and its way.")
    seen = _Family("tracekit_handover_jump_recorded",
                   "Whether the old kernel was recorded up to its last function.")  # fmt: skip
    blackout = _Family("tracekit_handover_blackout_seconds",
                       "From the reboot call to the first user process.")  # fmt: skip
    blackout_error = _Family("tracekit_handover_blackout_error_seconds",
                             "Bound on the error of the blackout.")  # fmt: skip
    gap = _Family("tracekit_handover_gap_seconds",
                  "From the last event of the old kernel to the first of the new one.")  # fmt: skip
    gap_error = _Family("tracekit_handover_gap_error_seconds", "Bound on the error of the gap.")
    releases = {b.index: b.release for b in report.boots}
    for number, h in enumerate(report.handovers):
        about.put(1, handover=number, old_release=releases[h.old], new_release=releases[h.new],
                  way=h.way.name, started_by=h.way.started_by)  # fmt: skip
        seen.put(float(h.jump_seen), handover=number)
        blackout.put(_seconds(h.blackout_ns), handover=number)
        blackout_error.put(_seconds(h.blackout_error_ns), handover=number)
        gap.put(_seconds(h.gap_ns), handover=number)
        gap_error.put(_seconds(h.gap_error_ns), handover=number)
    yield from (about, seen, blackout, blackout_error, gap, gap_error)
    phases = _Family("tracekit_phase_seconds", "How long a phase of a handover took.")
    for p in report.phases:
        phases.put(_seconds(p.duration_ns), handover=p.handover, boot=p.boot, phase=p.name)
    yield phases
    steps = _Family("tracekit_kho_step_seconds",
                    "How long the calls of a step of KHO or LUO took.")  # fmt: skip
    for s in report.kho_steps:
        steps.put(_seconds(s.took_ns), boot=s.boot, phase=s.phase, step=s.name)
    yield steps


def _slow(report: Report) -> Iterator[_Family]:
    """The slowest of each kind: a series for every initcall would be hundreds."""
    devices = _Family("tracekit_device_shutdown_seconds",
                      f"Shutdown of a device, the {_SLOWEST} slowest.")  # fmt: skip
    stuck = _Family("tracekit_device_shutdown_unfinished",
                    "Device shutdowns that never returned.")  # fmt: skip
    for boot in report.boots:
        if any(d.boot == boot.index for d in report.devices):
            stuck.put(sum(not d.finished for d in report.devices if d.boot == boot.index),
                      boot=boot.index)  # fmt: skip
    done = [d for d in report.devices if d.finished and d.duration_ns is not None]
    for d in done[:_SLOWEST]:
        devices.put(_seconds(d.duration_ns), boot=d.boot, device=d.name, driver=d.driver)
    calls = _Family("tracekit_initcall_seconds",
                    f"An initcall of the new kernel, the {_SLOWEST} slowest.")  # fmt: skip
    for c in report.initcalls[:_SLOWEST]:
        calls.put(_seconds(c.duration_ns), boot=c.boot, initcall=c.function, level=c.level)
    units = _Family("tracekit_unit_start_seconds",
                    f"The start of a systemd unit, the {_SLOWEST} slowest.")  # fmt: skip
    for u in report.units[:_SLOWEST]:
        units.put(_seconds(u.duration_ns), boot=u.boot, unit=u.name)
    yield from (devices, stuck, calls, units)


def _record(report: Report) -> Iterator[_Family]:
    complete = _Family("tracekit_record_complete",
                       "Whether every event that the kernel counted is there.")  # fmt: skip
    complete.put(float(report.complete), verdict=report.verdict)
    recorded = _Family("tracekit_events_recorded", "Events of a boot that were recovered.")
    lost = _Family("tracekit_events_lost", "Events of a boot that are lost, at least.")
    bad = _Family("tracekit_unreadable", "Sub-buffers and records that could not be read.")
    unknown = _Family("tracekit_events_undecodable", "Events without a format that fits.")
    clock = _Family("tracekit_clock_error_seconds",
                    "Bound on the error of a boot's times relative to the jump.")  # fmt: skip
    for b in report.boots:
        recorded.put(b.events, boot=b.index)
        lost.put(b.lost, boot=b.index)
        bad.put(b.unreadable, boot=b.index)
        unknown.put(b.undecodable, boot=b.index)
        clock.put(_seconds(b.clock_error_ns), boot=b.index)
    remarks = _Family("tracekit_remarks", "Remarks on the session by severity.")
    for severity in ("error", "warning"):
        remarks.put(sum(d.severity == severity for d in report.diagnostics), severity=severity)
    damaged = _Family("tracekit_canary_changed_places",
                      "Stretches of a canary that were written to during the jump.")  # fmt: skip
    for one in report.canaries:
        damaged.put(None if one.state == "not looked at" else one.places, boot=one.boot)
    yield from (complete, recorded, lost, bad, unknown, clock, remarks, damaged)


def openmetrics(report: Report) -> str:
    """The text of a ``.prom`` file."""
    families: Sequence[_Family] = [*_handovers(report), *_slow(report), *_record(report)]
    return "\n".join(_lines(families)) + "\n"
