"""The columns of the events' table: their texts, widths, and which are shown by default."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from rich.segment import Segment
from rich.style import Style

from tracekit.browse.record_bytes import latency_flags
from tracekit.query.sort import ARGUMENT
from tracekit.text import duration
from tracekit.timeline.when.wall_clock import Wall
from tui.theme import Look, fitted

__all__ = ["COLUMNS", "Cells", "Column", "Event", "argument", "automatic", "column_of", "padded"]

_SECOND = 10**9
_MICRO_DIGITS, _NANO_DIGITS = 6, 9
_WIDE = 110  # cells from which names are whole and times have nanoseconds
_NARROW = 72  # cells below which columns are narrow
_NAME = re.compile(r"(?<![^\s(])[A-Za-z_]\w{0,40}[=:](?=\S)")  # what stands before a value
_QUIET = ("cpu", "boot", "delta", "pid", "source", "flags", "preempt", "raw")
#: The columns shown by default, and the width of the table from which on each is.
_FROM = (
    ("time", 0), ("delta", 94), ("cpu", 0), ("boot", 150), ("task", 0), ("event", 0), ("args", 0),
    ("flags", 126), ("source", 190),
)  # fmt: skip


@dataclass(frozen=True)
class Column:
    """``key`` is unique; ``sort`` is what :func:`tracekit.query.sort.order_by` calls it.

    Widths are in cells: ``wide`` and ``narrow`` replace ``width`` in a wide and a narrow table; a
    ``width`` of 0 takes what is left.
    """

    key: str
    title: str
    about: str
    sort: str
    width: int
    wide: int = 0
    narrow: int = 0
    right: bool = False


COLUMNS = (
    Column("time", "time", "when: t changes how", "ts_ns", 13, 16, 11, True),
    Column("delta", "Δ", "time since the event before", "delta", 8, right=True),
    Column("cpu", "cpu", "the CPU", "cpu", 3, right=True),
    Column("boot", "boot", "the kernel: 0 is the oldest", "boot", 4, right=True),
    Column("task", "task", "the task's name and pid", "comm", 16, 22, 12),
    Column("pid", "pid", "the task's number", "pid", 7, right=True),
    Column("event", "event", "the event's name", "event", 20, 28, 15),
    Column("source", "from", "ftrace or bpf", "source", 6),
    Column("flags", "flags", "the kernel's latency letters", "flags", 5),
    Column("preempt", "preempt", "preempt count", "preempt", 7, right=True),
    Column("raw", "raw stamp", "as the kernel wrote it", "ts_raw", 20, right=True),
    Column("args", "arguments", "as the kernel prints them", "args", 0),
)
_BY_KEY = {column.key: column for column in COLUMNS}


def argument(name: str) -> Column:
    """The column of one argument's typed values."""
    key = f"{ARGUMENT}{name}"
    return Column(key, name, "an argument", key, max(12, min(len(name) + 2, 24)))


def column_of(key: str) -> Column:
    """The column with that key."""
    return _BY_KEY.get(key) or argument(key.removeprefix(ARGUMENT))


def automatic(width: int) -> list[str]:
    """The keys of the default columns of a table ``width`` cells wide."""
    return [key for key, least in _FROM if width >= least]


@dataclass(frozen=True)
class Event:
    """One row of the table: the recording's row ``at``, and its values by the timeline's columns.

    ``since`` is the time (ns) since the event that is shown before it, in time; None for the first.
    """

    at: int
    values: Mapping[str, Any]
    since: int | None
    fields: Mapping[str, Any] = field(default_factory=dict)


@dataclass
class Cells:
    """Formats the cells of the table.

    ``newest`` is the boot that is entered, ``mode`` how times are shown (``jump``, ``wall`` or
    ``raw``), ``walls`` when each boot was, ``width`` that of the table.
    """

    newest: int
    mode: str = "jump"
    walls: Mapping[int, Wall] = field(default_factory=dict)
    width: int = 80

    @property
    def wide(self) -> bool:
        """Whether names are whole and times have nanoseconds."""
        return self.width >= _WIDE

    def cells_of(self, column: Column) -> int:
        """How wide a column is; 0 takes what is left."""
        if column.key == "time" and self.mode != "jump":
            return 18 if self.mode == "wall" and self.wide else 15 if self.mode == "wall" else 20
        other = column.wide if self.wide else column.narrow if self.width < _NARROW else 0
        return other or column.width

    def title(self, column: Column) -> str:
        """The title of a column."""
        titles = {"jump": "seconds", "wall": "UTC", "raw": "raw stamp"}
        return titles[self.mode] if column.key == "time" else column.title

    # -- texts --------------------------------------------------------------------------------

    def text(self, column: Column, event: Event, *, whole: bool = False) -> str:
        """The text of a cell, not cut. ``whole``: as in a wide table."""
        values, wide = event.values, whole or self.wide
        if column.key.startswith(ARGUMENT):
            return _typed(event.fields.get(column.key.removeprefix(ARGUMENT)))
        if column.key == "time":
            return self._time(values, wide)
        if column.key == "delta":
            return "" if event.since is None else duration(event.since)
        if column.key == "task":
            return f"{values['comm'] or '<...>'}-{values['pid']}"
        if column.key == "event":
            name = str(values["event"])
            return name if wide else name.partition(":")[2]
        if column.key == "flags":
            return latency_flags(values["flags"], values["preempt"])
        return str(values[{"raw": "ts_raw"}.get(column.key, column.key)])

    def _time(self, values: Mapping[str, Any], wide: bool) -> str:
        if self.mode == "raw":
            return str(values["ts_raw"])
        digits = _NANO_DIGITS if wide else _MICRO_DIGITS
        if self.mode == "jump":
            return _seconds(values["ts_ns"], digits)
        wall = self.walls.get(values["boot"])
        if wall is None:
            return "unknown"
        seconds, ns = divmod(values["ts_ns"] + wall.offset_ns, _SECOND)
        part = str(_SECOND + ns)[1 : 1 + digits]
        try:
            return f"{datetime.fromtimestamp(seconds, UTC):%H:%M:%S}.{part}"
        except (ValueError, OverflowError, OSError):
            return "unknown"

    # -- pictures -----------------------------------------------------------------------------

    def draw(self, column: Column, event: Event, width: int, look: Look) -> list[Segment]:
        """A cell, ``width`` cells wide."""
        text = self.text(column, event)
        if column.key == "args":
            return _names_dimmed(fitted(text, width), look)
        return padded(text, width, column.right, self._style(column, event, look))

    def _style(self, column: Column, event: Event, look: Look) -> Style:
        if column.key == "time":
            return look.old if event.values["boot"] != self.newest else look.new
        if column.key == "event":
            return look.hue(event.values["event"])
        return look.dim if column.key in _QUIET else Style()


def padded(text: str, width: int, right: bool, style: Style) -> list[Segment]:
    """``text`` in ``width`` cells exactly; the blanks before and behind it have no style."""
    cell = fitted(text, width, right)
    inner = cell.strip()
    before = cell.index(inner)
    after = len(cell) - before - len(inner)
    return [s for s in (Segment(" " * before), Segment(inner, style), Segment(" " * after)) if s[0]]


def _seconds(ns: int, digits: int) -> str:
    """Seconds, rounded to ``digits`` after the point."""
    step = 10 ** (_NANO_DIGITS - digits)
    whole, part = divmod((abs(ns) + step // 2) // step, 10**digits)
    return f"{'-' if ns < 0 else ''}{whole}.{part:0{digits}d}"


def _typed(value: Any) -> str:
    if value is None:
        return ""
    return value.hex() if isinstance(value, bytes) else str(value)


def _names_dimmed(text: str, look: Look) -> list[Segment]:
    """``name=value`` with dimmed names."""
    segments, end = [], 0
    for m in _NAME.finditer(text):
        segments += [Segment(text[end : m.start()]), Segment(m[0], look.dim)]
        end = m.end()
    return [s for s in (*segments, Segment(text[end:])) if s.text]
