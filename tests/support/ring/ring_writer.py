"""The writer's half of the simulated ring buffer; see :mod:`tests.support.ring.ring_sim`."""

from __future__ import annotations

from typing import Any, Literal

from tests.support.ring.ring_events import (
    ABS_MASK,
    DELTA_BITS,
    DELTA_MASK,
    EXTEND,
    HEADER,
    MAX_SMALL,
    PADDING,
    TIME_EXTEND,
    TIME_STAMP,
    U64,
    Event,
    Page,
    Point,
    Write,
    event_length,
)

__all__ = ["RingWriter"]


class RingWriter:
    """One CPU's ring buffer as it is written: empty, its CPU online (``online=False``: never so).

    ``nr_subbufs`` counts the reader page. ``clears_stamp``: emptying a page also clears its time
    stamp (7.2: rb_init_data_page; 6.12 cleared the commit only, rb_init_page). ``force_8byte``:
    CONFIG_HAVE_64BIT_ALIGNED_ACCESS. ``static``: pages are copied to user space, never swapped
    away, which is so for persistent buffers (rb_is_static). ``absolute``: every event carries an
    absolute stamp (ring_buffer_set_time_stamp_abs).
    """

    def __init__(
        self,
        nr_subbufs: int = 6,
        subbuf_size: int = 4096,
        *,
        overwrite: bool = True,
        absolute: bool = False,
        force_8byte: bool = False,
        clears_stamp: bool = True,
        static: bool = True,
        online: bool = True,
    ) -> None:
        if nr_subbufs < 3:
            raise ValueError("the kernel wants two pages and the reader page")
        self.nr_subbufs, self.subbuf_size = nr_subbufs, subbuf_size
        self.overwrite, self.absolute, self.force_8byte = overwrite, absolute, force_8byte
        self.clears_stamp, self.static, self.online = clears_stamp, static, online
        self.pages = [Page(bytearray(subbuf_size)) for _ in range(nr_subbufs)]
        self.buffers = list(range(nr_subbufs))
        self.head = self.tail = self.commit = 1  # logical
        self.written = self.overwritten = self.dropped = self.commit_overrun = self.read = 0
        self.pushed = 0  # sub-buffers taken back from the head, with or without events on them
        self.nr_invalid = self.entry_bytes = 0  # CONFIG_RING_BUFFER_PERSISTENT_INJECT
        self._list_start = 1  # cpu_buffer->pages
        self._before = self._write_stamp = 0
        self._nest = 0
        self._read_pos = self._read_stamp = 0
        self._lost = self._last_overrun = 0

    @property
    def capacity(self) -> int:
        """Bytes of events a page holds (rb_page_capacity)."""
        return self.subbuf_size - HEADER

    def page(self, logical: int) -> Page:
        """The page at a place in ``buffers[]``."""
        return self.pages[self.buffers[logical]]

    def _next(self, logical: int) -> int:
        """rb_inc_page(); what follows the reader page is the head page."""
        if logical == 0:
            return self.head
        return 1 if logical == self.nr_subbufs - 1 else logical + 1

    def write(self, ts: int, payload: bytes, **more: Any) -> bool:
        """Write one event; ``more`` is as in :class:`Write`. False if the kernel drops it."""
        return self.play(Write(ts, payload, **more))

    def discard(self, ts: int, payload: bytes) -> bool:
        """Reserve an event and throw it away: it vanishes, and the next one's stamp is absolute."""
        return self.write(ts, payload, discard=True)

    def play(self, write: Write) -> bool:
        """ring_buffer_lock_reserve(), then ring_buffer_unlock_commit() or _discard_commit()."""
        if not self.online:
            raise ValueError("a CPU that was never online writes nothing")
        if len(write.payload) > self.capacity - 8:
            return False
        self._nest += 1
        event = self._reserve(write)
        if event is None:
            self._end_commit()
            return False
        self._interrupt(write, "commit", {"commit"})
        if write.discard:
            self._discard(event)
        if write.unfinished:
            return True
        self.written += not write.discard
        self._end_commit()
        return True

    def _interrupt(self, write: Write, at: Point, pending: set[Point]) -> None:
        if at in pending:
            pending.remove(at)
            for inner in write.interrupts:
                if inner.at == at:
                    self.play(inner)

    def _reserve(self, write: Write) -> Event | None:
        """rb_reserve_next_event(): at most twice, unless interrupts fill the new page."""
        length = event_length(len(write.payload), self.force_8byte)
        if self.absolute:
            length += EXTEND
            if length > self.capacity - 8:
                return None
        pending: set[Point] = {"stamp", "reserve"}  # interrupts yet to strike
        for _ in range(1000):
            result = self._reserve_next(write, length, pending)
            if result != "again":
                return result
        raise AssertionError("an interrupt storm")

    def _reserve_next(
        self, write: Write, length: int, pending: set[Point]
    ) -> Event | Literal["again"] | None:
        """__rb_reserve_next(); the letters are those of its comments."""
        logical = self.tail
        slot = self.buffers[logical]
        page = self.pages[slot]
        before_write = page.write  # A
        before, after = self._before, self._write_stamp
        late = "stamp" not in pending and any(inner.at == "stamp" for inner in write.interrupts)
        ts = write.ts & U64 if not late or write.resume_ts is None else write.resume_ts
        extend = force = False
        if self.absolute or before_write == 0:
            pass
        elif before != after:
            extend = force = True
        elif (ts - after & U64) > DELTA_MASK:
            extend = True
        length += EXTEND if extend else 0
        self._before = ts  # B
        self._interrupt(write, "stamp", pending)
        tail = page.write  # C
        page.write += length
        if page.write > self.capacity:
            return self._move_tail(logical, tail, length)
        self._interrupt(write, "reserve", pending)
        if tail == before_write:
            self._write_stamp = ts  # D
            delta = ts if force or self.absolute else ts - after & U64
        else:
            if self.absolute:
                raise ValueError("the kernel itself stores nonsense here; do not script it")
            ts = (write.resume_ts if write.resume_ts is not None else self._before + 1) & U64
            after, safe = self._write_stamp, self._write_stamp == self._before  # E
            self._before = ts
            alone = page.write == tail + length
            delta = ts - after if alone and safe and after < ts else 0  # F
            force = False
        if tail == 0 and not (force or self.absolute):
            delta = 0
        event = self._update_event(
            page, slot, tail, length, ts, write.payload, delta, extend, force
        )
        if tail == 0:
            page.time_stamp = ts
        return event

    def _update_event(
        self,
        page: Page,
        slot: int,
        start: int,
        length: int,
        ts: int,
        payload: bytes,
        delta: int,
        extend: bool,
        force: bool,
    ) -> Event:
        """rb_update_event() and rb_add_timestamp(), then the caller's copy of the payload."""
        at, end = start, start + length
        stamp: Literal["extend", "absolute"] | None = None
        value = 0
        if extend or self.absolute:
            stamp = "absolute" if force or self.absolute else "extend"
            if stamp == "extend" and delta > 1 << 59:
                delta = 0  # the clock went backwards, or too far ahead
            value = delta & ABS_MASK
            if stamp == "extend" and start == 0:
                value = 0
            kind = TIME_STAMP if stamp == "absolute" else TIME_EXTEND
            page.word(at, kind | (value & DELTA_MASK) << 5, value >> DELTA_BITS)
            at, delta = at + EXTEND, 0
        delta &= DELTA_MASK
        inner = end - at - 4
        if inner > MAX_SMALL or self.force_8byte:
            page.word(at, delta << 5, inner)
            body = at + 8
        else:
            page.word(at, -(-inner // 4) | delta << 5)
            body = at + 4
        page.memory[HEADER + body : HEADER + body + len(payload)] = payload
        data = bytes(page.memory[HEADER + body : HEADER + end])
        event = Event(ts, payload, start, body, end, stamp, value, delta, False, data, slot)
        page.events.append(event)
        if event.start < page.events[-2:][0].start:  # an interrupt got its own written first
            page.events.sort(key=lambda each: each.start)
        return event

    def _move_tail(self, logical: int, tail: int, length: int) -> Literal["again"] | None:
        """rb_move_tail(): on to the next page, taking it from the head if need be."""
        page, next_logical = self.page(logical), self._next(logical)
        if next_logical == self.commit:
            self.commit_overrun += 1
            return self._reset_tail(page, tail, length)
        if logical == self.tail:
            if logical != 0 and next_logical == self.head:
                if self.commit != 0:
                    if not self.overwrite:
                        self.dropped += 1
                        return self._reset_tail(page, tail, length)
                    self.overwritten += self.page(self.head).entries  # rb_handle_head_page
                    self.pushed += 1
                    self.head = self._next(self.head)
                elif self.commit != self.tail:
                    self.commit_overrun += 1
                    return self._reset_tail(page, tail, length)
            fresh = self.page(next_logical)  # rb_tail_page_update
            fresh.write, fresh.events, fresh.commit = 0, [], 0
            self.tail = next_logical
        self._reset_tail(page, tail, length)
        if self._nest == 1:
            self._commit_to_write()
        return "again"

    def _reset_tail(self, page: Page, tail: int, length: int) -> None:
        """rb_reset_tail(): pad the page that an event did not fit on.

        Eight bytes or more become a padding event, and the commit will cover them; four get a
        padding mark and lie beyond the commit.
        """
        page.write -= length
        if tail >= self.capacity:
            if tail == self.capacity:
                page.real_end = 0
            return
        page.real_end = tail
        if tail > self.capacity - 8:
            page.word(tail, PADDING)
            return
        page.word(tail, PADDING | 1 << 5, self.capacity - tail - 4)
        page.write = self.capacity

    def _commit_to_write(self) -> None:
        """rb_set_commit_to_write()."""
        while self.commit != self.tail:
            self.page(self.commit).commit = self.page(self.commit).write
            self.commit = self._next(self.commit)
        self.page(self.commit).commit = self.page(self.commit).write

    def _end_commit(self) -> None:
        if self._nest == 1:
            self._commit_to_write()
        self._nest -= 1

    def _discard(self, event: Event) -> None:
        """rb_event_discard(), then rb_try_to_discard() if nothing came after it."""
        page = self.pages[event.slot]
        head = event.start + (EXTEND if event.stamp else 0)
        event.discarded, event.delta = True, event.delta or 1
        page.word(head, PADDING | event.delta << 5, event.end - head - 4)
        if self.buffers[self.tail] == event.slot and page.write == event.end:
            self._before = 0
            page.write = event.start
            page.events.remove(event)
