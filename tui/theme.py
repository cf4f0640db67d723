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
from tui.hues import SYSTEMS, hue_of

__all__ = ["EIGHTHS", "RAMP", "Look", "bar", "fitted"]

EIGHTHS = " ▏▎▍▌▋▊▉█"
RAMP = " ▁▂▃▄▅▆▇█"
_SHADE = 0.25
_FEW = 12  # colours of tasks
_KERNELS_DARK = ("#5fafff", "#87d787", "#ffb454", "#d787d7")  # of the boots, one after the other
_KERNELS_LIGHT = ("#004f94", "#1b6630", "#854700", "#7a3d99")


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
    """Rich styles, one per meaning. The others are put on ``base``, which has the background.

    ``is_dark``: of the theme; ``plain``: no colour reaches the terminal (``NO_COLOR``).
    """

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
    hues: tuple[Style, ...]  # of the kernels
    is_dark: bool
    plain: bool

    @classmethod
    def of(cls, app: App[Any]) -> Look:
        """The styles of the app's theme."""
        theme = app.current_theme
        colors = app.get_css_variables()

        dark = theme.dark
        hues = _KERNELS_DARK if dark else _KERNELS_LIGHT
        base = Style(color=_plain(colors["foreground"]), bgcolor=_plain(colors["surface"]))
        jump = Style(color="#ff6680" if dark else "#5a000f", bold=True)
        return cls(
            base=base,
            dim=Style(color="#9c9c9c" if dark else "#4f4f4f"),
            strong=Style(bold=True),
            cursor=Style(bgcolor="#0c304c" if dark else "#bcd4ec", bold=True),
            heading=Style(color="#539eff" if dark else "#00508f", bold=True),
            old=Style(color=hues[0]),
            new=Style(color=hues[1]),
            dark=Style(color="#eb5eeb" if dark else "#7a3d99"),
            jump=jump,
            good=Style(color="#4ebf71" if dark else "#1b6630", bold=True),
            warn=Style(color="#ffcc33" if dark else "#854700"),
            bad=jump,
            damaged=Style(color="#ff8787" if dark else "#a8001f", bold=True),
            mark=Style(color="#ffd75f" if dark else "#6a5000", bold=True),
            match=Style(color="#000000", bgcolor="#ffd75f"),
            hues=tuple(Style(color=hue) for hue in hues),
            is_dark=dark,
            plain=app.no_color,
        )

    @property
    def reversed(self) -> Style:
        """For bars with a text in them."""
        return Style(reverse=True)

    def hue(self, name: str) -> Style:
        """The colour of an event's name, by its ``system:``."""
        hue = hue_of(name)
        return Style(color=hue.dark if self.is_dark else hue.light)

    def of_task(self, name: str) -> Style:
        """A stable colour for a task's name, or a kind of span: one of a few."""
        few = list(SYSTEMS.values())[:_FEW]
        hue = few[crc32(name.encode(errors="replace")) % len(few)]
        return Style(color=hue.dark if self.is_dark else hue.light)

    def sign(self, name: str, coloured: str) -> str:
        """``coloured``; where there are no colours, the sign of an event's system."""
        return hue_of(name).sign if self.plain else coloured

    def shade(self, style: Style) -> Style:
        """The colour, nearer to the text's: to set apart neighbouring bars."""
        if style.color is None or self.base.color is None:
            return style
        front, text = (Color.from_rich_color(c) for c in (style.color, self.base.color))
        return style + Style(color=front.blend(text, _SHADE).hex6)


def _plain(value: str) -> str:
    """A CSS colour as rich knows it."""
    return Color.parse(value).hex6
