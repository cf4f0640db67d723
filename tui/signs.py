"""The signs for time of which no event tells, each unlike the others without colours too."""

from __future__ import annotations

from typing import NamedTuple

from tracekit.analysis.stretches import Kind

__all__ = ["GLYPHS", "MEANINGS", "MISSING", "Sign"]


class Sign(NamedTuple):
    """``glyph`` fills the cells; ``style``: of Look; ``word`` is written where there is room."""

    kind: Kind
    glyph: str
    style: str
    word: str


#: The worst first. There is none for ``stopping``: the CPU was recorded, and quiet.
MISSING = (
    Sign("unreadable", "╳", "damaged", "unreadable"),
    Sign("overwritten", "╱", "warn", "overwritten"),
    Sign("unknown", "░", "dark", "unknown"),
    Sign("stopped", "·", "dim", "stopped"),
    Sign("ended", "·", "dim", "record ends"),
)
GLYPHS = "".join({sign.glyph: None for sign in MISSING})
#: (what is drawn, what it means), for the help screen.
MEANINGS = (
    ("blank", "recorded, and quiet: nothing happened"),
    ("░", "unknown: before or after the record; the dark after the jump"),
    ("╱", "overwritten or dropped: events that were there are lost"),
    ("╳", "unreadable: the memory is damaged or missing there"),
    ("·", "the CPU was stopped or offline, or its record ends"),
    ("╌", "the CPU was idle (the line of running tasks)"),
    ("‼", "something of this CPU is missing"),
    ("│ ┃ █", "one event, a few, many; ▁ to █: how many, on a log scale"),
    ("┃ ▼ ╎", "the jump; the cursor, on the ruler and in the lanes"),
    ("A B ┆", "the marks; their lines in the lanes"),
    ("◆ ┊", "a bookmark; its line"),
    ("◂ ▸", "the cursor is left or right of the window; ▸ the chosen lane"),
    ("┗━┛", "the window, in the whole session"),
    ("■", "a system of events in its colour; with NO_COLOR each has a sign"),
)
#: As :data:`MEANINGS`, of the other views.
STORY_MEANINGS = (
    ("▶", "the slowest phase of the blackout"),
    ("█", "a phase or a call, to scale; ░ one in which nothing can record"),
    ("◂ ▸", "before, after what the bars show"),
    ("≈", "the scale of the bar is broken here, as printed under it"),
)
