"""Every jump of a session as it was observed from both sides, gathered once for who asks."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import pairwise

from tracekit.frozen import dataclass
from tracekit.report.observations import Entering, Leaving, observe_entering, observe_leaving
from tracekit.report.phases import Handover, handover_between
from tracekit.report.systemd import Systemd
from tracekit.timeline.events import Events
from tracekit.timeline.started_by import StartedBy

__all__ = ["Jump", "observed_jumps"]


@dataclass(frozen=True, slots=True)
class Jump:
    """One jump: the old kernel's side, the new one's, and the phases between them."""

    leaving: Leaving
    entering: Entering
    handover: Handover


def observed_jumps(
    events: Events, systemd: Mapping[int, Systemd], starters: Mapping[int, StartedBy]
) -> list[Jump]:
    """In order. ``systemd`` and ``starters`` are by boot: what it reported, how it came up."""
    jumps = []
    for old, new in pairwise(events.boots):
        leaving = observe_leaving(events, old, systemd[old.index], starters[new.index])
        entering = observe_entering(events, new, systemd[new.index])
        jumps.append(Jump(leaving, entering, handover_between(leaving, entering)))
    return jumps
