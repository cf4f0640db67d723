"""The details pane: fields, bytes, memory location and time of the event under the cursor."""

from __future__ import annotations

import string
from collections.abc import Iterator, Sequence
from textwrap import wrap
from typing import Any, ClassVar

from rich.cells import cell_len
from rich.segment import Segment
from rich.style import Style
from textual.binding import Binding, BindingType
from textual.geometry import Size
from textual.scroll_view import ScrollView
from textual.strip import Strip
from textual.timer import Timer

from tracekit.browse.record_bytes import FieldAt, FileLocation, RecordLocation, Stamp, locate_record
from tracekit.text import duration, error_bound, printable
from tui.host import look_of
from tui.model import Model
from tui.theme import Look, fitted

__all__ = ["Details"]

_REST = 0.08  # seconds that the cursor stays before the pane follows
_LETTERS = string.ascii_lowercase + string.ascii_uppercase
_NAMES = 22  # cells of a field's name at most
_VALUE = 4096  # characters of a value at most
_WIDE = 76  # cells from which a line of the dump has 16 bytes
_Line = list[Segment]


class Details(ScrollView, can_focus=True, inherit_bindings=False):
    """Shows one event, line by line; lines of the hex dump are made as they are scrolled to."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("up,k", "scroll_by(-1)", "Up", show=False),
        Binding("down,j", "scroll_by(1)", "Down", show=False),
        Binding("pageup", "scroll_by(-10)", "Page up", show=False),
        Binding("pagedown", "scroll_by(10)", "Page down", show=False),
        Binding("home", "scroll_by(-1000000)", "Top", show=False),
        Binding("end,G", "scroll_by(1000000)", "Bottom", show=False),
    ]

    def __init__(self, model: Model, *, id: str) -> None:
        super().__init__(id=id)
        self.display = False  # until it is toggled on
        self.model = model
        self._location: RecordLocation | None = None
        self._above: list[_Line] = []  # the fields
        self._below: list[_Line] = []  # what comes after the bytes
        self._of_byte: dict[int, FieldAt] = {}
        self._letters: dict[str, str] = {}
        self._timer: Timer | None = None

    # -- life ---------------------------------------------------------------------------------

    @property
    def _look(self) -> Look:
        return look_of(self)

    def on_mount(self) -> None:
        """Follow the cursor from now on, with a delay."""
        self.model.cursor_changed.subscribe(self, lambda _: self._load_soon())
        self._load()

    def on_show(self) -> None:
        """Catch up with the cursor."""
        self._load()

    def on_resize(self) -> None:
        self._lay_out()

    def _load_soon(self) -> None:
        if self._timer is not None:
            self._timer.stop()
        self._timer = self.set_timer(_REST, self._load)

    def _load(self) -> None:
        if not self.display or not self.model.total:
            return
        if self._location is None or self._location.row != self.model.cursor:
            self._location = locate_record(self.model.recording, self.model.cursor)
            self._lay_out()

    def action_scroll_by(self, by: int) -> None:
        """Scroll down that many lines."""
        self.scroll_to(y=max(0, int(self.scroll_offset.y) + by), animate=False, force=True)

    # -- laying out ---------------------------------------------------------------------------

    def _lay_out(self) -> None:
        location, width = self._location, self.scrollable_content_region.width
        if location is None or width < 1:
            return
        placed = [f for f in (*location.fields, *location.carrier_fields) if f.offset is not None]
        self._letters = dict(zip((f.name for f in placed), _LETTERS, strict=False))
        self._of_byte = {b: f for f in placed for b in _bytes_of(f, len(location.payload))}
        self._above = list(self._fields(location, width))
        self._below = [
            *_where(location, width, self._look),
            *_when(location.stamp, self.model.report.zero, width, self._look),
        ]
        lines = len(self._above) + self._dump_lines() + len(self._below)
        self.virtual_size = Size(width, lines)
        self.refresh()

    def _fields(self, location: RecordLocation, width: int) -> Iterator[_Line]:
        look = self._look
        yield [
            Segment(printable(location.event), look.hue(location.event) + look.strong),
            Segment(f"  event {location.row + 1:,}, id {location.event_id}", look.dim),
        ]
        if not location.fields:
            yield [Segment("no format of this event was saved: only its bytes", look.warn)]
        yield from self._listed(location.fields, width)
        if location.carrier:
            yield [Segment(f"printed into {location.carrier}:", look.dim)]
            yield from self._listed(location.carrier_fields, width)

    def _listed(self, fields: Sequence[FieldAt], width: int) -> Iterator[_Line]:
        look = self._look
        names = min(max((len(f.name) for f in fields), default=0), _NAMES)
        for f in sorted(fields, key=lambda f: f.common):  # the common ones last
            letter = self._letters.get(f.name, "") if f.offset is not None else ""
            start: _Line = [
                Segment(f"{letter or ' ':<2}", self._style(f)),
                Segment(fitted(f.name, names) + "  ", look.dim if f.common else Style()),
            ]
            value = _value(f) if f.value is not None else "not in the record: it is too short"
            room = max(12, width - names - 5)
            first, *more = wrap(printable(value), room) or [""]
            type_ = printable(f.type)
            left = room - cell_len(first) - len(type_)
            gap = " " * left if left > 1 and not more else ""
            style = look.warn if f.value is None else look.dim if f.common else look.strong
            yield [*start, Segment(first, style), Segment(gap), Segment(gap and type_, look.dim)]
            for line in more:
                yield [Segment(" " * (names + 4)), Segment(line, style)]

    def _style(self, f: FieldAt) -> Style:
        hues, number = self._look.hues, _LETTERS.find(self._letters.get(f.name, ""))
        return self._look.dim if f.common else hues[number % len(hues)]

    # -- the bytes ----------------------------------------------------------------------------

    @property
    def _per_line(self) -> int:
        return 16 if self.scrollable_content_region.width >= _WIDE else 8

    def _dump_lines(self) -> int:
        """The number of lines: the heading, the record header if there is one, and the bytes."""
        assert self._location is not None
        return 1 + bool(self._location.header) + -(-len(self._location.payload) // self._per_line)

    def _dump(self, line: int) -> _Line:
        location, look = self._location, self._look
        assert location is not None
        width = self.scrollable_content_region.width
        if line == 0:
            printed = f", printed as {location.carrier}" if location.carrier else ""
            return _heading(f"{len(location.payload)} bytes{printed}", width, look)
        if line == 1 and location.header:
            text = location.header.hex(" ")
            return [Segment(f"head  {text}  the ring buffer's own", look.dim)]
        offset = (line - 1 - bool(location.header)) * self._per_line
        return self._bytes(location.payload, offset)

    def _bytes(self, payload: bytes, start: int) -> _Line:
        """A line of the dump: offset, bytes with bars between fields, field letters, characters."""
        look, count = self._look, self._per_line
        part = payload[start : start + count]
        segments: _Line = [Segment(f"{start:04x} ", look.dim)]
        for offset, byte in enumerate(part, start):
            here, before = self._of_byte.get(offset), self._of_byte.get(offset - 1)
            apart = offset == start or here is not before
            segments.append(Segment("│" if apart else " ", look.dim))
            segments.append(Segment(f"{byte:02x}", self._style(here) if here else look.dim))
        segments.append(Segment("│" + "   " * (count - len(part)) + " ", look.dim))
        if count == 8:  # there is room for letters
            for offset in range(start, start + len(part)):
                f = self._of_byte.get(offset)
                letter = self._letters.get(f.name, "·") if f else "·"
                segments.append(Segment(letter, self._style(f) if f else look.dim))
            segments.append(Segment(" " * (count - len(part) + 1)))
        text = "".join(chr(b) if 32 <= b < 127 else "·" for b in part)
        segments.append(Segment(text, look.dim))
        return segments

    # -- drawing ------------------------------------------------------------------------------

    def render_line(self, y: int) -> Strip:
        """A line of the fields, the bytes, or what follows them."""
        base, width = self._look.base, self.size.width
        line, dump = y + int(self.scroll_offset.y), 0
        segments: _Line = []
        if self._location is not None:
            dump = self._dump_lines()
            after = line - len(self._above) - dump
            if line < len(self._above):
                segments = self._above[line]
            elif after < 0:
                segments = self._dump(line - len(self._above))
            elif after < len(self._below):
                segments = self._below[after]
        elif y == 0:
            segments = [Segment("there is no event", self._look.dim)]
        strip = Strip(Segment.apply_style(segments, base))
        return strip.adjust_cell_length(width, base)


def _bytes_of(f: FieldAt, length: int) -> Iterator[int]:
    """The bytes of the payload that belong to a field, and those that it points to."""
    for start, size in ((f.offset or 0, f.size), f.data or (0, 0)):
        yield from range(start, min(start + size, length))


def _value(f: FieldAt) -> str:
    """A value for display: numbers also in hex, and how the event's text shows it."""
    value: Any = f.value
    if isinstance(value, bytes):
        text = value[:_VALUE].hex(" ")
    elif isinstance(value, bool) or not isinstance(value, int):
        text = str(value)[:_VALUE]
    else:
        mask = (1 << 8 * f.size) - 1
        text = f"{value}" if -10 < value < 10 else f"{value}  {value & mask:#x}"
    return f"{text}  {f.text}" if f.text else text


def _heading(text: str, width: int, look: Look) -> _Line:
    return [Segment(f"── {text} ".ljust(width, "─"), look.dim)]


def _wrapped(name: str, text: str, width: int, look: Look) -> Iterator[_Line]:
    lines = wrap(printable(text), max(12, width - 10), break_on_hyphens=False) or [""]
    for n, line in enumerate(lines):
        yield [Segment("" if n else f"{name:<9} "), Segment(" " * 10 if n else ""), Segment(line)]


def _where(location: RecordLocation, width: int, look: Look) -> Iterator[_Line]:
    yield _heading("where it was", width, look)
    place = location.place
    if place is None:
        yield [Segment("unknown: it is not found again in what was saved", look.warn)]
        return
    address = "unknown: pages that user space read" if place.cpu >= 0 else "none: read from a file"
    known = None if place.address is None else f"{place.address:#x}, physical"
    yield from _wrapped("memory", known or address, width, look)
    yield from _wrapped("in", _part(location, place), width, look)
    yield from _wrapped("file", f"{place.source}, byte {place.offset:,}", width, look)


def _part(location: RecordLocation, place: FileLocation) -> str:
    if place.cpu < 0:
        return f"record {place.subbuffer + 1:,} of {place.subbuffers:,}"
    instance = f", instance {location.instance}" if location.instance else ""
    return (
        f"{location.buffer}{instance}: CPU {place.cpu}, sub-buffer {place.subbuffer + 1:,} of "
        f"{place.subbuffers:,}, byte {place.byte:,} of {place.size:,}"
    )


def _when(stamp: Stamp, zero: str, width: int, look: Look) -> Iterator[_Line]:
    yield _heading("when it was", width, look)
    yield from _wrapped("recorded", f"{stamp.raw} {stamp.unit} of {stamp.clock}", width, look)
    ns = "unknown" if stamp.ns is None else f"{stamp.ns:,} ns from {zero}"
    yield from _wrapped("adjusted", f"{ns} ({duration(stamp.ns)})", width, look)
    yield from _wrapped("error", error_bound(stamp.error_ns), width, look)
    yield from _wrapped("by", stamp.method or "unknown", width, look)
    time = f"{stamp.time}, {error_bound(stamp.time_error_ns)}, by" if stamp.time else "unknown:"
    yield from _wrapped("UTC", f"{time} {stamp.time_basis}", width, look)
