"""Compiles a ``print fmt`` into a function that prints records as the kernel does.

The kernel prints with the C that a format's ``print fmt`` line was made from
(``include/trace/stages/stage3_trace_output.h``); here that line is parsed and becomes closures.
Three things that the kernel prints are not in a record: the per-boot secret that ``%p`` is hashed
with (the real address is shown), kernel variables (``jiffies``), and kernel memory behind a
pointer. What a record does not determine is shown in parentheses with a question mark,
``(?jiffies)``; what lies beyond a record's end as ``(truncated)``.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from tracekit.errors import FormatError
from tracekit.frozen import dataclass
from tracekit.ftrace.context import Context
from tracekit.ftrace.format import EventFormat, Field
from tracekit.ftrace.kernel_printf import vsprintf
from tracekit.ftrace.kernel_printf.ctype import INT, U64, IntType
from tracekit.ftrace.kernel_printf.pointers import READERS, TooShort, address_text, c_text
from tracekit.ftrace.kernel_printf.vsprintf import Conversion
from tracekit.ftrace.print_fmt import calls, nodes
from tracekit.ftrace.print_fmt.coded import coded, plain_number
from tracekit.ftrace.print_fmt.compile import Compiler
from tracekit.ftrace.print_fmt.constants import CONSTANTS, CONSTANTS_OF
from tracekit.ftrace.print_fmt.kernel.enumerators import enumerators_of
from tracekit.ftrace.print_fmt.kernel_strings import unread_string
from tracekit.ftrace.print_fmt.split import parse_print_fmt
from tracekit.ftrace.print_fmt.values import (
    Env,
    Memory,
    Number,
    Text,
    Undetermined,
    Unresolved,
    Value,
    as_type,
)
from tracekit.ftrace.programs.code import Code, Printer, joined, literal, node

__all__ = ["TRUNCATED", "compile_print_fmt", "fallback"]

_Show = Callable[[Env], Any]

#: Stands for what lies beyond the record's end.
TRUNCATED = "(truncated)"
_UNDEFINED = "(division by zero)"
_RECORD_ERRORS = (struct.error, TooShort, ZeroDivisionError, Undetermined)
_MEMO = 4096  # distinct values whose text a conversion remembers
_MEMO_STRING = 64  # bytes of the longest string remembered: task, cache and device names
_MARKER = 60  # longest name shown in a placeholder, characters
_SHOWN_ARGUMENTS = 8
_STRING = Conversion("s")


@dataclass(frozen=True, slots=True)
class _Piece:
    """One conversion, compiled: ``template % show(env)``; it reads ``need`` bytes of record."""

    template: str
    show: _Show
    code: Code | None = None
    need: int = 0


class _Printer:
    """Compiles the conversions of one format."""

    def __init__(self, fmt: EventFormat, ctx: Context, constants: Mapping[str, int]) -> None:
        self.compiler = Compiler(fmt, ctx, constants, calls.call)
        self.ctx = ctx

    def piece(self, conversion: Conversion, stars: Sequence[nodes.Node], arg: nodes.Node) -> _Piece:
        """Compile one conversion with its arguments."""
        slots = self.compiler.slots
        slots.need = 0
        return replace(self._shown(conversion, stars, arg), need=slots.need)

    def _shown(
        self, conversion: Conversion, stars: Sequence[nodes.Node], arg: nodes.Node
    ) -> _Piece:
        try:
            if stars:
                return self._starred(conversion, stars, arg)
            return self._plain(conversion, arg)
        except Unresolved as missing:
            if isinstance(arg, nodes.Cond):  # unlike results, or only one branch is unknown
                return self._either(conversion, stars, arg)
            return (
                self._partly(conversion, stars, arg) or self._unknown_call(arg) or _marker(missing)
            )

    def _partly(
        self, conversion: Conversion, stars: Sequence[nodes.Node], arg: nodes.Node
    ) -> _Piece | None:
        """An argument with a condition inside of which one way is unknown; None if it has none."""
        if self.compiler.lenient:
            return None
        self.compiler.lenient = True
        try:
            return self._starred(conversion, stars, arg) if stars else self._plain(conversion, arg)
        except Unresolved:
            return None
        finally:
            self.compiler.lenient = False

    def _starred(
        self, conversion: Conversion, stars: Sequence[nodes.Node], arg: nodes.Node
    ) -> _Piece:
        """A conversion whose width or precision is an argument, so it is resolved per record."""
        sizes = [as_type(self.compiler.number(star), INT) for star in stars]
        if all(s.const is not None for s in sizes):
            fixed = vsprintf.resolved(conversion, [s.const or 0 for s in sizes])
            return self._plain(fixed, arg)
        value = self.compiler.value(arg)
        gets = [s.get for s in sizes]
        fixed = vsprintf.resolved(conversion, [0] * len(sizes))
        self._text(fixed, value)  # can it be printed?
        code = coded(conversion, value, tuple(s.code for s in sizes), self._known(fixed, value))

        def text(env: Env) -> str:
            now = vsprintf.resolved(conversion, [get(env) for get in gets])
            return str(self._text(now, value)(env))

        return _Piece("%s", text, code)

    def _plain(self, conversion: Conversion, arg: nodes.Node) -> _Piece:
        """Compile ``arg`` for a conversion of fixed size."""
        value = self._argument(conversion, arg)
        code = coded(conversion, value, (), self._known(conversion, value))
        if isinstance(value, Number) and conversion.kind in "duxX":
            template = vsprintf.int_template(conversion)
            if template is not None:
                return _Piece(template, as_type(value, conversion.int_type).get, code)
        return _Piece("%s", self._text(conversion, value), code)

    def _argument(self, conversion: Conversion, arg: nodes.Node) -> Value:
        f = self.compiler.record_field(arg) if conversion.kind == "s" else None
        if f is not None and f.loc:  # old probe events name the string's field, not __get_str()
            return self.compiler.dynamic(f.name)[0]
        return self.compiler.value(arg)

    def _either(
        self, conversion: Conversion, stars: Sequence[nodes.Node], arg: nodes.Cond
    ) -> _Piece:
        try:
            test = self.compiler.truth(arg.test)
        except Unresolved as missing:
            return _marker(missing)
        pieces = [self._shown(conversion, stars, branch) for branch in (arg.other, arg.then)]
        ask = test.get

        def text(env: Env) -> str:
            piece = pieces[bool(ask(env))]
            return piece.template % (piece.show(env),)

        return _Piece("%s", text, node("if", test.code, pieces[1].code, pieces[0].code))

    def _unknown_call(self, arg: nodes.Node) -> _Piece | None:
        """For an unknown function: its name and arguments; None if none of them is a number."""
        if not isinstance(arg, nodes.Call):
            return None
        gets: list[_Show] = []
        codes: list[Code | None] = []
        numbers = 0
        for argument in arg.args[:_SHOWN_ARGUMENTS]:
            codes.append(literal(", " if codes else f"(?{arg.name[:_MARKER]}("))
            try:
                value = self.compiler.number(argument)
                gets.append(value.get)
                codes.append(plain_number(value, Conversion("d")))
                numbers += 1
            except Unresolved:
                gets.append(lambda _env: "?")
                codes.append(literal("?"))
        if not numbers:
            return None
        name = arg.name[:_MARKER]
        return _Piece(
            "%s",
            lambda env: f"(?{name}({', '.join(str(get(env)) for get in gets)}))",
            joined([*codes, literal("))")]),
        )

    def _text(self, conversion: Conversion, value: Value) -> _Show:
        """``value`` printed by a conversion of fixed size, as a string."""
        kind = conversion.kind
        if kind == "s":
            return self._string(conversion, value)
        if kind == "p":
            return self._pointer(conversion, value)
        if not isinstance(value, Number):
            raise Unresolved("address" if isinstance(value, Memory) else "string")
        get = as_type(value, IntType(1, False) if kind == "c" else conversion.int_type).get
        if kind == "c":
            return lambda env: vsprintf.pad(_character(get(env)), conversion)
        return lambda env: vsprintf.format_integer(get(env), conversion)

    def _string(self, conversion: Conversion, value: Value) -> _Show:
        plain = conversion.width is None and conversion.precision is None
        if isinstance(value, Text):
            get = value.get
            return get if plain else lambda env: vsprintf.pad(get(env), conversion)
        if isinstance(value, Memory):
            return _memory_string(value, conversion)
        get_address, named = as_type(value, U64).get, self._string_at
        return lambda env: named(conversion, get_address(env))

    def _string_at(self, conversion: Conversion, address: int) -> str:
        """A string in the kernel's memory."""
        shown = self.ctx.printk_formats.get(address)
        if shown is None:
            return unread_string(address, conversion, self.ctx.version)
        return vsprintf.pad(shown, conversion)

    def _known(self, conversion: Conversion, value: Value) -> Callable[[int], str] | None:
        """What gives the text of an address, where the conversion shows something else than it."""
        if not isinstance(value, Number):
            return None
        if conversion.kind == "s":
            return lambda address: self._string_at(conversion, address)
        if conversion.kind != "p" or conversion.suffix[:1] in ("", "x", "K"):
            return None
        symbols = self.ctx.symbols
        return lambda address: address_text(symbols, conversion, address)

    def _pointer(self, conversion: Conversion, value: Value) -> _Show:
        if isinstance(value, Memory):
            reader = READERS.get(conversion.suffix[:1])
            if reader is None:
                raise Unresolved("address")
            read, data = reader, value.get
            return lambda env: read(data(env), conversion)
        if isinstance(value, Text):
            raise Unresolved("string")
        get_address, symbols = as_type(value, U64).get, self.ctx.symbols
        if _is_bare(conversion):
            return lambda env: f"{get_address(env):016x}"
        memo: dict[int, str] = {}

        def text(env: Env) -> str:
            address = get_address(env)
            shown = memo.get(address)
            if shown is None:
                if len(memo) >= _MEMO:
                    memo.clear()
                shown = memo[address] = address_text(symbols, conversion, address)
            return shown

        return text


def _is_bare(conversion: Conversion) -> bool:
    """``%p``, which prints 16 digits."""
    return not conversion.suffix and conversion.width is None and not conversion.flags


def _marker(missing: Unresolved) -> _Piece:
    """The placeholder for an argument that the record does not determine."""
    text = f"(?{str(missing)[:_MARKER]})"
    return _Piece("%s", lambda _env: text, literal(text))


def _character(byte: int) -> str:
    return bytes((byte,)).decode("utf-8", "backslashreplace")


def _memory_string(value: Memory, conversion: Conversion) -> _Show:
    """``%s`` of characters in the record: up to the NUL, the precision or the array's end."""
    get = value.get
    limit = conversion.precision if isinstance(conversion.precision, int) else None
    width = Conversion("s", conversion.flags, conversion.width)
    memo: dict[bytes, str] = {}

    def text(env: Env) -> str:
        raw = get(env)
        shown = memo.get(raw)
        if shown is None:
            shown = vsprintf.pad(c_text(raw[:limit]), width)
            if len(raw) <= _MEMO_STRING:
                if len(memo) >= _MEMO:
                    memo.clear()
                memo[raw] = shown
        return shown

    return text


def _pieces(printer: _Printer, text: str, args: Sequence[nodes.Node]) -> list[str | _Piece]:
    out: list[str | _Piece] = []
    rest = list(args)
    for part in vsprintf.parse_format_string(text, printer.compiler.fmt.full_name):
        if isinstance(part, str):
            out.append(part)
            continue
        wanted = part.stars + 1
        if len(rest) < wanted:
            raise FormatError(f"{printer.compiler.fmt.full_name}: print fmt: too few arguments")
        arg = rest[wanted - 1]
        if isinstance(arg, nodes.Printed) and part == _STRING:
            out += _pieces(printer, arg.template, arg.args)
        else:
            out.append(printer.piece(part, rest[: wanted - 1], arg))
        del rest[:wanted]
    return out


def _renderer(printer: _Printer, parts: Sequence[str | _Piece]) -> Printer:
    """Join literal text and conversions into one function."""
    template = "".join(p.replace("%", "%%") if isinstance(p, str) else p.template for p in parts)
    shows = [p.show for p in parts if not isinstance(p, str)]
    environment, need = printer.compiler.slots.unpacker()

    def careful(record: bytes) -> str:
        """For records that end early or divide by zero: print each conversion separately."""
        env = (record, *environment(record.ljust(need, b"\0"))[1:])
        out = []
        for part in parts:
            if isinstance(part, str):
                out.append(part)
            elif part.need > len(record):
                out.append(TRUNCATED)
            else:
                try:
                    out.append(part.template % (part.show(env),))
                except (struct.error, TooShort):
                    out.append(TRUNCATED)
                except ZeroDivisionError:
                    out.append(_UNDEFINED)
                except Undetermined as missing:
                    out.append(f"(?{str(missing)[:_MARKER]})")
        return "".join(out)

    def render(payload: memoryview | bytes) -> str:
        record = bytes(payload)
        try:
            env = environment(record)
            return template % tuple([show(env) for show in shows])
        except _RECORD_ERRORS:
            return careful(record)

    code = joined(literal(p) if isinstance(p, str) else p.code for p in parts)
    return Printer(render, code, need)


def compile_print_fmt(
    fmt: EventFormat, ctx: Context, constants: Mapping[str, int] | None = None
) -> Printer:
    """Compile ``fmt.print_fmt``: payload -> what the kernel prints after ``name: ``.

    The payload starts at ``common_type``, offset 0 of the format. The text ends in a newline only
    if the format itself has one. The function returned never raises, whatever the payload.
    ``constants`` are values of enumerators and macros of that kernel, besides :data:`CONSTANTS`.

    Raises :class:`~tracekit.errors.FormatError` if the print format cannot be understood; use
    :func:`fallback` then.
    """
    try:
        text, args = parse_print_fmt(fmt.print_fmt, fmt.full_name)
        own, released = CONSTANTS_OF.get(fmt.system, {}), enumerators_of(ctx.version)
        known = {**CONSTANTS, **own, **released, **ctx.constants, **(constants or {})}
        printer = _Printer(fmt, ctx, known)
        return _renderer(printer, _pieces(printer, text, args))
    except RecursionError:
        raise FormatError(f"{fmt.full_name}: print fmt: nested too deep") from None


def fallback(fmt: EventFormat, ctx: Context) -> Printer:
    """Every field but the common ones as `` name=value``, if the print format cannot be compiled.

    Strings are text, other arrays ``{0x1,0x2}``, pointers hexadecimal. Never raises.
    """
    printer = _Printer(fmt, ctx, CONSTANTS)
    parts: list[str | _Piece] = []
    for f in fmt.fields:
        parts.append(f" {f.name}=")
        parts.append(_field_piece(printer, f))
    return _renderer(printer, parts)


def _field_piece(printer: _Printer, f: Field) -> _Piece:
    slots = printer.compiler.slots
    slots.need = 0
    value = printer.compiler.array_of(f)[0] if f.loc else printer.compiler.field(f)
    if isinstance(value, Number):
        form = Conversion("x", "#") if f.type.endswith("*") else Conversion("d")
        template = "%#x" if form.kind == "x" else "%d"
        return _Piece(template, value.get, plain_number(value, form), slots.need)
    if f.is_string:
        text, plain = _memory_string(value, Conversion("s")), Conversion("s")
        return _Piece("%s", text, coded(plain, value, (), None), slots.need)
    size = value.element.size if value.element else 1
    data, code = value.get, node("array", size, value.code)
    return _Piece("%s", lambda env: calls.array_text(data(env), size), code, slots.need)
