"""The test-side writer against reality: real regions, decoded here, written again, compared.

The decoder in this file is deliberately simple and belongs to the test alone.

Result: whole 4 and 8 MiB regions of real kernels come out byte for byte, so do the pages of
``trace_pipe_raw``. Two things about a real page cannot be seen in it and are inferred:

- An absolute stamp (type 31) means that the writer's two saved stamps differed, because the event
  interrupted another or because the event before it was discarded. :func:`replay` gets the same
  by discarding an event.
- An event that would have fitted on a page may stand on the next: it needed eight bytes more for
  such a stamp (which a page's first event never carries), or a longer event moved on to the new
  page and was discarded there. :func:`replay` does the latter.

What could differ but does not in these captures: bytes past the commit, left there by events
reserved and then discarded, and alignment bytes (the replay writes them as payload).
"""

from __future__ import annotations

import json
import struct
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.ring.region_writer import (
    HEADER,
    MISSED_EVENTS,
    MISSED_STORED,
    RingBuffer,
    Write,
    elf_core,
    layout_612,
    layout_615,
    subbufs_that_fit,
    user_page,
)
from tests.support.ring.ring_events import Event, event_length, timestamps

U64 = (1 << 64) - 1


def segments(core: bytes) -> list[tuple[int, bytes]]:
    """(physical address, bytes) of every PT_LOAD of an ELF core."""
    table, count = struct.unpack_from("<Q", core, 32)[0], struct.unpack_from("<H", core, 56)[0]
    out = []
    for i in range(count):
        kind, _, offset, _, address, size, _, _ = struct.unpack_from(
            "<IIQQQQQQ", core, table + 56 * i
        )
        if kind == 1:
            out.append((address, core[offset : offset + size]))
    return out


def real_regions(boot: Path) -> dict[str, bytes]:
    """The regions that regions.json names, out of the capture's kcore."""
    wanted = json.loads((boot / "regions.json").read_text())
    loads = segments((boot / "proc/kcore").read_bytes())
    out = {}
    for name, (address, size) in wanted.items():
        for start, data in loads:
            if start <= address < start + len(data):
                out[name] = data[address - start : address - start + size]
    return out


def records(page: bytes) -> Iterator[tuple[int, bytes, str]]:
    """(time, payload, kind of stamp) of the events on a page."""
    now, commit = struct.unpack_from("<QQ", page)
    at, end, stamp = HEADER, HEADER + (commit & 0x3FFF_FFFF), ""
    while at < end:
        word, extra = struct.unpack_from("<II", page, at)
        kind, delta = word & 31, word >> 5
        if kind == 29:
            at += 4 + extra
        elif kind == 30:
            now, at, stamp = now + (extra << 27) + delta, at + 8, "extend"
        elif kind == 31:
            now, at, stamp = (extra << 27) + delta, at + 8, "absolute"
        else:
            now += delta
            size = 4 * kind or extra - 4
            at += 4 if kind else 8
            yield now, page[at : at + size], stamp
            at, stamp = at + size, ""


def replay(ring: RingBuffer, pages: list[bytes]) -> None:
    """Write the events of real pages again, with the discards that their stamps betray."""
    for page in pages:
        for i, (ts, payload, stamp) in enumerate(records(page)):
            current = ring.page(ring.tail)
            fits = current.write + event_length(len(payload)) <= ring.capacity
            if stamp == "absolute":
                ring.discard(ts, b"")
            elif i == 0 and current.write and fits:
                ring.discard(ts, bytes(ring.capacity - 8))
            assert ring.write(ts, payload)


def split(data: bytes, size: int) -> list[bytes]:
    return [data[at : at + size] for at in range(0, len(data), size)]


REAL = [
    ("same-boot-7.2", "old", "tkA", 5_018),
    ("same-boot-wide-7.2", "old", "tkA", 101_519),
    ("handover-7.2-tsc", "new", "tkA", 52_104),
    ("handover-7.2-tsc", "new", "tkB", 0),
    ("handover-7.2-to-7.3-tsc", "new", "tkA", 50_455),
]


@pytest.mark.slow
@pytest.mark.parametrize(("name", "boot", "region", "events"), REAL)
def test_a_real_region_written_again_is_the_same_bytes(capture, name, boot, region, events):
    real = real_regions(capture(name) / boot)[region]
    _, _, total, start = struct.unpack_from("<iiQQ", real)
    clock, text, modules = struct.unpack_from("<I4xQQ", real, 24)
    assert modules == 0

    cpus, at, rings, base_va = 2, start, [], 0
    for _ in range(cpus):
        first, head, commit, subbuf_size, count = struct.unpack_from("<QQQII", real, at)
        subbufs = -(-(at + 32 + 4 * count) // subbuf_size) * subbuf_size
        base_va = first - subbufs
        slots = split(real[subbufs : subbufs + count * subbuf_size], subbuf_size)
        assert (head - first) // subbuf_size == 1
        ring = RingBuffer(count, subbuf_size)
        replay(ring, slots[1 : (commit - first) // subbuf_size + 1])
        rings.append(ring)
        at = subbufs + count * subbuf_size

    assert count == subbufs_that_fit(total, cpus, subbuf_size)
    mine = layout_615(rings, clock_id=clock, text_addr=text, total_size=total, base_va=base_va)
    assert mine.data == real
    assert sum(map(len, mine.expected)) == events


@pytest.mark.parametrize("name", ["handover-7.2-tsc", "handover-7.2-to-7.3-tsc"])
@pytest.mark.parametrize("cpu", [0, 1])
def test_trace_pipe_raw_written_again_is_the_same_bytes(capture, name, cpu):
    """The new kernel's global buffer: pages swapped out whole, the last one copied."""
    tracefs = capture(name) / "new/sys/kernel/tracing"
    real = split((tracefs / f"per_cpu/cpu{cpu}/trace_pipe_raw").read_bytes(), 4096)
    assert real
    ring = RingBuffer(len(real) + 2, 4096, static=False)
    replay(ring, real)
    for page in real:
        mine = ring.read_page()
        assert mine is not None
        assert mine.missed == 0
        assert mine.data == page
        assert [(e.read_ts, e.data) for e in mine.events] == [r[:2] for r in records(page)]
    assert ring.read_page() is None


def payload(number: int, size: int = 16) -> bytes:
    return struct.pack("<HBBi", 1, 0, 0, number).ljust(size, bytes([number & 255]))


def numbers(events: tuple[Event, ...] | list[Event]) -> list[int]:
    return [struct.unpack_from("<i", event.data, 4)[0] for event in events]


def test_lengths():
    assert [event_length(n) for n in (0, 1, 4, 5, 8, 9, 12, 13)] == [8, 8, 8, 16, 16, 16, 16, 20]
    assert [event_length(n) for n in (111, 112, 113, 116)] == [116, 116, 124, 124]
    assert [event_length(n, True) for n in (1, 8, 9, 112)] == [16, 16, 24, 120]


def test_the_oldest_page_is_overwritten_and_counted():
    ring = RingBuffer(4, 4096)
    per_page = ring.capacity // 104
    for i in range(10 * per_page):
        assert ring.write(1000 + i, payload(i, 100))
    left = numbers(ring.expected())
    assert left == list(range(7 * per_page, 10 * per_page))
    assert (ring.written, ring.overwritten) == (10 * per_page, 7 * per_page)
    assert ring.buffers == [0, 1, 2, 3]
    assert (ring.head, ring.commit) == (2, 1)


def test_without_overwriting_new_events_are_dropped():
    ring = RingBuffer(4, 4096, overwrite=False)
    per_page = ring.capacity // 104
    done = [ring.write(1000 + i, payload(i, 100)) for i in range(4 * per_page)]
    assert done == [True] * 3 * per_page + [False] * per_page
    assert (ring.written, ring.dropped) == (3 * per_page, per_page)
    assert numbers(ring.expected()) == list(range(3 * per_page))


def test_reading_swaps_the_reader_page_with_the_head():
    ring = RingBuffer(4, 4096)
    per_page = ring.capacity // 104
    for i in range(2 * per_page + 1):
        ring.write(1000 + i, payload(i, 100))
    first = ring.read_page()
    assert first is not None
    assert numbers(first.events) == list(range(per_page))
    assert ring.buffers == [1, 0, 2, 3]
    assert ring.head == 2
    # What was read off the reader page is still in memory, and only there is that known.
    assert numbers(ring.expected()) == list(range(2 * per_page + 1))
    ring.read_page()
    assert ring.buffers == [2, 0, 1, 3]
    ring.read_page()
    assert ring.buffers == [3, 0, 1, 2]
    assert ring.commit == 0  # the writer is on the reader page
    ring.write(9000, payload(9000))
    assert numbers(ring.expected()) == [2 * per_page, 9000]
    assert ring.read_page() is not None
    assert ring.read_page() is None


def test_lost_events_are_flagged_and_counted_on_pages_for_user_space():
    ring = RingBuffer(4, 4096)
    per_page = ring.capacity // 104
    for i in range(5 * per_page):
        ring.write(1000 + i, payload(i, 100))
    page = ring.read_page()
    assert page is not None
    lost = 2 * per_page
    assert (page.missed, page.stored) == (lost, False)  # the padding leaves no room
    commit = struct.unpack_from("<Q", page.data, 8)[0]
    assert commit == ring.capacity + MISSED_EVENTS

    swapping = RingBuffer(4, 4096, static=False)
    for i in range(5 * per_page):
        swapping.write(1000 + i, payload(i, 100))
    page = swapping.read_page()
    assert page is not None
    assert (page.missed, page.stored) == (lost, True)  # real_end leaves the padding out
    commit = struct.unpack_from("<Q", page.data, 8)[0]
    assert commit == per_page * 104 + MISSED_EVENTS + MISSED_STORED & U64
    assert struct.unpack_from("<q", page.data, HEADER + per_page * 104) == (lost,)
    again = user_page(1000 + lost, page.data[HEADER : HEADER + per_page * 104], missed=lost)
    assert again == page.data


def test_time_stamps_of_every_kind():
    ring = RingBuffer(4, 4096)
    ring.write(1 << 30, payload(0))
    ring.write((1 << 30) + (1 << 27) - 1, payload(1))  # the longest plain delta
    ring.write((1 << 30) + (1 << 28), payload(2))
    ring.discard((1 << 30) + (1 << 28) + 5, payload(99))
    ring.write((1 << 30) + (1 << 28) + 9, payload(3))
    ring.write(1 << 20, payload(4))  # the clock goes back: an extend of nothing
    events = ring.expected()
    assert [event.stamp for event in events] == [None, None, "extend", "absolute", "extend"]
    assert [event.read_ts for event in events[:4]] == [event.ts for event in events[:4]]
    assert events[4].read_ts == events[3].ts > events[4].ts


def test_the_five_top_bits_come_from_the_running_stamp():
    top = 0xA8 << 56
    ring = RingBuffer(4, 4096)
    ring.write(top + 100, payload(0))
    ring.discard(top + 101, payload(1))
    ring.write(top + 200, payload(2))
    ring.discard(top + 201, payload(3))
    ring.write(top + (1 << 59) + 7, payload(4))  # meanwhile the sixth bit from the top went up
    events = ring.expected()
    assert [event.read_ts for event in events] == [event.ts for event in events]
    assert all(event.stamp_value < 1 << 59 for event in events)


def test_interrupts():
    inner = Write(1010, payload(2), at="stamp")
    ring = RingBuffer(4, 4096)
    ring.write(1000, payload(0))
    ring.write(1005, payload(1), interrupts=(inner,), resume_ts=1020)
    ring.write(1030, payload(3))
    events = ring.expected()
    assert numbers(events) == [0, 2, 1, 3]
    assert [event.stamp for event in events] == [None, "absolute", None, "absolute"]
    assert [event.read_ts for event in events] == [1000, 1010, 1020, 1030]

    ring.write(1040, payload(4), discard=True, interrupts=(Write(1045, payload(5)),))
    assert ring.page(1).events[-2].discarded
    assert (numbers(ring.expected())[-1], ring.expected()[-1].read_ts) == (5, 1045)

    ring.write(1050, payload(6), unfinished=True, interrupts=(Write(1055, payload(7)),))
    ring.write(1060, payload(8))
    assert numbers(ring.expected())[-1] == 5  # nothing after an event that never committed


def test_an_interrupt_storm_runs_into_the_commit_page():
    storm = tuple(Write(1001 + i, payload(i, 100)) for i in range(500))
    ring = RingBuffer(4, 4096)
    ring.write(1000, payload(0), interrupts=storm)
    assert ring.commit_overrun > 0
    assert numbers(ring.expected()) == [0, *range(3 * (ring.capacity // 104))]


def test_absolute_mode_and_eight_byte_alignment():
    for ring in (RingBuffer(4, absolute=True), RingBuffer(4, force_8byte=True)):
        for i in range(300):
            assert ring.write(1000 + i, payload(i, 100))
        assert [event.read_ts for event in ring.expected()] == [
            event.ts for event in ring.expected()
        ]
    assert all(event.body % 8 == 0 for event in ring.expected())


def test_timestamps_leave_out_a_delta_of_one_on_discarded_events():
    def event(delta: int, discarded: bool) -> Event:
        return Event(0, b"", 0, 0, 0, None, 0, delta, discarded)

    events = [event(0, False), event(1, True), event(5, True), event(2, False)]
    assert timestamps(100, events) == [100, 100, 105, 107]


def test_offline_and_empty_cpus():
    region = layout_615([RingBuffer(4), RingBuffer(4, online=False)])
    pointers = [struct.unpack_from("<QQQ", region.data, place.pointers) for place in region.places]
    assert pointers[0][1] == pointers[0][2] == pointers[0][0] + 4096
    assert pointers[1][1:] == (0, 0)
    assert region.expected == ((), ())


def test_layout_612_gives_every_cpu_its_magic():
    rings = [RingBuffer(5), RingBuffer(5), RingBuffer(5)]
    for i, ring in enumerate(rings):
        ring.write(1000, payload(i))
    total = 1 << 20
    region = layout_612(rings, total_size=total)
    assert len(region.data) == total
    for place in region.places:
        assert struct.unpack_from("<Ii", region.data, place.meta) == (0x0BADFEED, 56)
    assert subbufs_that_fit(1 << 20, 2, 4096, meta=56, lead=0) == 127


def test_elf_core_round_trip():
    parts = [(0x7D600000, b"a" * 5000), (0x7D200000, b"b" * 100)]
    assert segments(elf_core(parts)) == parts
