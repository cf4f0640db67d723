"""The critical chain as a list that unfolds, each link with a bar and its evidence."""

from __future__ import annotations

from collections.abc import Sequence

from tracekit.drawing.markup import EMPTY, Markup, joined, tag
from tracekit.drawing.tables import bar
from tracekit.report.critical.links import Chain, Link
from tracekit.text import duration, on_one_line

__all__ = ["chain_list"]

_MOST = 400  # links of a chain; the command has all of them
_FACES = {
    "phase": "new", "call": "device", "runs": "step", "waits for a CPU": "unit",
    "blocked": "open", "unknown": "dark",
}  # fmt: skip


class _Room:
    """How many links may still be written."""

    def __init__(self, left: int) -> None:
        self.left = left


def _least(links: Sequence[Link]) -> int:
    """Shorter links than this are summed up."""
    return sum(link.duration_ns or 0 for link in links) // 50


def _line(chain: Chain, link: Link, longest: int) -> Markup:
    zero = chain.zero_ns or 0
    face = "old" if link.kind == "phase" and link.boot == chain.old else _FACES[link.kind]
    begins = "" if link.start_ns is None else f"@{duration(link.start_ns - zero)}"
    took = "" if link.duration_ns is None else f"+{duration(link.duration_ns)}"
    only = link.inside[0] if _same(link) else None
    what = link.what if only is None else f"{link.what}: {only.what}"
    events = dict.fromkeys(e.event for e in (*link.evidence, *(only.evidence if only else ())))
    sign = "? " if "unknown" in (link.kind, only.kind if only else "") else ""
    share = None if link.duration_ns is None else link.duration_ns / max(1, longest)
    return joined([
        tag("span", bar(share, face), class_="at"),
        tag("span", begins, class_="at n"), tag("span", took, class_="at n"),
        tag("span", f"{sign}{on_one_line(what)}", class_="what"),
        tag("span", ", ".join(events), class_="told"),
    ])  # fmt: skip


def _same(link: Link) -> bool:
    return len(link.inside) == 1 and link.inside[0].duration_ns == link.duration_ns


def _item(chain: Chain, link: Link, longest: int, room: _Room) -> Markup:
    room.left -= 1
    line = _line(chain, link, longest)
    if not link.inside or _same(link) or room.left <= 0:
        return tag("li", tag("div", line, class_="link"))
    inside = _items(chain, link.inside, link.duration_ns or 1, room)
    return tag("li", tag("details", tag("summary", line, class_="link"), inside))


def _items(chain: Chain, links: Sequence[Link], longest: int, room: _Room) -> Markup:
    least, short, parts = _least(links), list[Link](), list[Markup]()
    for link in links:
        if link.duration_ns is not None and link.duration_ns < least:
            short.append(link)
        elif room.left > 0:
            parts.append(_item(chain, link, longest, room))
    if short:
        sum_ns = sum(link.duration_ns or 0 for link in short)
        text = f"… {len(short)} shorter, {duration(sum_ns)} in all"
        parts.append(tag("li", tag("div", text, class_="link faint")))
    return tag("ol", *parts, class_="chain")


def chain_list(chain: Chain) -> Markup:
    """The links in order of time; '' where there are none."""
    if not chain.links:
        return EMPTY
    longest = max((link.duration_ns or 0 for link in chain.links), default=1)
    room = _Room(_MOST)
    spine = tag("ol", *(_item(chain, link, longest, room) for link in chain.links), class_="chain")
    notes = tag("ul", *(tag("li", note) for note in chain.notes), class_="notes")
    return joined([tag("p", chain.account, class_="faint"), spine, notes if chain.notes else EMPTY])
