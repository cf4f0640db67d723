"""Sub-buffers that an intact ring cannot hold: memory that was not written back, or not cleared.

Offline, poisoned and unaccepted pages read as zeros, and cache lines that never reached memory show
what was there before. Three rules tell, each a consequence of ``kernel/trace/ring_buffer.c``:

- The writer fills a sub-buffer to its last 8 bytes (``rb_reset_tail()`` pads what is left, unless
  not even ``RB_EVNT_MIN_SIZE`` fits), so the commit of every one but the newest says "full".
- None but the reader page is empty, unless the kernel itself has emptied
  it at boot (``rb_cpu_meta_valid()``) and says so with ``RB_MISSED_EVENTS``.
- Time does not run backwards from one sub-buffer to the next, as one CPU writes them in turn.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence

__all__ = ["CUT", "EMPTY", "STALE", "doubtful", "stale"]

EMPTY, CUT, STALE = 6, 7, 8  #: as ``PageRow.status``, behind those of ``_native/ring.c``
_MIN_EVENT = 8  # RB_EVNT_MIN_SIZE


def doubtful(pages: Sequence[tuple[int, int, int]], room: int) -> dict[int, int]:
    """Index in ``pages`` -> status, of the sub-buffers whose commit no intact ring has.

    ``pages`` are (commit, events missed before it, time stamp) in reading order, of sub-buffers
    with ``room`` bytes for events each. The first may be a reader page that was never read, or
    emptied by a reset.
    """
    found = {}
    for i, (commit, missed, _) in enumerate(pages[:-1]):
        if not commit and not missed and i:
            found[i] = EMPTY
        elif 0 < commit <= room - _MIN_EVENT:
            found[i] = CUT
    used = any(commit for commit, _, _ in pages[:-1])
    if used and not any(pages[-1]):  # the newest is stamped, even if its event was discarded
        found[len(pages) - 1] = EMPTY
    return found


def stale(spans: Sequence[tuple[int, int, int]]) -> list[int]:
    """The sub-buffers that are of another time than their neighbours.

    ``spans`` are (index, first stamp, last stamp) of those with events, in reading order. All but
    the largest set in which time never runs backwards are returned, of several such sets the one
    that spans less time: what memory held before is far off. None is returned if that would be more
    than a quarter, because then it may be the clock that was set back, and not those at one end
    that would fit at the other, because then it may be head or commit that are wrong.
    """
    if not spans:
        return []
    ahead = [(first, max(first, last)) for _, first, last in spans]
    back = [(-last, -first) for first, last in reversed(ahead)]
    early, late = _chain(ahead), [len(spans) - 1 - p for p in reversed(_chain(back))]
    kept = min(early, late, key=lambda chain: ahead[chain[-1]][1] - ahead[chain[0]][0])
    begin, end, chosen = kept[0], kept[-1], set(kept)
    odd = [
        index
        for p, (index, first, last) in enumerate(spans)
        if p not in chosen
        and not (p > end and last <= spans[begin][1])
        and not (p < begin and first >= spans[end][2])
    ]
    return odd if 4 * len(odd) <= len(spans) else []


def _chain(spans: Sequence[tuple[int, int]]) -> list[int]:
    """The positions of a longest chain of (first, last) without a step back, which ends earliest.

    Patience sorting: of the chains of each length the one that ends earliest is remembered.
    """
    ends, tops, before = list[int](), list[int](), list[int]()
    for position, (first, last) in enumerate(spans):
        length = bisect_right(ends, first)
        before.append(tops[length - 1] if length else -1)
        if length == len(ends) or last < ends[length]:
            ends[length : length + 1] = [last]
            tops[length : length + 1] = [position]
    chain = [tops[-1]]
    while before[chain[-1]] >= 0:
        chain.append(before[chain[-1]])
    return chain[::-1]
