"""What both versions of the file share: magic, options, and what is read of them."""

from __future__ import annotations

import enum
from collections.abc import Mapping

from tracekit.errors import Diagnostic
from tracekit.frozen import dataclass, field

__all__ = ["MAGIC", "Buffer", "CpuData", "EventFile", "Option", "TraceDat"]

MAGIC = b"\x17\x08\x44tracing"


class Option(enum.IntEnum):
    """Ids of options; in version 7 those from 16 on name sections, which bear the same id."""

    DONE = 0
    DATE = 1
    CPUSTAT = 2
    BUFFER = 3
    TRACECLOCK = 4
    UNAME = 5
    OFFSET = 7
    CPUCOUNT = 8
    VERSION = 9
    TRACEID = 11
    TIME_SHIFT = 12
    TSC2NSEC = 14
    HEADER_INFO = 16
    FTRACE_EVENTS = 17
    EVENT_FORMATS = 18
    KALLSYMS = 19
    PRINTK = 20
    CMDLINES = 21
    BUFFER_TEXT = 22
    MODULES = 25


@dataclass(frozen=True, slots=True)
class EventFile:
    """The text of one event's ``format``."""

    system: str
    text: bytes


@dataclass(frozen=True, slots=True)
class CpuData:
    """Where the sub-buffers of a CPU lie in the file, in bytes."""

    cpu: int
    offset: int
    size: int


@dataclass(frozen=True, slots=True)
class Buffer:
    """One recorded buffer; ``name`` is '' for the global one.

    ``clock`` is '' where only the file's TRACECLOCK tells. ``packed``: the data are compressed,
    a chunk after the other.
    """

    name: str
    clock: str
    subbuf_size: int
    cpus: tuple[CpuData, ...]
    packed: bool = False


@dataclass(slots=True)
class TraceDat:
    """What a file holds besides its events. ``stats``: (buffer's name, CPU) -> its ``stats``.

    ``compression`` is ``none``, ``zstd`` or ``zlib``. ``options`` has the others' bytes, by id.
    """

    version: int
    page_size: int
    compression: str = "none"
    header_page: bytes = b""
    header_event: bytes = b""
    ftrace_events: list[bytes] = field(default_factory=list)
    events: list[EventFile] = field(default_factory=list)
    kallsyms: bytes = b""
    modules: bytes = b""
    printk: bytes = b""
    cmdlines: bytes = b""
    cpus: int = 0
    clock: str = ""
    stats: dict[tuple[str, int], bytes] = field(default_factory=dict)
    options: dict[int, bytes] = field(default_factory=dict)
    buffers: list[Buffer] = field(default_factory=list)
    notes: list[Diagnostic] = field(default_factory=list)

    def option_text(self, option: Option) -> str:
        """The text of an option, '' where the file has none."""
        raw = self.options.get(option, b"").partition(b"\0")[0]
        return raw.decode("utf-8", "backslashreplace").strip()

    def format_files(self) -> Mapping[str, list[bytes]]:
        """System -> the texts of its events."""
        systems: dict[str, list[bytes]] = {"ftrace": list(self.ftrace_events)}
        for event in self.events:
            systems.setdefault(event.system, []).append(event.text)
        return systems
