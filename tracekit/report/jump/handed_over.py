"""What was handed over at every jump of a session, what arrived, and what was left running."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise

from tracekit.capture.kho.arrival import Arrival, compare
from tracekit.capture.kho.saved import from_session
from tracekit.report.devices import CallEnd
from tracekit.report.jump.left_running import LeftDevice, left_running
from tracekit.timeline.events import Events
from tracekit.timeline.started_by import started_by

__all__ = ["handed_over"]


def handed_over(
    events: Events, ends: Mapping[int, Sequence[CallEnd]]
) -> tuple[tuple[Arrival, ...], tuple[LeftDevice, ...]]:
    """Of every jump; ``ends``: the calls of shutdown callbacks by boot.

    Jumps of which nothing is known are left out, and what was no jump: firmware resets devices, and
    hands nothing on.
    """
    arrivals: list[Arrival] = []
    left: list[LeftDevice] = []
    boots = [from_session(events.session, b.index, b.kernel) for b in events.boots]
    for number, (old, new) in enumerate(pairwise(boots)):
        if started_by(events.boots[number + 1]).kind not in ("kexec", "unknown"):
            continue
        index = events.boots[number].index
        arrival = compare(old, new)
        arrivals += [arrival] if arrival.things else []
        left += left_running(index, ends.get(index, ()), old, new)
    return tuple(arrivals), tuple(left)
