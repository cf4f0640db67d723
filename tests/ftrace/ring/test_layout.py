"""Regions from the test-side writer, in every layout, and the order their pages are read in."""

from __future__ import annotations

import struct

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.support.ring.region_strategies import LAYOUTS, SUBBUF_SIZES, payload, region_scripts
from tests.support.ring.region_writer import (
    Region,
    RingBuffer,
    layout_612,
    layout_615,
    subbufs_that_fit,
)
from tracekit.errors import ParseError
from tracekit.ftrace.ring.layout import CLOCKS, parse_layout

RELAXED = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])


def check_order(region: Region) -> None:
    layout = parse_layout(region.data, "test")
    assert layout.diagnostics == ()
    assert len(layout.cpus) == len(region.rings)
    for cpu, found in enumerate(layout.cpus):
        ring, place = region.rings[cpu], region.places[cpu]
        assert (found.cpu, found.meta_offset) == (cpu, place.meta)
        assert (found.subbuf_size, found.nr_subbufs) == (ring.subbuf_size, ring.nr_subbufs)
        order = [place.subbufs + slot * ring.subbuf_size for slot in ring.reading_order()]
        assert list(found.pages) == order
        assert found.ordered
        if found.wrapped is not None:
            assert found.wrapped == (ring.pushed > 0)
            assert found.wrapped or ring.overwritten == 0


@RELAXED
@given(region_scripts(), st.sampled_from(sorted(LAYOUTS)))
def test_pages_come_in_reading_order(script, kind):
    check_order(LAYOUTS[kind](script.play()))


@pytest.mark.parametrize("kind", sorted(LAYOUTS))
@pytest.mark.parametrize("subbuf_size", SUBBUF_SIZES)
@pytest.mark.parametrize("cpus", range(1, 9))
def test_every_layout_sub_buffer_size_and_cpu_count(kind, subbuf_size, cpus):
    rings = [RingBuffer(5, subbuf_size) for _ in range(cpus)]
    size = subbuf_size // 8
    for cpu, ring in enumerate(rings):
        for i in range(10 * cpu):  # from nothing at all to more than once around
            ring.write(1000 + i, payload(i, size))
        if cpu % 3 == 2:
            ring.read_page()
    check_order(LAYOUTS[kind](rings))


def test_the_scratch_area():
    modules = ((0xFFFF_FFFF_C000_0000, "xfs"), (0xFFFF_FFFF_C010_0000, "a" * 55))
    for clock_id, clock in enumerate(CLOCKS):
        region = layout_615([RingBuffer()], clock_id=clock_id, text_addr=0x1234, modules=modules)
        layout = parse_layout(region.data, "test")
        assert (layout.clock, layout.text_address) == (clock, 0x1234)
        assert layout.modules == modules


def test_layout_612_has_no_clock_and_a_text_address():
    layout = parse_layout(layout_612([RingBuffer()], text_addr=0x77).data, "test")
    assert (layout.clock, layout.text_address, layout.modules) == (None, 0x77, ())


@pytest.mark.parametrize(("total", "cpus"), [(1 << 20, 1), (1 << 20, 40), (789 * 4096, 3)])
def test_regions_as_the_kernel_divides_them(total, cpus):
    count = subbufs_that_fit(total, cpus, 4096)
    check_order(layout_615([RingBuffer(count) for _ in range(cpus)], total_size=total))
    count = subbufs_that_fit(total, cpus, 4096, meta=56, lead=0)
    check_order(layout_612([RingBuffer(count) for _ in range(cpus)], total_size=total))


def test_a_region_without_any_scratch_area():
    check_order(layout_615([RingBuffer(), RingBuffer()], scratch_size=24))


@pytest.mark.parametrize("data", [b"", b"\0" * 95, b"\0" * 4096, bytes(range(256)) * 64])
def test_what_is_no_ring_buffer_is_refused(data):
    with pytest.raises(ParseError):
        parse_layout(data, "test")


@pytest.mark.parametrize(
    ("head", "named"),
    [
        (struct.pack(">II", 0x0BADFEED, 24 << 16 | 32), "a big-endian kernel"),
        (struct.pack(">II", 0x0BADFEED, 56), "a big-endian kernel"),
        (struct.pack("<II", 0x0BADFEED, 16 << 16 | 20), "a 32-bit kernel"),
        (struct.pack("<II", 0x0BADFEED, 36), "a 32-bit kernel"),
    ],
)
def test_buffers_of_other_machines_are_refused_by_name(head: bytes, named: str) -> None:
    with pytest.raises(ParseError, match=f"{named}; only those of 64-bit little-endian"):
        parse_layout(head + bytes(1 << 14), "region")
