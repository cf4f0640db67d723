"""Damaged regions: what is not damaged is read in full, the rest becomes diagnostics, in time."""

from __future__ import annotations

import contextlib
import dataclasses
import struct
from collections import Counter

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.support.ring.reader_helpers import Seen, decode, seen, wanted
from tests.support.ring.region_strategies import (
    DAMAGES,
    LAYOUTS,
    Damage,
    damages,
    payload,
    region_scripts,
)
from tests.support.ring.region_writer import Event, Region, RingBuffer, layout_615, subbufs_that_fit
from tracekit.errors import ParseError
from tracekit.ftrace.format import HeaderPage
from tracekit.ftrace.ring.layout import parse_layout
from tracekit.ftrace.ring.page import RecordHeader, read_pages

RELAXED = settings(
    deadline=None,
    max_examples=40,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)


def slot_of(region: Region, cpu: int, each: Seen | Event) -> int:
    if isinstance(each, Event):
        return each.slot
    return (each.at - region.places[cpu].subbufs) // region.rings[cpu].subbuf_size


def content(events: list[Seen] | tuple[Seen, ...]) -> list[tuple[int, bytes, int, int, int, int]]:
    return [dataclasses.astuple(each)[:6] for each in events]


def check(region: Region, damage: Damage) -> None:
    hurt_all = len(damage.cpus) == len(region.rings)
    try:
        decoded = decode(damage.data)
    except ParseError:
        assert damage.header or hurt_all, "some CPUs' data are whole, yet the region is refused"
        return
    for d in decoded.diagnostics:
        assert d.code
        assert d.where
        assert d.message
    for found in decoded.layout.cpus:
        assert len(found.pages) == len(set(found.pages))  # nothing is read twice
    if damage.header:
        return
    for cpu, expected in enumerate(region.expected):
        if cpu in damage.cpus:
            continue
        index = decoded.at(region.places[cpu].meta)
        if index is None and not expected:
            continue  # it never held anything, so nothing but its meta data tells of it
        assert index is not None
        assert decoded.layout.cpus[index].cpu == cpu
        bad = {slot for owner, slot in damage.pages if owner == cpu}
        whole = [event for event in expected if event.slot not in bad]
        got = [e for e in decoded.events[index] if slot_of(region, cpu, e) not in bad]
        assert content(got) == wanted(whole)
    found = [each for events in decoded.events for each in content(events)]
    hurt = {(owner, slot) for owner, slot in damage.pages}
    for cpu in damage.cpus:
        whole = [e for e in region.expected[cpu] if (cpu, e.slot) not in hurt]
        lost = Counter(wanted(whole)) - Counter(found)
        assert decoded.diagnostics or not lost
    if damage.kind == "truncate" and region.layout != "6.12":  # 6.12 does not record its size
        assert decoded.diagnostics


@RELAXED
@pytest.mark.parametrize("kind", sorted(DAMAGES))
@given(st.data(), region_scripts(max_cpus=4, max_steps=15), st.sampled_from(sorted(LAYOUTS)))
def test_the_rest_is_read_in_full(kind, data, script, layout):
    region = LAYOUTS[layout](script.play())
    check(region, data.draw(damages(region, kind)))


@RELAXED
@given(st.data(), region_scripts(max_cpus=3, subbuf_sizes=(4096,), max_steps=10))
def test_one_damage_upon_another(data, script):
    region = layout_615(script.play())
    damaged = region
    for _ in range(4):
        damage = data.draw(damages(damaged))
        if len(damage.data) < len(damaged.data):
            break
        damaged = dataclasses.replace(damaged, data=damage.data)
    with contextlib.suppress(ParseError):
        decode(damage.data)


@RELAXED
@given(st.binary(max_size=20_000), st.booleans())
def test_rubbish(rubbish, with_magic):
    if with_magic:
        rubbish = struct.pack("<I", 0x0BADFEED) + rubbish
    with contextlib.suppress(ParseError):
        decode(rubbish)


@RELAXED
@given(st.integers(0, (1 << 64) - 1), st.integers(0, (1 << 64) - 1), st.binary(max_size=4080))
def test_a_page_of_rubbish(ts, commit, rubbish):
    page = struct.pack("<QQ", ts, commit) + rubbish.ljust(4080, b"\0")
    records = read_pages(page, [0], 4096, 0, "test", HeaderPage(), RecordHeader())
    for each in seen(page, records):
        assert 16 <= each.at <= 4096
        assert 16 <= each.at + len(each.data) <= 4096
        assert len(each.data) >= 8


def full(cpus: int = 2, count: int = 6) -> Region:
    rings = [RingBuffer(count) for _ in range(cpus)]
    for ring in rings:
        for i in range((count + 2) * 39):
            ring.write(1000 + i, payload(i, 100))
    return layout_615(rings)


@pytest.mark.parametrize("value", [4081, 4084, 4097, 0x3FFF_FFFF, 1 << 40, (1 << 63) | 8])
def test_a_commit_past_the_page_is_said_and_counted(value):
    region = full()
    at = region.places[0].subbufs + region.rings[0].reading_order()[2] * 4096 + 8
    data = region.data[:at] + struct.pack("<Q", value) + region.data[at + 8 :]
    decoded = decode(data)
    assert [d.code for d in decoded.diagnostics] == ["page-commit-beyond"]
    assert [records.unreadable for records in decoded.records] == [1, 0]
    assert [len(events) for events in decoded.events] == [4 * 39, 5 * 39]


@pytest.mark.parametrize("kind", [0, 29 | 2 << 5])
@pytest.mark.parametrize("size", [0, 3, 4081, 1 << 31, (1 << 32) - 1])
def test_an_absurd_length_ends_the_page_and_is_said(kind, size):
    region = full()
    event = region.expected[1][39 + 20]
    at = region.places[1].subbufs + event.slot * 4096 + 16 + event.start
    data = region.data[:at] + struct.pack("<II", kind, size) + region.data[at + 8 :]
    decoded = decode(data)
    code = "page-bad-padding" if kind else "page-record-beyond"
    assert [d.code for d in decoded.diagnostics] == [code]
    assert [records.unreadable for records in decoded.records] == [0, 1]
    assert [len(events) for events in decoded.events] == [5 * 39, 4 * 39 + 20]


@pytest.mark.parametrize("layout", sorted(LAYOUTS))
@pytest.mark.parametrize("cpus", [2, 5])
def test_any_one_cpu_s_destroyed_meta_leaves_the_others(layout, cpus):
    rings = [RingBuffer(5) for _ in range(cpus)]
    for cpu, ring in enumerate(rings):
        for i in range(50 * cpu + 1):
            ring.write(1000 + i, payload(i, 100))
    region = LAYOUTS[layout](rings)
    for cpu, place in enumerate(region.places):
        zeros = bytes(place.subbufs - place.meta)
        data = region.data[: place.meta] + zeros + region.data[place.subbufs :]
        decoded = decode(data)
        assert [len(events) for events in decoded.events] == [len(e) for e in region.expected]
        assert [d.code for d in decoded.layout.diagnostics if f"cpu {cpu}" in d.where]


@pytest.mark.parametrize("field", [0, 8, 16])
def test_a_wrong_pointer_drops_nothing(field):
    """First, head or commit off by one sub-buffer: the other CPU's pointers tell."""
    region = full()
    at = region.places[0].pointers + field
    (value,) = struct.unpack_from("<Q", region.data, at)
    data = region.data[:at] + struct.pack("<Q", value - 4096) + region.data[at + 8 :]
    decoded = decode(data)
    assert [len(events) for events in decoded.events] == [5 * 39, 5 * 39]
    assert decoded.layout.diagnostics


def test_destroyed_meta_of_a_big_region():
    total, cpus = 32 << 20, 8
    count = subbufs_that_fit(total, cpus, 4096)
    region = layout_615([RingBuffer(count) for _ in range(cpus)], total_size=total)
    place = region.places[3]
    data = region.data[: place.meta] + bytes(4096) + region.data[place.meta + 4096 :]
    layout = parse_layout(data, "test")
    assert len(layout.cpus) == cpus


def test_no_valid_meta_at_all():
    total = 64 << 20
    data = struct.pack("<iiQQ", 0x0BADFEED, 24 << 16 | 32, total, 0x2030) + bytes(total - 24)
    with pytest.raises(ParseError):
        parse_layout(data, "test")
