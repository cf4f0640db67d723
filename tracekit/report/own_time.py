"""What of the way out is tracekit's own: the last snapshot, by the marks around it."""

from __future__ import annotations

from typing import NamedTuple

from tracekit.probes.marks import MARK, SNAPSHOT, SNAPSHOT_TAKEN
from tracekit.timeline.boot import Boot
from tracekit.timeline.events import Events
from tracekit.timeline.markers import printed_texts

__all__ = ["OwnTime", "last_snapshot"]

_LOOKED_AT = 1 << 12  # the newest texts: hardly anything is written after these


class OwnTime(NamedTuple):
    """When the last snapshot began and when it was done, ns on the axis."""

    begin: int
    end: int


def last_snapshot(events: Events, boot: Boot) -> OwnTime | None:
    """When the last snapshot of a boot was taken; None where the record does not tell."""
    texts = printed_texts(boot, events.rows, events.kinds, events.buffers, newest=_LOOKED_AT)
    begin = end = None
    for row, text in texts:
        if text == MARK + SNAPSHOT:
            begin, end = int(events.axis.ts_ns[row]), None
        elif text == MARK + SNAPSHOT_TAKEN and begin is not None:
            end = int(events.axis.ts_ns[row])
    return OwnTime(begin, end) if begin is not None and end is not None else None
