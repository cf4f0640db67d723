"""Which of an event's arguments are addresses: what its format declares or prints as one."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import fields, is_dataclass
from typing import Any

from tracekit.errors import FormatError
from tracekit.ftrace.format import EventFormat, Field
from tracekit.ftrace.kernel_printf.vsprintf import parse_format_string
from tracekit.ftrace.print_fmt.nodes import Call, Ident, Member, Node, Printed
from tracekit.ftrace.print_fmt.split import parse_print_fmt

__all__ = ["address_fields"]

_WORD = 8  # bytes of a kernel address
_STACK = "__get_stacktrace"


def address_fields(fmt: EventFormat) -> frozenset[str]:
    """The names of pointers, and of unsigned 64-bit numbers printed by ``%p`` or in hexadecimal.

    Arrays of such numbers (stacks) are among them.
    """
    try:
        printed = set(_printed(*parse_print_fmt(fmt.print_fmt, fmt.full_name), fmt.full_name))
    except (FormatError, RecursionError):
        printed = set()
    return frozenset(
        f.name
        for f in fmt.fields
        if not f.is_string and (f.type.endswith("*") or (f.name in printed and _is_word(f)))
    )


def _is_word(f: Field) -> bool:
    return not f.signed and (f.element if f.length is not None else f.size) == _WORD


def _printed(text: str, args: Sequence[Node], source: str) -> Iterator[str]:
    """The fields in arguments of ``%p`` and ``%x``."""
    rest = list(args)
    for part in parse_format_string(text, source):
        if isinstance(part, str):
            continue
        mine, rest = rest[: part.stars + 1], rest[part.stars + 1 :]
        if mine and isinstance(mine[-1], Printed):
            yield from _printed(mine[-1].template, mine[-1].args, source)
        elif part.kind in "pxX":
            yield from _members(mine[-1:])
        else:
            yield from _stacks(mine[-1:])


def _members(node: Any) -> Iterator[str]:
    if isinstance(node, Member):
        yield node.name
    elif isinstance(node, tuple | list):
        for one in node:
            yield from _members(one)
    elif is_dataclass(node):
        for f in fields(node):
            yield from _members(getattr(node, f.name))


def _stacks(args: list[Any]) -> Iterator[str]:
    """The arrays that ``__get_stacktrace()`` prints."""
    for node in args:
        if isinstance(node, Call) and node.name == _STACK:
            yield from (arg.name for arg in node.args if isinstance(arg, Ident))
