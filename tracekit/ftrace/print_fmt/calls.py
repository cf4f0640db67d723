"""The functions a print format may call: ``__print_flags()``, ``__get_str()`` and the like.

The text they print follows ``kernel/trace/trace_output.c``, the fields they read
``include/trace/stages/stage3_trace_output.h``.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import NamedTuple

from tracekit.errors import FormatError
from tracekit.ftrace.context import Context
from tracekit.ftrace.format import EventFormat
from tracekit.ftrace.kernel_printf.ctype import INT, LONG, U8, U32, U64
from tracekit.ftrace.kernel_printf.pointers import TooShort, bitmap_text, hex_text, symbol_text
from tracekit.ftrace.print_fmt import nodes
from tracekit.ftrace.print_fmt.compile import Compiler
from tracekit.ftrace.print_fmt.integer_calls import INTEGER_FUNCTIONS, mapped
from tracekit.ftrace.print_fmt.kernel.calls import KERNEL_CALLS
from tracekit.ftrace.print_fmt.kernel.disks import DISK_CALLS
from tracekit.ftrace.print_fmt.kernel.library import LIBRARY_CALLS
from tracekit.ftrace.print_fmt.values import (
    Env,
    Memory,
    Number,
    Text,
    Unresolved,
    Value,
    as_type,
    constant,
)
from tracekit.ftrace.programs.code import LIST, binary, integer, node
from tracekit.ftrace.programs.tables import FlagTable, NameTable

__all__ = ["array_text", "call", "flag_names"]

_MEMO = 4096  # distinct flag words remembered per table
_ULONG_MAX = (1 << 64) - 1
_NSEC_PER_SEC = 1_000_000_000
_GROUPED_SINCE, _GROUPED_UNTIL = (5, 4), (6, 4)  # of __print_hex()

_Args = tuple[nodes.Node, ...]
_Build = Callable[[Compiler, _Args], Value]


def call(compiler: Compiler, node: nodes.Call) -> Value:
    """Compile a call; raises :class:`~.values.Unresolved` for a function that is not known."""
    function = _FUNCTIONS.get(node.name)
    if function is None:
        from tracekit.ftrace.print_fmt.usb.calls import USB_CALLS  # much, and few formats need it

        function = USB_CALLS.get(node.name)
    if function is None:
        raise Unresolved(f"{node.name}()")
    build, least, most = function
    if not least <= len(node.args) <= most:
        raise FormatError(
            f"{compiler.fmt.full_name}: print fmt: {node.name}() with {len(node.args)} arguments"
        )
    return build(compiler, node.args)


def _literal(compiler: Compiler, node: nodes.Node) -> str | None:
    """The text of a string literal, or None (NULL, a name)."""
    try:
        value = compiler.value(node)
    except Unresolved:
        return None
    return value.const if isinstance(value, Text) else None


class _Table(NamedTuple):
    """The ``{ mask, "name" }`` entries that are known; masks are unsigned long.

    Where it is not ``whole``, the mask of an entry is a name that nothing resolves: a value that no
    known entry has may be that one's, and is marked.
    """

    entries: list[tuple[int, str]]
    whole: bool = True

    def unnamed(self, value: int) -> str:
        """What is shown of a value without a name."""
        return f"{value:#x}" if self.whole else f"(?{value:#x})"


def _table(compiler: Compiler, args: _Args) -> _Table:
    entries: list[tuple[int, str]] = []
    whole = True
    for arg in args:
        if not isinstance(arg, nodes.Braces):
            continue
        if arg.items and isinstance(arg.items[0], nodes.Braces):
            inner = _table(compiler, arg.items)
            entries += inner.entries
            whole &= inner.whole
        elif len(arg.items) == 2:
            name = _literal(compiler, arg.items[1])
            try:
                mask = compiler.number(arg.items[0])
            except Unresolved:
                whole &= name is None
                continue
            if name is not None and mask.const is not None:
                entries.append((mask.const & _ULONG_MAX, name))
    return _Table(entries, whole)


def _flags_text(flags: int, table: _Table, delimiter: str) -> str:
    """``trace_print_flags_seq()``."""
    names = []
    for mask, name in table.entries:
        if not flags:
            break
        if flags & mask == mask:
            flags &= ~mask
            names.append(name)
    if flags:
        names.append(table.unnamed(flags))
    return delimiter.join(names)


def flag_names(fmt: EventFormat, ctx: Context, args: _Args, delimiter: str) -> Callable[[int], str]:
    """What a call of ``__print_flags()`` with the table ``args`` in ``fmt`` prints for a value."""
    table = _table(Compiler(fmt, ctx, {}, call), args)
    return lambda value: _flags_text(value, table, delimiter)


def _print_flags(compiler: Compiler, args: _Args) -> Text:
    value = as_type(compiler.number(args[0]), U64)
    get = value.get
    delimiter = _literal(compiler, args[1]) or ""
    table = _table(compiler, args[2:])
    memo: dict[int, str] = {}

    def text(env: Env) -> str:
        flags = get(env)
        shown = memo.get(flags)
        if shown is None:
            if len(memo) >= _MEMO:
                memo.clear()
            shown = memo[flags] = _flags_text(flags, table, delimiter)
        return shown

    flags = FlagTable(table.entries, delimiter)
    return Text(text, code=node("flags", flags, table.whole, value.code))


def _print_symbolic(compiler: Compiler, args: _Args) -> Text:
    """``trace_print_symbols_seq()``: the first entry that matches; an empty name counts as none."""
    number = as_type(compiler.number(args[0]), U64)
    get = number.get
    names: dict[int, str] = {}
    table = _table(compiler, args[1:])
    for mask, name in table.entries:
        names.setdefault(mask, name or f"{mask:#x}")

    def text(env: Env) -> str:
        value = get(env)
        shown = names.get(value)
        return table.unnamed(value) if shown is None else shown

    return Text(text, code=node("symbolic", NameTable(names), table.whole, number.code))


def _bounded(memory: Memory, length: Number) -> Memory:
    """``memory`` cut to ``length`` bytes; raises :class:`TooShort` if it has fewer."""
    length = as_type(length, INT)
    get, size = memory.get, length.get

    def data(env: Env) -> bytes:
        whole, wanted = get(env), max(0, size(env))
        if wanted > len(whole):
            raise TooShort
        return whole[:wanted]

    return Memory(data, memory.element, node("cut", memory.code, length.code))


def _print_hex(separator: str) -> Callable[[Compiler, _Args], Text]:
    """``trace_print_hex_seq()``; some releases have nothing between 16 bytes and the next ones."""

    def build(compiler: Compiler, args: _Args) -> Text:
        memory = _bounded(compiler.memory(args[0]), compiler.number(args[1]))
        data, version = memory.get, compiler.ctx.version
        group = 16 if version is not None and _GROUPED_SINCE <= version < _GROUPED_UNTIL else 0

        def text(env: Env) -> str:
            every = data(env)
            step = group or len(every) or 1
            parts = (every[i : i + step] for i in range(0, len(every), step))
            return "".join(hex_text(part, separator) for part in parts)

        code = node("pointer", "ALL_BYTES", group, ord(separator or "\0"), memory.code)
        return Text(text, code=code)

    return build


def _old_hex(compiler: Compiler, args: _Args) -> Text:
    """``ftrace_print_hex_seq(p, …)``, what ``__print_hex()`` was in formats before Linux 3.9."""
    return _print_hex(" ")(compiler, args[1:])


def array_text(data: bytes, size: int) -> str:
    """``trace_print_array_seq()``."""
    step = range(0, len(data) - size + 1, size)
    return "{" + ",".join(f"{int.from_bytes(data[i : i + size], 'little'):#x}" for i in step) + "}"


def _element_size(compiler: Compiler, node: nodes.Node) -> int:
    size = compiler.number(node).const
    if size not in (1, 2, 4, 8):
        raise Unresolved("element size")
    return size


def _print_array(compiler: Compiler, args: _Args) -> Text:
    size = _element_size(compiler, args[2])
    count = compiler.number(args[1])
    get = count.get
    length = Number(LONG, lambda env: get(env) * size)
    if count.code is not None:
        length = replace(length, code=binary("MUL", LONG, count.code, integer(size)))
    memory = _bounded(compiler.memory(args[0]), length)
    data = memory.get
    return Text(lambda env: array_text(data(env), size), code=node("array", size, memory.code))


def _print_dynamic_array(compiler: Compiler, args: _Args) -> Text:
    size = _element_size(compiler, args[1])
    memory = _dynamic(compiler, args[0])[0]
    get = memory.get
    return Text(lambda env: array_text(get(env), size), code=node("array", size, memory.code))


_ASCII = "".join(chr(c) if 32 <= c < 127 else "." for c in range(256))


def _hex_dump_line(row: bytes, rowsize: int, group: int, ascii_: bool) -> str:
    """``hex_dump_to_buffer()`` in ``lib/hexdump.c``."""
    if len(row) % group:
        group = 1
    words = [row[i : i + group][::-1].hex() for i in range(0, len(row), group)]
    text = " ".join(words)
    if ascii_:
        text = text.ljust(rowsize * 2 + rowsize // group + 1)
        text += "".join(_ASCII[byte] for byte in row)
    return text


def _print_hex_dump(compiler: Compiler, args: _Args) -> Text:
    """``trace_print_hex_dump_seq()``, with an offset where the kernel prints an address."""
    prefix = _literal(compiler, args[0]) or ""
    kind, rowsize, group, ascii_ = (compiler.number(args[i]).const or 0 for i in (1, 2, 3, 6))
    rowsize = 32 if rowsize == 32 else 16
    group = group if group in (1, 2, 4, 8) else 1
    data = _bounded(compiler.memory(args[4]), compiler.number(args[5])).get

    def text(env: Env) -> str:
        whole = data(env)
        rows = ["\n"]
        for offset in range(0, len(whole), rowsize):
            place = f"{offset:08x}: " if kind else ""
            line = _hex_dump_line(whole[offset : offset + rowsize], rowsize, group, bool(ascii_))
            rows.append(f"{prefix}{place}{line}\n")
        return "".join(rows)

    return Text(text)


def _dynamic(compiler: Compiler, node: nodes.Node) -> tuple[Memory, Number]:
    """The dynamic array that ``name`` or ``name[i]`` stands for: its bytes and their number."""
    entry = 0
    if isinstance(node, nodes.Index):
        index = compiler.number(node.index).const
        node, entry = node.base, -1 if index is None else index
    if not isinstance(node, nodes.Ident):
        raise Unresolved("dynamic array")
    return compiler.dynamic(node.name, entry)


def _get_str(compiler: Compiler, args: _Args) -> Memory:
    return replace(_dynamic(compiler, args[0])[0], element=U8)


def _get_dynamic_array(compiler: Compiler, args: _Args) -> Memory:
    return _dynamic(compiler, args[0])[0]


def _get_dynamic_array_len(compiler: Compiler, args: _Args) -> Number:
    return _dynamic(compiler, args[0])[1]


def _get_bitmask(compiler: Compiler, args: _Args) -> Text:
    memory = _dynamic(compiler, args[0])[0]
    get = memory.get
    as_list = "bitmask-list" in compiler.ctx.options

    def text(env: Env) -> str:
        data = get(env)
        return bitmap_text(data, 8 * len(data), as_list)

    return Text(text, code=node("pointer", "ALL_BITS", 0, LIST * as_list, memory.code))


def _get_stacktrace(compiler: Compiler, args: _Args) -> Text:
    """A synthetic event's stack, as ``print_synth_event()`` in trace_events_synth.c prints it.

    The first word is the number of entries.
    """
    get, symbols = _dynamic(compiler, args[0])[0].get, compiler.ctx.symbols

    def text(env: Env) -> str:
        data = get(env)
        words = struct.unpack(f"<{len(data) // 8}Q", data[: len(data) // 8 * 8])
        return "STACK:\n" + "".join(f"=> {symbol_text(symbols, w)}\n" for w in words[1:])

    return Text(text)


def _same(compiler: Compiler, args: _Args) -> Value:
    return compiler.value(args[0])


def _choose(compiler: Compiler, args: _Args) -> Value:
    test = compiler.number(args[0]).const
    if test is None:
        raise Unresolved("__builtin_choose_expr()")
    return compiler.value(args[1] if test else args[2])


def _is_constant(compiler: Compiler, args: _Args) -> Number:
    value = compiler.value(args[0])
    known = not isinstance(value, Memory) and value.const is not None
    return constant(INT, int(known))


def _same_types(compiler: Compiler, args: _Args) -> Number:
    """Of integers: whether they have one size and sign, as ``long`` and ``long long`` have."""
    left, right = (compiler.number(arg).type for arg in args)
    return constant(INT, int(left == right))


_to_seconds = mapped(
    lambda ns: ns // _NSEC_PER_SEC,
    U64,
    U64,
    lambda code: binary("DIV", U64, code, integer(_NSEC_PER_SEC)),
)
_without_seconds = mapped(
    lambda ns: ns % _NSEC_PER_SEC,
    U64,
    U32,
    lambda code: binary("MOD", U64, code, integer(_NSEC_PER_SEC)),
)
_ANY = 1 << 20

# name -> (function that compiles it, fewest arguments, most arguments)
_FUNCTIONS: Mapping[str, tuple[_Build, int, int]] = {
    "__print_flags": (_print_flags, 2, _ANY),
    "__print_flags_u64": (_print_flags, 2, _ANY),
    "__print_symbolic": (_print_symbolic, 1, _ANY),
    "__print_symbolic_u64": (_print_symbolic, 1, _ANY),
    "__print_hex": (_print_hex(" "), 2, 2),
    "ftrace_print_hex_seq": (_old_hex, 3, 3),
    "__print_hex_str": (_print_hex(""), 2, 2),
    "__print_array": (_print_array, 3, 3),
    "__print_dynamic_array": (_print_dynamic_array, 2, 2),
    "__print_hex_dump": (_print_hex_dump, 7, 7),
    "__print_ns_to_secs": (_to_seconds, 1, 1),
    "__print_ns_without_secs": (_without_seconds, 1, 1),
    "__print_bitmask": (_get_bitmask, 1, 1),
    **{
        f"__get_{rel}{name}": (build, 1, 1)
        for rel in ("", "rel_")
        for name, build in (
            ("str", _get_str),
            ("dynamic_array", _get_dynamic_array),
            ("dynamic_array_len", _get_dynamic_array_len),
            ("bitmask", _get_bitmask),
            ("cpumask", _get_bitmask),
            ("sockaddr", _get_dynamic_array),
            ("stacktrace", _get_stacktrace),
        )
    },
    "__builtin_expect": (_same, 2, 2),
    "__builtin_constant_p": (_is_constant, 1, 1),
    "__builtin_choose_expr": (_choose, 3, 3),
    "__builtin_types_compatible_p": (_same_types, 2, 2),
    **INTEGER_FUNCTIONS,
    **KERNEL_CALLS,
    **LIBRARY_CALLS,
    **DISK_CALLS,
}  # fmt: skip
