"""Records from the test-side writer: every event, nothing else, and what was lost."""

from __future__ import annotations

import dataclasses
import struct

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.support.ring.reader_helpers import decode, seen, wanted
from tests.support.ring.region_strategies import LAYOUTS, payload, region_scripts
from tests.support.ring.region_writer import (
    MISSED_EVENTS,
    Event,
    Region,
    RingBuffer,
    Write,
    layout_615,
    user_page,
)
from tracekit.ftrace.format import HeaderPage
from tracekit.ftrace.ring.page import RecordHeader, Records, read_pages

RELAXED = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])


def said(data: bytes, records: Records) -> list[tuple[int, bytes, int, int, int, int]]:
    return [dataclasses.astuple(each)[:6] for each in seen(data, records)]


def check_events(region: Region) -> None:
    decoded = decode(region.data)
    for records, expected in zip(decoded.records, region.expected, strict=True):
        assert said(region.data, records) == wanted(expected)
        assert (records.missed, records.missed_unknown, records.unreadable) == (0, 0, 0)
        assert sum(page.events for page in records.pages()) == len(records) == len(expected)


@RELAXED
@given(region_scripts(), st.sampled_from(sorted(LAYOUTS)))
def test_every_event_is_read_and_nothing_else(script, kind):
    region = LAYOUTS[kind](script.play())
    check_events(region)
    assert decode(region.data).diagnostics == []


def read_user_pages(pages: list[bytes], size: int) -> tuple[bytes, Records]:
    data = b"".join(pages)
    offsets = range(0, len(data), size)
    return data, read_pages(data, offsets, size, 0, "test", HeaderPage(), RecordHeader())


@RELAXED
@given(region_scripts(max_cpus=1), st.booleans())
def test_pages_as_user_space_reads_them(script, static):
    options = (*script.options, ("static", static))
    script = dataclasses.replace(script, options=options, offline=frozenset(), unfinished=False)
    (ring,) = script.play()
    pages = []
    while (page := ring.read_page()) is not None:
        pages.append(page)
    data, records = read_user_pages([page.data for page in pages], ring.subbuf_size)
    events = [event for page in pages for event in page.events]
    assert said(data, records) == wanted(events)
    assert records.missed == sum(page.missed for page in pages if page.stored)
    assert records.missed_unknown == sum(bool(page.missed) and not page.stored for page in pages)
    assert records.unreadable == 0


@pytest.mark.parametrize("size", [4096, 16384, 65536])
@pytest.mark.parametrize("extended", [True, False])
def test_missed_events_on_pages_for_user_space(size, extended):
    ring = RingBuffer(3, size)
    ring.write(1000, payload(1))
    events = bytes(ring.page(1).memory[16:40])
    made = [
        user_page(1, events, page_size=size, sign_extended=extended),
        user_page(2, events, missed=1, page_size=size, sign_extended=extended),
        user_page(3, events, missed=1 << 40, page_size=size, sign_extended=extended),
        user_page(4, events, missed=-1, page_size=size, sign_extended=extended),
        user_page(5, events, missed=7, stored=False, page_size=size, sign_extended=extended),
    ]
    data, records = read_user_pages(made, size)
    assert [page.missed for page in records.pages()] == [0, 1, 1 << 40, -1, -1]
    assert (records.missed, records.missed_unknown) == ((1 << 40) + 1, 2)
    assert [each[0] for each in said(data, records)] == [1, 2, 3, 4, 5]


def test_a_page_that_a_later_boot_has_given_up():
    ring = RingBuffer(4)
    for i in range(3 * 39):
        ring.write(1000 + i, payload(i, 100))
    ring.invalidate(2)
    assert ring.pages[2].commit == MISSED_EVENTS
    region = layout_615([ring])
    decoded = decode(region.data)
    assert said(region.data, decoded.records[0]) == wanted(region.expected[0])
    assert decoded.records[0].missed_unknown == 1
    assert [d.code for d in decoded.diagnostics] == ["events-missed-unknown"]


def test_the_kernel_s_own_injected_commits_past_the_page():
    ring = RingBuffer(8)
    for i in range(7 * 39):
        ring.write(1000 + i, payload(i, 100))
    ring.inject_invalid()
    assert ring.nr_invalid == 4  # logical 2, 4, 5, 6
    region = layout_615([ring], inject=True)
    records = decode(region.data).records[0]
    assert said(region.data, records) == wanted(region.expected[0])
    assert [d.code for d in records.diagnostics] == ["page-commit-beyond"] * 4
    assert records.unreadable == 4


def test_records_too_short_for_the_common_fields():
    ring = RingBuffer(3)
    ring.write(1000, b"abcd")
    ring.write(1001, payload(1))
    ring.write(1002, b"")
    region = layout_615([ring])
    records = decode(region.data).records[0]
    assert [each[0] for each in said(region.data, records)] == [1001]
    assert records.unreadable == 2
    assert [d.code for d in records.diagnostics] == ["page-short-record"]


@pytest.mark.parametrize("top", [0, 0x10 << 56, 0xF8 << 56])
def test_absolute_stamps(top):
    ring = RingBuffer(4, absolute=True)
    for i in range(100):
        ring.write(top + (1 << 58) + (i << 40), payload(i, 100))
    check_events(layout_615([ring]))


def test_absolute_stamps_across_the_59th_bit():
    ring = RingBuffer(4)
    carry = 0xB0 << 56
    ring.write(carry - 100, payload(1))
    ring.discard(carry - 99, payload(2))
    ring.write(carry + 7, payload(3))
    check_events(layout_615([ring]))


@pytest.mark.parametrize("top", [0, 0xA8 << 56])
def test_an_absolute_stamp_that_goes_back_a_little_stays_near(top):
    """A clock stepped back by a microsecond must not put events 18 years into the future.

    rb_fix_abs_ts() takes any step back for an overflow of the 59 bits if the five above them are
    in use; the true time is the nearer one.
    """
    ring = RingBuffer(4)
    ring.write(top + 5000, payload(1))
    ring.discard(top + 5001, payload(2))
    ring.write(top + 4000, payload(3))
    region = layout_615([ring])
    (records,) = decode(region.data).records
    assert [each[0] for each in said(region.data, records)] == [top + 5000, top + 4000]


def test_the_clock_crosses_59_bits_for_the_first_time():
    """Here the kernel's own reading is 18 years early (rb_fix_abs_ts() wants top bits set)."""
    ring = RingBuffer(4)
    ring.write((1 << 59) - 5, payload(1))
    ring.discard((1 << 59) - 4, payload(2))
    ring.write((1 << 59) + 5, payload(3))
    region = layout_615([ring])
    (records,) = decode(region.data).records
    assert [each[0] for each in said(region.data, records)] == [(1 << 59) - 5, (1 << 59) + 5]


def test_the_clock_goes_back_within_a_page():
    ring = RingBuffer(4)
    for i, ts in enumerate((5000, 6000, 5500, 5600, 7000)):
        ring.write(ts, payload(i))
    check_events(layout_615([ring]))  # the kernel writes no negative deltas: 5500 is read as 6000


def test_discarded_events_are_counted():
    ring = RingBuffer(4)
    ring.write(1000, payload(1))
    inner = (Write(1020, payload(3)),)
    ring.write(1010, payload(2), discard=True, interrupts=inner)
    region = layout_615([ring])
    check_events(region)
    assert list(decode(region.data).records[0].pages())[1].discarded == 1


def test_padding_in_the_middle_of_the_committed_part_is_not_dropped_in_silence():
    """The kernel's commit never covers padding without a length (rb_reset_tail)."""
    ring = RingBuffer(3)
    for i in range(10):
        ring.write(1000 + i, payload(i))
    region = layout_615([ring])
    data = bytearray(region.data)
    event: Event = region.expected[0][4]
    at = region.places[0].subbufs + event.slot * 4096 + 16 + event.start
    struct.pack_into("<I", data, at, 29)
    (records,) = decode(bytes(data)).records
    assert len(records) == 4
    assert [d.code for d in records.diagnostics] == ["page-bad-padding"]
    assert records.unreadable == 1
