"""Gathers the evidence about each boot's clocks, and puts all its stamps on one of them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from tracekit.clocks.align import session_rate_of
from tracekit.clocks.counter_rate import SessionRate
from tracekit.clocks.evidence import BootClockInput, BootClocks
from tracekit.clocks.fit import Bracket
from tracekit.clocks.model import UNKNOWN
from tracekit.clocks.relate import Relation, relate
from tracekit.errors import SessionError
from tracekit.frozen import dataclass
from tracekit.timeline.boot import Boot, Buffer
from tracekit.timeline.bpf_records import MONOTONIC
from tracekit.timeline.markers import marker_samples
from tracekit.timeline.merge import BootPart, Merged
from tracekit.timeline.rows import Rows, one_of
from tracekit.timeline.saved.bpf_format import PROBE_FILE
from tracekit.timeline.started_by import started_by

__all__ = ["Source", "one_clock_a_boot"]

_Array = npt.NDArray[Any]


@dataclass(frozen=True, slots=True)
class Source:
    """A boot's clock evidence; ``pairs`` bracket CLOCK_MONOTONIC by stamps of its trace clock."""

    given: BootClockInput
    pairs: Sequence[Bracket] = ()


@dataclass(frozen=True, slots=True)
class _Buffers:
    """The trace clock of each of a boot's buffers that are not empty, by their number."""

    part: BootPart
    clocks: Mapping[int, str]
    events: Mapping[str, int]

    def others(self, main: str) -> list[int]:
        """The buffers that count on another clock than ``main``."""
        return [number for number, clock in self.clocks.items() if clock != main]

    def named(self, number: int) -> Buffer:
        """The buffer of that number."""
        return self.part.buffers[number - self.part.first]


def _document(boot: Boot) -> Mapping[str, Any]:
    if not boot.session.has(f"boots/{boot.index}/clocks.json"):
        return {}
    try:
        return boot.session.json(f"boots/{boot.index}/clocks.json")
    except SessionError as error:
        boot.note("clocks-unreadable", "", str(error))
        return {}


def _clocks_of(part: BootPart, merged: Merged) -> BootClocks:
    """A boot's saved clock data, with the samples that markers in its buffers give."""
    boot, document = part.boot, _document(part.boot)
    samples = document.get("samples")
    marks = marker_samples(boot, document.get("markers"), merged.rows, merged.kinds, merged.buffers)
    all_samples = [*(samples if isinstance(samples, list) else ()), *marks]
    by_firmware = started_by(boot).kind == "boot loader"
    offset = _printk_offset(boot)
    return BootClocks(
        boot.index, all_samples, boot.text("dmesg"), by_firmware, offset, _tsc_khz(boot)
    )


def _tsc_khz(boot: Boot) -> int | None:
    """What trace-cmd read of the kernel; None where an earlier boot's file says the very same.

    Two kernels calibrate differently: files that agree were written by one program that knew one
    rate, and are no two witnesses of it.
    """
    given = _conversion(boot, boot.index)
    earlier = (index for index in boot.session.boots if index < boot.index)
    if given is None or given in [_conversion(boot, index) for index in earlier]:
        return None
    mult, shift = given
    return (10**6 << shift) // mult


def _conversion(boot: Boot, index: int) -> tuple[int, int] | None:
    """(mult, shift) of ``ns = cycles * mult >> shift``, from ``imported.json``."""
    rel = f"boots/{index}/imported.json"
    if not boot.session.has(rel):
        return None
    try:
        given = boot.session.json(rel).get("tsc2nsec")
    except SessionError:
        return None
    if not isinstance(given, dict):
        return None
    mult, shift = given.get("mult"), given.get("shift")
    if type(mult) is not int or type(shift) is not int or mult <= 0 or not 0 <= shift <= 63:
        return None
    return mult, shift


def _printk_offset(boot: Boot) -> int | None:
    """What was read out of a dead kernel's memory (``crash.json``)."""
    if not boot.session.has(f"boots/{boot.index}/crash.json"):
        return None
    try:
        offset = boot.session.json(f"boots/{boot.index}/crash.json").get("printk_offset_ns")
    except SessionError:
        return None
    return offset if type(offset) is int and abs(offset) < 1 << 62 else None


def _buffers_of(part: BootPart) -> _Buffers:
    clocks, events = dict[int, str](), Counter[str]()
    for number, buffer in enumerate(part.buffers, part.first):
        clock = buffer.clock or UNKNOWN
        events[clock] += len(buffer)
        of_probes = buffer.layout is None and not buffer.records and len(buffer.data) > 0
        if len(buffer) or of_probes:
            clocks[number] = clock
    return _Buffers(part, clocks, events)


def _related(
    buffers: _Buffers, main: str, clocks: BootClocks, rows: Rows, rate: SessionRate | None
) -> dict[int, Relation | None]:
    """How each buffer on another clock is related to ``main``; None if it is not."""
    same_clock = [number for number, clock in buffers.clocks.items() if clock == main]
    own = rows.ts_raw[one_of(rows.buffer, same_clock)]
    if not len(own):
        return dict.fromkeys(buffers.others(main))
    on_main = BootClockInput(clocks, main, int(own.min()), int(own.max()))
    pairs = buffers.part.probes.pairs.get(main, ())
    relations = dict[int, Relation | None]()
    for number in buffers.others(main):
        stamps = rows.ts_raw[rows.buffer == number]
        clock = buffers.clocks[number]
        brackets = pairs if clock == MONOTONIC else ()
        span = (int(stamps.min()), int(stamps.max())) if len(stamps) else None
        relations[number] = relate(on_main, clock, span, rate, brackets) if span else None
    return relations


def _choose(
    buffers: _Buffers, clocks: BootClocks, rows: Rows, rate: SessionRate | None
) -> tuple[str, dict[int, Relation | None]]:
    """The clock that the boot's times rest on, and the relations of all others to it.

    The TSC, which other boots may share, if one buffer counts on it and the others can be related
    to it; otherwise the clock of most events.
    """
    most = max(buffers.events, key=lambda clock: buffers.events[clock], default="local")
    if not buffers.events.get(most) and buffers.clocks:
        most = next(iter(buffers.clocks.values()))
    if not buffers.others(most):
        return most, {}
    if buffers.events.get("x86-tsc") and most != "x86-tsc":
        related = _related(buffers, "x86-tsc", clocks, rows, rate)
        names = [buffers.named(n).name for n, r in related.items() if r is None]
        if not {*names} - {PROBE_FILE}:
            return "x86-tsc", related
    return most, _related(buffers, most, clocks, rows, rate)


def _remark(
    buffers: _Buffers, main: str, relations: Mapping[int, Relation | None], rows: Rows
) -> None:
    """Note which buffers count on another clock, and how they were placed, or that they are not."""
    for number, relation in relations.items():
        buffer, note = buffers.named(number), buffers.part.boot.note
        count = int(np.count_nonzero(rows.buffer == number))
        probes = buffer.name == PROBE_FILE
        subject = f"the {count} records that only it has" if probes else f"its {count} events"
        clocks = f"stamped by the clock {buffers.clocks[number]}, this boot's times rest on {main}"
        stamped = f"{subject} are {clocks}"
        if relation is None:
            code = "bpf-not-placed" if probes else "buffer-on-other-clock"
            message = f"{stamped}: they are not placed on the timeline"
            note(code, buffer.name, message)
        else:
            code = "bpf-placed" if probes else "buffer-related"
            message = f"{stamped}; placed to ± {relation.error_ns} ns by {relation.method}"
            note(code, buffer.name, message, "info")


def one_clock_a_boot(
    merged: Merged,
) -> tuple[Rows, _Array, dict[int, Source], dict[int, Relation]]:
    """Convert all rows' stamps to the one clock that their boot's times rest on.

    Returns the rows that can be placed, their stamps on that clock (``rows.ts_raw`` itself where
    no boot has several), the evidence of each boot that has rows, and the relations of the buffers
    that count on another clock, by their number.
    """
    every = [_buffers_of(part) for part in merged.parts]
    clocks = {part.boot.index: _clocks_of(part, merged) for part in merged.parts}
    several = any(len(set(buffers.clocks.values())) > 1 for buffers in every)
    rate = session_rate_of([g.evidence for g in clocks.values()])[0] if several else None
    rows = merged.rows
    relations = dict[int, Relation]()
    chosen = dict[int, str]()
    lost = list[int]()
    for buffers in every:
        index = buffers.part.boot.index
        chosen[index], related = _choose(buffers, clocks[index], rows, rate)
        _remark(buffers, chosen[index], related, rows)
        relations.update({n: r for n, r in related.items() if r is not None})
        lost += [n for n, r in related.items() if r is None]
    rows = rows.take(~one_of(rows.buffer, lost)) if lost else rows
    raw = rows.ts_raw
    if relations:
        raw = raw.astype(np.int64)
        for number, relation in relations.items():
            mask = rows.buffer == number
            raw[mask] = relation.convert(rows.ts_raw[mask])
    return rows, raw, _sources(merged.parts, rows, raw, clocks, chosen), relations


def _sources(
    parts: Sequence[BootPart],
    rows: Rows,
    raw: _Array,
    clocks: Mapping[int, BootClocks],
    chosen: Mapping[int, str],
) -> dict[int, Source]:
    """The evidence of each boot that has rows, with the stamps of its first and last event."""
    sources = {}
    for part in parts:
        index = part.boot.index
        stamps = raw[rows.of_boot(index)]
        if not len(stamps):
            continue
        in_order = raw is rows.ts_raw
        ends = (stamps[0], stamps[-1]) if in_order else (stamps.min(), stamps.max())
        clock = chosen[index]
        evidence = BootClockInput(clocks[index], clock, int(ends[0]), int(ends[1]))
        sources[index] = Source(evidence, part.probes.pairs.get(clock, ()))
    return sources
