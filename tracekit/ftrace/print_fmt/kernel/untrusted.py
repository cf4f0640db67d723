"""``__trace_print_untrusted_str()``, include/trace/events/landlock.h: paths and names of tasks.

``string_escape_mem()`` of lib/string_helpers.c makes of them what cannot end a field or a line.
"""

from __future__ import annotations

from tracekit.ftrace.kernel_printf.ctype import U64
from tracekit.ftrace.kernel_printf.pointers import TooShort
from tracekit.ftrace.print_fmt import nodes
from tracekit.ftrace.print_fmt.compile import Compiler
from tracekit.ftrace.print_fmt.values import Env, Text, as_type

__all__ = ["untrusted_string"]

_MOST = 6117 - 4  # TRACE_UNTRUSTED_STR_OUTPUT_SIZE without the mark, in UTF-8, and the NUL
_CUT = "…"
_NAMED = {
    "\n": "\\n", "\r": "\\r", "\t": "\\t", "\v": "\\v", "\f": "\\f",
    "\\": "\\\\", "\a": "\\a", "\x1b": "\\e", '"': '\\"',
}  # fmt: skip
_PRINTED = frozenset(map(chr, range(0x20, 0x7F))) - frozenset(" ='\"\\")
_SHOWN = [
    c if c in _PRINTED else _NAMED.get(c, f"\\{ord(c):03o}") for c in map(chr, range(256))
]  # fmt: skip


def _escaped(data: bytes) -> str:
    text = "".join([_SHOWN[byte] for byte in data])
    if len(text) <= _MOST + 3:
        return text
    size = end = 0
    while size + len(_SHOWN[data[end]]) <= _MOST:
        size += len(_SHOWN[data[end]])
        end += 1
    return text[:size] + _CUT


def untrusted_string(compiler: Compiler, args: tuple[nodes.Node, ...]) -> Text:
    """The call, of a string and its length."""
    data, size = compiler.memory(args[1]).get, as_type(compiler.number(args[2]), U64).get

    def text(env: Env) -> str:
        whole, wanted = data(env), size(env)
        if wanted > len(whole):
            raise TooShort
        return _escaped(whole[:wanted])

    return Text(text)
