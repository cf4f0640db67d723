"""Instants as ``--from`` and ``--to`` take them: relative times and dates on the axis."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from tracekit.errors import UsageError
from tracekit.timeline.axis import Axis
from tracekit.timeline.boot import Boot
from tracekit.timeline.filter import parse_time
from tracekit.timeline.when.dates import parse_date
from tracekit.timeline.when.wall_clock import Wall, why_unknown

__all__ = ["on_axis", "relative"]

_BOOTS = 256  # a row's boot is a byte
_AXIS = np.iinfo(np.int64)


def relative(text: str) -> int | None:
    """A time relative to 0 of the axis, ns; None if the text is none."""
    try:
        return parse_time(text)
    except UsageError:
        return None


def on_axis(
    text: str, axis: Axis, boots: Sequence[Boot], walls: Mapping[int, Wall]
) -> int | npt.NDArray[Any]:
    """A relative time as ns; a date as ns by boot (int64), as each boot has its own wall clock.

    Raises :class:`~tracekit.errors.UsageError` for what is neither, and for a date where a boot's
    wall clock is not known.
    """
    ns, date = relative(text), parse_date(text)
    if ns is not None:
        return min(max(ns, _AXIS.min), _AXIS.max)
    if date is None:
        raise UsageError(
            f"not a time: {text!r}; write -1.5s, 200ms or ns from the jump, or a date: 2026-11-28 "
            "20:38:25.5, with Z or +01:00 behind it where it is not local time"
        )
    limits = np.zeros(_BOOTS, np.int64)
    for boot in boots:
        if boot.index in walls:
            limits[boot.index] = date - walls[boot.index].offset_ns
        elif boot.index in axis.clocks:
            raise UsageError(
                f"{text}: what time of day it was in boot {boot.index} is unknown: "
                f"{why_unknown(axis, boot)}; write a time from the jump: -1.5s, 200ms"
            )
    return limits
