"""The event formats of the BPF probes' records, as ``format`` files are for kernel events.

A record is ``struct tk_record`` of ``bpf/records.h``, and an event's payload is a whole record.
The ids begin after those of the kernel, which have 16 bits.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import numpy as np

from tracekit.clocks.fit import Bracket
from tracekit.frozen import dataclass, field
from tracekit.ftrace.format import EventFormat, Field
from tracekit.probes.records import KINDS, RETURN, Kind

__all__ = [
    "LAYOUT",
    "PROBE_FILE",
    "PROBE_ID",
    "SOURCES",
    "ProbeRecords",
    "is_probe",
    "probe_format",
    "probe_ids",
    "probe_name",
    "source_of",
]

PROBE_FILE = "bpf.bin"  #: the records that reached user space

#: Ids from here on are ``PROBE_ID | kind``, with :data:`~tracekit.probes.records.RETURN` in kind.
PROBE_ID = 1 << 16

SOURCES = ("ftrace", "bpf")  #: what recorded an event

#: ``tracekit.probes.records.RECORD`` with names, for numpy.
LAYOUT = np.dtype(
    [
        ("ns", "<u8"), ("duration_ns", "<u8"), ("value", "<u8", (4,)), ("seq", "<u4"),
        ("pid", "<i4"), ("cpu", "<u2"), ("kind", "<u2"), ("zero", "<u4"), ("comm", "S16"),
        ("name", "S40"), ("driver", "S24"),
    ]
)  # fmt: skip


@dataclass(frozen=True)
class ProbeRecords:
    """Counts and clock brackets from a boot's probe records, besides their events.

    ``counts``: CPU -> (records that only ``bpf.bin`` has, records that are missing: holes in the
    CPU's sequence). ``pairs``: trace clock -> brackets of CLOCK_MONOTONIC between its stamps.
    """

    counts: Mapping[int, tuple[int, int]] = field(default_factory=dict)
    pairs: Mapping[str, Sequence[Bracket]] = field(default_factory=dict)


def is_probe(event_id: int) -> bool:
    """Whether an event id is that of a BPF probe."""
    return event_id >= PROBE_ID


def source_of(event_id: int) -> str:
    """Which of :data:`SOURCES` recorded events of that id."""
    return SOURCES[is_probe(event_id)]


def _at(member: str) -> tuple[int, int]:
    """(offset, size) of a member of the record."""
    fields = LAYOUT.fields
    assert fields is not None
    dtype, offset = fields[member][:2]
    return offset, dtype.itemsize


def _number(name: str, member: str, type_: str = "u64", index: int = 0) -> Field:
    offset, size = _at(member)
    size = size // 4 if member == "value" else size
    return Field(name, type_, offset + index * size, size, type_.startswith("s"))


def _text(name: str, member: str) -> Field:
    offset, size = _at(member)
    return Field(name, "char", offset, size, True, size, "", 1)


def _arguments(kind: Kind, returned: bool) -> Iterator[tuple[Field, str]]:
    """The arguments in the order they are printed, each with its conversion."""
    for label, member in ((kind.name, "name"), (kind.driver, "driver")):
        if label:
            yield _text(label, member), "%s"
    if kind.text and not returned:
        yield _text(kind.text, "value"), "%s"
    for i, value in enumerate(kind.returned if returned else kind.values):
        yield _number(value.label, "value", value.type, i), value.format
    if returned:
        yield _number("duration_ns", "duration_ns"), "%llu"


def probe_format(event_id: int) -> EventFormat | None:
    """The format of a probe's event; None for an unknown kind.

    Besides the labelled arguments there are ``seq`` (u32, the CPU's sequence number) and ``ns``
    (u64, CLOCK_MONOTONIC when the probe was hit), which are not printed.
    """
    kind = KINDS.get(event_id & ~(PROBE_ID | RETURN))
    if kind is None or not is_probe(event_id):
        return None
    returned = bool(event_id & RETURN)
    arguments = list(_arguments(kind, returned))
    template = " ".join(f"{f.name}={conversion}" for f, conversion in arguments)
    printed = ", ".join([f'"{template}"', *(f"REC->{f.name}" for f, _ in arguments)])
    fields = (*(f for f, _ in arguments), _number("seq", "seq", "u32"), _number("ns", "ns"))
    # the pair names a task, as in other events; as the timeline has it, it is not an argument
    common = _number("common_pid", "pid", "s32"), _text("common_comm", "comm")
    system, _, name = probe_name(event_id).partition(":")
    return EventFormat(system, name, event_id, common, fields, printed)


def probe_name(event_id: int) -> str:
    """``system:name`` of a known probe's event."""
    kind = KINDS[event_id & ~(PROBE_ID | RETURN)]
    return kind.event + ("_return" if event_id & RETURN else "")


def probe_ids() -> list[int]:
    """The ids of all events that the probes can record."""
    entries = [PROBE_ID | kind for kind in KINDS]
    return entries + [i | RETURN for i in entries if not KINDS[i & ~PROBE_ID].instant]
