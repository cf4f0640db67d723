"""The dialog that says which lanes there are, and in which order."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import ClassVar

from rich.text import Text
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical
from textual.screen import ModalScreen
from textual.widgets import Label, OptionList
from textual.widgets.option_list import Option

from tracekit.browse.derived_lanes import derived_names
from tracekit.text import printable
from tui.host import Host
from tui.jobs import start
from tui.lines import LineList
from tui.timeline.state import LaneState

__all__ = ["ChooseLanes", "ask_lanes"]


class ChooseLanes(ModalScreen[list[str] | None]):
    """Dismissed with the lanes' names in their order (empty: as at first), or None."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape,v,q", "dismiss", "Cancel"),
        Binding("enter", "keep", "Keep", priority=True),
        Binding("space", "turn", "On or off"),
        Binding("J", "shift(1)", "Down"),
        Binding("K", "shift(-1)", "Up"),
        Binding("P", "pin", "To the top"),
        Binding("a", "reset", "As at first"),
    ]

    def __init__(self, lanes: Sequence[tuple[str, str]], shown: Sequence[str]) -> None:
        """``lanes``: (name, what it is), those of ``shown`` first, in their order."""
        super().__init__()
        self._lanes = list(lanes)
        self._on = set(shown)

    def compose(self) -> ComposeResult:
        with Vertical(classes="dialog"):
            yield Label(Text("Lanes: space on or off, J K move, P to the top, a as at first"))
            yield LineList(*self._options(), classes="bare")

    def _options(self) -> list[Option]:
        lines = []
        for name, about in self._lanes:
            line = Text(f"[{'x' if name in self._on else ' '}] {printable(name):<16} ")
            line.append(printable(about), "dim")
            line.no_wrap = True
            lines.append(Option(line))
        return lines

    def _redraw(self, at: int) -> None:
        listed = self.query_one(OptionList)
        listed.clear_options()
        listed.add_options(self._options())
        listed.highlighted = at

    @property
    def _at(self) -> int:
        return self.query_one(OptionList).highlighted or 0

    def action_turn(self) -> None:
        """Turn the highlighted one on or off."""
        self._on ^= {self._lanes[self._at][0]}
        self._redraw(self._at)

    def on_option_list_option_selected(self, event: OptionList.OptionSelected) -> None:
        """A click turns one on or off."""
        self._on ^= {self._lanes[event.option_index][0]}
        self._redraw(event.option_index)

    def action_shift(self, by: int) -> None:
        """Move the highlighted one up or down."""
        self._move(self._at, min(max(self._at + by, 0), len(self._lanes) - 1))

    def action_pin(self) -> None:
        """Move the highlighted one to the top."""
        self._move(self._at, 0)

    def _move(self, at: int, to: int) -> None:
        self._lanes.insert(to, self._lanes.pop(at))
        self._redraw(to)

    def action_keep(self) -> None:
        """Show these."""
        self.dismiss([name for name, _ in self._lanes if name in self._on])

    def action_reset(self) -> None:
        """As at first."""
        self.dismiss([])


def ask_lanes(host: Host, state: LaneState, then: Callable[[], None]) -> None:
    """Ask for the lanes, and keep them in the notes; ``then`` has them made."""
    model = state.model

    def ask(derived: list[tuple[str, str]]) -> None:
        on = [lane.name for lane in state.lanes]
        about = {**dict.fromkeys(state.first, ""), **dict(derived)}
        lanes = [(name, about.get(name, "")) for name in on]
        lanes += [(name, what) for name, what in about.items() if name not in on]

        def chosen(names: list[str] | None) -> None:
            if names is None or names == on:
                return
            model.notes.lanes = [] if names == list(state.first) else names
            host.keep_notes()
            state.selection = None  # the lanes are to be made
            then()

        host.push_screen(ChooseLanes(lanes, on), chosen)

    start(host, "lanes there are", lambda _: derived_names(model.recording), ask)
