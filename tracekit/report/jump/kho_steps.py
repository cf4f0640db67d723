"""When what is handed over was preserved, written down and taken up again, from the probes.

The steps are parts of the phases: each is listed by the phase in which its calls began.

The old kernel's side: the BPF probes ``luo:*`` and ``kho:*``, or kprobe events on the same
functions. The new kernel's: those, and before them the kprobe events that its command line asks
for (``kprobe_event=``, :mod:`tracekit.capture.cmdline.compose`).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from tracekit.analysis.each_event import each_event
from tracekit.analysis.kprobe_events import kprobes
from tracekit.frozen import dataclass
from tracekit.report.phases import Phase, phase_at
from tracekit.timeline.boot import Boot
from tracekit.timeline.events import Events

__all__ = ["KhoStep", "kho_steps", "steps_in"]

# function -> what a call of it does
_STEPS: Mapping[str, str] = {
    "luo_session_create": "create a session",
    "luo_preserve_file": "preserve a file",
    "kho_add_subtree": "register a blob",
    "luo_session_serialize": "write down sessions",
    "luo_file_freeze": "freeze files",
    "luo_session_deserialize": "take up what came",
    "luo_session_retrieve": "retrieve a session",
    "luo_retrieve_file": "retrieve a file",
    "luo_session_finish": "finish a session",
}
_BPF: Mapping[str, str] = {
    "luo:create_session": "luo_session_create",
    "luo:preserve_file": "luo_preserve_file",
    "kho:add_subtree": "kho_add_subtree",
    "luo:serialize_sessions": "luo_session_serialize",
    "luo:freeze_files": "luo_file_freeze",
    "luo:retrieve_session": "luo_session_retrieve",
    "luo:retrieve_file": "luo_retrieve_file",
    "luo:finish_session": "luo_session_finish",
}
_NAMES = 8  # sessions that are named


@dataclass(frozen=True, slots=True)
class KhoStep:
    """All calls of one kind that began in one phase: ``count``, and how many of them failed.

    ``start_ns`` and ``end_ns`` are on the session's axis, of the first call and the last; None if
    no clock tells. ``took_ns`` is the sum of their times, None where no return was recorded.
    ``names``: of sessions and blobs, the first few. ``phase`` and ``handover`` say which phase;
    '' and None where the calls began in none. ``in_blackout``: whether that lies in the blackout.
    """

    name: str
    boot: int
    count: int
    failed: int
    start_ns: int | None
    end_ns: int | None
    took_ns: int | None
    names: tuple[str, ...]
    phase: str = ""
    handover: int | None = None
    in_blackout: bool = False

    @property
    def label(self) -> str:
        """The step as a part of its phase is called: with the number of calls, and of failures."""
        calls = f", {self.count:,} calls" if self.count > 1 else ""
        return f"{self.name}{calls}{f', {self.failed:,} failed' if self.failed else ''}"


@dataclass(frozen=True, slots=True)
class _End:
    at: int
    pid: int
    returned: bool
    took: int | None
    result: int | None
    name: str


def _sources(boot: Boot) -> Iterator[tuple[str, str, bool]]:
    """(event, function, whether it marks the return)."""
    for event, function in _BPF.items():
        yield event, function, False
        yield f"{event}_return", function, True
    yield from (one for one in kprobes(boot) if one[1] in _STEPS)


def _number(value: object) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) else None


def _ends(events: Events, boot: Boot, event: str, returned: bool) -> Iterator[_End]:
    for at, pid, row in each_event(events, boot.index, event):
        name = row.get("session") or row.get("name") or ""
        yield _End(
            at, pid, returned, _number(row.get("duration_ns")), _number(row.get("ret")),
            name if isinstance(name, str) and name != "(fault)" else "",
        )  # fmt: skip


def _calls(ends: list[_End]) -> Iterator[tuple[_End, _End | None]]:
    """Begins with their returns; a task's calls of one function are not nested."""
    open_: dict[int, _End] = {}
    for end in sorted(ends, key=lambda e: (e.at, e.returned)):
        if not end.returned:
            if end.pid in open_:
                yield open_[end.pid], None
            open_[end.pid] = end
        elif (begun := open_.pop(end.pid, None)) is not None:
            yield begun, end
    yield from ((begun, None) for begun in open_.values())


def _began(begun: _End, end: _End | None) -> int:
    """When a call began: its event may have been stamped later, which its own measure tells."""
    return begun.at if end is None or end.took is None else min(begun.at, end.at - end.took)


def _took(begun: _End, end: _End | None) -> int | None:
    if end is None:
        return None
    return end.took if end.took is not None else end.at - begun.at


def _step(
    function: str, boot: int, calls: Sequence[tuple[_End, _End | None]], phase: Phase | None,
    timed: bool,
) -> KhoStep:  # fmt: skip
    times = [took for begun, end in calls if (took := _took(begun, end)) is not None]
    last = max((end or begun).at for begun, end in calls)
    names: dict[str, Any] = dict.fromkeys(begun.name for begun, _ in calls if begun.name)
    return KhoStep(
        _STEPS[function],
        boot,
        len(calls),
        sum(end is not None and (end.result or 0) < 0 for _, end in calls),
        min(_began(begun, end) for begun, end in calls) if timed else None,
        last if timed else None,
        sum(times) if times else None,
        tuple(names)[:_NAMES],
        "" if phase is None else phase.name,
        None if phase is None else phase.handover,
        phase is not None and phase.in_blackout,
    )


def _by_phase(
    function: str, boot: int, ends: list[_End], phases: Sequence[Phase], timed: bool
) -> Iterator[KhoStep]:
    """A function's calls, those of each phase together."""
    parts: dict[Phase | None, list[tuple[_End, _End | None]]] = {}
    for call in _calls(ends):
        parts.setdefault(phase_at(phases, call[0].at) if timed else None, []).append(call)
    for phase, calls in parts.items():
        yield _step(function, boot, calls, phase, timed)


def kho_steps(events: Events, phases: Iterable[Phase]) -> tuple[KhoStep, ...]:
    """The steps of every boot, in the order in which they began; ``phases`` are of all boots."""
    found: list[KhoStep] = []
    known = list(phases)
    for boot in events.boots:
        found += _of_boot(events, boot, [p for p in known if p.boot == boot.index])
    return tuple(found)


def steps_in(steps: Iterable[KhoStep], phase: Phase) -> list[KhoStep]:
    """The steps that began in a phase."""
    same = (phase.boot, phase.name, phase.handover)
    return [s for s in steps if (s.boot, s.phase, s.handover) == same and s.start_ns is not None]


def _of_boot(events: Events, boot: Boot, phases: Sequence[Phase]) -> list[KhoStep]:
    """The steps that a boot recorded.

    Where a call was seen in two ways (BPF and kprobe events), the one that saw more of them counts.
    """
    found: dict[str, list[list[_End]]] = {}
    sources: dict[tuple[str, bool], list[_End]] = {}
    for event, function, returned in _sources(boot):
        group = event.partition(":")[0] if event not in _BPF else "bpf"
        group = "bpf" if event.removesuffix("_return") in _BPF else group
        ends = list(_ends(events, boot, event, returned))
        if ends:
            sources.setdefault((f"{group} {function}", False), []).extend(ends)
    for (key, _), ends in sources.items():
        found.setdefault(key.partition(" ")[2], []).append(ends)
    timed = events.axis.timed(boot.index)
    steps = [
        step
        for function, ways in found.items()
        for step in _by_phase(function, boot.index, max(ways, key=len), phases, timed)
    ]
    return sorted(steps, key=lambda step: (step.start_ns or 0, step.name))
