"""Whether the kernel trusts the TSC, which the trace clock ``x86-tsc`` reads whatever it thinks.

``mark_tsc_unstable()``, ``tsc_setup()`` and ``notsc_setup()`` in ``arch/x86/kernel/tsc.c``, the
watchdog in ``kernel/time/clocksource.c``: an unstable TSC is rated 0 and left out of
``available_clocksource`` where the tick is in one-shot mode. Paravirtual clocks give way to a TSC
that their kernel trusts (``kvmclock_init()``, ``hv_init_tsc_clocksource()``).
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from tracekit.errors import SourceError
from tracekit.frozen import dataclass
from tracekit.parameters import split_parameters
from tracekit.sysroot import Sysroot

__all__ = ["TSC", "TscTrust", "best_clock", "judge_tsc", "read_tsc_trust"]

TSC = "x86-tsc"
_SYSFS = "sys/devices/system/clocksource/clocksource0"
_UNSTABLE = re.compile(
    r"Marking TSC unstable|TSC found unstable|clocksource '?tsc\S* (?:as )?unstable|"
    r"Clocksource tsc unstable|clocksource tsc is unstable|TSC warp between CPUs|"
    r"turning off TSC clock",
    re.I,
)
_WATCHED = ("reliable", "nowatchdog")


@dataclass(frozen=True, slots=True)
class TscTrust:
    """What the kernel thinks of the TSC: ``trusted`` is None where nothing tells.

    ``why`` is in words; ``current`` the clocksource it keeps time with, '' when not known.
    """

    trusted: bool | None
    why: str
    current: str = ""


def _command(cmdline: str) -> tuple[str, str]:
    """(parameter that takes trust in the TSC away, one that takes its watchdog away), or ''."""
    distrust = unwatched = ""
    for name, value in split_parameters(cmdline):
        if name == "notsc" or (name == "tsc" and value == "unstable"):
            distrust = f"{name}={value}" if value else name
        elif name == "tsc" and value in _WATCHED:
            unwatched = f"tsc={value}"
    return distrust, unwatched


def judge_tsc(cmdline: str, log: str, available: str, current: str) -> TscTrust:
    """From the command line, the log and sysfs's two files ('' where one cannot be read)."""
    offered, current = available.split(), current.strip()
    distrust, unwatched = _command(cmdline)
    if distrust:
        return TscTrust(False, f"{distrust} on the command line", current)
    lines = [" ".join(line.split())[:200] for line in log.splitlines() if _UNSTABLE.search(line)]
    if lines:
        return TscTrust(False, f"the log says: {lines[0]}", current)
    listed = f"available: {' '.join(offered)}"
    if offered and not {"tsc", "tsc-early"}.intersection(offered):
        using = f"it keeps time with {current}" if current else "which it uses is not known"
        return TscTrust(False, f"the TSC is no clocksource of this kernel, {using} ({listed})",
                        current)  # fmt: skip
    if current in ("tsc", "tsc-early"):
        unseen = f", unwatched ({unwatched})" if unwatched else ""
        return TscTrust(True, f"the kernel keeps time with it{unseen}", current)
    if not current:
        return TscTrust(None, f"no {_SYSFS}/current_clocksource tells what the kernel uses")
    chosen = [v for n, v in split_parameters(cmdline) if n == "clocksource" and v]
    asked = f", as clocksource={chosen[-1]} asks for" if chosen else ""
    known = f" ({listed})" if offered else ""
    return TscTrust(None, f"the kernel keeps time with {current}{asked}, not with the TSC{known}",
                    current)  # fmt: skip


def best_clock(offered: Sequence[str], chosen: str, trust: TscTrust) -> str:
    """The trace clock to record on; ``chosen`` is the one the buffer has.

    The TSC, which alone runs on through a kexec, unless the kernel says that it is unstable: then
    the clock that the kernel keeps true, ``mono``.
    """
    if trust.trusted is False:
        return "mono" if "mono" in offered else chosen
    return TSC if TSC in offered else chosen


def read_tsc_trust(root: Sysroot) -> TscTrust:
    """What the kernel below ``root`` thinks of the TSC; what cannot be read says nothing."""

    def text(rel: str) -> str:
        try:
            return (root.get(rel) or b"").decode("utf-8", "backslashreplace")
        except SourceError:
            return ""

    try:
        log = (root.kernel_log() or b"").decode("utf-8", "backslashreplace")
    except SourceError:
        log = ""
    return judge_tsc(
        text("proc/cmdline"),
        log,
        text(f"{_SYSFS}/available_clocksource"),
        text(f"{_SYSFS}/current_clocksource"),
    )
