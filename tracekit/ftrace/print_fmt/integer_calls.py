"""Functions of integers that a print format may call: byte order, bits, units.

Byte order: ``include/uapi/linux/byteorder/little_endian.h``, ``include/linux/unaligned.h``; the
kernels that are read are little-endian.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Literal

from tracekit.ftrace.kernel_printf.ctype import INT, LONG, U32, U64, IntType
from tracekit.ftrace.kernel_printf.pointers import take
from tracekit.ftrace.print_fmt import nodes
from tracekit.ftrace.print_fmt.compile import Compiler
from tracekit.ftrace.print_fmt.values import Env, Number, Undetermined, Value, as_type, folded
from tracekit.ftrace.programs.code import Code, binary, integer, node, type_code

__all__ = ["INTEGER_FUNCTIONS", "bits_set", "divided", "first_set", "mapped"]

_Args = tuple[nodes.Node, ...]
_Build = Callable[[Compiler, _Args], Value]


def mapped(
    function: Callable[[int], int],
    argument_type: IntType,
    result_type: IntType,
    coded: Callable[[Code | None], Code | None] = lambda _operand: None,
) -> Callable[[Compiler, _Args], Number]:
    """A function of one integer; ``coded`` gives the code of its result."""

    def build(compiler: Compiler, args: _Args) -> Number:
        operand = as_type(compiler.number(args[0]), argument_type)
        get = operand.get
        code = coded(operand.code)
        return folded(Number(result_type, lambda env: function(get(env)), code=code), operand)

    return build


def _swapped(size: int) -> Callable[[Compiler, _Args], Number]:
    type_ = IntType(size, False)
    return mapped(
        lambda value: int.from_bytes(value.to_bytes(size, "little"), "big"),
        type_,
        type_,
        lambda code: node("unary", f"SWAP{8 * size}", code),
    )


def _same(code: Code | None) -> Code | None:
    return code


def divided(by: int, type_: IntType) -> Callable[[Code | None], Code | None]:
    """The code of a quotient, rounded towards zero."""
    return lambda code: binary("DIV", type_, code, integer(by))


def _quotient(divisor: int) -> Callable[[int], int]:
    return lambda value: abs(value) // divisor * (-1 if value < 0 else 1)


def first_set(value: int) -> int:
    """The place of the lowest bit, from 1 on; 0 of 0."""
    return (value & -value).bit_length()


def _trailing_zeros(value: int) -> int:
    return max(0, first_set(value) - 1)


def bits_set(code: Code | None) -> Code | None:
    """The code of how many bits there are."""
    return node("unary", "BITS_SET", code)


def _bits(
    name: str, function: Callable[[int], int], coded: Callable[[Code | None], Code | None]
) -> dict[str, tuple[_Build, int, int]]:
    """GCC's bit counters of that name for int, long and long long."""
    return {
        f"__builtin_{name}{suffix}": (mapped(function, type_, INT, coded), 1, 1)
        for suffix, type_ in (("", U32), ("l", U64), ("ll", U64))
    }


def _only_zero(name: str, compiler: Compiler, args: _Args) -> Number:
    """A time in jiffies of unknown length: known if there are none."""
    operand = as_type(compiler.number(args[0]), U64)
    get = operand.get

    def units(env: Env) -> int:
        if value := get(env):
            raise Undetermined(f"{name}({value})")
        return 0

    code = node("if", operand.code, ("never", "integer"), integer(0))
    return Number(U32, units, code=code)


def _jiffies(unit: str, per_second: int, round_up: bool) -> Callable[[Compiler, _Args], Number]:
    """``jiffies_to_msecs()`` and ``jiffies_to_usecs()``, ``kernel/time/time.c``."""

    def build(compiler: Compiler, args: _Args) -> Number:
        hz = compiler.ctx.jiffies_hz
        if not hz or hz < 0:
            return _only_zero(f"jiffies_to_{unit}", compiler, args)
        more = (hz - 1) * round_up
        in_units = mapped(lambda j: (j * per_second + more) // hz & 0xFFFFFFFF, U64, U32)
        return in_units(compiler, args)

    return build


def _plain(size: int) -> Callable[[Compiler, _Args], Number]:
    type_ = IntType(size, False)
    return mapped(lambda value: value, type_, type_, _same)


def _loaded(size: int, order: Literal["little", "big"]) -> Callable[[Compiler, _Args], Number]:
    """The integer that a pointer into the record points at."""

    def build(compiler: Compiler, args: _Args) -> Number:
        get = compiler.memory(args[0]).get

        def value(env: Env) -> int:
            return int.from_bytes(take(get(env), size), order)

        type_ = IntType(size, False)
        code = node("element", type_code(type_), compiler.memory(args[0]).code, integer(0))
        if order == "big":
            code = node("unary", f"SWAP{8 * size}", code)
        return Number(type_, value, code=code)

    return build


def _byte_order() -> Iterator[tuple[str, _Build]]:
    for size in (2, 4, 8):
        bits = 8 * size
        for order, build in (("le", _plain(size)), ("be", _swapped(size))):
            load = _loaded(size, "little" if order == "le" else "big")
            for name in (f"{order}{bits}_to_cpu", f"cpu_to_{order}{bits}"):
                yield name, build
                yield f"__{name}", build
                yield f"{name}p", load
                yield f"__{name}p", load
            yield f"get_unaligned_{order}{bits}", load
            yield f"__get_unaligned_{order}{bits}", load
        for name in (f"swab{bits}", f"__swab{bits}", f"___constant_swab{bits}", f"__fswab{bits}",
                     f"__builtin_bswap{bits}"):  # fmt: skip
            yield name, _swapped(size)
    for name, size in (("ntohs", 2), ("htons", 2), ("ntohl", 4), ("htonl", 4)):
        yield name, _swapped(size)
        yield f"__{name}", _swapped(size)


def _page_table_entries() -> Iterator[str]:
    """Functions between an entry and the number that it is: ``asm/pgtable_types.h``."""
    for level in ("pte", "pmd", "pud", "p4d", "pgd"):
        yield from (f"{level}_val", f"native_{level}_val", f"__{level}", f"native_make_{level}")


#: name -> (function that compiles it, fewest arguments, most arguments)
INTEGER_FUNCTIONS: Mapping[str, tuple[_Build, int, int]] = {
    **_bits("ffs", first_set, lambda code: node("unary", "FIRST_SET", code)),
    **_bits("ctz", _trailing_zeros, lambda _code: None),
    **_bits("popcount", int.bit_count, bits_set),
    **{name: (build, 1, 1) for name, build in _byte_order()},
    **{name: (_plain(8), 1, 1) for name in _page_table_entries()},
    **{
        name: (mapped(lambda value: value, LONG, LONG, _same), 1, 1)
        for name in ("ktime_to_ns", "PTR_ERR")
    },
    "ERR_PTR": (_plain(8), 1, 1),
    "ktime_to_us": (mapped(_quotient(1000), LONG, LONG, divided(1000, LONG)), 1, 1),
    "ktime_to_ms": (mapped(_quotient(1_000_000), LONG, LONG, divided(1_000_000, LONG)), 1, 1),
    "jiffies_to_msecs": (_jiffies("msecs", 1000, True), 1, 1),
    "jiffies_to_usecs": (_jiffies("usecs", 1_000_000, False), 1, 1),
}
