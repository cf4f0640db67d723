"""What took how long: every call of a session in one list, the slowest first."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict, replace
from typing import Any

from tracekit.frozen import dataclass
from tracekit.report.critical.calls import Call, recorded_calls
from tracekit.report.make import Report
from tracekit.report.phases import Phase, phase_at
from tracekit.timeline.events import Events

__all__ = ["KINDS_OF_BLAME", "Blamed", "blame"]

_STEPS = ("notifier", "notifier chain", "LUO step", "KHO step")
#: What is listed, as ``tracekit blame --kind`` takes it.
KINDS_OF_BLAME = ("device", "initcall", "unit", *_STEPS)
_STAMP_NS = 1000  # systemd's stamps are whole microseconds


@dataclass(frozen=True, slots=True)
class Blamed:
    """One thing that took time. ``name`` is of a device, function, unit or step.

    ``phase`` is the one in which it began, '' where none was observed then. Times are ns on the
    session's axis; ``duration_ns`` is None if it never returned (``finished`` false) or was not
    timed. ``at_most``: its end was not recorded, only what began next. ``error_ns`` bounds the
    error of the duration, None where the clock has no bound.
    """

    kind: str
    name: str
    detail: str
    boot: int
    phase: str
    start_ns: int | None
    duration_ns: int | None
    error_ns: int | None
    at_most: bool
    finished: bool

    def as_dict(self) -> dict[str, Any]:
        """The ``--json`` form."""
        return asdict(self)


class _Session:
    """What is asked of the session for every thing that is listed."""

    def __init__(self, events: Events, report: Report) -> None:
        self._clocks = events.axis.clocks
        self._phases: dict[int, list[Phase]] = {}
        for phase in report.phases:
            if phase.start_ns is not None:
                self._phases.setdefault(phase.boot, []).append(phase)

    def phase(self, boot: int, ns: int | None) -> str:
        """The shortest phase of a boot that an instant lies in."""
        found = None if ns is None else phase_at(self._phases.get(boot, ()), ns)
        return found.name if found is not None else ""

    def blamed(
        self, kind: str, name: str, detail: str, boot: int, start_ns: int | None,
        duration_ns: int | None, *, finished: bool = True,
    ) -> Blamed:  # fmt: skip
        """One thing, with its phase and the error of its duration."""
        return Blamed(
            kind, name, detail, boot, self.phase(boot, start_ns), start_ns, duration_ns,
            self.error(boot, duration_ns), False, finished,
        )  # fmt: skip

    def error(self, boot: int, duration_ns: int | None) -> int | None:
        """The bound that the boot's clock gives for a duration so long."""
        model = self._clocks.get(boot)
        if model is None or duration_ns is None:
            return None
        return model.duration_error(int(duration_ns / model.ns_per_unit))


def _steps(calls: Sequence[Call]) -> Iterator[Call]:
    """Notifiers and the steps of LUO and KHO; a chain is listed where its notifiers are not."""
    told = [c for c in calls if c.kind == "notifier"]
    for call in calls:
        inside = any(
            call.start_ns <= one.start_ns and one.pid == call.pid
            and one.start_ns <= (call.end_ns or one.start_ns)
            for one in told
        )  # fmt: skip
        if call.kind in _STEPS and not (call.kind == "notifier chain" and inside):
            yield call


def blame(events: Events, report: Report) -> tuple[Blamed, ...]:
    """Everything that was timed: what never returned first, then the slowest first."""
    session = _Session(events, report)
    found: list[Blamed] = []
    for d in report.devices:
        detail = " ".join(text for text in (d.driver, d.function) if text)
        took = d.duration_ns if d.finished else None
        found.append(session.blamed("device", d.name or d.function, detail, d.boot, d.start_ns,
                                    took, finished=d.finished))  # fmt: skip
    for c in report.initcalls:
        failed = f"returned {c.ret}" if c.ret else ""
        found.append(session.blamed("initcall", c.function, failed, c.boot, c.start_ns,
                                    c.duration_ns))  # fmt: skip
    for u in report.units:
        one = session.blamed("unit", u.name, "", u.boot, u.start_ns, u.duration_ns)
        found.append(replace(one, error_ns=_STAMP_NS))
    for boot in events.boots:
        for call in _steps(recorded_calls(events, boot, ()).all):
            one = session.blamed(call.kind, call.name, call.detail, call.boot, call.start_ns,
                                 call.duration_ns, finished=call.end_ns is not None)  # fmt: skip
            found.append(replace(one, at_most=call.at_most))
    return tuple(sorted(found, key=lambda b: (b.finished, -(b.duration_ns or 0), b.start_ns or 0)))
