"""``?``: the help screen, with every key."""

from __future__ import annotations

from typing import ClassVar

from rich.text import Text
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import VerticalScroll
from textual.screen import ModalScreen
from textual.widgets import Static

from tui.hues import SYSTEMS
from tui.signs import MEANINGS, STORY_MEANINGS

__all__ = ["KEYS", "HelpScreen", "Keys"]

Keys = tuple[tuple[str, tuple[tuple[str, str], ...]], ...]
"""(heading, ((keys, what they do), ...))."""

#: Of a session's views; the README's table is this one too.
KEYS: Keys = (
    (
        "Everywhere",
        (
            ("1 2 3 4 5", "Story, Timeline, Events, Tables, KHO"),
            ("/  n N", "search as you type; next, previous match"),
            ("f", "filter: event ~ sched_* and prev_comm = kexec and cpu = 0"),
            ("", "there: tab completes, ↑ ↓ earlier, ctrl+s saved ones"),
            ("F", "turn CPUs, events and tasks on and off"),
            ("0", "to the jump"),
            ("g", "go to a time, a date, a phase, a note; nothing typed: the start"),
            ("<  >", "back to where you were, and forward again"),
            ("b  B", "bookmark the event with a note; list of bookmarks"),
            ("x", "export what is shown: CSV, Parquet, or a picture (SVG)"),
            ("T", "dark, light or other colours"),
            ("ctrl+p", "all commands, by name"),
            ("escape", "close, clear the search, then the filter, then the marks"),
            ("q  ctrl+z", "quit; suspend"),
        ),
    ),
    (
        "Story",
        (
            ("↑ ↓  j k  G", "choose a bar; page up, page down, home, end"),
            ("← →  h l", "the other list, where there are two"),
            ("space", "only this: tables, counts and the panel are of it"),
            ("enter", "show it in the timeline"),
        ),
    ),
    (
        "Timeline",
        (
            ("w s  + -", "zoom in and out (mouse wheel)"),
            ("a d", "pan left and right (drag; shift+← →)"),
            ("← →  h l", "previous, next event of the lane"),
            ("↑ ↓  j k", "choose a lane (a click puts the cursor on an event)"),
            ("e E", "next, previous event of the same kind"),
            ("] [", "next, previous gap in the lane"),
            ("m", "mark A, then B: the time between; tables are of it"),
            ("z", "zoom to A-B, the bar, what the filter left; again: all"),
            ("space", "only this: the lane's events; marks the bar"),
            ("v", "lanes: spans by kind, states of tasks; on, off, order"),
            ("p", "panel of what is in the window, or between the marks"),
            ("t", "running tasks: where there is room, always, never"),
            ("home  G", "first, last event; end"),
            ("W  L", "set how wide the window is; how long a gap is at least"),
            ("enter", "show the event in Events; zoom to a bar (double click)"),
        ),
    ),
    (
        "Events",
        (
            ("↑ ↓  j k  G", "move; page up, page down, home, end"),
            ("← →  h l", "scroll the columns"),
            ("e E", "next, previous event of the same kind"),
            ("t", "time from the jump, absolute, raw"),
            ("c  o", "choose columns; sort"),
            ("i  tab", "details: fields, raw bytes, where in memory; into them"),
            ("y", "copy the row"),
            ("enter", "show the event in the timeline"),
        ),
    ),
    (
        "Tables",
        (
            ("↑ ↓  j k  G", "move; page up, page down, home, end"),
            ("← →  h l  tab", "other table"),
            ("o  O", "sort by the next column; turn round"),
            ("space", "only this: filter by it"),
            ("enter", "show it, or its worst, in the timeline; open a call"),
        ),
    ),
    (
        "KHO",
        (
            ("↑ ↓  j k  G", "move; home, end, page up, page down"),
            ("← →  h l", "close, open; to the parent, to the first child"),
            ("enter  space", "open or close"),
        ),
    ),
)  # fmt: skip


_SYSTEMS = [f"{hue.sign} {name}" for name, hue in SYSTEMS.items()]
_SIGNS = (
    ("Story", STORY_MEANINGS),
    (
        "Timeline",
        (*MEANINGS, *(("", "  ".join(_SYSTEMS[n : n + 5])) for n in range(0, len(_SYSTEMS), 5))),
    ),
)


class HelpScreen(ModalScreen[None]):
    """The keys, in a box."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape,question_mark,q,enter", "dismiss", "Close"),
        Binding("down,j", "scroll(2)", show=False),
        Binding("up,k", "scroll(-2)", show=False),
    ]

    def __init__(self, keys: Keys = KEYS) -> None:
        super().__init__()
        self._keys = keys

    def compose(self) -> ComposeResult:
        yield VerticalScroll(Static(_text(self._keys)), id="help")

    def action_scroll(self, by: int) -> None:
        """Scroll the box."""
        self.query_one("#help").scroll_relative(y=by, animate=False)


def _text(groups: Keys) -> Text:
    """One line per key; a rich table would take ten times as long to draw."""
    width = max(len(key) for _, keys in groups for key, _ in keys)
    text = Text()
    for heading, keys in groups:
        signs = tuple(
            (f"Signs in the {heading.lower()}", of) for name, of in _SIGNS if name == heading
        )
        for title, lines in ((heading, keys), *signs):
            text.append(f"{title}\n", "underline")
            for key, what in lines:
                text.append(f"  {key:<{width}}  ", "bold").append(f"{what}\n")
    return text
