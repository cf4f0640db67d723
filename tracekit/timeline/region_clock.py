"""Which trace clock stamped a region.

From 6.15 on the region says so. Before, it is the clock of the instance on it; where the session
does not have that, all others but the TSC may be excluded: a clock in ns cannot show more than the
boot lasted, and one that counts ticks or events shows far less.
"""

from __future__ import annotations

from tracekit.errors import SessionError
from tracekit.ftrace.ring.layout import RegionLayout
from tracekit.timeline.boot import Boot

__all__ = ["clock_of"]

_TSC = "x86-tsc"
#: How far two kernels' own boot times may be wrong: each is read from an RTC in whole seconds.
_RTC_S = 5
_COMMIT = 0x3FFFFFFF


def clock_of(boot: Boot, layout: RegionLayout, data: bytes, instance: str) -> str | None:
    """The trace clock of a region with the bytes ``data``; None where nothing tells.

    ``instance`` is the one that is on it, '' if that is not known.
    """
    known = layout.clock or (boot.trace_clock(instance) if instance else None)
    return known or _by_exclusion(boot, layout, data)


def _by_exclusion(boot: Boot, layout: RegionLayout, data: bytes) -> str | None:
    """The TSC, where the stamps are too great for any other clock of that boot."""
    lasted = _seconds_at_most(boot)
    if lasted is None or _TSC not in boot.text("tracefs/trace_clock"):  # all that this kernel has
        return None
    newest = _newest(boot, layout, data)
    if newest <= lasted * 1_000_000_000 * 5 // 4 or newest >= 1 << 60:  # CLOCK_TAI is beyond
        return None
    boot.note(
        "clock-by-exclusion", "",
        f"nothing in the session names the trace clock; its newest stamp, {newest}, would be "
        f"{newest // 1_000_000_000} s in ns, but the boot lasted at most {lasted} s: only the TSC "
        "counts that fast", "info",
    )  # fmt: skip
    return _TSC


def _seconds_at_most(boot: Boot) -> int | None:
    """How long the boot can have lasted: until the next one in the session began."""
    later = (index for index in boot.session.boots if index > boot.index)
    index = next(later, None)
    try:
        after = boot.session.kernel(index).get("btime_s") if index is not None else None
    except SessionError:
        return None
    began = boot.kernel.get("btime_s")
    if not isinstance(began, int) or not isinstance(after, int) or after < began:
        return None
    return after - began + _RTC_S


def _newest(boot: Boot, layout: RegionLayout, data: bytes) -> int:
    """The greatest time stamp of a sub-buffer that holds events."""
    header, newest = boot.header_page, 0
    for cpu in layout.cpus:
        for page in cpu.pages:
            at = page + header.commit
            if int.from_bytes(data[at : at + 4], "little") & _COMMIT:
                at = page + header.timestamp
                newest = max(newest, int.from_bytes(data[at : at + 8], "little"))
    return newest
