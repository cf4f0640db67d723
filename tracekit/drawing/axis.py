"""A stretch of time across a picture: where an instant is, and the ticks below it."""

from __future__ import annotations

from tracekit.drawing.markup import Markup, joined, tag
from tracekit.frozen import dataclass
from tracekit.text import UNITS, duration

__all__ = ["Scale", "fits", "ruler"]

_GLYPH = 6.1  # width of a character at 11 px, about


@dataclass(frozen=True, slots=True)
class Scale:
    """``[start_ns, end_ns]`` from ``left`` on, ``width`` wide."""

    start_ns: int
    end_ns: int
    left: float
    width: float

    def x(self, ns: int) -> float:
        """Where an instant is, within the picture."""
        share = (ns - self.start_ns) / max(1, self.end_ns - self.start_ns)
        return self.left + self.width * min(1.0, max(0.0, share))

    def ticks(self, most: int) -> list[int]:
        """Round instants, at most so many, one of them 0 if it is inside."""
        span = max(1, self.end_ns - self.start_ns)
        steps = (m * 10**e for e in range(20) for m in (1, 2, 5))
        step = next((s for s in steps if span / s <= most), span)
        first = -(-self.start_ns // step) * step
        return list(range(first, self.end_ns + 1, step))


def fits(text: str, width: float, glyph: float = _GLYPH) -> bool:
    """Whether a text has room, by the usual width of its characters."""
    return len(text) * glyph + 8 <= width


def ruler(scale: Scale, y: float, bottom: float, zero_ns: int = 0) -> Markup:
    """Ticks with their times from ``zero_ns``, and faint lines from them down to ``bottom``."""
    shifted = Scale(scale.start_ns - zero_ns, scale.end_ns - zero_ns, scale.left, scale.width)
    parts = []
    for ns in shifted.ticks(max(2, int(scale.width / 90))):
        x = shifted.x(ns)
        parts.append(tag("line", x1=x, x2=x, y1=y, y2=bottom, class_="zero" if ns == 0 else "grid"))
        parts.append(tag("text", _short(ns), x=x + 3, y=y - 4, class_="tick"))
    return joined(parts)


def _short(ns: int) -> str:
    """A round time, as short as it can be: ``-5 ms``, ``1.5 s``."""
    if ns == 0:
        return "0"
    size, unit = next((s, u) for s, u in UNITS if abs(ns) >= s)
    value = ns / size
    return f"{value:g} {unit}" if len(f"{value:g}") < 6 else duration(ns)
