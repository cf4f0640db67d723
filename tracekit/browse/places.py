"""Places that a user names: a time with its unit, seconds as the table shows them, a date, a name.

The interface asks; nothing here is guessed: a number without a unit is asked for it.
"""

from __future__ import annotations

import re

from tracekit.errors import UsageError
from tracekit.named import instant, names_of
from tracekit.query.expr import parse_number
from tracekit.recording import Recording
from tracekit.report.make import Report
from tracekit.timeline.when.dates import parse_date
from tracekit.timeline.when.moments import on_axis

__all__ = ["check_place", "length_of", "place_of"]

_BARE = re.compile(r"[-+]?\d+")
_SECONDS = re.compile(r"[-+]?\d{1,10}\.\d{1,9}")
_TIME = re.compile(r"([-+]?\d+(?:\.\d+)?)\s*(ns|us|µs|ms|s)")
_LONGEST = 1 << 62  # ns


def _time(text: str) -> int | None:
    """A time with its unit, or seconds with a fraction; None if it is neither."""
    if _SECONDS.fullmatch(text):
        text += "s"
    m = _TIME.fullmatch(text)
    ns = (
        parse_number(f"{m[1]}{m[2]}")
        if m
        else 0
        if _BARE.fullmatch(text) and not int(text)
        else None
    )
    if ns is not None and abs(ns) > _LONGEST:
        raise UsageError(f"{text}: no clock counts that far")
    return ns


def _ask_unit(text: str) -> None:
    if _BARE.fullmatch(text):
        raise UsageError(f"{text} of which unit? {text}s, {text}ms, {text}us or {text}ns")


def length_of(text: str) -> int:
    """A length of time in ns, more than 0; raises :class:`~tracekit.errors.UsageError`."""
    text = text.strip()
    ns = _time(text)
    if ns is None or ns <= 0:
        _ask_unit(text)
        raise UsageError(f"{text!r} is no length of time: 2.5s, 200ms, 3us, 40ns")
    return ns


def check_place(text: str) -> None:
    """Refuse what no session can tell the meaning of; raises as :func:`place_of`."""
    if _time(text.strip()) is None:
        _ask_unit(text.strip())


def place_of(recording: Recording, report: Report, text: str) -> tuple[int, int]:
    """(begin, end), ns on the axis, of what a text means; an instant ends where it begins.

    ``-1.5ms``, ``-0.0015`` (seconds), a date, or a name: a phase, the jump, a mark, a note, each
    with ``+5ms`` behind it. Raises :class:`~tracekit.errors.UsageError`.
    """
    text = text.strip()
    if (ns := _time(text)) is not None:
        return ns, ns
    _ask_unit(text)
    if parse_date(text) is not None:
        ns = _at_date(recording, text)
        return ns, ns
    names = names_of(recording, report)
    begin, end = (instant(text, names, frozenset(), late=late) for late in (False, True))
    return begin, max(begin, end)


def _at_date(recording: Recording, text: str) -> int:
    """A date on the axis: by the wall clock of the boot that it lies in, else of the nearest."""
    by_boot = on_axis(text, recording.axis, recording.boots, recording.walls)
    if isinstance(by_boot, int):
        return by_boot
    best: tuple[int, int] | None = None
    for boot in recording.boots:
        rows = recording.axis.ts_ns[recording.rows.of_boot(boot.index)]
        if boot.index not in recording.walls or not len(rows):
            continue
        ns = int(by_boot[boot.index])
        away = max(int(rows[0]) - ns, ns - int(rows[-1]), 0)
        best = min(filter(None, (best, (away, ns))))
    if best is None:
        raise UsageError(f"{text}: no event of this session has a date")
    return best[1]
