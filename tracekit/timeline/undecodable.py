"""Events that are in the record and cannot be decoded: no format, or fewer bytes than it needs."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence

import numpy as np
import numpy.typing as npt

from tracekit.errors import Diagnostic
from tracekit.ftrace.columns import Payloads, outside_record
from tracekit.ftrace.format import EventFormat
from tracekit.timeline.boot import Boot, Buffer
from tracekit.timeline.rows import EventKind, Rows, different, pieces
from tracekit.timeline.saved.bpf_format import is_probe

__all__ = ["needed_length", "undecodable"]

_NAMED = 12  # ids in a remark; of the rest only the sum is said


def needed_length(fmt: EventFormat) -> int:
    """Bytes of a payload that every event of this format has.

    The kernel's own events (``ftrace:kernel_stack``) declare arrays at their longest, and record
    what there was of them.
    """
    fixed = [f for f in (*fmt.common, *fmt.fields) if f.length is None or f.loc or f.size]
    if fmt.system == "ftrace":
        fixed = [f for f in fixed if f.length is None]
    return max((f.offset + f.size for f in fixed), default=0)


def _outside(
    fmt: EventFormat, mine: npt.NDArray[np.int64], rows: Rows, buffers: Sequence[Buffer]
) -> npt.NDArray[np.int64]:
    """Those of the rows ``mine`` that have a dynamic field which is not inside the record."""
    dynamic = [f for f in fmt.fields if f.loc]
    bad = []
    for number in different(rows.buffer[mine]) if dynamic else ():
        at = mine[rows.buffer[mine] == number]
        payloads = Payloads(buffers[number].data, rows.offset[at], rows.length[at])
        outside = np.zeros(len(at), bool)
        for field in dynamic:
            outside |= outside_record(payloads, field)
        bad.append(at[outside])
    return np.concatenate([np.empty(0, np.int64), *bad])


def _cut(
    boot: Boot, rows: Rows, kinds: Sequence[EventKind], buffers: Sequence[Buffer]
) -> Iterator[tuple[EventKind, int]]:
    """(event, how many of it are cut) of the boot's events that have a format."""
    formats = {code: boot.format(kind.id) for code, kind in _of_boot(boot, kinds)}
    needed = np.zeros(len(kinds) + 1, np.int64)
    for code, fmt in formats.items():
        needed[code] = needed_length(fmt) if fmt else 0
    dynamic = [c for c, fmt in formats.items() if fmt and any(f.loc for f in fmt.fields)]
    counts = np.zeros(len(kinds), np.int64)
    part = rows.within(boot.index)
    for piece in pieces(part.stop, part.start):
        kind = rows.kind[piece]
        short = rows.length[piece] < needed[kind]
        there = np.bincount(kind, minlength=len(kinds))
        for code in (code for code in dynamic if there[code]):
            mine = np.flatnonzero(kind == code) + piece.start
            fmt = formats[code]
            assert fmt is not None
            short[_outside(fmt, mine, rows, buffers) - piece.start] = True
        counts += np.bincount(kind[short], minlength=len(kinds))
    yield from ((kinds[code], int(counts[code])) for code in formats if counts[code])


def _of_boot(boot: Boot, kinds: Sequence[EventKind]) -> Iterator[tuple[int, EventKind]]:
    """(number, event) of a boot's events, without those of BPF probes: they have no format."""
    for code, kind in enumerate(kinds):
        if kind.boot == boot.index and not is_probe(kind.id):
            yield code, kind


def _listed(counts: Mapping[str, int]) -> str:
    """``name (count), ...``, the most frequent first."""
    most = sorted(counts.items(), key=lambda item: -item[1])
    text = ", ".join(f"{name} ({count:,})" for name, count in most[:_NAMED])
    if len(most) > _NAMED:
        rest = sum(count for _, count in most[_NAMED:])
        text += f", and {len(most) - _NAMED} more ({rest:,})"
    return text


def undecodable(
    boot: Boot, rows: Rows, kinds: Sequence[EventKind], buffers: Sequence[Buffer]
) -> tuple[int, list[Diagnostic]]:
    """(how many of the boot's events cannot be decoded, remarks that name them).

    ``event-unknown``: their id has no format that can be used. ``event-cut``: their payload is
    shorter than the format says, or a dynamic field of it lies outside.
    """
    counts, part = np.zeros(len(kinds), np.int64), rows.within(boot.index)
    for piece in pieces(part.stop, part.start):
        counts += np.bincount(rows.kind[piece], minlength=len(kinds))
    unknown = {}
    for code, kind in _of_boot(boot, kinds):
        if boot.format(kind.id) is None and counts[code]:
            known_as = "" if kind.name.startswith("unknown:") else f" {kind.name}"
            unknown[f"{kind.id}{known_as}"] = int(counts[code])
    cut = Counter[str]()  # an event that was defined anew has two ids
    for kind, count in _cut(boot, rows, kinds, buffers):
        cut[kind.name] += count
    remarks = []
    total = rows.count(boot.index)
    for name, which, why in (
        ("event-unknown", unknown, "no format was saved for their id"),
        ("event-cut", cut, "they are shorter than their format says"),
    ):
        if which:
            message = f"{sum(which.values()):,} of {total:,} events cannot be decoded: {why}: "
            remarks.append(Diagnostic(name, "warning", boot.where, message + _listed(which)))
    return sum(unknown.values()) + sum(cut.values()), remarks
