"""Two bars back to back: A's grows to the left, B's to the right."""

from __future__ import annotations

__all__ = ["mirrored"]

_EIGHTHS = " ▏▎▍▌▋▊▉█"
_LEFT = " ▕▐█"  # Unicode has only these that fill a cell from the right


def mirrored(a: float | None, b: float | None, longest: float, cells: int) -> tuple[str, str]:
    """Both bars, ``cells`` wide, on one scale; '' where there is no value, else a sliver at least.

    The left one is padded, so that both meet.
    """
    return _left(a, longest, cells).rjust(cells), _right(b, longest, cells)


def _right(value: float | None, longest: float, cells: int) -> str:
    if value is None:
        return ""
    size = max(0.0, min(1.0, value / longest)) * cells
    whole, part = int(size), int((size % 1) * 8)
    return "█" * whole + (_EIGHTHS[part] if part else "") or "▏"


def _left(value: float | None, longest: float, cells: int) -> str:
    if value is None:
        return ""
    size = max(0.0, min(1.0, value / longest)) * cells
    whole, part = int(size), round((size % 1) * 3)
    return (_LEFT[part] if part else "") + "█" * whole or "▕"
