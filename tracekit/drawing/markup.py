"""Markup that no text of a session can leave: whatever is not markup already is escaped.

Names come out of preserved memory and may hold anything. :func:`tag` escapes every child and every
attribute that is not a :class:`Markup`, which only this module and the package's own files make.
"""

from __future__ import annotations

import html
import re
from collections.abc import Iterable

from tracekit.text import printable

__all__ = ["EMPTY", "Markup", "escaped", "joined", "tag"]

#: What printable() leaves and XML does not allow: the last two code points of each plane.
_NO_XML = re.compile("[" + "".join(f"{chr(p << 16 | 0xFFFE)}{chr(p << 16 | 0xFFFF)}"
                                   for p in range(17)) + "]")  # fmt: skip
_NAME = re.compile(r"[a-zA-Z][\w:.-]*")


class Markup(str):
    """Text that is markup: it is not escaped again."""

    __slots__ = ()


EMPTY = Markup("")


def escaped(text: str) -> Markup:
    """A text as markup: no tag, no entity, no control character, nothing that XML refuses."""
    clean = _NO_XML.sub(lambda m: f"\\u{ord(m[0]):04x}", printable(text))
    return Markup(html.escape(clean, quote=True))


def joined(parts: Iterable[str], between: str = "") -> Markup:
    """Markup and texts, one after the other."""
    safe = (part if isinstance(part, Markup) else escaped(part) for part in parts)
    return Markup(escaped(between).join(safe))


def tag(name: str, /, *children: str, **attributes: str | int | float | None) -> Markup:
    """An element. ``class_`` is class, other ``_`` are ``-``; an attribute of None is left out.

    Floats are written with at most two decimals.
    """
    assert _NAME.fullmatch(name)
    words = [name]
    for key, value in attributes.items():
        if value is None:
            continue
        text = f"{value:.2f}".rstrip("0").rstrip(".") if isinstance(value, float) else str(value)
        words.append(f'{key.rstrip("_").replace("_", "-")}="{escaped(text)}"')
    inside = joined(children)
    if not inside and name in ("rect", "line", "path", "polygon", "meta", "br", "circle"):
        return Markup(f"<{' '.join(words)}/>")
    return Markup(f"<{' '.join(words)}>{inside}</{name}>")
