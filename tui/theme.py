"""Colours of the drawn widgets, from the theme; shapes convey the same without colour."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any
from zlib import crc32

from rich.cells import cell_len, set_cell_size
from rich.style import Style
from textual.app import App
from textual.color import Color

from tracekit.text import printable

__all__ = ["EIGHTHS", "RAMP", "Look", "bar", "fitted"]

EIGHTHS = " ▏▎▍▌▋▊▉█"
RAMP = " ▁▂▃▄▅▆▇█"
_SEED = 384  # gives the most common event systems different colours
_SHADE = 0.3
_HUES_DARK = (
    "#5fafff",
    "#87d787",
    "#ffaf5f",
    "#d787d7",
    "#5fd7d7",
    "#d7d75f",
    "#ff8787",
    "#afafff",
)
_HUES_LIGHT = (
    "#005faf",
    "#2e7d32",
    "#af5f00",
    "#8e24aa",
    "#00797f",
    "#7a6a00",
    "#c62828",
    "#4a4ad0",
)


def bar(cells: float) -> str:
    """A bar ``cells`` long, at least a sliver."""
    whole, part = int(cells), int((cells % 1) * 8)
    return "█" * whole + (EIGHTHS[part] if part else "") or "▏"


def fitted(text: str, width: int, right: bool = False) -> str:
    """``text`` in exactly ``width`` cells, on one line, with an ellipsis if it is cut."""
    plain = printable(text).replace("\n", " ").replace("\t", " ")
    size = cell_len(plain)
    if size > width:
        return set_cell_size(plain, max(0, width - 1)) + "…" * (width > 0)
    return " " * (width - size) + plain if right else plain + " " * (width - size)


@dataclass(frozen=True)
class Look:
    """Rich styles, one per meaning. The others are put on ``base``, which has the background."""

    base: Style
    dim: Style
    strong: Style
    cursor: Style  # the row or cell under the cursor
    heading: Style
    old: Style  # the kernel that is left
    new: Style  # the kernel that is entered
    dark: Style  # where nothing is recorded
    jump: Style
    good: Style
    warn: Style
    bad: Style
    damaged: Style  # what cannot be read; bright, to be seen in grey too
    mark: Style  # measuring marks and bookmarks
    match: Style  # what a search found
    hues: tuple[Style, ...]

    @classmethod
    def of(cls, app: App[Any]) -> Look:
        """The styles of the app's theme."""
        theme = app.current_theme
        colors = app.get_css_variables()

        def color(name: str) -> Style:
            return Style(color=_plain(colors[name]))

        hues = _HUES_DARK if theme.dark else _HUES_LIGHT
        background = _plain(colors["surface"])
        return cls(
            base=Style(color=_plain(colors["foreground"]), bgcolor=background),
            dim=Style(color="#8a8a8a" if theme.dark else "#6a6a6a"),
            strong=Style(bold=True),
            cursor=Style(bgcolor=_plain(colors["primary-muted"]), bold=True),
            heading=color("secondary" if not theme.dark else "primary-lighten-2")
            + Style(bold=True),
            old=Style(color=hues[0]),
            new=Style(color=hues[1]),
            dark=Style(color="#d75faf" if theme.dark else "#a0206f"),
            jump=color("error") + Style(bold=True),
            good=Style(color="#4ebf71" if theme.dark else "#1b7a37", bold=True),
            warn=Style(color="#ffa62b" if theme.dark else "#9a5b00"),
            bad=color("error") + Style(bold=True),
            damaged=Style(color="#ff8787" if theme.dark else "#b00020", bold=True),
            mark=Style(color="#ffd75f" if theme.dark else "#806000", bold=True),
            match=Style(color="#000000", bgcolor="#ffd75f"),
            hues=tuple(Style(color=hue) for hue in hues),
        )

    def hue(self, name: str) -> Style:
        """A stable colour for an event's name, by its ``system:``."""
        system = name.partition(":")[0]
        return self.hues[crc32(system.encode(), _SEED) % len(self.hues)]

    def shade(self, style: Style) -> Style:
        """The colour, nearer to the background: to set apart neighbouring bars."""
        if style.color is None or self.base.bgcolor is None:
            return style
        front, back = (Color.from_rich_color(c) for c in (style.color, self.base.bgcolor))
        return style + Style(color=front.blend(back, _SHADE).hex6)


def _plain(value: str) -> str:
    """A CSS colour as rich knows it."""
    return Color.parse(value).hex6
