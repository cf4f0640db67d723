"""Code for the events whose printers are functions here, not compiled from a ``print fmt``.

Each follows the function of the same event in :mod:`.builtin` or :mod:`.syscalls`, which are the
reference: a program is only a faster way to the same text.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from tracekit.ftrace.context import Context
from tracekit.ftrace.format import EventFormat, Field
from tracekit.ftrace.kernel_printf.ctype import U64, IntType
from tracekit.ftrace.kernel_printf.vsprintf import Conversion
from tracekit.ftrace.printers.readers import ip_names
from tracekit.ftrace.printers.syscalls import arguments, has_bare_syscalls
from tracekit.ftrace.programs.code import (
    Code,
    binary,
    integer,
    joined,
    literal,
    node,
    number,
    string,
    type_code,
)
from tracekit.ftrace.programs.tables import Learned

__all__ = ["builtin_code", "syscall_code"]

_HEX = Conversion("x", size=8)
_STRING = Conversion("s")


def builtin_code(fmt: EventFormat, ctx: Context) -> Code | None:
    """The code of an event of the system ``ftrace``, None where it is printed without."""
    build = _BUILTIN.get(fmt.name)
    return build(fmt, ctx) if build else None


def _field(fmt: EventFormat, name: str) -> Code | None:
    field = fmt.field(name)
    return None if field is None else _load(field)


def _load(field: Field) -> Code | None:
    if field.size not in (1, 2, 4, 8):
        return None
    return node("load", field.offset, type_code(IntType(field.size, field.signed)))


def _function(fmt: EventFormat, ctx: Context) -> Code | None:
    names = Learned(ip_names(ctx.symbols).__getitem__)
    parent, args = _field(fmt, "parent_ip"), fmt.field("args")
    caller = joined([literal(" <-"), node("learned", names, parent)])
    code = joined(
        [
            node("learned", names, _field(fmt, "ip")),
            node("if", parent, caller, literal("")),
        ]
    )
    if args is None:
        return code
    longer = binary("GT", U64, node("length"), integer(args.offset))
    return node("if", longer, node("fail"), code)


def _print(fmt: EventFormat, ctx: Context) -> Code | None:
    text = fmt.field("buf")
    if text is None:
        return None
    names = Learned(ip_names(ctx.symbols).__getitem__)
    line = node("line", node("tail", text.offset))
    return joined([node("learned", names, _field(fmt, "ip")), literal(": "), line])


def _kernel_stack(fmt: EventFormat, ctx: Context) -> Code | None:
    names = ip_names(ctx.symbols)
    caller = fmt.field("caller")
    if caller is None:
        return None
    trampoline = 0x7FFFFFFF  # FTRACE_TRAMPOLINE_MARKER, kernel/trace/trace.h
    texts = Learned(lambda ip: "[FTRACE TRAMPOLINE]" if ip == trampoline else names[ip])
    return joined([literal("<stack trace>"), node("stack", texts, node("tail", caller.offset))])


_BUILTIN: Mapping[str, Callable[[EventFormat, Context], Code | None]] = {
    "function": _function,
    "kernel_stack": _kernel_stack,
    "print": _print,
}


def syscall_code(fmt: EventFormat, bare: bool) -> Code | None:
    """The code of ``sys_enter_NAME`` or ``sys_exit_NAME``, None where it is printed without."""
    if fmt.name.startswith("sys_exit_"):
        return joined([literal("0x"), number(_HEX, _field(fmt, "ret"), ())])
    fields = arguments(fmt)
    if bare or has_bare_syscalls([fmt]):
        labels = [f"{', ' if i else ''}{f.name}: " for i, f in enumerate(fields)]
        pairs = zip(labels, fields, strict=True)
        return joined(c for text, f in pairs for c in (literal(text), number(_HEX, _load(f), ())))
    if fmt.name == "sys_enter_openat" and "__print_flags(" in fmt.print_fmt:
        return None
    parts: list[Code | None] = []
    for index, field in enumerate(fields):
        parts.append(literal(f"{', ' if index else ''}{field.name}: "))
        parts.append(_small_or_hex(_load(field)))
        if fmt.field(f"__{field.name}_val") is not None:
            parts.append(_user_text(fmt, field.name))
    return joined(parts)


def _small_or_hex(value: Code | None) -> Code | None:
    """Below ten as a digit, else ``0x…``."""
    decimal, hexadecimal = Conversion("u", size=8), number(Conversion("x", "#", size=8), value, ())
    small = binary("LT", U64, value, integer(10))
    return node("if", small, number(decimal, value, ()), hexadecimal)


def _user_text(fmt: EventFormat, name: str) -> Code | None:
    """What an argument pointed to, where that is shown as text."""
    field = fmt.field(f"__{name}_val")
    if field is None or field.size != 4 or f"__print_dynamic_array(__{name}_val" in fmt.print_fmt:
        return None
    text = string(_STRING, node("clipped", field.offset, 0), ())
    return joined([literal(' "'), text, literal('"')])
