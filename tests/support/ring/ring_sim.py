"""A simulation of one CPU's ring buffer: what the kernel's writer and reader leave in memory.

Written from kernel/trace/ring_buffer.c of Linux 7.2.13 and *apart from tracekit's own reader*, so
that the two can be tested against each other. Function names in the comments are that file's.
Plain and slow on purpose.

Pages are named twice, as in the kernel: a *slot* is a place in memory, a *logical* number is a
place in ``buffers[]``; logical 0 is the reader page, 1..n-1 are the ring in order.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence

from tests.support.ring.ring_events import (
    HEADER,
    MISSED_EVENTS,
    MISSED_STORED,
    U64,
    Event,
    Page,
    UserPage,
    fix_absolute,
    timestamps,
)
from tests.support.ring.ring_writer import RingWriter

__all__ = ["RingBuffer"]


class RingBuffer(RingWriter):
    """One CPU's ring buffer, with the reader and what a later boot finds of it."""

    # ---- the reader

    def _get_reader_page(self) -> Page | None:
        """__rb_get_reader_page(): the page to read, swapped in from the head if need be."""
        for _ in range(self.nr_subbufs + 1):
            reader = self.page(0)
            if self._read_pos < reader.size:
                if self._read_pos == 0:
                    self._read_stamp = reader.time_stamp
                return reader
            if self.commit == 0 or self.written - self.overwritten - self.read <= 0:
                return None
            self._clear(reader)
            logical = self.head  # rb_update_meta_reader: the two change places
            self.buffers[0], self.buffers[logical] = self.buffers[logical], self.buffers[0]
            self._list_start = self.nr_subbufs - 1 if logical == 1 else logical - 1
            self.head = self._next(logical)
            self.tail = 0 if self.tail == logical else self.tail
            self.commit = 0 if self.commit == logical else self.commit
            self._read_pos = 0
            if self.overwritten != self._last_overrun:
                self._lost = self.overwritten - self._last_overrun
                self._last_overrun = self.overwritten
            elif not self._lost and self.page(0).commit & (1 << 31):
                self._lost = -1
        return None

    def _clear(self, page: Page) -> None:
        page.write, page.real_end, page.events, page.commit = 0, 0, [], 0
        if self.clears_stamp:
            page.time_stamp = 0

    def read_page(self, *, full: bool = False) -> UserPage | None:
        """ring_buffer_read_page(): what one read of ``trace_pipe_raw`` gives, and consumes."""
        page = self._get_reader_page()
        if page is None or (full and self.commit == 0):
            return None
        read, size, base = self._read_pos, page.size, self._read_stamp
        out = bytearray(self.subbuf_size)
        events = [event for event in page.events if read <= event.start and event.end <= size]
        swapped = not (read or self.commit == 0 or self.static)
        if swapped:
            base = page.time_stamp
            if page.real_end:
                size = page.real_end
            self.pages[self.buffers[0]] = Page(bytearray(self.subbuf_size))
            self._read_pos = 0
        else:
            self._read_pos = size
        out[HEADER : HEADER + size - read] = page.memory[HEADER + read : HEADER + size]
        commit = size - read
        self._advance(events)
        missed, self._lost = self._lost, 0
        stored = missed > 0 and self.capacity - commit >= 8
        if stored:
            struct.pack_into("<q", out, HEADER + commit, missed)
            commit += MISSED_STORED
        if missed:
            commit += MISSED_EVENTS
        struct.pack_into("<QQ", out, 0, base, commit & U64)
        for event, ts in zip(events, timestamps(base, events), strict=True):
            event.read_ts = ts
        kept = tuple(event for event in events if not event.discarded)
        return UserPage(bytes(out), kept, missed, stored)

    def _advance(self, events: Sequence[Event]) -> None:
        """rb_advance_reader() over these events: the running stamp skips discarded ones."""
        for event in events:
            if event.stamp == "absolute":
                self._read_stamp = fix_absolute(event.stamp_value, self._read_stamp)
            elif event.stamp == "extend":
                self._read_stamp += event.stamp_value
            if not event.discarded:
                self._read_stamp += event.delta
                self.read += 1

    def reset(self) -> None:
        """rb_reset_cpu(): ``echo > trace``. What is written stays on the pages, past the commit."""
        for page in self.pages:
            self._clear(page)
        self.head = self.tail = self.commit = self._list_start
        self.written = self.overwritten = self.dropped = self.commit_overrun = self.read = 0
        self.pushed = 0
        self._before = self._write_stamp = self._nest = 0
        self._read_pos = self._lost = self._last_overrun = 0

    # ---- what a later boot can find

    def reading_order(self) -> list[int]:
        """Slots in reading order: the reader page, then from the head to the commit page."""
        if not self.online:
            return []
        order, logical = [0], self.head
        if self.commit != 0:
            order.append(logical)
            while logical != self.commit:
                logical = self._next(logical)
                order.append(logical)
        return [self.buffers[logical] for logical in order]

    def on_page(self, slot: int) -> list[Event]:
        """The events that one page's commit covers, with ``read_ts`` filled in."""
        page = self.pages[slot]
        if page.size > self.capacity:
            return []
        events = [event for event in page.events if event.end <= page.size]
        for event, ts in zip(events, timestamps(page.time_stamp, events), strict=True):
            event.read_ts = ts
        return [event for event in events if not event.discarded]

    def expected(self) -> list[Event]:
        """Every event left in memory, in reading order.

        Events already read off the reader page are among them: how far it was read is kept
        outside the region (struct buffer_page's ``read``).
        """
        return [event for slot in self.reading_order() for event in self.on_page(slot)]

    def inject_invalid(self) -> None:
        """rb_test_inject_invalid_pages(): commits past the page, as a test of the recovery."""
        for i, slot in enumerate(self.buffers):
            page = self.pages[slot]
            if not page.commit:
                continue
            if i % 2 == 0 or i % 5 == 0:
                page.commit += self.subbuf_size + 1
                self.nr_invalid += 1
            else:
                self.entry_bytes += page.size

    def invalidate(self, slot: int) -> None:
        """What __rb_validate_buffer() leaves of a page a re-attaching kernel could not read."""
        page = self.pages[slot]
        page.commit, page.events = MISSED_EVENTS, []
