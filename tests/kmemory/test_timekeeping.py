"""The clocks' parameters: made ones, where a real kernel's types say that they are."""

from __future__ import annotations

import pytest

from tests.support.memory.dead_kernels import with_memory, words
from tracekit.kmemory.timekeeping import Line, read_clocks

TSC_KHZ = 2_000_000
SHIFT = 24
MULT = (10**6 << SHIFT) // TSC_KHZ
LAST = 20_000_000_000


def filled(dead):
    """The kernel with a timekeeper, cyc2ns of two CPUs and printk's offset in its memory."""
    kernel, memory = dead.kernel, dead.memory.copy()
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
    return kernel, memory, keeper, write


def test_every_clock(dead) -> None:
    kernel, memory, _, _ = filled(dead)
    clocks = read_clocks(with_memory(kernel, memory))
    assert (clocks.source, clocks.cycle_last, clocks.tsc_khz) == ("tsc", LAST, TSC_KHZ)
    assert clocks.printk_offset_ns == -38_201_169
    mono = clocks.lines["mono"]
    assert mono.ns(LAST) == 9_000_000_007
    assert abs(mono.ns(LAST + TSC_KHZ * 1000) - 10_000_000_007) <= 1  # a second later
    assert clocks.lines["mono_raw"] == mono
    assert clocks.lines["boot"].ns(LAST) == 9_000_001_007
    assert clocks.lines["tai"].ns(LAST) == 46_000_000_007
    assert clocks.lines["realtime"].ns(LAST) == 1_700_000_009_000_000_007
    local = Line(0, 1600, 12, 0, -500_000)
    assert clocks.local == {0: local, 1: local}
    assert clocks.lines["local"] == local
    assert local.ns(4096) == 1600 - 500_000
    assert clocks.lines["global"].ns(4096) == 1600 - 500_000 - 38_201_169


def test_another_clock_source_says_nothing_of_the_tsc(lab) -> None:
    kernel, memory, _keeper, write = filled(lab)
    spare = kernel.pointer("savedcmd") & -4096
    write(spare + 512, int.from_bytes(b"kvm\0", "little"), 4)
    clocks = read_clocks(with_memory(kernel, memory))
    assert clocks.source == "kvm"
    assert clocks.cycle_last is None
    assert not {"mono", "boot", "realtime"} & set(clocks.lines)


def test_cpus_that_differ_have_no_common_line(lab) -> None:
    kernel, memory, _, write = filled(lab)
    place = (kernel.pointer("savedcmd") & -4096) + 2048
    second = list(kernel.struct("cyc2ns", place).entries("data"))[1]
    write(second.at("cyc2ns_offset"), 5)
    clocks = read_clocks(with_memory(kernel, memory))
    assert len(clocks.local) == 2
    assert "local" not in clocks.lines


@pytest.mark.parametrize("member", ["tkr_mono.shift", "tkr_raw.shift"])
def test_a_shift_of_no_clock(lab, member: str) -> None:
    kernel, memory, keeper, write = filled(lab)
    write(keeper.at(member), 200, 4)
    clocks = read_clocks(with_memory(kernel, memory))
    assert ("mono" in clocks.lines) == (member != "tkr_mono.shift")


def test_what_is_missing_is_noted(lab) -> None:
    other = with_memory(lab.kernel, lab.memory)
    clocks = read_clocks(other)
    assert (clocks.lines, clocks.tsc_khz) == ({}, None)
    assert {d.where for d in other.notes.diagnostics()} == {"clocks", "CPUs' clocks"}
