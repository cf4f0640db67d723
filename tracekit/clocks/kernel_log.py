"""Reads the clock lines of a boot's kernel log: calibrations, switches, the RTC.

Sources: ``arch/x86/kernel/tsc.c``, ``kernel/sched/clock.c``, ``kernel/time/clocksource.c``,
``drivers/rtc/class.c``, ``init/main.c``; the texts are the same from 6.12 to 7.3. A missing
line is ``None``: the log may be cut, and other machines print other lines.
"""

from __future__ import annotations

import itertools
import re

from tracekit.frozen import dataclass

__all__ = ["KernelLog", "StableMark", "read_kernel_log"]

#: printk cuts records at 1024 bytes; longer lines are not its own.
_MAX_LINE = 1200
#: ``[    2.594078] text``, with the level and the caller id that dmesg or the console may add.
_LINE = re.compile(r"(?:<\d+>)?\[ *(\d{1,10})\.(\d{6})\](?:\[ *[TC]\d+\])? (.*)")
_COMMAND_LINE = re.compile(r"Kernel command line: ")
_PROCESSOR = re.compile(r"tsc: Detected (\d{1,7})\.(\d{3}) MHz processor")
_TSC = re.compile(r"tsc: Detected (\d{1,7})\.(\d{3}) MHz TSC")
_REFINED = re.compile(r"tsc: Refined TSC clocksource calibration: (\d{1,7})\.(\d{3}) MHz")
_REGISTERED = re.compile(r"clocksource: tsc: mask")
_SWITCH = re.compile(r"clocksource: Switched to clocksource (\S+)")
_STABLE = re.compile(
    r"sched_clock: Marking stable \((-?\d{1,20}), -?\d{1,20}\)->\((-?\d{1,20}), (-?\d{1,20})\)"
)
_UNSTABLE = re.compile(
    r"tsc: Marking TSC unstable|sched_clock: Marking unstable|TSC found unstable after boot"
)
#: ``arch/x86/kernel/tsc_sync.c``: the kernel wrote the TSC's adjustment, so the counter jumped.
_ADJUSTED = re.compile(r".*TSC ADJUST( differs| compensate|: CPU\d{1,6}: -?\d{1,20} force to 0)")
#: Hypervisors' clocks that replace the native ``sched_clock``.
_PARAVIRT = re.compile(
    r"kvm-clock: using sched offset|vmware: using clock offset|Xen: using vcpuop"
    r"|clocksource: hyperv_clocksource"
)
#: ``kernel/time/sched_clock.c``.
_GENERIC = re.compile(r"sched_clock: \d+ bits at")
_RTC_FOUND = re.compile(r"\S.*: registered as rtc\d")
_RTC = re.compile(r"\S.*: setting system clock to .* UTC \((\d{1,12})\)")
_FREEING = re.compile(r"Freeing unused kernel image \(initmem\) memory")
_RUN_INIT = re.compile(r"Run .* as init process")
#: Whatever is looked for: few lines of a log are.
_ANY = re.compile("|".join(f"(?:{text.pattern})" for text in (
    _COMMAND_LINE, _PROCESSOR, _TSC, _REFINED, _REGISTERED, _SWITCH, _STABLE, _UNSTABLE, _ADJUSTED,
    _PARAVIRT, _GENERIC, _RTC_FOUND, _RTC, _FREEING, _RUN_INIT,
)))  # fmt: skip

_Match = tuple[int, re.Match[str]]


@dataclass(frozen=True, slots=True)
class StableMark:
    """The line ``sched_clock: Marking stable (gtod, gtod_offset)->(raw, offset)``.

    ``gtod_ns`` (``ktime_get_ns``, i.e. mono) and ``raw_ns`` (``sched_clock``) were read right after
    one another, in that order and with interrupts off, at the last tick before the line
    (``__scd_stamp``): a pair that relates the trace clocks local and mono. From the line on,
    printk's clock is ``sched_clock() + offset_ns`` exactly; before that, it follows mono in steps
    (``sched_clock_local``) and is not linear in the TSC.
    """

    stamp_ns: int
    gtod_ns: int
    raw_ns: int
    offset_ns: int

    @property
    def mono_to_printk_ns(self) -> int:
        """How far printk's clock is ahead of mono (``__gtod_offset``), within a tick."""
        return self.raw_ns + self.offset_ns - self.gtod_ns


@dataclass(frozen=True, slots=True)
class KernelLog:
    """The clock lines of one boot. Stamps are ns, cut (not rounded) to whole microseconds.

    ``detected_khz``: the early calibration of the TSC; ``refined_khz``: the one over a second
    against HPET or the ACPI PM timer. Both are whole kHz because the kernel cuts them, and they
    are exactly what its clocks then run at. ``late``: the early one only worked in
    ``late_time_init()``; until then ``sched_clock`` counted ticks, then it restarted at 0.
    ``switches``: clocksource changes in order.
    ``rtc_s``: the whole second that the RTC showed when CLOCK_REALTIME was set to that plus 0.5 s;
    it was read between the stamps ``rtc_from_ns`` and ``rtc_stamp_ns``. ``generic``:
    ``sched_clock`` is the generic one (arm64 and others) and printk shows it unaltered.
    ``unstable``, ``adjusted``: the kernel found the TSC unstable, or changed its value.
    ``paravirt``: a hypervisor's clock replaces the native ``sched_clock``.
    """

    detected_khz: int | None = None
    detected_stamp_ns: int | None = None
    late: bool = False
    refined_khz: int | None = None
    refined_stamp_ns: int | None = None
    registered_stamp_ns: int | None = None
    switches: tuple[tuple[int, str], ...] = ()
    stable: StableMark | None = None
    unstable: bool = False
    adjusted: bool = False
    paravirt: bool = False
    generic: bool = False
    rtc_from_ns: int | None = None
    rtc_stamp_ns: int | None = None
    rtc_s: int | None = None
    freeing_stamp_ns: int | None = None
    run_init_stamp_ns: int | None = None


def read_kernel_log(text: str) -> KernelLog:
    """Find the clock lines in the text of ``dmesg``; the first of each kind is used."""
    lines = [
        (int(match[1]) * 1_000_000_000 + int(match[2]) * 1_000, match[3])
        for line in text.splitlines()
        if len(line) <= _MAX_LINE and (match := _LINE.match(line)) and _ANY.match(match[3])
    ]
    # "Detected Y MHz TSC" follows "Detected X MHz processor" where the two differ; clocks use Y.
    detected = _first(lines, _TSC) or _first(lines, _PROCESSOR)
    refined = _first(lines, _REFINED)
    stable = _first(lines, _STABLE)
    rtc = _first(lines, _RTC)
    return KernelLog(
        detected_khz=_khz(detected),
        detected_stamp_ns=_stamp(detected),
        # setup_arch() comes before this line of start_kernel(), late_time_init() after it.
        late=any(
            _COMMAND_LINE.match(line)
            for _, line in itertools.takewhile(lambda entry: not _PROCESSOR.match(entry[1]), lines)
        )
        and detected is not None,
        refined_khz=_khz(refined),
        refined_stamp_ns=_stamp(refined),
        registered_stamp_ns=_stamp(_first(lines, _REGISTERED)),
        switches=tuple(
            (stamp, match[1]) for stamp, line in lines if (match := _SWITCH.fullmatch(line))
        ),
        stable=stable and StableMark(stable[0], *(int(stable[1][n]) for n in (1, 2, 3))),
        unstable=_first(lines, _UNSTABLE) is not None,
        adjusted=_first(lines, _ADJUSTED) is not None,
        paravirt=_first(lines, _PARAVIRT) is not None,
        generic=_first(lines, _GENERIC) is not None,
        rtc_from_ns=_stamp(_first(lines, _RTC_FOUND)),
        rtc_stamp_ns=_stamp(rtc),
        rtc_s=int(rtc[1][1]) if rtc else None,
        freeing_stamp_ns=_stamp(_first(lines, _FREEING)),
        run_init_stamp_ns=_stamp(_first(lines, _RUN_INIT)),
    )


def _first(lines: list[tuple[int, str]], text: re.Pattern[str]) -> _Match | None:
    """Stamp and match of the first line that begins with ``text``."""
    return next(((stamp, match) for stamp, line in lines if (match := text.match(line))), None)


def _stamp(match: _Match | None) -> int | None:
    return match[0] if match else None


def _khz(match: _Match | None) -> int | None:
    """The frequency of a ``NNNN.NNN MHz`` line; ``None`` also for an impossible 0."""
    return (int(match[1][1]) * 1000 + int(match[1][2]) or None) if match else None
