"""The filter that stands for a lane."""

from __future__ import annotations

from tracekit.browse.lanes import MARKERS, Lane
from tracekit.recording import Recording

__all__ = ["lane_filter"]


def lane_filter(lane: Lane, recording: Recording) -> str:
    """The expression that only the events of a lane meet; '' of spans."""
    if lane.kind == "cpu":
        return f"cpu = {lane.name.rpartition(' ')[2]}"
    by_name = {"kernel log": "system = printk", "BPF probes": "source = bpf"}
    if lane.name == "markers":
        names = [name for name in MARKERS if name in recording.event_names]
        return f"event in ({', '.join(names)})"
    return by_name.get(lane.name, "")
