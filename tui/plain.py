"""``NO_COLOR``: no colour is sent to the terminal, and what colours set apart is set apart without.

What lies on another background than the screen's is shown reversed; faint text stays faint.
"""

from __future__ import annotations

from functools import lru_cache

from rich.segment import Segment
from rich.style import Style
from textual.color import Color
from textual.filter import LineFilter

__all__ = ["Plain"]

_FAR = 0.05  # distance of two backgrounds that mean different things, of 1 in each of r, g, b
_FAINT = 0.45  # brightness of text relative to its background below which it is faint


class Plain(LineFilter):
    """Takes the colours out of everything that is drawn."""

    def __init__(self, backgrounds: tuple[str, ...]) -> None:
        """``backgrounds``: those that the screen's parts have, which mean nothing."""
        super().__init__()
        self.backgrounds = backgrounds

    def apply(self, segments: list[Segment], background: Color) -> list[Segment]:
        return [
            Segment(text, None if style is None else _plain(style, self.backgrounds), control)
            for text, style, control in segments
        ]


@lru_cache(4096)
def _plain(style: Style, backgrounds: tuple[str, ...]) -> Style:
    reverse = bool(style.reverse)
    if style.bgcolor is not None and not style.bgcolor.is_default:
        mine = Color.from_rich_color(style.bgcolor)
        if all(_apart(mine, Color.parse(usual)) > _FAR for usual in backgrounds):
            reverse = not reverse
    return Style(
        bold=style.bold, dim=style.dim or _is_faint(style), italic=style.italic,
        underline=style.underline, strike=style.strike, reverse=reverse or None, meta=style.meta,
    )  # fmt: skip


def _apart(one: Color, other: Color) -> float:
    pairs = zip(one.normalized, other.normalized, strict=True)
    return max(abs(a - b) for a, b in pairs)


def _is_faint(style: Style) -> bool:
    if style.color is None or style.bgcolor is None or style.reverse:
        return False
    front, back = (Color.from_rich_color(c) for c in (style.color, style.bgcolor))
    colourless = max(front.normalized) - min(front.normalized) < 0.05
    return colourless and abs(front.brightness - back.brightness) < _FAINT
