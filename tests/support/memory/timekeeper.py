"""Timekeeping's parameters, put into a dead kernel's memory where its types say that they are."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from tests.support.memory.dead_kernels import PageMemory, words
from tracekit.kmemory.kernel import Kernel, Struct

__all__ = ["LAST", "TSC_KHZ", "Filled", "filled"]

TSC_KHZ = 2_000_000
SHIFT = 24
MULT = (10**6 << SHIFT) // TSC_KHZ
LAST = 20_000_000_000


class Filled(NamedTuple):
    """``write(address, value, bytes)`` changes a number; ``keeper`` is the timekeeper."""

    kernel: Kernel
    memory: PageMemory
    keeper: Struct
    write: Callable[..., None]


def filled(kernel: Kernel, before: PageMemory) -> Filled:
    """The kernel with a timekeeper, cyc2ns of two CPUs and printk's offset in its memory."""
    memory = before.copy()
    physical = kernel.memory.physical

    def write(address: int, value: int, size: int = 8) -> None:
        memory.poke(physical(address), words(value)[:size])

    if kernel.place("tk_data", "timekeeper") is not None:
        core = kernel.struct("tk_data", kernel.symbol("timekeeper_data"))
        keeper = core.inside("timekeeper")
    else:
        # the sequence count is before it: KMEMORY's "+8", seen on a 6.12
        keeper = kernel.struct("timekeeper", kernel.symbol("tk_core") + 8)
    spare = kernel.pointer("savedcmd") & -4096
    source = kernel.struct("clocksource", spare)
    write(source.at("name"), spare + 512)
    memory.poke(physical(spare + 512), b"tsc\0")
    for base in ("tkr_mono", "tkr_raw"):
        write(keeper.at(f"{base}.clock"), spare)
        write(keeper.at(f"{base}.cycle_last"), LAST)
        write(keeper.at(f"{base}.mult"), MULT, 4)
        write(keeper.at(f"{base}.shift"), SHIFT, 4)
        write(keeper.at(f"{base}.xtime_nsec"), 7 << SHIFT)
        write(keeper.at(f"{base}.base"), 9_000_000_000)
    write(keeper.at("offs_boot"), 1_000)
    write(keeper.at("offs_tai"), 37_000_000_000)
    write(keeper.at("offs_real"), 1_700_000_000_000_000_000)
    offsets = kernel.symbol("__per_cpu_offset")
    variable = kernel.symbol("cyc2ns")
    for cpu in (0, 1):
        place = spare + 1024 * (cpu + 1)
        write(offsets + 8 * cpu, place - variable)
        copies = kernel.struct("cyc2ns", place)
        write(copies.at("seq"), 3, 4)  # odd: the second copy
        second = list(copies.entries("data"))[1]
        write(second.at("cyc2ns_mul"), 400 << 2, 4)
        write(second.at("cyc2ns_shift"), 12, 4)
        write(second.at("cyc2ns_offset"), -500_000)
    write(kernel.symbol("__sched_clock_offset"), -38_201_169)
    write(kernel.symbol("tsc_khz"), TSC_KHZ, 4)
    return Filled(kernel, memory, keeper, write)
