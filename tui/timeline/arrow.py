"""The arrow from a wakeup to the switch that it led to, across the lanes of the CPUs."""

from __future__ import annotations

from collections.abc import Iterator

from tracekit.analysis.scheduling.tables import CONTEXTS
from tracekit.text import duration
from tui.timeline.cell_row import one_line
from tui.timeline.state import LaneState, Scale

__all__ = ["arrow_cells", "wakeup_words"]


def arrow_cells(
    state: LaneState, scale: Scale, tops: dict[str, int], line: int
) -> Iterator[tuple[int, str]]:
    """(cell, sign) of the arrow in a line; ``tops``: the first line of each lane, by name."""
    wakeup = state.wakeup
    if wakeup is None or wakeup.end_row < 0:
        return
    rows, ts = state.model.recording.rows, state.model.ts_ns
    ends = wakeup.row, wakeup.end_row
    source, target = (tops.get(f"CPU {int(rows.cpu[row])}") for row in ends)
    woke, ran = (scale.cell(int(ts[row])) for row in ends)
    if source is None or target is None or ran < 0 or woke >= scale.cells:
        return
    if min(source, target) < line < max(source, target):
        yield woke, "│"
    elif line == target:
        bend = "●" if source == target else "╰" if source < target else "╭"
        yield from ((cell, "─") for cell in range(max(woke, 0), min(ran, scale.cells)))
        yield woke, bend if woke < ran else "▼" if source <= target else "▲"
        if woke < ran:
            yield ran, "▶"
    elif line == source:
        yield woke, "●"


def wakeup_words(state: LaneState) -> str:
    """What the event under the cursor has to do with a wakeup; '' if nothing."""
    wakeup, model = state.wakeup, state.model
    if wakeup is None:
        return ""
    recording = model.recording
    rows, ts = recording.rows, model.ts_ns
    boots = [boot.index for boot in recording.boots]
    comms = recording.comms[boots.index(int(rows.boot[wakeup.row]))]

    def named(pid: int) -> str:
        return f"{one_line(comms.get(pid, '<...>'))}-{pid}"

    if wakeup.end_row < 0:
        return f"wakes {named(wakeup.pid)}, which is not seen to run because of it"
    took = int(ts[wakeup.end_row] - ts[wakeup.row])
    if model.cursor == wakeup.end_row:
        inside = (word for bit, word in CONTEXTS if int(rows.flags[wakeup.row]) & bit)
        by = f"by {named(int(rows.pid[wakeup.row]))}"
        if recording.kinds[int(rows.kind[wakeup.row])].name == "sched:sched_wakeup":
            by = "its waker unknown"  # the event may be on another CPU than the waker
        by = next((f"in a {word}" for word in inside), by)
        return f"woken {duration(took)} before, on CPU {int(rows.cpu[wakeup.row])}, {by}"
    after, cpu = duration(took), int(rows.cpu[wakeup.end_row])
    return f"wakes {named(wakeup.pid)}, which runs {after} later on CPU {cpu}"
