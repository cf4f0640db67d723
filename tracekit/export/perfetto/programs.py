"""How each kind of event becomes a message: its own where Perfetto has one, else a generic one.

An event's own message is used where it has a member for every argument, so that nothing is lost,
and always for those that Perfetto itself draws from (``_DRAWN``).
"""

from __future__ import annotations

import struct
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import cache
from importlib.resources import files
from typing import NamedTuple

from tracekit.export.perfetto.wire import text, varint
from tracekit.ftrace.format import EventFormat, Field

__all__ = ["Kind", "Member", "Programs", "known_events"]

#: What sched, thread_state, irq and idle tracks are made of; kernels add arguments to them.
_DRAWN = frozenset({
    "sched_switch", "sched_waking", "sched_wakeup", "sched_wakeup_new", "sched_process_exit",
    "sched_process_fork", "sched_process_free", "sched_process_exec", "task_newtask",
    "task_rename", "irq_handler_entry", "irq_handler_exit", "softirq_entry", "softirq_exit",
    "softirq_raise", "cpu_frequency", "cpu_idle", "workqueue_execute_start",
    "workqueue_execute_end",
})  # fmt: skip
#: Events that print a text which the kernel makes of binary arguments.
_TEXTS = frozenset({"ftrace:bprint", "ftrace:bputs"})
_GENERIC, _EVENT_NAME, _FIELD = 327, 1, 2  # FtraceEvent.generic and its members
_NAME, _STR, _INT, _UINT = 1, 3, 4, 5  # of GenericFtraceEvent.Field
_UNSIGNED, _SIGNED, _FIXED, _DATA_LOC, _REL_LOC, _FLEXIBLE, _TEXT, _REPEATED, _NUMBERS = range(9)
_MOST_TEXTS = 16
_LONGEST = 4096  # bytes of an operation's head, _native/perfetto.c
_LOC = {"data_loc": _DATA_LOC, "rel_loc": _REL_LOC}


class Member(NamedTuple):
    """Of an event's own message; ``kind`` is u, i, s, and U or I where it is repeated."""

    number: int
    kind: str


@cache
def known_events() -> dict[str, tuple[int, dict[str, Member]]]:
    """Event -> (number in FtraceEvent, its members by name)."""
    found = {}
    table = files("tracekit.export.perfetto").joinpath("known_events.txt").read_text("ascii")
    for line in table.splitlines():
        if line.startswith("#"):
            continue
        name, number, *members = line.split()
        pairs = (member.partition(":")[::2] for member in members)
        found[name] = (int(number), {n: Member(int(v[:-1]), v[-1]) for n, v in pairs})
    return found


class Kind(NamedTuple):
    """What a kind of event is to be: ``name`` of a generic one; ``boot`` and ``id`` identify it.

    ``own``: whether it may be a message of its own.
    """

    boot: int
    id: int
    full_name: str
    name: str
    format: EventFormat | None
    own: bool = True


@dataclass(slots=True)
class Programs:
    """The programs of all kinds, in their order, as ``_native.perfetto`` takes them.

    ``texts``: kind -> the fields that are to be given as texts, in the order of their columns;
    None is the event's text as the kernel prints it.
    """

    texts: dict[int, list[Field | None]] = field(default_factory=dict)
    _programs: list[bytes] = field(default_factory=list)
    _ops: list[bytes] = field(default_factory=list)
    _heads: bytearray = field(default_factory=bytearray)

    @classmethod
    def of(cls, kinds: Sequence[Kind]) -> Programs:
        """The programs of all ``kinds``."""
        made = cls()
        for number, kind in enumerate(kinds):
            made._add(number, kind)
        return made

    def packed(self) -> tuple[bytes, bytes, bytes]:
        """Programs, operations, heads."""
        return b"".join(self._programs), b"".join(self._ops), bytes(self._heads)

    def _put(self, data: bytes) -> tuple[int, int]:
        start = len(self._heads)
        self._heads += data[:_LONGEST]
        return start, min(len(data), _LONGEST)

    def _add(self, number: int, kind: Kind) -> None:
        first = len(self._ops)
        name = kind.full_name.partition(":")[2]
        fields = kind.format.fields if kind.format else ()
        texts: list[Field | None] = []
        lead = b""
        own = _own_message(name, fields) if kind.own and kind.format is not None else None
        if own is not None:
            tag = _tag(own[0])
            self._own(kind.format, own[1])
        else:
            tag, lead = _tag(_GENERIC), text(_EVENT_NAME, kind.name)
            for one in fields if kind.full_name not in _TEXTS else fields[:1]:
                self._generic(one, texts)
            if kind.full_name in _TEXTS:
                self._op(_TEXT, 0, 0, 0, text(_NAME, "buf") + _tag(_STR), _FIELD << 3 | 2)
                texts.append(None)
        if texts:
            self.texts[number] = texts
        row = first, len(self._ops) - first, *self._put(tag), *self._put(lead)
        self._programs.append(struct.pack("=6i", *row))

    def _op(
        self, kind: int, at: int, size: int, count: int, head: bytes, wrapped: int, array: int = 0
    ) -> None:
        row = kind, at, size, count, *self._put(head), wrapped, array
        self._ops.append(struct.pack("=8i", *row))

    def _own(self, fmt: EventFormat | None, members: dict[str, Member]) -> None:
        """Operations for the fields that the event's own message has."""
        for one in fmt.fields if fmt else ():
            member = members.get(one.member or one.name)
            shape = _shape(one)
            if member is None or shape is None or not _fits(one, member):
                continue
            if shape == _REPEATED:
                head = varint(member.number << 3)
                self._op(_REPEATED, one.offset, one.element, one.length or 0, head, 0)
            else:
                wire = 2 if shape in (_FIXED, _DATA_LOC, _REL_LOC, _FLEXIBLE) else 0
                self._op(shape, one.offset, one.size, 0, varint(member.number << 3 | wire), 0)

    def _generic(self, one: Field, texts: list[Field | None]) -> None:
        """One Field message; what is neither number nor string is given as text."""
        name, shape = text(_NAME, one.name), _shape(one)
        wrapped = _FIELD << 3 | 2
        if shape in (_UNSIGNED, _SIGNED):
            number = _INT if shape == _SIGNED else _UINT
            self._op(shape, one.offset, one.size, 0, name + varint(number << 3), wrapped)
        elif (array := _array(one)) is not None:
            width = -one.element if one.signed else one.element
            self._op(_NUMBERS, one.offset, one.size, width, name + _tag(_STR), wrapped, array=array)
        elif shape is not None:
            self._op(shape, one.offset, one.size, 0, name + _tag(_STR), wrapped)
        elif len(texts) < _MOST_TEXTS:
            self._op(_TEXT, len(texts), 0, 0, name + _tag(_STR), wrapped)
            texts.append(one)


def _tag(number: int) -> bytes:
    """Of a message or a string."""
    return varint(number << 3 | 2)


def _shape(one: Field) -> int | None:
    """How a field lies in the record; None for what is given as text."""
    if one.is_string:
        if one.loc:
            return _LOC[one.loc]
        return _FIXED if one.size else _FLEXIBLE
    if one.loc or one.length == 0:
        return None
    if one.length is not None:
        return _REPEATED if one.element in (1, 2, 4, 8) else None
    if one.size not in (1, 2, 4, 8):
        return None
    return _SIGNED if one.signed else _UNSIGNED


def _array(one: Field) -> int | None:
    """How the bytes of an array of numbers are found; None for what is none."""
    plain = one.type.split()[:1] != ["struct"] and "[" not in one.type
    if one.length is None or one.is_string or one.element not in (2, 4, 8) or not plain:
        return None
    if one.loc:
        return _LOC[one.loc]
    return _FIXED if one.size else _FLEXIBLE


def _fits(one: Field, member: Member) -> bool:
    shape = _shape(one)
    if shape in (_UNSIGNED, _SIGNED):
        return member.kind in "ui"
    if shape == _REPEATED:
        return member.kind in "UI"
    return shape is not None and member.kind == "s"


def _own_message(name: str, fields: Sequence[Field]) -> tuple[int, dict[str, Member]] | None:
    """(number, members) of an event's own message, where that is to be used."""
    if name not in known_events():
        return None
    number, members = known_events()[name]

    def lacking() -> Iterator[str]:
        for one in fields:
            member = members.get(one.member or one.name)
            if member is None or not _fits(one, member):
                yield one.name

    return None if name not in _DRAWN and any(True for _ in lacking()) else (number, members)
