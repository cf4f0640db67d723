"""Numbers and recorded names as people read them; imports nothing."""

from __future__ import annotations

import re

__all__ = ["UNITS", "count_lost", "duration", "error_bound", "on_one_line", "printable"]

# control characters, line separators, bidirectional controls, and lone surrogates
_CONTROL = re.compile(
    r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff"
    r"\ufff9-\ufffb\U000e0000-\U000e007f]"
)
#: (ns, name), the largest first.
UNITS = ((10**9, "s"), (10**6, "ms"), (10**3, "µs"), (1, "ns"))


def printable(text: str) -> str:
    """``text`` with control characters escaped: recorded strings must not steer a terminal.

    Whatever a session, a saved tree or a machine says passes this before it is shown.
    """
    return _CONTROL.sub(_escaped, text)


def on_one_line(text: str) -> str:
    """:func:`printable` text that cannot pass for several lines."""
    return printable(text).replace("\n", "\\n").replace("\t", "\\t")


def _escaped(match: re.Match[str]) -> str:
    code = ord(match[0])
    return (
        f"\\x{code:02x}"
        if code < 0x100
        else f"\\u{code:04x}"
        if code < 1 << 16
        else f"\\U{code:08x}"
    )


def duration(ns: int | float | None, unknown: str = "unknown") -> str:
    """``1.234 s``, ``56.7 ms``, ``890 ns``: the largest unit that leaves a whole number."""
    if ns is None:
        return unknown
    size, unit = next(((s, u) for s, u in UNITS if abs(ns) >= s), (1, "ns"))
    value = ns / size
    digits = 0 if size == 1 else max(0, 3 - len(str(int(abs(value)))) + (unit == "s"))
    return f"{value:.{digits}f} {unit}"


def error_bound(ns: int | None) -> str:
    """``± 26.3 µs``, or that it is not known."""
    return f"± {duration(ns)}" if ns is not None else "error unknown"


def measured(
    ns: int | None, error_ns: int | None, bounds: tuple[int | None, int | None] = (None, None)
) -> tuple[str, str]:
    """A time and its error; where that is more than a tenth of it and ``bounds`` are known, those.

    ``("2.354 s", "± 9.10 µs")``, or ``("0 ns to 4.667 s", "")``.
    """
    low, high = bounds
    if ns is None:
        return duration(ns), ""
    if error_ns is not None and 10 * error_ns > abs(ns) and low is not None and high is not None:
        return f"{duration(low)} to {duration(high)}", ""
    return duration(ns), error_bound(error_ns)


def count_lost(lost: int | None, at_least: bool, sign: str = "at least ") -> str:
    """How many events are lost; ``sign`` stands before a lower bound."""
    return "unknown" if lost is None else f"{sign if at_least else ''}{lost:,}"
