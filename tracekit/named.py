"""Names of instants that ``--from`` and ``--to`` take: phases, the jump, marks and notes."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from difflib import get_close_matches
from typing import NamedTuple

import numpy as np

from tracekit.errors import UsageError
from tracekit.report.make import Report
from tracekit.session.notes import Notes
from tracekit.timeline.events import Events
from tracekit.timeline.markers import printed_texts
from tracekit.timeline.when.moments import relative

__all__ = ["Named", "instant", "names_of", "stretches"]

_OFFSET = re.compile(r"(.*\S)\s*([-+]\s*\d+(?:\.\d+)?\s*(?:ns|us|µs|ms|s))", re.S)


class Named(NamedTuple):
    """A name, and its begin and end in ns on the axis; they are None if it was not observed."""

    name: str
    boot: int
    begin: int | None
    end: int | None


def stretches(report: Report) -> list[Named]:
    """The phases, and the steps of KHO and LUO in them."""
    phases = [
        Named(p.name, p.boot, p.start_ns,
              None if p.start_ns is None else p.start_ns + (p.duration_ns or 0))
        for p in report.phases
    ]  # fmt: skip
    return [*phases, *(Named(s.name, s.boot, s.start_ns, s.end_ns) for s in report.kho_steps)]


def names_of(events: Events, report: Report) -> list[Named]:
    """What has a name: phases, jumps, steps of KHO and LUO, marks, bookmarks' notes."""
    jumps = [Named("jump", h.old, h.jump_ns, h.jump_ns) for h in report.handovers]
    return [*jumps, *stretches(report), *_marks(events), *_notes(events)]


def _marks(events: Events) -> Iterator[Named]:
    """What was written to ``trace_marker``."""
    for boot in events.boots:
        for row, text in printed_texts(boot, events.rows, events.kinds, events.buffers):
            ns = int(events.axis.ts_ns[row])
            yield Named(text, boot.index, ns, ns)


def _notes(events: Events) -> Iterator[Named]:
    rows = events.rows
    for mark in Notes.load(events.session).bookmarks:
        same = (rows.ts_raw == mark.ts_raw) & (rows.boot == mark.boot) & (rows.cpu == mark.cpu)
        for row in np.flatnonzero(same)[:1].tolist() if mark.ts_raw >= 0 else ():
            ns = int(events.axis.ts_ns[row])
            yield Named(mark.note, mark.boot, ns, ns)


def instant(text: str, names: Sequence[Named], boots: frozenset[int], *, late: bool) -> int:
    """The instant that a name means, ns: where the first so called begins, or the last ends.

    ``late`` asks for the end. ``NAME+5ms`` and ``NAME-5ms`` are before and after it. ``boots``: of
    these alone, of all if it is empty. Raises :class:`~tracekit.errors.UsageError`.
    """
    mine = [n for n in names if not boots or n.boot in boots]
    if (found := _so_called(text, mine, late)) is not None:
        return found
    if (m := _OFFSET.fullmatch(text)) is not None:
        ns, found = relative(re.sub(r"\s", "", m[2])), _so_called(m[1], mine, late)
        if ns is not None and found is not None:
            return found + ns
    unseen = [n.name for n in mine if n.name.casefold() == text.strip().casefold()]
    if unseen:
        raise UsageError(f"{text!r}: this phase was not observed, so nothing tells when it was")
    known = list(dict.fromkeys(n.name for n in mine if n.begin is not None))
    close = get_close_matches(text, known, 3, 0.5) or known[:4]
    raise UsageError(
        f"{text!r} is no time (-1.5s, 200ms, ns), no date (2026-11-28 20:38:25.5, with Z or +01:00 "
        "behind it where it is not local time) and no phase, mark or note of this session; there "
        f"are: {', '.join(close) or 'none'}"
    )


def _so_called(text: str, names: Sequence[Named], late: bool) -> int | None:
    sought = text.strip().casefold()
    mine = [n for n in names if n.name.casefold() == sought]
    edges = [n.end if late else n.begin for n in mine]
    known = [ns for ns in edges if ns is not None]
    return (max if late else min)(known, default=None)
