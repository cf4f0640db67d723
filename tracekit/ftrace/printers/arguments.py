"""The arguments of a function that was called (options ``func-args``, ``funcgraph-args``).

The record has the registers that arguments are passed in; what the function takes the kernel knows
from its BTF: ``print_function_args()``, kernel/trace/trace_output.c.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import lru_cache

from tracekit.ftrace.context import Context, Parameter
from tracekit.ftrace.printers.readers import Payload, words_at

__all__ = ["function_arguments"]

_REGISTERS = 6  # FTRACE_REGS_MAX_ARGS: 6 on x86_64, 8 on arm64
_KNOWN = 1 << 16  # functions
_SIGNED = 1 << 63
_WORD = 8  # bytes
_HEX_SINCE = (6, 18)  # unsigned integers; in decimal before
_NAMES_SINCE = (7, 0)  # an enumerator's name behind its value
_SIMPLE = frozenset(("INT", "UNSIGNED", "ENUM", "PTR", "UNKNOWN"))


def function_arguments(ctx: Context) -> Callable[[Payload, int, int], str]:
    """A printer of ``(name=value, ...)``, given a record, where in it the arguments are, and the
    function's address: nothing where the record holds none.

    Where the kernel's types were not saved, and of modules' functions: all saved words, in hex.
    """
    prototypes, version = ctx.prototypes, ctx.version or _NAMES_SINCE

    @lru_cache(maxsize=_KNOWN)
    def parameters(address: int) -> Sequence[Parameter] | None:
        """None: not known."""
        symbol = ctx.symbols.lookup(address)
        if prototypes is None or (symbol is not None and symbol.module):
            return None
        return prototypes.of(symbol.name) if symbol else ()

    def shown(payload: Payload, offset: int, address: int) -> str:
        words = words_at(payload, offset)
        if len(words) < _REGISTERS:
            return ""
        known = parameters(address)
        if known is None:
            return f"({', '.join(f'{word:#x}' for word in words)})"
        return _named(words[:_REGISTERS], known, version)

    return shown


def _named(
    words: Sequence[int], parameters: Sequence[Parameter], version: tuple[int, int]
) -> str:  # fmt: skip
    parts, used = [], 0
    for one in parameters:
        if used >= len(words):
            parts.append("...")
            break
        if one.kind in _SIMPLE:
            parts.append(f"{one.name}={_value(one, words[used], version)}")
            used += 1
            continue
        count = max(1, -(-one.size // _WORD))
        some = words[used : used + count]
        cut = ":..." if len(some) < count else ""
        values = ":".join(f"0x{word:x}" for word in some)
        parts.append(f"{one.name}=({one.kind})[{values}{cut}]")
        if cut:
            break
        used += count
    return f"({', '.join(parts)})"


def _value(one: Parameter, word: int, version: tuple[int, int]) -> str:
    if one.kind in ("PTR", "UNKNOWN") or (one.kind == "UNSIGNED" and version >= _HEX_SINCE):
        return f"{'?' if one.kind == 'UNKNOWN' else ''}0x{word:x}"
    number = (word ^ _SIGNED) - _SIGNED
    name = one.values.get(number) if version >= _NAMES_SINCE else None
    return str(number) if name is None else f"{number} [{name}]"
