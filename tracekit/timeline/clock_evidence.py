"""What is known about each boot's clocks, and every stamp of a boot on one of them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from tracekit.clocks.align import BootClockInput, SessionRate, session_rate_of
from tracekit.clocks.fit import Bracket
from tracekit.clocks.relate import Relation, relate
from tracekit.errors import SessionError
from tracekit.timeline.boot import Boot, Buffer
from tracekit.timeline.bpf_format import PROBE_FILE
from tracekit.timeline.bpf_records import MONOTONIC
from tracekit.timeline.markers import marker_samples
from tracekit.timeline.rows import EventKind, Rows

__all__ = ["Source", "boot_samples", "one_clock_a_boot"]

_Array = npt.NDArray[Any]


@dataclass(frozen=True, slots=True)
class Source:
    """A boot's clock evidence; ``pairs`` bracket CLOCK_MONOTONIC by stamps of its trace clock."""

    given: BootClockInput
    pairs: Sequence[Bracket] = ()


@dataclass(frozen=True, slots=True)
class _Buffers:
    """A boot's buffers that hold anything, by their number, each with its trace clock."""

    boot: Boot
    first: int
    clocks: Mapping[int, str]
    events: Mapping[str, int]

    def others(self, main: str) -> list[int]:
        """The buffers that count on another clock than ``main``."""
        return [number for number, clock in self.clocks.items() if clock != main]


def _document(boot: Boot) -> Mapping[str, Any]:
    if not boot.session.has(f"boots/{boot.index}/clocks.json"):
        return {}
    try:
        return boot.session.json(f"boots/{boot.index}/clocks.json")
    except SessionError as error:
        boot.note("clocks-unreadable", "", str(error))
        return {}


def boot_samples(boot: Boot) -> Sequence[object]:
    """The clock samples of a boot, as they were saved: not trusted."""
    samples = _document(boot).get("samples")
    return samples if isinstance(samples, list) else ()


def _buffers_of(boot: Boot, first: int) -> _Buffers:
    """The boot's buffers; ``first`` is the number of the first."""
    clocks, events = dict[int, str](), Counter[str]()
    for number, buffer in enumerate(boot.buffers, first):
        clock = buffer.clock or "local"
        events[clock] += len(buffer)
        of_probes = buffer.layout is None and not buffer.records and len(buffer.data) > 0
        if len(buffer) or of_probes:
            clocks[number] = clock
    return _Buffers(boot, first, clocks, events)


def _related(
    of: _Buffers, main: str, given: BootClockInput, rows: Rows, rate: SessionRate | None
) -> dict[int, Relation | None]:
    """How each buffer on another clock is related to ``main``; None where nothing tells."""
    own = rows.ts_raw[np.isin(rows.buffer, [n for n, clock in of.clocks.items() if clock == main])]
    if not len(own):
        return dict.fromkeys(of.others(main))
    given = replace(given, trace_clock=main, first_raw=int(own.min()), last_raw=int(own.max()))
    pairs = of.boot.probes.pairs.get(main, ())
    found = dict[int, Relation | None]()
    for number in of.others(main):
        stamps = rows.ts_raw[rows.buffer == number]
        clock = of.clocks[number]
        brackets = pairs if clock == MONOTONIC else ()
        span = (int(stamps.min()), int(stamps.max())) if len(stamps) else None
        found[number] = relate(given, clock, span, rate, brackets) if span else None
    return found


def _choose(
    of: _Buffers, given: BootClockInput, rows: Rows, rate: SessionRate | None
) -> tuple[str, dict[int, Relation | None]]:
    """The clock that the boot's times rest on, and the relations of all others to it.

    The TSC, which other boots may share, where one buffer counts on it and the others can be
    related to it; else the clock of most events.
    """
    most = max(of.events, key=lambda clock: of.events[clock], default="local")
    if not of.events.get(most) and of.clocks:
        most = next(iter(of.clocks.values()))
    if not of.others(most):
        return most, {}
    if of.events.get("x86-tsc") and most != "x86-tsc":
        related = _related(of, "x86-tsc", given, rows, rate)
        names = [of.boot.buffers[n - of.first].name for n, r in related.items() if r is None]
        if not {*names} - {PROBE_FILE}:
            return "x86-tsc", related
    return most, _related(of, most, given, rows, rate)


def _remark(of: _Buffers, main: str, relations: Mapping[int, Relation | None], rows: Rows) -> None:
    """Say which buffers count on another clock, and how they were placed, or that they are not."""
    for number, relation in relations.items():
        buffer = of.boot.buffers[number - of.first]
        count = int(np.count_nonzero(rows.buffer == number))
        probes = buffer.name == PROBE_FILE
        what = f"the {count} records that only it has" if probes else f"its {count} events"
        clocks = f"stamped by the clock {of.clocks[number]}, this boot's times rest on {main}"
        stamped = f"{what} are {clocks}"
        if relation is None:
            code = "bpf-not-placed" if probes else "buffer-on-other-clock"
            message = f"{stamped}: they are not placed on the timeline"
            of.boot.note(code, buffer.name, message)
        else:
            code = "bpf-placed" if probes else "buffer-related"
            message = f"{stamped}; placed to ± {relation.error_ns} ns by {relation.method}"
            of.boot.note(code, buffer.name, message, "info")


def one_clock_a_boot(
    boots: Sequence[Boot], rows: Rows, kinds: Sequence[EventKind], buffers: Sequence[Buffer]
) -> tuple[Rows, _Array, dict[int, Source], dict[int, Relation]]:
    """Every row's stamp on the one clock that its boot's times rest on.

    Returns the rows that can be placed, their stamps on that clock (``rows.ts_raw`` itself where
    no boot has several), the evidence of each boot that has rows, and the relations of the buffers
    that count on another clock, by their number.
    """
    first, every, given = 0, list[_Buffers](), dict[int, BootClockInput]()
    for boot in boots:
        every.append(_buffers_of(boot, first))
        first += len(boot.buffers)
        document = _document(boot)
        marks = marker_samples(boot, document.get("markers"), rows, kinds, buffers)
        samples = document.get("samples")
        given[boot.index] = BootClockInput(
            boot.index, "", [*(samples if isinstance(samples, list) else ()), *marks],
            boot.text("dmesg"),
        )  # fmt: skip
    several = any(len(set(of.clocks.values())) > 1 for of in every)
    rate = session_rate_of(given.values()) if several else None
    relations = dict[int, Relation]()
    chosen = dict[int, str]()
    lost = list[int]()
    for of in every:
        boot = of.boot
        chosen[boot.index], found = _choose(of, given[boot.index], rows, rate)
        _remark(of, chosen[boot.index], found, rows)
        relations.update({n: r for n, r in found.items() if r is not None})
        lost += [n for n, r in found.items() if r is None]
    rows = rows.take(~np.isin(rows.buffer, lost)) if lost else rows
    raw = rows.ts_raw
    if relations:
        raw = raw.astype(np.int64)
        for number, relation in relations.items():
            at = rows.buffer == number
            raw[at] = relation.convert(rows.ts_raw[at])
    return rows, raw, _sources(boots, rows, raw, given, chosen), relations


def _sources(
    boots: Sequence[Boot],
    rows: Rows,
    raw: _Array,
    given: Mapping[int, BootClockInput],
    chosen: Mapping[int, str],
) -> dict[int, Source]:
    """The evidence of each boot that has rows, with the stamps of its first and last event."""
    found = {}
    for boot in boots:
        stamps = raw[rows.of_boot(boot.index)]
        if not len(stamps):
            continue
        in_order = raw is rows.ts_raw
        ends = (stamps[0], stamps[-1]) if in_order else (stamps.min(), stamps.max())
        clock = chosen[boot.index]
        evidence = replace(
            given[boot.index], trace_clock=clock, first_raw=int(ends[0]), last_raw=int(ends[1])
        )
        found[boot.index] = Source(evidence, boot.probes.pairs.get(clock, ()))
    return found
