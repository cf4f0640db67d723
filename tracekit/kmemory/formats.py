"""Every event's format, as its ``format`` file in tracefs says it.

``f_show()`` (``kernel/trace/trace_events.c``) prints the fields from the last of the list to the
first: the common ones, then the event's own.
"""

from __future__ import annotations

from collections.abc import Iterator

from tracekit.errors import ParseError, SourceError
from tracekit.frozen import dataclass
from tracekit.kmemory.kernel import Kernel, NoMember, Struct
from tracekit.kmemory.lists import entries, entries_back
from tracekit.kmemory.ring import Layout

__all__ = ["EventText", "event_formats", "header_page"]

_MAX_EVENTS = 1 << 16
_MAX_FIELDS = 1024
_MAX_PRINT_FMT = 1 << 18  # some events list hundreds of flags
_FLAGS = ("TRACE_EVENT_FL_CUSTOM", "TRACE_EVENT_FL_TRACEPOINT")
_SYSCALL_FIELDS = "syscall_get_enter_fields"


@dataclass(frozen=True, slots=True)
class EventText:
    """An event: ``SYSTEM:NAME``, its id, and the text of its ``format`` file."""

    system: str
    name: str
    id: int
    text: str


def _field_line(field: Struct) -> str:
    kind, name = field.text("type"), field.text("name")
    bracket = kind.find("[")
    if bracket >= 0 and not kind.startswith("__data_loc"):
        # "the array type (except dynamic array)" goes behind the name
        length = field.get("len") or 0
        what = f"{kind[:bracket]} {name}[{length if length else ''}]"
    else:
        what = f"{kind} {name}"
    return (
        f"\tfield:{what};\toffset:{field['offset']};\tsize:{field['size']};"
        f"\tsigned:{field['is_signed']:d};\n"
    )


class _Reader:
    def __init__(self, kernel: Kernel) -> None:
        self._kernel = kernel
        flags = kernel.types.enumerators(_FLAGS)
        self._custom = flags.get("TRACE_EVENT_FL_CUSTOM", 0)
        self._tracepoint = flags.get("TRACE_EVENT_FL_TRACEPOINT", 0)
        self._common = self._lines(kernel.symbol("ftrace_common_fields"))
        self._classes: dict[int, str] = {}  # class's fields -> their lines
        self._strings: dict[int, str] = {}

    def _lines(self, head: int) -> str:
        fields = entries_back(self._kernel, head, "ftrace_event_field", "link", _MAX_FIELDS)
        return "".join(_field_line(Struct(f.kernel, f.name, f.address)) for f in fields)

    def name(self, call: Struct) -> str:
        """As ``trace_event_name()``."""
        flags = call["flags"]
        if flags & self._tracepoint and not flags & self._custom:
            tracepoint = call.follow("tp")
            return tracepoint.text("name") if tracepoint else ""
        return call.text("name")

    def system(self, call: Struct) -> str:
        owner = call.follow("class")
        if owner is None:
            raise ParseError(f"the event at {call.address:#x} has no class")
        address = owner["system"]
        if address not in self._strings:
            self._strings[address] = self._kernel.memory.text(address, 256)
        return self._strings[address]

    def _fields_of(self, call: Struct) -> int:
        """The head of the event's list of fields: ``trace_get_fields()``."""
        owner = call.follow("class")
        if owner is None:
            raise ParseError(f"the event at {call.address:#x} has no class")
        function = owner.get("get_fields")
        if not function:
            return owner.at("fields")
        if function != self._kernel.symbols.find(_SYSCALL_FIELDS):
            raise ParseError(f"its fields are what the function at {function:#x} returns")
        return self._kernel.struct("syscall_metadata", call["data"]).at("enter_fields")

    def text(self, call: Struct, name: str, number: int) -> str:
        head = self._fields_of(call)
        if head not in self._classes:
            self._classes[head] = self._lines(head)
        address = call["print_fmt"]
        how = self._kernel.memory.text(address, _MAX_PRINT_FMT)
        return (
            f"name: {name}\nID: {number}\nformat:\n{self._common}\n{self._classes[head]}"
            f"\nprint fmt: {how}\n"
        )


def event_formats(kernel: Kernel) -> Iterator[EventText]:
    """All events in the kernel's order; those that cannot be read are noted.

    Raises :class:`~tracekit.errors.SourceError` where the kernel has no events at all.
    """
    reader = _Reader(kernel)
    head = kernel.symbol("ftrace_events")
    for call in entries(
        kernel, head, "trace_event_call", "list", "event formats", limit=_MAX_EVENTS
    ):
        name = f"{call.address:#x}"
        try:
            name = reader.name(call) or name
            system = reader.system(call)
            number = call["event.type"]
            text = reader.text(call, name, number)
        except NoMember:
            raise
        except SourceError as error:
            kernel.notes.missing("event formats", name, error)
            continue
        yield EventText(system, name, number, text)


def header_page(layout: Layout, subbuf_size: int) -> str:
    """``events/header_page``, as ``ring_buffer_print_page_header()`` prints it since 6.18."""
    size = layout.commit_size
    return (
        f"\tfield: u64 timestamp;\toffset:{layout.stamp};\tsize:8;\tsigned:0;\n"
        f"\tfield: local_t commit;\toffset:{layout.commit};\tsize:{size};\tsigned:1;\n"
        f"\tfield: char overwrite;\toffset:{layout.commit};\tsize:1;\tsigned:0;\n"
        f"\tfield: char data;\toffset:{layout.data};\tsize:{subbuf_size - layout.data};"
        "\tsigned:0;\n"
    )
