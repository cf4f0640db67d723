"""The kernel's log, of which the kernel keeps the newest part only."""

from __future__ import annotations

import re
from collections import Counter
from heapq import merge

__all__ = ["MAX_LINES", "joined_log"]

_STAMP = re.compile(rb"(?:<\d+>)?\[ *(\d{1,12})\.(\d{1,6})\]")
_NEWLINE = 10
MAX_LINES = 1 << 17  # some ten MB
_HEAD = 1 << 15  # of these the boot's own messages, which relate its clocks


def _timed(lines: list[bytes]) -> list[tuple[int, bytes]]:
    """Each line with the latest time in us up to it: a line without a stamp goes on with one."""
    timed, latest = [], -1
    for line in lines:
        if (m := _STAMP.match(line)) is not None:
            latest = max(latest, int(m[1]) * 1_000_000 + int(m[2].ljust(6, b"0")))
        timed.append((latest, line))
    return timed


def _whole_lines(log: bytes) -> bytes:
    return log if log.endswith(b"\n") or not log else log + b"\n"


def joined_log(earlier: bytes, now: bytes) -> tuple[bytes, int]:
    """(``now`` and what of ``earlier`` is no longer in it, how many lines were left out).

    Lines go by their time stamps. Of one that ``earlier`` has more often than ``now``, the first
    ones are gone. Of too many lines the boot's first and the newest are kept.
    """
    earlier, now = _whole_lines(earlier), _whole_lines(now)
    if earlier.endswith(b"\n" + now):
        return earlier, 0
    # mostly it goes on where it was, or a little later
    start = earlier.find(now[: now.find(b"\n") + 1])
    at_line = start == 0 or (start > 0 and earlier[start - 1] == _NEWLINE)
    if at_line and now.startswith(earlier[start:]):
        lines = (earlier[:start] + now).splitlines(keepends=True)
    else:
        lines = _merged(earlier.splitlines(keepends=True), now.splitlines(keepends=True))
    left_out = max(0, len(lines) - MAX_LINES)
    if left_out:
        lines = lines[:_HEAD] + lines[_HEAD - MAX_LINES :]
    return b"".join(lines), left_out


def _merged(old: list[bytes], new: list[bytes]) -> list[bytes]:
    gone = Counter(old) - Counter(new)
    kept = []
    for timed in _timed(old):
        if gone[timed[1]]:
            gone[timed[1]] -= 1
            kept.append(timed)
    return [line for _, line in merge(kept, _timed(new), key=lambda timed: timed[0])]
