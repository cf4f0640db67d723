"""The clocks' parameters: made ones, where a real kernel's types say that they are."""

from __future__ import annotations

import pytest

from tests.support.memory.dead_kernels import with_memory
from tests.support.memory.timekeeper import LAST, TSC_KHZ, filled
from tracekit.kmemory.timekeeping import Line, read_clocks


def test_every_clock(dead) -> None:
    kernel, memory, _, _ = filled(dead.kernel, dead.memory)
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
    kernel, memory, _keeper, write = filled(lab.kernel, lab.memory)
    spare = kernel.pointer("savedcmd") & -4096
    write(spare + 512, int.from_bytes(b"kvm\0", "little"), 4)
    clocks = read_clocks(with_memory(kernel, memory))
    assert clocks.source == "kvm"
    assert clocks.cycle_last is None
    assert not {"mono", "boot", "realtime"} & set(clocks.lines)


def test_cpus_that_differ_have_no_common_line(lab) -> None:
    kernel, memory, _, write = filled(lab.kernel, lab.memory)
    place = (kernel.pointer("savedcmd") & -4096) + 2048
    second = list(kernel.struct("cyc2ns", place).entries("data"))[1]
    write(second.at("cyc2ns_offset"), 5)
    clocks = read_clocks(with_memory(kernel, memory))
    assert len(clocks.local) == 2
    assert "local" not in clocks.lines


@pytest.mark.parametrize("member", ["tkr_mono.shift", "tkr_raw.shift"])
def test_a_shift_of_no_clock(lab, member: str) -> None:
    kernel, memory, keeper, write = filled(lab.kernel, lab.memory)
    write(keeper.at(member), 200, 4)
    clocks = read_clocks(with_memory(kernel, memory))
    assert ("mono" in clocks.lines) == (member != "tkr_mono.shift")


def test_what_is_missing_is_noted(lab) -> None:
    other = with_memory(lab.kernel, lab.memory)
    clocks = read_clocks(other)
    assert (clocks.lines, clocks.tsc_khz) == ({}, None)
    assert {d.where for d in other.notes.diagnostics()} == {"clocks", "CPUs' clocks"}
