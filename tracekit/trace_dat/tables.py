"""The tables of a trace.dat, which look the same in both versions."""

from __future__ import annotations

from tracekit.trace_dat.layout import EventFile, TraceDat
from tracekit.trace_dat.stream import Stream

__all__ = ["Tables"]

_MAX_FORMAT = 1 << 20  # bytes of one event's format
_MAX_EVENTS = 1 << 17


class Tables:
    """Reads tables from where ``stream`` stands into ``dat``."""

    def __init__(self, dat: TraceDat, stream: Stream) -> None:
        self._dat = dat
        self._stream = stream

    def header_info(self) -> None:
        """``header_page`` and ``header_event``."""
        self._word(b"header_page\0")
        self._dat.header_page = self._stream.sized(8, "header_page", _MAX_FORMAT)
        self._word(b"header_event\0")
        self._dat.header_event = self._stream.sized(8, "header_event", _MAX_FORMAT)

    def _word(self, word: bytes) -> None:
        found = self._stream.take(len(word), word.decode().rstrip("\0"))
        if found != word:
            raise self._stream.fail(f"{word.decode()[:-1]} expected, not {found!r}")

    def _count(self, what: str) -> int:
        count = self._stream.number(4, f"the number of {what}")
        if count > _MAX_EVENTS:
            raise self._stream.fail(f"{count:,} {what} are no kernel's")
        return count

    def ftrace_events(self) -> None:
        """The formats of ftrace's own events."""
        for _ in range(self._count("events")):
            text = self._stream.sized(8, "an event's format", _MAX_FORMAT)
            self._dat.ftrace_events.append(text)

    def event_formats(self) -> None:
        """The formats of all others, by system."""
        for _ in range(self._count("systems")):
            system = self._stream.string("a system's name")
            for _ in range(self._count("events")):
                text = self._stream.sized(8, "an event's format", _MAX_FORMAT)
                self._dat.events.append(EventFile(system, text))

    def kallsyms(self) -> None:
        """Symbols."""
        self._dat.kallsyms = self._stream.sized(4, "kallsyms")

    def printk(self) -> None:
        """Format strings of trace_printk()."""
        self._dat.printk = self._stream.sized(4, "printk_formats")

    def cmdlines(self) -> None:
        """Names of tasks."""
        self._dat.cmdlines = self._stream.sized(8, "saved_cmdlines")

    def modules(self) -> None:
        """``/proc/modules``."""
        self._dat.modules = self._stream.sized(8, "modules")
