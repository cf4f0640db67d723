"""A machine whose clocks are known exactly, and what a session would record of them.

Written from the kernel's source alone (arch/x86/kernel/tsc.c, kernel/sched/clock.c,
kernel/time/timekeeping.c), in counts of the TSC and exact fractions.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from fractions import Fraction

from tracekit.clocks.evidence import BootClockInput, BootClocks
from tracekit.clocks.model import SessionClock

SECOND = 10**9


def clock_input(
    index: int,
    trace_clock: str,
    samples: Sequence[object] = (),
    dmesg: str = "",
    first: int | None = None,
    last: int | None = None,
) -> BootClockInput:
    """One boot's clocks and the stamps of its first and last event."""
    return BootClockInput(BootClocks(index, samples, dmesg), trace_clock, first, last)


@dataclass
class Kernel:
    """One boot: its clocks as functions of the count."""

    zero: int  # count at which sched_clock read 0
    early_khz: int = 2_441_105
    late_khz: int = 2_445_429
    refined_after: float = 1.9  # seconds of sched_clock at the knee
    mark_after: float = 1.6  # seconds of sched_clock at the tick of the mark
    lost_ns: int = 75_000_000  # what printk's clock lost before the mark
    mono_ahead_ns: int = 40_000_000  # mono against printk's clock
    pair_gap: int = 0  # cycles between the two readings of the mark
    epoch_ns: int = 1_795_352_696 * SECOND
    rtc_s: int | None = None
    lines: list[tuple[int, str]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.knee = self.zero + round(
            Fraction(self.early_khz, 10**6) * round(self.refined_after * SECOND)
        )
        # timekeeping switches from tsc-early to tsc a little after the refinement
        self.switch = self.knee + 1_500_000
        early = Fraction(self.early_khz, 10**6)
        self.tick = self.zero + round(early * round(self.mark_after * SECOND))
        if self.tick > self.switch:
            self.tick += 10_000_000
        self.gtod = self.mono(self.tick)
        self.raw = self.sched(self.tick + self.pair_gap)
        self.offset = self.gtod - self.mono_ahead_ns - self.raw

    def _bent(self, count: int, knee: int) -> Fraction:
        """ns from the zero to ``count`` at the early rate up to ``knee``."""
        early = min(count, knee) - self.zero
        late = max(0, count - knee)
        return Fraction(early * 10**6, self.early_khz) + Fraction(late * 10**6, self.late_khz)

    def sched(self, count: int) -> int:
        return int(self._bent(count, self.knee))

    def mono(self, count: int) -> int:
        return int(self._bent(count, self.switch)) - self.lost_ns + self.mono_ahead_ns

    def printk(self, count: int) -> int:
        """From the mark on."""
        return self.sched(count) + self.offset

    def log(self, count: int, text: str) -> None:
        self.lines.append((self.printk(count), text))

    def dmesg(self) -> str:
        mhz = [f"{khz // 1000}.{khz % 1000:03}" for khz in (self.early_khz, self.late_khz)]
        log = [
            (0, "Kernel command line: quiet"),
            (32_000_000, f"tsc: Detected {mhz[0]} MHz processor"),
            (700_000_000, "clocksource: Switched to clocksource tsc-early"),
        ]
        if self.rtc_s is not None:
            log += [
                (1_000_000_000, "rtc_cmos PNP0B00:00: registered as rtc0"),
                (
                    1_001_000_000,
                    "rtc_cmos PNP0B00:00: setting system clock to "
                    f"2026-11-22T13:04:56 UTC ({self.rtc_s})",
                ),
            ]
        mark = self.printk(self.tick + 2_500_000)
        log.append(
            (
                mark,
                f"sched_clock: Marking stable ({self.gtod}, {-self.mono_ahead_ns})->"
                f"({self.raw}, {self.offset})",
            )
        )
        log.append(
            (
                self.printk(self.knee + 20_000),
                f"tsc: Refined TSC clocksource calibration: {mhz[1]} MHz",
            )
        )
        log.append(
            (
                self.printk(self.switch - 600_000),
                "clocksource: tsc: mask: 0xffffffffffffffff max_cycles: 0x1",
            )
        )
        log.append((self.printk(self.switch + 400_000), "clocksource: Switched to clocksource tsc"))
        log += self.lines
        log.sort(key=lambda entry: entry[0])
        return "\n".join(f"[{ns // SECOND:5}.{ns % SECOND // 1000:06}] {text}" for ns, text in log)

    def samples(
        self, count: int, widths: list[int], clocks: tuple[str, ...] = ("mono", "mono_raw")
    ) -> list[dict[str, object]]:
        """Brackets from ``count`` on, each read somewhere inside."""
        out: list[dict[str, object]] = []
        for number, width in enumerate(widths):
            for clock in clocks:
                read = count + width * (number * 7 % 11) // 10
                ns = {"local": self.sched, "perf": self.printk}.get(clock, self.mono)(read)
                out.append(
                    {"clock": clock, "tsc_before": count, "ns": ns, "tsc_after": count + width + 1}
                )
                count += width + 30_000
        return out


JUMP = 111_999_819_196
FIRST = 125_619_149_786
SAMPLED = {
    "x86-tsc": "x86-tsc",
    "local": "sched",
    "mono": "mono",
    "mono_raw": "mono",
    "boot": "mono",
    "perf": "printk",
}
CLOCKS = sorted(SAMPLED)


def codes(clock: SessionClock) -> list[str]:
    return [note.code for note in clock.diagnostics]


def stamp(kernel: Kernel, clock: str, count: int) -> int:
    kind = SAMPLED[clock]
    return count if kind == "x86-tsc" else int(getattr(kernel, kind)(count))


def boot(
    kernel: Kernel,
    index: int,
    clock: str,
    first: int,
    last: int,
    samples: Sequence[object] | None = None,
    dmesg: str | None = None,
) -> BootClockInput:
    """What a session has of a simulated boot whose samples are taken before ``last``."""
    if samples is None:
        names = ("mono", "mono_raw", "boot")
        samples = kernel.samples(last - 3_000_000_000, [9_000, 30_000, 8_000] * 10, names)
        samples += kernel.samples(last - 500_000_000, [9_000, 30_000, 8_000] * 10, names)
    return clock_input(
        index,
        clock,
        samples,
        kernel.dmesg() if dmesg is None else dmesg,
        stamp(kernel, clock, first),
        stamp(kernel, clock, last),
    )


def handover(old_khz: int = 2_445_430, new_khz: int = 2_445_429) -> tuple[Kernel, Kernel]:
    """Two kernels; the oscillator is between their calibrations, as are the real ones."""
    old = Kernel(zero=11_000_000_000, early_khz=2_445_304, late_khz=old_khz, refined_after=2.3)
    new = Kernel(zero=125_920_000_000, late_khz=new_khz, pair_gap=3_000)
    return old, new
