"""Tables of the page: columns of numbers, texts and bars."""

from __future__ import annotations

from collections.abc import Sequence

from tracekit.drawing.markup import EMPTY, Markup, joined, tag

__all__ = ["bar", "folded", "section", "table"]

_BAR, _HIGH = 140, 10


def bar(share: float | None, face: str) -> Markup:
    """A bar as long as its share of the longest; '' where there is no length."""
    if share is None:
        return EMPTY
    wide = max(1.0, _BAR * min(1.0, max(0.0, share)))
    box = tag("rect", x=0, y=0, width=wide, height=_HIGH, rx=2, class_=f"box {face}")
    return tag("svg", box, class_="picture bar", viewBox=f"0 0 {_BAR} {_HIGH}", aria_hidden="true")


def table(heads: Sequence[str], rows: Sequence[Sequence[str]], kinds: str) -> Markup:
    """Rows of cells; ``kinds`` has a letter a column: ``n`` number, ``t`` text, ``m`` monospaced.

    A row whose first cell is ``!`` is set apart, one with ``~`` is faint, without that cell.
    """
    faces = {"n": "n", "t": "t", "m": "m"}
    head = tag("tr", *(tag("th", h, class_=faces[k]) for h, k in zip(heads, kinds, strict=True)))
    body = []
    for row in rows:
        face = {"!": "marked", "~": "faint"}.get(row[0]) if len(row) > len(kinds) else None
        cells = row[len(row) - len(kinds) :]
        body.append(tag("tr", *(tag("td", c, class_=faces[k])
                                for c, k in zip(cells, kinds, strict=True)),
                        class_=face))  # fmt: skip
    inside = tag("table", tag("thead", head), tag("tbody", *body))
    return tag("div", inside, class_="scroll")


def folded(summary: str, inside: str) -> Markup:
    """Something that is shown when asked for."""
    return tag("details", tag("summary", summary), inside)


def section(name: str, title: str, *parts: str) -> Markup:
    """A part of the page with its heading; '' where it has no content."""
    inside = joined(parts)
    if not inside:
        return EMPTY
    return tag("section", tag("h2", title), inside, id=name)
