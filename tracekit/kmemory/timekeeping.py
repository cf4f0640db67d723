"""How the kernel's clocks follow from the TSC: what it worked with itself, exact without a sample.

``struct timekeeper`` (kernel/time/timekeeping.c) gives CLOCK_MONOTONIC and its kin, ``struct
cyc2ns`` (arch/x86/kernel/tsc.c) the trace clock ``local``; printk's and the trace clocks ``perf``
and ``global`` are that one and ``__sched_clock_offset`` (kernel/sched/clock.c).
"""

from __future__ import annotations

from tracekit.errors import SourceError
from tracekit.frozen import dataclass, field
from tracekit.kmemory.kernel import Kernel, NoMember, Struct

__all__ = ["Clocks", "Line", "read_clocks"]

_COUNTER = "tsc"
_MAX_SHIFT = 63
_VALUE = (1 << 64) - 1


@dataclass(frozen=True, slots=True)
class Line:
    """``ns = base + (((tsc - start) * mult + fraction) >> shift)``."""

    start: int
    mult: int
    shift: int
    fraction: int
    base: int

    def ns(self, tsc: int) -> int:
        """What the clock read at a count of the TSC."""
        return self.base + ((tsc - self.start) * self.mult + self.fraction >> self.shift)

    def moved(self, ns: int) -> Line:
        """A clock that is ``ns`` ahead of this one."""
        return Line(self.start, self.mult, self.shift, self.fraction, self.base + ns)


@dataclass(frozen=True, slots=True)
class Clocks:
    """``lines``: clock -> its line, where the TSC drives it. The keys are trace clocks' names, and
    ``realtime``. ``local`` is per CPU; if those differ it is not among them.

    ``cycle_last``: the count at the last update of timekeeping: from then on the lines of its
    clocks hold. ``source`` names the clock source, ``tsc_khz`` is its rate or None.
    """

    source: str
    cycle_last: int | None
    lines: dict[str, Line] = field(default_factory=dict)
    local: dict[int, Line] = field(default_factory=dict)
    printk_offset_ns: int | None = None
    tsc_khz: int | None = None


def _timekeeper(kernel: Kernel) -> Struct:
    """The one that ``tk_core`` holds: a ``struct tk_data``, or before 6.13 one without a name."""
    address = kernel.symbols.find("timekeeper_data")  # since 6.17 there is one for each clock
    if address is None:
        address = kernel.symbol("tk_core")
    if kernel.place("tk_data", "timekeeper") is not None:
        return kernel.struct("tk_data", address).inside("timekeeper")
    # There the timekeeper follows the sequence count, aligned as its 64-bit members are.
    before = kernel.size_of("seqcount_raw_spinlock")
    return kernel.struct("timekeeper", address + (before + 7 & ~7))


def _signed(value: int) -> int:
    return value - (1 << 64) if value >> 63 else value


def _line(keeper: Struct, reading: str) -> Line | None:
    shift = keeper[f"{reading}.shift"]
    if shift > _MAX_SHIFT:
        return None
    return Line(
        keeper[f"{reading}.cycle_last"], keeper[f"{reading}.mult"], shift,
        keeper[f"{reading}.xtime_nsec"], _signed(keeper[f"{reading}.base"]),
    )  # fmt: skip


def _kept(keeper: Struct, lines: dict[str, Line]) -> None:
    """The lines of timekeeping's clocks."""
    mono, raw = _line(keeper, "tkr_mono"), _line(keeper, "tkr_raw")
    if mono is not None:
        lines["mono"] = mono
        for clock, offset in (
            ("boot", "offs_boot"),
            ("tai", "offs_tai"),
            ("realtime", "offs_real"),
        ):
            if keeper.has(offset):
                lines[clock] = mono.moved(_signed(keeper[offset]))
    if raw is not None:
        lines["mono_raw"] = raw


def _local(kernel: Kernel) -> dict[int, Line]:
    """CPU -> the line of ``local``: ``cycles_2_ns()``, of the copy that ``seq`` selects."""
    found: dict[int, Line] = {}
    for cpu in range(kernel.cpu_count):
        try:
            data = kernel.struct("cyc2ns", kernel.per_cpu("cyc2ns", cpu))
            copy = list(data.entries("data"))[data["seq"] & 1]
            mult, shift = copy["cyc2ns_mul"], copy["cyc2ns_shift"]
            if mult and shift <= _MAX_SHIFT:
                found[cpu] = Line(0, mult, shift, 0, _signed(copy["cyc2ns_offset"] & _VALUE))
        except NoMember:
            raise
        except SourceError as error:
            kernel.notes.missing("CPUs' clocks", f"cyc2ns of cpu {cpu}", error)
    return found


def read_clocks(kernel: Kernel) -> Clocks:
    """The clocks; what cannot be read, or does not run by the TSC, is left out and noted."""
    lines: dict[str, Line] = {}
    source, last = "", None
    try:
        keeper = _timekeeper(kernel)
        clock = keeper.follow("tkr_mono.clock")
        source = clock.text("name") if clock else ""
        if source == _COUNTER:
            last = keeper["tkr_mono.cycle_last"]
            _kept(keeper, lines)
    except SourceError as error:
        kernel.notes.missing("clocks", "the timekeeper", error)
    local, offset, khz = dict[int, Line](), None, None
    if kernel.symbols.find("cyc2ns") is not None:
        try:
            local = _local(kernel)
        except SourceError as error:
            kernel.notes.missing("clocks", "local", error)
    try:
        offset = _signed(kernel.memory.u64(kernel.symbol("__sched_clock_offset")))
    except SourceError as error:
        kernel.notes.missing("clocks", "printk's offset", error)
    try:
        khz = kernel.memory.u32(kernel.symbol("tsc_khz"))
    except SourceError as error:
        kernel.notes.missing("clocks", "tsc_khz", error)
    if local and len(set(local.values())) == 1:
        line = next(iter(local.values()))
        lines["local"] = line
        if offset is not None:
            lines["perf"] = lines["global"] = line.moved(offset)
    return Clocks(source, last, lines, local, offset, khz or None)
